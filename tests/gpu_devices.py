"""What the tests of the GPU's kernels share: the devices they run on, and where in a run a kernel stands."""

import os
from pathlib import Path

import numpy as np

from minidl.engines.cupy_engine import kernels
from minidl.engines.cupy_engine.gpu_on_cpu import build
from minidl.engines.cupy_engine.gpu_on_cpu.device import CpuDevice

WHY_NOT = build.why_not()
SANITIZED = os.environ.get("MINIDL_SANITIZED_KERNELS")  # the path of a library; set in the process that has it checked
TURNS = [("shuffled", 2)] if SANITIZED else [("forward", 0), ("backward", 0), ("shuffled", 1), ("shuffled", 2)]
_devices: dict[tuple, CpuDevice] = {}


def device(turns=("shuffled", 1)):
    """The device with the threads' turns in this order, compiled once."""
    if turns not in _devices:
        _devices[turns] = CpuDevice(*turns, library=Path(SANITIZED) if SANITIZED else None)
    return _devices[turns]


def place(device, rows, batch_size=None, step=0, epoch=0, epochs=1, first=0, rate=0.0):
    """In device memory: the run stands at the batch that begins with the row ``first`` of so many."""
    return device.upload(
        kernels.struct(
            "Place", epochs=epochs, rows=rows, batch_size=batch_size or rows, step=step, epoch=epoch, first=first,
            rate=rate,
        ).view(np.int64)
    )  # fmt: skip


NO_DROPOUT = kernels.struct("Dropout", layer=-1)


def dropout_of(rate, seed, layer):
    """The struct, with the same numbers as in the other engines."""
    return kernels.struct("Dropout", seed=seed, layer=layer, threshold=int(np.ceil(rate * 2**24)), scale=1 / (1 - rate))


def whole(size, tile):
    return -(-size // tile)
