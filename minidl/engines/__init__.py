"""Engines: the same operations in NumPy, Numba and CuPy, each loaded when it is first asked for."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.checks import did_you_mean, shown
from minidl.contract import OPERATIONS
from minidl.engines.arguments import checked

ENGINES = ("numpy", "numba", "cupy")


class Engine:
    """One engine: every operation of the contract as an attribute, and whole models by ``trainer`` and ``predict``.

    ``trainer(program, X, y, sample_weight, batch_size)`` places the data, once; its ``run(orders, start, stop)`` trains
    on the rows ``order[start:stop]`` of each epoch's order, orders (epochs, n), and returns the sums of loss and
    metrics for each; ``pull()`` brings the parameters back.
    ``predict(program, X)`` and ``evaluate(program, X, y, sample_weight)`` run the model forward.
    ``predict_int8(program, X, out)`` runs an Int8Program (minidl/inference/int8.py) on X (n, i) into out (n, o), both
    float32. It returns how many entries of X lay outside of the first layer's range: those whose step, rounded, was
    not in [0, 255], NaN among them; 0 where each row has a range of its own.
    These take and return NumPy arrays; an operation takes and returns the engine's own, for which ``to_device`` and
    ``to_host`` are the way from NumPy and back. ``synchronize()`` waits until all that was asked for is done: call it
    before reading a clock. Where the engine's arrays are NumPy's and a call returns when it is done, the three have
    nothing to do.
    """

    def __init__(self, name: str):
        package = f"minidl.engines.{name}_engine"
        self.name = name
        for operation in OPERATIONS.values():
            module = importlib.import_module(f"{package}.{operation.module}")
            function = getattr(module, operation.name)
            function.__doc__ = operation.text(name)  # said once, in the contract
            setattr(self, operation.name, checked(function, operation))
        self.trainer = importlib.import_module(f"{package}.train").Trainer
        infer = importlib.import_module(f"{package}.infer")
        self.predict, self.evaluate = infer.predict, infer.evaluate
        int8 = importlib.import_module(f"{package}.int8")
        self.predict_int8 = int8.predict_int8
        if hasattr(infer, "lay_out"):
            self.lay_out, self.lay_out_int8 = infer.lay_out, int8.lay_out_int8
        if Path(infer.__file__).with_name("device.py").exists():  # its arrays are not NumPy's
            device = importlib.import_module(f"{package}.device")
            self.to_device, self.to_host, self.synchronize = device.to_device, device.to_host, device.synchronize
        if name == "cupy":  # it has two versions of a whole model to choose from
            chosen = importlib.import_module(f"{package}.chosen")
            self.trainer, self.predict, self.evaluate = chosen.trainer, chosen.predict, chosen.evaluate

    if TYPE_CHECKING:

        def __getattr__(self, operation: str) -> Callable[..., Any]:
            """Every operation of the contract."""

    def to_device(self, array: np.ndarray) -> np.ndarray:
        """The engine's array for a NumPy array."""
        return array

    def to_host(self, array: np.ndarray) -> np.ndarray:
        """The NumPy array for one of the engine's."""
        return array

    def lay_out(self, program: Any, rows: int) -> None:
        """See to it that no later ``predict`` of so many rows has to compile or to allocate anything."""
        self.predict(program, np.zeros((rows, program.inputs), program.parameters.dtype))

    def lay_out_int8(self, program: Any, rows: int) -> None:
        """The same for ``predict_int8``."""
        X, out = (np.zeros((rows, width), np.float32) for width in (program.inputs, program.outputs))
        self.predict_int8(program, X, out)

    def synchronize(self) -> None:
        """Wait until the engine has done all that it was asked for."""

    def __repr__(self) -> str:
        return f"<minidl engine {self.name!r}>"


_loaded: dict[str, Engine] = {}


def get_engine(name: str = "auto") -> Engine:
    """The engine of this name; "auto" is Numba where it can run, else NumPy (the result's ``name`` says which).

    Raises ValueError for an unknown name, RuntimeError (with the command that helps) for an engine that cannot run
    here: no other engine is put in its place.
    """
    if not isinstance(name, str) or name not in (*ENGINES, "auto"):
        raise ValueError(f"unknown engine {shown(name)}; {did_you_mean(name, (*ENGINES, 'auto'))}")
    if name == "auto":
        name = "numpy" if why_not("numba") else "numba"
    if name not in _loaded:
        reason = why_not(name)
        if reason:
            raise RuntimeError(f"the engine {name!r} cannot run here: {reason}")
        _loaded[name] = Engine(name)
    return _loaded[name]


def why_not(name: str) -> str:
    """Why this engine cannot run here, with what would help; the empty string where it can."""
    if name == "numba":
        return why_not_imported("numba", "Numba", "pip install numba", "pip install -U numba")
    if name == "cupy":
        install = 'pip install "minidl[cuda13]" or, for a driver of CUDA 12, pip install "minidl[cuda12]", never both'
        return why_not_imported("cupy", "CuPy", install, install.replace("install", "install -U")) or why_no_gpu()
    return ""


def why_not_imported(package: str, name: str, install: str, again: str) -> str:
    """Why this package cannot be imported, with the command that helps; the empty string where it can."""
    if importlib.util.find_spec(package) is None:
        return f"{name} is not installed; install it with: {install}"
    try:
        importlib.import_module(package)
    except Exception as error:  # a broken installation raises whatever it likes, SystemError among it
        return f"{name} is installed but does not import ({error}); install it anew with: {again}"
    return ""


def why_no_gpu() -> str:
    """Why CuPy, which is installed, finds nothing to run on; the empty string where it does."""
    cupy = importlib.import_module("cupy")
    if cupy.is_available():
        return ""
    if cupy.cuda.runtime.driverGetVersion() == 0:
        return "CuPy is installed, but there is no NVIDIA driver; on a machine with an NVIDIA GPU, install its driver"
    try:
        error = f"{cupy.cuda.runtime.getDeviceCount()} devices"
    except Exception as refusal:  # cudaErrorNoDevice, or a driver too old for this CuPy
        error = str(refusal)
    return f"CuPy and an NVIDIA driver are installed, but there is no device that they can use ({error})"

