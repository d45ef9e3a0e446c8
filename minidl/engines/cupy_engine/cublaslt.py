"""NVIDIA's matrix products, cuBLASLt, by ctypes: each is planned once, and then launched on a stream.

CuPy refuses its own products while a stream is captured. Here memory, workspace and stream are arguments, and whatever
takes time or memory is done when a product is planned; so a recorded graph can hold the launch.

The numbers are those of cublasLt.h, cublas_api.h and library_types.h of CUDA 13.2 (wheel nvidia-cublas 13.2.1.1).
"""

from __future__ import annotations

import ctypes
import importlib
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.engines.cupy_engine import kernels as k

COMPUTE = {  # cublasComputeType_t: in float32; or with what it is given rounded to TF32, or to bfloat16
    k.FLOAT32: 68, k.THREE_TF32: 68, k.TF32: 77, k.BFLOAT16: 75,
}  # fmt: skip
FLOAT = 0  # CUDA_R_32F of cudaDataType
TRANSPOSED_A, TRANSPOSED_B, EPILOGUE, BIAS, MASK, MASK_WIDTH = 3, 4, 7, 8, 11, 12  # cublasLtMatmulDescAttributes_t
PLAIN, ADD_BIAS, ADD_BIAS_RELU, SUM_A = 1, 4, 6, 256  # cublasLtEpilogue_t; the last one is BGRADA there,
ADD_BIAS_RELU_MASK, TIMES_MASK = 134, 136  # and these RELU_AUX_BIAS and DRELU
WORKSPACE, ALIGNMENTS = 1, (5, 6, 7, 8)  # cublasLtMatmulPreferenceAttributes_t; of A, B, C and D
MOST_ALIGNMENT = 256  # bytes; the most that an algorithm asks for
NOT_SUPPORTED = 15  # CUBLAS_STATUS_NOT_SUPPORTED
WORKSPACE_BYTES = 2**25  # what cuBLAS's documentation recommends for an H100 (cublasSetWorkspace)

POINTER, BYTES = ctypes.c_void_p, ctypes.c_size_t
ATTRIBUTE = POINTER, ctypes.c_int, POINTER, BYTES
FUNCTIONS = {
    "cublasLtCreate": (POINTER,),
    "cublasLtMatmulDescCreate": (POINTER, ctypes.c_int, ctypes.c_int),
    "cublasLtMatmulDescSetAttribute": ATTRIBUTE,
    "cublasLtMatmulDescDestroy": (POINTER,),
    "cublasLtMatrixLayoutCreate": (POINTER, ctypes.c_int, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int64),
    "cublasLtMatrixLayoutDestroy": (POINTER,),
    "cublasLtMatmulPreferenceCreate": (POINTER,),
    "cublasLtMatmulPreferenceSetAttribute": ATTRIBUTE,
    "cublasLtMatmulPreferenceDestroy": (POINTER,),
    "cublasLtMatmulAlgoGetHeuristic": (*(POINTER,) * 7, ctypes.c_int, POINTER, POINTER),
    "cublasLtMatmul": (*(POINTER,) * 14, BYTES, POINTER),
}


