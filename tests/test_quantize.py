"""minidl.quantize: ranges and weights by hand, accuracy kept, what is clipped is told, files, and bad input."""

import copy
import math
import pickle
import warnings
from contextlib import nullcontext
from xml.dom import minidom

import numpy as np
import numpy_in_cupys_place
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bad_input import everything, refused

import minidl
from minidl import Dense, Dropout, Normalization, Sequential, data, quantize, storage
from minidl.cli import main
from minidl.inference.quantize import QuantizedModel, calibration, ranges, weights
from minidl.inference.quantize.calibration import NONE, Stage
from minidl.inference.quantize.ranges import Observed, scale_and_zero

properties = settings(derandomize=True, deadline=None, max_examples=100)
METHODS = list(ranges.METHODS)
RNG = np.random.default_rng(3)
X = RNG.normal(1, 2, (300, 5)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 1).astype(np.float32)
HIDDEN = RNG.normal(size=(20, 16)) * np.arange(1, 17) + 1


def network(engine="numpy", dtype="float32", head="sigmoid"):
    """All that can lie between layers, trained a little."""
    layers = [Normalization(input_shape=(5,)), Dense(16, "relu"), Dropout(0.2), Normalization(), Dense(8, "tanh")]
    model = Sequential([*layers, Dense(7), Dense(1, head)], seed=4)
    model.compile("adam", "mse", engine=engine, dtype=dtype)
    model.layers[3].adapt(HIDDEN)
    model.fit(X, Y, epochs=3, verbose=0)
    return model


def one_layer(W, b, activation="linear"):
    model = Sequential([Dense(len(b), activation, input_shape=(len(W),))], seed=0)
    model.set_weights([W, b])
    model._engine = minidl.get_engine("numpy")
    return model


def observed(x):
    seen = Observed()
    seen.stretch(x)
    seen.count(x)
    return seen


# --- ranges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [
        (0, 255, 1, 0),
        (-255, 0, 1, 255),
        (0, 0, 1, 0),  # nothing but zeros
        (-51, 204, 1, 51),
        (-127.5, 127.5, 127.5 / 127, 127),  # 0 cannot be step 127.5; below 127 there are 127 steps
        (-1, 1000, 1000 / 254, 1),
        (-1000, 1, 1000 / 254, 254),  # with 255 steps below 0 none would be left above it
        (-253.5, 1.5, 253.5 / 253, 253),  # with 254 below, the one above would be 1.5
        (0, 2.0**-130, 1, 0),  # too small for float32
    ],
)
def test_scale_and_zero_by_hand(low, high, scale, zero):
    assert scale_and_zero(low, high) == (np.float32(scale), zero)


ENDS = st.one_of(st.just(0.0), st.floats(1e-30, 1e30))


@properties
@given(ENDS, ENDS)
def test_both_ends_and_nought_have_a_step(below, above):
    scale, zero = scale_and_zero(-below, above)
    assert 0 <= zero <= 255
    ends = np.float32([[-below, 0, above]])
    first, middle, last = calibration.steps(ends, scale, zero)[0]
    assert 0 <= first <= middle == zero <= last <= 255
    if below or above:
        assert 0.999999 < scale * 255 / (below + above) < 1.004


def test_minmax_is_all_that_was_seen_and_nought():
    assert ranges.minmax(observed(np.float32([[3, 5], [2, -1]]))) == (-1, 5)
    assert ranges.minmax(observed(np.float32([[3, 5]]))) == (0, 5)
    assert ranges.minmax(observed(np.float32([[-3, -5]]))) == (-5, 0)


def test_percentile_leaves_out_the_outermost_of_those_that_are_not_nought():
    values = np.arange(-9_999, 10_002, dtype=np.float32)  # 20,000 and 0: two on each side are 0.01%
    for x in (values, np.concatenate([values, np.zeros(10**6, np.float32)])):
        low, high = ranges.percentile(observed(x))
        assert low == pytest.approx(-9_997, abs=0.4)
        assert high == pytest.approx(9_999, abs=0.4)
    assert ranges.percentile(observed(values[values >= 0])) == pytest.approx((0, 10_000), abs=0.4)
    assert ranges.percentile(observed(np.zeros(5, np.float32))) == (0, 0)
    outlier = np.append(np.linspace(0, 1, 100_000), 1000).astype(np.float32)
    assert ranges.percentile(observed(outlier)) == pytest.approx((0, 1), abs=2 * 1000 / 2**16)


