"""Numbers too small for a full exponent count as zero while a training runs: on many processors they take a hundred
times as long, and late in a training there are many of them among an optimizer's slots."""

import platform

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

X86 = platform.machine().lower() in ("x86_64", "amd64")
FLUSH = 0x8040  # of the control register MXCSR: results that are subnormal become 0, and so do operands


@intrinsic
def flush_subnormals(typing_context):
    """From now on, in this thread; returns the setting from before. Other processors than x86 keep theirs."""

    def emit(context, builder, signature, arguments):
        if not X86:
            return ir.IntType(32)(0)
        place = cgutils.alloca_once(builder, ir.IntType(32))
        control_register(builder, "llvm.x86.sse.stmxcsr", place)
        before = builder.load(place)
        builder.store(builder.or_(before, ir.IntType(32)(FLUSH)), place)
        control_register(builder, "llvm.x86.sse.ldmxcsr", place)
        return before

    return types.uint32(), emit


@intrinsic
def restore_subnormals(typing_context, before):
    """Put back what ``flush_subnormals`` returned."""

    def emit(context, builder, signature, arguments):
        if X86:
            place = cgutils.alloca_once_value(builder, arguments[0])
            control_register(builder, "llvm.x86.sse.ldmxcsr", place)
        return context.get_dummy_value()

    return types.none(types.uint32), emit


def control_register(builder, name, place):
    pointer = ir.IntType(8).as_pointer()
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), [pointer]), name)
    builder.call(function, [builder.bitcast(place, pointer)])
