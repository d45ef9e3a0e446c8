"""Layers, by Keras's names: their settings and weights; the arithmetic is in the engines."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minidl import checks, initializers, regularizers
from minidl import contract as c

ACTIVATIONS = {name: code for code, name in enumerate(c.ACTIVATIONS)}


class Layer:
    """What all layers have in common.

    A layer that has been built holds its arrays as attributes, which are views of its model's one vector of
    parameters: writing into them changes the model.
    """

    arrays: tuple[str, ...] = ()  # the attributes that hold arrays, in the order of the table's columns

    def __init__(self, name: str | None = None, trainable: bool = True, input_shape: tuple[int, ...] | None = None):
        if name is not None and (not isinstance(name, str) or not name):
            raise TypeError(f"a layer's name must be a text, not {checks.shown(name)}")
        self.name = name
        self.trainable = trainable
        self.inputs = self._inputs_of(input_shape)
        self.built = False
        self.owner: object = None

    @staticmethod
    def _inputs_of(input_shape: object) -> int | None:
        if input_shape is None:
            return None
        if isinstance(input_shape, numbers.Integral):
            input_shape = (input_shape,)
        if not isinstance(input_shape, tuple | list) or len(input_shape) != 1:
            raise ValueError(
                f"input_shape must hold one number, the features of a row, as (10,); not {checks.shown(input_shape)}"
            )
        return checks.whole_number(input_shape[0], "input_shape", 1)

    @property
    def input_shape(self) -> tuple[int] | None:
        """(features,) of a row before this layer, once known."""
        return None if self.inputs is None else (self.inputs,)

    @property
    def outputs(self) -> int | None:
        """How many numbers a row has after this layer, once known."""
        return self.inputs

    def build(self, inputs: int, rng: np.random.Generator) -> None:
        """Make the weights for so many inputs."""
        if self.inputs is not None and self.inputs != inputs:
            raise ValueError(f"the layer {self.name!r} takes {self.inputs} features, but is given {inputs}")
        self.inputs, self.built = inputs, True

    def __setattr__(self, name: str, value: object) -> None:
        """Settings are checked; values given to an array go into it, so that it stays a view of the parameters."""
        if name in self.arrays and name in vars(self):
            fill([getattr(self, name)], [value], f"the layer {self.name!r}", [name])
        else:
            super().__setattr__(name, SETTINGS[name](value) if name in SETTINGS else value)

    def bind(self, array: str, view: np.ndarray) -> None:
        """Make this attribute the view."""
        vars(self)[array] = view

    def learns(self, array: str) -> bool:
        """Whether training changes this array."""
        return False

    @property
    def weights(self) -> list[np.ndarray]:
        """Its arrays as Keras counts them; views, not copies."""
        return [getattr(self, array) for array in self.arrays] if self.built else []

    def get_weights(self) -> list[np.ndarray]:
        """Copies of its arrays."""
        return [array.copy() for array in self.weights]

    def set_weights(self, weights: list) -> None:
        """Put these values into its arrays; ValueError where number or shapes differ, and then nothing is changed."""
        if not self.built:
            raise RuntimeError(f"the layer {self.name!r} has no weights yet: it gets them when its model is built")
        fill(self.weights, weights, f"the layer {self.name!r}")

    def operations(self, places: dict[str, int], dropouts: int) -> list[c.Row]:
        """Its rows of a program's table and numbers; ``places`` are its arrays' offsets into the parameters,
        ``dropouts`` counts the dropout layers before it."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name or ''} {self.inputs} -> {self.outputs}>"


class Dense(Layer):
    """a = activation(x W + b): x (n, i), W (i, units), b (units,) -> (n, units) (formula "dense").

    ``activation`` is a name, or an engine's function such as ``minidl.get_engine("numpy").tanh``: it stands for the
    formula, which the model's own engine computes. The weights are the attributes ``W`` and ``b``. Raises ValueError
    for 0 units and unknown names.
    """

    arrays = ("W", "b")
    units: int
    activation: str
    use_bias: bool
    kernel_regularizer: regularizers.L1L2
    W: np.ndarray
    b: np.ndarray

    def __init__(
        self,
        units: int,
        activation: str | Callable | None = None,
        use_bias: bool = True,
        kernel_initializer: str | initializers.Initializer = "glorot_uniform",
        bias_initializer: str | initializers.Initializer = "zeros",
        kernel_regularizer: str | regularizers.L1L2 | None = None,
        input_shape: tuple[int, ...] | None = None,
        trainable: bool = True,
        name: str | None = None,
    ):
        super().__init__(name, trainable, input_shape)
        self.units, self.activation, self.use_bias = units, activation, use_bias
        initializers.get(kernel_initializer), initializers.get(bias_initializer)  # unknown ones are refused here
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer
        self.kernel_regularizer = kernel_regularizer

    @property
    def outputs(self) -> int:
        return self.units

    def build(self, inputs: int, rng: np.random.Generator) -> None:
        W = drawn(self.kernel_initializer, (inputs, self.units), rng)
        b = drawn(self.bias_initializer, (self.units,), rng) if self.use_bias else np.zeros(self.units)
        super().build(inputs, rng)
        self.W, self.b = W, b

    def learns(self, array: str) -> bool:
        return self.trainable and (array == "W" or self.use_bias)

    @property
    def weights(self) -> list[np.ndarray]:
        return super().weights[: 2 if self.use_bias else 1]  # without a bias, b stays 0 and is nobody's business

    def operations(self, places: dict[str, int], dropouts: int) -> list[c.Row]:
        penalty = self.kernel_regularizer if self.trainable else regularizers.L1L2()  # a frozen layer adds none
        W, b = places["W"], places["b"]
        rows = [c.Row(c.DENSE, 0, self.inputs, self.units, W, b, l1=penalty.l1, l2=penalty.l2)]
        if self.activation != "linear":
            rows.append(c.Row(c.ACTIVATION, ACTIVATIONS[self.activation], self.units, self.units))
        return rows


