"""Whole numbers in CuPy: the operations of a network in int8, and the network forward."""

import copy
from itertools import pairwise

from minidl.contract import LINEAR, RELU, SMALLEST_SCALE
from minidl.engines.cupy_engine.activations import FORWARD
from minidl.engines.cupy_engine.device import to_device, to_host, xp

CHUNK = 16_384  # rows uploaded at a time, so that a prediction's memory on the GPU does not grow with the data
NORMALIZATION, STATIC, DYNAMIC = ("mean", "deviation"), ("W", "factor", "offset"), ("W", "scale", "bias", "totals")


def quantize(x, scale, zero, out=None):
    return xp.positive(as_uint8(steps(x, scale, zero), 0), out=out)


def dense_int8(q, W, out=None):
    # float64 holds all whole numbers up to 2^53 exactly.
    return xp.positive((q.astype(xp.float64) @ W.astype(xp.float64)).astype(xp.int32), out=out)


def requantize(s, offset, multiplier, zero, low, out=None):
    q = xp.rint((s + offset).astype(xp.float32) * multiplier) + zero
    return xp.positive(as_uint8(q, low), out=out)


def dequantize(s, offset, factor, out=None):
    return xp.multiply((s + offset).astype(xp.float32), factor, out=out)


def steps(x, scale, zero):
    """At which step of the range each number lies, rounded, half to even: outside of [0, 255] if it lies outside."""
    return xp.rint(x * (xp.float32(1) / scale)) + zero


def as_uint8(q, low):
    return xp.fmin(xp.fmax(q, low), 255).astype(xp.uint8)  # fmax and fmin take the number where the other is NaN


def on_device(program):
    """The program with its arrays on the GPU, where they stay, since nobody writes into them."""
    if "cupy" not in program.plans:
        twin, arrays = uploaded(program, NORMALIZATION), DYNAMIC if program.dynamic else STATIC
        vars(twin)["layers"] = [uploaded(layer, NORMALIZATION + arrays) for layer in program.layers]
        program.plans["cupy"] = twin
    return program.plans["cupy"]


def uploaded(whole, arrays):
    """A copy of a layer or program with these arrays on the GPU; its numbers stay on the host."""
    twin = copy.copy(whole)
    vars(twin).update({name: to_device(getattr(whole, name)) for name in arrays})
    return twin


def predict_int8(program, X, out):
    """Fill ``out`` (n, o) with the program's output for each row of X; returns how many entries lay outside.

    X and out are NumPy arrays.
    """
    twin, outside = on_device(program), 0
    forward = forward_dynamic if program.dynamic else forward_static
    for start in range(0, len(X), CHUNK):
        rows = slice(start, start + CHUNK)
        y, beyond = forward(twin, to_device(X[rows]))
        out[rows] = to_host(y)
        outside = outside + beyond
    return 0 if program.dynamic else int(to_host(outside))


def forward_static(program, x):
    """Between layers all stays in whole numbers where the activation is a ReLU or none, and no normalization comes."""
    first, last = program.layers[0], program.layers[-1]
    q = steps(normalized(first, x), first.x_scale, first.x_zero)
    outside = xp.count_nonzero(~((q >= 0) & (q <= 255)))  # NaN is neither
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
        least = xp.minimum(xp.min(x, axis=1, keepdims=True), 0)
        largest = xp.maximum(xp.max(x, axis=1, keepdims=True), 0)
        scale = xp.maximum((largest - least) / 255, xp.float32(SMALLEST_SCALE))
        zero = xp.rint(-least / scale)
        s = dense_int8(quantize(x, scale, zero), layer.W)
        offset, factor = -zero.astype(xp.int32) * layer.totals, scale * layer.scale
        x = FORWARD[layer.activation](dequantize(s, offset, factor) + layer.bias)
    return normalized(program, x), 0


def normalized(layer, x):
    """x behind the layer's normalization, if it has one."""
    return (x - layer.mean) / layer.deviation if layer.mean.size else x
