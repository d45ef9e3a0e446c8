"""Good input in every form it comes in gives, to the bit, what clean float32 arrays give, and is never changed."""

import numpy as np
import pandas as pd
import pytest

from minidl import SGD, Dense, Normalization, Sequential
from minidl.engines import ENGINES, why_not

ROWS, FEATURES = 21, 4
RNG = np.random.default_rng(3)
X = RNG.integers(0, 7, (ROWS, FEATURES)).astype(np.float32)  # small whole numbers, which every type holds exactly
Y = (X.sum(axis=1) > 12).astype(np.float32)[:, None]
RUNNING = [name for name in ENGINES if not why_not(name)]
engines = pytest.mark.parametrize("engine", RUNNING)


def unaligned(array):
    raw = np.empty(array.nbytes + 1, np.uint8)[1:]
    view = raw.view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


def every_second(array, axis):
    index = [slice(None)] * array.ndim
    index[axis] = slice(1, None, 2)
    view = np.repeat(array, 2, axis=axis)[tuple(index)]
    assert not view.flags.c_contiguous
    return view


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def mapped(mode):
    def as_map(array, tmp_path):
        np.save(tmp_path / "data.npy", array)
        return np.load(tmp_path / "data.npy", mmap_mode=mode)

    return as_map


class Wrapped:
    """What other libraries' tensors look like to NumPy."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype)


ANY = {
    "float64": lambda a: a.astype(np.float64),
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "int64": lambda a: a.astype(np.int64),
    "int8": lambda a: a.astype(np.int8),
    "uint8": lambda a: a.astype(np.uint8),
    "big-endian float32": lambda a: a.astype(">f4"),
    "big-endian float64": lambda a: a.astype(">f8"),
    "big-endian int32": lambda a: a.astype(">i4"),
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(map(tuple, a.tolist())),
    "list of arrays": list,
    "array-like": Wrapped,
    "read-only": read_only,
    "unaligned": unaligned,
    "every second row": lambda a: every_second(a, 0),
    "reversed rows": lambda a: a[::-1].copy()[::-1],
    "backwards in memory": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "Fortran order": lambda a: np.asfortranarray(np.tile(a, (1, 2)))[:, : a.shape[1]],
    "masked array without masked entries": np.ma.masked_array,
    "memory map to read": mapped("r"),
    "memory map to read and write": mapped("r+"),
    "memory map copied on write": mapped("c"),
    "float32 DataFrame": pd.DataFrame,
    "int DataFrame with an odd index": lambda a: pd.DataFrame(a.astype(int), index=range(100, 100 + len(a))),
    "nullable DataFrame": lambda a: pd.DataFrame(a).astype("Int64"),
}
ONLY_X = {
    "every second column": lambda a: every_second(a, 1),
    "Fortran-ordered": np.asfortranarray,
    "DataFrame of several types": lambda a: pd.DataFrame(a).astype({0: "int8", 1: "float64", 2: "Int64"}),
}
ONLY_Y = {
    "one dimension": lambda a: a[:, 0],
    "one dimension, bool": lambda a: a[:, 0] == 1,
    "one dimension, every second": lambda a: np.repeat(a[:, 0], 2)[::2],
    "one dimension, reversed": lambda a: a[::-1, 0].copy()[::-1],
    "one dimension, int": lambda a: a[:, 0].astype(int),
    "one dimension, big-endian": lambda a: a[:, 0].astype(">f8"),
    "bool": lambda a: a == 1,
    "flat list": lambda a: a[:, 0].tolist(),
    "list of bools": lambda a: [bool(value) for value in a[:, 0]],
    "Series": lambda a: pd.Series(a[:, 0]),
    "bool Series with an odd index": lambda a: pd.Series(a[:, 0] == 1, index=range(50, 50 + len(a))),
    "nullable bool Series": lambda a: pd.Series(a[:, 0] == 1).astype("boolean"),
}


def made(make, array, tmp_path):
    return make(array, tmp_path) if make.__name__ == "as_map" else make(array)


def memory(data):
    """The bytes behind the data, and their dtype and layout."""
    if isinstance(data, Wrapped):
        data = data.array
    if isinstance(data, np.ndarray):
        return data.tobytes(), data.dtype, data.strides, data.flags.writeable
    return repr(data), type(data)


def outcome(engine, x, y, weight=None):
    """Everything a model computes from the data."""
    model = Sequential([Normalization(), Dense(5, "tanh"), Dense(1, "sigmoid")], seed=4)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy", "auc"], engine=engine)
    before = memory(x), memory(y), memory(weight)
    first = model.train_on_batch(x, y, sample_weight=weight)
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0, validation_data=(x, y, weight), sample_weight=weight)
    held_out = model.fit(x, y, validation_split=0.25, verbose=0)
    evaluated = model.evaluate(x, y, sample_weight=weight, verbose=0)
    outputs = model.predict(x, verbose=0), model(x)
    assert before == (memory(x), memory(y), memory(weight))
    assert all(output.dtype == np.float32 and output.shape == (len(Y), 1) for output in outputs)
    arrays = [array.tobytes() for array in (*outputs, *model.get_weights())]
    return arrays, history.history, held_out.history, first, evaluated


@pytest.fixture(scope="module")
def clean():
    return {engine: outcome(engine, X, Y) for engine in RUNNING}


@engines
@pytest.mark.parametrize("form", [*ANY, *ONLY_X])
def test_x_in_every_form(clean, engine, form, tmp_path):
    assert outcome(engine, made((ANY | ONLY_X)[form], X, tmp_path), Y) == clean[engine]


@engines
@pytest.mark.parametrize("form", [*ANY, *ONLY_Y])
def test_y_in_every_form(clean, engine, form, tmp_path):
    assert outcome(engine, X, made((ANY | ONLY_Y)[form], Y, tmp_path)) == clean[engine]


def test_no_form_makes_numba_compile_anew(clean, tmp_path):
    """A compiled function belongs to one layout of memory: each other one would cost 15 seconds, once."""
    from minidl.engines.numba_engine import infer, train

    kernels = train.run_batches, infer.predict_rows, infer.evaluate_rows
    before = [len(kernel.signatures) for kernel in kernels]
    for form, make in (ANY | ONLY_X).items():
        outcome("numba", made(make, X, tmp_path), Y if form in ONLY_X else made(make, Y, tmp_path))
    assert [len(kernel.signatures) for kernel in kernels] == before


@engines
def test_sample_weights_in_every_form(engine, tmp_path):
    weights = (np.arange(ROWS) % 3).astype(np.float32)
    expected = outcome(engine, X, Y, weights)
    for form in (*ANY, "Series"):
        make = (ANY | ONLY_Y)[form]
        assert outcome(engine, X, Y, made(make, weights[:, None], tmp_path)) == expected, form
    for weight in (weights.tolist(), weights.astype(int), pd.Series(weights), weights[::-1].copy()[::-1]):
        assert outcome(engine, X, Y, weight) == expected


@engines
def test_booleans_are_0_and_1(engine):
    assert outcome(engine, X > 3, Y) == outcome(engine, (X > 3).astype(np.float32), Y)
    table = pd.DataFrame(X).assign(large=X[:, 0] > 3)  # floats beside booleans, as pandas.get_dummies makes them
    assert outcome(engine, table, Y) == outcome(engine, np.column_stack([X, X[:, 0] > 3]), Y)


@engines
def test_weights_in_every_form(engine):
    model = Sequential([Dense(2, input_shape=(FEATURES,)), Dense(1)])
    model.compile("sgd", "mse", engine=engine)
    weights = [np.arange(8.0).reshape(4, 2), np.array([1, 2]), [[3], [4]], (5,)]
    model.set_weights(weights)
    # Row [1, 1, 1, 1]: (0+2+4+6+1, 1+3+5+7+2) = (13, 18), then 13*3 + 18*4 + 5 = 116.
    assert model.predict([[1, 1, 1, 1]], verbose=0).tolist() == [[116.0]]
    model.set_weights([np.asfortranarray(weights[0].astype(">f8")), pd.Series([1, 2]), pd.DataFrame([3, 4]), [5]])
    assert model.predict([[1, 1, 1, 1]], verbose=0).tolist() == [[116.0]]


@engines
def test_one_array_may_be_both_input_and_target(engine):
    model, twin = (Sequential([Dense(2, "tanh"), Dense(FEATURES)], seed=0) for _ in range(2))
    for each in (model, twin):
        each.compile("adam", "mse", engine=engine)
    assert model.fit(X, X, verbose=0).history == twin.fit(X, X.copy(), verbose=0).history


CLASSES = np.arange(ROWS) % 3


@engines
@pytest.mark.parametrize(
    "y",
    [CLASSES, CLASSES[:, None], CLASSES.astype(float), CLASSES.tolist(), pd.Series(CLASSES, dtype="i1")],
    ids=["(n,)", "(n, 1)", "float", "list", "Series"],
)
def test_class_indices_in_every_form_equal_rows_of_one_1(engine, y):
    found = []
    for loss, goal in (("sparse_categorical_crossentropy", y), ("categorical_crossentropy", np.eye(3)[CLASSES])):
        model = Sequential([Dense(3, "softmax", input_shape=(FEATURES,))], seed=2)
        model.compile("sgd", loss, metrics=["accuracy"], engine=engine)
        history = model.fit(X, goal, epochs=2, batch_size=8, verbose=0).history
        found.append((history, [array.tobytes() for array in model.get_weights()]))
    assert found[0] == found[1]


# --- sizes -----------------------------------------------------------------------------------------------------------


def line(engine):
    """p = w x + b from w = b = 0, plain descent with rate 0.1: what the tests below compute with a pencil."""
    model = Sequential([Dense(1, kernel_initializer="zeros", input_shape=(1,))])
    model.compile(SGD(0.1), "mse", metrics=["mae"], engine=engine)
    return model


@engines
def test_a_ragged_last_batch_by_hand(engine):
    model = line(engine)
    logs = model.fit([[1], [2], [3]], [2, 4, 6], batch_size=2, shuffle=False, verbose=0).history
    # Rows 1, 2: p = 0, errors -2, -4. dw = (2*-2*1 + 2*-4*2)/2 = -10, db = (2*-2 + 2*-4)/2 = -6: w = 1, b = 0.6.
    # Row 3: p = 3.6, error -2.4. dw = 2*-2.4*3 = -14.4, db = -4.8: w = 2.44, b = 1.08.
    np.testing.assert_allclose(np.ravel(model.layers[0].W), 2.44, rtol=1e-6)
    np.testing.assert_allclose(model.layers[0].b, 1.08, rtol=1e-6)
    # Each row counts once, so the last batch, half as large, counts half: (4 + 16 + 5.76)/3, (2 + 4 + 2.4)/3.
    np.testing.assert_allclose(logs["loss"], [25.76 / 3], rtol=1e-6)
    np.testing.assert_allclose(logs["mae"], [8.4 / 3], rtol=1e-6)


@engines
@pytest.mark.parametrize("batch_size", [3, 4, 1000, 10**30])
def test_a_batch_as_large_as_the_data_or_larger_is_one_step(engine, batch_size):
    model = line(engine)
    model.fit([[1], [2], [3]], [2, 4, 6], batch_size=batch_size, verbose=0)
    # Errors -2, -4, -6: dw = 2*(-2 - 8 - 18)/3, db = 2*-12/3.
    np.testing.assert_allclose(np.ravel(model.layers[0].W), 5.6 / 3, rtol=1e-6)
    np.testing.assert_allclose(model.layers[0].b, 0.8, rtol=1e-6)


@engines
def test_no_batch_size_is_32_and_evaluating_does_not_depend_on_it(engine):
    x, y = RNG.normal(size=(70, FEATURES)), RNG.integers(0, 2, 70)
    models = [Sequential([Dense(3, "relu"), Dense(1, "sigmoid")], seed=1) for _ in range(2)]
    for model, size in zip(models, (None, 32), strict=True):
        model.compile("sgd", "binary_crossentropy", engine=engine)
        model.fit(x, y, batch_size=size, verbose=0)
    assert all(map(np.array_equal, models[0].get_weights(), models[1].get_weights()))
    assert models[0]._program.step == 3
    for size in (None, 1, 7, 1000):
        assert models[0].evaluate(x, y, batch_size=size, verbose=0) == models[1].evaluate(x, y, verbose=0)
        assert models[0].predict(x, batch_size=size, verbose=0).tobytes() == models[1].predict(x).tobytes()


@engines
def test_one_row(engine):
    model = line(engine)
    # p = 0, error -6: dw = 2*-6*3 = -36, db = -12.
    logs = model.fit([[3]], [6], verbose=0).history
    np.testing.assert_allclose([*np.ravel(model.layers[0].W), *model.layers[0].b], [3.6, 1.2], rtol=1e-6)
    assert logs == {"loss": [36.0], "mae": [6.0]}
    assert model.predict([[3]], verbose=0).shape == (1, 1)
    fresh = Sequential([Normalization(), Dense(2, "tanh"), Dense(1, "sigmoid")], seed=0)
    fresh.compile("adam", "binary_crossentropy", metrics=["accuracy", "auc"], engine=engine)
    fresh.fit([[3, 4]], [1], epochs=2, verbose=0)
    # One row is its own mean, so that it is standardised to zeros.
    assert np.isfinite(fresh.evaluate([[3, 4]], [1], verbose=0)).all()


@engines
@pytest.mark.parametrize("label", [0, 1])
def test_one_class(engine, label):
    model = Sequential([Dense(1, "sigmoid", input_shape=(FEATURES,))], seed=0)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy", "auc"], engine=engine)
    logs = model.fit(X, np.full(ROWS, label), epochs=3, verbose=0).history
    assert logs["loss"][2] < logs["loss"][0]
    assert logs["auc"] == [0, 0, 0]  # without both classes there is no curve; Keras gives 0 too


@engines
def test_constant_features_and_wide_ranges_of_values(engine):
    x = np.column_stack([np.full(ROWS, 1e-30), np.full(ROWS, -1e30), X * 1e15, X * 1e-15]).astype(np.float32)
    model = Sequential([Normalization(), Dense(1, "sigmoid")], seed=0)
    model.compile("adam", "binary_crossentropy", engine=engine)
    logs = model.fit(x, Y, epochs=3, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    assert np.isfinite(model.predict(x, verbose=0)).all()


def test_a_float64_model_computes_in_float64():
    model = Sequential([Dense(1, kernel_initializer="ones", input_shape=(1,))])
    model.compile("sgd", "mse", engine="numpy", dtype="float64")
    third = np.float64(1) / 3
    assert model.predict([[third]]).dtype == np.float64
    assert model.predict([[third]]) == third
    assert model.predict(np.array([[third]], ">f8")) == third
    assert model.layers[0].W.dtype == np.float64
