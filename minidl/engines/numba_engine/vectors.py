"""Vectors of the host's registers: the loads, stores and arithmetic of which the matrix products are put together."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minidl.engines.numba_engine.processor import host

VECTOR_BYTES, FUSED = host().vector_bytes, host().fused
# For a literal 0 or 1 in a call Numba compiles the function once more, with the number built in; the cleverer loop that
# LLVM makes of it takes a third longer.
ZERO, ONE = np.int64(0), np.int64(1)


def call_apart(context, builder, name, signature, arguments, write):
    """Call a function with an intrinsic's arguments, of each array its data; ``write(builder, *values)`` is its body.

    It is not put into its callers: as a piece of something larger it would have to share the registers there, and would
    be compiled once for each place that calls it.
    """
    values = [
        context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]
    name = f"{name}_{next(kind.dtype for kind in signature.args if isinstance(kind, types.Array))}"
    function = builder.module.globals.get(name)
    if function is None:
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        function = ir.Function(builder.module, kind, name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        inside = ir.IRBuilder(function.append_basic_block())
        write(inside, *function.args)
        inside.ret_void()
    builder.call(function, values)
    return context.get_dummy_value()


def keep_rolled(builder, branch):
    """Let the loop that this branch closes be as it is written, which is as many sums as there are registers for."""
    module = builder.module
    disable = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    keep = module.add_metadata([disable])
    keep.operands = (keep, disable)  # LLVM knows a loop's node by its being its own first entry
    branch.set_metadata("llvm.loop", keep)


def row_at(builder, rows, number, length):
    """How far the row with this number is from the first: ``rows`` are so far apart; or it is an array that tells which
    row of a matrix without gaps, of such a ``length``, is to be taken."""
    if rows.type.is_pointer:
        rows, number = builder.load(builder.gep(rows, [number])), length
    return builder.mul(rows, number)


class Vectors:
    """Emits loads, stores and multiply-adds of one vector type, at places of flat arrays."""

    def __init__(self, context, builder, dtype, vector_bytes=VECTOR_BYTES):
        self.context, self.builder = context, builder
        self.width = dtype.bitwidth // 8
        self.lanes = vector_bytes // self.width
        self.scalar = context.get_value_type(dtype)
        self.type = ir.VectorType(self.scalar, self.lanes)
        self.pointer = self.type.as_pointer()
        self.mask_type = ir.VectorType(ir.IntType(1), self.lanes)
        self.suffix = f"v{self.lanes}f{8 * self.width}"

    def data(self, kind, array):
        return self.context.make_array(kind)(self.context, self.builder, array).data

    def at(self, data, place):
        return self.builder.bitcast(self.builder.gep(data, [place]), self.pointer)

    def function(self, name, result, arguments):
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), name)

    def spread(self, value, kind=None):
        """A vector with the value in every lane."""
        kind = kind or self.type
        first = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)

    def mask(self, count):
        """True in the first ``count`` lanes."""
        kind = ir.VectorType(ir.IntType(64), self.lanes)
        return self.builder.icmp_signed("<", ir.Constant(kind, list(range(self.lanes))), self.spread(count, kind))

    def load(self, data, place, mask=None):
        if mask is None:
            return self.builder.load(self.at(data, place), align=self.width)
        name, align = f"llvm.masked.load.{self.suffix}.p0", ir.IntType(32)
        load = self.function(name, self.type, [self.pointer, align, self.mask_type, self.type])
        zeros = ir.Constant(self.type, [0.0] * self.lanes)
        return self.builder.call(load, [self.at(data, place), align(self.width), mask, zeros])

    def store(self, value, data, place, mask=None):
        if mask is None:
            self.builder.store(value, self.at(data, place), align=self.width)
            return
        name, align = f"llvm.masked.store.{self.suffix}.p0", ir.IntType(32)
        store = self.function(name, ir.VoidType(), [self.type, self.pointer, align, self.mask_type])
        self.builder.call(store, [value, self.at(data, place), align(self.width), mask])

    def fetch(self, data, place):
        """Into the first cache, for a load that comes soon; the place may lie outside the array."""
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        prefetch = self.function("llvm.prefetch.p0", ir.VoidType(), [byte, number, number, number])
        place = self.builder.bitcast(self.builder.gep(data, [place]), byte)
        self.builder.call(prefetch, [place, number(0), number(3), number(1)])  # to be read, kept near, data

    def at_least(self, value, floor):
        """max(value, floor), in which a NaN passes: it is not below the floor."""
        return self.builder.select(self.builder.fcmp_ordered("<", value, floor), floor, value)

    def multiply_add(self, a, b, c):
        if not FUSED:  # then a call of the C library would do it, one number at a time
            return self.builder.fadd(self.builder.fmul(a, b), c)
        fma = self.function(f"llvm.fma.{self.suffix}", self.type, [self.type] * 3)
        return self.builder.call(fma, [a, b, c])
