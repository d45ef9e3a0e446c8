"""Honest timing: rivals are checked against each other first, called once apart, and then timed in turns."""

from __future__ import annotations

import contextlib
import gc
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from minidl import display
from minidl.looks import look
from minidl.words import duration, times

Call = Callable[[], object]

SAMPLE_NS = 200_000  # a sample lasts at least this long: thousands of ticks of any clock, and of a loop's own cost
RESAMPLES = 1000
HEAD = ("median", "quartiles", "least", "first call", "samples")


class Disagreement(ValueError):
    """Rivals do not compute the same; nothing was timed."""


@dataclass(frozen=True, repr=False)
class Timing(display.Tabled):
    """One rival's time per call, in seconds. ``first_call`` holds what happens only once, compilation above all."""

    first_call: float
    median: float
    low: float  # the first and the third quartile
    high: float
    least: float
    samples: int
    loops: int  # calls in each sample

    def _tables(self) -> list[display.Grid]:
        return [display.Grid(HEAD, [self._cells()], ())]

    def _cells(self) -> list[str]:
        quartiles = f"{duration(self.low)} to {duration(self.high)}"
        return [duration(self.median), quartiles, duration(self.least), duration(self.first_call), f"{self.samples:,}"]


@dataclass(frozen=True)
class Ratio:
    """How many times faster than the baseline, with a 95% bootstrap interval within this run."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{times(self.value)} ({times(self.low)} to {times(self.high)})"

    def inverse(self) -> Ratio:
        """How many times faster the baseline is: quantiles of 1 / x are those of x, from the other end."""
        return Ratio(1 / self.value, 1 / self.high, 1 / self.low)


@dataclass(frozen=True, repr=False)
class Comparison(display.Tabled):
    """What ``compare`` found. ``speedups`` has a ratio for every rival; the baseline's own is 1.

    ``samples`` are the seconds per call, as many of each rival, those at one place taken after each other. It shows
    itself as a table.
    """

    baseline: str
    timings: dict[Any, Timing]
    speedups: dict[Any, Ratio]
    samples: dict[Any, list[float]]

    def _tables(self) -> list[display.Grid]:
        longest, lines = max(timing.median for timing in self.timings.values()) or 1, []
        for place, (name, timing) in enumerate(self.timings.items()):
            median, quartiles, *_ = timing._cells()
            ratio = "" if name == self.baseline else str(self.speedups[name])
            bar = display.bar(timing.median / longest, look(str(name), place)[0])
            lines.append([str(name), median, bar, quartiles, ratio])
        return [display.Grid(["", "median", "", "quartiles", f"times as fast as {self.baseline}"], lines, (0, 2))]

    def _notes(self) -> list[str]:
        samples = next(iter(self.timings.values())).samples
        return [f"{samples:,} samples of each, taken in turns; in brackets a 95% interval within this run"]


class Elsewhere(Protocol):
    """A rival that is not a function of this process, and holds the clock itself: perf's workers are such."""

    def first_call(self) -> tuple[float, object]:
        """The seconds of the first call, and what it returned."""

    def sample(self, loops: int) -> int:
        """The nanoseconds of so many calls."""


@dataclass(frozen=True)
class Here:
    """A function of this process."""

    call: Call
    clock: Callable[[], int]

    def first_call(self) -> tuple[float, object]:
        return first_call(self.call, self.clock)

    def sample(self, loops: int) -> int:
        return sample(self.call, loops, self.clock)


def compare(
    rivals: Mapping[Any, Call | Elsewhere],
    *,
    validate: Callable[[dict[Any, object]], None] | None = None,
    prepare: Callable[[Any], None] | None = None,
    repeat: tuple[int, int] = (7, 200),
    budget_seconds: float = 1.0,
    sample_ns: int = SAMPLE_NS,
    clock: Callable[[], int] = time.perf_counter_ns,
    by: Callable[..., Any] = np.median,
) -> Comparison:
    """Time functions that do the same; the first one is the baseline.

    Parameters
    ----------
    rivals: functions without arguments, by name, or what stands for one that is ``Elsewhere``. One that hands work to
        a GPU returns when that is done.
    validate: gets what each returned at its first call, by name, and raises ``Disagreement``; ``close`` makes one.
    prepare: called with a rival's name before each of its samples, untimed, to bring back the state it starts from.
    repeat: the least and the largest number of samples of each; between them the budget decides.
    budget_seconds: for all samples together.
    sample_ns: a sample makes as many calls as last at least this long.
    clock: nanoseconds.
    by: what ratios are made of: the median of the samples, or np.min, the least, which another program that now and
        then takes the processor away makes no larger as long as it leaves some samples alone.

    The samples are interleaved, A B A B, so that a change in the machine's speed meets all rivals alike. Raises
    whatever ``validate`` raises, before any sample is taken.
    """
    prepare = prepare or (lambda name: None)
    timed = {name: Here(rival, clock) if callable(rival) else rival for name, rival in rivals.items()}
    first, results = {}, {}
    for name, rival in timed.items():
        prepare(name)
        first[name], results[name] = rival.first_call()
    if validate is not None:
        validate(results)
    del results
    samples: dict[str, list[float]] = {name: [] for name in rivals}
    with collector_off():
        loops = {name: enough_loops(name, rival, prepare, sample_ns) for name, rival in timed.items()}
        end = clock() + budget_seconds * 1e9
        for done in itertools.count():
            if done >= repeat[0] and (done >= repeat[1] or clock() >= end):
                break
            for name, rival in timed.items():
                prepare(name)
                samples[name].append(rival.sample(loops[name]) / loops[name] / 1e9)
    return summarize(first, samples, loops, by)


