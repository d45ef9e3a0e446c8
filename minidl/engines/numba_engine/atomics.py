"""Single steps on a number that several threads see, and what a waiting thread does between two looks at one."""

import os
import platform
import sys

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.engines.numba_engine.cache import njit

POLITE = 32  # looks after which a waiting thread offers its processor: the one it waits for may need it
WAIT, WAKE = 128, 129  # of futex, among the threads of one process
FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine(), 0) if sys.platform == "linux" else 0  # its number
HAS_PAUSE = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")


@intrinsic
def add_atomically(typing_context, counters, place, value):
    """counters[place] += value, as one step that no other thread can come between."""

    def emit(context, builder, signature, arguments):
        counters, place, value = arguments
        pointer = builder.gep(context.make_array(signature.args[0])(context, builder, counters).data, [place])
        builder.atomic_rmw("add", pointer, value, ordering="seq_cst")
        return context.get_dummy_value()

    return types.none(counters, types.int64, types.int64), emit


@intrinsic
def load_atomically(typing_context, counters, place):
    """counters[place], as the other threads have left it just now."""

    def emit(context, builder, signature, arguments):
        counters, place = arguments
        pointer = builder.gep(context.make_array(signature.args[0])(context, builder, counters).data, [place])
        return builder.load_atomic(pointer, ordering="seq_cst", align=8)

    return types.int64(counters, types.int64), emit


@intrinsic
def swap_atomically(typing_context, counters, place, expected, value):
    """Put the value into counters[place] if the expected one is there: whether it was."""

    def emit(context, builder, signature, arguments):
        counters, place, expected, value = arguments
        pointer = builder.gep(context.make_array(signature.args[0])(context, builder, counters).data, [place])
        pair = builder.cmpxchg(pointer, expected, value, ordering="seq_cst", failordering="seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(counters, types.int64, types.int64, types.int64), emit


@intrinsic
def offer_processor(typing_context):
    """Let another thread run on this processor, where the operating system has a call for that."""

    def emit(context, builder, signature, arguments):
        if os.name == "posix":
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.none(), emit


@intrinsic
def pause(typing_context):
    """Let a moment pass: a processor that looks without pause takes from the one it shares a core with."""

    def emit(context, builder, signature, arguments):
        if HAS_PAUSE:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.none(), emit


@intrinsic
def futex(typing_context, counters, place, operation, value):
    """Linux's way to sleep and to wake, which does not ask for Python's lock; elsewhere nothing is done.

    WAIT: sleep at counters[place], if that is ``value``, until woken. WAKE: wake so many of those who sleep there.
    """

    def emit(context, builder, signature, arguments):
        counters, place, operation, value = arguments
        if FUTEX:
            pointer = builder.gep(context.make_array(signature.args[0])(context, builder, counters).data, [place])
            word, nothing = ir.IntType(64), ir.IntType(64)(0)
            kind = ir.FunctionType(word, [word], var_arg=True)
            call = cgutils.get_or_insert_function(builder.module, kind, "syscall")
            address = builder.ptrtoint(pointer, word)
            builder.call(call, [word(FUTEX), address, operation, value, nothing, nothing, nothing])
        return context.get_dummy_value()

    return types.none(counters, types.int64, types.int64, types.int64), emit


@intrinsic
def processor_now(typing_context):
    """The number of the processor that this runs on, where Linux tells; elsewhere -1."""

    def emit(context, builder, signature, arguments):
        if not FUTEX:
            return ir.IntType(64)(-1)
        kind = ir.FunctionType(ir.IntType(32), [])
        found = builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_getcpu"), [])
        return builder.sext(found, ir.IntType(64))

    return types.int64(), emit


@njit(cache=True)
def wait_a_moment(looks):
    """Between two looks, of which this was the one of this number."""
    if looks % POLITE > 0:
        pause()
    else:
        offer_processor()
