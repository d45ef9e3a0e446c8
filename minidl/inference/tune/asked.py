"""What the tuner is given, checked: rows, models that can be called with them, and what they make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from minidl import checks
from minidl.data.schema import Schema, arrange

Model = Callable[[np.ndarray], object]


def schema_among(models: Iterable[Model]) -> Schema | None:
    """That of the first model that knows its columns."""
    return next(filter(None, (getattr(model, "schema", None) for model in models)), None)


def rows_of(X: object, schema: Schema | None) -> np.ndarray:
    """X as (rows, features) in its own dtype; a table in the order of the schema."""
    array = checks.numeric(arrange(X, schema), "X")
    return checks.features(array, array.dtype)


def outputs_of(model: Model, X: np.ndarray, name: str) -> np.ndarray:
    """What the model returns for X, as finite numbers (rows, outputs) float64; TypeError or ValueError for others."""
    if not callable(model) or isinstance(model, type):
        raise TypeError(f"{name} must be a Sequential or a function that takes rows, not {checks.shown(model)}")
    found = checks.numeric(model(X), f"what {name} returned")
    if found.shape[:1] != (len(X),):
        raise ValueError(f"{name} returned the shape {found.shape} for {len(X)} rows; it must return one row for each")
    return checks.features(found.reshape(len(X), -1), np.dtype(np.float64), name=f"what {name} returned")
