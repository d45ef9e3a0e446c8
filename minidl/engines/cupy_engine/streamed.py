"""Rows that come to the device batch by batch: one batch is copied while the network computes with the one before."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np

ROOM = 0.8  # of the device's free memory that data may take; what does not fit is streamed
Rows = np.ndarray | slice  # of the arrays: their numbers, or from where to where
Arrays = list[np.ndarray | None]


def fits(device, arrays: Arrays) -> bool:
    """Whether all of these can lie on the device at once."""
    return sum(array.nbytes for array in arrays if array is not None) <= ROOM * device.free_memory()


class Buffer:
    """Room for ``rows`` rows of arrays, in the host's pinned memory and in the device's.

    ``shapes`` are those of a row of each; None is an array that there is not.
    """

    def __init__(self, device, shapes: list[tuple[int, ...] | None], rows: int):
        self.device = device
        self.pinned = [None if shape is None else device.pinned((rows, *shape)) for shape in shapes]
        self.memory = [None if shape is None else device.empty((rows, *shape)) for shape in shapes]
        self.copied = self.used = None  # the marks behind the last copy, and behind what last computed with it

    def send(self, arrays: Arrays, rows: Rows) -> None:
        """Gather these rows, and start to copy them: once the device has used what was here before."""
        if self.copied is not None:
            self.device.synchronize(self.copied)  # the pinned memory is free again
        for array, pinned, memory in zip(arrays, self.pinned, self.memory, strict=True):
            if array is not None:
                chosen = array[rows]
                pinned[: len(chosen)] = chosen
                self.copied = self.device.copy(memory[: len(chosen)], pinned[: len(chosen)], self.used)

    def use(self, launch: Callable[[], None]) -> None:
        """Launch what computes with the rows, to begin when they have arrived."""
        self.device.wait_for(self.copied)
        launch()
        self.used = self.device.mark()


def stream(
    buffers: list[Buffer], arrays: Arrays, batches: Iterable[Rows], launch: Callable[[int, Rows], None],
    collect: Callable[[int, Rows], None] = lambda which, rows: None,
) -> None:  # fmt: skip
    """Batch after batch: ``launch`` and then ``collect``, which may wait, are told which buffer the rows are in."""
    for number, (rows, following) in enumerate(itertools.pairwise(itertools.chain(batches, [None]))):
        this, other = number % len(buffers), (number + 1) % len(buffers)
        if number == 0:
            buffers[this].send(arrays, rows)
        buffers[this].use(lambda this=this, rows=rows: launch(this, rows))
        if following is not None:
            buffers[other].send(arrays, following)
        collect(this, rows)
