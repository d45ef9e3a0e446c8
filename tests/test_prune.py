"""Pruning: which weights and units go, worked by hand; that zeros stay; that a smaller model is the masked one."""

import contextlib
import itertools

import numpy as np
import numpy_in_cupys_place
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bad_input import everything, refused

from minidl import SGD, Adam, AdamW, Dense, Dropout, EarlyStopping, Normalization, Sequential, data, engines, prune
from minidl.bench import sparse, timing
from minidl.inference.prune import hidden_units, where_it_pays
from minidl.inference.prune.where_it_pays import Measured, Payoff

properties = settings(derandomize=True, deadline=None, max_examples=60)
RNG = np.random.default_rng(3)
X = RNG.normal(size=(40, 5)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.float32)
HIDDEN = RNG.normal(size=(20, 8)) * np.arange(1, 9) + 1


def network(engine="numpy", optimizer="adam", dtype="float32", activation="relu"):
    """Three Dense layers with all that can lie between, trained a little."""
    layers = [Normalization(input_shape=(5,)), Dense(8, activation), Dropout(0.2), Normalization()]
    model = Sequential([*layers, Dense(6, activation, use_bias=False), Dense(1, "sigmoid")], seed=4)
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"], engine=engine, dtype=dtype)
    model.layers[3].adapt(HIDDEN)
    model.fit(X, Y, verbose=0)
    return model


def one_layer(W):
    """A model of one Dense layer with these weights, and biases that are all 0.5."""
    W = np.array(W, np.float32)
    model = Sequential([Dense(W.shape[1], input_shape=(W.shape[0],))], seed=0)
    model.set_weights([W, np.full(W.shape[1], 0.5)])
    return model


# --- weights ---------------------------------------------------------------------------------------------------------


def test_the_smallest_weights_go_and_of_equal_ones_the_first():
    model = one_layer([[3, -1, 2], [1, -4, 1]])
    W, b = prune.magnitude(model, 0.5).get_weights()  # 3 of 6: the three of size 1
    assert W.tolist() == [[3, 0, 2], [0, -4, 0]]
    assert b.tolist() == [0.5, 0.5, 0.5]
    W, _ = prune.magnitude(model, 1 / 3).get_weights()  # 2 of them
    assert W.tolist() == [[3, 0, 2], [0, -4, 1]]


def test_the_share_is_of_each_layer_or_of_the_whole_model():
    model = Sequential([Dense(2, input_shape=(2,)), Dense(2)], seed=0)
    model.layers[0].W, model.layers[1].W = [[1, 2], [3, 4]], [[5, 6], [7, 8]]
    assert [W.tolist() for W in prune.magnitude(model, 0.5).get_weights()[::2]] == [[[0, 0], [3, 4]], [[0, 0], [7, 8]]]
    whole = prune.magnitude(model, 0.5, scope="model")
    assert [W.tolist() for W in whole.get_weights()[::2]] == [[[0, 0], [0, 0]], [[5, 6], [7, 8]]]


def test_a_share_for_each_layer_that_is_named():
    model = Sequential([Dense(2, input_shape=(2,)), Dense(2), Dense(2)], seed=0)
    for layer in model.layers:
        layer.W = [[1, 2], [3, 4]]
    found = prune.magnitude(model, {"dense_2": 0.75, "dense": 0.5}).get_weights()[::2]
    assert [W.tolist() for W in found] == [[[0, 0], [3, 4]], [[1, 2], [3, 4]], [[0, 0], [0, 4]]]


@properties
@given(st.integers(1, 30), st.integers(1, 9), st.floats(0, 1, exclude_max=True), st.integers(0, 9))
def test_exactly_the_share_is_zero_and_no_smaller_weight_stays(inputs, units, share, seed):
    before = np.random.default_rng(seed).normal(size=(inputs, units)).astype(np.float32)
    W = prune.magnitude(one_layer(before), share).layers[0].W
    gone = W == 0
    assert gone.sum() == round(share * W.size)
    assert (W[~gone] == before[~gone]).all()
    assert np.abs(before[gone]).max(initial=0) <= np.abs(before[~gone]).min(initial=np.inf)


