"""Losses in NumPy: the loss of each row from the target y, followed by its gradient by the prediction."""

import numpy as np

from minidl.contract import PROBABILITY_FLOOR
from minidl.engines.numpy_engine.activations import sigmoid, softmax


def mean_squared_error(y, p, out=None):
    return np.mean((p - y) ** 2, axis=1, out=out)


def mean_squared_error_backward(y, p, out=None):
    return np.multiply(p - y, 2 / p.shape[1], out=out)


def mean_absolute_error(y, p, out=None):
    return np.mean(np.abs(p - y), axis=1, out=out)


def mean_absolute_error_backward(y, p, out=None):
    return np.divide(np.sign(p - y), p.shape[1], out=out)


def binary_crossentropy(y, p, out=None):
    p = np.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    # log1p(-p) keeps the digits of a small p that 1 - p would drop.
    return np.mean(-y * np.log(p) - (1 - y) * np.log1p(-p), axis=1, out=out)


def binary_crossentropy_backward(y, p, out=None):
    clipped = np.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    slope = (clipped - y) / (clipped * (1 - clipped)) / p.shape[1]
    return np.multiply(slope, p == clipped, out=out)  # where p was clipped, moving it changes nothing


def binary_crossentropy_from_logits(y, z, out=None):
    # log(1 + e^z) - y z, in the form that neither overflows nor cancels.
    return np.mean(np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z))), axis=1, out=out)


def binary_crossentropy_from_logits_backward(y, z, out=None):
    return np.divide(sigmoid(z) - y, z.shape[1], out=out)


def categorical_crossentropy(y, p, out=None):
    share = p / np.sum(p, axis=1, keepdims=True)
    return np.sum(-y * np.log(np.clip(share, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)), axis=1, out=out)


def categorical_crossentropy_backward(y, p, out=None):
    total = np.sum(p, axis=1, keepdims=True)
    share = p / total
    inside = ~((share < PROBABILITY_FLOOR) | (share > 1 - PROBABILITY_FLOOR))  # so NaN is inside, and passes
    y = y * inside  # where a share was clipped, moving it changes nothing
    slope = np.divide(y, share, where=inside, out=np.zeros_like(share))
    return np.divide(np.sum(y, axis=1, keepdims=True) - slope, total, out=out)


def categorical_crossentropy_from_logits(y, z, out=None):
    z = z - np.max(z, axis=1, keepdims=True)
    return np.sum(y * (np.log(np.sum(np.exp(z), axis=1, keepdims=True)) - z), axis=1, out=out)


def categorical_crossentropy_from_logits_backward(y, z, out=None):
    return np.subtract(softmax(z) * np.sum(y, axis=1, keepdims=True), y, out=out)


def sparse_categorical_crossentropy(y, p, out=None):
    # Keras clips here before it divides by the sum, and above after; y is rows of one 1 in both.
    p = np.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return categorical_crossentropy_from_logits(y, np.log(p), out=out)


def sparse_categorical_crossentropy_backward(y, p, out=None):
    clipped = np.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    slope = categorical_crossentropy_from_logits_backward(y, np.log(clipped)) / clipped
    return np.multiply(slope, p == clipped, out=out)  # where p was clipped, moving it changes nothing


# In the order of contract.LOSSES, so that a code is a place.
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
