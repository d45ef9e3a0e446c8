"""Activations in Numba, each followed by its backward, which reads the output y instead of the input z.

The scalar functions are the formulas; the loops around them are what Numba turns into machine code. ``out`` may be the
array that is read. That has a loop of its own: where the compiler sees two arrays that turn out to be one, it takes one
number after the other, since for all it knows each result may be the next number read.
"""

import numpy as np

from minidl.contract import LINEAR, RELU, SIGMOID, SOFTMAX, TANH
from minidl.engines.numba_engine import elementary
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.elementary import exp, order, ordered
from minidl.engines.numba_engine.views import flat, vector

BLOCK = 2048  # numbers at a time that stay in the first cache


@njit(cache=True)
def linear(z, out=None):
    out = np.empty_like(z) if out is None else out
    z_, out_ = flat(z), flat(out)
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
    z_, out_ = flat(z), flat(out)
    if z_ is out_:
        for e in range(out_.size):
            out_[e] = sigmoid_of(out_[e])
    else:
        for e in range(z_.size):
            out_[e] = sigmoid_of(z_[e])
    return out


@njit(cache=True)
def sigmoid_slope(y):
    return y * (type(y)(1) - y)


@njit(cache=True)
def sigmoid_backward(dy, y, out=None):
    out = np.empty_like(y) if out is None else out
    dy_, y_, out_ = flat(dy), flat(y), flat(out)
    if dy_ is out_:
        for e in range(y_.size):
            out_[e] *= sigmoid_slope(y_[e])
    else:
        for e in range(y_.size):
            out_[e] = dy_[e] * sigmoid_slope(y_[e])
    return out


@njit(cache=True)
def relu_of(z):
    return type(z)(0) if z <= 0 else z  # a NaN is not <= 0 and passes


@njit(cache=True)
def relu(z, out=None):
    out = np.empty_like(z) if out is None else out
    z_, out_ = flat(z), flat(out)
    if z_ is out_:
        for e in range(out_.size):
            out_[e] = relu_of(out_[e])
    else:
        for e in range(z_.size):
            out_[e] = relu_of(z_[e])
    return out


@njit(cache=True)
def relu_slope(y):
    return type(y)(1) if y > 0 else (type(y)(0) if y <= 0 else y)  # a NaN is neither and passes, as one in dy does


@njit(cache=True)
def relu_backward(dy, y, out=None):
    out = np.empty_like(y) if out is None else out
    dy_, y_, out_ = flat(dy), flat(y), flat(out)
    if dy_ is out_:
        for e in range(y_.size):
            out_[e] *= relu_slope(y_[e])
    else:
        for e in range(y_.size):
            out_[e] = dy_[e] * relu_slope(y_[e])
    return out


@njit(cache=True)
def tanh(z, out=None):
    out = np.empty_like(z) if out is None else out
    z_, out_ = flat(z), flat(out)
    if z_ is out_:
        for e in range(out_.size):
            out_[e] = elementary.tanh(out_[e])
    else:
        for e in range(z_.size):
            out_[e] = elementary.tanh(z_[e])
    return out


@njit(cache=True)
def tanh_slope(y):
    return type(y)(1) - y * y


@njit(cache=True)
def tanh_backward(dy, y, out=None):
    out = np.empty_like(y) if out is None else out
    dy_, y_, out_ = flat(dy), flat(y), flat(out)
    if dy_ is out_:
        for e in range(y_.size):
            out_[e] *= tanh_slope(y_[e])
    else:
        for e in range(y_.size):
            out_[e] = dy_[e] * tanh_slope(y_[e])
    return out


@njit(cache=True, fastmath={"contract", "reassoc"})
def softmax(z, out=None):
    # Some rows at a time, and of these all exponentials in one loop: a row of few classes would not fill a vector.
    out = np.empty_like(z) if out is None else out
    z_, out_, (n, o) = flat(z), flat(out), z.shape
    step = max(1, BLOCK // o)
    for start in range(0, n, step):
        rows = range(start, min(start + step, n))
        for r in rows:
            below_largest(vector(z_, r * o, o), vector(out_, r * o, o))
        block = vector(out_, start * o, len(rows) * o)
        for e in range(block.size):
            block[e] = exp(block[e])
        for r in rows:
            e_r, total = vector(out_, r * o, o), z.dtype.type(0)
            for u in range(o):
                total += e_r[u]
            for u in range(o):
                e_r[u] /= total
    return out


@njit(cache=True)
def below_largest(z, out):
    # Taking the row's largest logit off everywhere changes nothing but keeps exp from overflowing.
    largest = largest_of(z)
    if z is out:
        for u in range(out.size):
            out[u] -= largest
    else:
        for u in range(z.size):
            out[u] = z[u] - largest


@njit(cache=True)
def largest_of(z):
    """The largest entry; of entries with a NaN among them, any."""
    largest = order(z[0])
    for u in range(1, z.size):
        n = order(z[u])
        largest = n if n > largest else largest
    return ordered(largest)


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
