"""A pruned model is made as one that is loaded from a file: from its description and its arrays."""

from __future__ import annotations

import numpy as np

from minidl import checks, config, storage
from minidl.layers import Dense
from minidl.model import Sequential


def dense_layers(model: object) -> list[Dense]:
    """The Dense layers of a model that can be pruned.

    TypeError for anything but a Sequential, RuntimeError for one that is not built, ValueError for one without a Dense.
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"only a minidl.Sequential can be pruned, not {checks.shown(model)}")
    model._require_built()
    found = [layer for layer in model.layers if isinstance(layer, Dense)]
    if not found:
        raise ValueError("the model has no Dense layer, so there is nothing to prune")
    return found


def taken_apart(model: Sequential) -> tuple[dict, dict[str, np.ndarray]]:
    """What there is to say of a model, and copies of its arrays by name, as "dense/W"; ``config.restore`` joins them.

    Compiled again like the model, with fresh slots; with its seed, schema and generators. ValueError for what has no
    description: classes of your own, NaN or infinity among the weights.
    """
    with storage.explained("the model cannot be pruned", ValueError, TypeError):
        arrays = {name: checks.clean(a, name, a.dtype).copy() for name, a in storage.weights_of(model).items()}
        return config.describe(model, include_optimizer=False), arrays
