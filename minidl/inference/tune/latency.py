"""How long a call of a network takes, predicted from its operations and bytes: a roofline, fitted to measured calls."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from minidl import checks
from minidl.bench import caches as caches_
from minidl.bench import timing
from minidl.engines import get_engine
from minidl.inference.tune.asked import positive
from minidl.inference.tune.shown import of_rows
from minidl.layers import Dense
from minidl.model import Sequential

CALL, ROW, LAYER, OPERATION, BYTE = range(5)  # places of the costs; from BYTE on one for each level of the memory
BALANCES = (1.0, 4.0, 16.0, 64.0)  # operations in the time of a byte, from which the fit begins
STEPS = 20
SAMPLE_NS = 1_000_000  # a sample is so long that the first call, after other networks, does not count
NETWORKS = (
    (10, 10, 1), (30, 9, 1), (30, 75, 33, 1), (30, 18, 250, 8, 90, 1), (30, 470, 20, 3), (64, 220, 110, 10),
    (100, 60, 60, 60, 60, 1), (200, 490, 1), (400, 130, 270, 2), (784, 256, 128, 1), (784, 350, 350, 350, 10),
    (1000, 1000, 1000, 10),
)  # fmt: skip


class LatencyModel:
    """Predicts how long a call of a network of Dense layers takes on this machine:

    seconds = call + rows row + sum over layers (layer + max(operations / peak, bytes / bandwidth))

    operations: 2 rows inputs units; bytes: of W, b and of the rows that come in and go out. The bandwidth is that of
    the smallest cache into which all weights of the network go, since each call reads them all. call, row and layer are
    constants, in seconds. (The roofline is that of Williams, Waterman and Patterson, "Roofline: an insightful visual
    performance model", 2009.)

    engine, dtype: that the network runs on and in. caches: sizes in bytes from the first level on; this machine's where
    they are left out. What else a network does, normalizations and activations, is taken to be in the constants.

    After ``fit``: the seconds ``call``, ``row``, ``layer``; ``peak`` (operations a second) and ``bandwidths`` (bytes a
    second of each cache and of the memory), infinite where nothing that was measured is held up by them.
    """

    def __init__(self, engine: str = "auto", dtype: str = "float32", caches: Sequence[int] | None = None):
        self.engine, self.dtype = get_engine(engine).name, checks.float_type(dtype)
        if caches is None:
            caches = [cache.size for cache in caches_.of_linux() or caches_.of_macos()]
        self.caches = tuple(checks.whole_number(size, "the size of a cache", 1) for size in caches)
        self.costs: np.ndarray | None = None

    def fit(
        self,
        networks: Iterable[Sequence[int]] = NETWORKS,
        rows: Sequence[int] = (1, 64),
        seconds: float = 2.0,
        *,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> LatencyModel:
        """Measure networks of these widths (inputs, units of each layer), with so many rows in a call, and learn.

        seconds: for the samples, which are taken in turns. Raises TypeError or ValueError for arguments out of range.
        """
        calls = {}
        for widths in map(chain, networks):
            layers = [Dense(units, "relu", input_shape=(inputs,)) for inputs, units in itertools.pairwise(widths)]
            model = Sequential(layers, seed=0)
            model.compile("sgd", "mse", engine=self.engine, dtype=self.dtype)
            for n in rows:
                x = np.ones((checks.whole_number(n, "a number of rows", 1), widths[0]), self.dtype)
                calls[widths, n] = partial(model, x)
        return self.learn([(*what, taken) for what, taken in medians(calls, seconds, clock).items()])

    def learn(self, measured: Iterable[tuple[Sequence[int], int, float]]) -> LatencyModel:
        """Take the costs from calls that were measured: (widths, rows, seconds) of each.

        They are the least squares of the relative errors, none negative. Which side of each layer's maximum counts is
        found in turns with them, from several beginnings. ValueError where nothing is given.
        """
        measured = [(chain(widths), rows, positive(taken, "a measured time")) for widths, rows, taken in measured]
        if not measured:
            raise ValueError("there is nothing to learn from: give at least one call that was measured")
        seconds = np.array([taken for _, _, taken in measured])
        counted = [self.counted(widths, rows) for widths, rows, _ in measured]
        self.rows = min(rows for _, rows, _ in measured), max(rows for _, rows, _ in measured)
        least = np.inf
        for balance in BALANCES:
            costs = np.full(BYTE + len(self.caches) + 1, balance)
            costs[OPERATION] = 1
            for _ in range(STEPS):
                before, shares = costs, self.shares(counted, costs)
                costs = spread(nonnegative(shares / seconds[:, None]), shares)
                error = np.sum(np.square(self.shares(counted, costs) @ costs / seconds - 1))
                if error < least:
                    least, self.costs = error, costs
                if np.allclose(costs, before, rtol=1e-9, atol=0):
                    break
        self.call, self.row, self.layer = self.costs[:OPERATION].tolist()
        names = [*(f"L{level}" for level, _ in enumerate(self.caches, 1)), "memory"]
        self.peak, *widths = map(rate, self.costs[OPERATION:])
        self.bandwidths = dict(zip(names, widths, strict=True))
        return self

    def predict(self, widths: Sequence[int], rows: int = 1) -> float:
        """The seconds of a call of so many rows of a network of these widths: (inputs, units of each layer).

        RuntimeError before ``fit``; ValueError for more or fewer rows than were measured, which say nothing of it.
        """
        if self.costs is None:
            raise RuntimeError("the LatencyModel knows no machine yet: call its fit() first")
        widths, rows, (low, high) = chain(widths), checks.whole_number(rows, "rows", 1), self.rows
        if not low <= rows <= high:
            measured = of_rows(low) if low == high else f"{low} to {of_rows(high)}"
            raise ValueError(f"{of_rows(rows)} cannot be predicted from {measured}; call fit with rows=({rows},)")
        return float((self.shares([self.counted(widths, rows)], self.costs) @ self.costs)[0])

    def counted(self, widths: Sequence[int], rows: int) -> tuple[int, np.ndarray, np.ndarray, int]:
        """Rows, the operations and bytes of each layer, and the level of the memory that holds the weights."""
        inputs, units = np.array(list(itertools.pairwise(widths)), float).T
        weights = (inputs + 1) * units
        level = sum(weights.sum() * self.dtype.itemsize > size for size in self.caches)
        return rows, 2 * rows * inputs * units, (weights + rows * (inputs + units)) * self.dtype.itemsize, level

    def shares(self, counted: Sequence[tuple], costs: np.ndarray) -> np.ndarray:
        """How much of each cost a call has, (calls, costs): times the costs it is the time.

        Of each layer the operations or the bytes count, whichever take longer by these costs.
        """
        found = np.zeros((len(counted), len(costs)))
        for share, (rows, operations, moved, level) in zip(found, counted, strict=True):
            computes = operations * costs[OPERATION] >= moved * costs[BYTE + level]
            share[[CALL, LAYER]] = 1, len(operations)
            share[ROW] = rows if self.rows[0] < self.rows[1] else 0  # else nothing tells it from the call
            share[OPERATION], share[BYTE + level] = operations[computes].sum(), moved[~computes].sum()
        return found


def medians(calls: dict, seconds: float, clock: Callable[[], int]) -> dict:
    """The median seconds of each call, by what it is in ``calls``, taken in turns."""
    if not calls:
        return {}
    named = {str(what): call for what, call in calls.items()}
    found = timing.compare(named, repeat=(5, 200), budget_seconds=seconds, sample_ns=SAMPLE_NS, clock=clock)
    return {what: found.timings[str(what)].median for what in calls}


def rate(cost: float) -> float:
    return 1 / float(cost) if cost else float("inf")


def chain(widths: object) -> tuple[int, ...]:
    """The widths of a network, from its inputs to its outputs."""
    if not isinstance(widths, tuple | list) or len(widths) < 2:
        raise TypeError(f"widths must be a network's inputs and each layer's units, not {checks.shown(widths)}")
    return tuple(checks.whole_number(width, "a width", 1) for width in widths)


def nonnegative(A: np.ndarray) -> np.ndarray:
    """x >= 0 with A x near to ones, by least squares; what would be negative is left out, the most negative first."""
    size = np.linalg.norm(A, axis=0)
    chosen, x = np.flatnonzero(size), np.zeros(A.shape[1])
    while len(chosen):
        found = np.linalg.lstsq(A[:, chosen] / size[chosen], np.ones(len(A)), rcond=None)[0]
        if found.min() >= 0:
            x[chosen] = found / size[chosen]
            break
        chosen = np.delete(chosen, np.argmin(found))
    return x


def spread(costs: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The costs, with those of the nearest level where nothing was measured that a level holds up."""
    known = np.flatnonzero(shares[:, BYTE:].any(axis=0))
    for level in range(len(costs) - BYTE):
        if len(known) and level not in known:
            costs[BYTE + level] = costs[BYTE + min(known, key=lambda other: abs(other - level))]
    return costs
