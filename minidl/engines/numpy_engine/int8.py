"""Whole numbers in NumPy: the operations of a network in int8, and the network forward."""

from itertools import pairwise

import numpy as np

from minidl.contract import LINEAR, RELU, SMALLEST_SCALE
from minidl.engines.numpy_engine.activations import FORWARD
from minidl.engines.numpy_engine.infer import silently

CHUNK = 1024  # rows at a time, so that a prediction's memory does not grow with the data


def quantize(x, scale, zero, out=None):
    return np.positive(as_uint8(steps(x, scale, zero), 0), out=out)


def dense_int8(q, W, out=None):
    # NumPy multiplies matrices of whole numbers one entry at a time; float64 holds all of them up to 2^53 exactly.
    return np.positive((q.astype(np.float64) @ W.astype(np.float64)).astype(np.int32), out=out)


def requantize(s, offset, multiplier, zero, low, out=None):
    q = np.rint((s + offset).astype(np.float32) * multiplier) + zero
    return np.positive(as_uint8(q, low), out=out)


def dequantize(s, offset, factor, out=None):
    return np.multiply((s + offset).astype(np.float32), factor, out=out)


def steps(x, scale, zero):
    """At which step of the range each number lies, rounded, half to even: outside of [0, 255] if it lies outside."""
    return np.rint(x * (np.float32(1) / scale)) + zero


def as_uint8(q, low):
    return np.fmin(np.fmax(q, low), 255).astype(np.uint8)  # fmax and fmin take the number where the other is NaN


@silently
def predict_int8(program, X, out):
    """Fill ``out`` (n, o) with the program's output for each row of X; returns how many entries lay outside."""
    forward, outside = forward_dynamic if program.dynamic else forward_static, 0
    for start in range(0, len(X), CHUNK):
        rows = slice(start, start + CHUNK)
        out[rows], beyond = forward(program, X[rows])
        outside += beyond
    return int(outside)


def forward_static(program, x):
    """Between layers all stays in whole numbers where the activation is a ReLU or none, and no normalization comes."""
    first, last = program.layers[0], program.layers[-1]
    q = steps(normalized(first, x), first.x_scale, first.x_zero)
    outside = np.count_nonzero(~((q >= 0) & (q <= 255)))  # NaN is neither
    q = as_uint8(q, 0)
    for layer, following in pairwise(program.layers):
        s = dense_int8(q, layer.W)
        if layer.activation in (LINEAR, RELU) and not following.mean.size:
            low = following.x_zero if layer.activation == RELU else 0
            q = requantize(s, layer.offset, layer.factor / following.x_scale, following.x_zero, low)
        else:
            y = FORWARD[layer.activation](dequantize(s, layer.offset, layer.factor))
            q = quantize(normalized(following, y), following.x_scale, following.x_zero)
    y = FORWARD[last.activation](dequantize(dense_int8(q, last.W), last.offset, last.factor))
    return normalized(program, y), outside


def forward_dynamic(program, x):
    """Each row has its own scale and zero, (n, 1), found before each layer, so that nothing lies outside."""
    for layer in program.layers:
        x = normalized(layer, x)
        least = np.minimum(np.min(x, axis=1, keepdims=True), 0)
        largest = np.maximum(np.max(x, axis=1, keepdims=True), 0)
        scale = np.maximum((largest - least) / 255, np.float32(SMALLEST_SCALE))
        zero = np.rint(-least / scale)
        s = dense_int8(quantize(x, scale, zero), layer.W)
        offset, factor = -zero.astype(np.int32) * layer.totals, scale * layer.scale
        x = FORWARD[layer.activation](dequantize(s, offset, factor) + layer.bias)
    return normalized(program, x), 0


def normalized(layer, x):
    """x behind the layer's normalization, if it has one."""
    return (x - layer.mean) / layer.deviation if layer.mean.size else x
