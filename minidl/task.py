"""What a target asks of a network: its last layers, its loss and its metrics."""

from __future__ import annotations

import numpy as np

from minidl import checks
from minidl.data import Table, Target
from minidl.layers import Dense, Layer, Normalization
from minidl.model import Sequential

LOSSES = {"binary": "binary_crossentropy", "multiclass": "sparse_categorical_crossentropy", "regression": "mse"}
METRICS = {"binary": "accuracy", "multiclass": "accuracy", "regression": "mae"}
LEAST_ROWS = 10


def outputs(target: Target) -> int:
    """How many outputs a network has for this target."""
    return len(target.classes) if target.task == "multiclass" else 1


def check(table: Table, name: str) -> None:
    """ValueError where there is nothing to learn: too few rows, or the same target in all of them."""
    if len(table) < LEAST_ROWS:
        raise ValueError(f"{name} has {len(table)} rows of data; at least {LEAST_ROWS} are needed")
    if table.y.min() == table.y.max():
        target = table.schema.target
        label = target.classes[0] if target.classes else table.y[0, 0]
        raise ValueError(f"the target {target.name!r} of {name} is {label} in every row: nothing to learn")


def check_held_out(held_out: Table) -> None:
    """ValueError where rows that shall tell which network is best are all of one class: any would be right on them."""
    target = held_out.schema.target
    if target.classes and held_out.y.min() == held_out.y.max():
        label = checks.shown(target.classes[int(held_out.y[0, 0])])
        raise ValueError(
            f"the rows held out are all of the class {label} of the target {target.name!r}, so they cannot tell a good "
            "network from a bad one; give more rows of the other classes"
        )


def network(table: Table, hidden: tuple[int, ...], activation: str = "relu", seed: int | None = None) -> Sequential:
    """A network for this table, built and not compiled: normalization, hidden layers, and the head of its task.

    A regression ends in a second dense layer of one unit that does not learn: it multiplies by the deviation of y and
    adds the mean. So the target keeps its own scale, thousands or thousandths, and the layers before it need not reach
    it by small steps.
    """
    layers: list[Layer] = [Normalization(input_shape=(table.X.shape[1],))]
    layers += [Dense(units, activation) for units in hidden]
    target = table.schema.target
    if target.task == "binary":
        return Sequential([*layers, Dense(1, "sigmoid")], seed)
    if target.task == "multiclass":
        return Sequential([*layers, Dense(outputs(target), "softmax")], seed)
    scale = Dense(1, name="scale", trainable=False)
    model = Sequential([*layers, Dense(1), scale], seed)
    scale.set_weights([[[np.std(table.y)]], [np.mean(table.y)]])
    return model


def weights(table: Table, rows: Table) -> np.ndarray | None:
    """What each of the ``rows`` weighs in the loss of a regression: 1 / variance of the table's y; None for classes.

    So the loss is a share of the variance, and the same steps suit a target in thousands and one in thousandths. The
    target itself keeps its scale.
    """
    if table.schema.target.task != "regression":
        return None
    return np.full(len(rows), 1 / np.var(table.y, dtype=np.float64))


def guess(table: Table, other: Table) -> float:
    """The metric on ``other`` without a network: always the commonest class of ``table``, or its mean."""
    if table.schema.target.task == "regression":
        return float(np.mean(np.abs(other.y - np.mean(table.y))))
    values, counts = np.unique(table.y, return_counts=True)
    return float(np.mean(other.y == values[np.argmax(counts)]))
