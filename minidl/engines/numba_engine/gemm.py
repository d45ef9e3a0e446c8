"""The matrix product: C = max(D + A B, floor), tile by tile, each tile kept in registers while it is added up.

Why tiles. A core does one or two multiply-adds on whole vectors in a cycle, but loads about as many vectors. Were each
product added to memory, loading and storing would cost more than computing. So a tile of C, some rows by two vectors
wide, begins in registers as that of D; at each step k, one number of A for each row is spread over a vector and
multiplied with the two vectors of B: rows x 2 multiply-adds for rows + 2 loads. Only then is the tile stored. A
multiply-add takes four or five cycles until its result is there, so a tile needs about eight sums under way.

What is fused. D is the bias, the same for each row, or zeros; the floor is 0 where a ReLU follows, else -infinity. So
neither takes a pass over memory of its own.

Why blocks. DEPTH rows of B, GROUP vectors wide, stay in the second cache while all rows of A go past them. A tile's
piece of A stays in the first, where each two vectors of the group need it again.

Packing. Where the length of a row is a large power of two, or a multiple of one, the lines that a tile needs fall on
the same few places of a cache and drive each other out. So the piece of A is copied next to each other first, and where
rows of B are about whole pages apart and many rows of A will read them, those of the group: with 1,024 columns that is
worth a quarter of the time in vectors of 32 bytes, and little in those of 64. Elsewhere it is not worth the copying:
the tiles run at 97% of the processor's peak as things are. What is always copied is the transposed W of dX = dZ W': see
``transpose``.

Ragged edges. Rows are taken in bands of several heights, such that all take the least time together: low ones wait for
B. Columns that are left over, fewer than two vectors have numbers, are loaded and stored through a mask, in as many
vectors, or half a vector, as hold them.

Few columns go another way, that of gemm_narrow.py.

Few rows. One to four rows are limited by how fast B can be read, not by arithmetic: B is read but once, in tiles as
wide as the registers allow, the next rows of it on their way into the first cache.
"""

import functools

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minidl.aligned import LINE
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.gemm_narrow import FEWEST_STEPS, holds, multiply_narrow
from minidl.engines.numba_engine.processor import host
from minidl.engines.numba_engine.vectors import FUSED, ONE, VECTOR_BYTES, ZERO, Vectors, call_apart, keep_rolled, row_at
from minidl.engines.numba_engine.views import address, allocate, array_at, keep, release, vector, vector_at

ROWS = 12 if host().registers == 32 else 6 if FUSED else 4  # of a tile, where there are many
DEPTH = 256  # steps at a time
GROUP = 32  # vectors of columns at a time
ROOM = DEPTH + 16  # from one row of a packed piece to the next: no power of two
PACKS = 8  # vectors of columns from which on packing A pays
MANY, PAGE = 128, 4096  # packing B pays from so many rows of A on, where its rows are about whole pages apart, in bytes
AHEAD = 8  # rows of B that are fetched ahead where few rows of A wait for them
# How high a band may be: how many vectors wide its tiles are, the widest first; which row of B is fetched into the
# first cache, the one that is so many ahead, or none for 0; and how long it takes, as measured. A tile fills the
# registers, together with a row of B and a number of A.
if host().registers == 32:
    BANDS = {14: ((2,), 0, 14), 13: ((2,), 0, 13), 12: ((2,), 0, 12), 8: ((2,), 0, 8.3)}
    BANDS |= {4: ((4, 2), AHEAD, 5.6), 3: ((6, 4, 2), AHEAD, 5.3), 2: ((8, 4, 2), AHEAD, 5)}
    BANDS |= {1: ((16, 8, 4, 2), AHEAD, 4.6)}
else:
    BANDS = {4: ((2,), AHEAD, 4.4), ROWS: ((2,), 0, ROWS), 3: ((2,), AHEAD, 3.5), 2: ((4, 2), AHEAD, 3)}
    BANDS |= {1: ((8, 4, 2), AHEAD, 2.5)}
WIDE = max(rows for rows, (widths, *_) in BANDS.items() if widths[0] > 2)  # bands of so many rows, or fewer


