"""minidl: multi-layer perceptrons, formula by formula, on NumPy, Numba and CuPy.

Importing it loads NumPy alone; everything else comes when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:  # the same names once more, for those who read types and run nothing
    from minidl import bench as bench
    from minidl import callbacks as callbacks
    from minidl import data as data
    from minidl import formulas as formulas
    from minidl import initializers as initializers
    from minidl import layers as layers
    from minidl import losses as losses
    from minidl import metrics as metrics
    from minidl import optimizers as optimizers
    from minidl import regularizers as regularizers
    from minidl.callbacks import Callback as Callback
    from minidl.callbacks import CSVLogger as CSVLogger
    from minidl.callbacks import EarlyStopping as EarlyStopping
    from minidl.callbacks import History as History
    from minidl.callbacks import LambdaCallback as LambdaCallback
    from minidl.callbacks import LearningRateScheduler as LearningRateScheduler
    from minidl.callbacks import ModelCheckpoint as ModelCheckpoint
    from minidl.callbacks import ReduceLROnPlateau as ReduceLROnPlateau
    from minidl.callbacks import TensorBoard as TensorBoard
    from minidl.engines import get_engine as get_engine
    from minidl.explanation import explain as explain
    from minidl.inference import prune as prune
    from minidl.inference import tune as tune
    from minidl.inference.quantize import quantize as quantize
    from minidl.interop import from_onnx as from_onnx
    from minidl.layers import Dense as Dense
    from minidl.layers import Dropout as Dropout
    from minidl.layers import Normalization as Normalization
    from minidl.model import Sequential as Sequential
    from minidl.optimizers import SGD as SGD
    from minidl.optimizers import Adam as Adam
    from minidl.optimizers import AdamW as AdamW
    from minidl.seeds import set_random_seed as set_random_seed
    from minidl.storage import load_model as load_model

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
    "from_onnx": "interop",
    "get_engine": "engines",
    "load_model": "storage",
    "quantize": "inference.quantize",
    "set_random_seed": "seeds",
}
_MODULES = (
    "bench", "callbacks", "data", "formulas", "initializers", "layers", "losses", "metrics", "optimizers",
    "regularizers",
)  # fmt: skip
_INFERENCE = ("prune", "tune")

__all__ = [*_HOME, *_MODULES, *_INFERENCE]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"minidl.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"minidl.{name}")
    if name in _INFERENCE:
        return importlib.import_module(f"minidl.inference.{name}")
    raise AttributeError(f"minidl has no {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
