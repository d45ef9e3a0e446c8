"""Regularization in CuPy: penalties on weights, and dropout with its counter-based masks."""

import math

import numpy as np

from minidl.engines.cupy_engine.device import xp

# A penalty is an array of no dimensions that stays on the GPU: to make a float of it would be to wait for it.


def l1(w, rate):
    return rate * xp.sum(xp.abs(w), dtype=xp.float64)


def l1_backward(w, rate, out):
    out += rate * xp.sign(w)


def l2(w, rate):
    return rate * xp.sum(xp.square(w, dtype=xp.float64))


def l2_backward(w, rate, out):
    out += 2 * rate * w


def mix(h):
    """The finalizer of SplitMix64, on arrays of uint64 (contract.py has the whole generator)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


def keep_mask(shape, rate, seed, step, layer, first=0):
    # The key is one number, so it is mixed on the host and handed to the kernels as an argument.
    seed, step, layer = (np.array([number], dtype=np.uint64) for number in (seed, step, layer))
    key = mix(mix(mix(seed) + step) + layer)[0]
    index = xp.arange(first + 1, first + math.prod(shape) + 1, dtype=xp.uint64).reshape(shape)
    bits = mix(index * np.uint64(0x9E3779B97F4A7C15) + key)
    # Whole numbers on both sides: (bits >> 40) >= rate * 2^24 without a detour through float64.
    return (bits >> np.uint64(40)) >= np.uint64(math.ceil(rate * 2**24))


def dropout(x, rate, seed, step, layer, first=0, out=None):
    kept = keep_mask(x.shape, rate, seed, step, layer, first)
    return xp.multiply(x, kept * x.dtype.type(1 / (1 - rate)), out=out)


def dropout_backward(dy, rate, seed, step, layer, first=0, out=None):
    return dropout(dy, rate, seed, step, layer, first, out)
