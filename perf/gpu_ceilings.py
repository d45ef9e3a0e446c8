"""The most that a GPU can do: bytes copied within its memory and from the host's, and matrix products by cuBLAS.

Run by itself for one precision (``python -m perf.gpu_ceilings DEVICE``), since CuPy asks only once whether it may use
TF32: the environment's CUPY_TF32.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
REPEAT = 20
BYTES, EDGE = 2**30, 8192
SMALL_BYTES, SMALL_EDGE = 2**20, 64  # where the CPU stands in


def measure(device: str) -> dict[str, float]:
    """Bytes a second of copies (read and written bytes both count), operations a second of products; the best of many.

    RuntimeError where they cannot be measured.
    """
    found = {}
    for tf32 in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-m", "perf.gpu_ceilings", device], cwd=ROOT, env=os.environ | {"CUPY_TF32": tf32},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"the ceilings could not be measured: {done.stderr.strip().splitlines()[-1:]}")
        here = json.loads(done.stdout)
        found["tf32" if tf32 == "1" else "float32"] = here.pop("product")
        found = here | found
    return found


def best(call, synchronize) -> float:
    """Seconds."""
    times = []
    for _ in range(REPEAT):
        start = time.perf_counter()
        call()
        synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def main(device: str) -> None:
    if device == "gpu":
        import cupy as xp

        size, edge, synchronize = BYTES, EDGE, xp.cuda.get_current_stream().synchronize
        room = xp.cuda.alloc_pinned_memory(size)
        pinned = np.frombuffer(room, np.float32, size // 4)
        upload = xp.empty(size // 4, xp.float32).set
    else:
        xp, size, edge = np, SMALL_BYTES, SMALL_EDGE
        pinned, other = np.ones(size // 4, np.float32), np.ones(size // 4, np.float32)

        def upload(array):
            np.copyto(other, array)

        def synchronize():
            pass

    a, b = (xp.ones(size // 4, xp.float32) for _ in range(2))
    copy = 2 * size / best(lambda: xp.copyto(b, a), synchronize)
    found = {"copy": copy, "upload": size / best(lambda: upload(pinned), synchronize)}
    x, y, z = (xp.ones((edge, edge), xp.float32) for _ in range(3))
    found["product"] = 2 * edge**3 / best(lambda: xp.matmul(x, y, out=z), synchronize)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
