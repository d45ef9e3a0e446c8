"""minidl: multi-layer perceptrons, formula by formula, on NumPy, Numba and CuPy.

Importing it loads NumPy alone; everything else comes when it is first used.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_HOME = {
    "Sequential": "model",
    "Dense": "layers",
    "Dropout": "layers",
    "Normalization": "layers",
    "SGD": "optimizers",
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "Callback": "callbacks",
    "History": "callbacks",
    "EarlyStopping": "callbacks",
    "ModelCheckpoint": "callbacks",
    "CSVLogger": "callbacks",
    "LambdaCallback": "callbacks",
    "ReduceLROnPlateau": "callbacks",
    "LearningRateScheduler": "callbacks",
    "TensorBoard": "callbacks",
    "explain": "explanation",
    "get_engine": "engines",
    "load_model": "storage",
    "set_random_seed": "seeds",
}
_MODULES = (
    "bench", "callbacks", "data", "formulas", "initializers", "layers", "losses", "metrics", "optimizers",
    "regularizers",
)  # fmt: skip

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"minidl.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"minidl.{name}")
    raise AttributeError(f"minidl has no {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
