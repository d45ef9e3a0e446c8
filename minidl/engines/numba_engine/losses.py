"""Losses in Numba: the loss of each row from the target y, followed by its gradient by the prediction.

Where each row has but one entry, a loop over the rows is what becomes vector instructions.
"""

import numpy as np

from minidl.contract import (
    BINARY_CROSSENTROPY,
    BINARY_CROSSENTROPY_FROM_LOGITS,
    CATEGORICAL_CROSSENTROPY,
    CATEGORICAL_CROSSENTROPY_FROM_LOGITS,
    MEAN_ABSOLUTE_ERROR,
    MEAN_SQUARED_ERROR,
    PROBABILITY_FLOOR,
    SPARSE_CATEGORICAL_CROSSENTROPY,
)
from minidl.engines.numba_engine.activations import largest_of, sigmoid_of, softmax
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.elementary import clip, exp, log, log1p, sign
from minidl.engines.numba_engine.views import flat


@njit(cache=True, fastmath={"contract", "reassoc"})
def mean_squared_error(y, p, out=None):
    out = np.empty(p.shape[0], p.dtype) if out is None else out
    units = p.dtype.type(p.shape[1])
    for r in range(p.shape[0]):
        total = p.dtype.type(0)
        for u in range(p.shape[1]):
            difference = p[r, u] - y[r, u]
            total += difference * difference
        out[r] = total / units
    return out


@njit(cache=True)
def mean_squared_error_backward(y, p, out=None):
    out = np.empty_like(p) if out is None else out
    y_, p_, out_, scale = flat(y), flat(p), flat(out), p.dtype.type(2 / p.shape[1])
    for e in range(p_.size):
        out_[e] = (p_[e] - y_[e]) * scale
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def mean_absolute_error(y, p, out=None):
    out = np.empty(p.shape[0], p.dtype) if out is None else out
    units = p.dtype.type(p.shape[1])
    for r in range(p.shape[0]):
        total = p.dtype.type(0)
        for u in range(p.shape[1]):
            total += abs(p[r, u] - y[r, u])
        out[r] = total / units
    return out


@njit(cache=True)
def mean_absolute_error_backward(y, p, out=None):
    out = np.empty_like(p) if out is None else out
    y_, p_, out_, units = flat(y), flat(p), flat(out), p.dtype.type(p.shape[1])
    for e in range(p_.size):
        out_[e] = sign(p_[e] - y_[e]) / units
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def binary_crossentropy(y, p, out=None):
    out = np.empty(p.shape[0], p.dtype) if out is None else out
    one, units = p.dtype.type(1), p.dtype.type(p.shape[1])
    low, high = p.dtype.type(PROBABILITY_FLOOR), p.dtype.type(1 - PROBABILITY_FLOOR)
    for r in range(p.shape[0]):
        total = p.dtype.type(0)
        for u in range(p.shape[1]):
            clipped = clip(p[r, u], low, high)
            # log1p(-p) keeps the digits of a small p that 1 - p would drop; from 1/2 on 1 - p is exact.
            half = p.dtype.type(0.5)
            log_rest = log1p(-clipped) if clipped < half else log(one - clipped)
            total -= y[r, u] * log(clipped) + (one - y[r, u]) * log_rest
        out[r] = total / units
    return out


@njit(cache=True)
def binary_crossentropy_backward(y, p, out=None):
    out = np.empty_like(p) if out is None else out
    one, zero, units = p.dtype.type(1), p.dtype.type(0), p.dtype.type(p.shape[1])
    low, high = p.dtype.type(PROBABILITY_FLOOR), p.dtype.type(1 - PROBABILITY_FLOOR)
    y_, p_, out_ = flat(y), flat(p), flat(out)
    for e in range(p_.size):
        clipped = clip(p_[e], low, high)
        slope = (clipped - y_[e]) / (clipped * (one - clipped)) / units
        out_[e] = slope * (one if p_[e] == clipped else zero)  # where p was clipped, moving it changes nothing
    return out


@njit(cache=True)
def logit_loss_of(y, z):
    # log(1 + e^z) - y z, in the form that neither overflows nor cancels.
    positive = type(z)(0) if z < 0 else z
    return positive - y * z + log1p(exp(-abs(z)))


@njit(cache=True, fastmath={"contract", "reassoc"})
def binary_crossentropy_from_logits(y, z, out=None):
    out = np.empty(z.shape[0], z.dtype) if out is None else out
    if z.shape[1] == 1:
        y_, z_ = flat(y), flat(z)
        for r in range(out.size):
            out[r] = logit_loss_of(y_[r], z_[r])
        return out
    units = z.dtype.type(z.shape[1])
    for r in range(z.shape[0]):
        total = z.dtype.type(0)
        for u in range(z.shape[1]):
            total += logit_loss_of(y[r, u], z[r, u])
        out[r] = total / units
    return out


