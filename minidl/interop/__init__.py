"""Networks to and from other programs, as ONNX files; the package onnx is loaded when it is first needed."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from minidl import files
from minidl.engines import why_not_imported

if TYPE_CHECKING:
    from minidl.inference.quantize import QuantizedModel
    from minidl.model import Sequential


def export_onnx(model: Sequential, path: str | PathLike) -> None:
    """Write a model, as it predicts now, to an ONNX file: opset 17, in the model's dtype.

    The input is called "input" (batch, i), the output "output" (batch, o), for any number of rows. A dense layer
    becomes a Gemm and its activation, a normalization Sub and Div; dropout, which does nothing in inference, vanishes.
    Nodes are named after their layers ("dense/Gemm", "dense/Relu"), arrays as in ``save`` ("dense/W"). Of a model that
    was trained on a table the metadata hold, as JSON, "features" (names, in order), "classes" (labels, by index) and
    the whole "schema".

    Raises RuntimeError where the model has no weights yet, a normalization has seen no data, or onnx is not installed
    (``pip install "minidl[onnx]"``); ValueError for NaN or infinity among the weights, and for a path that ends in
    .safetensors; OSError where the file cannot be written. A file of before is then untouched.
    """
    require_onnx(path)
    from minidl.interop import onnx_export

    onnx_export.write(model, path)


def export_quantized(model: QuantizedModel, path: str | PathLike, weights: str = "uint8") -> None:
    """Write a quantized model to an ONNX file in the QDQ form: opset 17, float32, named as in ``export_onnx``.

    Before a dense layer come its normalization, as Sub and Div, and QuantizeLinear and DequantizeLinear with the step
    ("dense/x_scale") and the zero ("dense/x_zero", uint8) of its inputs; then a Gemm, to which the weights ("dense/W")
    and the bias ("dense/bias", int32) come through a DequantizeLinear each, with a step for each unit ("dense/W_scale",
    and for the bias that times x_scale) and a zero ("dense/W_zero"); then its activation. Metadata are those of
    ``export_onnx``. ``from_onnx`` does not read such a file; ``save`` and ``load_model`` are there for that.

    ONNX Runtime (1.32) multiplies in whole numbers (QGemm), and a ReLU between two layers becomes part of the rounding;
    only a layer whose ReLU a normalization follows is computed in float32. Given the same whole numbers, a layer of
    relu or linear with no normalization behind it puts out the same as in ``predict``, to the bit. Where numbers are
    rounded to whole ones, a few are one step apart, and none more: of the inputs one in a million, since ONNX divides
    by the step and minidl multiplies by its inverse; after other activations and normalizations, which differ in the
    last place, one in a hundred thousand.

    weights: "uint8", around a zero of 128, is right on every processor. "int8", around 0, is about twice as fast in
    ONNX Runtime where a processor has VNNI (AMD's from Zen 4 on, many of Intel's), but **wrong on other x86-64
    processors**: there the product of uint8 and int8 adds pairs of products in 16 bits (VPMADDUBSW), and what is beyond
    32,767 is cut off without a word, so that outputs may be far off. In such a file this makes it exact, but slower:

        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", "1")

    Raises RuntimeError for a dynamic model, whose rows have ranges of their own, and where onnx is not installed
    (``pip install "minidl[onnx]"``); ValueError for more weights than ONNX holds, and for a path that ends in
    .safetensors; OSError where the file cannot be written. A file of before is then untouched.
    """
    require_onnx(path)
    from minidl.interop import onnx_int8

    onnx_int8.write(model, path, weights)


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


def require_onnx(written: str | PathLike = "") -> None:
    """RuntimeError where onnx is missing; ValueError where what is to be written looks like another file."""
    files.refuse_ending(written, ".safetensors", "export writes ONNX; a file of minidl is written by the model's save")
    install = 'pip install "minidl[onnx]"'
    if reason := why_not_imported("onnx", "onnx", install, install.replace("install", "install -U")):
        raise RuntimeError(f"ONNX files need the package onnx, but {reason}")
