"""History: the callback that remembers the logs of every epoch."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from minidl import display, metrics
from minidl.callbacks.base import Callback
from minidl.callbacks.monitor import larger_is_better

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
        self._places: dict[str, list[int]] = {}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ = {"_places": {}} | state  # older ones did not keep them

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.extend([epoch], {name: [value] for name, value in (logs or {}).items()})

    def extend(self, epochs: Iterable[int], logs: dict[str, list[float]]) -> None:
        """Remember several epochs at once, of each name in the logs a value for each."""
        self.epoch.extend(epochs)
        first = self.epochs()
        for name, values in logs.items():
            self.history.setdefault(name, []).extend(values)
            self._places.setdefault(name, []).extend(range(first, first + len(values)))

    def epochs(self) -> int:
        """How many epochs it has seen, in one call of ``fit`` or in several."""
        return max(map(len, self.history.values()), default=0)

    def places(self, name: str) -> Sequence[int]:
        """Which of these epochs, counted from 0, the values of this name are of: a later fit may watch others.

        Of a history that was filled by hand, the last ones.
        """
        count, known = len(self.history[name]), self._places.get(name, [])
        return known if len(known) == count else range(self.epochs() - count, self.epochs())

    def plot(self, path: str | None = None) -> Figure:
        """A figure of the loss and each metric over the epochs; with ``path`` (.png, .svg, .pdf) also written there."""
        from minidl import plots

        return plots.history(self, path)

    def _title(self) -> str:
        epochs = self.epochs()
        return f"{epochs:,} epoch{'s' * (epochs != 1)}" if epochs else "no epoch has been trained"

    def _tables(self) -> list[display.Grid]:
        return [display.Grid(HEAD, [self._line(name) for name in self.history], (0, 5))] if self.history else []

    def _line(self, name: str) -> list[str | display.Cell]:
        """A quantity's first, last and best value, and its course; which is best is known of losses and metrics."""
        values = self.history[name]
        if not are_numbers(values):
            return [name, *map(str, (values[0], values[-1]) if values else ("", "")), "", "", ""]
        line = [name, f"{values[0]:.4g}", f"{values[-1]:.4g}", "", "", display.course(values)]
        more, finite = self._larger_is_better(name), [value for value in values if math.isfinite(value)]
        if more is not None and finite:
            best = (max if more else min)(finite)
            line[3:5] = f"{best:.4g}", f"{self.places(name)[values.index(best)] + 1:,}"
        return line

    def _larger_is_better(self, name: str) -> bool | None:
        """As the model's metrics say; as the name says where there is no model."""
        if self.model is not None:
            return larger_is_better(name, self.model.metrics)
        own = name.removeprefix("val_")
        return larger_is_better(name, metrics.resolve([own], 1) if own in metrics.METRICS else [])


def are_numbers(values: Sequence[object] | None) -> bool:
    """Whether there are any, and all are numbers: callbacks may put other things into the logs."""
    return bool(values) and all(isinstance(value, numbers.Real) for value in values)