def make_bands(kinds: dict[int, tuple]):
    """The intrinsic that computes a band of C, as many rows high as one of the ``kinds``, which are as in ``BANDS``.

    Its arguments are how high; then flat arrays with the place where the band begins and the distance of its rows: C;
    D; A, with the distance of its rows and of its columns, so that a transposed matrix serves as well; B, for which it
    may be an array instead (see ``row_at``) where all columns of B are taken, and the distance of its columns; how
    many steps to take; how many columns there are; and the floor.
    """

    @intrinsic
    def band(
        typing_context, rows, C, c_start, c_row, D, d_start, d_row, A, a_start, a_row, a_column, B, b_start, b_row,
        b_column, depth, columns, floor,
    ):  # fmt: skip
        size = types.int64
        anywhere = isinstance(b_row, types.Array)
        rows_of_b = b_row if anywhere else size
        places = (C, size, size, D, size, size, A, size, size, size, B, size, rows_of_b, size)
        signature = types.none(size, *places, size, size, C.dtype)

        def emit(context, builder, signature, arguments):
            done = builder.append_basic_block()
            switch = builder.switch(arguments[0], done)
            for height, (widths, ahead, _) in kinds.items():
                switch.add_case(ir.IntType(64)(height), builder.append_basic_block())
                builder.position_at_end(switch.cases[-1][1])
                name = f"band_of_{height}_ahead_{ahead}_by_" + "_".join(map(str, widths)) + "_anywhere" * anywhere
                write = functools.partial(write_band, context, C.dtype, height, widths, ahead)
                call_apart(context, builder, name, types.none(*signature.args[1:]), arguments[1:], write)
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return signature, emit

    return band


