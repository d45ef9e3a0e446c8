"""A predictor is the model: folded, frozen, in buffers that are made once."""

import copy
import pickle
import threading
import tracemalloc

import numpy as np
import pytest

import minidl
from minidl.inference.fold import fold

RNG = np.random.default_rng(0)
X = RNG.normal(2, 3, (500, 6)).astype(np.float32)


def given(*layers, dtype="float32"):
    """A model of these layers that has seen X, its normalizations with numbers of their own."""
    model = minidl.Sequential(list(layers), seed=0)
    model.compile("sgd", "mse", dtype=dtype)
    model(X)
    for layer in model.layers:
        drawn = (RNG.normal(size=w.shape) if w.ndim == 2 else RNG.uniform(0.2, 2, w.shape) for w in layer.weights)
        layer.set_weights(list(drawn))
    return model


def normal():
    return minidl.Normalization()


def dense(units, activation="linear"):
    return minidl.Dense(units, activation)


STRUCTURES = {
    "one layer": lambda: (dense(3, "tanh"),),
    "dropout everywhere": lambda: (dense(9, "relu"), minidl.Dropout(0.5), dense(2), minidl.Dropout(0.5)),
    "normalization in front": lambda: (normal(), dense(9, "relu"), dense(1, "sigmoid")),
    "between and behind": lambda: (dense(9, "relu"), normal(), dense(4), normal()),
    "behind an activation at the end": lambda: (dense(4, "softmax"), normal()),
    "linear layers": lambda: (dense(9), dense(4, "relu"), dense(5), dense(8), dense(2, "sigmoid")),
    "a narrow place": lambda: (dense(1), dense(7), normal(), normal(), dense(3)),
}


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize(("dtype", "near"), [("float32", 2e-5), ("float64", 1e-13)])
def test_a_folded_model_puts_out_the_same(name, dtype, near):
    model = given(*STRUCTURES[name](), dtype=dtype)
    wanted = model.predict(X)
    for normalization in (True, False):
        folded, _ = fold(model, normalization)
        np.testing.assert_allclose(folded.predict(X), wanted, rtol=near, atol=near * np.abs(wanted).max())
    np.testing.assert_array_equal(model.predict(X), wanted)  # which is not changed
    assert model.predictor()(X).dtype == dtype


def test_what_is_folded_is_said():
    model = given(normal(), dense(8, "relu"), minidl.Dropout(0.1), dense(4), dense(3))
    folded, said = fold(model)
    assert [(layer.name, layer.outputs) for layer in folded.layers] == [("dense", 8), ("dense_2", 3)]
    assert said == [
        "normalization: multiplied into the weights of dense",
        "dropout: left out, since it acts in training alone",
        "dense_1: multiplied into the weights of dense_2",
    ]


def test_linear_layers_stay_apart_where_one_would_be_more_work():
    folded, said = fold(given(dense(2), dense(9)))
    assert len(folded.layers) == 2
    assert said == []