def test_divergence_by_hand(monkeypatch):
    monkeypatch.setattr(ranges, "LEVELS", 2)
    # Inside are 4 0 | 2 2 in two steps, and 1 beyond: p = (4 0 2 3) / 9. The steps hold 4 and 4, the first in one part
    # that is not empty, the second in two: q = (4 0 2 2) / 8.
    expected = 4 / 9 * math.log(4 / 9 * 2) + 2 / 9 * math.log(2 / 9 * 4) + 3 / 9 * math.log(3 / 9 * 4)
    assert ranges.divergence(np.array([4, 0, 2, 2, 1]), 0, 4) == pytest.approx(expected)
    # From below, 1 and 2 in one step: p = (1 + 1  2) / 4 is no longer q = (1.5 1.5) / 3.
    monkeypatch.setattr(ranges, "LEVELS", 1)
    assert ranges.divergence(np.array([1, 1, 2]), 1, 3) == pytest.approx(0)
    assert ranges.divergence(np.array([0, 1, 2]), 1, 3) == pytest.approx(math.log(2 / 3) / 3 + math.log(4 / 3) * 2 / 3)
    # The part at the end is empty, so 1 comes to the one before: p = (4 3) / 7, q = (3 3) / 6.
    expected = 4 / 7 * math.log(4 / 7 * 2) + 3 / 7 * math.log(3 / 7 * 2)
    assert ranges.divergence(np.array([4, 0, 2, 0, 1]), 0, 4) == pytest.approx(expected)
    assert ranges.divergence(np.array([0, 0, 2]), 0, 2) == math.inf


def test_entropy_cuts_what_is_far_out_and_nothing_else():
    rng = np.random.default_rng(1)
    even = rng.uniform(-1, 3, 10**5).astype(np.float32)
    assert ranges.entropy(observed(even)) == pytest.approx((-1, 3), abs=0.1)
    bell = np.append(rng.normal(size=10**5), [40]).astype(np.float32)
    low, high = ranges.entropy(observed(bell))
    assert bell.min() - 0.05 < low < -2
    assert 2 < high < 8
    assert ranges.entropy(observed(np.zeros(5, np.float32))) == (0, 0)
    half = np.maximum(bell, 0)  # as a ReLU makes them: half of them are 0, which is exact in any range
    assert ranges.entropy(observed(half)) == pytest.approx(ranges.entropy(observed(half[half > 0])))
    assert 2 < ranges.entropy(observed(half))[1] < 12


# --- weights ----------------------------------------------------------------------------------------------------------


def stage(W, b):
    return Stage("dense", np.float32(W), np.float32(b), 0, NONE, NONE)


def test_each_unit_has_its_own_step():
    layer = weights.int8_layer(stage([[1.27, 0, -254], [-0.3, 0, 3]], [0, 0, 0]), np.float32(1))
    np.testing.assert_allclose(layer.scale, [0.01, 1, 2])
    assert layer.W.tolist() == [[127, 0, -127], [-30, 0, 2]]  # 1.5 is rounded to the even 2
    assert layer.totals.tolist() == [97, 0, -125]


@properties
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32), st.floats(-30, 30))
def test_no_weight_is_off_by_more_than_half_a_step(inputs, units, seed, size):
    W = (np.random.default_rng(seed).normal(size=(inputs, units)) * 10**size).astype(np.float32)
    layer = weights.int8_layer(stage(W, np.zeros(units)))
    assert np.abs(layer.W.astype(int)).max(axis=0).tolist() == [127] * units
    assert (np.abs(layer.W * layer.scale.astype(float) - W) <= 0.5001 * layer.scale).all()


@pytest.mark.parametrize("size", [0, 1e-44, 1e-30, 1e-10, 1])
@pytest.mark.parametrize("x_scale", [1e-30, 1e-6, 1, 1e6])
def test_a_bias_far_larger_than_the_weights_still_fits(size, x_scale):
    """A unit whose weights have died away: the bias in steps of its sum would not fit into int32."""
    W, b = np.full((100, 2), size), np.array([1.5, -1.5])
    layer = weights.int8_layer(stage(W, b), np.float32(x_scale), 255)
    assert (layer.scale > 0).all()
    sums = 255 * layer.W.sum(axis=0, dtype=np.int64) + layer.offset
    assert np.abs(sums).max() < 2**31
    worth = layer.offset + 255 * layer.totals.astype(np.int64)
    np.testing.assert_allclose(worth * layer.factor.astype(float), b, rtol=1e-6, atol=layer.factor.max())


def test_by_hand():
    """Inputs of 0 to 255 in steps of 1, weights in steps of 1/2 and 1/4, biases rounded to those: all is exact."""
    W, b = [[63.5, 0.25], [-1, -31.75]], [10, -3]
    model = one_layer(W, b)
    rows = np.float32([[0, 0], [255, 255], *[[1, 0]] * 9])
    quantized = quantize(model, rows)
    (layer,) = quantized.layers
    assert layer.W.tolist() == [[127, 1], [-2, -127]]
    assert (layer.x_scale, layer.x_zero, layer.offset.tolist()) == (1, 0, [20, -12])
    # 3 * 63.5 - 2 + 10 and 3 * 0.25 - 2 * 31.75 - 3; 2.5 is rounded to 2 and 300 to 255
    with pytest.warns(UserWarning, match="25.0% of the inputs so far lie outside"):
        found = quantized.predict([[3, 2], [2.5, 300]])
    assert found.tolist() == [[198.5, -65.75], [-118, -8098.75]]
    assert (quantized.clipped, quantized.seen) == (1, 4)
    (report,) = quantized.report.layers
    assert (report.scale, report.zero, report.low, report.high, report.clipped) == (1, 0, 0, 255, 0)
    assert report.sqnr == math.inf
    assert sum(report.counts) == 11