def write_band(
    context, dtype, rows, widths, ahead, builder, c, c_begin, c_step, d, d_begin, d_step, a, a_begin, a_step, a_next,
    b, b_begin, b_step, b_next, steps, columns, lowest,
):  # fmt: skip
    """The body of such a function: ``rows`` rows, tile after tile."""
    vector, half = (Vectors(context, builder, dtype, size) for size in (VECTOR_BYTES, VECTOR_BYTES // 2))
    count = ir.IntType(64)

    def tile(v, u, vectors, left=None):
        """The sums of ``vectors`` vectors of columns, which begin at the column u; only so many where some are left."""
        masks = [None] * (vectors - 1) + [left and v.mask(builder.sub(left, count((vectors - 1) * v.lanes)))]
        floor = v.spread(lowest)

        def pieces(begin, step, times, at=u):
            start = builder.add(builder.add(begin, at), row_at(builder, step, times, columns))
            return [builder.add(start, count(piece * v.lanes)) for piece in range(vectors)]

        def loaded(data, places):
            return [v.load(data, at, mask) for at, mask in zip(places, masks, strict=True)]

        starts = [loaded(d, pieces(d_begin, d_step, count(row))) for row in range(rows)]
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(count)
        sums = [[builder.phi(v.type) for _ in range(vectors)] for _ in range(rows)]
        b_now = loaded(b, pieces(b_begin, b_step, k, builder.mul(u, b_next)))
        if ahead:
            for at in pieces(b_begin, b_step, builder.add(k, count(ahead)), builder.mul(u, b_next)):
                v.fetch(b, at)
        a_now = builder.add(a_begin, builder.mul(k, a_next))
        new = []
        for row in range(rows):
            at = builder.add(a_now, builder.mul(a_step, count(row)))
            spread = v.spread(builder.load(builder.gep(a, [at])))
            new.append([v.multiply_add(spread, b_now[p], sums[row][p]) for p in range(vectors)])
        next_k = builder.add(k, count(1))
        for phi, first, then in [(k, count(0), next_k)] + [
            (sums[row][p], starts[row][p], new[row][p]) for row in range(rows) for p in range(vectors)
        ]:
            phi.add_incoming(first, before)
            phi.add_incoming(then, loop)
        again = builder.cbranch(builder.icmp_signed("<", next_k, steps), loop, after)
        if not ahead:  # unrolled, what a high tile keeps would not fit into the registers
            keep_rolled(builder, again)
        builder.position_at_end(after)
        for row in range(rows):
            for value, at, mask in zip(new[row], pieces(c_begin, c_step, count(row)), masks, strict=True):
                v.store(v.at_least(value, floor), c, at, mask)

    def along(u, stop, v, vectors, masked=False):
        """Tile after tile from the column u on, while at least ``stop`` columns are left; the next column."""
        before, look, work, after = (builder.block, *(builder.append_basic_block() for _ in range(3)))
        builder.branch(look)
        builder.position_at_end(look)
        at = builder.phi(count)
        at.add_incoming(u, before)
        left = builder.sub(columns, at)
        builder.cbranch(builder.icmp_signed(">=", left, count(stop)), work, after)
        builder.position_at_end(work)
        tile(v, at, vectors, left if masked else None)
        at.add_incoming(builder.add(at, count(vectors * v.lanes)), builder.block)
        builder.branch(look)
        builder.position_at_end(after)
        return at

    u = count(0)
    for width in widths:
        u = along(u, width * vector.lanes, vector, width)
    u = along(u, vector.lanes + 1, vector, 2, masked=True)
    u = along(u, half.lanes + 1, vector, 1, masked=True)
    along(u, 1, half, 1, masked=True)


def first_bands(kinds: dict[int, tuple], most: int) -> np.ndarray:
    """For each number of rows up to ``most`` how high the first band is, so that all take the least time together."""
    times, heights = [0.0], [0]
    for rows in range(1, most + 1):
        ways = [(times[rows - height] + time, height) for height, (*_, time) in kinds.items() if height <= rows]
        time, height = min(ways, key=lambda way: (way[0], -way[1]))  # of two that take as long the higher one
        times.append(time)
        heights.append(height)
    return np.array(heights)


FIRST_BAND = first_bands(BANDS, 5 * ROWS)
band = make_bands(BANDS)


@intrinsic
def fetch(typing_context, array, place):
    """Let the cache line of a flat array's entry come near, for a load that comes soon; the place may be outside."""

    def emit(context, builder, signature, arguments):
        v = Vectors(context, builder, signature.args[0].dtype)
        v.fetch(v.data(signature.args[0], arguments[0]), arguments[1])
        return context.get_dummy_value()

    return types.none(array, types.int64), emit


@njit(cache=True, inline="always")
def fetch_row(X, row, length):
    """The same for a row of a flat matrix without gaps, where no processor foresees which row comes next."""
    for k in range(0, length, LINE // X.itemsize):
        fetch(X, row * length + k)


@intrinsic
def room_for_a_tile(typing_context, like):
    """An array on the stack for a tile's piece of A."""
    kind = types.Array(like.dtype, 1, "C")

    def emit(context, builder, signature, arguments):
        scalar = context.get_value_type(like.dtype)
        room = ir.ArrayType(scalar, max(BANDS) * ROOM)
        with builder.goto_entry_block():
            data = builder.alloca(room)
        pointer, size = builder.bitcast(data, scalar.as_pointer()), context.get_constant(types.intp, max(BANDS) * ROOM)
        return array_at(context, builder, kind, pointer, [size])

    return kind(like), emit


@njit(cache=True)
def pack_columns(d, o, B, start, row, panels):
    """Copy columns of B two vectors at a time, the rows of each pair next to each other; o is whole pairs."""
    pair = 2 * VECTOR_BYTES // B.itemsize
    for u in range(0, o, pair):
        for k in range(d):
            source, target = vector(B, start + k * row + u, pair), vector(panels, u * d + k * pair, pair)
            for e in range(pair):
                target[e] = source[e]


@njit(cache=True, inline="always")
def multiply(m, o, d, C, c_start, c_row, D, d_start, A, a_start, a_row, a_column, B, b_start, b_row, floor):
    """C = max(D + A B, floor) for C (m, o), A (m, d) and B (d, o), and D (o,), which is added to each row.

    All are flat: the entry (r, u) of C is C[c_start + r c_row + u], (k, u) of B is B[b_start + k b_row + u], and
    (r, k) of A is A[a_start + r a_row + k a_column]. In which order an entry is added up depends on d, c_row and
    whether a_column is 1, on nothing else: parting a product by rows or columns changes no bit.
    """
    multiply_at(
        m, o, d, address(C, c_start), c_row, address(D, d_start), address(A, a_start), a_row, a_column,
        address(B, b_start), b_row, floor,
    )  # fmt: skip
    keep(C, D, A, B)


@njit(cache=True, counts=False)
def multiply_at(m, o, d, c, c_row, d_at, a, a_row, a_column, b, b_row, floor):
    """``multiply`` of what lies at these addresses: an array would be seven arguments, most of them through memory."""
    kind = type(floor)
    C, D, A, B = vector_at(kind, c, 0), vector_at(kind, d_at, 0), vector_at(kind, a, 0), vector_at(kind, b, 0)
    if a_column == 1 and d >= FEWEST_STEPS and holds(2, c_row, C.itemsize):
        multiply_narrow(m, o, d, c, c_row, d_at, a, a_row, b, b_row, floor)
        return
    lanes, none = VECTOR_BYTES // C.itemsize, kind(-np.inf)
    # Fewer rows than a tile read B but once, so that nothing is gained by keeping a part of it near.
    depth, group = (DEPTH, GROUP * lanes) if m >= 4 else (max(d, 1), o)
    packed = room_for_a_tile(C)
    apart = b_row * C.itemsize  # bytes from one row of B to the next
    packs_B = m >= MANY and o >= 2 * lanes and apart > 2 * LINE and (apart + LINE) % PAGE <= 2 * LINE
    room = allocate(DEPTH * GROUP * VECTOR_BYTES + LINE) if packs_B else 0
    packs_B = room != 0  # where there is no memory, B is read as it lies
    panels = vector_at(kind, (room + LINE - 1) // LINE * LINE, 0)
    given, given_row = D, ZERO  # what the tiles begin with
    k = 0
    while k < d:
        steps, a_k, b_k = min(depth, d - k), k * a_column, k * b_row
        low = floor if k + steps == d else none
        u = 0
        while u < o:
            width, r = min(group, o - u), 0
            packed_B = packs_B and width >= 2 * lanes
            if packed_B:
                width -= width % (2 * lanes)  # what is left over is read where it lies
                pack_columns(steps, width, B, b_k + u, b_row, panels)
            while r < m:
                rows = FIRST_BAND[m - r] if m - r < FIRST_BAND.size else ROWS
                a, a_at, row, column = A, a_k + r * a_row, a_row, a_column
                if a_column == 1 and width >= PACKS * lanes and rows >= 4:
                    for q in range(rows):
                        source, target = vector(A, a_at + q * a_row, steps), vector(packed, q * ROOM, steps)
                        for s in range(steps):
                            target[s] = source[s]
                    a, a_at, row = packed, 0, ROOM
                if packed_B and rows > WIDE:
                    w, w_at, w_row, w_column = panels, 0, 2 * lanes, steps
                else:  # these tiles are wider than what is packed together
                    w, w_at, w_row, w_column = B, b_k + u, b_row, ONE
                band(
                    rows, C, r * c_row + u, c_row, given, r * given_row + u, given_row, a, a_at, row, column, w, w_at,
                    w_row, w_column, steps, width, low,
                )  # fmt: skip
                r += rows
            u += width
        given, given_row = C, c_row
        k += steps
    if packs_B:
        release(room)


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
def transpose(i, o, W, start, out, out_start, out_row):
    """Some rows of W, (i, o) from its entry ``start`` on, become columns of ``out``."""
    if o == 1:
        source, target = vector(W, start, i), vector(out, out_start, i)
        for k in range(i):
            target[k] = source[k]
        return
    lanes = VECTOR_BYTES // W.itemsize
    whole_k, whole_u = i - i % lanes, o - o % lanes
    for k in range(0, whole_k, lanes):
        for u in range(0, whole_u, lanes):
            transpose_square(W, start + k * o + u, o, out, out_start + u * out_row + k, out_row)
        for u in range(whole_u, o):
            for kk in range(k, k + lanes):
                out[out_start + u * out_row + kk] = W[start + kk * o + u]
    for k in range(whole_k, i):
        for u in range(o):
            out[out_start + u * out_row + k] = W[start + k * o + u]