class Found(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t: an algorithm, and what is known of it."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8), ("workspace", BYTES), ("state", ctypes.c_int), ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )  # fmt: skip


def load() -> ctypes.CDLL:
    """The library, from where CuPy has NVIDIA's others. RuntimeError where it is missing."""
    try:
        pathfinder = importlib.import_module("cuda.pathfinder")
        return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublasLt").abs_path)
    except (ImportError, OSError, RuntimeError):
        raise RuntimeError(
            "cuBLASLt is not here, so the engine's own kernels compute all products; "
            'pip install "minidl[cuda13]" (or "minidl[cuda12]") brings it'
        ) from None


class CublasLt:
    """The library at work for one device, with the ``workspace`` that all products share: one stream runs them in turn.

    RuntimeError where the library does not have a function, or refuses to begin.
    """

    def __init__(self, library: ctypes.CDLL, workspace, address: Callable[[Any], int]):
        self.library, self.workspace, self.address = library, workspace, address
        for name, arguments in FUNCTIONS.items():
            if not hasattr(library, name):
                raise RuntimeError(
                    f"this cuBLASLt has no {name}, so the engine's own kernels compute all products; "
                    "one of CUDA 12 or 13 has it"
                )
            getattr(library, name).argtypes = arguments
        library.cublasLtGetStatusString.restype = ctypes.c_char_p
        self.handle = self.made("cublasLtCreate")

    def call(self, name: str, *arguments, also: tuple[int, ...] = ()) -> int:
        """The status; RuntimeError with what the library says of it, where that is neither success nor among these."""
        status = getattr(self.library, name)(*arguments)
        if status and status not in also:
            said = self.library.cublasLtGetStatusString(status).decode()
            raise RuntimeError(f"{name} of cuBLASLt failed with status {status}: {said}")
        return status

    def made(self, function: str, *arguments) -> ctypes.c_void_p:
        """What a function makes and hands back through its first argument."""
        made = ctypes.c_void_p()
        self.call(function, ctypes.byref(made), *arguments)
        return made

    def owned(self, owner: object, kind: str, *arguments) -> ctypes.c_void_p:
        """The same, to be destroyed with its owner."""
        made = self.made(f"cublasLt{kind}Create", *arguments)
        weakref.finalize(owner, getattr(self.library, f"cublasLt{kind}Destroy"), made).atexit = False
        return made

    def plan(self, *arguments, **options) -> Product | None:
        """A Product; None where the library knows no algorithm for it."""
        planned = Product(self, *arguments, **options)
        return None if planned.found is None else planned


def mask_width(columns: int) -> int:
    """Bits of a row of a mask: whole 128s."""
    return -(-columns // 128) * 128


class Product:
    """C = A B for A (rows, inner), B (inner, columns), row by row as everywhere in this engine, in float32.

    A and B may lie ``transposed``. All memory is the device's. Epilogues:
        PLAIN
        ADD_BIAS: C + vector (columns,)
        ADD_BIAS_RELU: the same, and then max(., 0)
        ADD_BIAS_RELU_MASK: that notes as well, in the ``mask`` (rows, mask_width bits), which numbers are positive
        TIMES_MASK: C with zeros where they were not
        SUM_A: fills the vector with the sums over the rows of B

    The library's matrices lie column by column, which turns each into its transpose: so it computes C' = B' A', and
    what it calls A is B.
    """

    name = "cublasLtMatmul"  # as profiles call it

    def __init__(
        self, library: CublasLt, precision: int, rows: int, inner: int, columns: int, a, b, c, *,
        transposed: tuple[bool, bool] = (False, False), epilogue: int = PLAIN, vector=None, mask=None,
    ):  # fmt: skip
        self.library = library
        self.memory = [library.address(matrix) for matrix in (b, a, c)]
        self.operation = library.owned(self, "MatmulDesc", COMPUTE[precision], FLOAT)
        attributes: dict[int, np.generic] = {
            TRANSPOSED_A: np.int32(transposed[1]), TRANSPOSED_B: np.int32(transposed[0]), EPILOGUE: np.uint32(epilogue),
            BIAS: np.uint64(0 if vector is None else library.address(vector)),
        }  # fmt: skip
        if mask is not None:
            attributes |= {MASK: np.uint64(library.address(mask)), MASK_WIDTH: np.int64(mask_width(columns))}
        for which, value in attributes.items():
            self.set("MatmulDesc", self.operation, which, value)
        shapes = [
            shape[::-1] if turned else shape
            for shape, turned in (((inner, columns), transposed[1]), ((rows, inner), transposed[0]))
        ]
        self.layouts = [
            library.owned(self, "MatrixLayout", FLOAT, width, height, width)
            for height, width in (*shapes, (rows, columns))
        ]
        self.found = self.find()
        self.one, self.zero = ctypes.c_float(1), ctypes.c_float(0)

    def set(self, kind: str, owner: ctypes.c_void_p, which: int, value: np.generic) -> None:
        room = np.array(value)
        self.library.call(f"cublasLt{kind}SetAttribute", owner, which, room.ctypes.data, room.nbytes)

    def find(self) -> Found | None:
        """The algorithm that the library expects to be the fastest for memory that lies as this does."""
        library, found, count = self.library, Found(), ctypes.c_int()
        preference = library.owned(self, "MatmulPreference")
        self.set("MatmulPreference", preference, WORKSPACE, np.uint64(library.workspace.nbytes))
        for which, address in zip(ALIGNMENTS, (*self.memory, self.memory[-1]), strict=True):
            self.set("MatmulPreference", preference, which, np.uint32(min(address & -address, MOST_ALIGNMENT)))
        status = library.call(
            "cublasLtMatmulAlgoGetHeuristic", library.handle, self.operation, *self.layouts, self.layouts[-1],
            preference, 1, ctypes.byref(found), ctypes.byref(count), also=(NOT_SUPPORTED,),
        )  # fmt: skip
        return found if status == 0 and count.value and found.state == 0 else None

    def launch(self, stream: int) -> None:
        """Compute it on this stream; while that is captured, only note it."""
        library, (a, b, c) = self.library, self.memory
        (of_a, of_b, of_c), workspace = self.layouts, library.workspace
        library.call(
            "cublasLtMatmul", library.handle, self.operation, ctypes.byref(self.one), a, of_a, b, of_b,
            ctypes.byref(self.zero), c, of_c, c, of_c, self.found.algorithm, library.address(workspace),
            workspace.nbytes, stream,
        )  # fmt: skip
