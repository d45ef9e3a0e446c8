"""LearningRateScheduler and ReduceLROnPlateau: learning rates that change from epoch to epoch."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np

from minidl import checks
from minidl.callbacks.base import Callback
from minidl.callbacks.monitor import Monitor


class LearningRateScheduler(Callback):
    """Before each epoch, sets the learning rate to ``schedule(epoch, learning_rate)`` or ``schedule(epoch)``.

    ``epoch`` counts from 0. The rate is put into the epoch's logs as "learning_rate". With ``verbose=1`` it is printed.
    Raises TypeError for a schedule that cannot be called, and ValueError, within the training, for one whose result
    is not a float, finite and at least 0.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
        if not callable(schedule):
            raise TypeError(f"schedule must be a function of the epoch and learning rate, not {checks.shown(schedule)}")
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        arguments = (epoch, self.model.optimizer.learning_rate)
        rate = self.schedule(*(arguments if takes(self.schedule, *arguments) else arguments[:1]))
        what = f"what schedule returns for epoch {epoch}"
        if not isinstance(rate, float | np.floating):
            raise ValueError(f"{what} must be a float, not {checks.shown(rate)}")
        self.model.optimizer.learning_rate = checks.number(rate, what, 0)
        if self.verbose:
            print(f"epoch {epoch + 1}: learning rate {rate:g}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = self.model.optimizer.learning_rate


def takes(function: Callable, *arguments: object) -> bool:
    """Whether the function can be called with these arguments; True where it does not say."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions
        return True
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by ``factor`` once ``monitor`` has not become better for ``patience`` epochs.

    monitor, mode, min_delta: the value watched and what is better (see ``Monitor``).
    factor: in [0, 1).
    verbose: 1 prints every change.
    cooldown: how many epochs after a change are not counted.
    min_lr: the learning rate never goes below this.

    The rate that an epoch was trained with is put into its logs as "learning_rate". A watched value that is not in the
    logs is warned of. Raises ValueError or TypeError for arguments out of range, and ValueError before the training
    where mode="auto" does not know the metric.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.factor = checks.number(factor, "factor", 0, 1, below_high=True)
        self.patience = checks.whole_number(patience, "patience", 0)
        self.verbose = verbose
        self.cooldown = checks.whole_number(cooldown, "cooldown", 0)
        self.min_lr = checks.number(min_lr, "min_lr", 0)
        self.wait = self.cooldown_counter = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.larger_is_better()  # what it does not know is told before the training
        self.wait = self.cooldown_counter = 0
        self.best = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = {} if logs is None else logs
        logs["learning_rate"] = self.model.optimizer.learning_rate
        value = self.value_in(logs, "the learning rate stays")
        if value is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
        if self.improves(value, self.best):
            self.best, self.wait = value, 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and self.model.optimizer.learning_rate > self.min_lr:
                self._reduce(epoch)

    def in_cooldown(self) -> bool:
        """Whether epochs are not counted now."""
        return self.cooldown_counter > 0

    def _reduce(self, epoch: int) -> None:
        rate = max(self.model.optimizer.learning_rate * self.factor, self.min_lr)
        self.model.optimizer.learning_rate = rate
        self.cooldown_counter, self.wait = self.cooldown, 0
        if self.verbose:
            print(f"epoch {epoch + 1}: learning rate reduced to {rate:g}")
