"""The rows that a model is trained and judged on: what it is given, checked, and parted for validation."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minidl import checks
from minidl import contract as c
from minidl.data.schema import Schema, schema_of
from minidl.data.tables import Table, y_of


class Rows(NamedTuple):
    """Clean data of the model's dtype."""

    X: np.ndarray  # (n, i)
    y: np.ndarray  # (n, o), or (n, 1) class indices
    weight: np.ndarray | None  # (n,)

    def part(self, which: slice) -> Rows:
        """Some of them."""
        return Rows(*(None if array is None else array[which] for array in self))


def taken(
    model, x: object, y: object, weight: object, schema: Schema | None = None, inputs: int | None = None,
    whose: str = "",
) -> tuple[Rows, Schema | None]:  # fmt: skip
    """The rows, and the schema that the model has or takes from its first table; a Table brings its own y.

    For validation data, ``schema`` and ``inputs`` are those of the training data, and ``whose`` is what a message calls
    them.
    """
    own, schema = schema_of(x), schema or model.schema
    y = y_of(x, y, schema, whose)
    if isinstance(x, Table):
        own.check_outputs(model._outputs())
    X = model._features(x, schema, f"{whose}X", inputs=inputs)
    if schema is None or (schema.target is None and own is not None and own.columns == schema.columns):
        schema = own
    y = targets(model, y, len(X), f"{whose}y")
    return Rows(X, y, checks.row_weights(weight, model._dtype, len(X), f"{whose}sample_weight")), schema


def targets(model, y: object, rows: int, name: str) -> np.ndarray:
    """The targets as the model's loss and metrics take them."""
    y = checks.targets(y, model._dtype, rows, model._outputs(), model._loss, name)
    counts = any(metric.code == c.AUC for metric in model._metrics) and not model._loss.takes_indices
    if counts and not np.isin(y, (0, 1)).all():
        raise ValueError(f"the metric 'auc' needs labels of 0 and 1, but {name} holds others")
    return y


def validation(model, given: object, schema: Schema | None, inputs: int) -> Rows:
    """The validation data that ``fit`` was given: (x, y), (x, y, sample_weight), or a Table, of so many features."""
    if isinstance(given, Table):
        given = (given, None)
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise ValueError("validation_data must be (x, y) or (x, y, sample_weight)")
    weight = given[2] if len(given) == 3 else None
    return taken(model, *given[:2], weight, schema, inputs, "validation ")[0]


def parted(rows: Rows, share: float) -> tuple[Rows, Rows]:
    """The first rows for training, and the last ones, this share of all, for validation."""
    every = len(rows.X)
    first = math.floor(every * (1 - share))
    if first in (0, every):
        raise ValueError(
            f"validation_split={share:g} leaves {first} of {every} rows for training; keep some on both sides"
        )
    return rows.part(slice(first)), rows.part(slice(first, None))
