"""Normalization in Numba: each feature shifted to mean 0 and scaled to deviation 1."""

import math

import numpy as np

from minidl.contract import DEVIATION_FLOOR
from minidl.engines.numba_engine.cache import njit


@njit(cache=True)
def normalization(x, mean, variance, out=None):
    out = np.empty_like(x) if out is None else out
    floor = x.dtype.type(DEVIATION_FLOOR)
    for r in range(x.shape[0]):
        for k in range(x.shape[1]):
            out[r, k] = (x[r, k] - mean[k]) / max(math.sqrt(variance[k]), floor)
    return out


@njit(cache=True)
def normalization_backward(dy, variance, out=None):
    out = np.empty_like(dy) if out is None else out
    floor = dy.dtype.type(DEVIATION_FLOOR)
    for r in range(dy.shape[0]):
        for k in range(dy.shape[1]):
            out[r, k] = dy[r, k] / max(math.sqrt(variance[k]), floor)
    return out
