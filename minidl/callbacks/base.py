"""What a callback is, and how several are called one after the other."""

from __future__ import annotations

import contextlib
from typing import Any

from minidl.checks import shown

# The hooks that make every batch a call of its own, where somebody has overridden one of them.
BATCH_HOOKS = {
    "train": ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}


class Callback:
    """Derive from this and override the hooks you need.

    ``self.model`` and ``self.params`` ({"verbose", "epochs", "steps"}) are set before the first call. ``epoch`` and
    ``batch`` count from 0, a batch within its epoch. ``logs`` are empty at the beginning of something; at its end they
    hold the loss and metrics by name: of an epoch all, those of the validation with "val_" in front; of a batch the
    means over the epoch so far; of a predicted batch its ``outputs`` (n, o). All callbacks are handed the same logs,
    so what one of them adds at the end of an epoch the later ones and the history see.

    ``self.model.stop_training = True`` ends the training after the batch or epoch; ``stop_evaluating`` and
    ``stop_predicting`` likewise. ``self.model.optimizer.learning_rate`` may be changed at any time.

    A hook for batches makes every batch a call of its own; without one, training runs many batches at a time.
    """

    model: Any = None
    params: dict | None = None
    _idle: tuple = ()  # its class's hooks that have nothing to do in this instance, as if they were not there

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: dict) -> None:
        self.params = params

    def on_train_begin(self, logs: dict | None = None) -> None: ...
    def on_train_end(self, logs: dict | None = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None: ...
    def on_test_begin(self, logs: dict | None = None) -> None: ...
    def on_test_end(self, logs: dict | None = None) -> None: ...
    def on_test_batch_begin(self, batch: int, logs: dict | None = None) -> None: ...
    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None: ...
    def on_predict_begin(self, logs: dict | None = None) -> None: ...
    def on_predict_end(self, logs: dict | None = None) -> None: ...
    def on_predict_batch_begin(self, batch: int, logs: dict | None = None) -> None: ...
    def on_predict_batch_end(self, batch: int, logs: dict | None = None) -> None: ...

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Another name of ``on_train_batch_begin``."""

    def on_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Another name of ``on_train_batch_end``."""

    def _release(self) -> None:
        """Called last, after an error and Ctrl-C too, where Keras calls nothing: the place to close files."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


def check(callbacks: object) -> list[Callback]:
    """The callbacks as a list; TypeError for anything that is none."""
    if callbacks is None:
        return []
    if not isinstance(callbacks, list | tuple):
        callbacks = [callbacks]
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must be a list of instances of minidl.Callback, not of {shown(callback)}")
    return list(callbacks)


def overrides(callback: Callback, hook: str) -> bool:
    """Whether the callback does something at this hook: its class or the instance itself has one of its own."""
    return getattr(getattr(callback, hook), "__func__", None) not in (getattr(Callback, hook), *callback._idle)


def by_name(logs: dict) -> dict:
    """In alphabetical order, in which Keras keeps its logs."""
    return dict(sorted(logs.items()))


class CallbackList:
    """Calls the same hook of several callbacks, in their order. ``with`` it, they let go of their files at the end.

    every_batch: for "train", "test" and "predict", whether a callback watches the batches.
    """

    def __init__(self, callbacks: list[Callback], model: object, params: dict):
        self.callbacks = callbacks
        for callback in self.callbacks:
            callback.set_params(params)
            callback.set_model(model)
        self.every_batch = {
            kind: any(overrides(callback, hook) for callback in self.callbacks for hook in hooks)
            for kind, hooks in BATCH_HOOKS.items()
        }

    def call(self, hook: str, *number: int, logs: dict | None = None) -> dict:
        """The logs as the last callback left them: all get the same copy, in alphabetical order."""
        logs = by_name(logs or {})
        for callback in self.callbacks:
            getattr(callback, hook)(*number, logs)
        return logs

    def __enter__(self) -> CallbackList:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.ExitStack() as stack:  # each is called, though another fails
            for callback in reversed(self.callbacks):
                stack.callback(callback._release)
