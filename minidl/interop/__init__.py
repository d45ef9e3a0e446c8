"""Networks to and from other programs, as ONNX files; the package onnx is loaded when it is first needed."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from minidl.engines import why_not_imported

if TYPE_CHECKING:
    from minidl.model import Sequential


def export_onnx(model: Sequential, path: str | PathLike) -> None:
    """Write a model, as it predicts now, to an ONNX file: opset 17, in the model's dtype.

    The input is called "input" (batch, i), the output "output" (batch, o), for any number of rows. A dense layer
    becomes a Gemm and its activation, a normalization Sub and Div; dropout, which does nothing in inference, vanishes.
    Nodes are named after their layers ("dense/Gemm", "dense/Relu"), arrays as in ``save`` ("dense/W"). Of a model that
    was trained on a table the metadata hold, as JSON, "features" (names, in order), "classes" (labels, by index) and
    the whole "schema".

    Raises RuntimeError where the model has no weights yet, a normalization has seen no data, or onnx is not installed
    (``pip install "minidl[onnx]"``); ValueError for NaN or infinity among the weights; OSError where the file cannot
    be written. A file of before is then untouched.
    """
    require_onnx()
    from minidl.interop import onnx_export

    onnx_export.write(model, path)


def from_onnx(path: str | PathLike, output: str | None = None) -> Sequential:
    """The network of dense layers in an ONNX file, as a model that predicts the same; it is not compiled.

    ``output`` chooses between several outputs by name. Known are Gemm, and MatMul with Add; Relu, Sigmoid, Tanh and
    Softmax after them; Add, Sub, Mul, Div with constants, and scikit-learn's Scaler, as a Normalization; and what does
    nothing: Identity, Dropout in inference, Flatten, Reshape and Cast to what is there already. Weights are float32 or
    float64, all of one type. Layers are named after the nodes where these have usable names.

    Raises OSError for a file that cannot be read; ValueError for one that is no ONNX file, is damaged, or holds
    anything else: the sentence names the first node that does not fit; RuntimeError where onnx is not installed
    (``pip install "minidl[onnx]"``).
    """
    require_onnx()
    from minidl.interop import onnx_import

    return onnx_import.read(path, output)


def require_onnx() -> None:
    install = 'pip install "minidl[onnx]"'
    if reason := why_not_imported("onnx", "onnx", install, install.replace("install", "install -U")):
        raise RuntimeError(f"ONNX files need the package onnx, but {reason}")
