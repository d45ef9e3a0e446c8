"""The dense layer in Numba: one matrix product forward, two and a sum backward, through the tiles of gemm.py.

A layer of one unit has scalar products instead of a matrix product, and its W is the same in memory as W transposed.
"""

import numpy as np

from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.gemm import add_product, transpose
from minidl.engines.numba_engine.views import matrix


@njit(cache=True)
def dense(x, W, b, out=None):
    out = np.empty((x.shape[0], W.shape[1]), x.dtype) if out is None else out
    if out.shape[1] == 1:
        scalar_products(x, W, b, out)
        return out
    for r in range(out.shape[0]):
        for u in range(out.shape[1]):
            out[r, u] = b[u]
    add_product(out, x.reshape(-1), 0, x.shape[1], 1, W)
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def scalar_products(x, W, b, out):
    w = W.reshape(-1)
    for r in range(x.shape[0]):
        total = x.dtype.type(0)
        for k in range(x.shape[1]):
            total += x[r, k] * w[k]
        out[r, 0] = total + b[0]


@njit(cache=True)
def dense_backward_x(dz, W, out=None):
    out = np.empty((dz.shape[0], W.shape[0]), dz.dtype) if out is None else out
    turned = np.empty((W.shape[1], W.shape[0]), W.dtype)
    transpose(W, 0, W.shape[0], turned)
    product(dz.reshape(-1), 0, dz.shape[1], 1, turned, out)
    return out


@njit(cache=True)
def dense_backward_W(x, dz, out=None):
    out = np.empty((x.shape[1], dz.shape[1]), x.dtype) if out is None else out
    if dz.shape[1] == 1:
        product(dz.reshape(-1), 0, 1, 1, x, matrix(out.reshape(-1), 0, 1, x.shape[1]))
    else:
        product(x.reshape(-1), 0, 1, x.shape[1], dz, out)
    return out


@njit(cache=True)
def product(A, a_start, a_row, a_column, B, out):
    """A B, with A as in ``add_product``."""
    zero = out.dtype.type(0)
    for r in range(out.shape[0]):
        for u in range(out.shape[1]):
            out[r, u] = zero
    add_product(out, A, a_start, a_row, a_column, B)


@njit(cache=True)
def dense_backward_b(dz, out=None):
    out = np.empty(dz.shape[1], dz.dtype) if out is None else out
    for u in range(out.size):
        out[u] = 0
    for r in range(dz.shape[0]):
        for u in range(out.size):
            out[u] += dz[r, u]
    return out
