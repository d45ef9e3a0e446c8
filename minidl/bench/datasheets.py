"""What GPUs can do by their datasheets, and what a network should take there: a model, of which nothing is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Card:
    """A GPU by its maker's datasheet: peak of float32 in GFLOP/s, bandwidth of its memory and of its bus in GB/s.

    The bus is counted in one direction, where datasheets often give the sum of both.
    """

    name: str
    gflops: float
    memory: float
    bus: float
    source: str


CARDS = (
    Card("NVIDIA T4", 8_100, 320, 16, "NVIDIA T4 datasheet, 2019"),
    Card("NVIDIA H100 SXM", 66_900, 3_350, 64, "NVIDIA H100 datasheet and white paper, 2022"),
)


@dataclass(frozen=True)
class Overheads:
    """Seconds that are on no datasheet: of a launch, of a barrier of all blocks, of the way to the GPU and back.

    The defaults are assumptions. Gray, "Getting started with CUDA graphs", NVIDIA, 2019, found a microsecond for a
    launch from C in a row of launches, half of one in a graph, and seven where each is waited for, on a V100. From
    Python a launch takes several.
    """

    launch: float = 5e-6
    in_graph: float = 1e-6
    barrier: float = 1e-6
    round_trip: float = 2e-5


def forward_seconds(card: Card, widths: Sequence[int], rows: int) -> float:
    """The least of a network forward, data and weights on the GPU: for each layer its operations at the peak, or its
    numbers once through the memory, whichever takes longer (the roofline)."""
    return sum(
        max(2 * rows * i * o / card.gflops, 4 * (rows * (i + o) + i * o + o) / card.memory) / 1e9
        for i, o in pairwise(widths)
    )


def training_seconds(card: Card, widths: Sequence[int], rows: int) -> float:
    """The same of a training step by Adam: three products a layer, but two for the first, and the optimizer's seven
    passes over the parameters."""
    sizes = [i * o for i, o in pairwise(widths)]
    operations = 6 * rows * sum(sizes) - 2 * rows * sizes[0]
    moved = 4 * (3 * rows * sum(widths) + 3 * sum(sizes) + 7 * sum(sizes))
    return max(operations / card.gflops, moved / card.memory) / 1e9


def bus_seconds(card: Card, numbers: int) -> float:
    """Of so many float32 numbers over the bus."""
    return 4 * numbers / card.bus / 1e9
