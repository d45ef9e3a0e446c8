"""The device whose GPU is the processor: memory between guards, kernels thread by thread, recorded launches."""

from __future__ import annotations

import ctypes
import functools
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minidl.engines.cupy_engine.cublaslt import CublasLt, Product
from minidl.engines.cupy_engine.gpu_on_cpu import build
from minidl.engines.cupy_engine.kernels import Kernel

WORKSPACE_BYTES = 4096
ORDERS = ("forward", "backward", "shuffled")


class CpuDevice:
    """What GpuDevice is (device.py), without a GPU: slow, but it sees what goes wrong.

    ``order`` says in which order the threads of a block, and the blocks, have their turns; "shuffled" is another one
    for each launch, the same for the same ``seed``. What a kernel does wrong is a RuntimeError.
    """

    name = "none: the CPU stands in"
    multiprocessors = 3
    shared_memory = 227 * 1024
    strong_tensor_cores = False

    def __init__(self, order: str = "forward", seed: int = 0, library: Path | None = None):
        self.order, self.launches, self.recording = order, seed, None
        self.library = ctypes.CDLL(str(build.library() if library is None else library))
        self.library.cuda_on_cpu_allocate.restype = ctypes.c_void_p
        self.library.cuda_on_cpu_launch.restype = ctypes.c_char_p
        self.library.cublaslt_on_cpu_stream.restype = ctypes.c_void_p
        self.copies: list[Mark] = []  # that nobody has waited for: done as late as they may be
        self.known: dict[Kernel, tuple[int, list[int]]] = {}

    # --- memory -------------------------------------------------------------------------------------------------------

    def empty(self, shape, dtype=np.float32) -> np.ndarray:
        """Memory of the device, where every byte is 0xFF: each float is NaN."""
        count = int(np.prod(shape))
        size = max(count, 1) * np.dtype(dtype).itemsize
        address = self.library.cuda_on_cpu_allocate(ctypes.c_size_t(size))
        room = (ctypes.c_char * size).from_address(address)
        weakref.finalize(room, self.library.cuda_on_cpu_release, ctypes.c_void_p(address)).atexit = False
        return np.frombuffer(room, dtype)[:count].reshape(shape)

    def zeros(self, shape, dtype=np.float32) -> np.ndarray:
        made = self.empty(shape, dtype)
        made[...] = 0
        return made

    def upload(self, array: np.ndarray) -> np.ndarray:
        """A copy on the device."""
        made = self.empty(array.shape, array.dtype)
        made[...] = array
        return made

    def write(self, memory: np.ndarray, array: np.ndarray) -> None:
        """Copy into memory of the device."""
        memory[...] = array

    def download(self, memory: np.ndarray) -> np.ndarray:
        """A copy on the host, once all that was launched is done."""
        return memory.copy()

    def pinned(self, shape, dtype=np.float32) -> np.ndarray:
        """Memory of the host that kernels can read and write."""
        return self.empty(shape, dtype)

    def free_memory(self) -> int:
        """Bytes, as many as the machine may have."""
        return 2**40

    # --- copies while kernels run -------------------------------------------------------------------------------------

    def mark(self) -> None:
        """The place behind all that was launched until now, which here is reached at once."""

    def copy(self, memory: np.ndarray, pinned: np.ndarray, after=None) -> Mark:
        """Start to copy pinned memory to the device. Returns the mark that is reached when it is done."""
        self.copies.append(Mark(memory, pinned))
        return self.copies[-1]

    def wait_for(self, mark: Mark) -> None:
        """What is launched from here on begins when the mark is reached, and so all copies before it."""
        while mark in self.copies:
            done = self.copies.pop(0)
            done.memory[...] = done.pinned

    def address(self, memory: np.ndarray) -> int:
        return memory.ctypes.data

    # --- launches -----------------------------------------------------------------------------------------------------

    def launch(self, kernel: Kernel, blocks, *arguments) -> None:
        """Run a kernel on so many blocks, a number or (x, y, z); while a graph is recorded, only note it.

        The arguments are memory of the device, None for a null pointer, numbers (an int is an int of 32 bits) and
        structs (kernels.struct), which are handed over by value.
        """
        packed = [self.packed(argument) for argument in arguments]
        which, sizes = self.find(kernel)
        if [len(part) for part in packed] != sizes:
            raise TypeError(f"{kernel.name} takes arguments of {sizes} bytes, not {[len(part) for part in packed]}")
        grid = tuple(blocks) if isinstance(blocks, tuple) else (blocks,)
        call = kernel, which, (*grid, *(1,) * (3 - len(grid))), packed
        if self.recording is None:
            self.run(*call)
        else:
            self.recording.append(call)

    def packed(self, argument) -> bytes:
        if argument is None:
            return bytes(8)
        if isinstance(argument, np.ndarray) and argument.dtype.names:
            return argument.tobytes()
        if isinstance(argument, np.ndarray):
            return np.uint64(self.address(argument)).tobytes()
        return (np.int32(argument) if isinstance(argument, int) else argument).tobytes()

    def find(self, kernel: Kernel) -> tuple[int, list[int]]:
        if kernel not in self.known:
            which = self.library.cuda_on_cpu_find(kernel.name.encode())
            if which < 0:
                raise RuntimeError(f"the library has no kernel {kernel.name}")
            sizes = (ctypes.c_int * 64)()
            self.library.cuda_on_cpu_sizes(which, sizes)
            self.known[kernel] = which, list(sizes)[: list(sizes).index(-1)]
        return self.known[kernel]

    def run(self, kernel: Kernel, which: int, grid: tuple[int, ...], packed: list[bytes]) -> None:
        rooms = [ctypes.create_string_buffer(part, len(part)) for part in packed]
        pointers = (ctypes.c_void_p * len(rooms))(*(ctypes.addressof(room) for room in rooms))
        self.launches += 1
        failure = self.library.cuda_on_cpu_launch(
            which, (ctypes.c_uint * 3)(*grid), ctypes.c_uint(kernel.threads), ctypes.c_size_t(kernel.shared),
            int(kernel.cooperative), pointers, ORDERS.index(self.order), ctypes.c_uint(self.launches),
        )  # fmt: skip
        if failure:
            raise RuntimeError(f"{kernel.name}: {failure.decode()}")

    def room_for(self, kernel: Kernel) -> int:
        """How many blocks of a cooperative kernel can be on the device at once."""
        return self.multiprocessors

    @functools.cached_property
    def cublaslt(self) -> CublasLt:
        """What stands in for NVIDIA's products, with memory to work in."""
        return CublasLt(self.library, self.empty(WORKSPACE_BYTES, np.uint8), self.address)

    def multiply(self, product: Product) -> None:
        """Run one of these; while a graph is recorded, only note it."""
        if self.recording is None:
            self.launches += 1
            product.launch(self.library.cublaslt_on_cpu_stream())
        else:
            self.recording.append((product,))

    # --- graphs -------------------------------------------------------------------------------------------------------

    def record(self, launches) -> Graph:
        """What ``launches()`` launches, to be replayed; every argument stays as it is now."""
        self.recording = []
        try:
            launches()
            return Graph(self, self.recording)
        finally:
            self.recording = None

    def synchronize(self, mark: Mark | None = None) -> None:
        """Wait until the mark is reached. All that was launched is done anyway."""
        if mark is not None:
            self.wait_for(mark)


@dataclass(eq=False)
class Mark:
    """Where a copy will be done."""

    memory: np.ndarray
    pinned: np.ndarray


class Graph:
    """Recorded launches."""

    def __init__(self, device: CpuDevice, calls: list[tuple]):
        self.device, self.calls = device, calls

    def replay(self) -> None:
        for what, *how in self.calls:
            self.device.run(what, *how) if how else self.device.multiply(what)
