"""Optimizers, by Keras's names: what they are called and their numbers; the arithmetic is in the engines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from minidl import checks
from minidl import contract as c

CHECKS: dict[str, Callable[[object, str], object]] = {
    **dict.fromkeys(("learning_rate", "epsilon", "weight_decay"), partial(checks.number, low=0)),
    **dict.fromkeys(("beta_1", "beta_2"), partial(checks.number, low=0, high=1, below_high=True)),
    "momentum": partial(checks.number, low=0, high=1),
    "nesterov": checks.truth,
}


class Optimizer:
    """A way of moving the weights. ``learning_rate`` may be changed between epochs."""

    slots = 0  # vectors as long as theta that it remembers
    code: int

    def __init__(self, learning_rate: float):
        self.learning_rate = learning_rate

    def __setattr__(self, name: str, value: object) -> None:
        """Every number is checked, at construction and later."""
        super().__setattr__(name, CHECKS[name](value, name) if name in CHECKS else value)

    def numbers(self) -> np.ndarray:
        """Its numbers as an engine takes them: those that contract.py names, 0 where it has none."""
        return np.array([getattr(self, name, 0.0) for name in c.OPTIMIZER_NUMBERS])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for (formulas "sgd", "momentum", "nesterov")."""

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False):
        super().__init__(learning_rate)
        self.momentum, self.nesterov = momentum, nesterov

    @property
    def code(self) -> int:
        if self.momentum == 0:
            return c.SGD
        return c.NESTEROV if self.nesterov else c.MOMENTUM

    @property
    def slots(self) -> int:
        return 1 if self.momentum else 0


class Adam(Optimizer):
    """Steps scaled by the running moments of the gradient (formula "adam")."""

    code, slots = c.ADAM, 2

    def __init__(
        self, learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7
    ):
        super().__init__(learning_rate)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon


class AdamW(Adam):
    """Adam after all of theta, biases included, has shrunk by learning_rate weight_decay (formula "adamw")."""

    code = c.ADAMW

    def __init__(
        self,
        learning_rate: float = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon)
        self.weight_decay = weight_decay


OPTIMIZERS = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def get(optimizer: str | Optimizer) -> Optimizer:
    """The optimizer of this name, with its default numbers; an optimizer is taken as it is."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str) and optimizer.lower() in OPTIMIZERS:
        return OPTIMIZERS[optimizer.lower()]()
    raise ValueError(f"unknown optimizer {checks.shown(optimizer)}; {checks.did_you_mean(optimizer, OPTIMIZERS)}")