# --- whole models -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tumours():
    X_train, X_test, y_train, y_test = data.train_test_split(*data.load_breast_cancer(), seed=0)
    layers = [Normalization(), Dense(64, "relu"), Dense(64, "relu"), Dense(1, "sigmoid")]
    model = Sequential(layers, seed=0)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy", "auc"], engine="numpy")
    model.fit(X_train, y_train, epochs=20, verbose=0)
    return model, X_train, X_test, y_test


@pytest.mark.parametrize("method", [*METHODS, "dynamic"])
def test_accuracy_is_kept(tumours, method):
    """At most half a point is lost, and 99 of 100 decisions are the same."""
    model, X_train, X_test, y_test = tumours
    quantized = quantize(model, dynamic=True) if method == "dynamic" else quantize(model, X_train, method)
    before, after = model.predict(X_test) > 0.5, quantized.predict(X_test) > 0.5
    assert np.mean(after == y_test) >= np.mean(before == y_test) - 0.005
    assert np.mean(before == after) >= 0.99
    assert quantized.nbytes < 0.3 * quantized.float32_nbytes
    assert quantized.clipped <= 0.002 * quantized.seen
    if method != "dynamic":
        assert min(layer.sqnr for layer in quantized.report.layers) > 20


def test_the_folded_layers_have_the_normalization_before_them():
    quantized = quantize(network(), X)
    assert [layer.name for layer in quantized.layers] == ["dense", "dense_1", "dense_3"]  # 8-7-1 is 8-1
    assert [layer.mean.size for layer in quantized.layers] == [5, 16, 0]
    assert (quantized.input_shape, quantized.output_shape, quantized.engine) == ((5,), (1,), "numpy")
    assert not quantized.dynamic
    assert repr(quantized) == "<QuantizedModel 5-16-8-1>"


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("head", ["linear", "sigmoid", "relu"])
def test_predictions_are_those_of_the_model_but_for_the_steps(dynamic, head):
    model = network(head=head)
    quantized = quantize(model, None if dynamic else X, dynamic=dynamic)
    expected = model.predict(X)
    off = quantized.predict(X) - expected
    assert 0 < np.mean(np.square(off)) < 1e-3 * np.mean(np.square(expected))  # 30 dB


