"""The batch size that gives the most rows a second while 99 of 100 calls are within a bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns as clock

import numpy as np

from minidl import checks, progress
from minidl.bench.timing import collector_off
from minidl.inference.tune.asked import Model, outputs_of, rows_of, schema_among
from minidl.inference.tune.shown import Found

ROUNDS = 10  # in which all sizes have their turn, so that a change in the machine's speed meets all
MOST_CALLS = 200  # in a turn


@dataclass(frozen=True, repr=False, eq=False)
class BatchSizes(Found):
    """What ``batch_size`` has found. ``found``: a pandas table of rows, the median and 99th percentile of single calls,
    rows a second over all calls, and their number. best: the rows to take, None where none are fast enough."""

    latency_ms: float
    best: int | None


def batch_size(
    model: Model,
    X: object,
    latency_ms: float,
    *,
    sizes: Sequence[int] | None = None,
    seconds: float = 10.0,
    verbose: str | int = "auto",
) -> BatchSizes:
    """Measure calls of more and more rows, and find how many at a time give the most rows a second within a bound.

    model: a Sequential, or any function that takes rows (n, features) and returns as many; one that hands work to a
        GPU returns when that is done.
    X: rows as they will come, an array or a table, in their dtype: where a model has to convert them, that is measured
        as well.
    latency_ms: the bound in milliseconds that 99 of 100 calls must keep (below 100 calls, all of them).
    sizes: numbers of rows; left out, 1, 2, 4, ... as far as X goes. They end with the first that is beyond the bound,
        or at which the time is over. seconds: for all calls, at most. verbose: as ``fit``'s.

    Every call is timed by itself, all sizes take turns, and the garbage collector is off. Raises TypeError or
    ValueError for arguments out of range, rows that hold NaN or are too few, and models that do not return their rows.
    """
    import pandas as pd

    latency_ms, seconds = checks.number(latency_ms, "latency_ms", 1e-6), checks.number(seconds, "seconds", 0)
    X, verbose = rows_of(X, schema_among([model])), progress.resolve(verbose)
    sizes = [2**power for power in range(len(X).bit_length())] if sizes is None else np.ravel(sizes).tolist()
    sizes = sorted({checks.whole_number(size, "a number in sizes", 1) for size in sizes})
    if not sizes or sizes[-1] > len(X):
        raise ValueError(f"sizes must be numbers of rows up to {len(X):,}, which X has, not {checks.shown(sizes)}")
    outputs_of(model, X[: sizes[0]], "model")  # also compiles
    with collector_off(), progress.bar(verbose, f"timing batches, at most about {seconds:g} s", ROUNDS) as done:
        samples = single_calls(model, X, sizes, latency_ms, seconds, done)
    lines = [
        (rows, *np.percentile(calls, (50, 99), method="inverted_cdf") / 1e6, 1e9 * rows / np.mean(calls), len(calls))
        for rows, calls in samples.items()
    ]
    found = pd.DataFrame(lines, columns=["rows", "median_ms", "p99_ms", "rows_per_second", "calls"])
    within = found[found.p99_ms <= latency_ms]
    best = None if within.empty else int(within.rows[within.rows_per_second.idxmax()])
    found["remark"] = np.where(found.rows == best, "best", np.where(found.p99_ms > latency_ms, "too slow", ""))
    note = f"Best: {best:,} rows at a time." if best else f"No batch size is within {latency_ms:g} ms."
    note += " More were not tried." if best == max(samples) else ""
    return BatchSizes(f"Batch sizes: 99 of 100 calls within {latency_ms:g} ms", found, note, latency_ms, best)


def single_calls(
    model: Model, X: np.ndarray, sizes: list[int], latency_ms: float, seconds: float, done: Callable[[float], None]
) -> dict[int, list[int]]:
    """The nanoseconds of single calls by size, which take turns of equal time."""
    samples: dict[int, list[int]] = {}
    turn, end = seconds * 1e9 / ROUNDS / len(sizes), clock() + seconds * 1e9
    for number in range(ROUNDS):
        for place, rows in enumerate(sizes):
            if number and clock() >= end:
                return samples
            until, x, calls = clock() + turn, X[:rows], samples.setdefault(rows, [])
            model(x)  # what the other sizes have put out of the caches comes back
            for _ in range(MOST_CALLS):
                start = clock()
                model(x)
                calls.append(clock() - start)
                if clock() >= until:
                    break
            if min(calls) > latency_ms * 1e6 or clock() >= end:  # larger ones would only be slower
                sizes = sizes[: place + 1]
                break
        done(number + 1)
    return samples
