"""The dense layer in Numba: one matrix product forward, two and a sum backward, through the tiles of gemm.py.

A layer of one unit has scalar products instead of a matrix product, and its W is the same in memory as W transposed.
"""

import numpy as np

from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.gemm import multiply, transpose
from minidl.engines.numba_engine.gemm_narrow import multiply_column
from minidl.engines.numba_engine.shared_product import multiply_shared, pays
from minidl.engines.numba_engine.vectors import ONE, ZERO
from minidl.engines.numba_engine.views import flat, vector

LONG = 64  # inputs of a layer of one unit


def dense(x, W, b, out=None):
    if pays(x.shape[0], W.shape[1], W.shape[0], x, W, b, out):
        return multiply_shared(x, False, W, b, out)
    return dense_alone(x, W, b, out)


@njit(cache=True)
def dense_alone(x, W, b, out=None):
    out = np.empty((x.shape[0], W.shape[1]), x.dtype) if out is None else out
    n, (i, o) = x.shape[0], W.shape
    low = out.dtype.type(-np.inf)
    dense_with_floor(n, o, o, i, flat(out), ZERO, b, ZERO, flat(x), ZERO, flat(W), ZERO, low)
    return out


@njit(cache=True, inline="always")
def dense_with_floor(n, o, units, i, out, start, biases, b, x, x_start, weights, W, floor):
    """max(x W + b, floor) for o of a layer's ``units``: with a floor of 0 the layer and its ReLU.

    All are flat, with the place they begin at.
    """
    if units == 1 and i < LONG:
        multiply_column(n, i, out, start, biases, b, x, x_start, weights, W, floor)
    elif units == 1:
        scalar_products(n, i, out, start, biases, b, x, x_start, weights, W, floor)
    else:
        multiply(n, o, i, out, start, units, biases, b, x, x_start, i, ONE, weights, W, units, floor)


@njit(cache=True, fastmath={"contract", "reassoc"})
def scalar_products(n, i, out, start, biases, b, x, x_start, weights, W, floor):
    """One row after the other: long rows come from memory faster that way than several at a time."""
    w = vector(weights, W, i)
    for r in range(n):
        x_r, total = vector(x, x_start + r * i, i), x.dtype.type(0)
        for k in range(i):
            total += x_r[k] * w[k]
        total += biases[b]
        out[start + r] = floor if total < floor else total


def dense_backward_x(dz, W, out=None):
    if pays(dz.shape[0], W.shape[0], W.shape[1], dz, W, out):
        return multiply_shared(dz, False, transposed(W), np.zeros(W.shape[0], W.dtype), out)
    return dense_backward_x_alone(dz, W, out)


@njit(cache=True)
def dense_backward_x_alone(dz, W, out=None):
    out = np.empty((dz.shape[0], W.shape[0]), dz.dtype) if out is None else out
    i, o = W.shape
    turned, zeros = transposed(W).reshape(-1), np.zeros(i, W.dtype)
    product(dz.shape[0], i, o, flat(out), ZERO, zeros, flat(dz), ZERO, o, ONE, turned, ZERO, i)
    return out


@njit(cache=True)
def transposed(W):
    i, o = W.shape
    turned = np.empty((o, i), W.dtype)
    transpose(i, o, flat(W), ZERO, flat(turned), ZERO, i)
    return turned


def dense_backward_W(x, dz, out=None):
    if pays(x.shape[1], dz.shape[1], dz.shape[0], x, dz, out):
        return multiply_shared(x, True, dz, np.zeros(dz.shape[1], dz.dtype), out)
    return dense_backward_W_alone(x, dz, out)


@njit(cache=True)
def dense_backward_W_alone(x, dz, out=None):
    out = np.empty((x.shape[1], dz.shape[1]), x.dtype) if out is None else out
    i, o = out.shape
    zeros = np.zeros(max(i, o), x.dtype)
    rows_backward_W(x.shape[0], i, o, flat(x), ZERO, i, flat(dz), ZERO, zeros, flat(out))
    return out


@njit(cache=True, inline="always")
def rows_backward_W(n, i, o, x, x_start, x_row, dz, dz_start, zeros, out):
    """The gradient by some rows (i, o) of W, from as many columns of x, the first of which begins at ``x_start``.

    All are flat; the rows of x lie ``x_row`` apart.
    """
    if n == 1:
        for k in range(i):
            x_k, out_k, dz_1 = x[x_start + k], vector(out, k * o, o), vector(dz, dz_start, o)
            for u in range(o):
                out_k[u] = x_k * dz_1[u]
    elif o == 1:  # a row times a matrix; as for a whole W, so that the sums are taken in the same order
        low = out.dtype.type(-np.inf)
        multiply(ONE, i, n, out, ZERO, x_row, zeros, ZERO, dz, dz_start, ONE, ONE, x, x_start, x_row, low)
    else:
        product(i, o, n, out, ZERO, zeros, x, x_start, ONE, x_row, dz, dz_start, o)


@njit(cache=True, inline="always")
def product(m, o, d, C, c_start, zeros, A, a_start, a_row, a_column, B, b_start, b_row):
    """C = A B, as in ``multiply``, the rows of C without gaps; ``zeros`` are as many as B has columns, or more."""
    low = C.dtype.type(-np.inf)
    multiply(m, o, d, C, c_start, o, zeros, ZERO, A, a_start, a_row, a_column, B, b_start, b_row, low)


@njit(cache=True)
def dense_backward_b(dz, out=None):
    out = np.empty(dz.shape[1], dz.dtype) if out is None else out
    if out.size == 1:
        out[0] = total_of(flat(dz))
        return out
    for u in range(out.size):
        out[u] = 0
    for r in range(dz.shape[0]):
        for u in range(out.size):
            out[u] += dz[r, u]
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def total_of(x):
    total = x.dtype.type(0)
    for e in range(x.size):
        total += x[e]
    return total
