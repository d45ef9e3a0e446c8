"""The batch size that gives the most rows a second while 99 of 100 calls are within a bound."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minidl import checks, progress
from minidl.bench.timing import collector_off
from minidl.inference.tune.asked import can_be_called, one_for_each, positive, rows_of
from minidl.inference.tune.shown import Found, ms, of_rows
from minidl.model import Sequential

ROUNDS = 10  # in which all sizes have their turn, so that a change in the machine's speed meets all
MOST_CALLS = 2000  # of each size
ENOUGH_CALLS = 100  # below it the 99th percentile is the slowest call
PROBES, PROBING = 5, 0.01  # so many calls, or that share of the seconds, tell whether a size can be within the bound
PLACES = 64  # batches of X that take turns


@dataclass(frozen=True)
class Size:
    """Calls of so many rows. median, p99: of single calls, in seconds; 99 of 100 took no longer than ``p99``.

    rows_per_second: all rows over the time of all calls.
    """

    rows: int
    median: float
    p99: float
    rows_per_second: float
    calls: int


@dataclass(frozen=True, repr=False)
class BatchSizes(Found):
    """What ``batch_size`` has measured. best: the number of rows to take, None where even the fewest are too slow."""

    latency_ms: float
    found: tuple[Size, ...]
    remarks: tuple[str, ...] = ()

    def fits(self, size: Size) -> bool:
        return size.p99 <= self.latency_ms / 1e3

    @property
    def best(self) -> int | None:
        """Of the sizes whose p99 is within the bound the one with the most rows a second; of equal ones the least."""
        within = [size for size in self.found if self.fits(size)]
        return max(within, key=lambda size: size.rows_per_second).rows if within else None

    def title(self) -> str:
        return f"Batch sizes: 99 of 100 calls within {self.latency_ms:g} ms"

    def head(self) -> list[str]:
        return ["rows", "median (ms)", "p99 (ms)", "rows/s", "calls", ""]

    def lines(self) -> list[list[str]]:
        return [
            [f"{size.rows:,}", ms(size.median), ms(size.p99), f"{size.rows_per_second:,.0f}", f"{size.calls:,}",
             "best" if size.rows == self.best else "" if self.fits(size) else "too slow"]
            for size in self.found
        ]  # fmt: skip

    def notes(self) -> list[str]:
        by_rows = {size.rows: size for size in self.found}
        if self.best is None:
            least = self.found[0]
            said = (
                f"No batch size is within {self.latency_ms:g} ms: 99 of 100 calls of {of_rows(least.rows)} take up to "
                f"{ms(least.p99)} ms (median {ms(least.median)} ms)."
            )
            return [said, *self.remarks]
        best = by_rows[self.best]
        notes = [f"Take {of_rows(best.rows)} at a time: {best.rows_per_second:,.0f} rows/s, p99 {ms(best.p99)} ms."]
        if best.calls < ENOUGH_CALLS:
            notes.append(f"Only {best.calls} calls of it were measured, so its p99 is the slowest; give more seconds.")
        return [*notes, *self.remarks]

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw latency and throughput by batch size; the figure, which shows itself in Jupyter.

        path: a .png, .svg or .pdf that is written, too. ValueError for another, OSError where it cannot be written.
        """
        from minidl.inference.tune import pictures

        return pictures.of_batch_sizes(self, path)


