"""Quantized models as ONNX files: ONNX Runtime's whole numbers are the model's after every layer, but for one step."""

import json
import platform
from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import binding
from onnx import TensorProto, helper, numpy_helper
from test_bad_input import refused
from test_int8 import program

import minidl
from minidl import Dense, Dropout, Normalization, Sequential, data, quantize
from minidl import contract as c
from minidl.cli import main
from minidl.inference.quantize import QuantizedModel
from minidl.layers import ACTIVATIONS

pytestmark = pytest.mark.filterwarnings("ignore:.*of the inputs so far lie outside of the range")
NUMPY = minidl.get_engine("numpy")
RNG = np.random.default_rng(1)
ROWS = RNG.normal(1, 3, (10_000, 5)).astype(np.float32)  # one in twenty entries lies beyond the range
EDGES = np.float32([0, -0.0, 1e-40, -5e-45, 0.5, 1e10, -1e10, 1e30, -3e38, 3e38])
ROWS[: len(EDGES)] = EDGES[:, None]
ROWS[len(EDGES) : 2 * len(EDGES), 2] = EDGES
SEEN = RNG.normal(1, 1.5, (300, 5)).astype(np.float32)

# How ONNX Runtime computes: its product of uint8 and int8, which without VNNI is inexact on x86-64; that of uint8 and
# uint8 in its place, which the option is for; and in floating point, each node as it stands in the file.
HAS = binding.get_host_cpu_features()
SATURATES = platform.machine().lower() in ("x86_64", "amd64") and not (HAS.get("avx512vnni") or HAS.get("avxvnni"))
inexact = pytest.mark.skipif(SATURATES, reason="without VNNI, ONNX Runtime's product of uint8 and int8 saturates")
WAYS = ["uint8", pytest.param("fast", marks=inexact), "exact", "as it stands"]


def weights(way):
    """How the file is to hold them for this way."""
    return "uint8" if way == "uint8" else "int8"


def a_model(layers, inputs=5):
    """A quantized model with weights and biases of usual size."""
    model, rng = Sequential(layers, seed=0), np.random.default_rng(2)
    model._engine = NUMPY
    model._build(inputs)
    for layer in model.layers:
        if isinstance(layer, Normalization):
            layer.adapt(rng.normal(0.5, 2, (50, layer.inputs)))
        else:
            layer.set_weights([rng.normal(0, 1 / np.sqrt(len(array)), array.shape) for array in layer.weights])
    return quantize(model, SEEN[:, :inputs])


def run(path, X, way="exact"):
    """What ONNX Runtime computes: the output, and what each QuantizeLinear puts out; and the nodes that did so."""
    proto, options = onnx.load(path), onnxruntime.SessionOptions()
    whole = [node.output[0] for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    proto.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.UINT8, None) for name in whole)
    options.optimized_model_filepath, options.log_severity_level = f"{path}.optimized", 3
    options.add_session_config_entry("session.x64quantprecision", "0" if way in ("fast", "uint8") else "1")
    if way == "as it stands":
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    y, *whole = session.run(None, {"input": X})
    return y, whole, [node.op_type for node in onnx.load(f"{path}.optimized").graph.node]


# --- the arithmetic of minidl, layer by layer -------------------------------------------------------------------------


def in_whole_numbers(layer, following):
    return layer.activation in (c.LINEAR, c.RELU) and not following.mean.size


def into(layer, x):
    """The whole numbers that a layer is given for x."""
    with np.errstate(over="ignore"):
        x = (x - layer.mean) / layer.deviation if layer.mean.size else x
        return NUMPY.quantize(x, layer.x_scale, layer.x_zero)


def out_of(layer, q):
    """The numbers that it makes of whole numbers."""
    z = NUMPY.dequantize(NUMPY.dense_int8(q, layer.W), layer.offset, layer.factor)
    return (NUMPY.linear, NUMPY.sigmoid, NUMPY.relu, NUMPY.tanh, NUMPY.softmax)[layer.activation](z)


def between(layer, following, q):
    """The whole numbers that the next layer is given, from those of a layer."""
    if not in_whole_numbers(layer, following):
        return into(following, out_of(layer, q))
    low = following.x_zero if layer.activation == c.RELU else 0
    s, multiplier = NUMPY.dense_int8(q, layer.W), layer.factor / following.x_scale
    return NUMPY.requantize(s, layer.offset, multiplier, following.x_zero, low)