@pytest.mark.parametrize(
    ("column", "stays"),
    [
        ([1, -2, 3, -4, 8, 7, 6, 5], [0, 0, 3, -4, 8, 7, 0, 0]),
        ([1, 1, 1, 1], [0, 0, 1, 1]),  # of equal ones the first go
        ([4, 3, 2, 1, 9], [4, 3, 0, 0, 9]),  # of one that is left over it stays
        ([4, 3, 2, 1, 9, 8], [4, 3, 0, 0, 9, 0]),  # of two one
        ([4, 3, 2, 1, 7, 9, 8], [4, 3, 0, 0, 0, 9, 8]),  # of three two
        ([5], [5]),
    ],
)
def test_two_of_every_four_inputs_go_in_each_unit(column, stays):
    W = np.array([column, column[::-1]]).T
    mirrored = prune.two_of_four(one_layer(np.array([column[::-1]]).T)).layers[0].W[:, 0]
    found = prune.two_of_four(one_layer(W)).layers[0].W
    assert found[:, 0].tolist() == stays
    assert found[:, 1].tolist() == mirrored.tolist()  # each unit has groups of its own


PRUNED = {
    "magnitude": lambda model: prune.magnitude(model, 0.5),
    "two of four": prune.two_of_four,
    "units": lambda model: prune.units(model, 0.5),
}


