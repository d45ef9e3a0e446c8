"""Regularization in NumPy: penalties on weights, and dropout with its counter-based masks."""

import numpy as np


def l1(w, rate):
    return rate * float(np.sum(np.abs(w), dtype=np.float64))


def l1_backward(w, rate, out):
    out += rate * np.sign(w)


def l2(w, rate):
    return rate * float(np.sum(np.square(w, dtype=np.float64)))


def l2_backward(w, rate, out):
    out += 2 * rate * w


def mix(h):
    """The finalizer of SplitMix64, on arrays of uint64 (contract.py has the whole generator)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


def keep_mask(shape, rate, seed, step, layer, first=0):
    # Arrays of one entry rather than scalars: they wrap around without a warning.
    seed, step, layer = (np.array([number], dtype=np.uint64) for number in (seed, step, layer))
    key = mix(mix(mix(seed) + step) + layer)
    index = np.arange(first + 1, first + np.prod(shape) + 1, dtype=np.uint64).reshape(shape)
    return (mix(key + index * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)) >= rate * 2**24


def dropout(x, rate, seed, step, layer, first=0, out=None):
    kept = keep_mask(x.shape, rate, seed, step, layer, first)
    return np.multiply(x, kept * x.dtype.type(1 / (1 - rate)), out=out)


def dropout_backward(dy, rate, seed, step, layer, first=0, out=None):
    return dropout(dy, rate, seed, step, layer, first, out)
