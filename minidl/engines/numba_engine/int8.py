"""Whole numbers in Numba: the operations of a network in int8, one by one. How a whole network runs: infer_int8.py."""

import numpy as np

from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.gemm_int8 import FOUR, multiply_int8, pack, steps_of, whole_panels
from minidl.engines.numba_engine.infer_int8 import lay_out_int8 as lay_out_int8
from minidl.engines.numba_engine.infer_int8 import predict_int8 as predict_int8

ZERO = np.float32(0)


@njit(cache=True)
def quantize(x, scale, zero, out=None):
    out = np.empty(x.shape, np.uint8) if out is None else out
    inverse, shift = np.float32(1) / np.float32(scale), np.float32(zero)
    for r in range(x.shape[0]):
        for k in range(x.shape[1]):
            out[r, k] = as_uint8(np.rint(x[r, k] * inverse) + shift, np.float32(0))
    return out


def dense_int8(q, W, out=None):
    (rows, inputs), outputs = q.shape, W.shape[1]
    steps, units = steps_of(inputs), whole_panels(outputs)
    filled, sums = np.zeros((rows, FOUR * steps), np.uint8), np.empty((rows, units), np.int32)
    filled[:, :inputs] = q
    A, C, none = filled.view(np.int32).reshape(-1), sums.reshape(-1), np.zeros(units, np.int32)
    multiply_int8(rows, units, steps, C, units, none, none.view(np.float32), A, steps, pack(W), ZERO, ZERO)
    return np.positive(sums[:, :outputs], out=out)


@njit(cache=True)
def requantize(s, offset, multiplier, zero, low, out=None):
    out = np.empty(s.shape, np.uint8) if out is None else out
    shift, least = np.float32(zero), np.float32(low)
    for r in range(s.shape[0]):
        for u in range(s.shape[1]):
            out[r, u] = as_uint8(np.rint(np.float32(s[r, u] + offset[u]) * multiplier[u]) + shift, least)
    return out


@njit(cache=True)
def dequantize(s, offset, factor, out=None):
    out = np.empty(s.shape, np.float32) if out is None else out
    for r in range(s.shape[0]):
        for u in range(s.shape[1]):
            out[r, u] = np.float32(s[r, u] + offset[u]) * factor[u]
    return out


@njit(cache=True)
def as_uint8(q, low):
    q = q if q > low else low  # a NaN is not above
    return np.uint8(q if q < 255 else 255)
