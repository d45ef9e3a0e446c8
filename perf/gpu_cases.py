"""What is measured on a GPU, and what is to be reached: ratios to the rivals, times, shares of what memory allows.

The network is 784-256-128-1. ``SMALL`` holds cases for the CPU's stand-in, which show that everything runs.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from perf import cases


@dataclass(frozen=True)
class GpuCase(cases.Case):
    """``precision`` is that of matrix products, in PyTorch's words."""

    precision: str = "highest"

    @property
    def parameters(self) -> int:
        return sum((i + 1) * o for i, o in itertools.pairwise(self.widths))

    @property
    def steps(self) -> int:
        """Of a call that trains."""
        return self.rows // self.batch_size * self.epochs

    def least_bytes(self, trains: bool) -> float:
        """What must go between the GPU and its memory in a step, or in a call: the rows, read once in each direction;
        and in training every hidden layer's outputs, written and read once forward, and read once on the way back."""
        rows = self.batch_size if trains else self.rows
        return 4.0 * rows * ((2 if trains else 1) * self.inputs + (3 if trains else 0) * sum(self.hidden))


@dataclass(frozen=True)
class Goal:
    """How many times faster than the best rival, or than the one named ``against``, and than eager PyTorch; the largest
    time; the smallest share of what the memory allows. None where nothing is asked."""

    faster: float
    against: str | None = None
    eager: float | None = None
    seconds: float | None = None
    share: float | None = None


def mnist(rows: int, precision: str, batch_size: int = 32, epochs: int = 1) -> GpuCase:
    return GpuCase(784, (256, 128), "relu", rows, batch_size=batch_size, epochs=epochs, precision=precision)


TRAINING = {
    "train 128": (mnist(12_800, "highest", 128, 10), Goal(2, eager=10, seconds=20e-6)),
    "train 4,096": (mnist(65_536, "high", 4_096, 5), Goal(1.4, eager=4)),
    "train 65,536": (mnist(131_072, "high", 65_536, 4), Goal(1.15, share=0.6)),
    "train 65,536, highest": (mnist(131_072, "highest", 65_536, 4), Goal(1.6)),
}
INFERENCE = {
    "1 row": (mnist(1, "highest"), Goal(1.7, "PyTorch, graph", seconds=10e-6)),
    "262,144 rows": (mnist(262_144, "high"), Goal(1.5, "PyTorch, compiled", share=0.55)),
}
SMALL = (
    {
        "train 16": (GpuCase(12, (16, 8), "relu", 64, batch_size=16, epochs=2), Goal(2, eager=10, seconds=20e-6)),
        "train 32": (GpuCase(12, (16, 8), "relu", 64, batch_size=32, epochs=2, precision="high"), Goal(1.4, share=0.6)),
    },
    {
        "1 row": (GpuCase(12, (16, 8), "relu", 1), Goal(1.7, "PyTorch, graph", seconds=10e-6)),
        "64 rows": (GpuCase(12, (16, 8), "relu", 64, precision="high"), Goal(1.5, "PyTorch, compiled", share=0.55)),
    },
)


def orders(case: GpuCase) -> np.ndarray:
    """The order of the rows in each epoch of a call, the same in all calls, so that none has to be drawn in one."""
    return np.stack(list(itertools.islice(cases.orders(case), case.epochs)))


def judged(case: GpuCase, goal: Goal, trains: bool, entries: dict[str, dict], bandwidth: float) -> dict[str, dict]:
    """Each thing that the goal asks: what is wanted, what was found (None where not measured), whether it is met.

    ``entries`` hold seconds of a step or call, ``bandwidth`` is in bytes a second.
    """
    ours = min(entry["seconds"] for name, entry in entries.items() if name.startswith("minidl"))
    times = {name: entry["seconds"] / ours for name, entry in entries.items() if not name.startswith("minidl")}
    found = {
        f"times as fast as {goal.against or 'the best rival'}": (
            goal.faster, times.get(goal.against) if goal.against else min(times.values(), default=None),
        ),
        "times as fast as PyTorch, eager": (goal.eager, times.get("PyTorch, eager")),
        "seconds at most": (goal.seconds, ours),
        "of what the memory allows": (goal.share, case.least_bytes(trains) / bandwidth / ours),
    }  # fmt: skip
    return {
        what: {
            "wanted": wanted, "found": value,
            "met": None if value is None else value <= wanted if what == "seconds at most" else value >= wanted,
        }
        for what, (wanted, value) in found.items() if wanted is not None
    }  # fmt: skip