def behind(made, y):
    return (y - made.mean) / made.deviation if made.mean.size else y


def assert_a_step_at_most(found, expected):
    """And none at all but for one in a thousand."""
    off = np.abs(found.astype(int) - expected)
    assert off.max() <= 1
    assert np.count_nonzero(off) <= 1 + off.size / 1000


def assert_each_layer_is_minidls(made, X, y, whole, fused):
    """Each layer given ONNX Runtime's own whole numbers: equal where all is whole and fused, else for one step."""
    assert_a_step_at_most(whole[0], into(made.layers[0], X))
    for (layer, following), q, found in zip(pairwise(made.layers), whole[:-1], whole[1:], strict=True):
        expected = between(layer, following, q)
        if fused and in_whole_numbers(layer, following):
            np.testing.assert_array_equal(found, expected)
        else:
            assert_a_step_at_most(found, expected)
    expected = behind(made, out_of(made.layers[-1], whole[-1]))
    if fused and made.layers[-1].activation in (c.LINEAR, c.RELU) and not made.mean.size:
        np.testing.assert_array_equal(y, expected)
    else:
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


STRUCTURES = {
    **{f"{name} inside": lambda name=name: [Dense(6, name), Dense(7, name), Dense(3)] for name in ACTIVATIONS},
    **{f"{name} last": lambda name=name: [Dense(6, "relu"), Dense(3, name)] for name in ACTIVATIONS},
    "bottleneck": lambda: [Dense(20, "relu"), Dense(2), Dense(20, "tanh"), Dense(3)],
    "one unit": lambda: [Dense(1, "sigmoid")],
    "one unit inside": lambda: [Dense(9, "relu"), Dense(1, "relu"), Dense(2)],
    "no bias": lambda: [Dense(6, "relu", use_bias=False), Dense(1, use_bias=False)],
    "normalization first": lambda: [Normalization(), Dense(6, "relu"), Dense(1, "sigmoid")],
    "normalization in the middle": lambda: [Dense(6, "tanh"), Normalization(), Dense(7, "relu"), Dense(2)],
    "normalization after a ReLU": lambda: [Dense(7, "relu"), Normalization(), Dense(2)],
    "normalization behind": lambda: [Dense(6, "relu"), Dense(2), Normalization()],
    "all of them": lambda: [Normalization(), Dense(6), Normalization(), Dense(3, "softmax"), Normalization()],
    "dropout": lambda: [Dropout(0.5), Dense(6, "relu"), Dropout(0.9), Dense(2), Dropout(0.1)],
    "deep and wide": lambda: [Dense(200, "relu"), *(Dense(units, "relu") for units in (100, 33, 10, 20)), Dense(2)],
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", STRUCTURES)
def test_onnx_runtime_is_one_step_off_at_most(name, way, tmp_path):
    """Through the whole network, in whole numbers after each layer; the output is off by what those are worth."""
    model, path = a_model(STRUCTURES[name]()), tmp_path / "m.onnx"
    model.export(path, weights(way))
    onnx.checker.check_model(path, full_check=True)
    y, whole, _ = run(path, ROWS, way)
    made, q = model._program, into(model.layers[0], ROWS)
    for layer, following, found in zip(model.layers, [*model.layers[1:], None], whole, strict=True):
        assert_a_step_at_most(found, q)
        q = between(layer, following, q) if following else q
    expected, last = model.predict(ROWS), model.layers[-1]
    worth = np.abs(whole[-1].astype(int) - q) @ np.abs(last.W.astype(int)) * last.factor
    worth = worth / made.deviation if made.mean.size else worth
    assert (y.dtype, y.shape) == (expected.dtype, expected.shape)
    assert (np.abs(y - expected) <= worth + 1e-5 * np.abs(expected).max()).all()
    assert_each_layer_is_minidls(made, ROWS, y, whole, fused=way != "as it stands")
    assert run(path, ROWS[:1], way)[0] == pytest.approx(y[:1], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("way", WAYS)
@settings(derandomize=True, deadline=None, max_examples=50)
@given(
    widths=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    seed=st.integers(0, 2**32),
    after=st.booleans(),
)
def test_any_whole_numbers(way, widths, seed, after, tmp_path_factory):
    """Zeros anywhere in the range, behind a ReLU too; normalizations anywhere; ranges that fit nothing."""
    rng, path = np.random.default_rng(seed), tmp_path_factory.mktemp("onnx") / "m.onnx"
    activations = rng.choice(list(ACTIVATIONS.values()), len(widths) - 1).tolist()
    normalized = np.flatnonzero(rng.random(len(activations)) < 0.3).tolist()
    made = program(rng, widths, activations, normalized, behind=after)
    QuantizedModel(made, None, None, NUMPY).export(path, weights(way))
    X = rng.normal(0, 2, (200, widths[0])).astype(np.float32)
    y, whole, operators = run(path, X, way)
    assert_each_layer_is_minidls(made, X, y, whole, fused=way != "as it stands" and "FusedGemm" not in operators)


def test_a_network_by_hand(tmp_path):
    """Inputs of 0 to 255 in steps of 1, weights in steps of 1/2 and 1/4, biases rounded to those: all is exact."""
    model = Sequential([Dense(2, input_shape=(2,))], seed=0)
    model.set_weights([[[63.5, 0.25], [-1, -31.75]], [10, -3]])
    quantize(model, [[0, 0], [255, 255], *[[1, 0]] * 9]).export(tmp_path / "m.onnx")
    # 3 * 63.5 - 2 + 10 and 3 * 0.25 - 2 * 31.75 - 3; 2.5 is rounded to 2 and 300 to 255
    y, (q,), _ = run(tmp_path / "m.onnx", np.float32([[3, 2], [2.5, 300]]))
    assert q.tolist() == [[3, 2], [2, 255]]
    assert y.tolist() == [[198.5, -65.75], [-118, -8098.75]]


# --- the graph --------------------------------------------------------------------------------------------------------


def test_what_is_in_the_file(tmp_path):
    model = a_model([Normalization(), Dense(6, "relu", name="a/b"), Dense(3, use_bias=False), Normalization()])
    model.export(tmp_path / "m.onnx", weights="int8")
    proto = onnx.load(tmp_path / "m.onnx")
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 17)]
    assert [node.name for node in proto.graph.node] == [
        "a/b/Sub", "a/b/Div", "a/b/QuantizeLinear", "a/b/DequantizeLinear", "a/b/DequantizeLinear_W",
        "a/b/DequantizeLinear_bias", "a/b/Gemm", "a/b/Relu", "dense/QuantizeLinear", "dense/DequantizeLinear",
        "dense/DequantizeLinear_W", "dense/Gemm", "/Sub", "/Div",
    ]  # fmt: skip
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    first, second = model.layers
    expected = {
        "a/b/mean": first.mean, "a/b/deviation": first.deviation, "a/b/x_scale": first.x_scale,
        "a/b/x_zero": np.uint8(first.x_zero), "a/b/W": first.W, "a/b/W_scale": first.scale,
        "a/b/W_zero": np.zeros(6, np.int8), "a/b/bias": np.rint(first.bias / first.factor).astype(np.int32),
        "a/b/bias_scale": first.factor, "a/b/bias_zero": np.zeros(6, np.int32), "dense/x_scale": second.x_scale,
        "dense/x_zero": np.uint8(0), "dense/W": second.W, "dense/W_scale": second.scale,
        "dense/W_zero": np.zeros(3, np.int8), "/mean": model._program.mean, "/deviation": model._program.deviation,
    }  # fmt: skip
    assert list(arrays) == list(expected)
    for name, array in expected.items():
        assert (arrays[name].dtype, arrays[name].tolist()) == (array.dtype, array.tolist())
    axes = {node.name: node.attribute[0].i for node in proto.graph.node if node.attribute}
    assert axes == {"a/b/DequantizeLinear_W": 1, "a/b/DequantizeLinear_bias": 0, "dense/DequantizeLinear_W": 1}
    model.save(tmp_path / "m")
    minidl.load_model(tmp_path / "m").export(tmp_path / "again.onnx", weights="int8")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
    model.export(tmp_path / "m.onnx")
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / "m.onnx").graph.initializer}
    assert arrays["a/b/W"].dtype == arrays["a/b/W_zero"].dtype == np.uint8
    assert (arrays["a/b/W"].astype(int) - arrays["a/b/W_zero"]).tolist() == first.W.tolist()


