"""Whole hidden units are removed, and a smaller model is made of those that stay."""

from __future__ import annotations

import numbers

import numpy as np

from minidl import checks, config
from minidl.contract import DEVIATION_FLOOR
from minidl.inference.prune.copies import by_layer, dense_layers, taken_apart
from minidl.layers import Dense, Normalization
from minidl.model import Sequential


def units(model: Sequential, keep: float | dict[str, int | float] = 0.5) -> Sequential:
    """A smaller model, without the hidden units that matter least.

    keep: the share of its units, in (0, 1], that every hidden Dense layer keeps (rounded, and at least one); or a
        dictionary from the names of some of them to a share, or to a number of units if it is whole.

    Its predictions are those of the model with the removed units' outgoing weights set to zero, within rounding. What
    lies between two Dense layers loses the columns as well; the model's inputs and outputs stay. The smaller model is
    compiled like the given one, with fresh slots, and has its seed and schema; the given one is not changed.

    A unit's importance is ||w_in|| ||w_out||, Euclidean norms of the weights that come in and, over the deviation of a
    Normalization that lies between, go out. Where the activation is a ReLU it does not change when a unit's incoming
    weights are multiplied by a number and its outgoing ones divided by it, as the function does not (Neyshabur,
    Salakhutdinov and Srebro, "Path-SGD", 2015). Of equally important units the first stay.

    Raises TypeError or ValueError for a ``keep`` out of range or empty, names of no hidden Dense layer, a layer whose
    activation is softmax (without one of its units the others' outputs change), and as ``magnitude`` does.
    """
    counts = counted(dense_layers(model), keep)
    said, arrays = taken_apart(model)
    stay = {name: np.sort(np.argsort(-importance(model, name), kind="stable")[:n]) for name, n in counts.items()}
    left = None  # the features that are left of those the layer was given; None stands for all
    for layer, settings in zip(model.layers, said["layers"], strict=True):
        if left is not None:
            settings["input_shape"] = [len(left)]
            for array in ("W",) if isinstance(layer, Dense) else layer.arrays:
                arrays[f"{layer.name}/{array}"] = arrays[f"{layer.name}/{array}"][left]
        if isinstance(layer, Dense):
            left = stay.get(layer.name)
            if left is not None:
                settings["units"] = len(left)
                for array in layer.arrays[: len(layer.weights)]:
                    arrays[f"{layer.name}/{array}"] = arrays[f"{layer.name}/{array}"][..., left]
    return config.restore(said, arrays)


def importance(model: Sequential, name: str) -> np.ndarray:
    """||w_in|| ||w_out|| of each unit of this hidden Dense layer: (units,), float64."""
    dense = next(layer for layer in model.layers if isinstance(layer, Dense) and layer.name == name)
    behind = model.layers[model.layers.index(dense) + 1 :]
    following = next(layer for layer in behind if isinstance(layer, Dense))
    deviation = np.ones(dense.units)
    for layer in behind[: behind.index(following)]:
        if isinstance(layer, Normalization):
            deviation *= np.maximum(np.sqrt(layer.variance.astype(np.float64)), DEVIATION_FLOOR)
    incoming, outgoing = dense.W.astype(np.float64), following.W.astype(np.float64)
    return np.linalg.norm(incoming, axis=0) * np.linalg.norm(outgoing, axis=1) / deviation


def counted(dense: list[Dense], keep: object) -> dict[str, int]:
    """How many units each layer that is named keeps."""
    *hidden, last = dense
    by_name = {layer.name: layer for layer in hidden}
    if not hidden:
        raise ValueError(f"the model has no hidden units: its one Dense layer {last.name!r} makes its outputs")
    if isinstance(keep, numbers.Integral):  # 1 could be meant as all of the units, or as one
        raise TypeError(f"keep must be a share such as 0.5, or a dictionary by layers, not {checks.shown(keep)}")
    if isinstance(keep, dict) and last.name in keep:
        raise ValueError(f"the units of the layer {last.name!r} are the model's outputs, and stay")
    asked = by_layer(keep, "keep", by_name, "hidden Dense layer")
    return {name: count(by_name[name], kept) for name, kept in asked.items()}


def count(layer: Dense, kept: object) -> int:
    """How many units this layer keeps."""
    what = f"what {layer.name!r} keeps of its {layer.units} units"
    if layer.activation == "softmax":
        raise ValueError(
            f"the units of the layer {layer.name!r} cannot be removed: its softmax makes each depend on the others"
        )
    if isinstance(kept, numbers.Integral) and not isinstance(kept, bool):
        number = checks.whole_number(kept, what, 1)
    else:
        share = checks.number(kept, what, 0, 1)
        number = max(1, round(share * layer.units)) if share else 0
    if not 0 < number <= layer.units:
        raise ValueError(f"{what} must be at least 1 and at most all, not {checks.shown(kept)}")
    return number
