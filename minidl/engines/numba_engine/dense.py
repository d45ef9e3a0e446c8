"""The dense layer in Numba: one matrix product forward, two and a sum backward.

``dense`` and ``dense_backward_W`` go through the tiles of gemm.py. ``dense_backward_x`` needs scalar products of rows;
there plain loops do: 4 x 4 running sums stay in registers, each loaded number is used four times, and the compiler
may take the sums in vector order (``reassoc``).
"""

import numpy as np

from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.gemm import add_product

# For a literal 1 in a call Numba compiles the function once more, with a step of 1 built in; the cleverer loop that
# LLVM makes of it takes a third longer.
ZERO, ONE = np.int64(0), np.int64(1)


@njit(cache=True)
def dense(x, W, b, out=None):
    out = np.empty((x.shape[0], W.shape[1]), x.dtype) if out is None else out
    for r in range(out.shape[0]):
        for u in range(out.shape[1]):
            out[r, u] = b[u]
    add_product(out, x.reshape(-1), x.shape[1], ONE, W)
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def dense_backward_x(dz, W, out=None):
    out = np.empty((dz.shape[0], W.shape[0]), dz.dtype) if out is None else out
    zero = dz.dtype.type(0)
    rows, inputs = dz.shape[0] - dz.shape[0] % 4, W.shape[0] - W.shape[0] % 4
    for r in range(0, rows, 4):
        g0, g1, g2, g3 = dz[r], dz[r + 1], dz[r + 2], dz[r + 3]
        for k in range(0, inputs, 4):
            w0, w1, w2, w3 = W[k], W[k + 1], W[k + 2], W[k + 3]
            s00 = s01 = s02 = s03 = zero
            s10 = s11 = s12 = s13 = zero
            s20 = s21 = s22 = s23 = zero
            s30 = s31 = s32 = s33 = zero
            for u in range(g0.size):
                a0, a1, a2, a3 = g0[u], g1[u], g2[u], g3[u]
                b0, b1, b2, b3 = w0[u], w1[u], w2[u], w3[u]
                s00 += a0 * b0; s01 += a0 * b1; s02 += a0 * b2; s03 += a0 * b3  # noqa: E702
                s10 += a1 * b0; s11 += a1 * b1; s12 += a1 * b2; s13 += a1 * b3  # noqa: E702
                s20 += a2 * b0; s21 += a2 * b1; s22 += a2 * b2; s23 += a2 * b3  # noqa: E702
                s30 += a3 * b0; s31 += a3 * b1; s32 += a3 * b2; s33 += a3 * b3  # noqa: E702
            out[r, k], out[r, k + 1], out[r, k + 2], out[r, k + 3] = s00, s01, s02, s03
            out[r + 1, k], out[r + 1, k + 1], out[r + 1, k + 2], out[r + 1, k + 3] = s10, s11, s12, s13
            out[r + 2, k], out[r + 2, k + 1], out[r + 2, k + 2], out[r + 2, k + 3] = s20, s21, s22, s23
            out[r + 3, k], out[r + 3, k + 1], out[r + 3, k + 2], out[r + 3, k + 3] = s30, s31, s32, s33
        scalar_products(dz, W, out, r, r + 4, inputs)  # the last columns
    scalar_products(dz, W, out, rows, dz.shape[0], ZERO)  # the last rows
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def scalar_products(dz, W, out, first_row, last_row, first_input):
    for r in range(first_row, last_row):
        g = dz[r]
        for k in range(first_input, W.shape[0]):
            w = W[k]
            total = dz.dtype.type(0)
            for u in range(g.size):
                total += g[u] * w[u]
            out[r, k] = total


@njit(cache=True)
def dense_backward_W(x, dz, out=None):
    out = np.empty((x.shape[1], dz.shape[1]), x.dtype) if out is None else out
    for k in range(out.shape[0]):
        for u in range(out.shape[1]):
            out[k, u] = 0
    add_product(out, x.reshape(-1), ONE, x.shape[1], dz)
    return out


@njit(cache=True)
def dense_backward_b(dz, out=None):
    out = np.empty(dz.shape[1], dz.dtype) if out is None else out
    for u in range(out.size):
        out[u] = 0
    for r in range(dz.shape[0]):
        for u in range(out.size):
            out[u] += dz[r, u]
    return out
