"""ONNX files: what ONNX Runtime computes from ours is what the model predicts, and what we read from others' is too."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import minidl
from minidl import Dense, Dropout, Normalization, Sequential, data
from minidl.data import Column, Schema, Target
from minidl.layers import ACTIVATIONS

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
ROWS = np.random.default_rng(1).normal(1, 3, size=(10_000, 4))
ROWS[:, 2] = 5  # a column that says nothing: its deviation is 0


def a_model(layers, dtype="float32", inputs=4, engine="numba"):
    """A model with weights of usual size, its normalizations adapted to data with one constant column."""
    model = Sequential(layers, seed=0)
    model._dtype, model._engine = np.dtype(dtype), minidl.get_engine(engine)
    model._build(inputs)
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, Normalization):
            layer.adapt(ROWS if layer.inputs == 4 else rng.normal(0, 2, (50, layer.inputs)))
        else:
            layer.set_weights([rng.normal(0, 1 / np.sqrt(len(array)), array.shape) for array in layer.weights])
    return model


def run(path, X):
    """What ONNX Runtime computes."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: X})[0]


def assert_same(found, expected, tolerance):
    """Equal to the tolerance, of 1 or of the largest number in the row, whichever is larger; NaN in the same places."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    size = np.max(np.abs(np.where(np.isfinite(expected), expected, 0)), axis=1, keepdims=True)
    scale = np.where(np.isfinite(expected), np.maximum(size, 1), 1)
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=tolerance)


# --- export -----------------------------------------------------------------------------------------------------------

STRUCTURES = {
    **{f"{name} inside": lambda name=name: [Dense(6, name), Dense(3)] for name in ACTIVATIONS},
    **{f"{name} last": lambda name=name: [Dense(6, "relu"), Dense(3, name)] for name in ACTIVATIONS},
    "one unit": lambda: [Dense(1, "sigmoid")],
    "no bias": lambda: [Dense(6, "tanh", use_bias=False), Dense(1, use_bias=False)],
    "normalization first": lambda: [Normalization(), Dense(6, "relu"), Dense(1, "sigmoid")],
    "normalization in the middle": lambda: [Dense(6, "tanh"), Normalization(), Dense(2)],
    "normalization after a bare product": lambda: [Dense(6, use_bias=False), Normalization(), Dense(2)],
    "normalization alone": lambda: [Normalization()],
    "normalization twice": lambda: [Normalization(), Normalization(), Dense(2, "softmax")],
    "dropout": lambda: [Dropout(0.5), Dense(6, "relu"), Dropout(0.9), Dense(2), Dropout(0.1)],
    "dropout alone": lambda: [Dropout(0.5)],
    "deep and wide": lambda: [Dense(200, "tanh"), *(Dense(units, "relu") for units in (100, 33, 1, 20)), Dense(2)],
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", STRUCTURES)
def test_onnx_runtime_computes_what_the_model_predicts(name, dtype, tmp_path):
    model, path = a_model(STRUCTURES[name](), dtype), tmp_path / "m.onnx"
    model.export(path)
    onnx.checker.check_model(path, full_check=True)
    X = ROWS.astype(dtype)
    assert_same(run(path, X), model.predict(X), TOLERANCE[dtype])
    assert_same(run(path, X[:1]), model.predict(X[:1]), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", STRUCTURES)
def test_special_numbers_pass_as_in_the_model(name, dtype, tmp_path):
    model, path = a_model(STRUCTURES[name](), dtype), tmp_path / "m.onnx"
    model.export(path)
    special = [0, -0.0, 1e-40, 5e-45, 1e-30, 1e10, -1e10, 1e20, -1e20, np.inf, -np.inf, np.nan]
    X = np.repeat(np.array(special, dtype)[:, None], 4, axis=1)
    one = np.tile(np.array([0.5, -1, 5, 2], dtype), (len(special), 1))
    one[:, 1] = special
    for given_ in (X, one):
        with np.errstate(all="ignore"):
            assert_same(run(path, given_), model(given_), TOLERANCE[dtype])


def test_one_column(tmp_path):
    model = a_model([Normalization(), Dense(3, "relu"), Dense(1)], inputs=1)
    model.export(tmp_path / "m.onnx")
    X = ROWS[:, :1].astype(np.float32)
    assert_same(run(tmp_path / "m.onnx", X), model.predict(X), 1e-5)


@settings(max_examples=40, deadline=None)
@given(
    layers=st.lists(
        st.one_of(
            st.builds(Dense, st.integers(1, 9), st.sampled_from(sorted(ACTIVATIONS)), st.booleans()),
            st.builds(Normalization),
            st.builds(Dropout, st.sampled_from([0.0, 0.5])),
        ),
        min_size=1,
        max_size=6,
    ),
    dtype=st.sampled_from(sorted(TOLERANCE)),
)
def test_any_structure_there_and_back(layers, dtype, tmp_path_factory):
    model, path = a_model(layers, dtype, engine="numpy"), tmp_path_factory.mktemp("onnx") / "m.onnx"
    X = ROWS[:100].astype(dtype)
    model.export(path)
    expected = model.predict(X)
    assert_same(run(path, X), expected, TOLERANCE[dtype])
    kept = [layer for layer in model.layers if not isinstance(layer, Dropout)]
    if kept:
        read = minidl.from_onnx(path)
        read._engine = model._engine
        assert_same(read.predict(X), expected, 1e-6 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", [name for name in STRUCTURES if name != "dropout alone"])
def test_there_and_back_to_the_bit(name, dtype, tmp_path):
    """All but dropout comes back as it was: layers, names, weights; a deviation of 0 as the floor under it."""
    model = a_model(STRUCTURES[name](), dtype)
    model.export(tmp_path / "m.onnx")
    read = minidl.from_onnx(tmp_path / "m.onnx")
    kept = [layer for layer in model.layers if not isinstance(layer, Dropout)]
    assert [repr(layer) for layer in read.layers] == [repr(layer) for layer in kept]
    for layer, original in zip(read.layers, kept, strict=True):
        if isinstance(layer, Normalization):
            assert layer.adapted
        else:
            assert (layer.activation, layer.use_bias) == (original.activation, original.use_bias)
            assert [a.tobytes() for a in layer.weights] == [a.tobytes() for a in original.weights]
    X = ROWS.astype(dtype)
    assert read.predict(X).tobytes() == model.predict(X).tobytes()


def test_a_hand_computed_network(tmp_path):
    """x = (3, 5): normalized to ((3-1)/2, (5-5)/1e-7) = (1, 0); z = 1*2 + 0*7 - 5 = -3; relu 0, linear -3 * -2 + 1."""
    layers = [Normalization(input_shape=(2,)), Dense(2, "relu"), Dense(1)]
    model = Sequential(layers, seed=0)
    model.set_weights([[1, 5], [4, 0], [[2, -2], [7, 7]], [-5, 5], [[10], [-2]], [1]])
    model.export(tmp_path / "m.onnx")
    # the second unit: 1*-2 + 5 = 3, so the output is 0 * 10 + 3 * -2 + 1 = -5
    np.testing.assert_array_equal(run(tmp_path / "m.onnx", np.array([[3, 5]], np.float32)), [[-5]])


def test_what_is_in_the_file(tmp_path):
    model = a_model([Normalization(), Dense(6, "relu", name="hidden"), Dropout(0.2), Dense(3, use_bias=False)])
    model.export(tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    assert (proto.producer_name, proto.producer_version) == ("minidl", minidl.__version__)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 17)]
    assert [(node.op_type, node.name) for node in proto.graph.node] == [
        ("Sub", "normalization/Sub"), ("Div", "normalization/Div"), ("Gemm", "hidden/Gemm"), ("Relu", "hidden/Relu"),
        ("Gemm", "dense/Gemm"),
    ]  # fmt: skip
    assert [tensor.name for tensor in proto.graph.initializer] == [
        "normalization/mean", "normalization/deviation", "hidden/W", "hidden/b", "dense/W"
    ]  # fmt: skip
    ends = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*proto.graph.input, *proto.graph.output)
    }
    assert ends == {"input": ["batch", 4], "output": ["batch", 3]}
    assert not proto.metadata_props
    model.export(str(tmp_path / "again.onnx"))
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()


def test_what_predicts_now_is_exported(tmp_path):
    """A change of a layer takes effect with the next compile, in the model and in the file."""
    model = a_model([Dense(3, "tanh"), Dense(1)])
    expected = model.predict(ROWS)
    model.layers[0].activation = "relu"
    model.layers[0].use_bias = False
    model.export(tmp_path / "m.onnx")
    assert_same(run(tmp_path / "m.onnx", ROWS.astype(np.float32)), expected, 1e-5)


def test_columns_and_labels_come_along(tmp_path):
    columns = (Column("colour", ("blue", "Weiß")), Column("width", (), 2.5), Column("length"))
    model = a_model([Dense(2, "softmax")])
    model.schema = Schema(columns, Target("species", "binary", ("iris", "lily")), ("left out",))
    model.export(tmp_path / "m.onnx")
    said = {entry.key: json.loads(entry.value) for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert said["features"] == ["colour=blue", "colour=Weiß", "width", "length"]
    assert said["classes"] == ["iris", "lily"]
    assert minidl.from_onnx(tmp_path / "m.onnx").schema == model.schema
    model.schema = Schema(columns)
    model.export(tmp_path / "m.onnx")
    assert minidl.from_onnx(tmp_path / "m.onnx").schema == model.schema


def test_a_trained_model_of_a_table_goes_on_from_the_file(tmp_path):
    table = data.read_csv(data.BREAST_CANCER, target="benign")
    model = Sequential([Normalization(), Dense(8, "relu"), Dropout(0.2), Dense(1, "sigmoid")], seed=0)
    model.compile("adam", "binary_crossentropy", engine="numpy")
    model.fit(table, epochs=2, verbose=0)
    model.export(tmp_path / "m.onnx")
    read = minidl.from_onnx(tmp_path / "m.onnx")
    np.testing.assert_allclose(read.predict(table), model.predict(table), atol=1e-6)
    np.testing.assert_allclose(run(tmp_path / "m.onnx", table.X.astype(np.float32)), model.predict(table), atol=1e-5)
    read.compile("adam", "binary_crossentropy", engine="numpy")
    before = read.evaluate(table, verbose=0)
    read.fit(table, epochs=3, verbose=0)
    assert read.evaluate(table, verbose=0) < before
    assert not np.array_equal(read.layers[1].W, model.layers[1].W)
    np.testing.assert_array_equal(read.layers[0].mean, model.layers[0].mean)


# --- import -----------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(3)
CONSTANTS = {
    "W": RNG.normal(size=(4, 3)), "T": RNG.normal(size=(3, 4)), "V": RNG.normal(size=(3, 2)), "b": RNG.normal(size=3),
    "row": RNG.normal(size=(1, 3)), "one": np.array(0.5), "mean": RNG.normal(size=4), "zero": np.array([0.0]),
    "deviation": RNG.uniform(0.5, 2, 4), "tenth": np.full((1, 1), 0.1),
}  # fmt: skip
WHOLE = {"any": [-1, 4], "kept": [0, -1], "both": [0, 0], "rest": [-1, 0], "five": [5, 4]}


def a_graph(nodes, dtype=np.float32, rows="n", inputs=(), outputs=("y",), opset=17, ir_version=8, constants=None):
    """A model in ONNX of nodes from x (rows, 4) to y; of the constants those that the nodes take."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    taken = {name for node in nodes for name in node.input}
    arrays = {name: array.astype(dtype) for name, array in CONSTANTS.items()}
    arrays |= {name: np.array(shape, np.int64) for name, shape in WHOLE.items()} | {"no": np.array(False)}
    arrays |= constants or {}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, [rows, 4]), *inputs],
        [helper.make_tensor_value_info(name, kind, [rows, None]) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items() if name in taken],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def chain(*nodes, domain=None):
    """Nodes from x to y, each given what the one before puts out in the place of "*"."""
    made = []
    for place, (operator, taken, attributes) in enumerate(nodes):
        given_ = "x" if place == 0 else f"v{place}"
        out = "y" if place == len(nodes) - 1 else f"v{place + 1}"
        taken = [given_ if name == "*" else name for name in taken.split()]
        taken = ["" if name == "-" else name for name in taken]
        made.append(helper.make_node(operator, taken, [out], **attributes))
    return made