@pytest.mark.parametrize("dynamic", [False, True])
def test_normalizations_in_a_row_and_behind(dynamic):
    layers = [Normalization(), Normalization(), Dense(9, "relu"), Normalization(), Normalization()]
    model = Sequential([*layers[:3], Dense(3, "sigmoid"), *layers[3:]], seed=1)
    model(X)
    for layer, width in zip(model.layers, (5, 5, 5, 9, 3, 3), strict=True):
        if isinstance(layer, Normalization):
            layer.adapt(RNG.normal(2, 3, (50, width)))
    quantized = quantize(model, None if dynamic else X, dynamic=dynamic)
    expected = model.predict(X)
    assert np.abs(quantized.predict(X) - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("how", [*METHODS, "dynamic"])
@pytest.mark.parametrize("engine", ["numba", "cupy"])
def test_every_engine_predicts_the_same(engine, how):
    given = {"dynamic": True} if how == "dynamic" else {"calibration_data": X, "method": how}
    # Behind the normalization each unit's zeros, which the ReLU made, are a spike, and "entropy" cuts off some of them.
    cuts = pytest.warns(UserWarning, match="'dense_1' keeps little") if how == "entropy" else nullcontext()
    with numpy_in_cupys_place.engine(), cuts:
        expected = quantize(network(), **given)
        model = network()
        model._engine = minidl.get_engine(engine)
        found = quantize(model, **given)
        assert found.engine == engine
        np.testing.assert_allclose(found.predict(X), expected.predict(X), atol=0.02)
        assert (found.clipped, found.seen) == (expected.clipped, expected.seen)
        for ours, theirs in zip(found.report.layers, expected.report.layers, strict=True):
            assert (ours.scale, ours.zero, ours.counts) == (theirs.scale, theirs.zero, theirs.counts)
            assert ours.sqnr == theirs.sqnr or ours.sqnr == pytest.approx(theirs.sqnr, abs=0.1)


def test_a_float64_model_is_that_of_its_weights_in_float32():
    double, single = network(dtype="float64"), network()
    single.set_weights(double.get_weights())
    found, expected = quantize(double, X), quantize(single, X)
    assert found.predict(X).dtype == np.float32
    np.testing.assert_allclose(found.predict(X), expected.predict(X), atol=1e-3)


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_model_is_not_changed(dynamic):
    model = network()
    before = everything(model)
    quantized = quantize(model, None if dynamic else X, dynamic=dynamic)
    quantized.predict(X)
    assert everything(model) == before
    after = quantized.predict(X)
    model.fit(X, Y, verbose=0)
    assert quantized.predict(X).tobytes() == after.tobytes()


def test_good_input_in_every_form():
    quantized = quantize(network(), X.tolist())
    expected = quantized.predict(X)
    for given_ in (X.tolist(), X.astype(np.float64), np.asfortranarray(X), pd.DataFrame(X), X[::-1].copy()[::-1]):
        assert quantized.predict(given_).tobytes() == expected.tobytes()
        assert quantized(given_).tobytes() == expected.tobytes()
    whole = np.round(X).astype(int)
    assert quantized(whole).tobytes() == quantized(whole.astype(np.float32)).tobytes()


def test_columns_are_found_by_name():
    table = data.read_csv(data.BREAST_CANCER, target="benign")
    model = Sequential([Normalization(), Dense(4, "relu"), Dense(1, "sigmoid")], seed=0)
    model.compile("adam", "binary_crossentropy", engine="numpy")
    model.fit(table, verbose=0)
    quantized = quantize(model, table)
    assert quantized.schema == model.schema
    frame = pd.read_csv(data.BREAST_CANCER)
    frame = frame[frame.columns[::-1]]
    for given_ in (table, frame, frame.drop(columns="benign")):
        assert quantized.predict(given_).tobytes() == quantized.predict(table.X).tobytes()
        assert quantize(model, given_).report == quantized.report
    with refused(ValueError, "X does not have the model's columns", "mean_radius"):
        quantized.predict(frame.drop(columns="mean_radius"))


def test_a_layer_that_never_says_anything():
    """A ReLU that is 0 for all rows leaves the next layer no range, and its bias is all there is."""
    model = Sequential([Dense(3, "relu", input_shape=(5,)), Dense(2)], seed=0)
    W, _, V, _ = model.get_weights()
    model.set_weights([W, [-1000] * 3, V, [0.5, -2]])
    quantized = quantize(model, X)
    assert quantized.report.layers[1].scale == 1
    steps = quantized.layers[1].factor
    assert (np.abs(quantized.predict(X) - [0.5, -2]) <= 0.5001 * steps).all()  # biases are whole numbers of steps
    quantized.plot()


# --- evaluate ---------------------------------------------------------------------------------------------------------


def judged(loss, outputs, head, metrics=("accuracy",), dtype="float32"):
    model = Sequential([Dense(8, "relu", input_shape=(5,)), Dense(outputs, head)], seed=1)
    model.compile("adam", loss, metrics=list(metrics), engine="numpy", dtype=dtype)
    return model


CLASSES = RNG.integers(0, 3, 300)
JUDGED = {
    "binary": ("binary_crossentropy", 1, "sigmoid", Y),
    "logits": (minidl.losses.BinaryCrossentropy(from_logits=True), 1, "linear", Y),
    "classes": ("sparse_categorical_crossentropy", 3, "softmax", CLASSES),
    "one-hot": ("categorical_crossentropy", 3, "softmax", np.eye(3)[CLASSES]),
    "several yes or no": ("binary_crossentropy", 3, "sigmoid", np.eye(3)[CLASSES]),
    "numbers": ("mse", 1, "linear", X[:, 0]),
    "numbers above 0": ("mae", 1, "relu", X[:, 0]),
}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("case", JUDGED)
def test_evaluate_gives_the_model_s_loss_and_metrics_of_what_is_predicted(case, dynamic):
    loss, outputs, head, y = JUDGED[case]
    model = judged(loss, outputs, head, ["accuracy", "mae"])
    quantized = quantize(model, None if dynamic else X, dynamic=dynamic)
    found, p = quantized.evaluate(X, y, return_dict=True), quantized.predict(X).astype(float)
    assert list(found) == list(model.evaluate(X, y, return_dict=True))
    assert found["loss"] == pytest.approx(minidl.losses.get(loss)(y, p), rel=1e-5)
    goal = np.eye(3)[CLASSES] if outputs == 3 else np.reshape(y, (-1, 1))
    assert found["mae"] == pytest.approx(np.mean(np.abs(p - goal)), rel=1e-5)
    right = p.argmax(1) == goal.argmax(1) if outputs == 3 else (p > 0.5) == goal
    assert found["accuracy"] == pytest.approx(np.mean(right))
    assert quantized.evaluate(X, y) == [found["loss"], found["accuracy"], found["mae"]]


def test_evaluate_takes_what_the_model_s_takes(tumours):
    model, X_train, X_test, y_test = tumours
    quantized, weight = quantize(model, X_train), np.linspace(0, 1, len(X_test))
    expected, found = (one.evaluate(X_test, y_test, sample_weight=weight) for one in (model, quantized))
    assert found == pytest.approx(expected, abs=0.01)
    assert found != expected
    seen = []
    batches = minidl.LambdaCallback(on_test_batch_end=lambda batch, logs: seen.append(batch))
    again = quantized.evaluate(X_test, y_test, 50, 0, weight, callbacks=[batches])
    assert again == pytest.approx(found, rel=1e-5)
    assert seen == list(range(math.ceil(len(X_test) / 50)))
    table = data.read_csv(data.BREAST_CANCER, target="benign")
    assert quantized.evaluate(table) == quantized.evaluate(table.X, table.y)
    with refused(ValueError, f"X has {len(X_test)} rows, but y has 5"):
        quantized.evaluate(X_test, y_test[:5])
    with refused(ValueError, "X has 29 features", "the model takes 30"):
        quantized.evaluate(X_test[:, 1:], y_test)
    with refused(TypeError, "y is missing"):
        quantized.evaluate(X_test)


def test_a_loss_is_taken_from_logits_where_a_probability_is_rounded_to_nought():
    # z = 200 and -200: the wrong label costs 200, and log(sigmoid(-200)) would be that of 0.
    model = one_layer([[200.0]], [0.0], "sigmoid")
    model.compile("sgd", "binary_crossentropy", engine="numpy")
    quantized = quantize(model, np.linspace(-1, 1, 50)[:, None])
    assert quantized.evaluate([[1.0], [-1.0]], [0, 1]) == pytest.approx(200, rel=0.01)


def test_what_evaluate_saw_counts_as_seen():
    quantized = quantize(judged("mse", 1, "linear"), X)
    with pytest.warns(UserWarning, match="lie outside"):
        quantized.evaluate(100 * X, Y)
    assert quantized.seen == X.size
    assert quantized.clipped > X.size / 2


def test_evaluate_goes_with_the_model_into_files_and_copies(tmp_path):
    quantized = quantize(judged("binary_crossentropy", 1, "sigmoid", ["accuracy", "auc"], "float64"), X)
    expected = quantized.evaluate(X, Y)
    quantized.save(tmp_path / "model")
    loaded = minidl.load_model(tmp_path / "model")
    for twin in (loaded, copy.deepcopy(quantized), pickle.loads(pickle.dumps(quantized))):
        assert twin.evaluate(X, Y) == expected
    said, arrays = storage.read(tmp_path / "model", "quantized")
    assert said.pop("compiled")["metrics"][1] == {"class": "AUC", "name": "auc"}
    storage.write(tmp_path / "model", "quantized", said, arrays)  # as the first version did
    with refused(RuntimeError, "there is no loss to evaluate", "compile it, and quantize it again"):
        minidl.load_model(tmp_path / "model").evaluate(X, Y)
    assert quantize(one_layer([[1.0]], [0.0]), np.arange(20)[:, None]).loss is None


# --- what it tells ----------------------------------------------------------------------------------------------------


def test_sqnr_and_share_clipped_are_what_they_say():
    model, many = network(), np.random.default_rng(2).normal(1, 2, (4000, 5)).astype(np.float32)
    quantized = quantize(model, many, "percentile")
    last, first = quantized.report.layers[-1], quantized.report.layers[0]
    signal, off = model.predict(many).astype(float), quantized.predict(many) - model.predict(many).astype(float)
    assert last.sqnr == pytest.approx(10 * math.log10(np.sum(signal**2) / np.sum(off**2)), abs=1e-3)
    assert first.clipped == pytest.approx(quantized.clipped / quantized.seen)
    assert 0.5e-4 < first.clipped < 3e-4  # 0.01% on each side, within half a step


def test_what_lies_outside_is_counted_and_told_once():
    quantized = quantize(network(), X)
    far = X.copy()
    far[:10] = 1000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantized.predict(X)
        quantized.predict(far[9:])  # 5 of 2955 are no hundredth
    assert (quantized.clipped, quantized.seen) == (5, 1500 + 1455)
    with pytest.warns(UserWarning, match=r"1\.2% of the inputs so far lie outside of the range") as caught:
        quantized(far)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert quantized(far).tobytes() == quantized.predict(far).tobytes()
    assert quantized.clipped == 5 + 3 * 50


def test_dynamic_never_clips():
    quantized = quantize(network(), dynamic=True)
    alone = np.stack([quantized(row[None])[0] for row in 1000 * X[:5]])
    np.testing.assert_allclose(quantized.predict(1000 * X[:5]), alone, rtol=1e-5)
    assert quantized.clipped == 0


def test_the_report_shows_itself(capsys, monkeypatch):
    quantized = quantize(network(), X)
    shown = str(quantized.report)
    assert all(layer.name in shown and f"{layer.sqnr:.1f} dB" in shown for layer in quantized.report.layers)
    assert "ranges by minmax of 300 rows" in shown
    with pytest.warns(UserWarning, match="lie outside"):
        quantized(1e3 * X)
    quantized.summary()
    printed = capsys.readouterr().out
    # 5-16-8-1: 216 weights; 25 scales, 25 biases and 42 means and deviations of 4 bytes
    assert "584 bytes instead of 1.13 kB in float32, engine numpy" in printed
    assert f"{quantized.clipped:,} of 1,500 inputs so far" in printed
    page = minidom.parseString(quantized._repr_html_())
    assert len(page.getElementsByTagName("tr")) == 1 + 3
    minidom.parseString(quantized.report._repr_html_())
    own = quantize(network(), dynamic=True)
    assert str(own.report).count("each row's own") == 3
    assert own.report.layers[0].sqnr is None
    own.summary()


def test_the_picture_shows_ranges_and_counts(tmp_path):
    quantized = quantize(network(), X, "percentile")
    figure = quantized.plot(tmp_path / "ranges.png")
    assert (tmp_path / "ranges.png").read_bytes().startswith(b"\x89PNG")
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == [layer.name for layer in quantized.layers]
    for axes, layer in zip(panels, quantized.report.layers, strict=True):
        assert [line.get_xdata()[0] for line in axes.lines] == list(layer.range)
        assert [bar.get_height() for bar in axes.patches] == list(layer.counts)
        assert "logarithmic" in axes.get_ylabel()
    assert sum(quantized.report.layers[0].counts) == X.size
    with refused(ValueError, "a picture's name ends in"):
        quantized.plot(tmp_path / "ranges.txt")
    with refused(RuntimeError, "no ranges to plot", "dynamic=True"):
        quantize(network(), dynamic=True).plot()


# --- copies and files -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["minmax", "dynamic"])
def quantized(request):
    made = quantize(network(), dynamic=True) if request.param == "dynamic" else quantize(network(), X)
    made.predict(X[:3])
    return made


def test_copies_predict_the_same(quantized):
    for twin in (copy.deepcopy(quantized), pickle.loads(pickle.dumps(quantized))):
        assert twin.predict(X).tobytes() == quantized.predict(X).tobytes()
        assert (twin.report, twin.engine) == (quantized.report, "numpy")


def test_a_file_holds_all_of_it(quantized, tmp_path):
    path = tmp_path / "model"
    quantized.save(path)
    loaded = minidl.load_model(path)
    assert isinstance(loaded, QuantizedModel)
    assert loaded.predict(X).tobytes() == quantized.predict(X).tobytes()
    assert (loaded.report, loaded.engine, loaded.dynamic) == (quantized.report, "numpy", quantized.dynamic)
    assert (loaded.nbytes, loaded.clipped) == (quantized.nbytes, 0)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert minidl.load_model(path, engine="numba").engine == "numba"


def test_a_file_keeps_the_schema_and_what_is_normalized_behind(tmp_path):
    table = data.read_csv(data.BREAST_CANCER, target="mean_radius")
    model = Sequential([Dense(4, "relu"), Dense(1), Normalization(name="a/b")], seed=0)
    model.compile("sgd", "mse", engine="numpy")
    model(table.X)
    model.layers[2].adapt(RNG.normal(size=(9, 1)))
    model.schema = table.schema
    quantized = quantize(model, table)
    quantized.save(tmp_path / "model")
    loaded = minidl.load_model(tmp_path / "model")
    assert loaded.schema == table.schema
    assert loaded.predict(table).tobytes() == quantized.predict(table).tobytes()


def test_a_missing_engine_is_replaced_with_a_warning(quantized, tmp_path, monkeypatch):
    path = tmp_path / "model"
    quantized.save(path)
    said, arrays = storage.read(path, "quantized")
    storage.write(path, "quantized", {**said, "engine": "cupy"}, arrays)
    monkeypatch.setattr("minidl.engines.why_not", lambda name: "it is gone" if name == "cupy" else "")
    with pytest.warns(UserWarning, match="saved with the engine 'cupy' and now uses 'numba'") as caught:
        minidl.load_model(path)
    assert caught[0].filename == __file__


def test_flipped_bits_are_noticed(quantized, tmp_path):
    path = tmp_path / "model"
    quantized.save(path)
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 97):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises((ValueError, OSError)):
            minidl.load_model(path)


