"""Several models by how good and how fast they are, and which of them no other surpasses in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter_ns as clock
from typing import Any

import numpy as np

from minidl import checks, losses, metrics
from minidl import contract as c
from minidl.bench import timing
from minidl.data.tables import y_of
from minidl.engines.numpy_engine import metrics as engine_metrics
from minidl.inference.tune.asked import Model, outputs_of, rows_of, schema_among
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
    y: object = None,
    *,
    rows: int = 1,
    path: str | Path | None = None,
    metric: str | None = None,
    seconds: float = 2.0,
) -> Pareto:
    """Measure how good and how fast each model is: its metric on all rows, and the time of a call of a few.

    models: by name, each a Sequential or any function that takes rows (n, features) and returns (n, outputs); one that
        hands work to a GPU returns when that is done. Its ``nbytes``, if it has them, are the bytes of its weights.
    X, y: rows that none was trained on, or a ``minidl.data.Table`` that holds both. y: numbers, labels 0 and 1, class
        indices, or one-hot rows.
    rows: in a call that is timed. path: where the picture is written, as by ``plot``.
    metric: the name of any metric, as for ``compile``; left out, "accuracy", "mse" or "mae" as goes with the loss of
        the first model that is compiled.
    seconds: for all samples, which are taken in turns, A B C A B C (``minidl.bench.timing``).

    Raises TypeError or ValueError for arguments out of range, rows and y that do not fit each other or the models, and
    models that return something else than their rows.
    """
    import pandas as pd

    if not isinstance(models, Mapping) or not models:
        raise TypeError(f'models must be a dictionary such as {{"float32": model}}, not {checks.shown(models)}')
    rows, seconds = checks.whole_number(rows, "rows", 1), checks.number(seconds, "seconds", 0)
    schema = schema_among(models.values())
    y, X = y_of(X, y, schema), rows_of(X, schema)
    if rows > len(X):
        raise ValueError(f"rows={rows} are to be timed, but X has only {len(X):,} rows")
    metric = metric_of(models) if metric is None else checks.one_of(metric, "metric", metrics.METRICS)
    for model in models.values():
        if isinstance(model, Sequential):
            model._require_built()
    named = {f"the model {name!r}": model for name, model in models.items()}
    values = [measure(metric, y, outputs_of(model, X, name), name) for name, model in named.items()]
    calls = {name: partial(model, X[:rows]) for name, model in models.items()}
    times = timing.compare(calls, budget_seconds=seconds, clock=clock).timings.values()
    found = pd.DataFrame({"model": list(map(str, models)), metric: values})
    found[["median_ms", "low_ms", "high_ms"]] = [(1e3 * one.median, 1e3 * one.low, 1e3 * one.high) for one in times]
    found["nbytes"] = list(map(bytes_of, models.values()))
    best = unsurpassed(found.median_ms, -found[metric] if metrics.larger_is_better(metric) else found[metric])
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
    found = (getattr(model, "loss", None) for model in models.values())
    loss = next((loss for loss in found if isinstance(loss, losses.Loss)), None)
    if loss is None:
        raise ValueError("no model is compiled, so no loss says what to measure: give metric='accuracy' or 'mse'")
    return "accuracy" if loss.takes_probabilities else "mae" if isinstance(loss, losses.MeanAbsoluteError) else "mse"


def measure(metric: str, y: Any, p: np.ndarray, whose: str) -> float:
    """The metric of the outputs p (rows, outputs) float64, which are ``whose``, as a model's ``evaluate`` has it."""
    (chosen,), outputs = metrics.resolve([metric], p.shape[1]), p.shape[1]
    if chosen.code in (c.ABSOLUTE_ERROR, c.SQUARED_ERROR):
        loss: losses.Loss = losses.MeanSquaredError()
    elif outputs == 1:
        loss = losses.BinaryCrossentropy()
    else:
        one_hot = np.shape(y)[1:] == (outputs,)
        loss = losses.CategoricalCrossentropy() if one_hot else losses.SparseCategoricalCrossentropy()
    y = checks.targets(y, p.dtype, len(p), outputs, loss)
    if loss.takes_indices:
        y = np.eye(outputs)[y[:, 0].astype(int)]
    if chosen.code != c.AUC:
        return chosen.result(np.array([engine_metrics.FORWARD[chosen.code](y, p).sum()]), len(p))
    if not (np.isin(y, (0, 1)).all() and y.min() < y.max()):
        raise ValueError("the metric 'auc' needs labels of 0 and of 1, and no others, in y")
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"the metric 'auc' needs outputs in [0, 1], but {whose} put out {p.min():g} to {p.max():g}")
    counts = np.zeros((2, c.AUC_BINS))
    engine_metrics.auc_histograms(y, p, counts)
    return chosen.result(counts, len(p))


def bytes_of(model: Model) -> float:
    if isinstance(model, Sequential):
        return sum(array.nbytes for array in model.weights)
    return getattr(model, "nbytes", np.nan)
