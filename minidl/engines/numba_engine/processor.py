"""What the processor can do: how wide its vectors are, and how large a tile of sums its registers hold."""

import platform

from numba import config
from numba.core import codegen


def features() -> set[str]:
    """What Numba compiles for: NUMBA_CPU_FEATURES where it is set, else the host's own, by LLVM's names.

    Empty for a processor that LLVM does not know; what every processor of its kind has is then used.
    """
    try:
        listed = config.CPU_FEATURES if config.CPU_FEATURES is not None else codegen.get_host_cpu_features()
    except RuntimeError:
        return set()
    return {name[1:] for name in listed.split(",") if name.startswith("+")}


def registers(found: set[str], machine: str) -> tuple[int, int, bool]:
    """(bytes in a vector register, rows of a tile, whether a multiplication and an addition can be one operation).

    A tile of ``rows`` by two vectors, two vectors of B and one of A fill the registers that there are.
    """
    if "avx512f" in found:
        return 64, 12, True  # 32 registers
    if {"avx2", "fma"} <= found:
        return 32, 6, True  # 16 registers
    if machine in ("aarch64", "arm64"):
        return 16, 12, True  # 32 registers
    return 16, 4, False  # any other has at least eight or sixteen that can be used so


VECTOR_BYTES, ROWS, FUSED = registers(features(), platform.machine())