@pytest.mark.parametrize("how", PRUNED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_pruned_model_is_another_compiled_alike(how, dtype):
    model = network(optimizer=AdamW(0.01, weight_decay=0.1), dtype=dtype)
    before = everything(model)
    pruned = PRUNED[how](model)
    assert repr(pruned.optimizer) == repr(model.optimizer)
    assert pruned.optimizer is not model.optimizer
    assert (pruned.loss.name, pruned.engine, pruned.seed) == (model.loss.name, model.engine, model.seed)
    assert [metric.name for metric in pruned.metrics] == ["accuracy"]
    assert pruned.layers[1].W.dtype == dtype
    assert (pruned._program.step, np.count_nonzero(pruned._program.slots)) == (0, 0)
    pruned.fit(X, Y, verbose=0)
    assert everything(model) == before


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_with_nothing_pruned_the_copy_trains_as_a_recompiled_one(engine):
    model = network(engine)
    copies = [prune.magnitude(model, 0), prune.units(model, 1.0)]
    model.compile(Adam(), "binary_crossentropy", metrics=["accuracy"], engine=engine)
    history = model.fit(X, Y, epochs=2, verbose=0).history
    assert all(copy.fit(X, Y, epochs=2, verbose=0).history == history for copy in copies)


def test_the_schema_stays():
    table = data.read_csv(data.BREAST_CANCER, target="benign")
    model = Sequential([Normalization(), Dense(4, "relu"), Dense(1, "sigmoid")], seed=0)
    model.compile("adam", "binary_crossentropy", engine="numpy")
    model.fit(table, verbose=0)
    pruned = prune.units(prune.magnitude(model, 0.5))
    assert pruned.schema == model.schema
    assert pruned.predict(table).shape == (len(table.X), 1)


def test_a_model_that_is_not_compiled_stays_so():
    assert prune.magnitude(one_layer([[1.0, 2.0]]), 0.5).optimizer is None


def test_the_share_of_zeros_is_told():
    model = Sequential([Dense(4, input_shape=(2,), name="first"), Dense(3)], seed=0)
    model.layers[0].W[0] = 0  # 4 of 8
    model.layers[1].W[0, :1] = 0  # 1 of 12
    found = prune.sparsity(model)
    assert found.layers == {"first": 0.5, "dense": 1 / 12}
    assert found.total == 5 / 20
    assert str(found).splitlines()[2:] == ["first   50.00%", "dense    8.33%", "in all  25.00%"]


# --- zeros that stay -------------------------------------------------------------------------------------------------

OPTIMIZERS = {"momentum": lambda: SGD(0.1, momentum=0.9), "adam": lambda: Adam(0.01), "adamw": lambda: AdamW(0.01)}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("engine", ["numpy", "numba", "cupy"])
def test_the_zeros_of_a_pruned_model_stay_and_the_rest_is_trained(engine, optimizer):
    model = prune.magnitude(network(), 0.5)
    dense = [layer for layer in model.layers if isinstance(layer, Dense)]
    before = [layer.W.copy() for layer in dense]
    with numpy_in_cupys_place.engine() if engine == "cupy" else contextlib.nullcontext():
        model.compile(OPTIMIZERS[optimizer](), "binary_crossentropy", engine=engine)
        model.fit(X, Y, epochs=3, batch_size=8, verbose=0, callbacks=[prune.KeepZeros()])
    for layer, old in zip(dense, before, strict=True):
        assert ((layer.W == 0) == (old == 0)).all()
        assert np.isfinite(layer.W).all()
        assert (old != layer.W).any()


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_it_is_a_projection_after_each_step(engine):
    model, twin = (prune.magnitude(network(engine), 0.7) for _ in range(2))
    zeros = [(layer, layer.W == 0) for layer in twin.layers if isinstance(layer, Dense)]
    model.fit(X, Y, batch_size=8, verbose=0, shuffle=False, callbacks=[prune.KeepZeros()])
    for start in range(0, 40, 8):
        twin.train_on_batch(X[start : start + 8], Y[start : start + 8])
        for layer, gone in zeros:
            layer.W[gone] = 0
    assert all((one == other).all() for one, other in zip(model.get_weights(), twin.get_weights(), strict=True))


def test_validation_and_restored_weights_have_the_zeros():
    model = prune.magnitude(network(), 0.7)
    stopping = EarlyStopping(restore_best_weights=True, patience=1)
    callbacks = [stopping, prune.KeepZeros()]
    history = model.fit(X, Y, epochs=8, verbose=0, validation_data=(X, Y), callbacks=callbacks).history
    assert prune.sparsity(model).layers == prune.sparsity(prune.magnitude(network(), 0.7)).layers
    assert model.evaluate(X, Y)[0] == history["val_loss"][stopping.best_epoch]


# --- units -----------------------------------------------------------------------------------------------------------


def masked(model, kept):
    """The model with the outgoing weights of all units but these set to zero."""
    masked, dense = prune.magnitude(model, 0), [layer for layer in model.layers if isinstance(layer, Dense)]
    for layer, following in itertools.pairwise(dense):
        W = next(other for other in masked.layers if other.name == following.name).W
        gone = np.setdiff1d(np.arange(layer.units), kept.get(layer.name, np.arange(layer.units)))
        W[gone] = 0
    return masked


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "linear"])
@pytest.mark.parametrize("keep", [0.5, 0.01, {"dense": 3}, {"dense_1": 0.7}, {"dense": 1, "dense_1": 6}])
@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_the_smaller_model_predicts_what_the_masked_one_does(engine, keep, activation):
    model = network(engine, activation=activation)
    small = prune.units(model, keep)
    shares = keep if isinstance(keep, dict) else {"dense": keep, "dense_1": keep}
    units = {"dense": 8, "dense_1": 6}
    counts = {name: n if isinstance(n, int) else max(1, round(n * units[name])) for name, n in shares.items()}
    assert [layer.units for layer in small.layers if isinstance(layer, Dense)] == [*(units | counts).values(), 1]
    best = {name: np.argsort(-hidden_units.importance(model, name))[:n] for name, n in counts.items()}
    np.testing.assert_allclose(small(X), masked(model, best)(X), rtol=1e-5, atol=1e-6)
    small.fit(X, Y, verbose=0)  # it is a model as any other
    assert small.layers[0].get_weights()[0].tolist() == model.layers[0].get_weights()[0].tolist()


def test_importance_worked_by_hand():
    # In: (3, 4), (0, 1), (6, 8) of lengths 5, 1, 10. Out: (1, 0), (3, 4), (0, 2) of lengths 1, 5, 2.
    model = Sequential([Dense(3, "relu", input_shape=(2,)), Dense(2)], seed=0)
    model.layers[0].W, model.layers[1].W = [[3, 0, 6], [4, 1, 8]], [[1, 0], [3, 4], [0, 2]]
    assert hidden_units.importance(model, "dense").tolist() == [5, 5, 20]
    assert prune.units(model, {"dense": 1}).layers[0].W.tolist() == [[6], [8]]
    assert prune.units(model, {"dense": 2}).layers[0].W.tolist() == [[3, 6], [4, 8]]  # of equal ones the first


