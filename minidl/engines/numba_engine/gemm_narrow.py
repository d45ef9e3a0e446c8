"""The matrix product with few columns: several steps of the sum at a time in one vector.

A layer of five units fills five lanes of sixteen, and each number of A that is spread over a vector brings but five
products. So here a vector holds ``together`` steps of each column, next to each other. It is multiplied with as many
numbers of A, which lie next to each other in memory and are spread together. The lanes of a column are then sums of
every second or fourth product, or with one column of every sixteenth, and are added up at the end.

In which order depends on the length of a sum and of a row of C alone: parting a product changes no bit here as well.
"""

import functools

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.processor import host
from minidl.engines.numba_engine.vectors import ONE, VECTOR_BYTES, ZERO, Vectors, call_apart, row_at
from minidl.engines.numba_engine.views import address, keep, vector_at

# Rows of A at a time: where there are several columns, and where there is one.
ROWS, COLUMN_ROWS = (12, 16) if host().registers == 32 else (8, 8)
FEWEST_STEPS = 4  # with fewer, what comes before and after the sums takes longer than they do


def make_narrow_band(rows: int, together: int):
    """The intrinsic that computes ``rows`` rows of C = max(D + A B, floor), ``together`` steps at a time.

    With 0 of these a vector holds the steps of a single column, and C and B have no gaps. Its arguments are flat arrays
    with the place where they begin and the distance of their rows (D is the same for all rows; for A it may be an array
    instead: see ``row_at``); how many steps to take; how many columns there are; and the floor.
    """

    @intrinsic
    def band(
        typing_context, C, c_start, c_row, D, d_start, A, a_start, a_row, B, b_start, b_row, depth, columns, floor
    ):
        size = types.int64
        anywhere = isinstance(a_row, types.Array)
        rows_of_a = a_row if anywhere else size
        signature = types.none(C, size, size, D, size, A, size, rows_of_a, B, size, size, size, size, C.dtype)

        def write(
            context, builder, c, c_begin, c_step, d, d_begin, a, a_begin, a_step, b, b_begin, b_step, depth, columns,
            lowest,
        ):  # fmt: skip
            whole = Vectors(context, builder, C.dtype)
            steps, one_column = together or whole.lanes, not together
            if steps >= whole.lanes and not one_column:
                return  # a vector holds too little for that, and it is never called
            column, piece = (Vectors(context, builder, C.dtype, n * whole.width) for n in (whole.lanes // steps, steps))
            count = ir.IntType(64)
            there = None if one_column else column.mask(columns)
            none = ir.Constant(whole.type, [0.0] * whole.lanes)
            a_rows = [builder.add(a_begin, row_at(builder, a_step, count(row), depth)) for row in range(rows)]

            def shuffled(one, other, lanes):
                index = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
                return builder.shuffle_vector(one, other, index)

            def beside(vectors):
                """Those of all vectors next to each other, entry by entry."""
                while len(vectors) > 1:
                    half, lanes = len(vectors) // 2, vectors[0].type.count
                    order = [at for u in range(lanes) for at in (u, lanes + u)]
                    vectors = [shuffled(vectors[q], vectors[half + q], order) for q in range(half)]
                return vectors[0]

            def begin():
                """D in the first lane of each column, zeros in the others."""
                if one_column:
                    return builder.insert_element(none, builder.load(builder.gep(d, [d_begin])), ir.IntType(32)(0))
                zeros = ir.Constant(column.type, [0.0] * column.lanes)
                return beside([column.load(d, d_begin, there)] + [zeros] * (steps - 1))

            def rows_of_b(k, left):
                """Those of these steps; zeros where none are left."""
                if one_column:
                    return whole.load(b, builder.add(b_begin, k), None if left is None else whole.mask(left))
                loaded = []
                for q in range(steps):
                    mask = there
                    if left is not None:
                        mask = builder.select(builder.icmp_signed("<", count(q), left), there, column.mask(count(0)))
                    at = builder.add(b_begin, builder.mul(b_step, builder.add(k, count(q))))
                    loaded.append(column.load(b, at, mask))
                return beside(loaded)

            def advance(sums, k, left=None):
                """The sums after the steps from k on, of which so many are ``left`` where they are not all there."""
                b_now, mask, new = rows_of_b(k, left), left and piece.mask(left), []
                for row in range(rows):
                    loaded = piece.load(a, builder.add(a_rows[row], k), mask)
                    spread = shuffled(loaded, loaded, list(range(steps)) * column.lanes)
                    new.append(whole.multiply_add(spread, b_now, sums[row]))
                return new

            def totals(sums):
                """The lanes of each column added up in pairs; two vectors become one, the later rows behind."""
                even, odd = (list(range(first, 2 * whole.lanes, 2)) for first in (0, 1))
                for _ in range(steps.bit_length() - 1):
                    sums = sums + [none] * (len(sums) % 2)
                    pairs = zip(sums[::2], sums[1::2], strict=True)
                    sums = [builder.fadd(shuffled(p, q, even), shuffled(p, q, odd)) for p, q in pairs]
                return sums

            start, whole_steps = begin(), builder.and_(depth, count(-steps))
            before = builder.block
            look, work, after, rest, store = (builder.append_basic_block() for _ in range(5))
            builder.branch(look)
            builder.position_at_end(look)
            k, sums = builder.phi(count), [builder.phi(whole.type) for _ in range(rows)]
            builder.cbranch(builder.icmp_signed("<", k, whole_steps), work, after)
            builder.position_at_end(work)
            new, next_k = advance(sums, k), builder.add(k, count(steps))
            builder.branch(look)
            for phi, first, then in ((k, count(0), next_k), *((sums[row], start, new[row]) for row in range(rows))):
                phi.add_incoming(first, before)
                phi.add_incoming(then, work)
            builder.position_at_end(after)
            builder.cbranch(builder.icmp_signed("<", k, depth), rest, store)
            builder.position_at_end(rest)
            last = advance(sums, k, builder.sub(depth, k))
            builder.branch(store)
            builder.position_at_end(store)
            ends = [builder.phi(whole.type) for _ in range(rows)]
            for end, without, with_rest in zip(ends, sums, last, strict=True):
                end.add_incoming(without, after)
                end.add_incoming(with_rest, rest)
            floor = whole.spread(lowest)
            for group, found in enumerate(totals(ends)):
                found, first = whole.at_least(found, floor), group * steps
                if one_column:
                    mask = None if first + whole.lanes <= rows else whole.mask(count(rows - first))
                    whole.store(found, c, builder.add(c_begin, count(first)), mask)
                    continue
                for row in range(first, min(first + steps, rows)):
                    lanes = [(row - first) * column.lanes + u for u in range(column.lanes)]
                    at = builder.add(c_begin, builder.mul(c_step, count(row)))
                    column.store(shuffled(found, found, lanes), c, at, there)

        def emit(context, builder, signature, arguments):
            name = f"narrow_band_of_{rows}_by_{together}" + "_anywhere" * anywhere
            return call_apart(context, builder, name, signature, arguments, functools.partial(write, context))

        return signature, emit

    return band


most_by_two, four_by_two, one_by_two = (make_narrow_band(rows, 2) for rows in (ROWS, 4, 1))
most_by_four, four_by_four, one_by_four = (make_narrow_band(rows, 4) for rows in (ROWS, 4, 1))
most_of_column, four_of_column, one_of_column = (make_narrow_band(rows, 0) for rows in (COLUMN_ROWS, 4, 1))


@njit(cache=True, inline="always")
def holds(together, units, bytes_of_one):
    """Whether a vector holds so many steps for each of a layer's units, two of which at least it has room for."""
    return together * max(units, 2) * bytes_of_one <= VECTOR_BYTES


@njit(cache=True, counts=False)
def multiply_narrow(m, o, d, c, c_row, d_at, a, a_row, b, b_row, floor):
    """``multiply_at`` for as few columns as a vector ``holds`` two steps of, and an A in whose rows there are no gaps.

    Where rows are left over, the last band is as high as the others and computes some rows once more.
    """
    kind = type(floor)
    C, D, A, B = vector_at(kind, c, 0), vector_at(kind, d_at, 0), vector_at(kind, a, 0), vector_at(kind, b, 0)
    by_four, r = holds(4, c_row, C.itemsize), 0
    while r < m:
        height = ROWS if m >= ROWS and m - r > 4 else 4 if m >= 4 else 1
        r = min(r, m - height)
        if height == ROWS:
            if by_four:
                most_by_four(C, r * c_row, c_row, D, ZERO, A, r * a_row, a_row, B, ZERO, b_row, d, o, floor)
            else:
                most_by_two(C, r * c_row, c_row, D, ZERO, A, r * a_row, a_row, B, ZERO, b_row, d, o, floor)
        elif height == 4:
            if by_four:
                four_by_four(C, r * c_row, c_row, D, ZERO, A, r * a_row, a_row, B, ZERO, b_row, d, o, floor)
            else:
                four_by_two(C, r * c_row, c_row, D, ZERO, A, r * a_row, a_row, B, ZERO, b_row, d, o, floor)
        elif by_four:
            one_by_four(C, r * c_row, c_row, D, ZERO, A, r * a_row, a_row, B, ZERO, b_row, d, o, floor)
        else:
            one_by_two(C, r * c_row, c_row, D, ZERO, A, r * a_row, a_row, B, ZERO, b_row, d, o, floor)
        r += height


@njit(cache=True, inline="always")
def multiply_column(m, d, C, c_start, D, d_start, A, a_start, B, b_start, floor):
    """The same for one column: C (m,), D (1,), A (m, d) and B (d,), all without gaps."""
    column_at(m, d, address(C, c_start), address(D, d_start), address(A, a_start), address(B, b_start), floor)
    keep(C, D, A, B)


@njit(cache=True, counts=False)
def column_at(m, d, c, d_at, a, b, floor):
    kind = type(floor)
    C, D, A, B = vector_at(kind, c, 0), vector_at(kind, d_at, 0), vector_at(kind, a, 0), vector_at(kind, b, 0)
    r = 0
    while r < m:
        height = COLUMN_ROWS if m >= COLUMN_ROWS and m - r > 4 else 4 if m >= 4 else 1
        r = min(r, m - height)
        if height == COLUMN_ROWS:
            most_of_column(C, r, ONE, D, ZERO, A, r * d, d, B, ZERO, ONE, d, ONE, floor)
        elif height == 4:
            four_of_column(C, r, ONE, D, ZERO, A, r * d, d, B, ZERO, ONE, d, ONE, floor)
        else:
            one_of_column(C, r, ONE, D, ZERO, A, r * d, d, B, ZERO, ONE, d, ONE, floor)
        r += height
