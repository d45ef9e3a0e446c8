"""Callbacks, by Keras's names and order of calls: what happens beside the training."""

from __future__ import annotations

from minidl.checks import shown


class Callback:
    """Derive from this and override the hooks you need. ``self.model`` and ``self.params`` are set before training.

    A hook for batches makes every batch a call of its own; without one, training runs many batches at a time.
    """

    model: object = None
    params: dict

    def set_model(self, model: object) -> None:
        self.model = model

    def set_params(self, params: dict) -> None:
        self.params = params

    def on_train_begin(self, logs: dict | None = None) -> None: ...
    def on_train_end(self, logs: dict | None = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None: ...
    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None: ...
    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None: ...
    def on_test_begin(self, logs: dict | None = None) -> None: ...
    def on_test_end(self, logs: dict | None = None) -> None: ...


class History(Callback):
    """What ``fit`` returns: ``history`` holds a list for each name in the logs, ``epoch`` the numbers of the epochs."""

    def __init__(self):
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.params = {}

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def plot(self, path: str | None = None):
        """A figure of the loss and each metric over the epochs; with ``path`` (.png, .svg, .pdf) also written there."""
        from minidl import plots

        return plots.history(self, path)


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


class CallbackList:
    """Calls the same hook of several callbacks, in their order."""

    def __init__(self, callbacks: list[Callback], model: object, params: dict):
        self.callbacks = callbacks
        for callback in self.callbacks:
            callback.set_params(params)
            callback.set_model(model)
        self.every_batch = any(
            getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
            for callback in self.callbacks
            for hook in ("on_train_batch_begin", "on_train_batch_end")
        )

    def call(self, hook: str, *arguments: object) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments)
