"""What a search for a network has found: every candidate, the best one, and how well times had been predicted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minidl.inference.tune.shown import Found, ms, of_rows
from minidl.model import Sequential


@dataclass(frozen=True)
class Trial:
    """One candidate. hidden: the units of each hidden layer; weights: how many numbers the network has.

    predicted, measured: seconds of a call, the median where measured, else None. value: the metric on the rows held
    out, None where the training diverged or there was none. epochs: that it was trained.
    """

    hidden: tuple[int, ...]
    weights: int
    predicted: float
    measured: float | None = None
    value: float | None = None
    epochs: int = 0

    @property
    def name(self) -> str:
        return "-".join(map(str, self.hidden))


@dataclass(frozen=True)
class Prediction:
    """How well times were predicted: the median of |predicted - measured| / measured, and the correlation of the two
    (None where fewer than three candidates were measured)."""

    relative_error: float
    correlation: float | None
    candidates: int

    def __str__(self) -> str:
        correlation = "" if self.correlation is None else f", correlation {self.correlation:.2f}"
        return f"Predicted times were {self.relative_error:.0%} off (median of {self.candidates}{correlation})."


@dataclass(frozen=True, repr=False)
class Structure(Found):
    """What ``structure`` has found. best: the trained model, None where no candidate is within the bound; chosen: its
    trial. found: all different candidates in their order. metric: "accuracy", or "mae" where less is better."""

    latency_ms: float
    rows: int
    metric: str
    found: tuple[Trial, ...]
    chosen: Trial | None
    best: Sequential | None
    remarks: tuple[str, ...] = ()

    @property
    def prediction(self) -> Prediction | None:
        """How well the times of the candidates that were measured had been predicted; None where none was."""
        pairs = np.array([(trial.predicted, trial.measured) for trial in self.found if trial.measured is not None])
        if not len(pairs):
            return None
        predicted, measured = pairs.T
        varied = len(pairs) > 2 and np.ptp(predicted) > 0 and np.ptp(measured) > 0
        correlation = float(np.corrcoef(predicted, measured)[0, 1]) if varied else None
        return Prediction(float(np.median(np.abs(predicted / measured - 1))), correlation, len(pairs))

    def title(self) -> str:
        return f"Networks whose call of {of_rows(self.rows)} takes {self.latency_ms:g} ms at most"

    def head(self) -> list[str]:
        return ["hidden units", "weights", "predicted (ms)", "measured (ms)", self.metric, "epochs", ""]

    def lines(self) -> list[list[str]]:
        return [
            [trial.name, f"{trial.weights:,}", ms(trial.predicted), ms(trial.measured),
             "" if trial.value is None else f"{trial.value:.4g}", str(trial.epochs or ""), self.said(trial)]
            for trial in sorted(self.found, key=partial(worth, metric=self.metric))
        ]  # fmt: skip

    def said(self, trial: Trial) -> str:
        if trial.measured is None:
            return "diverged" if trial.epochs else "untrained"
        return "best" if trial is self.chosen else "too slow" if trial.measured * 1e3 > self.latency_ms else ""

    def notes(self) -> list[str]:
        untrained = sum(not trial.epochs for trial in self.found)
        if self.chosen is None:
            least = min(self.found, key=lambda trial: trial.measured or trial.predicted)
            taken = f"the fastest, {least.name}, takes about {ms(least.measured or least.predicted)} ms"
            notes = [f"No network that could be trained is within {self.latency_ms:g} ms: {taken}."]
        else:
            measured = f"{ms(self.chosen.measured)} ms a call"
            notes = [f"Best: {self.chosen.name}, {self.metric} {self.chosen.value:.4g}, {measured}."]
        notes += [str(self.prediction)] if self.prediction else []
        notes += [f"{untrained} of {len(self.found)} would be too slow and were not trained."] if untrained else []
        return [*notes, *self.remarks]

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw predicted against measured times, and the metric against the time; it shows itself in Jupyter.

        path: a .png, .svg or .pdf that is written, too. ValueError for another, OSError where it cannot be written;
        RuntimeError where no candidate was measured.
        """
        if self.prediction is None:
            raise RuntimeError("there is nothing to plot: no candidate was fast enough to be trained and measured")
        from minidl.inference.tune import pictures

        return pictures.of_structure(self, path)


def worth(trial: Trial, metric: str) -> tuple:
    """For sorting: the best come first, of equal ones the smallest; those without a value last."""
    if trial.value is None:
        return (1, trial.predicted)
    return (0, -trial.value if metric == "accuracy" else trial.value, trial.weights)