def test_files_of_one_kind_are_not_taken_for_another(quantized, tmp_path):
    path, model = tmp_path / "model", network()
    quantized.save(path)
    with refused(ValueError, "holds a quantized model; read it with minidl.load_model"):
        model.load_weights(path)
    said, arrays = storage.read(path, "quantized")
    storage.write(path, "model", said, arrays)
    with refused(ValueError, "is damaged"):  # whole numbers in a model
        minidl.load_model(path)


def test_the_command_line_takes_it_as_any_other(tumours, tmp_path, capsys):
    model, X_train, X_test, y_test = tumours
    path, table, out = tmp_path / "model.safetensors", tmp_path / "table.csv", tmp_path / "out.csv"
    quantized = quantize(model, X_train)
    quantized.save(path)
    pd.DataFrame(np.column_stack([X_test, y_test])).add_prefix("x").to_csv(table, index=False)
    assert main(["evaluate", str(path), str(table), "--target", "x30"]) == 0
    printed = capsys.readouterr()
    assert f"loss {quantized.evaluate(X_test, y_test)[0]:.6g}" in printed.out
    assert "knows no names of columns" in printed.err
    pd.DataFrame(X_test).add_prefix("x").to_csv(table, index=False)
    assert main(["predict", str(path), str(table), "--out", str(out)]) == 0
    np.testing.assert_allclose(pd.read_csv(out).to_numpy(), quantized.predict(X_test), rtol=1e-6)