@properties
@given(st.lists(st.floats(0.1, 10), min_size=8, max_size=8))
def test_importance_does_not_depend_on_a_unit_s_scale(scales):
    """A ReLU's unit is the same function with its weights in times c and out over c; a normalization takes c back."""
    model, scales = network(), np.array(scales)
    before = hidden_units.importance(model, "dense")
    model.layers[1].W *= scales
    model.layers[3].variance *= scales**2
    np.testing.assert_allclose(hidden_units.importance(model, "dense"), before, rtol=1e-5)
    scales = scales[:6]
    before = hidden_units.importance(model, "dense_1")
    model.layers[4].W *= scales
    model.layers[5].W /= scales[:, None]
    np.testing.assert_allclose(hidden_units.importance(model, "dense_1"), before, rtol=1e-5)


# --- where it pays ---------------------------------------------------------------------------------------------------


@properties
@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 70), st.floats(0, 1), st.sampled_from("fd"))
def test_the_sparse_product_is_the_dense_one(rows, inputs, units, share, dtype):
    rng = np.random.default_rng(0)
    x, W, b = (rng.normal(size=shape).astype(dtype) for shape in ((rows, inputs), (inputs, units), units))
    W[rng.random(W.shape) < share] = 0
    starts, given_, weights = sparse.compressed(W)
    assert len(weights) == np.count_nonzero(W)
    found, expected = sparse.product(x, starts, given_, weights, b), x.astype("d") @ W + b
    assert found.dtype == x.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if dtype == "f" else 1e-13)


def test_payoff_measures_each_way():
    found = prune.payoff((20, 12, 6, 1), rows=(70, 1), sparsities=(0.5, 0), seconds=0)
    assert (found.rows, found.sparsities, found.dtype) == ((1, 70), (0, 0.5), "float32")
    assert [(one.way, one.sparsity) for one in found.found if one.rows == 70] == [
        ("two of four", 0.5), ("sparse", 0), ("sparse", 0.5), ("fewer units", 0.5)
    ]  # fmt: skip
    assert all(one.seconds > 0 and one.speedup.low <= one.speedup.high for one in found.found)


def test_payoff_s_dense_product_is_on_one_core_as_the_sparse_one_is(monkeypatch):
    threaded = "minidl.engines.numba_engine.dense.pays"
    monkeypatch.setattr(threaded, lambda *_: pytest.fail("it was asked whether several threads pay"))
    prune.payoff((20, 12), rows=(2,), sparsities=(0.5,), seconds=0)


def test_payoff_takes_a_model_s_widths_and_dtype():
    found = prune.payoff(network(dtype="float64"), rows=(2,), sparsities=(0.9,), seconds=0)
    assert (found.widths, found.dtype) == ((5, 8, 6, 1), "float64")


def test_a_wrong_product_is_not_timed(monkeypatch):
    monkeypatch.setattr(sparse, "product", lambda x, starts, inputs, weights, b: x[:, :1] + b)
    with pytest.raises(timing.Disagreement, match="sparse differs from NumPy"):
        prune.payoff((20, 12), rows=(1,), sparsities=(0.5,), seconds=0)


@properties
@given(st.lists(st.integers(1, 300), min_size=2, max_size=5), st.floats(0, 1, exclude_max=True))
def test_fewer_units_have_no_more_weights_than_the_zeros_leave(widths, share):
    chain = where_it_pays.narrowed(widths, share)
    assert chain[0] == widths[0]
    assert len(widths) == 2 or chain[-1] == widths[-1]
    allowed = (1 - share) * where_it_pays.weights(widths)
    inner = chain[1:] if len(widths) == 2 else chain[1:-1]
    assert where_it_pays.weights(chain) <= allowed or set(inner) == {1}
    assert where_it_pays.narrowed(widths, 0) == widths


