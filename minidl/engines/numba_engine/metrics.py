"""Metrics in Numba: what each row scores, and for the area under the ROC curve the counts it is made from."""

import math

import numpy as np

from minidl.contract import (
    ABSOLUTE_ERROR,
    AUC_BINS,
    BINARY_ACCURACY,
    CATEGORICAL_ACCURACY,
    SQUARED_ERROR,
)
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.losses import mean_absolute_error, mean_squared_error


@njit(cache=True)
def binary_accuracy(y, p, out=None):
    out = np.empty(p.shape[0], p.dtype) if out is None else out
    units, half, one, zero = p.dtype.type(p.shape[1]), p.dtype.type(0.5), p.dtype.type(1), p.dtype.type(0)
    for r in range(p.shape[0]):
        right = zero
        for u in range(p.shape[1]):
            predicted = one if p[r, u] > half else zero
            right += one if predicted == y[r, u] else zero
        out[r] = right / units
    return out


@njit(cache=True)
def categorical_accuracy(y, p, out=None):
    out = np.empty(p.shape[0], p.dtype) if out is None else out
    for r in range(p.shape[0]):
        out[r] = 1 if np.argmax(y[r]) == np.argmax(p[r]) else 0
    return out


@njit(cache=True)
def auc_histograms(y, p, counts):
    for r in range(p.shape[0]):
        for u in range(p.shape[1]):
            score = p[r, u] if p[r, u] == p[r, u] else p.dtype.type(0)  # NaN, from a model that has diverged, is 0 here
            place = math.ceil(score * p.dtype.type(AUC_BINS)) - 1
            counts[int(y[r, u]), min(max(int(place), 0), AUC_BINS - 1)] += 1


@njit(cache=True, inline="always")
def forward(which, y, p, out):
    """The metric of this code (contract.py); the area under the curve adds up counts instead."""
    if which == BINARY_ACCURACY:
        binary_accuracy(y, p, out)
    elif which == CATEGORICAL_ACCURACY:
        categorical_accuracy(y, p, out)
    elif which == ABSOLUTE_ERROR:
        mean_absolute_error(y, p, out)
    elif which == SQUARED_ERROR:
        mean_squared_error(y, p, out)
