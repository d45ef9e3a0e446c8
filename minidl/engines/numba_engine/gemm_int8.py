"""The matrix product in whole numbers: uint8 by int8, added up in int32, tile by tile as in gemm.py.

Four in one. A vector of bytes holds four times as many numbers as one of floats, and one instruction (vpdpbusd on x86)
multiplies them all and adds each four neighbours to one int32 sum. So A and W are read as int32, each the bytes of four
inputs: four steps of gemm.py at once, at the same cost.

Packing. W is laid out once: for each two vectors of units, the bytes of the first four inputs of all of them, then of
the next four. Each width is filled up with zeros, so there is nothing ragged: what is filled up counts nothing.

Fused. The sums begin as the offsets (bias and correction for the zero point, minidl/inference/int8.py). Where the next
layer wants whole numbers again, the tile is scaled, rounded (half to even), shifted and clipped while it is in
registers, and a ReLU is one of the clips.

Without that instruction, bytes become pairs of 16 bits, whose products pmaddwd adds (the instruction for bytes,
pmaddubsw, is of no use: its sums of 16 bits overflow and are clipped). On other processors than x86, plain products.
"""

import platform

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.processor import host
from minidl.engines.numba_engine.vectors import Vectors

LANES = host().vector_bytes // 4  # sums in a vector
PANEL = 2 * LANES  # units whose W lies together
FOUR = 4  # inputs in one int32
ROWS = 12 if host().registers == 32 else 4  # of the highest tile
UNROLL = 8 if host().registers == 32 else 2  # sums of each entry where there is one row, so that one need not wait
X86 = platform.machine().lower() in ("x86_64", "amd64")
PAIRS = {64: "llvm.x86.avx512.pmaddw.d.512", 32: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.sse2.pmadd.wd"}


class Integers(Vectors):
    """Emits the same of vectors of int32, each the bytes of four numbers or a sum."""

    def __init__(self, context, builder):
        super().__init__(context, builder, types.int32)

    def of(self, bits):
        """The type of a vector whose numbers have so many bits."""
        return ir.VectorType(ir.IntType(bits), self.lanes * 32 // bits)

    def multiply_add(self, a, b, c):
        """c + the products of the unsigned bytes of a and the signed bytes of b, four to each sum."""
        if "x86" in host().int8:
            kind = self.of(8) if llvmlite.binding.llvm_version_info[0] >= 22 else self.type
            product = self.function(host().int8, self.type, [self.type, kind, kind])
            return self.builder.call(product, [c, self.builder.bitcast(a, kind), self.builder.bitcast(b, kind)])
        for a_pairs, b_pairs in zip(self.pairs(a, False), self.pairs(b, True), strict=True):
            c = self.builder.add(c, self.products(a_pairs, b_pairs))
        return c

    def pairs(self, value, signed):
        """Every second byte as a number of 16 bits, from the first and from the second on."""
        half, eight = self.of(16), ir.Constant(self.of(16), [8] * (2 * self.lanes))
        value = self.builder.bitcast(value, half)
        shift = self.builder.ashr if signed else self.builder.lshr
        return shift(self.builder.shl(value, eight), eight), shift(value, eight)

    def products(self, a, b):
        """The products of numbers of 16 bits, each two neighbours added up."""
        if X86:
            product = self.function(PAIRS[host().vector_bytes], self.type, [a.type, b.type])
            return self.builder.call(product, [a, b])
        wide, index = ir.VectorType(ir.IntType(32), 2 * self.lanes), ir.VectorType(ir.IntType(32), self.lanes)
        both = self.builder.mul(self.builder.sext(a, wide), self.builder.sext(b, wide))
        even, odd = (ir.Constant(index, list(range(first, 2 * self.lanes, 2))) for first in (0, 1))
        parts = [self.builder.shuffle_vector(both, ir.Constant(wide, ir.Undefined), half) for half in (even, odd)]
        return self.builder.add(*parts)

    def moved(self, values, factor, zero):
        """round(values * factor) + zero, of floats."""
        suffix, b = f"v{self.lanes}f32", self.builder
        rounded = self.function(f"llvm.roundeven.{suffix}", values.type, [values.type])
        return b.fadd(b.call(rounded, [b.fmul(values, factor)]), zero)

    def clipped(self, values, low):
        """The values clipped to [low, 255]; a NaN is low."""
        b, high = self.builder, ir.Constant(values.type, [255.0] * self.lanes)
        values = b.select(b.fcmp_ordered(">", values, low), values, low)
        return b.select(b.fcmp_ordered("<", values, high), values, high)

    def bytes_of(self, values):
        return self.builder.trunc(self.builder.fptosi(values, self.type), ir.VectorType(ir.IntType(8), self.lanes))


def make_tile(rows: int, unroll: int):
    """The intrinsic that computes a tile of C, ``rows`` rows by a panel of units.

    Its arguments are flat arrays with the place where the tile begins and the distance of its rows: C, uint8 or int32;
    the offsets that the sums begin with, and the factors, at the place of the tile's first unit; A as int32; W as
    int32, the panel from its place on; how many steps of four inputs; and for C in uint8 its zero and lowest value.
    """

    @intrinsic
    def tile(
        typing_context, C, c_start, c_row, offsets, factors, unit, A, a_start, a_row, W, w_start, steps, zero, low
    ):
        size = types.int64
        places = (C, size, size, offsets, factors, size, A, size, size, W, size)
        signature = types.none(*places, size, types.float32, types.float32)

        def emit(context, builder, signature, arguments):
            c, c_begin, c_step, start, factor, first, a, a_begin, a_step, w, w_begin, count, zero, low = arguments
            v, of_float, number = Integers(context, builder), Vectors(context, builder, types.float32), ir.IntType(64)
            c, start, factor, a, w = (
                v.data(kind, array)
                for kind, array in ((C, c), (offsets, start), (factors, factor), (A, a), (W, w))
            )
            tile = [(row, half) for row in range(rows) for half in range(2)]

            def along(k, stop, step, sums):
                """Take ``step`` steps at a time while so many are left; the next step and the sums."""
                before, look, work, after = (builder.block, *(builder.append_basic_block() for _ in range(3)))
                builder.branch(look)
                builder.position_at_end(look)
                at, phis = builder.phi(number), [builder.phi(v.type) for _ in sums]
                builder.cbranch(builder.icmp_signed("<=", builder.add(at, number(step)), stop), work, after)
                builder.position_at_end(work)
                new = list(phis)
                for ahead in range(step):
                    k_now = builder.add(at, number(ahead))
                    w_at = builder.add(w_begin, builder.mul(k_now, number(PANEL)))
                    w_now = [v.load(w, builder.add(w_at, number(half * LANES))) for half in range(2)]
                    for row in range(rows):
                        a_at = builder.add(builder.add(a_begin, builder.mul(a_step, number(row))), k_now)
                        spread = v.spread(builder.load(builder.gep(a, [a_at])))
                        for half in range(2):
                            place = (ahead * rows + row) * 2 + half
                            new[place] = v.multiply_add(spread, w_now[half], new[place])
                for phi, old, then in zip([at, *phis], [k, *sums], [builder.add(at, number(step)), *new], strict=True):
                    phi.add_incoming(old, before)
                    phi.add_incoming(then, builder.block)
                builder.branch(look)
                builder.position_at_end(after)
                return at, phis

            begins = [v.load(start, builder.add(first, number(half * LANES))) for half in range(2)]
            zeros = ir.Constant(v.type, [0] * LANES)
            sums = [begins[half] for _, half in tile] + [zeros] * (2 * rows * (unroll - 1))
            k, sums = along(number(0), count, unroll, sums)
            if unroll > 1:  # whole numbers may be added up in any order
                parts = [sums[part * 2 * rows : (part + 1) * 2 * rows] for part in range(unroll)]
                sums = parts[0]
                for part in parts[1:]:
                    sums = [builder.add(x, y) for x, y in zip(sums, part, strict=True)]
                k, sums = along(k, count, 1, sums)
            if C.dtype == types.uint8:
                scales = [of_float.load(factor, builder.add(first, number(half * LANES))) for half in range(2)]
                zero, low = of_float.spread(zero), of_float.spread(low)
                moved = [
                    v.moved(builder.sitofp(total, of_float.type), scales[half], zero)
                    for total, (_, half) in zip(sums, tile, strict=True)
                ]
                sums = [v.bytes_of(v.clipped(value, low)) for value in moved]
            for value, (row, half) in zip(sums, tile, strict=True):
                at = builder.add(builder.add(c_begin, builder.mul(c_step, number(row))), number(half * LANES))
                place = builder.bitcast(builder.gep(c, [at]), value.type.as_pointer())
                builder.store(value, place, align=1 if C.dtype == types.uint8 else 4)
            return context.get_dummy_value()

        return signature, emit

    return tile


@intrinsic
def quantize_vectors(typing_context, x, x_start, q, q_start, length, factor, zero):
    """q = clip(round(x * factor) + zero, 0, 255) for whole vectors of ``length`` numbers: how many were clipped.

    All are flat, with the place they begin at; x float32, q uint8. A NaN counts, and is 0.
    """
    size = types.int64
    signature = size(x, size, q, size, size, types.float32, types.float32)

    def emit(context, builder, signature, arguments):
        x_, x_begin, q_, q_begin, length, factor, zero = arguments
        v, floats = Integers(context, builder), Vectors(context, builder, types.float32)
        x_, q_ = v.data(x, x_), v.data(q, q_)
        number, bits = ir.IntType(64), ir.IntType(LANES)
        factor, zero, low = floats.spread(factor), floats.spread(zero), ir.Constant(floats.type, [0.0] * LANES)
        count = cgutils.alloca_once_value(builder, number(0))
        with cgutils.for_range_slice(builder, number(0), length, number(LANES)) as (at, _):
            value = v.moved(floats.load(x_, builder.add(x_begin, at)), factor, zero)
            within = v.clipped(value, low)
            made, place = v.bytes_of(within), builder.gep(q_, [builder.add(q_begin, at)])
            builder.store(made, builder.bitcast(place, made.type.as_pointer()), align=1)
            outside = builder.bitcast(builder.fcmp_unordered("!=", value, within), bits)
            found = builder.call(v.function(f"llvm.ctpop.i{LANES}", bits, [bits]), [outside])
            builder.store(builder.add(builder.load(count), builder.zext(found, number)), count)
        return builder.load(count)

    return signature, emit


highest, four_rows, one_row = make_tile(ROWS, 1), make_tile(4, 2 if ROWS > 4 else 1), make_tile(1, UNROLL)


@njit(cache=True)
def multiply_int8(m, units, steps, C, c_row, offsets, factors, A, a_row, W, zero, low):
    """C = A W + offsets for C (m, units), in int32; or in uint8, clip(round(that * factors) + zero, low, 255).

    All are flat. A holds rows of ``steps`` int32, each four bytes, ``a_row`` apart; W is what ``pack`` made; units are
    whole panels; the rows of C lie ``c_row`` apart.
    """
    for u in range(0, units, PANEL):
        w, r = u * steps, 0
        while m - r >= ROWS:
            highest(C, r * c_row + u, c_row, offsets, factors, u, A, r * a_row, a_row, W, w, steps, zero, low)
            r += ROWS
        while m - r >= 4:
            four_rows(C, r * c_row + u, c_row, offsets, factors, u, A, r * a_row, a_row, W, w, steps, zero, low)
            r += 4
        while r < m:
            one_row(C, r * c_row + u, c_row, offsets, factors, u, A, r * a_row, a_row, W, w, steps, zero, low)
            r += 1


def whole_panels(units: int) -> int:
    """So many units, filled up."""
    return -(-units // PANEL) * PANEL


def steps_of(inputs: int) -> int:
    """How many int32 hold so many inputs."""
    return -(-inputs // FOUR)


def pack(W: np.ndarray) -> np.ndarray:
    """W int8 (i, o) as ``multiply_int8`` reads it, flat int32: panel, step, unit, and in each int32 four inputs."""
    (i, o), steps, units = W.shape, steps_of(W.shape[0]), whole_panels(W.shape[1])
    filled = np.zeros((steps * FOUR, units), np.int8)
    filled[:i, :o] = W
    parts = filled.reshape(steps, FOUR, units // PANEL, PANEL)
    return np.ascontiguousarray(parts.transpose(2, 0, 3, 1)).reshape(-1).view(np.int32)
