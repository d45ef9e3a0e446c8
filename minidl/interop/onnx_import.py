"""A model from an ONNX graph: its nodes one after the other, from the input to the output; each fits or is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from minidl import checks, config
from minidl.contract import DEVIATION_FLOOR
from minidl.data import Schema
from minidl.interop import onnx_file
from minidl.interop.onnx_export import ACTIVATIONS
from minidl.interop.onnx_file import misfit, said, whatever_is_wrong
from minidl.layers import Dense, Layer, Normalization
from minidl.model import Sequential, free_name
from minidl.storage import explained

PARTS = {"Add": "shift", "Sub": "shift", "Mul": "scale", "Div": "scale"}  # of a normalization


def read(path: str | os.PathLike, output: str | None = None) -> Sequential:
    """See ``minidl.interop.from_onnx``."""
    path = os.fsdecode(path)
    with explained(f"the file {path!r} cannot be read as a network of dense layers", ValueError):
        proto = onnx_file.content_of(path)
        chain = Chain(proto.graph, output, {(function.domain, function.name) for function in proto.functions})
        model = chain.model()
        texts = {entry.key: entry.value for entry in proto.metadata_props}
        if proto.producer_name == "minidl" and "schema" in texts:
            with whatever_is_wrong("its schema is damaged"):
                model.schema = config.fitting(Schema.from_dict(json.loads(texts["schema"])), model)
    return model


class Chain:
    """The layers that the nodes so far make. ``given`` is what the last node puts out, ``width`` numbers a row.

    Raises ValueError for whatever is no chain of dense layers.
    """

    def __init__(self, graph: onnx.GraphProto, output: str | None, own: set[tuple[str, str]]):
        self.constants: dict[str, Callable[[], np.ndarray]] = {
            tensor.name: partial(numpy_helper.to_array, tensor) for tensor in graph.initializer
        }
        self.own = own  # operators that the file defines itself
        inputs = [value for value in graph.input if value.name not in self.constants]
        self.output = onnx_file.output_of([value.name for value in graph.output], output)
        self.given, self.dtype, self.rows, self.width = onnx_file.input_of(inputs)
        self.layers: list[Layer] = []
        self.lacks: set[str] = set()  # "shift" and "scale", where the last layer is a normalization without
        for node in onnx_file.needed(graph.node, self.output):
            self.take(node)

    def model(self) -> Sequential:
        """The layers as a model."""
        if self.given != self.output:
            raise ValueError(f"its output {self.output!r} is not what its last node puts out")
        if not self.layers:
            raise ValueError("there is no layer in it")
        model = Sequential()
        model._dtype, model.layers = self.dtype, self.layers
        for layer in self.layers:
            layer.owner, layer.name = model, layer.name or free_name(layer, {other.name for other in self.layers})
        model._build(self.layers[0].inputs)  # draws nothing, since every layer has its arrays
        return model

    def take(self, node: NodeProto) -> None:
        """One more node: a constant, or an operator of the table below that takes what the last node put out."""
        operator = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        if (node.domain, node.op_type) in self.own:
            raise misfit(node, "is a function of the file's own, which minidl does not look into")
        if operator == "Constant":
            self.constants[node.output[0]] = partial(onnx_file.value_of, node)
            return
        if operator in ("QuantizeLinear", "DequantizeLinear"):
            raise misfit(node, "is of a quantized network; read the one in floating point that it was made of")
        if operator not in OPERATORS:
            raise misfit(node, f"is not among the operators that minidl knows: {', '.join(OPERATORS)}")
        computed = [name for name in node.input if name and name not in self.constants]
        if operator == "Identity" and not computed:
            self.constants[node.output[0]] = self.constants[node.input[0]]
            return
        if computed != [self.given]:
            found = f"takes {checks.listed(computed)}" if computed else "takes constants alone"
            raise misfit(node, f"{found}, and not what the node before it puts out, {self.given!r}, alone")
        with np.errstate(all="ignore"):  # what becomes infinite is refused
            OPERATORS[operator](self, node, {a.name: helper.get_attribute_value(a) for a in node.attribute})
        self.given = node.output[0]

    # --- constants ----------------------------------------------------------------------------------------------------

    def constant(self, node: NodeProto, place: int) -> np.ndarray:
        """The constant that a node takes in this place."""
        name = node.input[place]
        if name not in self.constants:
            raise misfit(node, f"takes {name!r} where minidl needs a constant")
        with whatever_is_wrong(f"the constant {name!r} cannot be read"):
            return self.constants[name]()

    def numbers(self, node: NodeProto, place: int) -> np.ndarray:
        """The same, once it is known to be finite numbers of the network's type."""
        array, name = np.atleast_1d(self.constant(node, place)), node.input[place]
        if array.dtype != self.dtype:
            raise misfit(node, f"takes the constant {name!r} of {array.dtype}, but the network is of {self.dtype}")
        return checks.clean(array, f"the constant {name!r}", self.dtype)

    def each(self, node: NodeProto, array: np.ndarray, width: int) -> np.ndarray:
        """The array as (width,): one number for each feature, or one for all."""
        if array.shape[:-1] not in ((), (1,)) or array.size not in (1, width):
            raise misfit(node, f"takes a constant of the shape {array.shape} for {width} features")
        return np.broadcast_to(array.reshape(-1), (width,))

    def place(self, node: NodeProto) -> int:
        """Which of a node's two inputs is the constant."""
        return 1 if node.input[0] == self.given else 0

    # --- layers -------------------------------------------------------------------------------------------------------

    def append(self, node: NodeProto, layer: Layer, **arrays: np.ndarray) -> None:
        """Put in a layer with its arrays; its name is the node's, "dense" of "dense/Gemm", where that is one."""
        path = node.name.strip("/").split("/")
        if path[-1].lower().startswith(node.op_type.lower()):  # "Gemm", "MatMul1"
            path.pop()
        name = "/".join(path)
        layer.name = name if name and all(name != other.name for other in self.layers) else None
        layer.built = True
        self.layers.append(layer)
        self.give(node, **arrays)
        self.lacks, self.width = set(), layer.outputs

    def give(self, node: NodeProto, **arrays: np.ndarray) -> None:
        """Give the last layer these arrays."""
        for name, array in arrays.items():
            self.layers[-1].bind(name, checks.clean(array, f"{name} of {said(node)}", self.dtype))

    def dense(self, node: NodeProto, W: np.ndarray, b: np.ndarray | None = None) -> None:
        layer = Dense(W.shape[1], use_bias=b is not None, input_shape=(self.width,))
        self.append(node, layer, W=W, b=np.zeros(layer.units) if b is None else b)

    def matrix(self, node: NodeProto, turned: bool = False) -> np.ndarray:
        """A node's second input, where it is W (width, units) or its transpose."""
        W = self.numbers(node, 1)
        W = W.T if turned else W
        if W.ndim != 2 or len(W) != self.width:
            raise misfit(node, f"has weights of the shape {W.shape}, but is given {self.width} features")
        return W

    def matmul(self, node: NodeProto, attributes: dict) -> None:
        self.dense(node, self.matrix(node))

    def gemm(self, node: NodeProto, attributes: dict) -> None:
        """alpha x W + beta b."""
        if attributes.get("transA", 0):
            raise misfit(node, "turns its input over (transA=1)")
        W, b = self.matrix(node, turned=bool(attributes.get("transB", 0))), None
        if len(node.input) > 2 and node.input[2]:
            b = self.each(node, self.numbers(node, 2), W.shape[1]) * attributes.get("beta", 1.0)
        self.dense(node, W * attributes.get("alpha", 1.0), b)

    def open_dense(self) -> Dense | None:
        """The last layer, where it is a dense one that has no activation yet."""
        last = self.layers[-1] if self.layers else None
        return last if isinstance(last, Dense) and last.activation == "linear" else None

    def activation(self, node: NodeProto, attributes: dict) -> None:
        last = self.open_dense()
        if last is None:
            raise misfit(node, "has no dense layer before it that is without an activation")
        last.activation = node.op_type.lower()

    def softmax(self, node: NodeProto, attributes: dict) -> None:
        if attributes.get("axis", -1) not in (-1, 1):  # before opset 13 the default was 1, which is the last one too
            raise misfit(node, f"has axis={attributes['axis']}, but the features are the last axis")
        self.activation(node, attributes)

    def add(self, node: NodeProto, attributes: dict) -> None:
        """The bias of the MatMul before it, or a shift."""
        last = self.open_dense()
        if last is None or last.use_bias:
            self.arithmetic(node, attributes)
            return
        self.give(node, b=self.each(node, self.numbers(node, self.place(node)), self.width))
        last.use_bias = True

    def arithmetic(self, node: NodeProto, attributes: dict) -> None:
        """Add, Sub, Mul or Div of a constant."""
        place = self.place(node)
        if place == 0 and node.op_type in ("Sub", "Div"):
            raise misfit(node, "has its constant first, which no layer can do")
        self.scale(node, node.op_type, self.numbers(node, place))

    def scaler(self, node: NodeProto, attributes: dict) -> None:
        """scikit-learn's: (x - offset) scale, in float32."""
        if self.dtype != np.float32:
            raise misfit(node, f"puts out float32, but the network is of {self.dtype}")
        for operator, name in (("Sub", "offset"), ("Mul", "scale")):
            if name in attributes:
                self.scale(node, operator, np.array(attributes[name]))

    def scale(self, node: NodeProto, operator: str, array: np.ndarray) -> None:
        """One shift and one scaling, in either order, make a normalization: (x - mean) / deviation."""
        array, part = self.each(node, array.astype(np.float64), self.width), PARTS[operator]
        if part not in self.lacks:
            layer = Normalization(input_shape=(self.width,))
            layer.adapted = True
            self.append(node, layer, mean=np.zeros(self.width), variance=np.ones(self.width))
            self.lacks = {"shift", "scale"}
        mean, deviation = self.layers[-1].mean, np.sqrt(self.layers[-1].variance)
        if part == "shift":
            mean = deviation * (array if operator == "Sub" else -array)
        else:
            deviation = array if operator == "Div" else 1 / array
        least, most = self.dtype.type(DEVIATION_FLOOR), np.sqrt(np.finfo(self.dtype).max) / 2
        if not ((deviation >= least) & (deviation <= most)).all():
            raise misfit(node, f"divides by a number below {least:g} or above {most:g}, which no layer can do")
        # The root of a number's square is the number, to the bit: what is divided by stays what it was in the file.
        self.give(node, mean=mean, variance=np.square(deviation.astype(self.dtype)))
        self.lacks.remove(part)

    # --- what does nothing, or is refused -----------------------------------------------------------------------------

    def identity(self, node: NodeProto, attributes: dict) -> None:
        pass

    def dropout(self, node: NodeProto, attributes: dict) -> None:
        if len(node.input) > 2 and node.input[2] and self.constant(node, 2).any():
            raise misfit(node, "is in training mode; export the network for inference")

    def flatten(self, node: NodeProto, attributes: dict) -> None:
        if attributes.get("axis", 1) not in (1, -1):
            raise misfit(node, f"has axis={attributes['axis']}, which does not keep rows and features")

    def reshape(self, node: NodeProto, attributes: dict) -> None:
        shape = self.constant(node, 1).ravel().tolist()
        keeps = len(shape) == 2 and shape[0] in (-1, 0, self.rows) and shape[1] in (-1, 0, self.width)
        if not keeps or shape == [-1, -1] or (attributes.get("allowzero", 0) and 0 in shape):
            raise misfit(node, f"has the shape {shape}, which does not keep rows and {self.width} features")

    def cast(self, node: NodeProto, attributes: dict) -> None:
        if onnx_file.TYPES.get(attributes["to"]) != self.dtype:
            raise misfit(node, f"turns {self.dtype} into another type")


OPERATORS: dict[str, Callable[[Chain, NodeProto, dict], None]] = {
    "Gemm": Chain.gemm,
    "MatMul": Chain.matmul,
    **dict.fromkeys(ACTIVATIONS.values(), Chain.activation),
    "Softmax": Chain.softmax,
    "Add": Chain.add,
    "Sub": Chain.arithmetic,
    "Mul": Chain.arithmetic,
    "Div": Chain.arithmetic,
    "ai.onnx.ml.Scaler": Chain.scaler,
    "Identity": Chain.identity,
    "Dropout": Chain.dropout,
    "Flatten": Chain.flatten,
    "Reshape": Chain.reshape,
    "Cast": Chain.cast,
}
