"""Losses, by Keras's names: what they are called, and which of the engines' losses a model needs."""

from __future__ import annotations

import warnings

import numpy as np

from minidl import checks
from minidl import contract as c
from minidl.engines import get_engine


class Loss:
    """A loss. Calling it gives the mean over the rows: ``loss(y_true, y_pred, sample_weight=None) -> float``."""

    name: str
    codes: tuple[int, ...]  # from probabilities and from logits, or one for all
    activation: int | None = None  # the activation that belongs to it
    takes_probabilities = False  # targets lie in [0, 1]
    takes_indices = False  # targets are class indices
    from_logits = False

    @property
    def code(self) -> int:
        """Which of the engines' losses (contract.py) the predictions are given to as they are."""
        return self.codes[1 if self.from_logits else 0]

    def head(self, table: np.ndarray) -> tuple[int, int]:
        """(code, how many operations are done before it) for a model with this table.

        A cross-entropy sees through a last sigmoid or softmax to its logits, as in Keras, because the loss of the
        logits is exact where a probability has rounded to 0 or 1.
        """
        kind, which = table[-1, c.KIND], table[-1, c.WHICH]
        if self.activation is None or kind != c.ACTIVATION or which not in (c.SIGMOID, c.SOFTMAX):
            return self.code, len(table)
        if self.from_logits:
            warnings.warn(
                f"{self.name} has from_logits=True, but the model ends in an activation that makes probabilities; "
                "the loss is taken from the logits before it",
                stacklevel=4,
            )
        if which != self.activation:
            ends, belongs = ("softmax", "sigmoid") if which == c.SOFTMAX else ("sigmoid", "softmax")
            warnings.warn(
                f"the model ends in {ends}, but {self.name} belongs to {belongs}; as in Keras the loss is taken as if "
                f"the logits went through {belongs}",
                stacklevel=4,
            )
        return self.codes[1], len(table) - 1

    def __call__(self, y_true: object, y_pred: object, sample_weight: object = None) -> float:
        """The loss of the predictions (rows, outputs): in float32 where they are float32, else in float64."""
        p = checks.numeric(y_pred, "y_pred")
        dtype = np.dtype(np.float32 if p.dtype == np.float32 else np.float64)
        p = checks.features(p.reshape(-1, 1) if p.ndim == 1 else p, dtype, name="y_pred")
        y = checks.targets(y_true, dtype, len(p), p.shape[1], self, name="y_true")
        weight = checks.row_weights(sample_weight, dtype, len(p))
        if self.takes_indices:
            y = np.eye(p.shape[1], dtype=dtype)[y[:, 0].astype(np.int64)]
        engine = get_engine("numpy")
        loss = getattr(engine, c.LOSSES[self.code])(y, p)
        return float(np.mean(loss if weight is None else loss * weight))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'from_logits=True' if self.from_logits else ''})"


class MeanSquaredError(Loss):
    """mean (p - y)^2 (formula "mean_squared_error")."""

    name, codes = "mean_squared_error", (c.MEAN_SQUARED_ERROR,)


class MeanAbsoluteError(Loss):
    """mean |p - y| (formula "mean_absolute_error")."""

    name, codes = "mean_absolute_error", (c.MEAN_ABSOLUTE_ERROR,)


class Crossentropy(Loss):
    """What the cross-entropies share: predictions are probabilities, or logits where ``from_logits``."""

    takes_probabilities = True

    def __init__(self, from_logits: bool = False):
        self.from_logits = checks.truth(from_logits, "from_logits")


class BinaryCrossentropy(Crossentropy):
    """Each output is a yes or no of its own (formulas "binary_crossentropy", "binary_crossentropy_from_logits")."""

    name, activation = "binary_crossentropy", c.SIGMOID
    codes = (c.BINARY_CROSSENTROPY, c.BINARY_CROSSENTROPY_FROM_LOGITS)


class CategoricalCrossentropy(Crossentropy):
    """One of several classes, targets as rows of probabilities (formula "categorical_crossentropy").

    The gradient is the formula's own derivative, softmax(z) sum(y) - y. Where the targets of a row do not add up to 1,
    Keras takes softmax(z) - y there, which is the derivative of no loss.
    """

    name, activation = "categorical_crossentropy", c.SOFTMAX
    codes = (c.CATEGORICAL_CROSSENTROPY, c.CATEGORICAL_CROSSENTROPY_FROM_LOGITS)


class SparseCategoricalCrossentropy(CategoricalCrossentropy):
    """The same with targets as class indices 0 to outputs - 1."""

    name, takes_indices = "sparse_categorical_crossentropy", True
    codes = (c.SPARSE_CATEGORICAL_CROSSENTROPY, c.CATEGORICAL_CROSSENTROPY_FROM_LOGITS)


LOSSES = {
    "mse": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "binary_crossentropy": BinaryCrossentropy,
    "bce": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
}


def get(loss: str | Loss) -> Loss:
    """The loss of this name; a loss is taken as it is."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str) and loss.lower() in LOSSES:
        return LOSSES[loss.lower()]()
    raise ValueError(f"unknown loss {checks.shown(loss)}; {checks.did_you_mean(loss, LOSSES)}")
