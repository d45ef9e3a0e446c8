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
from numba.np.arrayobj import populate_array

from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.processor import host
from minidl.engines.numba_engine.views import vector

VECTOR_BYTES, FUSED = host().vector_bytes, host().fused
ROWS = 12 if host().registers == 32 else 6 if FUSED else 4  # of the highest tile: with B and A it fills the registers
DEPTH = 256  # steps at a time
GROUP = 32
STRIDE = 8


class Vectors:
    """Emits loads, stores and multiply-adds of one vector type, at places of flat arrays."""

    def __init__(self, context, builder, dtype, vector_bytes=VECTOR_BYTES):
        self.context, self.builder = context, builder
        self.width = 4 if dtype == types.float32 else 8
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

    def at_least(self, value, floor):
        """max(value, floor), in which a NaN passes: it is not below the floor."""
        return self.builder.select(self.builder.fcmp_ordered("<", value, floor), floor, value)

    def multiply_add(self, a, b, c):
        if not FUSED:  # then a call of the C library would do it, one number at a time
            return self.builder.fadd(self.builder.fmul(a, b), c)
        fma = self.function(f"llvm.fma.{self.suffix}", self.type, [self.type] * 3)
        return self.builder.call(fma, [a, b, c])


def make_tile(rows: int, vectors: int, masked: bool = False, half: bool = False):
    """The intrinsic that computes a tile of C, ``rows`` rows by ``vectors`` vectors, or by half a vector.

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
            v = Vectors(context, builder, C.dtype, VECTOR_BYTES // 2 if half else VECTOR_BYTES)
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
                    v.store(v.at_least(value, floor), c, at, mask)
            return context.get_dummy_value()

        return signature, emit

    return tile


def make_rows(rows: int, steps: int):
    """The intrinsic that takes ``steps`` steps of the sums of a few whole rows of C, their numbers of A in registers.

    Its arguments are those of a tile, but for the number of steps.
    """

    @intrinsic
    def run(
        typing_context, C, c_start, c_row, D, d_start, d_row, A, a_start, a_row, a_column, B, b_start, b_row, columns,
        floor,
    ):  # fmt: skip
        size = types.int64
        places = (C, size, size, D, size, size, A, size, size, size, B, size, size)
        signature = types.none(*places, size, C.dtype)

        def emit(context, builder, signature, arguments):
            c, c_begin, c_step, d, d_begin, d_step, a, a_begin, a_step, a_next, b, b_begin, b_step = arguments[:13]
            width, floor = arguments[13:]
            v = Vectors(context, builder, C.dtype)
            c, d, a, b = (v.data(kind, array) for kind, array in ((C, c), (D, d), (A, a), (B, b)))
            count, floor = ir.IntType(64), v.spread(floor)

            def place(begin, *distances):
                for step, times in distances:
                    begin = builder.add(begin, builder.mul(step, count(times)))
                return begin

            def numbers(row):
                places = [place(a_begin, (a_step, row), (a_next, k)) for k in range(steps)]
                return [v.spread(builder.load(builder.gep(a, [at]))) for at in places]

            def advance(u, mask=None):
                """The sums of one vector of columns, which begins at the column u."""
                b_now = [v.load(b, builder.add(place(b_begin, (b_step, k)), u), mask) for k in range(steps)]
                for row in range(rows):
                    total = v.load(d, builder.add(place(d_begin, (d_step, row)), u), mask)
                    for k in range(steps):
                        total = v.multiply_add(spread[row][k], b_now[k], total)
                    v.store(v.at_least(total, floor), c, builder.add(place(c_begin, (c_step, row)), u), mask)

            spread = [numbers(row) for row in range(rows)]
            whole = builder.and_(width, count(-v.lanes))
            with cgutils.for_range_slice(builder, count(0), whole, count(v.lanes)) as (u, _):
                advance(u)
            with builder.if_then(builder.icmp_signed("<", whole, width)):
                advance(whole, v.mask(builder.sub(width, whole)))
            return context.get_dummy_value()

        return signature, emit

    return run


tile_full, tile_full_last = make_tile(ROWS, 2), make_tile(ROWS, 1, masked=True)
tile_four, tile_four_last = make_tile(4, 2), make_tile(4, 1, masked=True)
tile_full_half, tile_four_half = make_tile(ROWS, 1, masked=True, half=True), make_tile(4, 1, masked=True, half=True)
WIDE = host().registers // 2  # vectors of a tile of one row
one_wide, one_half, one_last = make_tile(1, WIDE), make_tile(1, WIDE // 2), make_tile(1, 1, masked=True)
one_row, one_row_last = make_rows(1, STRIDE), make_rows(1, 1)
two_rows, two_rows_last = make_rows(2, STRIDE), make_rows(2, 1)
three_rows, three_rows_last = make_rows(3, STRIDE), make_rows(3, 1)


ROOM = DEPTH + 16
PACK = True

@intrinsic
def stack_array(typing_context, like):
    kind = types.Array(like.dtype, 1, "C")

    def emit(context, builder, signature, arguments):
        scalar = context.get_value_type(like.dtype)
        room = ir.ArrayType(scalar, ROWS * ROOM)
        with builder.goto_entry_block():
            data = builder.alloca(room)
        view = context.make_array(kind)(context, builder)
        size = context.get_constant(types.intp, ROWS * ROOM)
        item = context.get_constant(types.intp, context.get_abi_sizeof(scalar))
        populate_array(view, builder.bitcast(data, scalar.as_pointer()), cgutils.pack_array(builder, [size]), cgutils.pack_array(builder, [item]), item, None)
        return view._getvalue()

    return kind(like), emit


@njit(cache=True)
def multiply(m, o, d, C, c_start, c_row, D, d_start, A, a_start, a_row, a_column, B, b_start, b_row, floor):
    """C = max(D + A B, floor) for C (m, o), A (m, d) and B (d, o), and D (o,), which is added to each row.

    All are flat: the entry (r, u) of C is C[c_start + r c_row + u], (k, u) of B is B[b_start + k b_row + u], and
    (r, k) of A is A[a_start + r a_row + k a_column]. Each entry's sum is taken in the order of k, whatever the shapes:
    parting a product by rows or columns changes no bit.
    """
    # Views, since they are handed on without counting references.
    C, D, A, B = vector(C, 0, C.size), vector(D, 0, D.size), vector(A, 0, A.size), vector(B, 0, B.size)
    lanes, none = VECTOR_BYTES // C.itemsize, C.dtype.type(-np.inf)
    in_tiles = m - m % ROWS % 4
    packed = stack_array(C)
    given, given_start, given_row = D, d_start, np.int64(0)  # what the tiles begin with
    k = 0
    while k < d:
        steps, a_k, b_k = min(DEPTH, d - k), a_start + k * a_column, b_start + k * b_row
        low = floor if k + steps == d else none
        group = 0
        while group < o and in_tiles:
            end = min(group + GROUP * lanes, o)
            r = 0
            while r < in_tiles:
                high = in_tiles - r >= ROWS
                rows = ROWS if high else 4
                a_at, u, a, row, column = a_k + r * a_row, group, A, a_row, a_column
                if PACK and a_column == 1 and end - group >= 8 * lanes:
                    for q in range(rows):
                        source, target = vector(A, a_at + q * a_row, steps), vector(packed, q * ROOM, steps)
                        for s in range(steps):
                            target[s] = source[s]
                    a_at, a, row = 0, packed, ROOM
                while u < end:
                    left = end - u
                    c_at, d_at, b_at = c_start + r * c_row + u, given_start + r * given_row + u, b_k + u
                    if left >= 2 * lanes:
                        if high:
                            tile_full(
                                C, c_at, c_row, given, d_at, given_row, a, a_at, row, column, B, b_at, b_row,
                                steps, left, low,
                            )
                        else:
                            tile_four(
                                C, c_at, c_row, given, d_at, given_row, a, a_at, row, column, B, b_at, b_row,
                                steps, left, low,
                            )
                        u += 2 * lanes
                    elif left > lanes // 2:
                        if high:
                            tile_full_last(
                                C, c_at, c_row, given, d_at, given_row, a, a_at, row, column, B, b_at, b_row,
                                steps, left, low,
                            )
                        else:
                            tile_four_last(
                                C, c_at, c_row, given, d_at, given_row, a, a_at, row, column, B, b_at, b_row,
                                steps, left, low,
                            )
                        u += lanes
                    else:
                        if high:
                            tile_full_half(
                                C, c_at, c_row, given, d_at, given_row, a, a_at, row, column, B, b_at, b_row,
                                steps, left, low,
                            )
                        else:
                            tile_four_half(
                                C, c_at, c_row, given, d_at, given_row, a, a_at, row, column, B, b_at, b_row,
                                steps, left, low,
                            )
                        u += lanes // 2
                r += rows
            group = end
        if in_tiles < m:
            few_rows(
                m - in_tiles, o, steps, C, c_start + in_tiles * c_row, c_row, given, given_start + in_tiles * given_row,
                given_row, A, a_k + in_tiles * a_row, a_row, a_column, B, b_k, b_row, low,
            )
        given, given_start, given_row = C, c_start, c_row
        k += steps


@njit(cache=True)
def few_rows(
    m, o, d, C, c_start, c_row, given, d_start, d_row, A, a_start, a_row, a_column, B, b_start, b_row, floor
):
    """The rows left over where four do not go into them: B is read row by row, as it lies in memory."""
    none, lanes, u = C.dtype.type(-np.inf), VECTOR_BYTES // C.itemsize, 0
    if m == 1 and o <= 2 * WIDE * lanes:
        while o - u >= WIDE * lanes:
            one_wide(
                C, c_start + u, c_row, given, d_start + u, d_row, A, a_start, a_row, a_column, B, b_start + u, b_row, d,
                o, floor,
            )
            u += WIDE * lanes
        if o - u >= WIDE // 2 * lanes:
            one_half(
                C, c_start + u, c_row, given, d_start + u, d_row, A, a_start, a_row, a_column, B, b_start + u, b_row, d,
                o, floor,
            )
            u += WIDE // 2 * lanes
    if o - u <= 2 * lanes:
        while u < o:
            for r in range(m):
                one_last(
                    C, c_start + r * c_row + u, c_row, given, d_start + r * d_row + u, d_row, A, a_start + r * a_row,
                    a_row, a_column, B, b_start + u, b_row, d, o - u, floor,
                )
            u += lanes
        return
    c_start, d_start, b_start, o = c_start + u, d_start + u, b_start + u, o - u
    k = 0
    while k < d:
        stride = STRIDE if d - k >= STRIDE else 1
        a_at, b_at, low = a_start + k * a_column, b_start + k * b_row, floor if k + stride == d else none
        if m == 1:
            if stride == STRIDE:
                one_row(C, c_start, c_row, given, d_start, d_row, A, a_at, a_row, a_column, B, b_at, b_row, o, low)
            else:
                one_row_last(C, c_start, c_row, given, d_start, d_row, A, a_at, a_row, a_column, B, b_at, b_row, o, low)
        elif m == 2:
            if stride == STRIDE:
                two_rows(C, c_start, c_row, given, d_start, d_row, A, a_at, a_row, a_column, B, b_at, b_row, o, low)
            else:
                two_rows_last(C, c_start, c_row, given, d_start, d_row, A, a_at, a_row, a_column, B, b_at, b_row, o, low)
        else:
            if stride == STRIDE:
                three_rows(C, c_start, c_row, given, d_start, d_row, A, a_at, a_row, a_column, B, b_at, b_row, o, low)
            else:
                three_rows_last(C, c_start, c_row, given, d_start, d_row, A, a_at, a_row, a_column, B, b_at, b_row, o, low)
        given, d_start, d_row = C, c_start, c_row
        k += stride


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
def transpose(i, o, W, start, row, out, out_start, out_row):
    """A block (i, o) of W becomes a block (o, i) of ``out``; both are flat, with a start and the distance of the rows."""
    lanes = VECTOR_BYTES // W.itemsize
    whole_k, whole_u = i - i % lanes, o - o % lanes
    for k in range(0, whole_k, lanes):
        for u in range(0, whole_u, lanes):
            transpose_square(W, start + k * row + u, row, out, out_start + u * out_row + k, out_row)
        for u in range(whole_u, o):
            for kk in range(k, k + lanes):
                out[out_start + u * out_row + kk] = W[start + kk * row + u]
    for k in range(whole_k, i):
        for u in range(o):
            out[out_start + u * out_row + k] = W[start + k * row + u]