@njit(cache=True)
def binary_crossentropy_from_logits_backward(y, z, out=None):
    out = np.empty_like(z) if out is None else out
    y_, z_, out_, units = flat(y), flat(z), flat(out), z.dtype.type(z.shape[1])
    for e in range(z_.size):
        out_[e] = (sigmoid_of(z_[e]) - y_[e]) / units
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def categorical_crossentropy(y, p, out=None):
    out = np.empty(p.shape[0], p.dtype) if out is None else out
    low, high = p.dtype.type(PROBABILITY_FLOOR), p.dtype.type(1 - PROBABILITY_FLOOR)
    for r in range(p.shape[0]):
        whole = p.dtype.type(0)
        for u in range(p.shape[1]):
            whole += p[r, u]
        total = p.dtype.type(0)
        for u in range(p.shape[1]):
            total -= y[r, u] * log(clip(p[r, u] / whole, low, high))
        out[r] = total
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def categorical_crossentropy_backward(y, p, out=None):
    out = np.empty_like(p) if out is None else out
    one, zero = p.dtype.type(1), p.dtype.type(0)
    low, high = p.dtype.type(PROBABILITY_FLOOR), p.dtype.type(1 - PROBABILITY_FLOOR)
    for r in range(p.shape[0]):
        whole = p.dtype.type(0)
        for u in range(p.shape[1]):
            whole += p[r, u]
        inside = p.dtype.type(0)
        for u in range(p.shape[1]):
            share = p[r, u] / whole
            clipped = clip(share, low, high)
            kept = y[r, u] * (zero if share != clipped else one)  # where a share was clipped, moving it changes nothing
            out[r, u] = kept / clipped
            inside += kept
        for u in range(p.shape[1]):
            out[r, u] = (inside - out[r, u]) / whole
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def categorical_crossentropy_from_logits(y, z, out=None):
    out = np.empty(z.shape[0], z.dtype) if out is None else out
    for r in range(z.shape[0]):
        largest = largest_of(z[r])
        whole = z.dtype.type(0)
        for u in range(z.shape[1]):
            whole += exp(z[r, u] - largest)
        log_of_sum = log(whole)
        total = z.dtype.type(0)
        for u in range(z.shape[1]):
            total += y[r, u] * (log_of_sum - (z[r, u] - largest))
        out[r] = total
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def categorical_crossentropy_from_logits_backward(y, z, out=None):
    out = softmax(z, out)
    for r in range(z.shape[0]):
        total = z.dtype.type(0)
        for u in range(z.shape[1]):
            total += y[r, u]
        for u in range(z.shape[1]):
            out[r, u] = out[r, u] * total - y[r, u]
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def sparse_categorical_crossentropy(y, p, out=None):
    # Keras clips here before it divides by the sum, and above after; y is rows of one 1 in both.
    out = np.empty(p.shape[0], p.dtype) if out is None else out
    low, high = p.dtype.type(PROBABILITY_FLOOR), p.dtype.type(1 - PROBABILITY_FLOOR)
    for r in range(p.shape[0]):
        whole, right = p.dtype.type(0), p.dtype.type(0)
        for u in range(p.shape[1]):
            clipped = clip(p[r, u], low, high)
            whole += clipped
            right += y[r, u] * log(clipped)
        out[r] = log(whole) - right
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def sparse_categorical_crossentropy_backward(y, p, out=None):
    out = np.empty_like(p) if out is None else out
    one, zero = p.dtype.type(1), p.dtype.type(0)
    low, high = p.dtype.type(PROBABILITY_FLOOR), p.dtype.type(1 - PROBABILITY_FLOOR)
    for r in range(p.shape[0]):
        whole = p.dtype.type(0)
        for u in range(p.shape[1]):
            whole += clip(p[r, u], low, high)
        for u in range(p.shape[1]):
            clipped = clip(p[r, u], low, high)
            slope = (clipped / whole - y[r, u]) / clipped
            out[r, u] = slope * (one if p[r, u] == clipped else zero)  # where p was clipped, moving it changes nothing
    return out


@njit(cache=True, inline="always")
def forward(which, y, prediction, out):
    """The loss of this code (contract.py)."""
    if which == MEAN_SQUARED_ERROR:
        mean_squared_error(y, prediction, out)
    elif which == BINARY_CROSSENTROPY:
        binary_crossentropy(y, prediction, out)
    elif which == BINARY_CROSSENTROPY_FROM_LOGITS:
        binary_crossentropy_from_logits(y, prediction, out)
    elif which == CATEGORICAL_CROSSENTROPY:
        categorical_crossentropy(y, prediction, out)
    elif which == CATEGORICAL_CROSSENTROPY_FROM_LOGITS:
        categorical_crossentropy_from_logits(y, prediction, out)
    elif which == SPARSE_CATEGORICAL_CROSSENTROPY:
        sparse_categorical_crossentropy(y, prediction, out)
    elif which == MEAN_ABSOLUTE_ERROR:
        mean_absolute_error(y, prediction, out)


@njit(cache=True, inline="always")
def backward(which, y, prediction, out):
    if which == MEAN_SQUARED_ERROR:
        mean_squared_error_backward(y, prediction, out)
    elif which == BINARY_CROSSENTROPY:
        binary_crossentropy_backward(y, prediction, out)
    elif which == BINARY_CROSSENTROPY_FROM_LOGITS:
        binary_crossentropy_from_logits_backward(y, prediction, out)
    elif which == CATEGORICAL_CROSSENTROPY:
        categorical_crossentropy_backward(y, prediction, out)
    elif which == CATEGORICAL_CROSSENTROPY_FROM_LOGITS:
        categorical_crossentropy_from_logits_backward(y, prediction, out)
    elif which == SPARSE_CATEGORICAL_CROSSENTROPY:
        sparse_categorical_crossentropy_backward(y, prediction, out)
    elif which == MEAN_ABSOLUTE_ERROR:
        mean_absolute_error_backward(y, prediction, out)
