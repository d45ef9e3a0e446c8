"""A model as an ONNX graph: first a list of operations with their arrays, then a node for each.

A quantized model is another list of operations: that of onnx_int8.py.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from minidl import __version__, checks, files
from minidl import contract as c
from minidl.data import Schema
from minidl.layers import Layer
from minidl.model import Sequential
from minidl.program import Program
from minidl.storage import explained

OPSET, IR_VERSION = 17, 8  # of ONNX 1.12, from 2022: what reads ONNX today reads it
INPUT, OUTPUT = "input", "output"
LIMIT = 2**31 - 2**20  # bytes of weights: a protobuf message ends at 2 GiB
ACTIVATIONS = {code: name.capitalize() for code, name in enumerate(c.ACTIVATIONS) if code != c.LINEAR}  # ONNX's names


@dataclass(frozen=True)
class Steps:
    """An array in whole numbers of steps, each unit (the last axis) with a step of its own; for DequantizeLinear."""

    array: np.ndarray
    scale: np.ndarray  # (units,)
    zero: int = 0  # the number that stands for 0

    def parts(self, name: str) -> dict[str, np.ndarray]:
        """What that operator takes: the array, its steps and which number stands for 0."""
        zero = np.full(len(self.scale), self.zero, self.array.dtype)
        return {name: self.array, f"{name}_scale": self.scale, f"{name}_zero": zero}


@dataclass(frozen=True)
class Operation:
    """One node: the layer that it is of, its ONNX operator, and what it takes besides what the node before puts out."""

    layer: str
    operator: str
    arrays: dict[str, np.ndarray | Steps] = field(default_factory=dict)  # by name, in the order of its inputs

    @property
    def name(self) -> str:
        return f"{self.layer}/{self.operator}"


def write(model: Sequential, path: str | os.PathLike) -> None:
    """See ``minidl.interop.export_onnx``."""
    model._require_built()
    put(path, operations(model), model.layers[0].inputs, model.layers[-1].outputs, model._dtype, model.schema)


def put(
    path: str | os.PathLike, found: list[Operation], inputs: int, outputs: int, dtype: np.dtype, schema: Schema | None
) -> None:
    """Write a file of these operations, from ``inputs`` numbers of the dtype a row to ``outputs``."""
    with explained("the model cannot be exported", ValueError):
        content = whole(graph(found, inputs, outputs, dtype), metadata(schema)).SerializeToString()
    files.replace(path, content)


def operations(model: Sequential) -> list[Operation]:
    """What the model's program does in inference, in order."""
    program, layers = model._program, iter(model.layers)
    layer, found = model.layers[0], []
    for row in program.table:
        if row[c.KIND] != c.ACTIVATION:  # which is of the dense layer before it
            layer = next(layers)
        found += operations_of(row, layer, program)
    return found or [Operation(layer.name, "Identity")]


def operations_of(row: np.ndarray, layer: Layer, program: Program) -> list[Operation]:
    """The operations of one row of the program's table; none for dropout."""
    kind, name = row[c.KIND], layer.name
    if kind == c.ACTIVATION:
        return [Operation(name, ACTIVATIONS[row[c.WHICH]])]
    if kind == c.DENSE:
        W, b = program.weights(row), program.bias(row)
        return [Operation(name, "Gemm", {"W": W, "b": b} if layer.use_bias or b.any() else {"W": W})]
    if kind == c.NORMALIZATION:
        if not layer.adapted:
            raise RuntimeError(f"the layer {name!r} has seen no data: call fit, or its adapt, before export")
        with np.errstate(invalid="ignore"):
            deviation = np.maximum(np.sqrt(program.variance(row)), c.DEVIATION_FLOOR)
        return [Operation(name, "Sub", {"mean": program.mean(row)}), Operation(name, "Div", {"deviation": deviation})]
    return []


def graph(operations: list[Operation], inputs: int, outputs: int, dtype: np.dtype) -> onnx.GraphProto:
    """A chain of nodes, each taking what the one before puts out; what it takes in steps goes through a node first."""
    nodes, constants, given = [], {}, INPUT
    for operation in operations:
        taken = [given]
        for name, array in operation.arrays.items():
            parts = array.parts(name) if isinstance(array, Steps) else {name: array}
            parts = {f"{operation.layer}/{part}": value for part, value in parts.items()}
            constants |= parts
            if isinstance(array, Steps):
                made, axis = f"{operation.layer}/DequantizeLinear_{name}", array.array.ndim - 1
                nodes.append(helper.make_node("DequantizeLinear", list(parts), [made], made, axis=axis))
                parts = [made]
            taken += parts
        made = OUTPUT if operation is operations[-1] else operation.name
        nodes.append(helper.make_node(operation.operator, taken, [made], operation.name))
        given = made
    if sum(array.nbytes for array in constants.values()) > LIMIT:
        raise ValueError(f"its weights take more than {LIMIT} bytes, ONNX's limit")
    tensors = [
        numpy_helper.from_array(checks.clean(array, name, array.dtype), name) for name, array in constants.items()
    ]
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    ends = [
        helper.make_tensor_value_info(name, kind, ["batch", width])
        for name, width in ((INPUT, inputs), (OUTPUT, outputs))
    ]
    return helper.make_graph(nodes, "network", ends[:1], ends[1:], tensors)


def whole(made: onnx.GraphProto, metadata: dict[str, str]) -> onnx.ModelProto:
    """The graph with all that a file says besides, known to be as ONNX wants it."""
    opsets = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(
        made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="minidl", producer_version=__version__
    )
    helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def metadata(schema: Schema | None) -> dict[str, str]:
    """What the columns and the outputs mean, each as JSON; nothing for a model that knows no columns."""
    if schema is None:
        return {}
    found: dict[str, object] = {"features": schema.features, "schema": schema.to_dict()}
    if schema.target is not None and schema.target.classes:
        found["classes"] = schema.target.classes
    return {name: json.dumps(value, allow_nan=False) for name, value in found.items()}
