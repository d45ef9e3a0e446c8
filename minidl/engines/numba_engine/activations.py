"""Activations in Numba, each followed by its backward, which reads the output y instead of the input z.

The scalar functions are the formulas; the loops around them are what Numba turns into machine code. ``out`` may be the
array that is read.
"""

import numpy as np

from minidl.contract import LINEAR, RELU, SIGMOID, SOFTMAX, TANH
from minidl.engines.numba_engine import elementary
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.elementary import exp


@njit(cache=True)
def linear(z, out=None):
    out = np.empty_like(z) if out is None else out
    z_, out_ = z.reshape(-1), out.reshape(-1)
    for e in range(z_.size):
        out_[e] = z_[e]
    return out


@njit(cache=True)
def linear_backward(dy, y, out=None):
    return linear(dy, out)


@njit(cache=True)
def sigmoid_of(z):
    # Two branches, so that exp never overflows: 1 / (1 + e^-z) where z >= 0, e^z / (1 + e^z) where z < 0.
    one = type(z)(1)
    e = exp(-abs(z))
    return (one if z >= 0 else e) / (one + e)


@njit(cache=True)
def sigmoid(z, out=None):
    out = np.empty_like(z) if out is None else out
    z_, out_ = z.reshape(-1), out.reshape(-1)
    for e in range(z_.size):
        out_[e] = sigmoid_of(z_[e])
    return out


@njit(cache=True)
def sigmoid_backward(dy, y, out=None):
    out = np.empty_like(y) if out is None else out
    dy_, y_, out_ = dy.reshape(-1), y.reshape(-1), out.reshape(-1)
    one = y.dtype.type(1)
    for e in range(y_.size):
        out_[e] = dy_[e] * (y_[e] * (one - y_[e]))
    return out


@njit(cache=True)
def relu(z, out=None):
    out = np.empty_like(z) if out is None else out
    z_, out_ = z.reshape(-1), out.reshape(-1)
    zero = z.dtype.type(0)
    for e in range(z_.size):
        out_[e] = zero if z_[e] <= 0 else z_[e]  # a NaN is not <= 0 and passes
    return out


@njit(cache=True)
def relu_backward(dy, y, out=None):
    out = np.empty_like(y) if out is None else out
    dy_, y_, out_ = dy.reshape(-1), y.reshape(-1), out.reshape(-1)
    one, zero = y.dtype.type(1), y.dtype.type(0)
    for e in range(y_.size):
        slope = one if y_[e] > 0 else (zero if y_[e] <= 0 else y_[e])  # a NaN is neither and passes, as one in dy does
        out_[e] = dy_[e] * slope
    return out


@njit(cache=True)
def tanh(z, out=None):
    out = np.empty_like(z) if out is None else out
    z_, out_ = z.reshape(-1), out.reshape(-1)
    for e in range(z_.size):
        out_[e] = elementary.tanh(z_[e])
    return out


@njit(cache=True)
def tanh_backward(dy, y, out=None):
    out = np.empty_like(y) if out is None else out
    dy_, y_, out_ = dy.reshape(-1), y.reshape(-1), out.reshape(-1)
    one = y.dtype.type(1)
    for e in range(y_.size):
        out_[e] = dy_[e] * (one - y_[e] * y_[e])
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def softmax(z, out=None):
    out = np.empty_like(z) if out is None else out
    for r in range(z.shape[0]):
        largest = largest_of(z[r])
        for u in range(z.shape[1]):
            # Taking the row's largest logit off everywhere changes nothing but keeps exp from overflowing.
            out[r, u] = exp(z[r, u] - largest)
        total = z.dtype.type(0)
        for u in range(z.shape[1]):
            total += out[r, u]
        for u in range(z.shape[1]):
            out[r, u] /= total
    return out


@njit(cache=True)
def largest_of(z):
    """The largest entry; NaN if there is one."""
    largest = z[0]
    for u in range(1, z.size):
        largest = z[u] if z[u] > largest or z[u] != z[u] else largest
    return largest


@njit(cache=True, fastmath={"contract", "reassoc"})
def softmax_backward(dy, y, out=None):
    out = np.empty_like(y) if out is None else out
    for r in range(y.shape[0]):
        inner = y.dtype.type(0)
        for u in range(y.shape[1]):
            inner += dy[r, u] * y[r, u]
        for u in range(y.shape[1]):
            out[r, u] = y[r, u] * (dy[r, u] - inner)
    return out


@njit(cache=True, inline="always")
def forward(which, z, out):
    """The activation of this code (contract.py)."""
    if which == LINEAR:
        linear(z, out)
    elif which == SIGMOID:
        sigmoid(z, out)
    elif which == RELU:
        relu(z, out)
    elif which == TANH:
        tanh(z, out)
    elif which == SOFTMAX:
        softmax(z, out)


@njit(cache=True, inline="always")
def backward(which, dy, y, out):
    if which == LINEAR:
        linear_backward(dy, y, out)
    elif which == SIGMOID:
        sigmoid_backward(dy, y, out)
    elif which == RELU:
        relu_backward(dy, y, out)
    elif which == TANH:
        tanh_backward(dy, y, out)
    elif which == SOFTMAX:
        softmax_backward(dy, y, out)
