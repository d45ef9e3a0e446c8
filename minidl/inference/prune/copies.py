"""A pruned model is made as one that is loaded from a file: from its description and its arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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


def by_layer(given: Any, argument: str, known: Iterable[str], kind: str) -> dict[str, Any]:
    """For each layer that is named what is asked of it: of a dictionary its own, else the same of all that are known.

    ValueError for an empty dictionary, and for a name of no layer of this kind.
    """
    known = list(known)
    if not isinstance(given, dict):
        return dict.fromkeys(known, given)
    if not given:
        raise ValueError(f"{argument} is empty, so nothing is asked for; name a layer, as {{{known[0]!r}: 0.5}}")
    for name in given:
        if name not in known:
            raise ValueError(f"there is no {kind} {checks.shown(name)}; {checks.did_you_mean(name, known)}")
    return given


def taken_apart(model: Sequential) -> tuple[dict, dict[str, np.ndarray]]:
    """What there is to say of a model, and copies of its arrays by name, as "dense/W"; ``config.restore`` joins them.

    Compiled again like the model, with fresh slots; with its seed, schema and generators. ValueError for what has no
    description: classes of your own, NaN or infinity among the weights.
    """
    with storage.explained("the model cannot be pruned", ValueError, TypeError):
        arrays = {name: checks.clean(a, name, a.dtype).copy() for name, a in storage.weights_of(model).items()}
        return config.describe(model, include_optimizer=False), arrays
