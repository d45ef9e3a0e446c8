"""A first layer of one unit, trained on rows that lie anywhere in memory: they are read there, and not copied first.

Such a layer does two operations with each number of a row, so that copying it takes longer than both products.
"""

import numpy as np

from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.gemm import BANDS, fetch_row, make_bands
from minidl.engines.numba_engine.gemm_narrow import make_narrow_band, one_of_column
from minidl.engines.numba_engine.vectors import ONE, ZERO
from minidl.engines.numba_engine.views import vector

ROWS = 8  # at a time

eight_of_column = make_narrow_band(ROWS, 0)
sum_of_rows = make_bands({1: (BANDS[1][0], 0, 1)})


@njit(cache=True, inline="always")
def scalar_products_anywhere(X, rows, i, out, start, biases, b, weights, W, floor):
    """max(x W + b, floor) for the chosen rows of X (n, i); X, ``out``, ``biases`` and ``weights`` are flat."""
    r = 0
    while r < rows.size:
        height = ROWS if rows.size >= ROWS else 1
        r = min(r, rows.size - height)  # the last ones are as many, and some of them computed once more
        for soon in range(r + ROWS, min(r + 2 * ROWS, rows.size)):
            fetch_row(X, rows[soon], i)
        if height == ROWS:
            eight_of_column(
                out, start + r, ONE, biases, b, X, ZERO, vector(rows, r, height), weights, W, ONE, i, ONE, floor
            )  # fmt: skip
        else:
            one_of_column(
                out, start + r, ONE, biases, b, X, ZERO, vector(rows, r, height), weights, W, ONE, i, ONE, floor
            )  # fmt: skip
        r += height


@njit(cache=True, inline="always")
def backward_W_anywhere(X, rows, i, dz, dz_start, zeros, out):
    """The gradient by the layer's W (i,) from the chosen rows of X and the gradients dz of what they give."""
    low = out.dtype.type(-np.inf)
    sum_of_rows(
        ONE, out, ZERO, ZERO, zeros, ZERO, ZERO, dz, dz_start, ZERO, ONE, X, ZERO, rows, ONE, rows.size, i, low
    )  # fmt: skip