def n(operator, taken="*", **attributes):
    return operator, taken, attributes


DENSE, AFTER = n("Gemm", "* W b"), n("Gemm", "* V")
FITTING = {
    "gemm": [DENSE, n("Relu"), AFTER],
    "gemm turned over": [n("Gemm", "* T b", transB=1), n("Tanh")],
    "gemm with alpha and beta": [n("Gemm", "* W b", alpha=0.7, beta=-1.3), n("Sigmoid")],
    "gemm with a row": [n("Gemm", "* W row")],
    "gemm with one number": [n("Gemm", "* W one", beta=2.0)],
    "gemm without the third, by name": [n("Gemm", "* W -")],
    "product": [n("MatMul", "* W"), n("Relu"), AFTER],
    "product and sum": [n("MatMul", "* W"), n("Add", "* b"), n("Softmax", axis=-1)],
    "sum the other way round": [n("MatMul", "* W"), n("Add", "row *"), n("Softmax", axis=1)],
    "bias after a gemm that has one": [DENSE, n("Add", "* b"), AFTER],
    "two sums": [n("MatMul", "* W"), n("Add", "* b"), n("Add", "* row"), AFTER],
    "softmax by default": [DENSE, n("Softmax")],
    "nothing": [n("Identity"), n("Flatten"), DENSE, n("Flatten", axis=-1), n("Cast", to=1), n("Relu"), n("Identity")],
    "reshaped": [n("Reshape", "* any"), n("Reshape", "* kept"), n("Reshape", "* both"), n("Reshape", "* rest"), DENSE],
    "dropout": [n("Dropout"), DENSE, n("Dropout", "* one no"), n("Relu"), n("Dropout", "* one")],
    "standardised": [n("Sub", "* mean"), n("Div", "* deviation"), DENSE],
    "shift after scale": [n("Mul", "* deviation"), n("Add", "* mean"), DENSE],
    "shift and scale the other way round": [n("Add", "mean *"), n("Mul", "tenth *"), DENSE],
    "much arithmetic": [n("Div", "* deviation"), n("Sub", "* mean"), n("Mul", "* one"), n("Sub", "* one"), DENSE],
    "scaled only": [n("Mul", "* tenth"), DENSE],
    "shifted only": [n("Sub", "* one"), DENSE],
    "arithmetic after an activation": [DENSE, n("Sigmoid"), n("Sub", "* one"), n("Div", "* tenth"), AFTER],
    "arithmetic at the end": [DENSE, n("Tanh"), n("Mul", "* one"), n("Add", "* one")],
    "scaler of scikit-learn": [n("Scaler", domain="ai.onnx.ml", offset=[1.0, 2, 3, 4], scale=[0.3, 2, 1, 0.1]), DENSE],
    "scaler of one number": [n("Scaler", domain="ai.onnx.ml", offset=[1.0], scale=[0.3]), DENSE],
}


