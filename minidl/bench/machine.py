"""The facts of the machine that a measurement was made on."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import subprocess
import sys
from importlib import metadata

import numpy as np

PACKAGES = ("minidl", "numpy", "numba", "llvmlite", "sympy", "pandas", "safetensors")
# What decides how fast matrix products can be: vectors of 16, 32 or 64 bytes, fused multiply-add, int8 products.
FEATURES = ("sse4.2", "avx", "avx2", "fma", "avx512f", "avx512vnni", "avx512bf16", "neon", "sve", "dotprod")


def facts() -> dict[str, object]:
    """Processor, cores, load, threads, operating system, versions and the date; None for what cannot be known."""
    return {
        "processor": processor(),
        "cores": cores(),
        "load": load(),
        "threads": {"numba": numba_threads(), "blas": blas_threads()},
        "blas": blas(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def processor() -> str:
    """The processor's name, from where the operating system keeps it."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        named = dict(line.split(":", 1) for line in lines if ":" in line)
        for key in ("model name", "Model", "Hardware"):  # the last two on ARM
            for found, value in named.items():
                if found.strip() == key:
                    return value.strip()
    if sys.platform == "darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    return platform.processor() or platform.machine()


def cores() -> int | None:
    """The logical cores that this process may use, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def load() -> float | None:
    """How many processes have been running or waiting to, on average of the last minute; None on Windows."""
    with contextlib.suppress(AttributeError, OSError):
        return round(os.getloadavg()[0], 2)
    return None


def numba_threads() -> int | None:
    """How many threads Numba may use, where it is loaded anyway."""
    return sys.modules["numba"].config.NUMBA_NUM_THREADS if "numba" in sys.modules else None


def blas_threads() -> int | None:
    """The threads of NumPy's matrix products; None for a library that threadpoolctl does not know."""
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    own = [pool for pool in pools if "numpy" in pool["filepath"]]  # SciPy brings a library of its own
    return next((pool["num_threads"] for pool in own + pools), None)


def blas() -> str | None:
    """Name and version of the library that NumPy multiplies matrices with."""
    found = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return f"{found['name']} {found.get('version', '')}".strip() if found.get("name") else None


def version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def features() -> list[str]:
    """Those of FEATURES that the processor has, as LLVM names them; empty where llvmlite is missing."""
    try:
        from llvmlite import binding
    except ImportError:
        return []
    with contextlib.suppress(RuntimeError):  # LLVM does not know every processor
        found = binding.get_host_cpu_features()
        return [name for name in FEATURES if found.get(name)]
    return []


def compile_cache() -> str | None:
    """The folder that keeps the Numba engine's compiled code; None where the engine cannot run."""
    from minidl.engines import get_engine, why_not

    return None if why_not("numba") else str(get_engine("numba").sigmoid._cache.cache_path)


def gpu() -> str | None:
    """The GPUs that CuPy finds, with their memory; None where there are none."""
    from minidl.engines import why_not

    if why_not("cupy"):
        return None
    import cupy

    found = []
    for number in range(cupy.cuda.runtime.getDeviceCount()):
        properties = cupy.cuda.runtime.getDeviceProperties(number)
        found.append(f"{properties['name'].decode()}, {properties['totalGlobalMem'] / 2**30:.0f} GiB")
    return "; ".join(found)
