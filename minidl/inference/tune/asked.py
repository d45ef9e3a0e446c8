"""What is asked of the tuner, checked: models that can be called, their rows, and numbers within reason."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from minidl import checks
from minidl.data.schema import arrange
from minidl.model import Sequential


def positive(value: object, name: str) -> float:
    """The value as float; TypeError unless a number, ValueError unless finite and more than 0."""
    found = checks.number(value, name, 0)
    if not found:
        raise ValueError(f"{name} must be more than 0, not {checks.shown(value)}")
    return found


def pair(value: object, name: str, least: int) -> tuple[int, int]:
    """The least and the largest of something, as two whole numbers in this order."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{name} must be two whole numbers, the least and the largest, not {checks.shown(value)}")
    low, high = (checks.whole_number(one, f"a number in {name}", least) for one in value)
    if low > high:
        raise ValueError(f"{name} must be (least, largest), not {checks.shown(value)}: write ({high}, {low})")
    return low, high


def can_be_called(model: object, name: str = "model") -> None:
    """TypeError for what is no model."""
    if not callable(model) or isinstance(model, type):
        raise TypeError(f"{name} must be a Sequential or a function that takes rows, not {checks.shown(model)}")


def rows_of(X: object, models: Iterable[object]) -> np.ndarray:
    """X as (rows, features) in the dtype that it has: what is given to a call later comes as it is, too.

    A Table or a pandas table is brought into the order of the columns of the first model that knows them.
    """
    own = [model for model in models if isinstance(model, Sequential)]
    array = checks.numeric(arrange(X, next((model.schema for model in own if model.schema is not None), None)), "X")
    array = checks.features(array, array.dtype)
    for model in own:
        checks.features(array, array.dtype, model.layers[0].inputs if model.layers else None)
    return array


def one_for_each(result: object, x: np.ndarray, name: str = "the model") -> object:
    """What a model returned for x; ValueError where that is not one row, or number, for each row of x."""
    shape = np.shape(result)
    if shape[:1] != (len(x),):
        raise ValueError(f"{name} returned the shape {shape} for {len(x)} rows; it must return one row for each")
    return result


def outputs_of(model: object, X: np.ndarray, name: str) -> np.ndarray:
    """What the model returns for X, as finite numbers (rows, outputs); TypeError or ValueError for anything else."""
    outputs = checks.numeric(one_for_each(model(X), X, name), f"what {name} returned")
    outputs = outputs.reshape(-1, 1) if outputs.ndim == 1 else outputs
    return checks.features(outputs, outputs.dtype, name=f"what {name} returned")
