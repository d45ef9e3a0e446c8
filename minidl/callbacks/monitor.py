"""Monitor: what the callbacks that watch one value in the logs have in common."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable

from minidl import checks
from minidl.callbacks.base import Callback
from minidl.metrics import Metric

MODES = ("auto", "min", "max")


def larger_is_better(name: str, metrics: Iterable[Metric]) -> bool | None:
    """Whether more is better of what the logs call so, the loss or one of the metrics; None of anything else."""
    known = {"loss": False} | {metric.name: metric.larger_is_better for metric in metrics}
    return known.get(name.removeprefix("val_"))


class Monitor(Callback):
    """Watches ``monitor`` in the logs and tells better from worse.

    mode: "min", "max", or "auto": the loss and errors are better small, accuracies and the AUC large.
    min_delta: by how much a value must be better to count as better.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0):
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be a name in the logs such as 'val_loss', not {checks.shown(monitor)}")
        if mode not in MODES:
            raise ValueError(f"unknown mode {checks.shown(mode)}; {checks.did_you_mean(mode, MODES)}")
        self.monitor, self.mode = monitor, mode
        self.min_delta = abs(checks.number(min_delta, "min_delta", -math.inf))
        self.best: float | None = None

    def larger_is_better(self) -> bool:
        """Which way is better; ValueError where "auto" cannot know it of this name."""
        if self.mode != "auto":
            return self.mode == "max"
        known = larger_is_better(self.monitor, self.model.metrics)
        if known is None:
            names = ["loss", *(metric.name for metric in self.model.metrics)]
            raise ValueError(
                f"{type(self).__name__} cannot know whether a large {self.monitor!r} is good, since it is no metric of "
                f"the model ({', '.join(names)}): correct the name, or say mode='max' or mode='min'"
            )
        return known

    def improves(self, value: float, reference: float | None) -> bool:
        """Whether the value is better than the reference by more than ``min_delta``; any finite one is better than
        none or NaN, and no other is better than anything: it tells of a training that diverged."""
        if not math.isfinite(value):
            return False
        if reference is None or math.isnan(reference):
            return True
        if self.larger_is_better():
            return value - self.min_delta > reference
        return value + self.min_delta < reference

    def value_in(self, logs: dict | None, otherwise: str) -> float | None:
        """The watched value; None with a warning, which says what happens ``otherwise``, where it is not there."""
        logs = logs or {}
        if self.monitor not in logs:
            hint = "; give fit validation data" if self.monitor.removeprefix("val_") in logs else ""
            warnings.warn(
                f"{type(self).__name__} watches {self.monitor!r}, but the logs hold {', '.join(logs)}: "
                f"{otherwise}{hint}",
                stacklevel=3,
            )
        return logs.get(self.monitor)