def check_import(proto, path, X=None, **options):
    """The file read, and compared with what ONNX Runtime computes from it."""
    onnx.save(proto, path)
    model = minidl.from_onnx(path, **options)
    X = ROWS[:5].astype(model._dtype) if X is None else X
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = session.run([options.get("output", "y")], {"x": X})[0]
    assert_same(model.predict(X), expected, 1e-6 if model._dtype == np.float32 else 1e-13)
    return model


@pytest.mark.parametrize("name", FITTING)
def test_networks_of_dense_layers_are_read(name, tmp_path):
    check_import(a_graph(chain(*FITTING[name])), tmp_path / "m.onnx")


@pytest.mark.parametrize("name", ["gemm with alpha and beta", "standardised", "shift after scale", "product and sum"])
def test_networks_in_float64_are_read(name, tmp_path):
    model = check_import(a_graph(chain(*FITTING[name]), np.float64), tmp_path / "m.onnx")
    assert model._dtype == np.float64


def test_layers_of_a_network_that_is_read(tmp_path):
    nodes = [n("Sub", "* mean"), n("Div", "* deviation"), n("MatMul", "* W"), n("Add", "* b"), n("Relu"), AFTER]
    model = check_import(a_graph(chain(*nodes)), tmp_path / "m.onnx")
    names = ["normalization", "dense", "dense_1"]
    assert [layer.name for layer in model.layers] == names
    np.testing.assert_array_equal(model.layers[0].mean, CONSTANTS["mean"].astype(np.float32))
    np.testing.assert_array_equal(np.sqrt(model.layers[0].variance), CONSTANTS["deviation"].astype(np.float32))
    np.testing.assert_array_equal(model.layers[1].W, CONSTANTS["W"].astype(np.float32))
    np.testing.assert_array_equal(model.layers[1].b, CONSTANTS["b"].astype(np.float32))
    assert [(layer.activation, layer.use_bias) for layer in model.layers[1:]] == [("relu", True), ("linear", False)]
    assert model.optimizer is None


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (("/0/Gemm", "/2/Gemm"), ["0", "2"]),  # PyTorch's
        (("model/hidden/MatMul", "out/Gemm_1"), ["model/hidden", "out"]),
        (("node_linear", "node_linear_1"), ["node_linear", "node_linear_1"]),
        (("", "Gemm1"), ["dense", "dense_1"]),
        (("dense_1/Gemm", ""), ["dense_1", "dense"]),
        (("twice/Gemm", "twice/Gemm_1"), ["twice", "dense"]),
    ],
)
def test_names_of_layers_come_from_the_nodes(given_, expected, tmp_path):
    nodes = chain(n("MatMul" if "MatMul" in given_[0] else "Gemm", "* W"), AFTER)
    for node, name in zip(nodes, given_, strict=True):
        node.name = name
    model = check_import(a_graph(nodes), tmp_path / "m.onnx")
    assert [layer.name for layer in model.layers] == expected


