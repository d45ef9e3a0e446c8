"""The dense layer in Numba: one matrix product forward, two and a sum backward, through the tiles of gemm.py.

A layer of one unit has scalar products instead of a matrix product, and its W is the same in memory as W transposed.
"""

import numpy as np

from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.gemm import multiply, transpose
from minidl.engines.numba_engine.views import matrix

# For a literal 0 or 1 in a call Numba compiles the function once more, with the number built in; the cleverer loop that
# LLVM makes of it takes a third longer.
ZERO, ONE = np.int64(0), np.int64(1)


@njit(cache=True)
def dense(x, W, b, out=None):
    out = np.empty((x.shape[0], W.shape[1]), x.dtype) if out is None else out
    dense_above(x, W, b, out.dtype.type(-np.inf), out)
    return out


@njit(cache=True)
def dense_above(x, W, b, floor, out):
    """max(x W + b, floor): with a floor of 0 a dense layer and its ReLU."""
    if out.shape[1] == 1:
        scalar_products(x, W, b, floor, out)
    else:
        multiply(out, b, x.reshape(-1), ZERO, x.shape[1], ONE, W, floor)


@njit(cache=True, fastmath={"contract", "reassoc"})
def scalar_products(x, W, b, floor, out):
    w = W.reshape(-1)
    for r in range(x.shape[0]):
        total = x.dtype.type(0)
        for k in range(x.shape[1]):
            total += x[r, k] * w[k]
        total += b[0]
        out[r, 0] = floor if total <= floor else total


@njit(cache=True)
def dense_backward_x(dz, W, out=None):
    out = np.empty((dz.shape[0], W.shape[0]), dz.dtype) if out is None else out
    turned = np.empty((W.shape[1], W.shape[0]), W.dtype)
    transpose(W, ZERO, W.shape[0], turned)
    product(dz.reshape(-1), ZERO, dz.shape[1], ONE, turned, np.zeros(W.shape[0], W.dtype), out)
    return out


@njit(cache=True)
def dense_backward_W(x, dz, out=None):
    out = np.empty((x.shape[1], dz.shape[1]), x.dtype) if out is None else out
    rows_backward_W(x.reshape(-1), ZERO, x.shape[1], dz, np.zeros(max(out.shape), x.dtype), out)
    return out


@njit(cache=True)
def rows_backward_W(x, start, inputs, dz, zeros, out):
    """The gradient by some rows of W, the inputs from x[start] on; a layer of one unit has all in one piece."""
    if dz.shape[1] == 1:
        turned = matrix(out.reshape(-1), ZERO, ONE, out.shape[0])
        product(dz.reshape(-1), ZERO, ONE, ONE, matrix(x, start, dz.shape[0], inputs), zeros, turned)
    else:
        product(x, start, ONE, inputs, dz, zeros, out)


@njit(cache=True)
def product(A, a_start, a_row, a_column, B, zeros, out):
    """A B, with A as in ``multiply``; ``zeros`` are as many as B has columns, or more."""
    multiply(out, zeros, A, a_start, a_row, a_column, B, out.dtype.type(-np.inf))


@njit(cache=True)
def dense_backward_b(dz, out=None):
    out = np.empty(dz.shape[1], dz.dtype) if out is None else out
    for u in range(out.size):
        out[u] = 0
    for r in range(dz.shape[0]):
        for u in range(out.size):
            out[u] += dz[r, u]
    return out
