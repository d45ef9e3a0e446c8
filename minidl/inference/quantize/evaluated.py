"""A quantized model as ``evaluate`` knows models: rows go through its whole numbers, then to loss and metrics."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl import contract as c
from minidl.inference.quantize.report import NAMES
from minidl.layers import Dense
from minidl.model import Sequential

if TYPE_CHECKING:
    from minidl.inference.quantize.quantized_model import QuantizedModel


class Evaluated(Sequential):
    """Its one layer passes on what the quantized model puts out, for the engine to take loss and metrics of.

    A cross-entropy wants logits (losses.py): where the model ends in a sigmoid or softmax, the layer has that
    activation, and the quantized model ends before it.
    """

    def __init__(self, quantized: QuantizedModel):
        program, (*layers, last) = quantized._program, quantized.layers
        ends = "linear"
        if last.activation in (c.SIGMOID, c.SOFTMAX) and not program.mean.size:
            ends = NAMES[last.activation]
            layers.append(dataclasses.replace(last, activation=c.LINEAR))
            program = dataclasses.replace(program, layers=tuple(layers))
        outputs = program.outputs
        passes_on = Dense(outputs, ends, use_bias=False, kernel_initializer="zeros", input_shape=(outputs,))
        super().__init__([passes_on], seed=0)
        self.set_weights([np.eye(outputs)])
        self._quantized, self._whole, self.schema = quantized, program, quantized.schema
        if quantized.loss is not None:
            self.compile("sgd", quantized.loss, metrics=quantized.metrics, engine=quantized.engine)

    def _features(self, x: object, *given: Any, **more: Any) -> np.ndarray:
        return self._quantized._features(x)

    def _forward(self, X: np.ndarray) -> np.ndarray:
        return self._quantized._forward(X)

    def _sums(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        return super()._sums(self._quantized._forward(X, self._whole), y, weight)
