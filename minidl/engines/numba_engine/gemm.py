"""The matrix product: C = max(D + A B, floor), tile by tile, each tile kept in registers while it is added up.

Why tiles. A core does one or two multiply-adds on whole vectors in a cycle, but loads about as many vectors. Were each
product added to memory, loading and storing would cost more than computing. So a tile of C, some rows by two vectors
wide, begins in registers as that of D; at each step k, one number of A for each row is spread over a vector and
multiplied with the two vectors of B: rows x 2 multiply-adds for rows + 2 loads. Only then is the tile stored. A
multiply-add takes four or five cycles until its result is there, so a tile needs about eight sums under way.

What is fused. D is the bias, the same for each row, or zeros; the floor is 0 where a ReLU follows, else -infinity. So
neither takes a pass over memory of its own.

Why blocks. The piece of B that a column of tiles reads is DEPTH rows by two vectors, small enough for the first cache,
where it stays while the tiles below read it again.

Ragged edges. Rows that are left over go into lower tiles. Columns that are left over, fewer than a vector has numbers,
are loaded and stored through a mask. A product of few rows goes through tiles that are wider instead of higher.

No packing. Libraries copy B into panels first, so that a tile reads one stretch of memory. Measured here it did not
pay: with rows of 256 numbers the tiles run at 97% of the processor's peak as they are, and W changes at every step of
a training. What is copied is the transposed W of dX = dZ W': see ``transpose``.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.processor import host

VECTOR_BYTES, FUSED = host().vector_bytes, host().fused
ROWS = 12 if host().registers == 32 else 6 if FUSED else 4  # of the highest tile: with B and A it fills the registers
DEPTH = 256  # steps at a time


class Vectors:
    """Emits loads, stores and multiply-adds of one vector type, at places of flat arrays."""

    def __init__(self, context, builder, dtype):
        self.context, self.builder = context, builder
        self.width = 4 if dtype == types.float32 else 8
        self.lanes = VECTOR_BYTES // self.width
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

    def multiply_add(self, a, b, c):
        if not FUSED:  # then a call of the C library would do it, one number at a time
            return self.builder.fadd(self.builder.fmul(a, b), c)
        fma = self.function(f"llvm.fma.{self.suffix}", self.type, [self.type] * 3)
        return self.builder.call(fma, [a, b, c])


def make_tile(rows: int, vectors: int, masked: bool = False):
    """The intrinsic that computes a tile of C, ``rows`` rows by ``vectors`` vectors.

    Its arguments are flat arrays with the place where the tile begins and the distance of its rows: C; D; A, with the
    distance of its rows and of its columns, so that a transposed matrix serves as well; B; how many steps to take; how
    many columns there are, which counts where the tile is ``masked``; and the floor.
    """

    @intrinsic
    def tile(
        typing_context, C, c_start, c_row, D, d_start, d_row, A, a_start, a_row, a_column, B, b_start, b_row, depth,
        columns, floor,
    ):  # fmt: skip
        size = types.int64
        places = (C, size, size, D, size, size, A, size, size, size, B, size, size)
        signature = types.none(*places, size, size, C.dtype)

        def emit(context, builder, signature, arguments):
            c, c_begin, c_step, d, d_begin, d_step, a, a_begin, a_step, a_next, b, b_begin, b_step = arguments[:13]
            steps, width, floor = arguments[13:]
            v = Vectors(context, builder, C.dtype)
            c, d, a, b = (v.data(kind, array) for kind, array in ((C, c), (D, d), (A, a), (B, b)))
            count, mask, floor = ir.IntType(64), v.mask(width) if masked else None, v.spread(floor)

            def pieces(start):
                return [builder.add(start, count(piece * v.lanes)) for piece in range(vectors)]

            def place(begin, step, row):
                return builder.add(begin, builder.mul(step, count(row)))

            starts = [[v.load(d, at, mask) for at in pieces(place(d_begin, d_step, row))] for row in range(rows)]
            before, loop, after = builder.block, builder.append_basic_block("steps"), builder.append_basic_block("done")
            builder.branch(loop)
            builder.position_at_end(loop)
            k = builder.phi(count)
            sums = [[builder.phi(v.type) for _ in range(vectors)] for _ in range(rows)]
            b_now = [v.load(b, at, mask) for at in pieces(builder.add(b_begin, builder.mul(k, b_step)))]
            a_place = builder.add(a_begin, builder.mul(k, a_next))
            new = []
            for row in range(rows):
                spread = v.spread(builder.load(builder.gep(a, [place(a_place, a_step, row)])))
                new.append([v.multiply_add(spread, b_now[p], sums[row][p]) for p in range(vectors)])
            next_k = builder.add(k, count(1))
            for phi, first, then in [(k, count(0), next_k)] + [
                (sums[row][p], starts[row][p], new[row][p]) for row in range(rows) for p in range(vectors)
            ]:
                phi.add_incoming(first, before)
                phi.add_incoming(then, loop)
            builder.cbranch(builder.icmp_signed("<", next_k, steps), loop, after)
            builder.position_at_end(after)
            for row in range(rows):
                for value, at in zip(new[row], pieces(place(c_begin, c_step, row)), strict=True):
                    low = builder.fcmp_ordered("<=", value, floor)  # which a NaN is not, and passes
                    v.store(builder.select(low, floor, value), c, at, mask)
            return context.get_dummy_value()

        return signature, emit

    return tile


WIDE = ROWS // 2 + 2  # vectors of a tile of one row: as many sums as it takes to hide what one multiply-add takes
tile_full, tile_full_last = make_tile(ROWS, 2), make_tile(ROWS, 1, masked=True)
tile_four, tile_four_last = make_tile(4, 2), make_tile(4, 1, masked=True)
tile_one, tile_one_last, tile_one_wide = make_tile(1, 2), make_tile(1, 1, masked=True), make_tile(1, WIDE)


@njit(cache=True)
def multiply(C, D, A, a_start, a_row, a_column, B, floor):
    """C = max(D + A B, floor) for C (m, o) and B (d, o), contiguous, and D (o,), which is added to each row.

    A is flat, its entry (r, k) is A[a_start + r a_row + k a_column]. Each entry's sum is taken in the order of k,
    whatever the shapes: parting a product by rows or columns changes no bit.
    """
    m, o, d = C.shape[0], C.shape[1], B.shape[0]
    c, b = C.reshape(-1), B.reshape(-1)
    lanes, none = VECTOR_BYTES // C.itemsize, C.dtype.type(-np.inf)
    given, given_row = D, np.int64(0)  # what the tiles begin with
    for k in range(0, d, DEPTH):
        steps, a_k, b_k = min(DEPTH, d - k), a_start + k * a_column, k * o
        low = floor if k + steps == d else none
        u = 0
        while u < o:
            r, left, b_u = 0, o - u, b_k + u
            if m < 4 and left >= WIDE * lanes:
                for r in range(m):
                    tile_one_wide(
                        c, r * o + u, o, given, r * given_row + u, given_row, A, a_k + r * a_row, a_row, a_column,
                        b, b_u, o, steps, left, low,
                    )  # fmt: skip
                u += WIDE * lanes
                continue
            wide = left >= 2 * lanes
            while r < m:
                c_at, d_at, a_at = r * o + u, r * given_row + u, a_k + r * a_row
                if m - r >= ROWS:
                    if wide:
                        tile_full(
                            c, c_at, o, given, d_at, given_row, A, a_at, a_row, a_column, b, b_u, o, steps, left, low
                        )
                    else:
                        tile_full_last(
                            c, c_at, o, given, d_at, given_row, A, a_at, a_row, a_column, b, b_u, o, steps, left, low
                        )
                    r += ROWS
                elif m - r >= 4:
                    if wide:
                        tile_four(
                            c, c_at, o, given, d_at, given_row, A, a_at, a_row, a_column, b, b_u, o, steps, left, low
                        )
                    else:
                        tile_four_last(
                            c, c_at, o, given, d_at, given_row, A, a_at, a_row, a_column, b, b_u, o, steps, left, low
                        )
                    r += 4
                else:
                    if wide:
                        tile_one(
                            c, c_at, o, given, d_at, given_row, A, a_at, a_row, a_column, b, b_u, o, steps, left, low
                        )
                    else:
                        tile_one_last(
                            c, c_at, o, given, d_at, given_row, A, a_at, a_row, a_column, b, b_u, o, steps, left, low
                        )
                    r += 1
            u += 2 * lanes if wide else lanes
        given, given_row = c, o


@intrinsic
def transpose_square(typing_context, source, start, step, target, target_start, target_step):
    """Copy a square of as many rows as a vector has numbers, its rows becoming columns.

    log2(lanes) rounds: in the round of s, rows s apart exchange every second run of s numbers.
    """
    size = types.int64
    signature = types.none(source, size, size, target, size, size)

    def emit(context, builder, signature, arguments):
        given, begin, row_step, taken, taken_begin, taken_step = arguments
        v = Vectors(context, builder, source.dtype)
        given, taken = v.data(source, given), v.data(target, taken)
        count, index = ir.IntType(64), ir.VectorType(ir.IntType(32), v.lanes)
        rows = [
            v.load(given, builder.add(begin, builder.mul(row_step, count(row)))) for row in range(v.lanes)
        ]
        s = 1
        while s < v.lanes:
            upper = ir.Constant(index, [j if not j & s else j - s + v.lanes for j in range(v.lanes)])
            lower = ir.Constant(index, [j + s if not j & s else j + v.lanes for j in range(v.lanes)])
            for i in range(v.lanes):
                if not i & s:
                    a, b = rows[i], rows[i + s]
                    rows[i], rows[i + s] = builder.shuffle_vector(a, b, upper), builder.shuffle_vector(a, b, lower)
            s *= 2
        for row in range(v.lanes):
            v.store(rows[row], taken, builder.add(taken_begin, builder.mul(taken_step, count(row))))
        return context.get_dummy_value()

    return signature, emit


@njit(cache=True)
def transpose(W, first, last, out):
    """Rows ``first`` to ``last`` of W (i, o) become these columns of ``out`` (o, i)."""
    lanes, i, o = VECTOR_BYTES // W.itemsize, W.shape[0], W.shape[1]
    w, t = W.reshape(-1), out.reshape(-1)
    whole_k, whole_u = first + (last - first) // lanes * lanes, o // lanes * lanes
    for k in range(first, whole_k, lanes):
        for u in range(0, whole_u, lanes):
            transpose_square(w, k * o + u, o, t, u * i + k, i)
        for u in range(whole_u, o):
            for kk in range(k, k + lanes):
                t[u * i + kk] = w[kk * o + u]
    for k in range(whole_k, last):
        for u in range(o):
            t[u * i + k] = w[k * o + u]
