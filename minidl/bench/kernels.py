"""The kernels that the machine's ceilings are measured with: as much arithmetic, or as much traffic, as there can be.

They are written as vector instructions, since a compiler left to itself may not find the fastest ones, or may find that
nothing needs to be done. Each leaves a result that only the whole work can have.
"""

from __future__ import annotations

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.bench.compiled import njit
from minidl.engines.numba_engine.processor import host

TARGET = host()
# A multiply-add takes some four cycles, and one to four can begin in each: so many must be under way at once. The
# registers set the limit.
CHAINS = TARGET.registers * 3 // 4
UNROLL = 8  # vectors that one step of a stream moves
STEP = UNROLL * TARGET.vector_bytes // 4  # as float32 numbers: a stream's length is a multiple of it
COUNT = ir.IntType(64)


# --- what kernels are made of ---------------------------------------------------------------------------------------


def vector_of(scalar: ir.Type) -> ir.VectorType:
    """As many as a register holds."""
    bits = {"float": 32, "double": 64}.get(str(scalar)) or scalar.width
    return ir.VectorType(scalar, 8 * TARGET.vector_bytes // bits)


def pointer(context, builder, kind, array):
    return context.make_array(kind)(context, builder, array).data


def place_of(builder, start, vector, entries, number=0):
    """The address of a vector: ``number`` vectors beyond the entry ``entries``."""
    entry = builder.add(entries, COUNT(number * vector.count))
    return builder.bitcast(builder.gep(start, [entry]), vector.as_pointer())


def spread(builder, value, vector):
    """A vector that has the value everywhere."""
    nothing, lane = ir.Constant(vector, ir.Undefined), ir.IntType(32)
    zeros = ir.Constant(ir.VectorType(lane, vector.count), [0] * vector.count)
    return builder.shuffle_vector(builder.insert_element(nothing, value, lane(0)), nothing, zeros)


def multiplied_and_added(builder, a, x, b):
    """a x + b, as one instruction where there is one: without it LLVM would call a function for every number."""
    if not TARGET.fused:
        return builder.fadd(builder.fmul(a, x), b)
    letter = {"float": "f32", "double": "f64"}[str(x.type.element)]
    kind = ir.FunctionType(x.type, [x.type] * 3)
    fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{x.type.count}{letter}")
    return builder.call(fma, [a, x, b])


def loop(builder, stop, step, carried, body):
    """``for at in range(0, stop, step)``, at least once: ``body(at, values)`` returns what the values have become."""
    before, inside = builder.block, builder.append_basic_block("loop")
    builder.branch(inside)
    builder.position_at_end(inside)
    at = builder.phi(COUNT)
    values = [builder.phi(value.type) for value in carried]
    new = body(at, values)
    following = builder.add(at, COUNT(step))
    at.add_incoming(COUNT(0), before)
    at.add_incoming(following, builder.block)
    for value, first, later in zip(values, carried, new, strict=True):
        value.add_incoming(first, before)
        value.add_incoming(later, builder.block)
    after = builder.append_basic_block("after")
    builder.cbranch(builder.icmp_signed("<", following, stop), inside, after)
    builder.position_at_end(after)
    return new


# --- arithmetic -----------------------------------------------------------------------------------------------------


@intrinsic
def emit_multiply_adds(typing_context, x, a, b, steps):
    def emit(context, builder, signature, arguments):
        x, a, b, steps = arguments
        x = pointer(context, builder, signature.args[0], x)
        vector = vector_of(a.type)
        width = TARGET.vector_bytes // vector.count
        a, b = spread(builder, a, vector), spread(builder, b, vector)
        places = [place_of(builder, x, vector, COUNT(0), chain) for chain in range(CHAINS)]
        chains = [builder.load(place, align=width) for place in places]

        def body(at, values):
            return [multiplied_and_added(builder, a, value, b) for value in values]

        for value, place in zip(loop(builder, steps, 1, chains, body), places, strict=True):
            builder.store(value, place, align=width)
        return context.get_dummy_value()

    return types.none(x, x.dtype, x.dtype, types.int64), emit


@njit()
def multiply_adds(x, a, b, steps):
    """x = a x + b, ``steps`` times over (at least once), for CHAINS vectors x at once: x (CHAINS * lanes,)."""
    emit_multiply_adds(x, a, b, steps)


@intrinsic
def emit_int8_products(typing_context, sums, x, y, steps):
    def emit(context, builder, signature, arguments):
        sums, x, y = (pointer(context, builder, *pair) for pair in zip(signature.args[:3], arguments[:3], strict=True))
        total = vector_of(ir.IntType(32))
        # Until LLVM 22 the x86 instruction was given its bytes as int32.
        as_bytes = "aarch64" in TARGET.int8 or llvmlite.binding.llvm_version_info[0] >= 22
        packed = vector_of(ir.IntType(8)) if as_bytes else total
        kind = ir.FunctionType(total, [total, packed, packed])
        instruction = cgutils.get_or_insert_function(builder.module, kind, TARGET.int8)
        x, y = (builder.load(builder.bitcast(start, packed.as_pointer()), align=1) for start in (x, y))
        places = [place_of(builder, sums, total, COUNT(0), chain) for chain in range(CHAINS)]
        chains = [builder.load(place, align=4) for place in places]

        def body(at, values):
            return [builder.call(instruction, [value, x, y]) for value in values]

        for value, place in zip(loop(builder, arguments[3], 1, chains, body), places, strict=True):
            builder.store(value, place, align=4)
        return context.get_dummy_value()

    return types.none(sums, x, y, types.int64), emit


@njit()
def int8_products(sums, x, y, steps):
    """sums += x y, each int32 the products of four neighbours, ``steps`` times over (at least once).

    sums (CHAINS * lanes,) int32; x and y int8, one vector each. x must not be negative: on x86 it is read as uint8.
    """
    emit_int8_products(sums, x, y, steps)


# --- traffic --------------------------------------------------------------------------------------------------------


@intrinsic
def emit_read(typing_context, x, passes, found):
    def emit(context, builder, signature, arguments):
        x, found = (pointer(context, builder, signature.args[at], arguments[at]) for at in (0, 2))
        size = builder.extract_value(arguments[0], 2)  # of the array structure: its number of entries
        vector = vector_of(ir.IntType(32))

        def step(at, values):
            loaded = [builder.load(place_of(builder, x, vector, at, number), align=4) for number in range(UNROLL)]
            return [builder.xor(value, entry) for value, entry in zip(values, loaded, strict=True)]

        zeros = [ir.Constant(vector, [0] * vector.count)] * UNROLL
        values = loop(builder, arguments[1], 1, zeros, lambda _, values: loop(builder, size, STEP, values, step))
        for number, value in enumerate(values):
            builder.store(value, place_of(builder, found, vector, COUNT(0), number), align=4)
        return context.get_dummy_value()

    return types.none(x, types.int64, found), emit


@njit()
def read(x, passes, found):
    """Read x ``passes`` times. What was read is combined by "exclusive or", number by number, in ``found``.

    x (size,) float32 with a size that is a multiple of STEP; found (STEP,) int32.
    """
    emit_read(x, passes, found)


def make_stream(kind: str, beside: bool):
    """The intrinsic of a stream that stores; ``beside`` the caches, straight to memory, or as usual."""

    @intrinsic
    def stream(typing_context, out, x, y, factor, passes):
        def emit(context, builder, signature, arguments):
            starts = (pointer(context, builder, *pair) for pair in zip(signature.args[:3], arguments[:3], strict=True))
            out, x, y = starts
            size = builder.extract_value(arguments[0], 2)
            factor, vector = arguments[3], vector_of(arguments[3].type)

            def at_pass(number, _):
                counted = spread(builder, builder.fadd(factor, builder.sitofp(number, factor.type)), vector)

                def step(at, _):
                    for number in range(UNROLL):
                        value = counted  # a number that is another in each pass, so that no pass can be left out
                        if kind in ("copy", "triad"):
                            value = builder.load(place_of(builder, x, vector, at, number), align=4)
                        if kind == "update":
                            old = builder.load(place_of(builder, out, vector, at, number), align=TARGET.vector_bytes)
                            value = builder.fadd(old, counted)
                        if kind == "triad":
                            other = builder.load(place_of(builder, y, vector, at, number), align=4)
                            value = multiplied_and_added(builder, counted, other, value)
                        place = place_of(builder, out, vector, at, number)
                        stored = builder.store(value, place, align=TARGET.vector_bytes)
                        if beside:
                            stored.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
                    return []

                loop(builder, size, STEP, [], step)
                return []

            loop(builder, arguments[4], 1, [], at_pass)
            return context.get_dummy_value()

        return types.none(out, x, y, out.dtype, types.int64), emit

    return stream


write_, copy_, triad_, update_ = (make_stream(kind, False) for kind in ("write", "copy", "triad", "update"))
write_beside_, copy_beside_, triad_beside_ = (make_stream(kind, True) for kind in ("write", "copy", "triad"))


@njit()
def write(out, x, y, factor, passes):
    """out = factor + p in the pass p of ``passes``; x and y are not read.

    Here and below out, x and y are (size,) float32 with a size that is a multiple of STEP, and begin at a multiple of
    the vectors' size. ``factor`` is float32.
    """
    write_(out, x, y, factor, passes)


@njit()
def copy(out, x, y, factor, passes):
    """out = x, ``passes`` times."""
    copy_(out, x, y, factor, passes)


@njit()
def triad(out, x, y, factor, passes):
    """out = x + (factor + p) y in the pass p of ``passes``."""
    triad_(out, x, y, factor, passes)


@njit()
def update(out, x, y, factor, passes):
    """out = out + factor + p in the pass p of ``passes``; x and y are not read."""
    update_(out, x, y, factor, passes)


@njit()
def write_beside(out, x, y, factor, passes):
    """``write`` that stores straight to memory: an ordinary store first reads the line that it will change."""
    write_beside_(out, x, y, factor, passes)


@njit()
def copy_beside(out, x, y, factor, passes):
    """``copy`` that stores straight to memory."""
    copy_beside_(out, x, y, factor, passes)


@njit()
def triad_beside(out, x, y, factor, passes):
    """``triad`` that stores straight to memory."""
    triad_beside_(out, x, y, factor, passes)


# Past the caches too, where that is possible: what is updated has just been read, so it lies in them.
STREAMS = {"write": (write, write_beside), "copy": (copy, copy_beside), "triad": (triad, triad_beside),
           "update": (update,)}  # fmt: skip