def first_call(call: Call, clock: Callable[[], int] = time.perf_counter_ns) -> tuple[float, object]:
    """The seconds of one call, and what it returned."""
    start = clock()
    result = call()
    return (clock() - start) / 1e9, result


def sample(call: Call, loops: int, clock: Callable[[], int]) -> int:
    """The nanoseconds of so many calls."""
    repeats = itertools.repeat(None, loops)
    start = clock()
    for _ in repeats:
        call()
    return clock() - start


def enough_loops(name: str, rival: Elsewhere, prepare: Callable[[str], None], sample_ns: int) -> int:
    """How many calls make a sample long enough against the clock. Finding out warms up.

    It has to be long enough twice: once it may be so because a call went a way for the first time.
    """

    def long_enough() -> bool:
        prepare(name)
        return rival.sample(loops) >= sample_ns

    loops = 1
    while not (long_enough() and long_enough()):
        loops *= 2
    return loops


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Keep the garbage collector from running inside a sample."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def summarize(
    first: dict[str, float],
    samples: dict[str, list[float]],
    loops: dict[str, int],
    by: Callable[..., Any] = np.median,
) -> Comparison:
    """Medians, quartiles and ratios of samples (seconds per call, as many of each rival); the first is the baseline."""
    timings = {}
    for name, values in samples.items():
        low, median, high = np.percentile(values, (25, 50, 75)).tolist()
        timings[name] = Timing(first[name], median, low, high, min(values), len(values), loops[name])
    baseline = next(iter(samples))
    speedups = {name: ratio(samples[baseline], values, by) for name, values in samples.items()}
    return Comparison(baseline, timings, speedups, samples)


def ratio(baseline: list[float], rival: list[float], by: Callable[..., Any] = np.median) -> Ratio:
    """The ratio of medians, or of the least. Rounds are drawn again as pairs: what slows a round down slows both."""
    pairs = np.array([baseline, rival])
    value = by(pairs[0]) / by(pairs[1])
    rounds = np.random.default_rng(0).integers(pairs.shape[1], size=(RESAMPLES, pairs.shape[1]))
    drawn = by(pairs[:, rounds], axis=2)
    low, high = np.percentile(drawn[0] / drawn[1], (2.5, 97.5))
    return Ratio(float(value), float(low), float(high))


def close(tolerance: float = 1e-4) -> Callable[[dict[str, object]], None]:
    """A validator: each rival's result within ``tolerance`` times the largest entry of the first rival's.

    Results are arrays, lists of arrays, or lists of numbers, which are arrays too; NaN agrees with nothing.
    """

    def validate(results: dict[str, object]) -> None:
        (reference, expected), *others = ((name, as_list(result)) for name, result in results.items())
        for name, found in others:
            for ours, theirs in zip(expected, found, strict=True):
                error = difference(ours, theirs)
                if not error <= tolerance:
                    raise Disagreement(
                        f"{name} differs from {reference} by {error:.2g} of the largest entry, more than "
                        f"{tolerance:g}; nothing was timed"
                    )

    return validate


def as_list(result: object) -> list[np.ndarray]:
    several = isinstance(result, list | tuple) and any(isinstance(part, np.ndarray | list | tuple) for part in result)
    return [np.asarray(part, np.float64) for part in (result if several else [result])]


def difference(expected: np.ndarray, found: np.ndarray) -> float:
    """max |found - expected| / max |expected|; infinity where the shapes differ or an entry is not finite."""
    if expected.shape != found.shape or not (np.isfinite(expected).all() and np.isfinite(found).all()):
        return float("inf")
    error, scale = float(np.max(np.abs(found - expected), initial=0)), float(np.max(np.abs(expected), initial=0))
    if error == 0:
        return 0.0
    return error / scale if scale else float("inf")
