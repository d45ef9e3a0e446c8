"""Initial weights, by Keras's names: each draws an array of the given shape (inputs, units) from a generator."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minidl.checks import did_you_mean, shown

Initializer = Callable[[tuple[int, ...], np.random.Generator], np.ndarray]


def zeros(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """All 0."""
    return np.zeros(shape)


def ones(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """All 1."""
    return np.ones(shape)


def random_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Uniform in [-0.05, 0.05)."""
    return rng.uniform(-0.05, 0.05, shape)


def random_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Normal with mean 0 and deviation 0.05."""
    return rng.normal(0, 0.05, shape)


def scaled(scale: float, fan: str, distribution: str) -> Initializer:
    """Weights of variance scale / fan, fan being the inputs ("in") or the mean of inputs and units ("average").

    "uniform" draws from [-sqrt(3 scale / fan), sqrt(3 scale / fan)); "normal" cuts the bell off at two deviations and
    widens it so that the variance stays.
    """

    def draw(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        inputs, units = (shape[0], shape[0]) if len(shape) == 1 else shape
        variance = scale / (inputs if fan == "in" else (inputs + units) / 2)
        if distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return rng.uniform(-limit, limit, shape)
        values = rng.standard_normal(shape)
        while (outside := np.abs(values) > 2).any():
            values[outside] = rng.standard_normal(int(outside.sum()))
        return values * math.sqrt(variance) / 0.87962566103423978  # the deviation of the bell cut off at 2

    return draw


INITIALIZERS: dict[str, Initializer] = {
    "zeros": zeros,
    "ones": ones,
    "random_uniform": random_uniform,
    "random_normal": random_normal,
    "glorot_uniform": scaled(1, "average", "uniform"),  # X. Glorot, Y. Bengio, AISTATS 2010, eq. 16
    "glorot_normal": scaled(1, "average", "normal"),
    "he_uniform": scaled(2, "in", "uniform"),  # K. He et al., ICCV 2015, eq. 10
    "he_normal": scaled(2, "in", "normal"),
    "lecun_uniform": scaled(1, "in", "uniform"),  # Y. LeCun et al., Efficient BackProp, 1998, section 4.6
    "lecun_normal": scaled(1, "in", "normal"),
}


def get(initializer: str | Initializer) -> Initializer:
    """The initializer of this name; a function of (shape, generator) is taken as it is."""
    if callable(initializer):
        return initializer
    if isinstance(initializer, str) and initializer in INITIALIZERS:
        return INITIALIZERS[initializer]
    raise ValueError(f"unknown initializer {shown(initializer)}; {did_you_mean(initializer, INITIALIZERS)}")