FUSED = {
    "bottleneck": ["QuantizeLinear", "QGemm", "QGemm", "QGemm", "Tanh", "QuantizeLinear", "QGemm"],
    "relu inside": ["QuantizeLinear", "QGemm", "QGemm", "QGemm"],  # the ReLU is in the rounding
    "no bias": ["QuantizeLinear", "QGemm", "QGemm"],
    "relu last": ["QuantizeLinear", "QGemm", "QGemm", "Relu"],
    "tanh inside": ["QuantizeLinear", *["QGemm", "Tanh", "QuantizeLinear"] * 2, "QGemm"],
    "normalization first": ["Sub", "Div", "QuantizeLinear", "QGemm", "QGemm", "Sigmoid"],
    "deep and wide": ["QuantizeLinear", *["QGemm"] * 6],
}


@pytest.mark.parametrize("way", ["uint8", "fast", "exact"])
@pytest.mark.parametrize("name", FUSED)
def test_onnx_runtime_fuses_what_is_whole(name, way, tmp_path):
    a_model(STRUCTURES[name]()).export(tmp_path / "m.onnx", weights(way))
    assert run(tmp_path / "m.onnx", ROWS, way)[2] == FUSED[name]


def test_columns_and_labels_come_along(tmp_path):
    table = data.read_csv(data.BREAST_CANCER, target="benign")
    model = Sequential([Normalization(), Dense(8, "relu"), Dense(1, "sigmoid")], seed=0)
    model.compile("adam", "binary_crossentropy", engine="numpy")
    model.fit(table, epochs=2, verbose=0)
    model.export(tmp_path / "float.onnx")
    quantized = quantize(model, table)
    quantized.export(tmp_path / "m.onnx")
    said, expected = (onnx.load(tmp_path / name).metadata_props for name in ("m.onnx", "float.onnx"))
    assert said == expected
    assert json.loads(said[0].value) == model.schema.features
    X = table.X.astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "m.onnx", X)[0], quantized.predict(table), atol=0.01)


