"""Regularization in Numba: penalties on weights, and dropout with its counter-based masks."""

import math

import numpy as np

from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.elementary import sign
from minidl.engines.numba_engine.views import flat


@njit(cache=True, fastmath={"contract", "reassoc"})
def l1(w, rate):
    w_, total = flat(w), 0.0
    for e in range(w_.size):
        total += abs(w_[e])
    return rate * total


@njit(cache=True)
def l1_backward(w, rate, out):
    w_, out_, slope = flat(w), flat(out), w.dtype.type(rate)
    for e in range(w_.size):
        out_[e] += slope * sign(w_[e])


@njit(cache=True, fastmath={"contract", "reassoc"})
def l2(w, rate):
    w_, total = flat(w), 0.0
    for e in range(w_.size):
        total += np.float64(w_[e]) * np.float64(w_[e])
    return rate * total


@njit(cache=True)
def l2_backward(w, rate, out):
    w_, out_, slope = flat(w), flat(out), w.dtype.type(2 * rate)
    for e in range(w_.size):
        out_[e] += slope * w_[e]


@njit(cache=True)
def mix(h):
    """The finalizer of SplitMix64, on a uint64 (contract.py has the whole generator)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True)
def dropout(x, rate, seed, step, layer, first=0, out=None):
    out = np.empty_like(x) if out is None else out
    x_, out_ = flat(x), flat(out)
    key = mix(mix(mix(np.uint64(seed)) + np.uint64(step)) + np.uint64(layer))
    threshold = np.uint64(math.ceil(rate * 2.0**24))
    scale, zero = x.dtype.type(1 / (1 - rate)), x.dtype.type(0)
    for e in range(x_.size):
        bits = mix(key + np.uint64(first + e + 1) * np.uint64(0x9E3779B97F4A7C15))
        out_[e] = x_[e] * (scale if (bits >> np.uint64(40)) >= threshold else zero)
    return out


@njit(cache=True)
def dropout_backward(dy, rate, seed, step, layer, first=0, out=None):
    return dropout(dy, rate, seed, step, layer, first, out)