def made_up(**speedups):
    """A payoff of one row with these speedups by way, at 50%, 90% and 99%."""
    found = [
        Measured(way.replace("_", " "), 1, share, 1e-6, timing.Ratio(value, value, value))
        for way, values in speedups.items()
        for share, value in zip((0.5, 0.9, 0.99), values, strict=False)
    ]
    return Payoff((784, 256), (1,), (0.5, 0.9, 0.99), "float32", tuple(found))


def test_the_crossover_is_where_it_begins_to_pay_for_good():
    assert made_up(sparse=(0.5, 1.2, 3)).crossover(1) == 0.9
    assert made_up(sparse=(1.2, 1.05, 3)).crossover(1) == 0.99  # 5% may be chance
    assert made_up(sparse=(2, 2, 1)).crossover(1) is None


def test_the_sentence_names_the_crossover():
    found = str(made_up(sparse=(0.5, 1.2, 3), fewer_units=(1, 1, 1), two_of_four=(0.98,)))
    assert found == (
        "Leaving zeros out pays (is 1.1 times as fast as dense, or more) at 1 row from 90% on; "
        "fewer units with no more weights pay at 1 row never (up to 99%); "
        "two of four, computed as dense, is 0.98 to 0.98 times as fast."
    )


def test_the_picture_says_what_its_axes_are(tmp_path):
    figure = made_up(sparse=(0.5, 1.2, 3), fewer_units=(2, 4, 8), two_of_four=(0.98,)).plot(tmp_path / "payoff.png")
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "1 row"
    assert "logarithmic" in axes.get_ylabel()
    assert "logarithmic" in axes.get_xlabel()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["50%", "90%", "99%"]
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines == {"fewer units": [2, 4, 8], "sparse": [0.5, 1.2, 3], "two of four": [0.98], "dense": [1, 1]}
    assert (tmp_path / "payoff.png").read_bytes().startswith(b"\x89PNG")
    with refused(ValueError, "ends in .png"):
        made_up(two_of_four=(1,)).plot(tmp_path / "payoff.gif")


# --- bad input -------------------------------------------------------------------------------------------------------


def softmax_inside():
    return Sequential([Dense(3, "softmax", input_shape=(2,)), Dense(3), Dense(1)], seed=0)


def with_nan():
    model = one_layer([[1.0, 2.0]])
    model.layers[0].W[0, 1] = np.nan
    return model


