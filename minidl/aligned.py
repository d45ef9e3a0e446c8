"""Arrays that begin at a cache line: a vector that lies across two lines takes twice as long to load, and to store."""

from __future__ import annotations

import itertools
import math

import numpy as np

LINE = 64  # bytes: of a cache line, and of the longest vector


def whole_lines(size: int, dtype: np.dtype) -> int:
    """``size`` entries and as many more as it takes to end with a cache line."""
    entries = LINE // np.dtype(dtype).itemsize
    return -(-size // entries) * entries


def zeros(shape: int | tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Like ``np.zeros``, beginning at a cache line. Only the last axis decides where further rows begin."""
    size, itemsize = shape if isinstance(shape, int) else math.prod(shape), np.dtype(dtype).itemsize
    room = np.zeros(size + LINE // itemsize, dtype)
    begin = -room.ctypes.data % LINE // itemsize
    return room[begin : begin + size].reshape(shape)


def copy(array: np.ndarray) -> np.ndarray:
    """A copy that begins at a cache line."""
    room = zeros(array.shape, array.dtype)
    room[...] = array
    return room


def split(sizes: list[int], dtype: np.dtype) -> list[np.ndarray]:
    """One piece of memory in vectors of these sizes, each of which begins at a cache line; zeros."""
    rooms = [whole_lines(size, dtype) for size in sizes]
    room, ends = zeros(sum(rooms), dtype), itertools.accumulate(rooms)
    return [room[end - taken : end - taken + size] for size, taken, end in zip(sizes, rooms, ends, strict=True)]
