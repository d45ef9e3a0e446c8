"""History: the callback that remembers the logs of every epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minidl.callbacks.base import Callback

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class History(Callback):
    """What ``fit`` returns: ``history`` holds a list for each name in the logs, ``epoch`` the numbers of the epochs."""

    def __init__(self):
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.params = {}

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def plot(self, path: str | None = None) -> Figure:
        """A figure of the loss and each metric over the epochs; with ``path`` (.png, .svg, .pdf) also written there."""
        from minidl import plots

        return plots.history(self, path)
