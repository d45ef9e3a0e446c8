"""History: the callback that remembers the logs of every epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from minidl import display
from minidl.callbacks.base import Callback

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEAD = ("", "first", "last", "best", "in epoch", "")


class History(Callback, display.Tabled):
    """What ``fit`` returns: ``history`` holds a list for each name in the logs, ``epoch`` the numbers of the epochs.

    It shows itself as a table of the first, last and best values; ``plot`` draws it.
    """

    def __init__(self):
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.params = {}

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.extend([epoch], {name: [value] for name, value in (logs or {}).items()})

    def extend(self, epochs: Iterable[int], logs: dict[str, list[float]]) -> None:
        """Remember several epochs at once, of each name in the logs a value for each."""
        self.epoch.extend(epochs)
        for name, values in logs.items():
            self.history.setdefault(name, []).extend(values)

    def plot(self, path: str | None = None) -> Figure:
        """A figure of the loss and each metric over the epochs; with ``path`` (.png, .svg, .pdf) also written there."""
        from minidl import plots

        return plots.history(self, path)

    def _title(self) -> str:
        epochs = self._epochs()
        return f"{epochs:,} epoch{'s' * (epochs != 1)}" if epochs else "no epoch has been trained"

    def _epochs(self) -> int:
        return max(map(len, self.history.values()), default=0)

    def _tables(self) -> list[display.Grid]:
        return [display.Grid(HEAD, [self._line(name) for name in self.history], (0, 5))] if self.history else []

    def _line(self, name: str) -> list[str | display.Cell]:
        """A quantity's first, last and best value, and its course; which is best is known of losses and metrics."""
        values = self.history[name]
        line = [name, f"{values[0]:.4g}", f"{values[-1]:.4g}", "", "", display.course(values)]
        more, finite = better_is_more(name.removeprefix("val_")), [value for value in values if math.isfinite(value)]
        if more is not None and finite:
            best = (max if more else min)(finite)
            began = self._epochs() - len(values)  # what is watched since a later fit began later
            line[3:5] = f"{best:.4g}", f"{began + values.index(best) + 1:,}"
        return line


def better_is_more(name: str) -> bool | None:
    """Whether a larger one is better; None for what is neither the loss nor a metric."""
    from minidl import metrics

    return False if name == "loss" else metrics.larger_is_better(name) if name in metrics.METRICS else None
