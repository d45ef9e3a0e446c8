"""Normalization in CuPy: each feature shifted to mean 0 and scaled to deviation 1."""

from minidl.contract import DEVIATION_FLOOR
from minidl.engines.cupy_engine.device import xp


def normalization(x, mean, variance, out=None):
    return xp.divide(x - mean, xp.maximum(xp.sqrt(variance), DEVIATION_FLOOR), out=out)


def normalization_backward(dy, variance, out=None):
    return xp.divide(dy, xp.maximum(xp.sqrt(variance), DEVIATION_FLOOR), out=out)