class Dropout(Layer):
    """In training an input is kept with probability 1 - rate and divided by it; else it passes (formula "dropout")."""

    def __init__(self, rate: float, input_shape: tuple[int, ...] | None = None, name: str | None = None):
        super().__init__(name, True, input_shape)
        self.rate = rate

    def operations(self, places: dict[str, int], dropouts: int) -> list[c.Row]:
        return [c.Row(c.DROPOUT, dropouts, self.inputs, self.inputs, rate=self.rate)]


class Normalization(Layer):
    """(x - mean) / deviation for each feature (formula "normalization").

    ``adapt(X)`` takes mean and population variance from the data. Where it has not been called, the first ``fit``
    calls it with the training rows (never the validation rows), unless ``trainable`` is False: then the layer passes
    everything unchanged until ``adapt`` is called. Its arrays are the attributes ``mean`` and ``variance``.
    """

    arrays = ("mean", "variance")
    mean: np.ndarray
    variance: np.ndarray

    def __init__(
        self, input_shape: tuple[int, ...] | None = None, trainable: bool = True, name: str | None = None
    ):
        super().__init__(name, trainable, input_shape)
        self.adapted = False

    def build(self, inputs: int, rng: np.random.Generator) -> None:
        super().build(inputs, rng)
        self.mean, self.variance = np.zeros(inputs), np.ones(inputs)

    def adapt(self, X: object) -> None:
        """Take mean and variance of each feature from X (rows, features), computed in float64."""
        X = checks.features(X, np.dtype(np.float64), self.inputs)
        found = self.statistics(X, self.mean.dtype if self.built else X.dtype)
        if not self.built:
            self.build(X.shape[1], np.random.default_rng(0))
        self.take(found)

    def take(self, statistics: np.ndarray) -> None:
        """Put in what ``statistics`` has found."""
        self.mean[:], self.variance[:] = statistics
        self.adapted = True

    def statistics(self, X: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Mean and variance of each feature of X (rows, features), (2, features) in float64.

        ValueError where they do not fit the dtype; the layer is not changed.
        """
        X = X.astype(np.float64, copy=False)
        # Counted from the first row, so that a constant column has exactly its value as mean and 0 as variance.
        with np.errstate(over="ignore", invalid="ignore"):
            shifted = X - X[0]
            mean = shifted.mean(axis=0)
            found = np.stack([X[0] + mean, np.square(shifted - mean).mean(axis=0)])
            fits = np.isfinite(found.astype(dtype)).all(axis=0)
        if not fits.all():
            column = int(np.argmin(fits))
            raise ValueError(
                f"the values in column {column} of X (counted from 0) are too large: their variance "
                f"{found[1, column]:g} or mean {found[0, column]:g} does not fit {dtype}; scale them down"
            )
        return found

    def set_weights(self, weights: list) -> None:
        super().set_weights(weights)
        self.adapted = True

    def operations(self, places: dict[str, int], dropouts: int) -> list[c.Row]:
        return [c.Row(c.NORMALIZATION, 0, self.inputs, self.inputs, places["mean"], places["variance"])]


def activation_name(activation: Any) -> str:
    """The name of an activation, given by name or as a function of an engine; ValueError for any other."""
    if activation is None:
        return "linear"
    of_engine = callable(activation) and getattr(activation, "__module__", "").startswith("minidl.engines.")
    name = activation.__name__ if of_engine else activation
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {checks.shown(activation)}; {checks.did_you_mean(name, ACTIVATIONS)}")
    return name


def drawn(
    initializer: str | initializers.Initializer, shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Initial values in float64, whichever dtype the model has, so that the same seed gives the same ones."""
    values = np.asarray(initializers.get(initializer)(shape, rng), dtype=np.float64)
    if values.shape != shape:
        raise ValueError(f"an initializer returned the shape {values.shape} where {shape} was asked for")
    return values


def fill(arrays: list[np.ndarray], values: list, whose: str, names: list[str] | None = None) -> None:
    """Copy each value into its array, all of them or none."""
    if not isinstance(values, list | tuple):
        raise TypeError(f"the weights of {whose} must be a list of arrays, not {checks.shown(values)}")
    names = names or [f"weights[{place}]" for place in range(len(arrays))]
    if len(values) != len(arrays):
        raise ValueError(f"{whose} has {len(arrays)} weight arrays, but {len(values)} are given")
    checked = []  # copies, since a value may be a view of another of these arrays
    for name, array, value in zip(names, arrays, values, strict=True):
        value = checks.numeric(value, name)
        if value.shape != array.shape:
            raise ValueError(f"{name} of {whose} has the shape {array.shape}, but is given {value.shape}")
        checked.append(checks.clean(value, name, array.dtype).copy())
    for array, value in zip(arrays, checked, strict=True):
        array[:] = value


# How each setting of a layer is checked, at construction and later.
SETTINGS: dict[str, Callable[[Any], object]] = {
    "trainable": partial(checks.truth, name="trainable"),
    "units": partial(checks.whole_number, name="units", least=1),
    "activation": activation_name,
    "use_bias": partial(checks.truth, name="use_bias"),
    "kernel_regularizer": regularizers.get,
    "rate": partial(checks.number, name="rate", low=0, high=1, below_high=True),
}
