"""What a predictor is made of, and how long it takes beside what the machine allows."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minidl import display
from minidl.bench import timing
from minidl.engines import why_not
from minidl.inference.int8 import Int8Layer
from minidl.words import duration, in_bytes

if TYPE_CHECKING:
    from minidl.bench.ceilings import Ceilings
    from minidl.inference.predictor import Predictor

SECONDS = 1.5  # for measuring the machine, once in a process
SAMPLES = (10, 300)  # of each number of rows
LAYERS = ("layer", "operations a row", "bytes of weights")
TIMES = ("rows in a call", "the machine allows", "measured", "of what it allows")


@dataclass(frozen=True, repr=False)
class Summary(display.Tabled):
    """layers: (name, operations a row, bytes of weights) of each; times: (rows, the least seconds that the machine
    allows or None, measured seconds); buffers: bytes in which activations lie while ``max_batch`` rows are on their
    way, and how many it would be without reusing them, or None where the engine allocates them anew."""

    title: str
    folded: list[str]
    layers: list[tuple[str, int, int]]
    buffers: tuple[int, int] | None
    times: list[tuple[int, float | None, float]]

    @property
    def remarks(self) -> list[str]:
        operations, weights = sum(count for _, count, _ in self.layers), sum(size for _, _, size in self.layers)
        found = [f"{operations:,} operations a row, {in_bytes(weights)} of weights"]
        if self.buffers is not None:
            planned, unplanned = map(in_bytes, self.buffers)
            found.append(f"activations in {planned}, which are {unplanned} where none is written over another")
        return found

    def _title(self) -> str:
        return self.title

    def _tables(self) -> Iterator[display.Grid]:
        yield display.Grid(LAYERS, [[name, f"{work:,}", f"{size:,}"] for name, work, size in self.layers])
        lines = []
        for number, allowed, taken in self.times:
            share = ["?", duration(taken), "?"]
            if allowed is not None:
                share = [duration(allowed), share[1], f"{allowed / taken:.0%}"]
            lines.append([f"{number:,}", *share])
        yield display.Grid(TIMES, lines, ())

    def _notes(self) -> list[str]:
        return [*self.folded, *self.remarks]


def summary(predictor: Predictor) -> Summary:
    """See ``Predictor.summary``."""
    widths, item = predictor.widths, 1 if predictor.dtype == "int8" else np.dtype(predictor.dtype).itemsize
    dense = [layer for layer in predictor._network.layers if hasattr(layer, "W")]
    layers = [
        (f"{layer.name} {i}-{o}", 2 * i * o, i * o * item + 4 * o * (1 + (item == 1)))
        for layer, (i, o) in zip(dense, itertools.pairwise(widths), strict=True)
    ]
    ceilings = None
    if not why_not("numba"):
        from minidl.bench import ceilings as ceilings_

        ceilings = ceilings_.measure(SECONDS)
    plans, times, buffers = predictor._program.plans, [], None
    for rows in sorted({1, predictor.max_batch}):
        taken = measured(predictor, rows)
        plan = plans.get(rows)
        cores = "one" if getattr(plan, "threads", 2) == 1 else "all"
        least = None if ceilings is None else allowed(ceilings, widths, rows, predictor.dtype, item, cores)
        times.append((rows, least, taken))
        buffers = None if plan is None else (plan.buffer_bytes, plan.unplanned_bytes)
    name = "-".join(map(str, widths))
    most = f"up to {predictor.max_batch:,} row{'s' * (predictor.max_batch > 1)} at a time"
    title = f"{name} in {predictor.dtype}, engine {predictor._engine.name}, {most}"
    return Summary(title, predictor.folded, layers, buffers, times)


def measured(predictor: Predictor, rows: int) -> float:
    """The median seconds of a call, whose rows are in the cache."""
    x, out = (np.zeros((rows, width), predictor._real) for width in predictor._shape)
    first = predictor._network.layers[0]
    if isinstance(first, Int8Layer) and first.mean.size:
        x += first.mean  # in the middle of the range
    twin = copy.copy(predictor)  # counts what is clipped of these rows, which are nobody's
    found = timing.compare({"it": lambda: twin(x, out)}, repeat=SAMPLES, budget_seconds=0.3)
    return found.timings["it"].median


def allowed(ceilings: Ceilings, widths: list[int], rows: int, dtype: str, item: int, cores: str) -> float | None:
    """The least seconds of the products: of each layer its operations at the peak, or its weights at the bandwidth of
    the smallest cache that holds all of them, whichever takes longer (Williams, Waterman and Patterson's roofline)."""
    if ceilings.peaks.get(dtype) is None:
        return None
    sizes = [i * o for i, o in itertools.pairwise(widths)]
    level = ceilings.holding(item * sum(sizes))
    peak, bandwidth = 1e9 * ceilings.peak(dtype, cores), 1e9 * ceilings.bandwidth(level, "read", cores)
    return sum(max(2 * rows * size / peak, item * size / bandwidth) for size in sizes)
