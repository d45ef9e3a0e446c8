"""Trials: a way to train, judged on many random splits of a table, and whether it is clearly better than another.

One split says little: on a hundred rows, one row more or less is a whole point of accuracy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minidl import checks
from minidl.data import Table
from minidl.engines import get_engine
from minidl.words import duration

if TYPE_CHECKING:
    import pandas as pd

Predict = Callable[[np.ndarray], np.ndarray]  # rows (n, features) to probabilities (n, 1)
WIDE = 2  # standard errors to each side, which is about 95%


@dataclass(frozen=True)
class Trials:
    """accuracy, loss (cross-entropy in nats), and the seconds of the training, one for each split. ``judged`` is the
    number of rows that judged a model over the number that it was trained on."""

    accuracy: np.ndarray
    loss: np.ndarray
    seconds: np.ndarray
    judged: float


@dataclass(frozen=True)
class Difference:
    """How much more accurate one way is than another, with the margin that chance can make of it, both as shares."""

    value: float
    margin: float

    @property
    def verdict(self) -> str:
        """In words, where a difference within the margin is none."""
        if abs(self.value) <= self.margin:
            return "no clear difference"
        return "better" if self.value > 0 else "worse"


def run(train: Callable[[Table, int], Predict], table: Table, splits: int = 50, held_out: float = 0.25) -> Trials:
    """Train on a random part of the rows and judge by the others, ``splits`` times; the splits are the same each time.

    train: given the rows to learn from and the number of the split, from 0 on, returns what predicts: a model, a
        predictor, any function. held_out: the share of the rows that judge. Raises ValueError for a table whose target
        is not binary, or without one.
    """
    splits = checks.whole_number(splits, "splits", 2)
    if table.y is None or table.schema.target.task != "binary":
        raise ValueError("trials judge by accuracy between two classes, so the table's target must be binary")
    found, loss = [], get_engine("numpy").binary_crossentropy
    for split in range(splits):
        rows, judges = table.split(held_out, split)
        began = time.perf_counter()
        model = train(rows, split)
        seconds = time.perf_counter() - began
        p, y = np.ascontiguousarray(model(judges.X), np.float64), judges.y.astype(np.float64)
        found.append((((p > 0.5) == y).mean(), loss(y, p).mean(), seconds))
    return Trials(*np.array(found).T, len(judges) / len(rows))


def difference(one: Trials, other: Trials) -> Difference:
    """How much more accurate the one is, by the mean over the splits, which both have had.

    The splits share rows, so their differences are not independent: the variance of the mean is taken as
    (1 / splits + judged) times theirs, after C. Nadeau and Y. Bengio, "Inference for the generalization error",
    Machine Learning 52, 2003.
    """
    apart = one.accuracy - other.accuracy
    error = math.sqrt((1 / len(apart) + one.judged) * apart.var(ddof=1))
    return Difference(float(apart.mean()), WIDE * error)


def table_of(found: Mapping[str, Trials]) -> pd.DataFrame:
    """A line for each way: its accuracy and loss, mean ± deviation over the splits, and whether it is better than the
    first one, in points of a hundred."""
    import pandas as pd

    first, lines = next(iter(found.values())), {}
    for name, trials in found.items():
        line = {"accuracy": f"{100 * trials.accuracy.mean():.1f} ± {100 * trials.accuracy.std(ddof=1):.1f} %"}
        line["loss"] = f"{trials.loss.mean():.3f} ± {trials.loss.std(ddof=1):.3f}"
        line["training"] = duration(float(np.median(trials.seconds)))
        apart = difference(trials, first)
        same = trials is first
        line["against the first"] = "" if same else f"{100 * apart.value:+.1f} ± {100 * apart.margin:.1f}"
        line["so it is"] = "" if same else apart.verdict
        lines[name] = line
    return pd.DataFrame(lines).T
