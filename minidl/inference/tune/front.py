"""Several models by how good and how fast they are, and which of them no other surpasses in both."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minidl import checks, losses
from minidl.bench import timing
from minidl.engines import get_engine
from minidl.inference.tune.asked import can_be_called, outputs_of, positive, rows_of
from minidl.inference.tune.shown import Found, ms, of_rows
from minidl.model import Sequential
from minidl.summary import in_bytes

METRICS = {"accuracy": "accuracy", "mse": "mean squared error", "mae": "mean absolute error"}


@dataclass(frozen=True)
class Member:
    """One model. value: of the metric; seconds: the median of a call, low and high its quartiles; nbytes: of its
    weights, None where it does not say."""

    name: str
    value: float
    seconds: float
    low: float
    high: float
    nbytes: int | None


@dataclass(frozen=True, repr=False)
class Pareto(Found):
    """What ``pareto`` has measured, in the order given. metric: "accuracy", or "mse" or "mae", where less is better."""

    metric: str
    rows: int
    found: tuple[Member, ...]

    @property
    def front(self) -> tuple[str, ...]:
        """The names, from fast to slow, of those that no other surpasses.

        One surpasses another where it is no slower and no worse, and faster or better (by the numbers as measured).
        """
        points = {one.name: (one.seconds, -one.value if self.metric == "accuracy" else one.value) for one in self.found}
        names = sorted(points, key=points.get)
        return tuple(name for name in names if not any(surpasses(other, points[name]) for other in points.values()))

    def title(self) -> str:
        less = "" if self.metric == "accuracy" else " (less is better)"
        return f"{METRICS[self.metric]}{less} against the time of a call of {of_rows(self.rows)}"

    def head(self) -> list[str]:
        return ["model", METRICS[self.metric], "median (ms)", "weights", ""]

    def lines(self) -> list[list[str]]:
        return [
            [one.name, f"{one.value:.4g}", ms(one.seconds), size_of(one), "front" if one.name in self.front else ""]
            for one in self.found
        ]

    def notes(self) -> list[str]:
        return [f"No other is both faster and at least as good as: {', '.join(self.front)}."]

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the metric against the time of a call, with the front; the figure, which shows itself in Jupyter.

        path: a .png, .svg or .pdf that is written, too. ValueError for another, OSError where it cannot be written.
        """
        from minidl.inference.tune import pictures

        return pictures.of_pareto(self, path)


def surpasses(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] <= other[0] and one[1] <= other[1]


def size_of(member: Member) -> str:
    return "unknown" if member.nbytes is None else in_bytes(member.nbytes)


def pareto(
    models: Mapping[str, Callable[[np.ndarray], object]],
    X: object,
    y: object,
    rows: int = 1,
    path: str | Path | None = None,
    metric: str | None = None,
    seconds: float = 2.0,
    *,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Pareto:
    """Measure how good and how fast each model is: its metric on all rows, and the time of a call of a few.

    models: by name, each a Sequential or any function that takes rows (n, features) and returns (n, outputs); one that
        hands work to a GPU returns when that is done. Its ``nbytes``, if it has them, are the bytes of its weights.
    X, y: rows that none was trained on. y: numbers, labels 0 and 1, class indices, or one-hot rows.
    rows: in a call that is timed. path: where the picture is written, as by ``plot``.
    metric: "accuracy", "mse" or "mae". Left out, "accuracy" where the first model that is compiled has a cross-entropy
        and "mse" or "mae" where it has that loss; where none is compiled, "accuracy" if y is labels or classes, else
        "mse".
    seconds: for all samples. They are taken in turns, A B C A B C (``minidl.bench.timing``). clock: nanoseconds.

    Raises TypeError or ValueError for arguments out of range, rows and y that do not fit each other or the models, and
    models that return something else than their rows, or rows of different widths.
    """
    if not isinstance(models, Mapping) or not models:
        raise TypeError(f'models must be a dictionary such as {{"float32": model}}, not {checks.shown(models)}')
    for name, model in models.items():
        if not isinstance(name, str):
            raise TypeError(f"the name of a model must be a text, not {checks.shown(name)}")
        can_be_called(model, f"the model {name!r}")
    if path is not None:
        from minidl import plots

        plots.check_path(path)
    rows, seconds = checks.whole_number(rows, "rows", 1), positive(seconds, "seconds")
    if metric is not None:
        checks.one_of(metric, "metric", METRICS)
    X = rows_of(X, models.values())
    if rows > len(X):
        raise ValueError(f"rows={rows} are to be timed, but X has only {of_rows(len(X))}")
    outputs = {name: outputs_of(model, X, repr(name)) for name, model in models.items()}
    first = next(iter(outputs))
    for name, p in outputs.items():
        if p.shape != outputs[first].shape:
            raise ValueError(f"{name!r} returned the shape {p.shape}, but {first!r} {outputs[first].shape}")
    metric = metric or metric_of(models.values(), checks.numeric(y, "y"), outputs[first].shape[1])
    values = {name: measure(metric, y, p) for name, p in outputs.items()}
    calls = {name: partial(model, X[:rows]) for name, model in models.items()}
    times = timing.compare(calls, budget_seconds=seconds, clock=clock).timings
    found = tuple(
        Member(name, values[name], times[name].median, times[name].low, times[name].high, bytes_of(model))
        for name, model in models.items()
    )
    result = Pareto(metric, rows, found)
    if path is not None:
        result.plot(path)
    return result


def metric_of(models: Sequence[object], y: np.ndarray, outputs: int) -> str:
    """Which metric fits: by the loss of a compiled model, else by what y looks like."""
    for model in models:
        if isinstance(model, Sequential) and model.loss is not None:
            if model.loss.takes_probabilities:
                return "accuracy"
            return "mae" if isinstance(model.loss, losses.MeanAbsoluteError) else "mse"
    indices = outputs > 1 and (y.ndim == 1 or y.shape[1:] == (1,))
    most = outputs - 1 if indices else 1
    return "accuracy" if np.isin(y, np.arange(most + 1)).all() else "mse"


def measure(metric: str, y: object, p: np.ndarray) -> float:
    """The metric of the outputs p (rows, outputs), in float64."""
    p = p.astype(np.float64)
    outputs, columns = p.shape[1], np.shape(y)[1:]
    if metric != "accuracy":
        loss: losses.Loss = losses.MeanSquaredError()
    elif outputs == 1:
        loss = losses.BinaryCrossentropy()
    else:
        loss = losses.CategoricalCrossentropy() if columns == (outputs,) else losses.SparseCategoricalCrossentropy()
    y = checks.targets(y, np.dtype(np.float64), len(p), outputs, loss)
    if loss.takes_indices:
        y = np.eye(outputs)[y[:, 0].astype(np.int64)]
    engine = get_engine("numpy")
    accuracy = engine.binary_accuracy if outputs == 1 else engine.categorical_accuracy
    of_rows_ = {"accuracy": accuracy, "mse": engine.mean_squared_error, "mae": engine.mean_absolute_error}[metric]
    return float(np.mean(of_rows_(y, p)))


def bytes_of(model: object) -> int | None:
    if isinstance(model, Sequential):
        return sum(array.nbytes for array in model.weights)
    found = getattr(model, "nbytes", None)
    return None if found is None else int(found)
