"""Exactness: the error of the elementary functions over the float32 line, in units in the last place."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from minidl import get_engine
from minidl.bench import machine
from minidl.contract import OPERATIONS
from minidl.engines import why_not
from minidl.engines.numba_engine import elementary
from perf import results_file

STRIDE = 257  # a prime, so that every ending of a bit pattern is met
CHUNK = 2**18  # values at a time: they stay in the cache
BIN, BINS = 1 / 1024, 2**16  # of the histogram of errors, which the percentile is read off
LARGEST = float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).tiny)  # the smallest normal number

# --- references: the formula in float64 ------------------------------------------------------------------------------
# A float64 has 29 bits more than a float32: half a unit of it is 2^-30 of a float32's. Each of these takes at most four
# operations that are off by a unit or less, and none of them cancels, so the reference is off by less than 2^-26 of the
# unit that is measured in. Where a float64 goes under, the result is far below half the smallest float32.


@numba.njit
def sigmoid(x):
    e = math.exp(-abs(x))
    return (1.0 if x >= 0 else e) / (1.0 + e)


@numba.njit
def tanh(x):
    return math.tanh(x)


@numba.njit
def exp(x):
    return math.exp(x)


@numba.njit
def log(x):
    return math.log(x)


@numba.njit
def log1p(x):
    return math.log1p(x)


# Where each is defined for the engines (elementary.py says why no further).
FUNCTIONS = {
    "sigmoid": (sigmoid, -math.inf, math.inf),
    "tanh": (tanh, -math.inf, math.inf),
    "exp": (exp, -math.inf, math.inf),
    "log": (log, TINY, math.inf),
    "log1p": (log1p, -0.5, 1.0),
}


# --- the engines' functions ------------------------------------------------------------------------------------------


def computed(name: str, engine: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function of this engine, on a flat float32 array."""
    if name in OPERATIONS:
        operation = getattr(get_engine(engine), name)
        return lambda x: operation(x.reshape(1, -1)).reshape(-1)
    if engine == "numpy":
        return getattr(np, name)
    function = getattr(elementary, f"{name}_float32")

    @numba.njit(nogil=True, fastmath={"contract"}, error_model="numpy")
    def loop(x):
        out = np.empty_like(x)
        for e in range(x.size):
            out[e] = function(x[e])
        return out

    return loop


# --- measuring -------------------------------------------------------------------------------------------------------


COUNT, RIGHT, TOTAL, WORST, WHERE, NAN_LOST = range(6)  # what the sums hold


def tally_of(reference: Callable) -> Callable:
    """A compiled function that adds the errors of a chunk to a histogram and to the sums."""

    @numba.njit(nogil=True, error_model="numpy")
    def tally(x, found, low, high, histogram, sums):
        for e in range(x.size):
            if x[e] != x[e]:
                sums[NAN_LOST] += found[e] == found[e]
            if not low <= x[e] <= high:
                continue
            expected = reference(np.float64(x[e]))
            if found[e] == np.float32(expected):
                sums[RIGHT] += 1
            if math.isfinite(found[e]):
                exponent = max(math.frexp(expected)[1] - 1, -126)
                error = abs(np.float64(found[e]) - expected) * math.ldexp(1.0, 23 - exponent)
            else:  # rightly so only where a float32 cannot hold the value
                error = 0.0 if abs(expected) > LARGEST and (found[e] > 0) == (expected > 0) else np.inf
            sums[COUNT] += 1
            sums[TOTAL] += error
            if error > sums[WORST]:
                sums[WORST], sums[WHERE] = error, x[e]
            histogram[int(min(error / BIN, BINS - 1.0))] += 1

    return tally


def measure(name: str, engine: str, stride: int, advance: Callable[[], None]) -> dict:
    """The errors of one function in one engine over every ``stride``-th bit pattern, infinities and NaN among them."""
    reference, low, high = FUNCTIONS[name]
    function, tally = computed(name, engine), tally_of(reference)

    def part(start: int) -> tuple[np.ndarray, np.ndarray]:
        histogram, sums = np.zeros(BINS, np.int64), np.zeros(6)
        patterns = np.arange(start, min(start + CHUNK * stride, 2**32), stride, dtype=np.uint64)
        x = patterns.astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            tally(x, function(x), low, high, histogram, sums)
        advance()
        return histogram, sums

    part(2**32 - 1)  # compiles
    histogram, sums = np.zeros(BINS, np.int64), np.zeros(6)
    with ThreadPoolExecutor(machine.cores()) as pool:
        for more, found in pool.map(part, range(0, 2**32, CHUNK * stride)):
            histogram += more
            if found[WORST] > sums[WORST]:
                sums[[WORST, WHERE]] = found[[WORST, WHERE]]
            sums[[COUNT, RIGHT, TOTAL, NAN_LOST]] += found[[COUNT, RIGHT, TOTAL, NAN_LOST]]
    if sums[NAN_LOST]:
        raise ArithmeticError(f"{name} in {engine} makes numbers of {sums[NAN_LOST]:.0f} NaN")
    return {
        "values": int(sums[COUNT]),
        "max_ulp": float(sums[WORST]),
        "at": float(sums[WHERE]),
        "percentile_99_9_ulp": percentile(histogram, 0.999),
        "mean_ulp": sums[TOTAL] / sums[COUNT],
        "correctly_rounded": sums[RIGHT] / sums[COUNT],
        "stride": stride,
    }


def percentile(histogram: np.ndarray, share: float) -> float:
    """The error that this share of the values does not exceed: the upper end of the bin that it lies in."""
    return float((np.searchsorted(np.cumsum(histogram), share * histogram.sum()) + 1) * BIN)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("functions", nargs="*", metavar="FUNCTION", help=f"which (default: {', '.join(FUNCTIONS)})")
    parser.add_argument("--all", action="store_true", help="all 2^32 values, which takes minutes for each function")


def main(all: bool = False, functions: list[str] | None = None) -> None:
    """Measure, print, and put the results beside those that were measured before."""
    stride = 1 if all else STRIDE
    engines = [name for name in ("numpy", "numba") if not why_not(name)]
    chosen = functions or list(FUNCTIONS)
    content = results_file.read("ulp") or {"functions": {}}
    columns = (TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn(), TimeRemainingColumn())
    for name in chosen:
        for engine in engines:
            with Progress(*columns) as progress:
                task = progress.add_task(f"{name} ({engine})", total=-(-(2**32) // (CHUNK * stride)))
                found = measure(name, engine, stride, lambda task=task, shown=progress: shown.advance(task))
            print(
                f"{name} ({engine}): {found['max_ulp']:.3f} ulp at {found['at']!r}, 99.9% below "
                f"{found['percentile_99_9_ulp']:.3f}, mean {found['mean_ulp']:.4f}, correctly rounded "
                f"{found['correctly_rounded']:.2%} of {found['values']:,}",
                flush=True,
            )
            content["functions"].setdefault(name, {}).setdefault("float32", {})[engine] = found
        print(f"written to {results_file.write('ulp', content | {'machine': machine.facts()})}")
