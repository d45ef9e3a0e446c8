"""Metrics, by Keras's names: which of the engines' metrics a model needs, and what its sums mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl import checks
from minidl import contract as c


class Metric:
    """A metric: a name for the history, and the engine's code for it."""

    code: int
    width = 1  # how many numbers an engine adds up for it
    larger_is_better = False

    def __init__(self, name: str | None = None):
        self.name = name or self.default_name

    default_name: str

    def result(self, sums: np.ndarray, rows: float) -> float:
        """The metric, from what the engine has added up over so many rows."""
        return float(sums[0] / rows)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


class BinaryAccuracy(Metric):
    """How often an output above 0.5 goes with a label of 1 and another with 0."""

    code, default_name, larger_is_better = c.BINARY_ACCURACY, "binary_accuracy", True


class CategoricalAccuracy(Metric):
    """How often the largest output is the right class."""

    code, default_name, larger_is_better = c.CATEGORICAL_ACCURACY, "categorical_accuracy", True


class MeanAbsoluteError(Metric):
    """mean |p - y| (formula "mean_absolute_error")."""

    code, default_name = c.ABSOLUTE_ERROR, "mean_absolute_error"


class MeanSquaredError(Metric):
    """mean (p - y)^2 (formula "mean_squared_error")."""

    code, default_name = c.SQUARED_ERROR, "mean_squared_error"


class AUC(Metric):
    """The area under the ROC curve, from counts at 200 thresholds joined by straight lines, as Keras computes it."""

    code, default_name, width = c.AUC, "auc", 2 * c.AUC_BINS
    larger_is_better = True

    def result(self, sums: np.ndarray, rows: float) -> float:
        negatives, positives = sums.reshape(2, c.AUC_BINS)
        # Counted from the highest score down: what lies above each threshold, from none to all.
        false = np.concatenate(([0.0], np.cumsum(negatives[::-1])))
        true = np.concatenate(([0.0], np.cumsum(positives[::-1])))
        false = false / false[-1] if false[-1] else false  # one class only: Keras gives 0 too
        true = true / true[-1] if true[-1] else true
        return float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))


def accuracy(name: str, outputs: int) -> Metric:
    """Which accuracy "accuracy" means: of one output binary, of several categorical, as in Keras."""
    return (BinaryAccuracy if outputs == 1 else CategoricalAccuracy)(name)


METRICS: dict[str, Callable[..., Metric]] = {
    "accuracy": accuracy,
    "acc": accuracy,
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "sparse_categorical_accuracy": CategoricalAccuracy,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "mse": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
    "auc": AUC,
}


def larger_is_better(name: str) -> bool:
    """Whether more of the metric of this name is better."""
    return resolve([name], 1)[0].larger_is_better


def check(metrics: object) -> list[str | Metric]:
    """The list as given, once every entry is known; ValueError names the nearest for one that is not."""
    if metrics is None:
        return []
    if isinstance(metrics, str | Metric):
        metrics = [metrics]
    if not isinstance(metrics, list | tuple):
        raise TypeError(f"metrics must be a list of names such as ['accuracy'], not {checks.shown(metrics)}")
    for metric in metrics:
        if not isinstance(metric, Metric) and not (isinstance(metric, str) and metric.lower() in METRICS):
            raise ValueError(f"unknown metric {checks.shown(metric)}; {checks.did_you_mean(metric, METRICS)}")
    return list(metrics)


def resolve(metrics: list[str | Metric], outputs: int) -> list[Metric]:
    """The metrics themselves, for a model with so many outputs; a name given twice is counted once."""
    found: dict[str, Metric] = {}
    for metric in metrics:
        if isinstance(metric, str):
            make = METRICS[metric.lower()]
            metric = make(metric, outputs) if make is accuracy else make(metric)
        found[metric.name] = metric
    return list(found.values())
