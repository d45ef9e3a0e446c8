"""Several models by how good and how fast they are, and which of them no other surpasses in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter_ns as clock

import numpy as np

from minidl import checks, losses
from minidl.bench import timing
from minidl.inference.tune.asked import Model, outputs_of, rows_of
from minidl.inference.tune.shown import Found
from minidl.model import Sequential


@dataclass(frozen=True, repr=False, eq=False)
class Pareto(Found):
    """What ``pareto`` has found. ``found``: a pandas table of the metric of each model, the median and the quartiles of
    a call, and the bytes of its weights. front: from fast to slow the names of those that no other surpasses."""

    metric: str
    rows: int
    front: tuple[str, ...]


def pareto(
    models: Mapping[str, Model],
    X: object,
    y: object,
    rows: int = 1,
    path: str | Path | None = None,
    metric: str | None = None,
    seconds: float = 2.0,
) -> Pareto:
    """Measure how good and how fast each model is: its metric on all rows, and the time of a call of a few.

    models: by name, each a Sequential or any function that takes rows (n, features) and returns (n, outputs); one that
        hands work to a GPU returns when that is done. Its ``nbytes``, if it has them, are the bytes of its weights.
    X, y: rows that none was trained on. y: numbers, labels 0 and 1, class indices, or one-hot rows.
    rows: in a call that is timed. path: where the picture is written, as by ``plot``.
    metric: "accuracy", "mse" or "mae"; left out, the one that goes with the loss of the first model that is compiled.
    seconds: for all samples, which are taken in turns, A B C A B C (``minidl.bench.timing``).

    Raises TypeError or ValueError for arguments out of range, rows and y that do not fit each other or the models, and
    models that return something else than their rows.
    """
    import pandas as pd

    if not isinstance(models, Mapping) or not models:
        raise TypeError(f'models must be a dictionary such as {{"float32": model}}, not {checks.shown(models)}')
    rows, seconds = checks.whole_number(rows, "rows", 1), checks.number(seconds, "seconds", 0)
    X = rows_of(X, models.values())
    if rows > len(X):
        raise ValueError(f"rows={rows} are to be timed, but X has only {len(X):,} rows")
    metric = metric_of(models) if metric is None else checks.one_of(metric, "metric", ("accuracy", "mse", "mae"))
    for model in models.values():
        if isinstance(model, Sequential):
            model._require_built()
    values = [measure(metric, y, outputs_of(model, X, f"the model {name!r}")) for name, model in models.items()]
    calls = {name: partial(model, X[:rows]) for name, model in models.items()}
    times = timing.compare(calls, budget_seconds=seconds, clock=clock).timings.values()
    found = pd.DataFrame({"model": list(map(str, models)), metric: values})
    found[["median_ms", "low_ms", "high_ms"]] = [(1e3 * one.median, 1e3 * one.low, 1e3 * one.high) for one in times]
    found["nbytes"] = list(map(bytes_of, models.values()))
    best = unsurpassed(found.median_ms, -found[metric] if metric == "accuracy" else found[metric])
    found["remark"] = np.where(best, "front", "")
    front = tuple(found[best].sort_values(["median_ms", metric]).model)
    note = f"No other is both faster and at least as good as: {', '.join(front)}."
    result = Pareto(f"Models by {metric} and by the time of a batch of {rows:,}", found, note, metric, rows, front)
    if path is not None:
        result.plot(path)
    return result


def unsurpassed(times: Sequence[float], costs: Sequence[float]) -> np.ndarray:
    """Of each of these points, whether no other surpasses it: is as low in both and lower in one."""
    points = np.stack([times, costs], axis=1)
    return np.array([not ((points <= one).all(axis=1) & (points < one).any(axis=1)).any() for one in points])


def metric_of(models: Mapping[str, Model]) -> str:
    """The metric that goes with the loss of the first model that is compiled."""
    loss = next((model.loss for model in models.values() if isinstance(model, Sequential) and model.loss), None)
    if loss is None:
        raise ValueError("no model is compiled, so no loss says what to measure: give metric='accuracy' or 'mse'")
    return "accuracy" if loss.takes_probabilities else "mae" if isinstance(loss, losses.MeanAbsoluteError) else "mse"


def measure(metric: str, y: object, p: np.ndarray) -> float:
    """The metric of the outputs p (rows, outputs) float64."""
    outputs = p.shape[1]
    if metric == "accuracy":
        kind = "" if np.shape(y)[1:] == (outputs,) else "sparse_"
        metric = "binary_crossentropy" if outputs == 1 else f"{kind}categorical_crossentropy"
    loss = losses.get(metric)
    y = checks.targets(y, p.dtype, len(p), outputs, loss)
    if not loss.takes_probabilities:
        return loss(y, p)
    if outputs == 1:
        return float(np.mean((p > 0.5) == y))
    return float(np.mean(p.argmax(axis=1) == (y[:, 0] if loss.takes_indices else y.argmax(axis=1))))


def bytes_of(model: Model) -> float:
    own = isinstance(model, Sequential)
    return sum(array.nbytes for array in model.weights) if own else getattr(model, "nbytes", np.nan)