def test_constants_in_nodes(tmp_path):
    constants = {name: CONSTANTS[name].astype(np.float32) for name in ("W", "b")}
    nodes = [helper.make_node("Constant", [], [f"c{name}"], value=numpy_helper.from_array(array, name))
             for name, array in constants.items()]  # fmt: skip
    nodes += [
        helper.make_node("Identity", ["cb"], ["same b"]),
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Constant", [], ["four"], value_floats=[1.0, 2.0, 3.0, 4.0]),
        helper.make_node("Constant", [], ["shape"], value_ints=[-1, 4]),
        helper.make_node("Div", ["x", "four"], ["d"]),
        helper.make_node("Reshape", ["d", "shape"], ["r"]),
        helper.make_node("Gemm", ["r", "cW", "same b"], ["z"]),
        helper.make_node("Mul", ["z", "half"], ["y"]),
    ]
    check_import(a_graph(nodes), tmp_path / "m.onnx")


def test_old_files(tmp_path):
    """Of opset 7 and IR version 3, in which constants are inputs too, and softmax had another default."""
    nodes = chain(n("Dropout"), DENSE, n("Relu"), n("Dropout", ratio=0.9), n("MatMul", "* V"), n("Softmax"))
    constants = {name: CONSTANTS[name].astype(np.float32) for name in ("W", "b", "V")}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, a.shape) for name, a in constants.items()]
    nodes[1].input[2] = "b"
    check_import(a_graph(nodes, opset=7, ir_version=3, inputs=inputs), tmp_path / "m.onnx")


