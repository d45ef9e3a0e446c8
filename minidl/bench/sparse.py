"""A sparse matrix product, x W + b with the zeros of W left out: a yardstick for what pruned weights can save.

Each unit keeps the inputs that it has weights for and those weights (compressed sparse rows of W transposed). One row
at a time a unit gathers its inputs from where they lie. Many rows are transposed first, so that a weight is multiplied
with a whole vector of rows at once (Elsen, Dukhan, Gale and Simonyan, "Fast sparse convnets", 2020).
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import intrinsic

from minidl.bench.compiled import njit
from minidl.bench.kernels import COUNT, TARGET, loop, multiplied_and_added, place_of, pointer, spread, vector_of
from minidl.engines.numba_engine.gemm import transpose
from minidl.engines.numba_engine.views import vector

VECTORS = 4  # of rows at a time: so many sums are under way while one waits for its multiply-add
VECTOR_BYTES = TARGET.vector_bytes
FEW = 4  # a block of fewer rows than a quarter is sooner done row by row


def compressed(W: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W (i, o) without its zeros: where each unit begins (o + 1,), its inputs and its weights, one unit after another.

    int64, uint32, and of W's dtype.
    """
    units, inputs = np.nonzero(W.T)
    starts = np.concatenate([[0], np.cumsum(np.bincount(units, minlength=W.shape[1]))])
    return starts, inputs.astype(np.uint32), W[inputs, units]


@njit()
def product(x, starts, inputs, weights, b):
    """x (n, i) times the compressed W, plus b (o,): (n, o)."""
    out = np.empty((len(x), len(b)), x.dtype)
    rows = VECTORS * VECTOR_BYTES // x.itemsize
    whole = len(x) - len(x) % rows
    if len(x) - whole >= rows // FEW:
        whole = len(x)
    if whole:
        blocks(x[:whole], starts, inputs, weights, b, out[:whole], rows)
    for r in range(whole, len(x)):
        one_row(x[r], starts, inputs, weights, b, out[r])
    return out


@njit()
def blocks(x, starts, inputs, weights, b, out, rows):
    """So many rows at a time, the last ones perhaps fewer."""
    i, o = x.shape[1], len(b)
    room = np.zeros((i + o + 1) * rows, x.dtype)
    begin = -room.ctypes.data % VECTOR_BYTES // x.itemsize  # a vector across two cache lines would take twice as long
    turned, sums = room[begin : begin + i * rows], room[begin + i * rows : begin + (i + o) * rows]
    for r in range(0, len(x), rows):
        high = min(len(x) - r, rows)
        transpose(high, i, x.reshape(-1), r * i, turned, 0, rows)
        for u in range(o):
            if starts[u] == starts[u + 1]:
                sums[u * rows : (u + 1) * rows] = b[u]
            else:
                one_unit(turned, inputs, weights, starts[u], starts[u + 1], b[u], sums, u * rows)
        if high == rows:
            transpose(o, rows, sums, 0, out.reshape(-1), r * o, o)
        else:
            out[r:] = sums.reshape(o, rows)[:, :high].T


@njit(fastmath={"contract", "reassoc"})
def one_row(x, starts, inputs, weights, b, out):
    for u in range(len(b)):
        size, total = starts[u + 1] - starts[u], x.dtype.type(0)
        given, w = vector(inputs, starts[u], size), vector(weights, starts[u], size)
        for place in range(size):
            total += w[place] * x[given[place]]
        out[u] = total + b[u]


@intrinsic
def one_unit(typing_context, turned, inputs, weights, begin, end, b, sums, start):
    """The sums of one unit, which has a weight at least, for a block of rows: turned (i, rows), both arrays flat."""
    size = types.int64

    def emit(context, builder, signature, arguments):
        x, given, w, out = (pointer(context, builder, signature.args[at], arguments[at]) for at in (0, 1, 2, 6))
        begin, end, b, start = (arguments[at] for at in (3, 4, 5, 7))
        kind = vector_of(b.type)
        rows = COUNT(VECTORS * kind.count)

        def body(at, totals):
            place = builder.add(begin, at)
            from_ = builder.mul(builder.zext(builder.load(builder.gep(given, [place])), COUNT), rows)
            weight = spread(builder, builder.load(builder.gep(w, [place])), kind)
            pieces = [builder.load(place_of(builder, x, kind, from_, n), align=4) for n in range(VECTORS)]
            pairs = zip(pieces, totals, strict=True)
            return [multiplied_and_added(builder, weight, piece, total) for piece, total in pairs]

        biases = [spread(builder, b, kind)] * VECTORS
        for n, total in enumerate(loop(builder, builder.sub(end, begin), 1, biases, body)):
            builder.store(total, place_of(builder, out, kind, start, n), align=4)
        return context.get_dummy_value()

    return types.none(turned, inputs, weights, size, size, b, sums, size), emit
