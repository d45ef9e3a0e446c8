"""A quantized model as an ONNX graph in the QDQ form: floating point between QuantizeLinear and DequantizeLinear.

What is between them says what is meant; a runtime that can makes of each DequantizeLinear, Gemm, QuantizeLinear one
product of whole numbers.
"""

from __future__ import annotations

import os

import numpy as np

from minidl import checks
from minidl import contract as c
from minidl.inference.int8 import Int8Layer, Int8Program
from minidl.inference.quantize import QuantizedModel
from minidl.inference.quantize.stored import BEHIND
from minidl.interop.onnx_export import ACTIVATIONS, Operation, Steps, put


def write(model: QuantizedModel, path: str | os.PathLike, weights: str) -> None:
    """See ``minidl.interop.export_quantized``."""
    checks.one_of(weights, "weights", ("uint8", "int8"))
    if model.dynamic:
        raise RuntimeError(
            "a dynamic model cannot be exported: each row has a range of its own, but DynamicQuantizeLinear in ONNX "
            "gives all rows one; quantize the model with calibration_data and export that"
        )
    shapes = *model.input_shape, *model.output_shape
    put(path, operations(model._program, weights), *shapes, np.dtype(np.float32), model.schema)


def operations(program: Int8Program, weights: str) -> list[Operation]:
    """What the program does, in order."""
    found = []
    for layer in program.layers:
        found += normalization(layer.name, layer) + operations_of(layer, weights)
    return found + normalization(BEHIND, program)


def operations_of(layer: Int8Layer, weights: str) -> list[Operation]:
    """Of one layer: the inputs to whole numbers and back, the product with the bias, the activation."""
    step = {"x_scale": np.array(layer.x_scale), "x_zero": np.array(layer.x_zero, np.uint8)}
    W = Steps(layer.W, layer.scale)
    if weights == "uint8":
        W = Steps((layer.W.astype(np.int16) + 128).astype(np.uint8), layer.scale, 128)
    arrays = {"W": W}
    bias = layer.offset + layer.x_zero * layer.totals  # the zero of x is the DequantizeLinear's business
    if bias.any():
        arrays["bias"] = Steps(bias, layer.factor)
    operators = [("QuantizeLinear", step), ("DequantizeLinear", step), ("Gemm", arrays)]
    if layer.activation != c.LINEAR:
        operators.append((ACTIVATIONS[layer.activation], {}))
    return [Operation(layer.name, operator, given) for operator, given in operators]


def normalization(name: str, owner: Int8Layer | Int8Program) -> list[Operation]:
    """The normalization before a layer or behind the last, where there is one."""
    if not owner.mean.size:
        return []
    return [Operation(name, "Sub", {"mean": owner.mean}), Operation(name, "Div", {"deviation": owner.deviation})]
