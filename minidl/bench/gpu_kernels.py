"""The GPU's kernels by themselves, for lessons: on a GPU or on the CPU thread by thread, whole or without a barrier."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.engines.cupy_engine import kernels
from minidl.engines.cupy_engine.captured import CapturedTrainer
from minidl.engines.cupy_engine.gpu_on_cpu import build

if TYPE_CHECKING:
    from minidl.model import Sequential

BARRIER = "__syncthreads();"


def place(device: Any, rows: int) -> np.ndarray:
    """In the device's memory: a run that stands at a batch of so many rows."""
    struct = kernels.struct("Place", epochs=1, rows=rows, batch_size=rows)
    return device.upload(struct.view(np.int64))


def activation(device: Any, which: int, z: np.ndarray, blocks: int = 2) -> np.ndarray:
    """The activation of this code (contract.py) of z (n, o), float32."""
    y = device.empty(z.shape)
    device.launch(kernels.ACTIVATION, blocks, device.upload(z), y, z.shape[1], which, place(device, len(z)))
    return device.download(y)


def dense(
    device: Any, x: np.ndarray, W: np.ndarray, b: np.ndarray, precision: int = kernels.FLOAT32,
    tile: int = kernels.SMALL,
) -> np.ndarray:  # fmt: skip
    """x W + b for x (n, i), W (i, o) and b (o,), float32, by a block for each tile of the result."""
    (n, i), o = x.shape, len(b)
    y, grid = device.empty((n, o)), (-(-o // tile), -(-n // tile))
    given = [device.upload(array) for array in (x, W, b)]
    device.launch(
        kernels.forward(precision, tile), grid, given[0], None, *given[1:], y, None, i, o, 0,
        kernels.struct("Dropout", layer=-1), place(device, n),
    )  # fmt: skip
    return device.download(y)


def without_barrier(before: str) -> Path:
    """The library of all kernels without the barrier that follows these words of the source.

    ValueError where the words are not there once, or no barrier follows them at once.
    """
    text = kernels.source()
    start = text.find(before) + len(before)
    if text.count(before) != 1 or not text[start:].lstrip().startswith(BARRIER):
        raise ValueError(f"the kernels' source does not have one {BARRIER} behind {before!r}")
    return build.library(source=text[:start] + text[start:].replace(BARRIER, "", 1))


def trainer(model: Sequential, X: np.ndarray, y: np.ndarray, batch_size: int, way: str, device: Any = None) -> Any:
    """A trainer (minidl.engines.Engine) of a copy of a compiled model, which is left as it is.

    way: "numpy", the reference; "eager", the readable operations in CuPy; "captured", recorded steps of the kernels on
    this device (a GpuDevice or a CpuDevice); "one launch", the persistent kernel. A captured one has the launches of a
    step in ``one.calls``, on a CpuDevice, once it has run.
    """
    program = copy.deepcopy(model)._program
    program.optimizer_numbers = model.optimizer.numbers()
    if way in ("captured", "one launch"):
        return CapturedTrainer(program, X, y, None, batch_size, device=device, in_one_launch=way == "one launch")
    engine = {"numpy": "numpy", "eager": "cupy"}[way]
    return importlib.import_module(f"minidl.engines.{engine}_engine.train").Trainer(program, X, y, None, batch_size)
