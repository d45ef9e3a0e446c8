"""What must be right before a GPU's times mean anything: its tests, a sanitizer, the accuracy of products, loss curves.

By itself (``python -m perf.gpu_checks DEVICE``) it trains and predicts with a small network in every way, which is what
NVIDIA's compute-sanitizer watches.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from minidl import contract as c
from minidl.bench.gpu_kernels import dense
from minidl.engines.cupy_engine import kernels as k
from perf import cases, gpu_cases
from perf.rivals import gpu_minidl

ROOT = Path(__file__).parent.parent
TESTS = ["tests/test_gpu_kernels.py", "tests/test_gpu_training.py", "tests/test_gpu_cublaslt.py", "tests/test_cupy.py"]
TOOLS = ("memcheck", "racecheck", "synccheck")
SECONDS, TOOL_SECONDS = 120, 40  # that the tests, and that each tool may take
SHAPES = ((512, 784, 256), (64, 4096, 64))  # rows, inputs, units
SMALL_SHAPES = ((40, 100, 36),)
UNIT = 2.0**-24  # the rounding unit of float32


def tests() -> dict:
    """The GPU's tests: pytest's last line, and whether they passed."""
    return run([sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", *TESTS], SECONDS)


def sanitizer(device: str) -> dict[str, dict]:
    """What each of compute-sanitizer's tools says of a small network; why nothing, where it cannot be asked."""
    program = shutil.which("compute-sanitizer")
    if device == "cpu" or program is None:
        why = "it watches a GPU" if device == "cpu" else "compute-sanitizer is not installed; CUDA's toolkit brings it"
        return {"compute-sanitizer": {"passed": None, "says": f"not run: {why}"}}
    watched = [sys.executable, "-m", "perf.gpu_checks", device]
    return {tool: run([program, "--tool", tool, "--error-exitcode", "9", *watched], TOOL_SECONDS) for tool in TOOLS}


def run(command: list[str], seconds: float) -> dict:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"passed": None, "says": f"stopped after {seconds} s"}
    lines = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
    summary = [line for line in lines if re.search(r"SUMMARY|\d (passed|failed|error|skipped)", line)]
    return {"passed": done.returncode == 0, "says": (summary or lines)[-1].strip("= ")}


# --- accuracy ---------------------------------------------------------------------------------------------------------


def accuracy(device: str) -> dict[str, dict]:
    """max |C^ - C| / (u |A||B|) of each way to multiply against float64; and of the library's float32."""
    on, rng, found = gpu_minidl.device_of(device), np.random.default_rng(0), {}
    for n, i, o in SMALL_SHAPES if device == "cpu" else SHAPES:
        x, W = (rng.standard_normal(shape).astype(np.float32) for shape in ((n, i), (i, o)))
        wanted, yardstick = np.float64(x) @ np.float64(W), np.abs(np.float64(x)) @ np.abs(np.float64(W))
        b = np.zeros(o, np.float32)
        made = {name: dense(on, x, W, b, precision) for precision, name in enumerate(k.PRECISION_NAMES)}
        made["the library's float32"] = library_product(device, x, W)
        found[f"{n} x {i} x {o}"] = {
            name: float(np.max(np.abs(y - wanted) / yardstick) / UNIT) for name, y in made.items()
        }
    return found


def library_product(device: str, x: np.ndarray, W: np.ndarray) -> np.ndarray:
    """cuBLAS's, or where the CPU stands in that of NumPy's BLAS."""
    if device == "cpu":
        return x @ W
    import cupy

    return cupy.asnumpy(cupy.asarray(x) @ cupy.asarray(W))


# --- loss curves ------------------------------------------------------------------------------------------------------


def loss_curves(device: str) -> dict[str, float]:
    """How far an epoch's loss is from the NumPy engine's at most, relative to it, for every way and precision."""
    from minidl.engines.numpy_engine import train

    found, small = {}, device == "cpu"
    for precision in ("highest", "high", "medium"):
        case = gpu_cases.GpuCase(
            12 if small else 784, (16, 8) if small else (256, 128), "relu", 64 if small else 4_096,
            batch_size=16 if small else 128, epochs=3, precision=precision,
        )  # fmt: skip
        weights, (X, y) = cases.weights(case), cases.data(case)
        program = gpu_minidl.program_of(case, weights)
        sums = train.Trainer(program, X, y, None, case.batch_size).run(gpu_cases.orders(case), 0, case.rows)
        wanted = sums[:, c.LOSS] / case.rows
        for way in gpu_minidl.WAYS["trainer"]:
            try:
                losses = gpu_minidl.trainer(case, weights, X, y, device, way)()
            except RuntimeError as error:
                print(f"  loss curve, {way}: left out, {error}", file=sys.stderr)
                continue
            found[f"{way}, {precision}"] = float(np.max(np.abs(np.array(losses) / wanted - 1)))
    return found


def main(device: str) -> None:
    case = gpu_cases.GpuCase(37, (40, 16), "relu", 70, batch_size=35, epochs=2)
    for precision in ("highest", "high", "medium"):
        case = dataclasses.replace(case, precision=precision)
        given = case, cases.weights(case), *cases.data(case)
        for way in ("recorded", "in one launch"):
            gpu_minidl.trainer(*given, device, way)()
    for rows in (1, 70):
        case = dataclasses.replace(case, rows=rows)
        gpu_minidl.predictor(case, cases.weights(case), cases.data(case)[0], device, "recorded")()


if __name__ == "__main__":
    main(sys.argv[1])
