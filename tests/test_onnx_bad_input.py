"""ONNX files that are no network of dense layers, and models that cannot be exported: one sentence each."""

import os
import pickle

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save
from test_onnx import AFTER, CONSTANTS, DENSE, a_graph, chain, n

import minidl
from minidl import Dense, Dropout, Normalization, Sequential
from minidl.data import Column, Schema

X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.onnx"


def refusal(path, **options):
    """What is said of a bad file, once it is known to be one sentence that names the file."""
    with pytest.raises((ValueError, OSError)) as caught:
        minidl.from_onnx(path, **options)
    message = str(caught.value)
    assert type(caught.value) in (ValueError, OSError, FileNotFoundError, IsADirectoryError, PermissionError)
    assert "\n" not in message
    assert repr(os.fsdecode(path)) in message
    return message


def refusal_of(proto, path, **options):
    onnx.save(proto, path)
    return refusal(path, **options)


# --- not a file, or another one ---------------------------------------------------------------------------------------


def test_no_file(path):
    assert "there is no such file" in refusal(path)
    path.mkdir()
    assert "it is a folder" in refusal(path)
    os.mkfifo(path / "pipe")
    assert "it is no ordinary file" in refusal(path / "pipe")
    with pytest.raises(TypeError):
        minidl.from_onnx(0)


