"""The one place that reaches for CuPy: the module ``xp``, the way of an array to the GPU and back, and the device that
the engine's own kernels run on."""

from __future__ import annotations

import functools
import importlib

import numpy as np

from minidl.engines.cupy_engine import kernels
from minidl.engines.cupy_engine.cublaslt import WORKSPACE_BYTES, CublasLt, Product, load


class ArrayModule:
    """CuPy, imported when something of it is first used, so that this engine's files can be read without it.

    Another ``module`` with NumPy's functions can be put in its place, which is how the tests check the arithmetic on
    machines without a GPU.
    """

    def __init__(self):
        self.module = None

    def __getattr__(self, name: str):
        """Called for a name that is not here yet; what is found is kept, so that it is looked up once."""
        if name.startswith("__"):
            raise AttributeError(name)  # Python's own questions to any object are no reason to import CuPy
        if self.module is None:
            self.module = importlib.import_module("cupy")
        found = getattr(self.module, name)
        setattr(self, name, found)
        return found


xp = ArrayModule()


def to_device(array):
    """A copy on the GPU of a NumPy array."""
    return xp.asarray(array)


def to_host(array):
    """A NumPy copy of an array on the GPU, once everything that is still to be written into it has been."""
    return xp.asnumpy(array)


def synchronize():
    """Wait until the GPU has done all that it was given; it is given work faster than it does it."""
    xp.cuda.get_current_stream().synchronize()


class GpuDevice:
    """A GPU for the engine's own kernels: its memory, launches on a stream of its own, and graphs of them.

    gpu_on_cpu/device.py has the same without a GPU. Memory is CuPy's arrays.
    """

    def __init__(self):
        self.stream = xp.cuda.Stream(non_blocking=True)  # a stream that waits for others cannot be captured
        self.copies = xp.cuda.Stream(non_blocking=True)
        device = xp.cuda.Device()
        self.name = xp.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
        self.capability = int(device.compute_capability)
        self.multiprocessors = device.attributes["MultiProcessorCount"]
        self.shared_memory = device.attributes["MaxSharedMemoryPerBlockOptin"]  # bytes, of a block that asks for them
        # Those of data centres: three products on their tensor cores are faster than one on their other units.
        self.strong_tensor_cores = self.capability in (80, 90, 100, 103)
        self.functions: dict[kernels.Kernel, object] = {}

    # --- memory -------------------------------------------------------------------------------------------------------

    def empty(self, shape, dtype=np.float32):
        with self.stream:
            return xp.empty(shape, dtype=dtype)

    def zeros(self, shape, dtype=np.float32):
        with self.stream:
            return xp.zeros(shape, dtype=dtype)

    def upload(self, array: np.ndarray):
        """A copy on the device."""
        with self.stream:
            return xp.asarray(array)

    def write(self, memory, array: np.ndarray) -> None:
        """Copy into memory of the device; the array may be changed as soon as this returns."""
        memory.set(np.ascontiguousarray(array, memory.dtype).reshape(memory.shape), stream=self.stream)

    def download(self, memory) -> np.ndarray:
        """A copy on the host, once all that was launched is done."""
        return xp.asnumpy(memory, stream=self.stream)

    def pinned(self, shape, dtype=np.float32) -> np.ndarray:
        """Memory of the host that kernels can read and write: at the same address, as on every 64-bit system."""
        size = int(np.prod(shape))
        room = xp.cuda.alloc_pinned_memory(size * np.dtype(dtype).itemsize)
        return np.frombuffer(room, dtype, size).reshape(shape)

    def free_memory(self) -> int:
        """Bytes; with those that CuPy holds for arrays to come."""
        return xp.cuda.Device().mem_info[0] + xp.get_default_memory_pool().free_bytes()

    # --- copies while kernels run -------------------------------------------------------------------------------------

    def mark(self):
        """The place behind all that was launched until now."""
        return self.stream.record(xp.cuda.Event(disable_timing=True))

    def copy(self, memory, pinned: np.ndarray, after=None):
        """Start to copy pinned memory to the device, beside what runs there, but not before the mark ``after`` is
        reached. Returns the mark that is reached when it is done; until then the pinned memory must stay as it is."""
        if after is not None:
            self.copies.wait_event(after)
        memory.set(pinned, stream=self.copies)
        return self.copies.record(xp.cuda.Event(disable_timing=True))

    def wait_for(self, mark) -> None:
        """What is launched from here on begins when the mark is reached."""
        self.stream.wait_event(mark)

    def address(self, memory) -> int:
        return memory.ctypes.data if isinstance(memory, np.ndarray) else memory.data.ptr

    # --- launches -----------------------------------------------------------------------------------------------------

    def launch(self, kernel: kernels.Kernel, blocks, *arguments) -> None:
        """Run a kernel on so many blocks, a number or (x, y, z); while a graph is recorded, only note it.

        The arguments are memory of the device, None for a null pointer, numbers (an int is an int of 32 bits) and
        structs (kernels.struct), which are handed over by value.
        """
        grid = blocks if isinstance(blocks, tuple) else (blocks,)
        arguments = tuple(map(self.packed, arguments))
        with self.stream:
            self.function(kernel)(grid, (kernel.threads,), arguments, shared_mem=kernel.shared)

    def packed(self, argument):
        """As CuPy takes it: what is of NumPy, it hands over by value. (Of None it makes the address 0xFFFFFFFF.)"""
        if argument is None:
            return np.uint64(0)
        if isinstance(argument, int):
            return np.int32(argument)
        if isinstance(argument, np.ndarray) and argument.dtype.names is None:
            return np.uint64(self.address(argument))
        return argument

    def function(self, kernel: kernels.Kernel):
        """Compiled when it is first asked for, together with the others of its precision, which takes some seconds.

        CuPy keeps what it has compiled for later processes.
        """
        if kernel not in self.functions:
            names = tuple(other.name for other in kernels.ALL if other.precision == kernel.precision)
            module = xp.RawModule(
                code=kernels.source(), options=("-std=c++17",), name_expressions=names,
                enable_cooperative_groups=kernel.cooperative,
            )  # fmt: skip
            function = module.get_function(kernel.name)
            if kernel.shared > 48 * 1024:  # more has to be asked for
                function.max_dynamic_shared_size_bytes = kernel.shared
            self.functions[kernel] = function
        return self.functions[kernel]

    def room_for(self, kernel: kernels.Kernel) -> int:
        """How many blocks of a cooperative kernel can be on the device at once: one on each multiprocessor."""
        return self.multiprocessors

    @functools.cached_property
    def cublaslt(self) -> CublasLt:
        """NVIDIA's products, with memory to work in. RuntimeError where there is no such library."""
        return CublasLt(load(), self.empty(WORKSPACE_BYTES, np.uint8), self.address)

    def multiply(self, product: Product) -> None:
        """Run one of these; while a graph is recorded, only note it."""
        product.launch(self.stream.ptr)

    # --- graphs -------------------------------------------------------------------------------------------------------

    def record(self, launches) -> Graph:
        """What ``launches()`` launches, to be replayed; every argument stays as it is now."""
        with self.stream:
            self.stream.begin_capture()
            try:
                launches()
            finally:
                graph = self.stream.end_capture()
        return Graph(self, graph)

    def synchronize(self, mark=None) -> None:
        """Wait until the mark is reached; without one, until all that was launched is done."""
        (self.stream if mark is None else mark).synchronize()


class Graph:
    """Recorded launches."""

    def __init__(self, device: GpuDevice, graph):
        self.device, self.graph = device, graph

    def replay(self) -> None:
        self.graph.launch(self.device.stream)
