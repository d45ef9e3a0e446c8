"""What the tests of the GPU's kernels share: the devices they run on, and where in a run a kernel stands.

Everywhere they run on the CPU's device, with the threads' turns in several orders; where there is a GPU, also on that.
"""

import ctypes
import functools
import importlib
import os
from pathlib import Path

import numpy as np

from minidl.engines import why_not
from minidl.engines.cupy_engine import kernels
from minidl.engines.cupy_engine.device import GpuDevice
from minidl.engines.cupy_engine.gpu_on_cpu import build
from minidl.engines.cupy_engine.gpu_on_cpu.device import CpuDevice

SANITIZED = os.environ.get("MINIDL_SANITIZED_KERNELS")  # the path of a library; set in the process that has it checked
GPU = ("gpu", 0)
ORDERS = [("shuffled", 2)] if SANITIZED else [("forward", 0), ("backward", 0), ("shuffled", 1), ("shuffled", 2)]
CPU_TURNS = [] if build.why_not() else ORDERS
TURNS = [*CPU_TURNS, *([] if SANITIZED or why_not("cupy") else [GPU])]
WHY_NOT = "" if TURNS else f"there is no GPU, and the kernels do not run on the CPU: {build.why_not()}"


@functools.cache
def device(turns=TURNS[-1] if TURNS else None):
    """The device on which threads have their turns in this order, by default a GPU where there is one."""
    if turns == GPU:
        return SharedMemoryGpu()
    return CpuDevice(*turns, library=Path(SANITIZED) if SANITIZED else None)


def has_cublaslt(turns=TURNS[-1] if TURNS else None):
    """Whether that device can multiply by cuBLASLt; the CPU's has what stands in for it."""
    try:
        return turns is not None and bool(device(turns).cublaslt)
    except RuntimeError:
        return False


class SharedMemoryGpu(GpuDevice):
    """A GPU with memory that the host sees as well, as NumPy's arrays, so that tests can look into it and write there.

    It waits for every launch, and memory begins with every byte 0xFF: each float is NaN.
    """

    recording = False

    def empty(self, shape, dtype=np.float32):
        size = max(int(np.prod(shape)), 1) * np.dtype(dtype).itemsize
        memory = importlib.import_module("cupy").cuda.malloc_managed(size)
        room = (ctypes.c_ubyte * size).from_address(memory.ptr)
        room.memory = memory  # lives as long as the array
        made = np.frombuffer(room, np.uint8)
        made[...] = 0xFF
        return made.view(dtype)[: int(np.prod(shape))].reshape(shape)

    def zeros(self, shape, dtype=np.float32):
        made = self.empty(shape, dtype)
        made[...] = 0
        return made

    def upload(self, array):
        made = self.empty(array.shape, array.dtype)
        made[...] = array
        return made

    pinned = empty

    def write(self, memory, array):
        memory[...] = array

    def copy(self, memory, pinned, after=None):
        self.synchronize()
        memory[...] = pinned
        return self.mark()

    def download(self, memory):
        self.synchronize()
        return memory.copy()

    def launch(self, kernel, blocks, *arguments):
        super().launch(kernel, blocks, *arguments)
        if not self.recording:
            self.synchronize()

    def multiply(self, product):
        super().multiply(product)
        if not self.recording:
            self.synchronize()

    def record(self, launches):
        self.recording = True
        try:
            return WaitingGraph(self, super().record(launches))
        finally:
            self.recording = False


class WaitingGraph:
    """Recorded launches that are waited for."""

    def __init__(self, device, graph):
        self.device, self.graph = device, graph

    def replay(self):
        self.graph.replay()
        self.device.synchronize()


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
