"""Which version runs a program: the engine's own kernels (captured.py), or the readable one (train.py, infer.py)."""

from __future__ import annotations

import functools
import os
import threading

import numpy as np

from minidl.engines.cupy_engine import captured, infer, kernels, train
from minidl.engines.cupy_engine.device import GpuDevice, xp

OLDEST = 80  # compute capability: the kernels copy and multiply by instructions that came with the A100
CHUNK = 16_384  # rows on the GPU at a time, so that a prediction's memory there does not grow with the data
# The kernels are tested without a GPU, but no figure has been measured on one yet; until then they are asked for.
SWITCH = "MINIDL_GPU_KERNELS"


@functools.cache
def the_gpu() -> GpuDevice:
    return GpuDevice()


def device_for(program) -> GpuDevice | None:
    """The device whose kernels can run this program; None where the readable version does it."""
    asked_for = os.environ.get(SWITCH) == "1"
    known = program.parameters.dtype == np.float32 and len(program.metrics) <= kernels.MOST_METRICS
    found = the_gpu() if asked_for and known and hasattr(xp, "RawModule") else None
    return found if found is not None and found.capability >= OLDEST else None


def precision_of(program, device) -> int:
    """How the products are computed."""
    if program.matmul_precision != "highest":
        return kernels.TF32 if program.matmul_precision == "high" else kernels.BFLOAT16
    return kernels.THREE_TF32 if device.strong_tensor_cores else kernels.FLOAT32


def trainer(program, X, y, sample_weight=None, batch_size=32):
    """A trainer of the program, as minidl.engines.Engine says."""
    device = device_for(program)
    if device is None:
        return train.Trainer(program, X, y, sample_weight, batch_size)
    precision = precision_of(program, device)
    return captured.CapturedTrainer(program, X, y, sample_weight, batch_size, device=device, precision=precision)


def predict(program, X, out=None):
    """The model's output for each row of X: (n, i) -> (n, o), both NumPy arrays."""
    device = device_for(program)
    if device is None:
        return infer.predict(program, X, out)
    out = np.empty((len(X), program.outputs), X.dtype) if out is None else out
    with _laid_out:
        forward_of(program, device, len(X)).predict(X, out)
    return out


def evaluate(program, X, y, sample_weight=None):
    """The sums (contract.py) of loss and metrics over all rows; everything given and returned is on the host."""
    device = device_for(program)
    if device is None:
        return infer.evaluate(program, X, y, sample_weight)
    with _laid_out:
        return forward_of(program, device, len(X)).evaluate(X, y, sample_weight)


_laid_out = threading.Lock()  # a layout is used by one thread at a time


def forward_of(program, device, rows: int) -> captured.CapturedForward:
    """The program laid out for so many rows or more, with the parameters that it has now."""
    room = min(CHUNK, 1 << max(rows - 1, 0).bit_length())  # few layouts serve all numbers of rows
    key = "captured", room, program.loss, program.loss_at, tuple(program.metrics), program.matmul_precision
    if key not in program.plans:
        precision = precision_of(program, device)
        program.plans[key] = captured.CapturedForward(program, room, device=device, precision=precision)
    program.plans[key].take()
    return program.plans[key]