def batch_size(
    model: Callable[[np.ndarray], object],
    X: object,
    latency_ms: float,
    sizes: Iterable[int] | None = None,
    seconds: float = 10.0,
    verbose: str | int = "auto",
    *,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> BatchSizes:
    """Measure calls of more and more rows, and find how many at a time give the most rows a second within a bound.

    model: a Sequential, or any function that takes rows (n, features) and returns as many; one that hands work to a
        GPU returns when that is done.
    X: rows as they will come, in their dtype: where a model has to convert them, that is measured as well.
    latency_ms: the bound in milliseconds that 99 of 100 calls must keep, by the 99th percentile of single calls.
    sizes: numbers of rows; left out, 1, 2, 4, ... up to the first beyond the bound, or as many as X has.
    seconds: for all calls together. A slow model has fewer calls (at least one of each size, and some to find out
        which sizes there are). verbose: as ``fit``'s. clock: nanoseconds.

    Every call is timed by itself, all sizes take turns, and the garbage collector is off. Raises TypeError or
    ValueError for arguments out of range, rows that hold NaN or are too few, and models that do not return their rows.
    """
    can_be_called(model)
    latency_ms, seconds = positive(latency_ms, "latency_ms"), positive(seconds, "seconds")
    X, verbose = rows_of(X, [model]), progress.resolve(verbose)
    chosen = whole(sizes, len(X)) if sizes is not None else [2**power for power in range(len(X).bit_length())]
    one_for_each(model(X[: chosen[0]]), X[: chosen[0]])  # also compiles
    end, batches, remarks = clock() + seconds * 1e9, {}, []
    with collector_off():
        for rows in chosen:
            batches[rows] = batches_of(X, rows)
            one_for_each(model(X[:rows]), X[:rows])
            least = fastest(model, batches[rows], clock() + PROBING * seconds * 1e9, clock)
            if sizes is None and least / 1e6 > latency_ms:
                break
            if sizes is None and clock() >= end:
                remarks.append(f"The time was over before more than {of_rows(rows)} were tried; give it more seconds.")
                break
        words = f"timing calls of {of_rows(min(batches))} to {of_rows(max(batches))}, at most about {seconds:g} s"
        with progress.bar(verbose, words, ROUNDS) as done:
            samples = single_calls(model, batches, end, clock, done)
    found = BatchSizes(latency_ms, tuple(summary(rows, values) for rows, values in samples.items()))
    if isinstance(model, Sequential) and X.dtype != model.weights[0].dtype:
        remarks.append(f"X is {X.dtype} and the model {model.weights[0].dtype}: each call converts its rows.")
    if sizes is None and found.best == chosen[-1]:
        remarks.append(f"X has only {of_rows(len(X))}: with more of them, larger sizes could be tried.")
    return replace(found, remarks=tuple(remarks))


def whole(sizes: object, rows: int) -> list[int]:
    """The sizes that were asked for, from small to large."""
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        raise TypeError(f"sizes must be a list of whole numbers such as [1, 8, 64], not {checks.shown(sizes)}")
    chosen = sorted({checks.whole_number(size, "a number in sizes", 1) for size in sizes})
    if not chosen:
        raise ValueError("sizes is empty; name some numbers of rows, or leave it out")
    if chosen[-1] > rows:
        raise ValueError(f"sizes asks for {of_rows(chosen[-1])} at a time, but X has {rows:,}; give more rows")
    return chosen


def batches_of(X: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    """Batches of so many rows from different places of X, over and over."""
    places = len(X) - rows + 1
    return itertools.cycle([X[start : start + rows] for start in (n * rows % places for n in range(PLACES))])


def timed(model: Callable, x: np.ndarray, clock: Callable[[], int]) -> int:
    """The nanoseconds of one call."""
    start = clock()
    model(x)
    return clock() - start


def fastest(model: Callable, batches: Iterator[np.ndarray], until: float, clock: Callable[[], int]) -> int:
    """The nanoseconds of the fastest of a few calls."""
    least = timed(model, next(batches), clock)
    for _ in range(PROBES - 1):
        if clock() < until:
            least = min(least, timed(model, next(batches), clock))
    return least


def single_calls(
    model: Callable,
    batches: dict[int, Any],
    end: float,
    clock: Callable[[], int],
    done: Callable[[float], None],
) -> dict[int, list[int]]:
    """The nanoseconds of single calls by size: at least one of each, at most MOST_CALLS, in turns by a timetable."""
    samples: dict[int, list[int]] = {rows: [] for rows in batches}
    begun, turns = clock(), ROUNDS * len(batches)
    for turn, rows in enumerate(list(batches) * ROUNDS, 1):
        over = begun + (end - begun) * turn / turns
        if samples[rows] and clock() >= over:
            continue
        if clock() < over:
            model(next(batches[rows]))  # what the other sizes have put out of the caches comes back
        for _ in range(MOST_CALLS // ROUNDS):
            samples[rows].append(timed(model, next(batches[rows]), clock))
            if clock() >= over:
                break
        done(turn / len(batches))
    return samples


def summary(rows: int, values: list[int]) -> Size:
    p99 = float(np.percentile(values, 99, method="inverted_cdf")) / 1e9
    return Size(rows, float(np.median(values)) / 1e9, p99, rows * len(values) / sum(values) * 1e9, len(values))
