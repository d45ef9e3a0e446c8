"""minidl on a GPU: its readable version, steps recorded as graphs, with its own products or cuBLASLt's, and steps in
one launch; everything is resident.

Only these files of rivals know a ``device``, "gpu", or "cpu" for the CPU's stand-in, and a ``way`` among ``WAYS``.
"""

from __future__ import annotations

import numpy as np

from minidl import contract as c
from perf import gpu_cases, rivals
from perf.rivals.minidl_ import model

LABEL = "minidl"
OPTIONS = {  # of captured.py; as chosen is by what was measured on this GPU, which is what a model gets
    "recorded": {"in_one_launch": False, "with_cublaslt": False},
    "recorded, cuBLASLt": {"in_one_launch": False, "with_cublaslt": True},
    "in one launch": {"in_one_launch": True, "with_cublaslt": False},
    "as chosen": {"in_one_launch": None, "with_cublaslt": None},
}
WAYS = {
    "trainer": (*OPTIONS, "readable"),
    "predictor": (*(way for way in OPTIONS if way != "in one launch"), "readable"),
}


def why_not(device: str) -> str:
    from minidl.engines import why_not
    from minidl.engines.cupy_engine.gpu_on_cpu import build

    return why_not("cupy") if device == "gpu" else build.why_not()


def device_of(name: str):
    from minidl.engines.cupy_engine.device import GpuDevice
    from minidl.engines.cupy_engine.gpu_on_cpu.device import CpuDevice

    return GpuDevice() if name == "gpu" else CpuDevice()


def no_cublaslt(on) -> str:
    """Why this device cannot multiply by cuBLASLt; the empty string where it can."""
    try:
        on.cublaslt  # noqa: B018
    except RuntimeError as error:
        return str(error)
    return ""


def program_of(case, weights):
    """What the model is to an engine, ready to be trained."""
    built = model(case, weights, engine="numpy")
    built._program.optimizer_numbers = built.optimizer.numbers()
    built._program.matmul_precision = case.precision
    return built._program


def readable_needs_cupy(device: str) -> None:
    if device == "cpu":
        raise RuntimeError("the readable version computes on CuPy's arrays, which need a GPU")


def trainer(case, weights, X, y, device, way):
    from minidl.engines.cupy_engine import captured, chosen, train

    program, orders = program_of(case, weights), gpu_cases.orders(case)
    if way == "readable":
        readable_needs_cupy(device)
        ready = train.Trainer(program, X, y, None, case.batch_size)
    else:
        on = device_of(device)
        ready = captured.CapturedTrainer(
            program, X, y, None, case.batch_size, device=on, precision=chosen.precision_of(program, on),
            **OPTIONS[way],
        )  # fmt: skip
    return lambda: (ready.run(orders, 0, case.rows)[:, c.LOSS] / case.rows).tolist()


def predictor(case, weights, X, device, way):
    from minidl.engines.cupy_engine import captured, chosen, infer
    from minidl.engines.cupy_engine import device as device_

    program = program_of(case, weights)
    if way == "readable":
        readable_needs_cupy(device)
        if case.rows == 1:
            return lambda: float(infer.predict(program, X)[0, 0])
        twin, resident = infer.on_device(program), device_.to_device(X)

        def predict_readably():
            y = infer.forward(twin, resident)[-1]
            device_.synchronize()
            return rivals.Resident(lambda: device_.to_host(y))

        return predict_readably

    on = device_of(device)
    forward = captured.CapturedForward(
        program, case.rows, device=on, precision=chosen.precision_of(program, on),
        with_cublaslt=OPTIONS[way]["with_cublaslt"],
    )  # fmt: skip
    out = np.empty((case.rows, 1), np.float32)
    forward.predict(X, out)  # brings the rows there, and records
    if case.rows == 1:

        def predict_row():
            forward.predict(X, out)
            return float(out[0, 0])

        return predict_row

    def predict():
        forward.graphs["predict", 0].replay()
        on.synchronize()
        return rivals.Resident(lambda: on.download(forward.made[0][: out.size]).reshape(out.shape))

    return predict
