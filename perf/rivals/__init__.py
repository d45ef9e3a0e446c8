"""The rivals: one file for each, all with the same few functions, imported only as far as asked for.

``why_not()``       why it cannot run here, with the command that helps; the empty string where it can
``settings(what)``  the settings worth trying, as keyword arguments of what follows; the fastest is kept, and named
``trainer(case, weights, X, y, **setting)``   a function: trains ``case.epochs`` epochs from where it is; the losses.
                    Its first call may stop after one epoch, which is the one that is compared
``predictor(case, weights, X, **setting)``    a function: the outputs for the rows of X
``int8(case, weights, X, **setting)``         the same from weights in int8; of a rival that has none, in float32
``product(operation, a, b, **setting)``       a function: the product that a dense layer needs

A file lacks what its library does not do. Data are put where the library wants them beforehand, untimed. The number
of threads, where a setting has one, is in the environment before the library is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from types import ModuleType

from minidl.checks import did_you_mean

MODULES = {
    "minidl": "minidl_",
    "numpy": "numpy_by_hand",
    "scipy": "scipy_blas",
    "pytorch": "pytorch",
    "pytorch-compiled": "pytorch_compiled",
    "jax": "jax_scan",
    "keras": "keras_fit",
    "sklearn": "sklearn_mlp",
    "onnxruntime": "onnxruntime_",
    "onnxruntime-float32": "onnxruntime_float32",
    "minidl-float32": "minidl_float32",
}
LABELS = {
    "minidl": "minidl",
    "numpy": "NumPy by hand",
    "scipy": "SciPy's BLAS",
    "pytorch": "PyTorch",
    "pytorch-compiled": "PyTorch compiled",
    "jax": "JAX",
    "keras": "Keras",
    "sklearn": "scikit-learn",
    "onnxruntime": "ONNX Runtime",
    "onnxruntime-float32": "ONNX Runtime, float32",
    "minidl-float32": "minidl, float32",
}
# By their names in Python's package index: what to write down with a measurement.
PACKAGES = ("torch", "jax", "keras", "tensorflow-cpu", "scikit-learn", "onnxruntime", "scipy")


def load(name: str) -> ModuleType:
    """The rival's file, by its name here or by the file's own; its library is not loaded by that."""
    return importlib.import_module(f"perf.rivals.{MODULES.get(name, name)}")


def those_who(what: str, names: list[str] | None = None) -> list[str]:
    """The rivals with this function, minidl first; of ``names`` alone where given."""
    return [
        name for name in MODULES if (names is None or name in ("minidl", *names)) and hasattr(load(name), what)
    ]


def named(text: str) -> list[str]:
    """Names as an option gives them, with commas between; ValueError for an unknown one."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in MODULES:
            raise ValueError(f"unknown rival {name!r}; {did_you_mean(name, tuple(MODULES))}")
    return names


def missing(label: str, install: str, *modules: str) -> str:
    """Why a library cannot be used, for ``why_not``; nothing is imported."""
    if all(importlib.util.find_spec(module) for module in modules):
        return ""
    return f"{label} is not installed; install it with: {install}"


def thread_counts() -> list[dict]:
    """One thread and all, as settings."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [{"threads": threads} for threads in sorted({1, cores})]


class Resident:
    """What a call left on a GPU: it is fetched, by ``fetch()``, only where somebody wants to see it as an array."""

    def __init__(self, fetch):
        self.fetch = fetch

    def __array__(self, dtype=None, copy=None):
        return self.fetch()
