"""Plain SGD with a batch of one row: each weight is read and written once, and nothing else."""

import functools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.vectors import Vectors, call_apart
from minidl.engines.numba_engine.views import vector

WIDE = 256  # columns from which on what LLVM makes of the loop is as quick


@njit(cache=True)
def sgd_by_one_row(rows, outputs, theta, begin, x, x_start, dz, dz_start, rate):
    """W = W - rate x' dz for some rows of W, from as many numbers of x."""
    if outputs < WIDE:
        move_rows(theta, begin, x, x_start, dz, dz_start, rows, outputs, rate)
        return
    for k in range(rows):
        x_k, W_k, dz_1 = x[x_start + k], vector(theta, begin + k * outputs, outputs), vector(dz, dz_start, outputs)
        for u in range(outputs):
            W_k[u] -= rate * (x_k * dz_1[u])


@intrinsic
def move_rows(typing_context, W, w_start, x, x_start, dz, dz_start, rows, columns, rate):
    """The same in vectors. What is left of a row goes in pieces of a half, a quarter and so on.

    (Through a mask it would take longer: the next row would be read before what lies around it has been stored.)
    """
    size = types.int64
    signature = types.none(W, size, x, size, dz, size, size, size, W.dtype)

    def write(context, builder, w, w_begin, x, x_begin, dz, dz_begin, rows, columns, rate):
        vectors, count = [Vectors(context, builder, W.dtype)], ir.IntType(64)
        while vectors[-1].lanes > 1:
            vectors.append(Vectors(context, builder, W.dtype, vectors[-1].lanes // 2 * vectors[-1].width))
        whole, *pieces = vectors
        end = builder.and_(columns, count(-whole.lanes))

        def step(v, x_k, row, u):
            place = builder.add(row, u)
            gradient = builder.fmul(v.spread(x_k), v.load(dz, builder.add(dz_begin, u)))
            v.store(builder.fsub(v.load(w, place), builder.fmul(v.spread(rate), gradient)), w, place)

        with cgutils.for_range(builder, rows) as loop:
            x_k = builder.load(builder.gep(x, [builder.add(x_begin, loop.index)]))
            row, u = builder.add(w_begin, builder.mul(loop.index, columns)), end
            with cgutils.for_range_slice(builder, count(0), end, count(whole.lanes)) as (at, _):
                step(whole, x_k, row, at)
            with builder.if_then(builder.icmp_signed("!=", columns, end)):
                for piece in pieces:
                    here = builder.and_(columns, count(piece.lanes))
                    with builder.if_then(builder.icmp_signed("!=", here, count(0))):
                        step(piece, x_k, row, u)
                    u = builder.add(u, here)

    def emit(context, builder, signature, arguments):
        return call_apart(context, builder, "move_rows", signature, arguments, functools.partial(write, context))

    return signature, emit