# --- what is refused, and the command line ----------------------------------------------------------------------------


def test_a_dynamic_model_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_text("what was there before")
    model = Sequential([Dense(2, input_shape=(5,))], seed=0)
    with refused(RuntimeError, "a dynamic model cannot be exported", "quantize the model with calibration_data"):
        quantize(model, dynamic=True).export(path)
    assert path.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_else_is_refused(tmp_path, monkeypatch):
    model, path = a_model([Normalization(), Dense(2)]), tmp_path / "m.onnx"
    model.export(path)
    with refused(ValueError, "cannot be read as", "the node 'dense/QuantizeLinear'", "is of a quantized network"):
        minidl.from_onnx(path)
    with refused(FileNotFoundError, "there is no folder"):
        model.export(path / "deeper")
    with refused(ValueError, "weights cannot be 'int4'"):
        model.export(path, "int4")
    before = path.read_bytes()
    monkeypatch.setattr("minidl.interop.onnx_export.LIMIT", 50)
    with refused(ValueError, "the model cannot be exported: its weights take more than 50 bytes, ONNX's limit"):
        model.export(path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with refused(RuntimeError, "ONNX files need the package onnx", 'pip install "minidl[onnx]"'):
        model.export(path)
    assert path.read_bytes() == before


def test_from_the_command_line(tmp_path, capsys):
    model, path = a_model([Dense(3, "relu"), Dense(2)]), tmp_path / "m.safetensors"
    model.save(path)
    assert main(["export", str(path), "--out", str(tmp_path / "m.onnx")]) == 0
    assert capsys.readouterr().out == f"written: {tmp_path / 'm.onnx'}\n"
    model.export(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
    quantize(Sequential([Dense(2, input_shape=(5,))], seed=0), dynamic=True).save(path)
    assert main(["export", str(path), "--out", str(tmp_path / "m.onnx")]) == 1
    assert "a dynamic model cannot be exported" in capsys.readouterr().err
