"""Optimizers in CuPy: each moves theta against its gradient g, in place, and brings its slots up to date."""

import math

from minidl.engines.cupy_engine.device import xp


def sgd(theta, g, learning_rate):
    theta -= learning_rate * g


def momentum(theta, g, v, learning_rate, momentum):
    v *= momentum
    v -= learning_rate * g
    theta += v


def nesterov(theta, g, v, learning_rate, momentum):
    v *= momentum
    v -= learning_rate * g
    theta += momentum * v - learning_rate * g


def adam(theta, g, m, v, t, learning_rate, beta_1, beta_2, epsilon):
    m += (1 - beta_1) * (g - m)
    v += (1 - beta_2) * (g * g - v)
    step = learning_rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    theta -= step * m / (xp.sqrt(v) + epsilon)


def adamw(theta, g, m, v, t, learning_rate, beta_1, beta_2, epsilon, weight_decay):
    theta -= learning_rate * weight_decay * theta
    adam(theta, g, m, v, t, learning_rate, beta_1, beta_2, epsilon)
