"""Engines: the same operations in NumPy, Numba and CuPy, each loaded when it is first asked for."""

from __future__ import annotations

import importlib
import importlib.util

from minidl.checks import did_you_mean, shown
from minidl.contract import OPERATIONS

ENGINES = ("numpy", "numba", "cupy")


class Engine:
    """One engine: every operation of the contract as an attribute, and whole models by ``trainer`` and ``predict``.

    ``trainer(program, X, y, sample_weight, batch_size)`` places the data, once; its ``run(order, start, stop)`` trains
    on the rows ``order[start:stop]`` and returns the sums of loss and metrics, ``pull()`` brings the parameters back.
    ``predict(program, X)`` and ``evaluate(program, X, y, sample_weight)`` run the model forward.
    """

    def __init__(self, name: str):
        package = f"minidl.engines.{name}_engine"
        self.name = name
        for operation in OPERATIONS.values():
            module = importlib.import_module(f"{package}.{operation.module}")
            setattr(self, operation.name, getattr(module, operation.name))
        self.trainer = importlib.import_module(f"{package}.train").Trainer
        infer = importlib.import_module(f"{package}.infer")
        self.predict, self.evaluate = infer.predict, infer.evaluate

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
    if name == "cupy":
        return "it is not part of this version of minidl yet; use engine='numba' or engine='numpy'"
    if name == "numba":
        if importlib.util.find_spec("numba") is None:
            return "Numba is not installed; install it with: pip install numba"
        try:
            importlib.import_module("numba")
        except Exception as error:  # a broken installation raises whatever it likes, SystemError among it
            return f"Numba is installed but does not import ({error}); install it anew with: pip install -U numba"
    return ""