def test_a_normalization_far_from_zero_stays_since_folding_it_would_cost_digits():
    model = given(normal(), dense(8))
    model.layers[0].set_weights([np.full(6, 1e4), np.ones(6)])
    far = X + np.float32(1e4)
    exact = (far.astype(float) - 1e4) @ model.layers[1].W + model.layers[1].b
    folded, said = fold(model)
    assert said == []
    np.testing.assert_allclose(folded.predict(far), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_predict_is_the_call_but_for_nan(dtype):
    model = given(dense(8, "relu"), dense(2))
    predictor = model.predictor(dtype, max_batch=64, calibration_data=X if dtype == "int8" else None)
    np.testing.assert_array_equal(predictor.predict(X.tolist()), predictor(X))
    holed = X.copy()
    holed[3, 1] = np.nan
    with pytest.raises(ValueError, match="X holds NaN in row 3 column 1"):
        predictor.predict(holed)


def test_a_predictor_says_what_to_save(tmp_path):
    with pytest.raises(RuntimeError, match=r"save the model .* and call predictor\(\) when it is loaded"):
        given(dense(2)).predictor().save(tmp_path / "model")
    assert not any(tmp_path.iterdir())


def test_a_predictor_is_frozen_and_takes_any_number_of_rows():
    model = given(normal(), dense(8, "relu"), dense(2))
    predictor = model.predictor(max_batch=64)
    wanted = predictor(X)
    for rows in (1, 2, 63, 64, 65, 200):
        np.testing.assert_array_equal(predictor(X[:rows]), wanted[:rows])
    np.testing.assert_array_equal(predictor(X[:7].tolist()), wanted[:7])
    model.fit(X, X[:, :2], epochs=1, verbose=0)
    np.testing.assert_array_equal(predictor(X), wanted)
    assert np.abs(model.predict(X) - wanted).max() > 1e-3


def test_the_outputs_go_where_they_are_wanted_and_nothing_is_allocated():
    wide = RNG.normal(size=(300, 200)).astype(np.float32)
    model = minidl.Sequential([dense(200, "relu"), dense(200, "relu"), dense(3)], seed=0)
    model(wide)
    predictor, out = model.predictor(max_batch=300), np.full((300, 3), np.nan, np.float32)
    predictor(wide, out=out)
    tracemalloc.start()
    try:
        assert predictor(wide, out=out) is out
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5000  # bytes: the names and numbers of a Python call; a layer has 240,000
    np.testing.assert_array_equal(out, model.predict(wide))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_copies_and_pickles_predict_the_same(dtype):
    model = given(normal(), dense(9, "relu"), dense(2))
    predictor = model.predictor(dtype, calibration_data=X if dtype == "int8" else None)
    for twin in (copy.deepcopy(predictor), copy.copy(predictor), pickle.loads(pickle.dumps(predictor))):
        np.testing.assert_array_equal(twin(X), predictor(X))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_every_way_is_laid_out_beforehand(dtype, monkeypatch):
    """Also the one that is taken only when calls have followed each other for a while."""
    threads = pytest.importorskip("minidl.engines.numba_engine.threads")

    monkeypatch.setattr(threads, "available", lambda: 2)
    monkeypatch.setattr(threads, "PAYS_AWAKE", 0)
    monkeypatch.setattr(threads, "PAYS_TO_WAKE", np.inf)
    model = minidl.Sequential([minidl.Dense(300, "relu", input_shape=(400,)), minidl.Dense(3)], seed=0)
    model.compile("sgd", "mse", engine="numba")
    wide = RNG.normal(size=(50, 400)).astype(np.float32)
    predictor = model.predictor(max_batch=40, dtype=dtype, calibration_data=wide if dtype == "int8" else None)
    for rows in (1, 40):
        plan = predictor._program.plans[rows]
        assert len(plan.free) == 1
        assert plan.alone is None or len(plan.alone.free) == 1
    assert predictor._program.plans[40].alone is not None


@pytest.mark.parametrize("threads", [1, 2, None])
def test_several_threads_may_call_at_once(threads):
    wide = RNG.normal(size=(2000, 50)).astype(np.float32)
    model = minidl.Sequential([dense(100, "relu"), dense(90, "tanh"), dense(3)], seed=0)
    model(wide)
    predictor = model.predictor(threads=threads)
    pieces = [wide[start : start + rows] for start, rows in ((0, 1), (5, 700), (700, 1300), (0, 2000))]
    wanted, wrong = [model.predict(piece) for piece in pieces], []

    def work(at):
        for _ in range(30):
            if not np.array_equal(predictor(pieces[at]), wanted[at]):
                wrong.append(at)

    crew = [threading.Thread(target=work, args=(at,)) for at in range(4)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    assert wrong == []


def test_the_buffer_is_as_large_as_the_two_largest_neighbours():
    pytest.importorskip("numba")
    from minidl.engines.numba_engine.plan import inference_places_for

    model = given(dense(64, "relu"), dense(256, "tanh"), dense(128), dense(32, "relu"), dense(16))
    _, size = inference_places_for(model._program, 10)
    assert size == 10 * (256 + 128)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"max_batch": 0}, ValueError, "max_batch"),
        ({"max_batch": "all"}, TypeError, "max_batch"),
        ({"threads": 0}, ValueError, "threads"),
        ({"dtype": "int4"}, ValueError, "int4"),
    ],
)
def test_wrong_settings_are_refused(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        given(dense(3)).predictor(**arguments)


def test_wrong_models_and_inputs_are_refused():
    with pytest.raises(RuntimeError, match="no weights yet"):
        minidl.Sequential([dense(3)]).predictor()
    only = minidl.Sequential([minidl.Normalization(input_shape=(6,))])
    with pytest.raises(ValueError, match="no Dense layer"):
        only.predictor()
    predictor = given(dense(3)).predictor()
    with pytest.raises(ValueError, match="5 features"):
        predictor(X[:, :5])
    with pytest.raises(ValueError, match="out must be an array of float32"):
        predictor(X, out=np.empty((500, 3)))
    with pytest.raises(ValueError, match="out must be"):
        predictor(X, out=[1])
    with pytest.raises(ValueError, match=r"shape \(500, 3\)"):
        predictor(X, out=np.empty((3, 500), np.float32))
    with pytest.raises(ValueError, match="out must be C-contiguous"):
        predictor(X, out=np.empty((3, 500), np.float32).T)


# --- in whole numbers -----------------------------------------------------------------------------------------------


def test_a_predictor_in_int8_is_the_quantized_model():
    model = given(normal(), dense(9, "relu"), dense(2, "sigmoid"))
    predictor, quantized = model.predictor("int8", max_batch=100, calibration_data=X), minidl.quantize(model, X)
    np.testing.assert_array_equal(predictor(X), quantized.predict(X))
    np.testing.assert_array_equal(quantized.predictor(threads=1)(X[:3]), quantized.predict(X[:3]))
    assert predictor.clipped == 0
    far, out = X * 100, np.empty((500, 2), np.float32)
    assert predictor(far, out=out) is out
    quantized.predict(X)
    with pytest.warns(UserWarning, match="outside"):
        quantized.predict(far)
    assert predictor.clipped == quantized.clipped > 1000
    np.testing.assert_array_equal(out, quantized.predict(far))
    with pytest.raises(ValueError, match="NaN"):
        predictor(np.full((1, 6), np.nan, np.float32))
    with pytest.raises(ValueError, match="NaN"):
        minidl.quantize(model, dynamic=True).predictor()(np.full((1, 6), np.nan, np.float32))
    assert predictor.nbytes == quantized.nbytes < model.predictor().nbytes


def test_calibration_data_are_for_int8_alone():
    with pytest.raises(ValueError, match="calibration_data are for dtype='int8' alone"):
        given(dense(3)).predictor(calibration_data=X)
    with pytest.raises(TypeError, match="needs calibration_data"):
        given(dense(3)).predictor("int8")


@pytest.mark.parametrize("dtype", ["int 8", "float16", "flaot32", np.float16, 8, "f4,f4", ""])
def test_another_dtype_is_refused_before_all_else(dtype):
    with pytest.raises(ValueError, match="dtype must be 'float32', 'float64' or 'int8', not "):
        given(dense(3)).predictor(dtype, calibration_data=X)


def test_a_dtype_of_numpy_s_will_do():
    model = given(dense(3))
    assert model.predictor(np.float64).dtype == "float64"
    assert model.predictor(np.int8, calibration_data=X).dtype == "int8"


def test_a_float64_model_may_predict_in_float32():
    model = given(normal(), dense(9, "tanh"), dense(2), dtype="float64")
    predictor = model.predictor("float32")
    assert predictor(X).dtype == np.float32
    np.testing.assert_allclose(predictor(X), model.predict(X), rtol=1e-4, atol=1e-4)


# --- how it shows itself --------------------------------------------------------------------------------------------


def test_the_roofline_of_a_call():
    from minidl.bench.ceilings import Ceilings, Level
    from minidl.inference.predictor_summary import allowed

    levels = [
        Level(name, size, 1, {}, {"one": {"read": speed}, "all": {"read": 2 * speed}})
        for name, size, speed in (("L1", 1_000, 400.0), ("L2", 100_000, 100.0), ("memory", 0, 10.0))
    ]
    peaks = {"float32": {"one": 50.0, "all": 100.0}, "int8": None}
    ceilings = Ceilings("", 2, 32, True, "", peaks, levels, 0.0)
    # 100 x 50 + 50 x 2 weights, 20,400 bytes: from L2 at 100 GB/s 200 ns and 4 ns, whose products take 1 row 204 ns.
    assert allowed(ceilings, [100, 50, 2], 1, "float32", 4, "one") == pytest.approx(204e-9)
    assert allowed(ceilings, [100, 50, 2], 8, "float32", 4, "all") == pytest.approx(8 * 102e-9)
    # 250,000 weights leave the caches: 1e6 bytes at 10 GB/s.
    assert allowed(ceilings, [500, 500], 1, "float32", 4, "one") == pytest.approx(100e-6)
    assert allowed(ceilings, [500, 500], 1, "int8", 1, "one") is None


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_summary_says_what_there_is(dtype):
    model = given(normal(), dense(9, "relu"), minidl.Dropout(0.1), dense(2, "sigmoid"))
    predictor = model.predictor(dtype, 50, calibration_data=X if dtype == "int8" else None)
    found = predictor.summary()
    assert [layer[:2] for layer in found.layers] == [("dense 6-9", 108), ("dense_1 9-2", 36)]
    assert [rows for rows, _, _ in found.times] == [1, 50]
    assert all(taken > 0 for _, _, taken in found.times)
    text = str(found)
    assert f"6-9-2 in {dtype}, engine {model.engine}, up to 50 rows at a time" in text
    assert "144 operations a row" in text
    assert ("normalization: multiplied into the weights of dense" in text) == (dtype == "float32")
    assert "the machine allows" in found._repr_html_()
    assert predictor.clipped == 0
    assert repr(predictor) == f"<Predictor 6-9-2, {dtype}, engine {model.engine}>"
