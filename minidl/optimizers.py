"""Optimizers, by Keras's names: what they are called and their numbers; the arithmetic is in the engines."""

from __future__ import annotations

import numpy as np

from minidl import checks
from minidl import contract as c


class Optimizer:
    """A way of moving the weights. ``learning_rate`` may be changed between epochs."""

    slots = 0  # vectors as long as theta that it remembers
    code: int

    def __init__(self, learning_rate: float):
        self.learning_rate = learning_rate

    @property
    def learning_rate(self) -> float:
        """How far one step goes; positive or 0."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = checks.number(value, "learning_rate", 0)

    def numbers(self) -> np.ndarray:
        """Its numbers in the columns that contract.py names."""
        numbers = np.zeros(6)
        numbers[c.LEARNING_RATE] = self.learning_rate
        return numbers

    def __repr__(self) -> str:
        shown = {name.lstrip("_"): value for name, value in vars(self).items()}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for (formulas "sgd", "momentum", "nesterov")."""

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False):
        super().__init__(learning_rate)
        self.momentum = checks.number(momentum, "momentum", 0, 1)
        self.nesterov = checks.truth(nesterov, "nesterov")

    @property
    def code(self) -> int:
        if self.momentum == 0:
            return c.SGD
        return c.NESTEROV if self.nesterov else c.MOMENTUM

    @property
    def slots(self) -> int:
        return 1 if self.momentum else 0

    def numbers(self) -> np.ndarray:
        numbers = super().numbers()
        numbers[c.MOMENTUM_RATE] = self.momentum
        return numbers


class Adam(Optimizer):
    """Steps scaled by the running moments of the gradient (formula "adam")."""

    code, slots = c.ADAM, 2

    def __init__(
        self, learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7
    ):
        super().__init__(learning_rate)
        self.beta_1 = checks.number(beta_1, "beta_1", 0, 1, below_high=True)
        self.beta_2 = checks.number(beta_2, "beta_2", 0, 1, below_high=True)
        self.epsilon = checks.number(epsilon, "epsilon", 0)

    def numbers(self) -> np.ndarray:
        numbers = super().numbers()
        numbers[c.BETA_1], numbers[c.BETA_2], numbers[c.EPSILON] = self.beta_1, self.beta_2, self.epsilon
        return numbers


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
        self.weight_decay = checks.number(weight_decay, "weight_decay", 0)

    def numbers(self) -> np.ndarray:
        numbers = super().numbers()
        numbers[c.WEIGHT_DECAY] = self.weight_decay
        return numbers


OPTIMIZERS = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def get(optimizer: str | Optimizer) -> Optimizer:
    """The optimizer of this name, with its default numbers; an optimizer is taken as it is."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, str) and optimizer.lower() in OPTIMIZERS:
        return OPTIMIZERS[optimizer.lower()]()
    raise ValueError(f"unknown optimizer {checks.shown(optimizer)}; {checks.did_you_mean(optimizer, OPTIMIZERS)}")
