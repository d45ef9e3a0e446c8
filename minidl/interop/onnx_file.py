"""An ONNX file read and known to be sound: its one input, its one output, and the nodes between them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, external_data_helper, helper, numpy_helper

from minidl import checks, files

OLDEST_OPSET = 7  # before it, operators meant other things: Dropout was in training, Add did not broadcast
TYPES: dict[int, np.dtype] = {TensorProto.FLOAT: np.dtype(np.float32), TensorProto.DOUBLE: np.dtype(np.float64)}


def content_of(path: str) -> onnx.ModelProto:
    """What the file says, with the weights that it keeps in other files."""
    with files.reading(path) as file:
        content = file.read()
    if not content:
        raise ValueError("it is empty")
    hint = "; minidl.load_model reads files of minidl" if path.lower().endswith(".safetensors") else ""
    with whatever_is_wrong(f"it is no ONNX file, or is damaged or cut off{hint}"):
        proto = onnx.ModelProto.FromString(content)
    if not proto.HasField("graph"):
        raise ValueError("it is no ONNX file, or holds no graph")
    check_names(proto.graph)
    folder = os.path.dirname(os.path.abspath(path))
    for tensor in proto.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            if not os.path.isfile(os.path.join(folder, place)):
                raise ValueError(f"its weights {tensor.name!r} are in the file {place!r}, which is not beside it")
    with whatever_is_wrong("its weights in other files cannot be read"):
        external_data_helper.load_external_data_for_model(proto, folder)
    check_opset(proto)
    with whatever_is_wrong("it is not valid ONNX"):
        onnx.checker.check_model(proto)
    return proto


@contextlib.contextmanager
def whatever_is_wrong(what: str) -> Iterator[None]:
    """Whatever onnx and protobuf raise becomes one sentence."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{what} ({' '.join(str(error).split())})") from None


def check_names(graph: onnx.GraphProto) -> None:
    """ValueError where a name is not UTF-8, which protobuf lets pass as bytes."""
    names = [part.name for part in (*graph.node, *graph.initializer, *graph.input, *graph.output)]
    names += [entry.value for tensor in graph.initializer for entry in tensor.external_data]
    for node in graph.node:
        names += [node.op_type, node.domain, *node.input, *node.output]
    if any(isinstance(name, bytes) for name in names):
        raise ValueError("it is damaged: a name in it is no text")


def check_opset(proto: onnx.ModelProto) -> None:
    """ValueError unless the operators mean what they mean here."""
    newest = onnx.defs.onnx_opset_version()
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx") and not OLDEST_OPSET <= entry.version <= newest:
            raise ValueError(
                f"it is written in opset {entry.version}, but opsets {OLDEST_OPSET} to {newest} can be read with "
                f"onnx {onnx.__version__}"
            )


def input_of(values: Sequence[ValueInfoProto]) -> tuple[str, np.dtype, int | None, int]:
    """The network's one input: its name, dtype, number of rows (None where it is free) and features."""
    if len(values) != 1:
        named = f" ({checks.listed(value.name for value in values)})" if values else ""
        raise ValueError(f"it has {len(values)} inputs{named} where a network of dense layers has one")
    name, tensor = values[0].name, values[0].type.tensor_type
    if tensor.elem_type not in TYPES:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise ValueError(f"its input {name!r} is of the type {kind}; minidl has float (float32) and double (float64)")
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    if len(sizes) != 2 or not sizes[1]:
        shape = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in tensor.shape.dim)
        raise ValueError(f"its input {name!r} has the shape ({shape}), but (rows, features) is needed, features known")
    return name, TYPES[tensor.elem_type], sizes[0], sizes[1]


def output_of(names: Sequence[str], chosen: str | None) -> str:
    """The name of the network's one output, or the chosen one."""
    if chosen is not None:
        return checks.one_of(chosen, "output", names)
    if len(names) != 1:
        named = f" ({checks.listed(names)}): choose one, as output={names[-1]!r}" if names else ""
        raise ValueError(f"it has {len(names)} outputs{named}")
    return names[0]


def needed(nodes: Sequence[NodeProto], output: str) -> list[NodeProto]:
    """The nodes that the output depends on, in their order, in which each comes after those it depends on."""
    wanted, found = {output}, []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            found.append(node)
            wanted.update(name for name in node.input if name)  # an input that is left out has no name
    return found[::-1]


def value_of(node: NodeProto) -> np.ndarray:
    """The value of a Constant node."""
    (attribute,) = node.attribute
    value = helper.get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    return np.array(value, kinds[attribute.name])


def said(node: NodeProto) -> str:
    """A node as a message names it."""
    name = f"{node.name!r}" if node.name else f"that puts out {node.output[0]!r}"
    return f"the node {name} ({node.op_type})"


def misfit(node: NodeProto, why: str) -> ValueError:
    """What is raised where a node does not fit."""
    return ValueError(f"{said(node)} {why}")
