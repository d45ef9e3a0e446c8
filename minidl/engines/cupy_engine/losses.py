"""Losses in CuPy: the loss of each row from the target y, followed by its gradient by the prediction."""

from minidl.contract import PROBABILITY_FLOOR
from minidl.engines.cupy_engine.activations import sigmoid, softmax
from minidl.engines.cupy_engine.device import xp


def mean_squared_error(y, p, out=None):
    return xp.mean(xp.square(p - y), axis=1, out=out)  # ** 2 would call pow


def mean_squared_error_backward(y, p, out=None):
    return xp.multiply(p - y, 2 / p.shape[1], out=out)


def mean_absolute_error(y, p, out=None):
    return xp.mean(xp.abs(p - y), axis=1, out=out)


def mean_absolute_error_backward(y, p, out=None):
    return xp.divide(xp.sign(p - y), p.shape[1], out=out)


def binary_crossentropy(y, p, out=None):
    p = xp.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    # log1p(-p) keeps the digits of a small p that 1 - p would drop.
    return xp.mean(-y * xp.log(p) - (1 - y) * xp.log1p(-p), axis=1, out=out)


def binary_crossentropy_backward(y, p, out=None):
    clipped = xp.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    slope = (clipped - y) / (clipped * (1 - clipped)) / p.shape[1]
    return xp.multiply(slope, p == clipped, out=out)  # where p was clipped, moving it changes nothing


def binary_crossentropy_from_logits(y, z, out=None):
    # log(1 + e^z) - y z, in the form that neither overflows nor cancels.
    return xp.mean(xp.maximum(z, 0) - y * z + xp.log1p(xp.exp(-xp.abs(z))), axis=1, out=out)


def binary_crossentropy_from_logits_backward(y, z, out=None):
    return xp.divide(sigmoid(z) - y, z.shape[1], out=out)


def categorical_crossentropy(y, p, out=None):
    share = p / xp.sum(p, axis=1, keepdims=True)
    return xp.sum(-y * xp.log(xp.clip(share, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)), axis=1, out=out)


def categorical_crossentropy_backward(y, p, out=None):
    total = xp.sum(p, axis=1, keepdims=True)
    share = p / total
    inside = ~((share < PROBABILITY_FLOOR) | (share > 1 - PROBABILITY_FLOOR))  # so NaN is inside, and passes
    y = y * inside  # where a share was clipped, moving it changes nothing
    slope = y / xp.where(inside, share, 1)  # CuPy's divide has no where=
    return xp.divide(xp.sum(y, axis=1, keepdims=True) - slope, total, out=out)


def categorical_crossentropy_from_logits(y, z, out=None):
    z = z - xp.max(z, axis=1, keepdims=True)
    return xp.sum(y * (xp.log(xp.sum(xp.exp(z), axis=1, keepdims=True)) - z), axis=1, out=out)


def categorical_crossentropy_from_logits_backward(y, z, out=None):
    return xp.subtract(softmax(z) * xp.sum(y, axis=1, keepdims=True), y, out=out)


def sparse_categorical_crossentropy(y, p, out=None):
    # Keras clips here before it divides by the sum, and above after; y is rows of one 1 in both.
    p = xp.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return categorical_crossentropy_from_logits(y, xp.log(p), out=out)


def sparse_categorical_crossentropy_backward(y, p, out=None):
    clipped = xp.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    slope = categorical_crossentropy_from_logits_backward(y, xp.log(clipped)) / clipped
    return xp.multiply(slope, p == clipped, out=out)  # where p was clipped, moving it changes nothing


# In the order of the codes of contract.py.
FORWARD = (
    mean_squared_error,
    binary_crossentropy,
    binary_crossentropy_from_logits,
    categorical_crossentropy,
    categorical_crossentropy_from_logits,
    sparse_categorical_crossentropy,
    mean_absolute_error,
)
BACKWARD = (
    mean_squared_error_backward,
    binary_crossentropy_backward,
    binary_crossentropy_from_logits_backward,
    categorical_crossentropy_backward,
    categorical_crossentropy_from_logits_backward,
    sparse_categorical_crossentropy_backward,
    mean_absolute_error_backward,
)
