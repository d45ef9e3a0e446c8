"""Normalization in NumPy: each feature shifted to mean 0 and scaled to deviation 1."""

import numpy as np

from minidl.contract import DEVIATION_FLOOR


def normalization(x, mean, variance, out=None):
    return np.divide(x - mean, np.maximum(np.sqrt(variance), DEVIATION_FLOOR), out=out)


def normalization_backward(dy, variance, out=None):
    return np.divide(dy, np.maximum(np.sqrt(variance), DEVIATION_FLOOR), out=out)
