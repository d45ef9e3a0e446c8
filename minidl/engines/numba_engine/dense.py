"""The dense layer in Numba: one matrix product forward, two and a sum backward, through the tiles of gemm.py.

A layer of one unit has scalar products instead of a matrix product, and its W is the same in memory as W transposed.
"""

import numpy as np

from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.gemm import multiply, transpose
from minidl.engines.numba_engine.views import vector

# For a literal 0 or 1 in a call Numba compiles the function once more, with the number built in; the cleverer loop that
# LLVM makes of it takes a third longer.
ZERO, ONE = np.int64(0), np.int64(1)
SHORT = 16  # inputs of a layer of one unit


@njit(cache=True)
def dense(x, W, b, out=None):
    out = np.empty((x.shape[0], W.shape[1]), x.dtype) if out is None else out
    n, (i, o) = x.shape[0], W.shape
    low = out.dtype.type(-np.inf)
    dense_above(n, o, o, i, out.reshape(-1), ZERO, b, ZERO, x.reshape(-1), ZERO, W.reshape(-1), ZERO, low)
    return out


@njit(cache=True, inline="always")
def dense_above(n, o, units, i, out, start, biases, b, x, x_start, weights, W, floor):
    """max(x W + b, floor) for o of a layer's ``units``: with a floor of 0 the layer and its ReLU.

    All are flat, with the place they begin at.
    """
    if units == 1 and i < SHORT:
        short_products(n, i, x, x_start, weights, W, biases[b], floor, out, start)
    elif units == 1:
        scalar_products(n, i, x, x_start, weights, W, biases[b], floor, out, start)
    else:
        multiply(n, o, i, out, start, units, biases, b, x, x_start, i, ONE, weights, W, units, floor)


@njit(cache=True, fastmath={"contract", "reassoc"})
def scalar_products(n, i, x, x_start, weights, W, b, floor, out, start):
    w = vector(weights, W, i)
    for r in range(n):
        x_r, total = vector(x, x_start + r * i, i), x.dtype.type(0)
        for k in range(i):
            total += x_r[k] * w[k]
        total += b
        out[start + r] = floor if total < floor else total


@njit(cache=True)
def short_products(n, i, x, x_start, weights, W, b, floor, out, start):
    # So few products are added up sooner one after the other than on a vector.
    for r in range(n):
        total = b
        for k in range(i):
            total += x[x_start + r * i + k] * weights[W + k]
        out[start + r] = floor if total < floor else total


@njit(cache=True)
def dense_backward_x(dz, W, out=None):
    out = np.empty((dz.shape[0], W.shape[0]), dz.dtype) if out is None else out
    i, o = W.shape
    turned, zeros = np.empty(W.size, W.dtype), np.zeros(i, W.dtype)
    transpose(i, o, W.reshape(-1), ZERO, o, turned, ZERO, i)
    product(dz.shape[0], i, o, out.reshape(-1), ZERO, i, zeros, dz.reshape(-1), ZERO, o, ONE, turned, ZERO, i)
    return out


@njit(cache=True)
def dense_backward_W(x, dz, out=None):
    out = np.empty((x.shape[1], dz.shape[1]), x.dtype) if out is None else out
    i, o = out.shape
    zeros = np.zeros(max(i, o), x.dtype)
    block_backward_W(x.shape[0], i, o, x.reshape(-1), ZERO, i, dz.reshape(-1), ZERO, o, zeros, out.reshape(-1))
    return out


@njit(cache=True, inline="always")
def block_backward_W(n, i, o, x, x_start, x_row, dz, dz_start, dz_row, zeros, out):
    """The gradient by a block (i, o) of W, from the columns of x and dz that begin at their starts; ``out`` is flat."""
    if n == 1:
        for k in range(i):
            x_k, out_k, dz_1 = x[x_start + k], vector(out, k * o, o), vector(dz, dz_start, o)
            for u in range(o):
                out_k[u] = x_k * dz_1[u]
    elif dz_row == 1:
        product(ONE, i, n, out, ZERO, i, zeros, dz, dz_start, ONE, ONE, x, x_start, x_row)
    else:
        product(i, o, n, out, ZERO, o, zeros, x, x_start, ONE, x_row, dz, dz_start, dz_row)


@njit(cache=True, inline="always")
def product(m, o, d, C, c_start, c_row, zeros, A, a_start, a_row, a_column, B, b_start, b_row):
    """C = A B, all as in ``multiply``; ``zeros`` are as many as B has columns, or more."""
    low = C.dtype.type(-np.inf)
    multiply(m, o, d, C, c_start, c_row, zeros, ZERO, A, a_start, a_row, a_column, B, b_start, b_row, low)


@njit(cache=True)
def dense_backward_b(dz, out=None):
    out = np.empty(dz.shape[1], dz.dtype) if out is None else out
    columns_backward_b(dz.shape[0], dz.reshape(-1), ZERO, dz.shape[1], out)
    return out


@njit(cache=True, inline="always")
def columns_backward_b(n, dz, start, row, out):
    """The gradient by some entries of b, from the columns of dz that begin at ``start``."""
    for u in range(out.size):
        out[u] = 0
    for r in range(n):
        dz_r = vector(dz, start + r * row, out.size)
        for u in range(out.size):
            out[u] += dz_r[u]