def test_a_fixed_number_of_rows_becomes_any(tmp_path):
    model = check_import(a_graph(chain(n("Reshape", "* five"), DENSE), rows=5), tmp_path / "m.onnx")
    assert model.predict(ROWS).shape == (10_000, 3)


def test_numbers_that_are_not_raw_bytes(tmp_path):
    proto = a_graph(chain(DENSE))
    tensor = proto.graph.initializer[0]
    tensor.CopyFrom(helper.make_tensor("W", TensorProto.FLOAT, (4, 3), numpy_helper.to_array(tensor).ravel()))
    check_import(proto, tmp_path / "m.onnx")


def test_weights_in_another_file(tmp_path, monkeypatch):
    proto, tolerance = a_graph(chain(DENSE, n("Relu"), AFTER)), 2e-6  # each is up to 0.8e-6 from the exact sums
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    expected = run(tmp_path / "m.onnx", ROWS.astype(np.float32))
    assert_same(minidl.from_onnx(tmp_path / "m.onnx").predict(ROWS), expected, tolerance)
    monkeypatch.chdir(tmp_path)
    assert_same(minidl.from_onnx("m.onnx").predict(ROWS), expected, tolerance)


def test_what_the_output_does_not_depend_on_is_not_looked_at(tmp_path):
    """Nor are other outputs, where one is chosen: as of scikit-learn's classifiers, which also put out labels."""
    nodes = chain(DENSE, n("Softmax"))
    nodes += [helper.make_node("ArgMax", ["y"], ["label"], axis=1), helper.make_node("LeakyRelu", ["x"], ["nowhere"])]
    check_import(a_graph(nodes), tmp_path / "m.onnx")
    proto = a_graph(nodes)
    proto.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]))
    check_import(proto, tmp_path / "m.onnx", output="y")


@settings(max_examples=300, deadline=None)
@given(deviation=st.floats(2**-24, 2**63, width=32))
def test_the_root_of_a_square_is_the_number(deviation):
    """Why a deviation, of which a layer keeps the square, comes back to the bit."""
    number = np.float32(deviation)
    assert np.sqrt(np.square(number)) == number


def test_nothing_is_loaded_before_it_is_needed():
    code = "import sys, minidl; minidl.from_onnx, minidl.Sequential.export; print('onnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