M = network
HALF = {"sparsity": 0.5}
BAD = {
    "sparsity 1": (prune.magnitude, M, {"sparsity": 1}, ValueError, ("sparsity", "[0, 1)", "1.0")),
    "sparsity -0.1": (prune.magnitude, M, {"sparsity": -0.1}, ValueError, ("sparsity", "-0.1")),
    "sparsity NaN": (prune.magnitude, M, {"sparsity": np.nan}, ValueError, ("sparsity", "nan")),
    "sparsity True": (prune.magnitude, M, {"sparsity": True}, TypeError, ("sparsity must be a number", "True")),
    "sparsity text": (prune.magnitude, M, {"sparsity": "half"}, TypeError, ("sparsity must be a number", "half")),
    "scope": (prune.magnitude, M, HALF | {"scope": "layers"}, ValueError, ("scope", "did you mean 'layer'?")),
    "sparsity {}": (prune.magnitude, M, {"sparsity": {}}, ValueError, ("sparsity is empty", "{'dense': 0.5}")),
    "one sparsity 1": (prune.magnitude, M, {"sparsity": {"dense": 1}}, ValueError, ("sparsity of 'dense'", "[0, 1)")),
    "sparsity of none": (
        prune.magnitude, M, {"sparsity": {"dens": 0.5}}, ValueError, ("no Dense layer 'dens'", "did you mean 'dense'?")
    ),
    "sparsities of all": (
        prune.magnitude, M, {"sparsity": {"dense": 0.5}, "scope": "model"}, TypeError, ("one share of all weights",)
    ),
    "no model": (prune.magnitude, lambda: "model", HALF, TypeError, ("only a minidl.Sequential", "'model'")),
    "not built": (prune.two_of_four, lambda: Sequential([Dense(3)]), {}, RuntimeError, ("no weights yet",)),
    "no Dense": (prune.sparsity, lambda: Sequential([Dropout(0.5, input_shape=(2,))]), {}, ValueError, ("no Dense",)),
    "NaN weight": (prune.magnitude, with_nan, HALF, ValueError, ("cannot be pruned", "dense/W holds NaN in row 0")),
    "keep 0": (prune.units, M, {"keep": 0.0}, ValueError, ("'dense' keeps of its 8 units", "at least 1", "0.0")),
    "keep 1.5": (prune.units, M, {"keep": 1.5}, ValueError, ("'dense' keeps", "[0, 1]", "1.5")),
    "keep NaN": (prune.units, M, {"keep": np.nan}, ValueError, ("'dense' keeps", "nan")),
    "keep 4": (prune.units, M, {"keep": 4}, TypeError, ("a share such as 0.5, or a dictionary", "4")),
    "keep True": (prune.units, M, {"keep": True}, TypeError, ("a share such as 0.5", "True")),
    "keep text": (prune.units, M, {"keep": "half"}, TypeError, ("must be a number", "half")),
    "keep {}": (prune.units, M, {"keep": {}}, ValueError, ("keep is empty", "nothing is asked for", "{'dense': 0.5}")),
    "keep no unit": (prune.units, M, {"keep": {"dense": 0}}, ValueError, ("'dense' keeps", "at least 1", "0")),
    "keep one True": (prune.units, M, {"keep": {"dense": True}}, TypeError, ("'dense' keeps", "True")),
    "keep too many": (prune.units, M, {"keep": {"dense": 9}}, ValueError, ("its 8 units", "at most all", "9")),
    "unknown layer": (prune.units, M, {"keep": {"dense_9": 2}}, ValueError, ("no hidden Dense layer", "did you mean")),
    "no Dense layer": (prune.units, M, {"keep": {"dropout": 2}}, ValueError, ("no hidden Dense layer 'dropout'",)),
    "outputs": (prune.units, M, {"keep": {"dense_2": 1}}, ValueError, ("'dense_2'", "are the model's outputs")),
    "nothing hidden": (prune.units, lambda: one_layer([[1.0]]), {}, ValueError, ("no hidden units", "its outputs")),
    "softmax": (prune.units, softmax_inside, {}, ValueError, ("'dense'", "its softmax makes each depend")),
    "one width": (prune.payoff, lambda: (784,), {}, ValueError, ("a network's widths", "(784,)")),
    "width 0": (prune.payoff, lambda: (784, 0), {}, ValueError, ("a width must be at least 1", "0")),
    "width text": (prune.payoff, lambda: (784, "a"), {}, TypeError, ("a width must be a whole number", "'a'")),
    "payoff of text": (prune.payoff, lambda: "784-256", {}, TypeError, ("widths such as (784, 256, 1)", "'784-256'")),
    "payoff of one number": (prune.payoff, lambda: 784, {}, TypeError, ("give a Sequential", "not 784")),
    "rows": (prune.payoff, lambda: (4, 2), {"rows": (0,)}, ValueError, ("a number of rows", "at least 1")),
    "no rows": (prune.payoff, lambda: (4, 2), {"rows": ()}, TypeError, ("rows must be a tuple of numbers", "()")),
    "sparsities": (prune.payoff, lambda: (4, 2), {"sparsities": (1,)}, ValueError, ("a sparsity", "[0, 1)")),
    "seconds": (prune.payoff, lambda: (4, 2), {"seconds": -1}, ValueError, ("seconds must be", "-1")),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_a_sentence(case):
    function, make, arguments, kind, words = BAD[case]
    with refused(kind, *words):
        function(make(), **arguments)


def test_another_layer_s_softmax_is_no_matter():
    assert prune.units(softmax_inside(), {"dense_1": 1}).layers[1].units == 1


def test_payoff_says_that_it_needs_numba(monkeypatch):
    monkeypatch.setattr(engines, "_loaded", {})
    monkeypatch.setattr(engines, "why_not", lambda name: "Numba is not installed; install it with: pip install numba")
    with refused(RuntimeError, "Numba is not installed", "pip install numba"):
        prune.payoff((4, 2))