def changed_layer(**changes):
    return lambda said, arrays: said["layers"][1].update(changes)


def changed(**changes):
    return lambda said, arrays: said.update(changes)


def array(name, value):
    return lambda said, arrays: arrays.update({name: value})


IMPOSSIBLE = {
    "no such method": (changed(method="maximum"), "method cannot be 'maximum'"),
    "a method but no ranges": (lambda said, arrays: said["layers"][0].update(scale=None), "scale must be a number"),
    "ranges but no method": (changed(method=None), "has a range, but there is no method"),
    "rows": (changed(rows="many"), "rows must be a whole number"),
    "an unknown field": (changed(more=1), "unknown field 'more'"),
    "no layers": (changed(layers=[]), "it has no layers"),
    "layers that are none": (changed(layers=7), "layers must be a list"),
    "a layer that is none": (changed(layers=[7]), "a layer must be an object"),
    "no engine": (changed(engine=None), "it has no engine"),
    "no loss": (changed(compiled={}), "compiled has no field 'loss'"),
    "an unknown loss": (
        changed(compiled={"loss": {"class": "Mine"}, "metrics": []}), "there is no loss 'Mine'"
    ),
    "a loss of other outputs": (
        changed(compiled={"loss": {"class": "CategoricalCrossentropy", "from_logits": False}, "metrics": []}),
        "needs 2 outputs or more",
    ),
    "an unknown engine": (changed(engine="abacus"), "no engine 'abacus'"),
    "a schema of others": (changed(schema={"columns": [], "target": None, "left_out": []}), "has 0 features"),
    "normalized": (changed(normalized=["dense_7"]), "normalized names 'dense_7'"),
    "two of one name": (changed_layer(name="dense"), "two of one name"),
    "no name": (changed_layer(name=""), "the name of a layer must be a text"),
    "an unknown activation": (changed_layer(activation="selu"), "activation cannot be 'selu'"),
    "widths": (changed_layer(inputs=15), "takes another number of inputs"),
    "scale": (changed_layer(scale=-1.0), "scale must be a finite number at least 0"),
    "scale of 0": (changed_layer(scale=0.0), "cannot be quantized: its weights, its inputs"),
    "zero": (changed_layer(zero=256), "zero must be at most 255"),
    "zero no number": (changed_layer(zero=1.5), "zero must be a whole number"),
    "ends": (changed_layer(low=0.5), "0 is not between low and high"),
    "counts": (changed_layer(counts=[1, 2]), "there must be 128 counts"),
    "a count": (changed_layer(counts=[-1] * 128), "a count must be at least 0"),
    "signal": (changed_layer(signal="loud"), "signal must be a number"),
    "-128": (array("dense_1/W", np.full((16, 8), -128, np.int8)), "holds -128"),
    "float weights": (array("dense_1/W", np.zeros((16, 8), np.float32)), "is of float32, but the model needs int8"),
    "whole scales": (array("dense_1/scale", np.ones(8, np.int8)), "is of int8, but the model needs float32"),
    "a shape": (array("dense_1/W", np.zeros((8, 16), np.int8)), "has the shape (8, 16)"),
    "a step of 0": (array("dense_1/scale", np.zeros(8, np.float32)), "not above 0"),
    "a deviation of 0": (array("dense_1/deviation", np.zeros(16, np.float32)), "not above 0"),
    "too large a bias": (array("dense_1/bias", np.full(8, 1e20, np.float32)), "cannot be quantized: its weights"),
    "an array more": (array("dense_7/W", np.zeros((1, 1), np.int8)), "for which the model has no place"),
    "an array less": (lambda said, arrays: arrays.pop("dense/bias"), "'dense/bias' is missing"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_files_are_refused(case, tmp_path):
    path = tmp_path / "model"
    quantize(network(), X).save(path)
    said, arrays = storage.read(path, "quantized")
    change, words = IMPOSSIBLE[case]
    change(said, arrays)
    storage.write(path, "quantized", said, arrays)
    with refused(ValueError, f"the file {str(path)!r} holds no possible model", words):
        minidl.load_model(path)


# --- bad input --------------------------------------------------------------------------------------------------------


def with_value(value, row=7, column=1):
    array = X.astype(np.float64)
    array[row, column] = value
    return array


BAD_CALIBRATION = {
    "NaN": (with_value(np.nan), ValueError, ("calibration_data holds NaN in row 7 column 1",)),
    "infinity": (with_value(-np.inf), ValueError, ("calibration_data holds -inf",)),
    "too large": (with_value(1e39), ValueError, ("too large for float32",)),
    "width": (X[:, :4], ValueError, ("calibration_data has 4 features", "the model takes 5")),
    "constant": (np.ones((50, 5)), ValueError, ("calibration_data shows no range", "all of its 50 rows are equal")),
    "few rows": (X[:9], ValueError, ("calibration_data has too few rows, 9", "at least 10")),
    "no rows": (X[:0], ValueError, ("calibration_data is empty",)),
    "missing": (None, TypeError, ("calibration_data is missing", "dynamic=True")),
    "text": ([["a"] * 5] * 20, TypeError, ("calibration_data holds text",)),
    "one row": (X[0], ValueError, ("calibration_data must have two dimensions",)),
}


@pytest.mark.parametrize("case", BAD_CALIBRATION)
def test_bad_calibration_data(case):
    given_, kind, words = BAD_CALIBRATION[case]
    with refused(kind, *words):
        quantize(network(), given_)


def test_bad_arguments():
    model = network()
    with refused(ValueError, "method cannot be 'minmx'; did you mean 'minmax'"):
        quantize(model, X, "minmx")
    with refused(ValueError, "method cannot be None"):
        quantize(model, X, None)
    with refused(ValueError, "each row has its own range; leave calibration_data out"):
        quantize(model, X, dynamic=True)
    with refused(TypeError, "dynamic must be True or False, not 1"):
        quantize(model, X, dynamic=1)


@pytest.mark.parametrize("options", [{"calibration_data": X}, {"dynamic": True}])
def test_models_that_cannot_be_quantized(options):
    with refused(RuntimeError, "the model has no weights yet"):
        quantize(Sequential([Dense(1)]), **options)
    with refused(ValueError, "cannot be quantized: the model has no Dense layer"):
        quantize(Sequential([Dropout(0.5, input_shape=(5,))]), **options)
    with refused(TypeError, "only a minidl.Sequential can be quantized, not 'model'"):
        quantize("model", **options)
    with refused(TypeError, "the model is quantized already"):
        quantize(quantize(network(), X), **options)
    for value in (np.nan, np.inf):
        model = network()
        model.layers[1].W[1, 2] = value
        with refused(ValueError, f"cannot be quantized: dense/W holds {value!s}".replace("nan", "NaN"), "row 1"):
            quantize(model, **options)
    model = Sequential([Normalization(input_shape=(5,)), Dense(1)], seed=0)
    with refused(ValueError, "cannot be quantized: the normalization 'normalization' has seen no data"):
        quantize(model, **options)


def test_as_many_inputs_as_int32_holds_and_no_more():
    model = Sequential([Dense(1, input_shape=(weights.MOST_INPUTS + 1,))], seed=0)
    with refused(ValueError, "the layer 'dense' has 65,794 inputs, but can be quantized with 65,793 at most", "int32"):
        quantize(model, dynamic=True)
    most = one_layer(np.ones((weights.MOST_INPUTS, 1)), [200])
    found = quantize(most, np.linspace(0, 1, 12)[:, None] * np.ones(weights.MOST_INPUTS))
    np.testing.assert_allclose(found.predict(np.ones((1, weights.MOST_INPUTS))), weights.MOST_INPUTS + 200, rtol=1e-6)


def test_a_model_that_makes_infinity_of_the_calibration_data():
    model = one_layer(np.full((2, 1), 3e38), [0])
    with refused(ValueError, "cannot be quantized: 'dense' makes NaN or infinity of some rows"):
        quantize(model, np.arange(40).reshape(20, 2))


@pytest.mark.parametrize("direct", [False, True])
def test_bad_x(quantized, direct):
    predict = quantized if direct else quantized.predict
    before = quantized.clipped, quantized.seen
    for bad, kind, words in (
        (with_value(np.nan).astype(np.float32), ValueError, ("X holds NaN in row 7 column 1",)),
        (with_value(np.inf).astype(np.float32), ValueError, ("X holds inf",)),
        (X[:, :4], ValueError, ("X has 4 features",)),
        (X[0], ValueError, ("X must have two dimensions",)),
        (X[:0], ValueError, ("X is empty",)),
        ("data.csv", TypeError, ("X holds text",)),
    ):
        with refused(kind, *words):
            predict(bad)
    assert (quantized.clipped, quantized.seen) == before


def test_a_layer_that_loses_its_signal_is_warned_of():
    """A column of thousands takes all the steps, and the small one that decides is lost."""
    rng = np.random.default_rng(0)
    X = np.stack([rng.normal(0, 1000, 300), rng.normal(0, 1, 300)], axis=1)
    model = Sequential([Dense(1, input_shape=(2,))], seed=0)
    model.set_weights([[[0.0], [1.0]], [0.0]])
    with pytest.warns(UserWarning, match=r"'dense' keeps little of its signal .* train with a Normalization"):
        quantize(model, X)
