"""Optimizers in Numba: each moves theta against its gradient g, in place, and brings its slots up to date.

One pass over the vectors: an entry is loaded once, changed, and stored once.
"""

import math

from minidl.engines.numba_engine.cache import njit


@njit(cache=True)
def sgd(theta, g, learning_rate):
    rate = theta.dtype.type(learning_rate)
    for e in range(theta.size):
        theta[e] -= rate * g[e]


@njit(cache=True)
def momentum(theta, g, v, learning_rate, momentum):
    rate, mu = theta.dtype.type(learning_rate), theta.dtype.type(momentum)
    for e in range(theta.size):
        v[e] = mu * v[e] - rate * g[e]
        theta[e] += v[e]


@njit(cache=True)
def nesterov(theta, g, v, learning_rate, momentum):
    rate, mu = theta.dtype.type(learning_rate), theta.dtype.type(momentum)
    for e in range(theta.size):
        v[e] = mu * v[e] - rate * g[e]
        theta[e] += mu * v[e] - rate * g[e]


@njit(cache=True)
def adam(theta, g, m, v, t, learning_rate, beta_1, beta_2, epsilon):
    first, second = theta.dtype.type(1 - beta_1), theta.dtype.type(1 - beta_2)
    step = theta.dtype.type(learning_rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t))
    epsilon_ = theta.dtype.type(epsilon)
    for e in range(theta.size):
        m[e] += first * (g[e] - m[e])
        v[e] += second * (g[e] * g[e] - v[e])
        theta[e] -= step * m[e] / (math.sqrt(v[e]) + epsilon_)


@njit(cache=True)
def adamw(theta, g, m, v, t, learning_rate, beta_1, beta_2, epsilon, weight_decay):
    first, second = theta.dtype.type(1 - beta_1), theta.dtype.type(1 - beta_2)
    step = theta.dtype.type(learning_rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t))
    epsilon_, decay = theta.dtype.type(epsilon), theta.dtype.type(learning_rate * weight_decay)
    for e in range(theta.size):
        m[e] += first * (g[e] - m[e])
        v[e] += second * (g[e] * g[e] - v[e])
        theta[e] = (theta[e] - decay * theta[e]) - step * m[e] / (math.sqrt(v[e]) + epsilon_)
