"""Which range of a layer's inputs the 256 steps cover: all that was seen, or less of it in finer steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from minidl.contract import SMALLEST_SCALE

BINS = 2**16
COARSE, LEVELS = 2048, 256  # of "entropy": the parts in which it looks at what was seen, and at what is left of it
OUTERMOST = 0.0001  # of "percentile": the share that is left out on each side


@dataclass
class Observed:
    """What a layer was given: the least and the largest, 0 among them, and how many in each of 2^16 parts between.

    Zeros are not counted, since 0 is exact in every range: where half of a ReLU's outputs are 0, the range is a matter
    of the other half.
    """

    low: float = 0.0
    high: float = 0.0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def stretch(self, x: np.ndarray) -> None:
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))

    def count(self, x: np.ndarray) -> None:
        """To be called once ``stretch`` has seen everything."""
        if self.high - self.low >= LEVELS * SMALLEST_SCALE:
            self.counts += np.histogram(x[x != 0], BINS, (self.low, self.high))[0]

    def edge(self, place: int, parts: int = BINS) -> float:
        """Where a part begins, counted from 0."""
        return self.low + (self.high - self.low) * place / parts


def minmax(seen: Observed) -> tuple[float, float]:
    """All that was seen."""
    return seen.low, seen.high


def percentile(seen: Observed) -> tuple[float, float]:
    """From the 0.01th to the 99.99th percentile, to within a 2^16th of all that was seen, and to 0.

    One of the ranges compared by Wu, Judd, Zhang, Isaev and Micikevicius, "Integer quantization for deep learning
    inference", 2020.
    """
    below = np.cumsum(seen.counts)
    left_out = OUTERMOST * below[-1]
    first, last = np.searchsorted(below, left_out, side="right"), np.searchsorted(below, below[-1] - left_out)
    return min(seen.edge(first), 0.0), max(seen.edge(last + 1), 0.0)


def entropy(seen: Observed) -> tuple[float, float]:
    """The range, as far to the one side of 0 as to the other, in which 256 steps lose least information.

    TensorRT's rule (Migacz, "8-bit inference with TensorRT", 2017): of 2048 parts those inside are merged into 256, and
    the Kullback-Leibler divergence says how much this distribution differs from that of the clipped inputs.
    """
    counts = seen.counts.reshape(COARSE, -1).sum(axis=1)
    if not counts.any():
        return minmax(seen)
    zero = round(-seen.low / (seen.high - seen.low) * COARSE)
    best, ends = math.inf, (0, COARSE)
    for reach in range(LEVELS // 2, COARSE + 1):
        first, end = max(zero - reach, 0), min(zero + reach, COARSE)
        if end - first < LEVELS:
            continue
        found = divergence(counts, first, end)
        if found < best:
            best, ends = found, (first, end)
        if (first, end) == (0, COARSE):
            break
    first, end = ends
    return min(seen.edge(first, COARSE), 0.0), max(seen.edge(end, COARSE), 0.0)


def divergence(counts: np.ndarray, first: int, end: int) -> float:
    """sum p ln(p / q): p is the distribution once it is clipped, q that of its inside in steps.

    What lies outside is put into the outermost parts that are not empty. A step's share is spread evenly over those of
    its parts that hold anything.
    """
    inside = counts[first:end]
    holds = np.flatnonzero(inside)
    if not holds.size:
        return math.inf
    p, step = inside.astype(np.float64), holds * LEVELS // len(inside)
    p[holds[0]] += counts[:first].sum()
    p[holds[-1]] += counts[end:].sum()
    q = (np.bincount(step, inside[holds]) / np.maximum(np.bincount(step), 1))[step]
    p, q = p[holds] / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))


METHODS = {"minmax": minmax, "percentile": percentile, "entropy": entropy}


def scale_and_zero(low: float, high: float) -> tuple[np.float32, int]:
    """The size of 255 steps from ``low`` to ``high``, 0 between them, and the step that 0 is; (1, 0) where all is 0.

    0 must be a whole number of steps away from ``low``, so they are made a little longer (by 0.4% at most): long enough
    that there are steps for both ends.
    """
    scale = (high - low) / 255
    if scale < SMALLEST_SCALE:
        return np.float32(1), 0
    below = min(int(-low / scale), 254)
    scale, zero = min((max(part(-low, zero), part(high, 255 - zero)), zero) for zero in (below, below + 1))
    return np.float32(scale), zero


def part(length: float, steps: int) -> float:
    """How long each of so many steps must be."""
    return length / steps if steps else math.inf if length else 0.0