FOREIGN = {
    "text": b"name,age\nAda,36\n" * 50,
    "json": b'{"weights": [1, 2, 3]}',
    "zeros": bytes(100),
    "pickle": pickle.dumps({"weights": [1, 2, 3]}),
    "zip": b"PK\x03\x04" + bytes(200),
    "safetensors": save({"dense/W": np.zeros((3, 1), np.float32)}),
    "a message of nothing known": b"\x98\x06\x01",
    "a model without a graph": onnx.ModelProto(ir_version=8, producer_name="x").SerializeToString(),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_file_of_another_kind(name, path):
    path.write_bytes(FOREIGN[name])
    assert "it is no ONNX file, or" in refusal(path)


def test_empty_file(path):
    path.write_bytes(b"")
    assert refusal(path) == f"the file {str(path)!r} cannot be read as a network of dense layers: it is empty"


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes(seed, path):
    path.write_bytes(np.random.default_rng(seed).bytes(500))
    assert "it is no ONNX file, or" in refusal(path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The bytes of a file of ours, and where the graph ends in it."""
    path = tmp_path_factory.mktemp("sound") / "m.onnx"
    model = Sequential([Normalization(), Dense(3, "relu"), Dense(2, "softmax")], seed=0)
    model.layers[0].adapt(X)
    model(X)
    model.schema = Schema(tuple(Column(name) for name in "abcd"))
    model.export(path)
    return path.read_bytes(), model.predict(X)


def test_file_that_is_cut_off(sound, path):
    """Wherever it is cut: refused, or what is lost was of no use."""
    content, expected = sound
    refused = 0
    for length in range(len(content)):
        path.write_bytes(content[:length])
        try:
            assert minidl.from_onnx(path).predict(X).tobytes() == expected.tobytes()
        except ValueError:
            refusal(path)
            refused += 1
    assert refused > 0.5 * len(content)


@settings(max_examples=500, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=3))
def test_damaged_file_is_refused_or_is_another_network(sound, tmp_path_factory, flips):
    content, path = bytearray(sound[0]), tmp_path_factory.getbasetemp() / "damaged.onnx"
    for place, bits in flips:
        content[place % len(content)] ^= bits
    path.write_bytes(content)
    try:
        model = minidl.from_onnx(path)
    except ValueError:
        refusal(path)
    else:
        assert all(np.isfinite(array).all() for array in model.weights)


# --- not a chain of dense layers --------------------------------------------------------------------------------------

KNOWN = "is not among the operators that minidl knows: Gemm, MatMul, "
MISFITS = {
    "unknown operator": ([DENSE, n("LeakyRelu", name="leak"), AFTER], f"the node 'leak' (LeakyRelu) {KNOWN}"),
    "the first of two": ([n("Neg", name="a"), n("Abs", name="b"), DENSE], f"the node 'a' (Neg) {KNOWN}"),
    "of another domain": ([n("Binarizer", domain="ai.onnx.ml"), DENSE], "that puts out 'v1' (Binarizer) is not am"),
    "labels": ([DENSE, n("ArgMax", name="top")], f"the node 'top' (ArgMax) {KNOWN}"),
    "input turned over": ([n("Gemm", "* W", transA=1)], "turns its input over (transA=1)"),
    "weights that do not fit": ([n("Gemm", "* T b")], "weights of the shape (3, 4), but is given 4 features"),
    "weights first": ([n("MatMul", "W *")], "takes 'x' where minidl needs a constant"),
    "vector of weights": ([n("MatMul", "* b")], "weights of the shape (3,), but is given 4 features"),
    "bias that does not fit": ([n("Gemm", "* W mean")], "takes a constant of the shape (4,) for 3 features"),
    "bias for each row": ([n("Gemm", "* W rows")], "takes a constant of the shape (4, 3) for 3 features"),
    "sum that does not fit": ([n("MatMul", "* W"), n("Add", "* mean")], "of the shape (4,) for 3 features"),
    "shift that makes more columns": ([n("MatMul", "* single"), n("Sub", "* b")], "of the shape (3,) for 1 features"),
    "activation first": ([n("Relu", name="r"), DENSE], "the node 'r' (Relu) has no dense layer before it"),
    "two activations": ([DENSE, n("Relu"), n("Tanh")], "(Tanh) has no dense layer before it that is without an act"),
    "activation after arithmetic": ([DENSE, n("Mul", "* one"), n("Relu")], "(Relu) has no dense layer before it"),
    "softmax over rows": ([DENSE, n("Softmax", axis=0)], "has axis=0, but the features are the last axis"),
    "softmax over nothing": ([DENSE, n("Softmax", axis=2)], "has axis=2"),
    "taken from a constant": ([n("Sub", "one *"), DENSE], "(Sub) has its constant first"),
    "a constant parted": ([n("Div", "one *"), DENSE], "(Div) has its constant first"),
    "divided by 0": ([n("Div", "* zero"), DENSE], "(Div) divides by a number below 1e-07 or above 9.2"),
    "times 0": ([n("Mul", "* zero"), DENSE], "(Mul) divides by a number below 1e-07 or above 9.2"),
    "divided by very little": ([n("Div", "* small"), DENSE], "divides by a number below 1e-07"),
    "divided by less than 0": ([n("Div", "* minus"), DENSE], "divides by a number below 1e-07"),
    "divided by very much": ([n("Div", "* large"), DENSE], "divides by a number below 1e-07 or above 9.2"),
    "shifted beyond float32": ([n("Div", "* half"), n("Sub", "* large"), DENSE], "too large for float32"),
    "weights beyond float32": ([n("Gemm", "* large_W", alpha=1e10)], "W of the node that puts out 'y' (Gemm) holds"),
    "bias beyond float32": ([n("Gemm", "* W large", beta=-1e20)], "b of the node that puts out 'y' (Gemm) holds -inf"),
    "dropout in training": ([n("Dropout", "* one yes"), DENSE], "is in training mode; export the network for"),
    "flattened to one row": ([n("Flatten", axis=0), DENSE], "has axis=0, which does not keep rows and features"),
    "reshaped": ([n("Reshape", "* two"), DENSE], "has the shape [-1, 2], which does not keep rows and 4 features"),
    "reshaped to a row": ([n("Reshape", "* flat"), DENSE], "has the shape [-1], which"),
    "reshaped to other rows": ([n("Reshape", "* five"), DENSE], "has the shape [5, 4], which"),
    "reshaped to anything": ([n("Reshape", "* free"), DENSE], "has the shape [-1, -1], which"),
    "reshaped to none": ([n("Reshape", "* both", allowzero=1), DENSE], "has the shape [0, 0], which"),
    "another type": ([n("Cast", to=TensorProto.DOUBLE), DENSE], "turns float32 into another type"),
    "whole numbers": ([n("Cast", to=TensorProto.INT64), DENSE], "turns float32 into another type"),
    "computed weights": ([n("MatMul", "* x")], "takes 'x', 'x', and not what the node before it puts out, 'x', alone"),
    "scaler that does not fit": ([n("Scaler", domain="ai.onnx.ml", offset=[1.0, 2]), DENSE], "of the shape (2,) for 4"),
}  # fmt: skip
MORE = {
    "rows": np.ones((4, 3), np.float32), "single": np.ones((4, 1), np.float32), "yes": np.array(True),
    "small": np.float32([9e-8]), "minus": np.float32([1, 1, -1, 1]), "large": np.float32([1e30]),
    "half": np.float32([1e18]), "large_W": np.full((4, 3), 1e30, np.float32), "two": np.array([-1, 2]),
    "flat": np.array([-1]), "free": np.array([-1, -1]),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_the_first_node_that_does_not_fit_is_named(name, path):
    nodes, sentence = MISFITS[name]
    assert sentence in refusal_of(a_graph(chain(*nodes), constants=MORE), path)


def test_scaler_in_float64(path):
    nodes = chain(n("Scaler", domain="ai.onnx.ml", offset=[1.0]), DENSE)
    assert "(Scaler) puts out float32, but the network is of float64" in refusal_of(a_graph(nodes, np.float64), path)


def test_branches(path):
    make = helper.make_node
    fork = [make("Gemm", ["x", "W"], ["a"]), make("Gemm", ["x", "W"], ["c"], "second"), make("Add", ["a", "c"], ["y"])]
    said = "the node 'second' (Gemm) takes 'x', and not what the node before it puts out, 'a', alone"
    assert said in refusal_of(a_graph(fork), path)
    around = [make("Gemm", ["x", "W"], ["a"]), make("Relu", ["a"], ["r"]), make("Add", ["r", "a"], ["y"], "skip")]
    said = "the node 'skip' (Add) takes 'r', 'a', and not what the node before it puts out, 'r', alone"
    assert said in refusal_of(a_graph(around), path)


def test_constants_that_are_computed(path):
    nodes = [helper.make_node("Cast", ["W"], ["c"], "cast", to=1), helper.make_node("MatMul", ["x", "c"], ["y"])]
    assert "the node 'cast' (Cast) takes constants alone" in refusal_of(a_graph(nodes), path)
    nodes = [helper.make_node("Constant", [], ["c"], value_string="W"), helper.make_node("MatMul", ["x", "c"], ["y"])]
    assert "the constant 'c' cannot be read" in refusal_of(a_graph(nodes), path)


def test_nothing_to_read(path):
    assert "there is no layer in it" in refusal_of(a_graph(chain(n("Identity"))), path)
    assert "there is no layer in it" in refusal_of(a_graph(chain(DENSE), outputs=("x",)), path)
    assert "its output 'W' is not what its last node" in refusal_of(a_graph(chain(DENSE), outputs=("W",)), path)
    nodes = [helper.make_node("Dropout", ["x"], ["kept", "mask"])]
    assert "its output 'mask' is not what its last node" in refusal_of(a_graph(nodes, outputs=("mask",)), path)


def test_a_function_of_the_file_s_own(path):
    """It may have the name of an operator and do something else."""
    proto = a_graph(chain(DENSE, n("Relu", name="r")))
    body = [helper.make_node("Neg", ["a"], ["z"])]
    proto.functions.append(helper.make_function("", "Relu", ["a"], ["z"], body, [helper.make_opsetid("", 17)]))
    assert "the node 'r' (Relu) is a function of the file's own" in refusal_of(proto, path)


# --- inputs and outputs -----------------------------------------------------------------------------------------------


def value(name, kind=TensorProto.FLOAT, shape=("n", 4)):
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ([value("x"), value("t")], "it has 2 inputs ('x', 't') where a network of dense layers has one"),
        ([value("x", TensorProto.FLOAT16)], "its input 'x' is of the type float16; minidl has float (float32) and"),
        ([value("x", TensorProto.INT64)], "its input 'x' is of the type int64"),
        ([helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, ("n", 4))], "'x' is of the type undefined"),
        ([value("x", shape=("n", "features"))], "has the shape (n, features), but (rows, features) is needed"),
        ([value("x", shape=("n", None))], "has the shape (n, ?), but (rows, features) is needed, features known"),
        ([value("x", shape=(None, 0))], "has the shape (?, ?)"),
        ([value("x", shape=(4,))], "has the shape (4), but"),
        ([value("x", shape=("n", 28, 28))], "has the shape (n, 28, 28), but"),
    ],
)
def test_inputs(inputs, sentence, path):
    proto = a_graph(chain(DENSE))
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    assert sentence in refusal_of(proto, path)


def test_no_input(path):
    proto = a_graph([helper.make_node("Identity", ["W"], ["y"])])
    del proto.graph.input[:]
    assert "it has 0 inputs where" in refusal_of(proto, path)


def test_outputs(path):
    proto = a_graph(chain(DENSE))
    proto.graph.node.append(helper.make_node("Relu", ["y"], ["other"]))
    proto.graph.output.append(value("other", shape=("n", 3)))
    assert "it has 2 outputs ('y', 'other'): choose one, as output='other'" in refusal_of(proto, path)
    assert "output cannot be 'othr'; did you mean 'other'?" in refusal_of(proto, path, output="othr")
    assert "output cannot be 3" in refusal_of(proto, path, output=3)
    del proto.graph.output[:]
    assert "it has 0 outputs" in refusal_of(proto, path)


@pytest.mark.parametrize("opset", [6, 99])
def test_opsets(opset, path):
    newest = onnx.defs.onnx_opset_version()
    said = refusal_of(a_graph(chain(DENSE), opset=opset), path)
    assert f"it is written in opset {opset}, but opsets 7 to {newest} can be read with onnx" in said


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        (chain(n("Gemm", "*")), "it is not valid ONNX (Node"),
        (chain(n("Gemm", "* nowhere")), "it is not valid ONNX (Nodes in a graph must be topologically sorted"),
        (chain(n("Gemm", "* W", transB=1.0)), "it is not valid ONNX (Mismatched attribute type"),
        (chain(n("Nonsense")), "it is not valid ONNX (No Op registered for Nonsense"),
        (chain(DENSE)[::-1] * 2, "it is not valid ONNX (Graph must be in single static assignment"),
    ],
)
def test_what_onnx_itself_refuses(nodes, sentence, path):
    assert sentence in refusal_of(a_graph(nodes), path)


# --- weights ----------------------------------------------------------------------------------------------------------


def with_weights(W, name="W"):
    proto = a_graph(chain(DENSE))
    for tensor in proto.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(W, name))
    return proto


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda W: np.where(W[1, 2] == W, np.nan, W), "the constant 'W' holds NaN in row 1 column 2"),
        (lambda W: np.where(W[0, 0] == W, -np.inf, W), "the constant 'W' holds -inf in row 0 column 0"),
        (lambda W: W.astype(np.float16), "takes the constant 'W' of float16, but the network is of float32"),
        (lambda W: W.astype(np.int8), "takes the constant 'W' of int8"),
        (lambda W: W.astype(np.float64), "takes the constant 'W' of float64"),
        (lambda W: W.astype(str).astype(object), "takes the constant 'W' of object"),
        (lambda W: W[:, :0], "the constant 'W' is empty: it has shape (4, 0)"),
        (lambda W: W[None], "has weights of the shape (1, 4, 3)"),
    ],
)
def test_weights(change, sentence, path):
    W = CONSTANTS["W"].astype(np.float32)
    assert sentence in refusal_of(with_weights(np.asarray(change(W), change(W).dtype)), path)


def test_one_number_that_is_nan(path):
    proto = a_graph(chain(n("Gemm", "* W one")), constants={"one": np.array(np.nan, np.float32)})
    assert "the constant 'one' holds NaN" in refusal_of(proto, path)


def test_tensors_that_are_damaged(path):
    proto = with_weights(CONSTANTS["W"].astype(np.float32))
    tensor = proto.graph.initializer[0]
    tensor.raw_data += b"1234"
    assert "the constant 'W' cannot be read" in refusal_of(proto, path)
    tensor.raw_data = b"123"
    refusal_of(proto, path)
    tensor.data_type = 77
    refusal_of(proto, path)


@pytest.fixture
def apart(path):
    """A file with its weights in another file."""
    proto = a_graph(chain(DENSE))
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    return onnx.load(path, load_external_data=False)


def test_weights_in_a_file_that_is_missing(apart, path, tmp_path):
    (tmp_path / "m.data").unlink()
    assert "its weights 'W' are in the file 'm.data', which is not beside it" in refusal(path)


def test_weights_in_a_file_that_is_cut_off(apart, path, tmp_path):
    (tmp_path / "m.data").write_bytes(b"1234567")
    refusal(path)


def test_weights_outside_the_folder(apart, path, tmp_path):
    (tmp_path / "folder").mkdir()
    for entry in apart.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../m.data"
    (tmp_path / "folder" / "m.onnx").write_bytes(apart.SerializeToString())
    (tmp_path / "folder" / "m.data").write_bytes((tmp_path / "m.data").read_bytes())
    assert "its weights in other files cannot be read" in refusal(tmp_path / "folder" / "m.onnx")


def test_schema_that_does_not_fit(sound, path):
    proto = onnx.ModelProto.FromString(sound[0])
    entry = next(entry for entry in proto.metadata_props if entry.key == "schema")
    for text in ("", "[]", "[" * 100_000, '{"columns": [], "target": null, "left_out": []}'):
        entry.value = text
        assert "its schema is damaged" in refusal_of(proto, path)
    proto.producer_name = "somebody else"
    onnx.save(proto, path)
    assert minidl.from_onnx(path).schema is None


# --- export -----------------------------------------------------------------------------------------------------------


def a_model(*layers):
    return Sequential([*layers, Dense(2)], seed=0)


def test_model_without_weights(path):
    with pytest.raises(RuntimeError, match="the model has no weights yet: give its first layer an input_shape"):
        a_model().export(path)
    with pytest.raises(RuntimeError, match="the model has no weights yet"):
        Sequential().export(path)
    assert not path.exists()


@pytest.mark.parametrize("trainable", [True, False])
def test_normalization_that_has_seen_no_data(trainable, path):
    model = a_model(Dense(4, input_shape=(4,)), Normalization(trainable=trainable))
    with pytest.raises(RuntimeError, match="the layer 'normalization' has seen no data: call fit, or its adapt, befor"):
        model.export(path)
    assert not path.exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(bad, path):
    model = a_model(Dense(3, input_shape=(4,)))
    model.export(path)
    before = path.read_bytes()
    model.layers[1].W[1, 0] = bad
    with pytest.raises(ValueError, match=r"the model cannot be exported: dense_1/W holds (NaN|inf) in row 1 column 0"):
        model.export(path)
    assert path.read_bytes() == before


def test_variance_below_0(path):
    model = a_model(Normalization(input_shape=(4,)))
    model.layers[0].adapt(X)
    model.layers[0].variance = [1, -1, 1, 1]
    with pytest.raises(ValueError, match="normalization/deviation holds NaN in row 1"):
        model.export(path)


def test_name_that_no_file_can_hold(path):
    with pytest.raises(ValueError, match="the model cannot be exported: "):
        a_model(Dropout(0.1, input_shape=(4,)), Dense(3, name="\ud800")).export(path)
    assert not path.exists()


def test_more_weights_than_a_file_holds(path, monkeypatch):
    monkeypatch.setattr("minidl.interop.onnx_export.LIMIT", 100)
    with pytest.raises(ValueError, match="its weights take more than 100 bytes, ONNX's limit"):
        a_model(Dense(30, input_shape=(4,))).export(path)


def test_places_where_nothing_can_be_written(path, tmp_path):
    model = a_model(Dense(3, input_shape=(4,)))
    with pytest.raises(IsADirectoryError, match="it is a folder; name a file"):
        model.export(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        model.export(path / "deeper")


def test_an_ending_that_names_the_other_format(tmp_path):
    model, onnx_path, own = a_model(Dense(3, input_shape=(4,))), tmp_path / "w.ONNX", tmp_path / "w.safetensors"
    for one in (model, minidl.quantize(model, dynamic=True)):
        with pytest.raises(ValueError, match=r"ONNX' has the ending of another format: .* by the model's export"):
            one.save(onnx_path)
        with pytest.raises(ValueError, match=r"safetensors' has the ending of another format: .* by the model's save"):
            one.export(own)
    with pytest.raises(ValueError, match="by the model's export"):
        model.save_weights(onnx_path)
    assert not any(tmp_path.iterdir())
    model.save(own), model.export(onnx_path)
    with pytest.raises(ValueError, match=r"minidl\.load_model reads files of minidl"):
        minidl.from_onnx(own)
    with pytest.raises(ValueError, match=r"minidl\.from_onnx reads ONNX files"):
        minidl.load_model(onnx_path)


def test_without_the_package_onnx(path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    sentence = r'need the package onnx, but onnx is not installed; install it with: pip install "minidl\[onnx\]"'
    with pytest.raises(RuntimeError, match=sentence):
        a_model(Dense(3, input_shape=(4,))).export(path)
    with pytest.raises(RuntimeError, match=sentence):
        minidl.from_onnx(path)
