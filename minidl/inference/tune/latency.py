"""How long a call of a network takes, predicted from its operations and bytes, by costs learnt from measured calls."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from minidl import checks
from minidl.bench import timing
from minidl.engines import get_engine
from minidl.layers import Dense, Layer
from minidl.model import Sequential

Widths = Sequence[int]  # of a network: its inputs, and the units of each layer
NETWORKS = (
    (10, 10, 1), (30, 16, 1), (10, 350, 3), (30, 64, 64, 1), (20, 32, 32, 32, 1), (64,) * 7, (100, 200, 60, 10),
    (200, 500, 1), (784, 60, 10), (784, 128, 64, 10), (300, 300, 300, 300, 1), (784, 350, 350, 350, 10),
    (1000, 700, 700, 10),
)  # fmt: skip


class LatencyModel:
    """Predicts how long a call of the ``predictor()`` of a network of Dense layers takes on this machine, in seconds:

    call + layers layer + operations operation + (bytes of all W and b) weight + (bytes that go in and out) value

    operations: 2 rows inputs units of each layer; in and out go each layer's rows. ``fit`` finds the ``costs`` call,
    layer, operation (1 / peak), weight and value (1 / bandwidths): a roofline (Williams, Waterman and Patterson, 2009)
    of which the sides are added up, as if nothing were moved while something is computed.

    engine, dtype: that the network runs on and in.
    """

    def __init__(self, engine: str = "auto", dtype: str = "float32"):
        self.engine, self.dtype = get_engine(engine).name, checks.float_type(dtype)
        self.costs: np.ndarray | None = None

    def fit(
        self, networks: Iterable[Widths] = NETWORKS, rows: Sequence[int] = (1, 64, 1024), seconds: float = 0.5
    ) -> LatencyModel:
        """Measure networks of these widths, with so many rows in a call, and learn. seconds: for the samples.

        Raises TypeError or ValueError for arguments out of range.
        """
        if not isinstance(rows, tuple | list):
            raise TypeError(f"rows must be a tuple of whole numbers, not {checks.shown(rows)}")
        rows, calls = [checks.whole_number(n, "a number of rows", 1) for n in rows], {}
        for widths in map(checked, networks):
            layers: list[Layer] = [
                Dense(units, "relu", input_shape=(inputs,)) for inputs, units in itertools.pairwise(widths)
            ]
            model = Sequential(layers, seed=0)
            model.compile("sgd", "mse", engine=self.engine, dtype=str(self.dtype))
            predictor = model.predictor()
            for n in rows:
                calls[widths, n] = functools.partial(predictor, np.ones((n, widths[0]), self.dtype))
        return self.learn(medians(calls, seconds))

    def learn(self, measured: Mapping[tuple[Widths, int], float]) -> LatencyModel:
        """Take the costs from the seconds of calls by (widths, rows): the least squares of the relative errors."""
        if not measured:
            raise ValueError("there is nothing to learn from: give at least one network and a number of rows")
        self.rows = min(rows for _, rows in measured), max(rows for _, rows in measured)
        self.costs = nonnegative(np.array([self.counted(*what) / taken for what, taken in measured.items()]))
        return self

    def predict(self, widths: Widths, rows: int = 1) -> float:
        """The seconds of a call of so many rows of a network of these widths.

        RuntimeError before ``fit``; ValueError for more or fewer rows than were measured, which say nothing of it.
        """
        if self.costs is None:
            raise RuntimeError("the LatencyModel knows no machine yet: call its fit() first")
        low, high = self.rows
        if not low <= checks.whole_number(rows, "rows", 1) <= high:
            raise ValueError(f"{rows} rows cannot be predicted from {low} to {high}; call fit with rows=({rows},)")
        return float(self.counted(checked(widths), rows) @ self.costs)

    def counted(self, widths: Widths, rows: int) -> np.ndarray:
        """How often a call has each of the costs."""
        inputs, units = np.array(list(itertools.pairwise(widths)), float).T
        weights, values = (inputs + 1) @ units, rows * np.sum(inputs + units)
        sizes = weights * self.dtype.itemsize, values * self.dtype.itemsize
        return np.array([1, len(units), 2 * rows * inputs @ units, *sizes])


def checked(widths: Widths) -> tuple[int, ...]:
    if not isinstance(widths, tuple | list) or len(widths) < 2:
        raise TypeError(f"widths must be a network's inputs and each layer's units, not {checks.shown(widths)}")
    return tuple(checks.whole_number(width, "a width", 1) for width in widths)


def medians(calls: dict, seconds: float) -> dict:
    """The median seconds of each call, taken in turns, each sample so long that its first, cold call hardly counts."""
    found = timing.compare(calls, repeat=(3, 200), budget_seconds=seconds, sample_ns=1_000_000) if calls else None
    return {what: found.timings[what].median for what in calls}


def nonnegative(A: np.ndarray) -> np.ndarray:
    """x >= 0 with A x near to ones, by least squares; what would be negative is left out, the most negative first."""
    size, chosen, x = np.linalg.norm(A, axis=0), np.arange(A.shape[1]), np.full(A.shape[1], -1.0)
    while x.min() < 0:
        found = np.linalg.lstsq(A[:, chosen] / size[chosen], np.ones(len(A)), rcond=None)[0]
        x = np.zeros(A.shape[1])
        x[chosen] = found / size[chosen]
        chosen = np.delete(chosen, np.argmin(found))
    return x
