"""The matrix product: C += A B, tile by tile, each tile kept in registers while it is added up.

A core can do one or two multiply-adds on whole vectors in a cycle, but load about as many vectors. Were each product
added to memory, loading and storing would cost more than computing. So a tile of C, some rows by two vectors wide, is
loaded into registers once; for each step k one column piece of A is spread over vectors and multiplied with one row
piece of B: ROWS x 2 multiply-adds for ROWS + 2 loads. Only then is the tile stored.
"""

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.engines.numba_engine.cache import njit

DEPTH = 256  # steps at a time: the piece of B that a column of tiles reads stays in the first cache


def registers() -> tuple[int, int]:
    """(bytes in a vector register, rows of a tile) for this processor: the tile fills most of its registers."""
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 12  # 32 registers
    return (32, 6) if features.get("avx2") else (16, 4)  # 16 registers; any other processor has that much


VECTOR_BYTES, ROWS = registers()


def make_tile(rows: int, vectors: int):
    """The intrinsic that adds a product to a tile of C, ``rows`` rows by ``vectors`` vectors.

    Its arguments are flat arrays with the place where the tile begins and the distance of its rows: C; A, with the
    distance of its rows and of its columns, so that a transposed matrix serves as well; B; and how many steps to take.
    """

    @intrinsic
    def tile(typing_context, C, c_start, c_row, A, a_start, a_row, a_column, B, b_start, b_row, depth):
        size = types.int64
        signature = types.none(C, size, size, A, size, size, size, B, size, size, size)

        def emit(context, builder, signature, arguments):
            scalar = context.get_value_type(C.dtype)
            width = 4 if C.dtype == types.float32 else 8
            lanes = VECTOR_BYTES // width
            vector, count, lane = ir.VectorType(scalar, lanes), ir.IntType(64), ir.IntType(32)
            nothing = ir.Constant(vector, ir.Undefined)
            first_lane = ir.Constant(ir.VectorType(lane, lanes), [0] * lanes)
            c, c_begin, c_step, a, a_begin, a_step, a_next, b, b_begin, b_step, steps = arguments
            c, a, b = (
                context.make_array(kind)(context, builder, value).data
                for kind, value in ((C, c), (A, a), (B, b))
            )
            name = f"llvm.fma.v{lanes}f{8 * width}"
            fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)

            def vector_at(pointer, place):
                return builder.bitcast(builder.gep(pointer, [place]), vector.as_pointer())

            row_starts = [builder.add(c_begin, builder.mul(c_step, count(row))) for row in range(rows)]
            places = [[builder.add(start, count(v * lanes)) for v in range(vectors)] for start in row_starts]
            starts = [[builder.load(vector_at(c, place), align=width) for place in row] for row in places]

            before = builder.block
            loop, after = builder.append_basic_block("steps"), builder.append_basic_block("store")
            builder.branch(loop)
            builder.position_at_end(loop)
            k = builder.phi(count)
            sums = [[builder.phi(vector) for _ in range(vectors)] for _ in range(rows)]
            b_place = builder.add(b_begin, builder.mul(k, b_step))
            b_now = [
                builder.load(vector_at(b, builder.add(b_place, count(v * lanes))), align=width) for v in range(vectors)
            ]
            a_place = builder.add(a_begin, builder.mul(k, a_next))
            new = []
            for row in range(rows):
                entry = builder.load(builder.gep(a, [builder.add(a_place, builder.mul(a_step, count(row)))]))
                spread = builder.shuffle_vector(builder.insert_element(nothing, entry, lane(0)), nothing, first_lane)
                new.append([builder.call(fma, [spread, b_now[v], sums[row][v]]) for v in range(vectors)])
            next_k = builder.add(k, count(1))
            k.add_incoming(count(0), before)
            k.add_incoming(next_k, loop)
            for row in range(rows):
                for v in range(vectors):
                    sums[row][v].add_incoming(starts[row][v], before)
                    sums[row][v].add_incoming(new[row][v], loop)
            builder.cbranch(builder.icmp_signed("<", next_k, steps), loop, after)
            builder.position_at_end(after)
            for row in range(rows):
                for v in range(vectors):
                    builder.store(new[row][v], vector_at(c, places[row][v]), align=width)
            return context.get_dummy_value()

        return signature, emit

    return tile


tile_full, tile_full_narrow = make_tile(ROWS, 2), make_tile(ROWS, 1)
tile_four, tile_four_narrow = make_tile(4, 2), make_tile(4, 1)
tile_one, tile_one_narrow = make_tile(1, 2), make_tile(1, 1)


@njit(cache=True)
def add_product(C, A, a_row, a_column, B):
    """C += A B for C (m, o) and B (d, o), contiguous; A is flat, its entry (r, k) is A[r a_row + k a_column]."""
    m, o, d = C.shape[0], C.shape[1], B.shape[0]
    c, b = C.reshape(-1), B.reshape(-1)
    lanes = VECTOR_BYTES // C.itemsize
    for k in range(0, d, DEPTH):
        steps = min(DEPTH, d - k)
        u = 0
        while o - u >= lanes:
            wide = o - u >= 2 * lanes
            r = 0
            while r < m:
                c_start, a_start, b_start = r * o + u, r * a_row + k * a_column, k * o + u
                if m - r >= ROWS:
                    if wide:
                        tile_full(c, c_start, o, A, a_start, a_row, a_column, b, b_start, o, steps)
                    else:
                        tile_full_narrow(c, c_start, o, A, a_start, a_row, a_column, b, b_start, o, steps)
                    r += ROWS
                elif m - r >= 4:
                    if wide:
                        tile_four(c, c_start, o, A, a_start, a_row, a_column, b, b_start, o, steps)
                    else:
                        tile_four_narrow(c, c_start, o, A, a_start, a_row, a_column, b, b_start, o, steps)
                    r += 4
                else:
                    if wide:
                        tile_one(c, c_start, o, A, a_start, a_row, a_column, b, b_start, o, steps)
                    else:
                        tile_one_narrow(c, c_start, o, A, a_start, a_row, a_column, b, b_start, o, steps)
                    r += 1
            u += 2 * lanes if wide else lanes
        if u < o:
            add_last_columns(C, A, a_row, a_column, B, u, k, k + steps)


@njit(cache=True)
def add_last_columns(C, A, a_row, a_column, B, first, start, stop):
    """The columns from ``first`` on, fewer than a vector has lanes: eight steps at a time for each entry stored."""
    whole = start + (stop - start) // 8 * 8
    for k in range(start, whole, 8):
        for r in range(C.shape[0]):
            at = r * a_row + k * a_column
            a0, a1, a2, a3 = A[at], A[at + a_column], A[at + 2 * a_column], A[at + 3 * a_column]
            at += 4 * a_column
            a4, a5, a6, a7 = A[at], A[at + a_column], A[at + 2 * a_column], A[at + 3 * a_column]
            for u in range(first, C.shape[1]):
                C[r, u] += (
                    a0 * B[k, u] + a1 * B[k + 1, u] + a2 * B[k + 2, u] + a3 * B[k + 3, u]
                    + a4 * B[k + 4, u] + a5 * B[k + 5, u] + a6 * B[k + 6, u] + a7 * B[k + 7, u]
                )  # fmt: skip
    for k in range(whole, stop):
        for r in range(C.shape[0]):
            a0 = A[r * a_row + k * a_column]
            for u in range(first, C.shape[1]):
                C[r, u] += a0 * B[k, u]
