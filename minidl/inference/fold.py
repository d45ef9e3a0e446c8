"""An equal and smaller model for inference: what only training needs is gone, what is linear is multiplied into the
next layer's weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from minidl.contract import DEVIATION_FLOOR
from minidl.layers import Dense, Dropout, Layer, Normalization
from minidl.model import Sequential

# A normalization is folded where no feature's mean is more than so many deviations from 0. Folded, x/sigma and mu/sigma
# are subtracted after they have been rounded, which costs as many bits as their size has beyond the difference's.
FAR = 16


@dataclass
class Step:
    """A dense layer, or a normalization as the layer that it is: x * W + b, W (i, o) or for a normalization (i,)."""

    name: str
    W: np.ndarray
    b: np.ndarray
    activation: str = "linear"
    statistics: list[np.ndarray] = field(default_factory=list)  # of a normalization

    @property
    def is_dense(self) -> bool:
        return self.W.ndim == 2


def fold(model: Sequential, normalization: bool = True, dtype: np.dtype | None = None) -> tuple[Sequential, list[str]]:
    """A model of Dense and Normalization layers with the same outputs up to rounding, and what was done, in sentences.

    Dropout is left out; a Normalization is multiplied into the Dense layer before or behind it, unless that would cost
    digits (a feature's mean far from 0, counted in its deviations) or ``normalization`` is False; two Dense layers with
    nothing between them become one where that is less work. Weights are multiplied in float64, and then of the
    ``dtype``, by default the model's. Raises RuntimeError for
    a model that is not built, ValueError for one without a Dense layer.
    """
    model._require_built()
    if not any(isinstance(layer, Dense) for layer in model.layers):
        raise ValueError("the model has no Dense layer, so there is nothing to make faster")
    steps: list[Step] = []
    done: list[str] = []
    for layer in model.layers:
        if isinstance(layer, Dropout):
            done.append(f"{layer.name}: left out, since it acts in training alone")
            continue
        steps.append(step_of(layer))
        while len(steps) > 1 and (sentence := joined(steps, normalization)):
            done.append(sentence)
    return built(model, steps, dtype or model._dtype), done


def step_of(layer) -> Step:
    arrays = [array.astype(np.float64) for array in layer.weights]
    if isinstance(layer, Normalization):
        mean, deviation = arrays[0], np.maximum(np.sqrt(arrays[1]), DEVIATION_FLOOR)
        return Step(layer.name, 1 / deviation, -mean / deviation, statistics=arrays)
    b = arrays[1] if layer.use_bias else np.zeros(layer.units)
    return Step(layer.name, arrays[0], b, layer.activation)


def joined(steps: list[Step], normalization: bool) -> str:
    """Make one of the last two steps where that pays, and say so; else the empty string."""
    first, second = steps[-2:]
    if first.activation != "linear" or not (first.is_dense or second.is_dense):
        return ""
    if not (first.is_dense and second.is_dense):
        scaling = second if first.is_dense else first
        if not normalization or (scaling is first and np.abs(scaling.b).max() > FAR):
            return ""
    elif first.W.shape[0] * second.W.shape[1] > first.W.size + second.W.size:
        return ""
    if first.is_dense:
        W = first.W @ second.W if second.is_dense else first.W * second.W
        b = first.b @ second.W + second.b if second.is_dense else first.b * second.W + second.b
        name = second.name if second.is_dense else first.name
    else:
        W, b, name = first.W[:, None] * second.W, first.b @ second.W + second.b, second.name
    steps[-2:] = [Step(name, W, b, second.activation)]
    gone = first.name if name == second.name else second.name
    return f"{gone}: multiplied into the weights of {name}"


def built(model: Sequential, steps: list[Step], dtype: np.dtype) -> Sequential:
    """The model of these steps, on the engine and with the schema of the one they come from."""
    layers: list[Layer] = [
        Dense(step.W.shape[1], step.activation, kernel_initializer="zeros", name=step.name)
        if step.is_dense
        else Normalization(name=step.name)
        for step in steps
    ]
    folded = Sequential(layers, seed=model.seed)
    folded._dtype, folded._engine, folded.schema = dtype, model._running_engine(), model.schema
    folded._build(len(steps[0].W))
    for layer, step in zip(folded.layers, steps, strict=True):
        layer.set_weights([step.W, step.b] if step.is_dense else step.statistics)
    return folded
