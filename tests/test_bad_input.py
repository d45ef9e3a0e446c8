"""Bad input: every wrong call raises one clear sentence of the right kind, and nothing is lost by it."""

import contextlib
import os
import subprocess
import sys

import numpy as np
import pytest

import minidl
from minidl import (
    SGD,
    Adam,
    AdamW,
    Callback,
    Dense,
    Dropout,
    Normalization,
    Sequential,
    checks,
    engines,
    losses,
    regularizers,
)

N, F = 12, 3  # rows and features of the data below
X = np.random.default_rng(0).normal(size=(N, F)).astype(np.float32)
Y = np.arange(N) % 2
CLASSES = np.arange(N) % 3


@contextlib.contextmanager
def refused(kind, *words):
    """The block raises this kind of error, and nothing else; its message is one line that holds the words."""
    with pytest.raises(kind) as caught:
        yield
    message = str(caught.value)
    assert caught.type is kind
    assert "\n" not in message
    assert 20 < len(message) < 300
    for word in words:
        assert word in message, f"{word!r} is missing in: {message}"


def a_model(loss="binary_crossentropy", outputs=1, activation="sigmoid"):
    """A model that has trained a little, so that there are weights, slots, statistics and a history to lose."""
    layers = [Normalization(input_shape=(F,)), Dense(4, "tanh"), Dropout(0.5), Dense(outputs, activation)]
    model = Sequential(layers, seed=1)
    model.compile(Adam(), loss, metrics=["accuracy"], engine="numpy")
    model.fit(X, CLASSES if outputs == 3 else Y, verbose=0)
    return model


def everything(model):
    """All that a call could change."""
    program = model._program
    arrays = [program.parameters, program.slots, program.table, program.numbers, *model.get_weights()]
    return (
        [array.tobytes() for array in arrays],
        (program.step, program.loss, program.loss_at, program.optimizer, program.metrics.tolist(), program.classes),
        (model.optimizer, model._loss, model.engine, model._dtype, model.history, dict(model.history.history)),
        [(layer.name, layer.inputs, layer.built, getattr(layer, "adapted", None)) for layer in model.layers],
        (model._shuffle.bit_generator.state, model._draw_weights.bit_generator.state),
    )


@pytest.fixture
def model():
    """A trained model; at the end of the test nothing of it has changed, and it trains as one left in peace."""
    model, twin = a_model(), a_model()
    before = everything(model)[0:2], model.history, model.optimizer
    yield model
    assert (everything(model)[0:2], model.history, model.optimizer) == before
    assert everything(model)[3:] == everything(twin)[3:]
    assert model.fit(X, Y, epochs=2, verbose=0).history == twin.fit(X, Y, epochs=2, verbose=0).history
    assert everything(model)[0] == everything(twin)[0]


# --- X ---------------------------------------------------------------------------------------------------------------


def changed(array, row, column, value):
    array = array.astype(np.float64)
    array[row, column] = value
    return array


BAD_X = {
    "one dimension": (X[:, 0], ValueError, ("X must have two dimensions", "(12,)", "reshape(-1, 1)", "reshape(1, -1)")),
    "three dimensions": (X[None], ValueError, ("X must have two dimensions", "(1, 12, 3)")),
    "no dimension": (5.0, ValueError, ("X must have two dimensions", "()")),
    "no rows": (X[:0], ValueError, ("X is empty", "(0, 3)")),
    "no columns": (X[:, :0], ValueError, ("X is empty", "(12, 0)")),
    "an empty list": ([], ValueError, ("X must have two dimensions", "(0,)")),
    "other features": (X[:, :2], ValueError, ("2 features", "(12, 2)", "the model takes 3")),
    "ragged": ([[1, 2, 3], [4, 5]], ValueError, ("X is not rectangular", "differ in length")),
    "text": ([["a", "b", "c"]], TypeError, ("X holds text", "real numbers")),
    "bytes": (np.array([[b"a", b"b", b"c"]]), TypeError, ("X holds text",)),
    "one text": ("data.csv", TypeError, ("X holds text",)),
    "objects": (X.astype(object), TypeError, ("X holds objects", "dtype object")),
    "nothing": (None, TypeError, ("X holds objects",)),
    "complex": (X.astype(np.complex128), TypeError, ("X holds complex numbers", "complex128")),
    "dates": (np.zeros((2, 3), "M8[D]"), TypeError, ("X holds dates",)),
    "records": (np.zeros(3, [("a", "f4")]), TypeError, ("X holds records",)),
    "masked": (np.ma.masked_greater(X, 0), TypeError, ("X is a masked array", "fill or drop")),
    "NaN": (changed(X, 7, 1, np.nan), ValueError, ("X holds NaN", "row 7 column 1", "finite")),
    "infinity": (changed(X, 0, 2, np.inf), ValueError, ("X holds inf", "row 0 column 2")),
    "minus infinity": (changed(X, 3, 0, -np.inf), ValueError, ("X holds -inf", "row 3 column 0")),
    "too large": (changed(X, 5, 1, 1e39), ValueError, ("X holds 1e+39", "too large for float32", "row 5 column 1")),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_X)
def test_bad_x_is_refused_by_every_method(model, case):
    x, kind, words = BAD_X[case]
    rows = len(x) if hasattr(x, "__len__") and not isinstance(x, str) else 1
    y = np.zeros(max(rows, 1))
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with refused(kind, *words):
            call(x, y)
    with refused(kind, *words):
        model.predict(x)
    if case not in ("NaN", "infinity", "minus infinity", "too large"):  # these pass through the formulas
        with refused(kind, *words):
            model(x)
    with refused(kind, *(word.replace("X ", "validation X ", 1) if word.startswith("X ") else word for word in words)):
        model.fit(X, Y, validation_data=(x, y))


@pytest.mark.parametrize("columns", [1, 2, 5])
def test_validation_data_are_as_wide_as_the_training_data_before_a_model_is_built(columns):
    model = Sequential([Dense(4), Dense(1)], seed=0)
    model.compile("sgd", "mse")
    with refused(ValueError, f"validation X has {columns} features", "takes 3"):
        model.fit(X, Y, validation_data=(np.ones((5, columns)), np.ones(5)), verbose=0)
    assert not model.built


def test_a_float64_model_takes_what_is_too_large_for_float32():
    model = Sequential([Dense(1, kernel_initializer="ones", input_shape=(1,))])
    model.compile("sgd", "mse", engine="numpy", dtype="float64")
    assert model.predict([[1e39]]) == 1e39


# --- y and sample_weight ---------------------------------------------------------------------------------------------



def with_value(value, row):
    return np.where(np.arange(N) == row, value, Y)


BAD_Y = {
    "fewer rows": (Y[:-1], ValueError, ("X has 12 rows", "y has 11")),
    "more rows": (np.zeros((13, 1)), ValueError, ("X has 12 rows", "y has 13")),
    "two columns": (np.zeros((N, 2)), ValueError, ("shape (12, 2)", "binary_crossentropy", "(rows, 1) or (rows,)")),
    "a row": (Y[None], ValueError, ("y has shape (1, 12)", "(rows, 1)")),
    "three dimensions": (Y[:, None, None], ValueError, ("y has shape (12, 1, 1)", "(rows, 1)")),
    "no dimension": (1, ValueError, ("y has shape ()", "(rows, 1)")),
    "empty": ([], ValueError, ("y is empty",)),
    "text": (["yes"] * N, TypeError, ("y holds text",)),
    "objects": (Y.astype(object), TypeError, ("y holds objects",)),
    "nothing": (None, TypeError, ("y is missing",)),
    "complex": (Y.astype(complex), TypeError, ("y holds complex numbers",)),
    "masked": (np.ma.masked_equal(Y, 1), TypeError, ("y is a masked array",)),
    "NaN": (with_value(np.nan, 4), ValueError, ("y holds NaN", "row 4")),
    "infinity": (with_value(np.inf, 4), ValueError, ("y holds inf", "row 4")),
    "too large": (with_value(-1e39, 4), ValueError, ("y holds -1e+39", "too large for float32", "row 4")),
    "a label of 2": (with_value(2, 9), ValueError, ("y holds 2", "row 9 column 0", "labels in [0, 1]")),
    "a label of -1": (np.where(Y == 0, -1, 1), ValueError, ("y holds -1", "row 0", "labels in [0, 1]")),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_Y)
def test_bad_y_is_refused_by_every_method(model, case):
    y, kind, words = BAD_Y[case]
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with refused(kind, *words):
            call(X, y)
    with refused(kind, "validation y"):
        model.fit(X, Y, validation_data=(X, y))


@pytest.mark.parametrize(
    ("value", "words"),
    [(3, "y holds 3"), (-1, "y holds -1"), (1.5, "y holds 1.5")],
)
def test_class_indices_must_be_whole_and_in_range(value, words):
    model = a_model("sparse_categorical_crossentropy", 3, "softmax")
    before = everything(model)
    y = np.where(np.arange(N) == 5, value, CLASSES)
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with refused(ValueError, words, "row 5", "class indices 0 to 2"):
            call(X, y)
    assert everything(model) == before


def test_class_indices_for_a_loss_of_probability_rows_name_the_loss_to_use():
    model = Sequential([Dense(3, "softmax", input_shape=(F,))])
    model.compile("sgd", "categorical_crossentropy", engine="numpy")
    with refused(ValueError, "(12,)", "(rows, 3)", "sparse_categorical_crossentropy"):
        model.fit(X, CLASSES)
    with refused(ValueError, "y holds 2", "row 0 column 2", "labels in [0, 1]"):
        model.fit(X, np.full((N, 3), [0, 0, 2]))


def test_regression_takes_any_finite_target_of_the_right_width():
    model = Sequential([Dense(2, input_shape=(F,))])
    model.compile("sgd", "mse", engine="numpy")
    with refused(ValueError, "(12, 3)", "(rows, 2)", "mean_squared_error"):
        model.fit(X, np.zeros((N, 3)))
    model.fit(X, np.full((N, 2), -1e6), verbose=0)


BAD_WEIGHTS = {
    "too short": (np.ones(N - 1), ValueError, ("(11,)", "X has 12 rows", "(12,)")),
    "two columns": (np.ones((N, 2)), ValueError, ("(12, 2)", "(12,)")),
    "a number": (2.0, ValueError, ("()", "(12,)")),
    "NaN": (np.where(np.arange(N) == 6, np.nan, 1), ValueError, ("NaN", "row 6")),
    "text": (["a"] * N, TypeError, ("text",)),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_bad_sample_weights_are_refused(model, case):
    weight, kind, words = BAD_WEIGHTS[case]
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with refused(kind, "sample_weight", *words):
            call(X, Y, sample_weight=weight)
    with refused(kind, "validation sample_weight", *words):
        model.fit(X, Y, validation_data=(X, Y, weight))


# --- the other arguments of fit, evaluate and predict ----------------------------------------------------------------

BAD_ARGUMENTS = [
    ({"batch_size": 0}, ValueError, ("batch_size", "at least 1", "not 0")),
    ({"batch_size": -1}, ValueError, ("batch_size", "at least 1", "not -1")),
    ({"batch_size": 2.5}, TypeError, ("batch_size", "whole number", "2.5")),
    ({"batch_size": 4.0}, TypeError, ("batch_size", "whole number", "4.0")),
    ({"batch_size": True}, TypeError, ("batch_size", "whole number", "True")),
    ({"batch_size": "all"}, TypeError, ("batch_size", "whole number", "'all'")),
    ({"batch_size": np.eye(3)}, TypeError, ("batch_size", "whole number", "array([[1.")),
    ({"epochs": -1}, ValueError, ("epochs", "at least 0", "not -1")),
    ({"epochs": 1.0}, TypeError, ("epochs", "whole number")),
    ({"epochs": None}, TypeError, ("epochs", "whole number", "None")),
    ({"validation_split": 1}, ValueError, ("validation_split", "[0, 1)", "1.0")),
    ({"validation_split": -0.1}, ValueError, ("validation_split", "[0, 1)", "-0.1")),
    ({"validation_split": float("nan")}, ValueError, ("validation_split", "nan")),
    ({"validation_split": "half"}, TypeError, ("validation_split", "number", "'half'")),
    ({"validation_split": 0.99}, ValueError, ("validation_split=0.99", "0 of 12 rows for training")),
    ({"validation_data": X}, ValueError, ("validation_data", "(x, y)", "(x, y, sample_weight)")),
    ({"validation_data": (X,)}, ValueError, ("validation_data", "(x, y)")),
    ({"validation_data": (X, Y, None, None)}, ValueError, ("validation_data", "(x, y)")),
    ({"validation_data": (X, Y[:-1])}, ValueError, ("X has 12 rows", "validation y has 11")),
    ({"validation_data": (X[:, :1], Y)}, ValueError, ("validation X has 1 features", "takes 3")),
    ({"callbacks": [print]}, TypeError, ("callbacks", "minidl.Callback", "print")),
    ({"callbacks": [Callback]}, TypeError, ("callbacks", "instances", "minidl.Callback")),
    ({"callbacks": [Callback(), None]}, TypeError, ("callbacks", "minidl.Callback", "None")),
    ({"callbacks": 3}, TypeError, ("callbacks", "minidl.Callback", "3")),
    ({"callbacks": [X]}, TypeError, ("callbacks", "minidl.Callback", "array(")),
    ({"verbose": "loud"}, ValueError, ("verbose", "'auto', 0, 1 or 2", "'loud'")),
    ({"verbose": 3}, ValueError, ("verbose", "3")),
    ({"verbose": np.zeros(2)}, ValueError, ("verbose", "array(")),
    ({"shuffle": "batch"}, TypeError, ("shuffle", "True or False", "'batch'")),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "kind", "words"), BAD_ARGUMENTS, ids=lambda value: str(value)[:40])
def test_bad_arguments_of_fit_are_refused(model, arguments, kind, words):
    with refused(kind, *words):
        model.fit(X, Y, **arguments)
    if arguments.keys() <= {"batch_size", "verbose"}:
        with refused(kind, *words):
            model.evaluate(X, Y, **arguments)
        with refused(kind, *words):
            model.predict(X, **arguments)


def test_one_row_cannot_be_split(model):
    with refused(ValueError, "validation_split=0.5", "0 of 1 rows for training"):
        model.fit(X[:1], Y[:1], validation_split=0.5)


def test_a_failed_fit_does_not_adapt_a_fresh_normalization():
    model = Sequential([Normalization(), Dense(1)], seed=0)
    model.compile("sgd", "mse", engine="numpy")
    for bad in ({"callbacks": [1]}, {"verbose": "loud"}, {"sample_weight": [1.0]}, {"validation_split": 0.99}):
        with pytest.raises((TypeError, ValueError)):
            model.fit(X, Y, **bad)
        assert not model.built
        assert not model.layers[0].adapted
        assert model.history is None


def test_a_normalization_behind_another_layer_must_be_adapted_by_hand():
    model = Sequential([Normalization(input_shape=(F,)), Dense(2), Normalization(), Dense(1)])
    model.compile("sgd", "mse", engine="numpy")
    for call in (model.fit, model.train_on_batch):
        with refused(RuntimeError, "'normalization_1'", "not the first", "adapt before fit"):
            call(X, Y)
    assert not model.layers[0].adapted  # its turn comes with the fit that succeeds
    model.layers[2].adapt([[1, 2], [3, 4]])
    model.fit(X, Y, verbose=0)
    assert model.layers[0].adapted


# --- before compile, and compile -------------------------------------------------------------------------------------


def test_training_and_evaluating_need_compile():
    model = Sequential([Dense(1, input_shape=(F,))])
    for name in ("fit", "evaluate", "train_on_batch"):
        with refused(RuntimeError, "not compiled", "compile(optimizer, loss)", f"before {name}"):
            getattr(model, name)(X, Y)
    assert model.predict(X).shape == (N, 1)  # this one needs weights only


BAD_COMPILE = [
    (("sdg", "mse"), {}, ValueError, ("unknown optimizer 'sdg'", "did you mean 'sgd'?")),
    (("adamax", "mse"), {}, ValueError, ("unknown optimizer 'adamax'", "did you mean 'adam'?")),
    ((None, "mse"), {}, ValueError, ("unknown optimizer None", "'sgd', 'adam', 'adamw'")),
    ((SGD, "mse"), {}, ValueError, ("unknown optimizer <class 'minidl.optimizers.SGD'>",)),
    (("sgd", "binary_cross_entropy"), {}, ValueError, ("unknown loss", "did you mean 'binary_crossentropy'?")),
    (("sgd", "hinge"), {}, ValueError, ("unknown loss 'hinge'", "'mse'", "'mae'")),
    (("sgd", None), {}, ValueError, ("unknown loss None",)),
    (("sgd", X), {}, ValueError, ("unknown loss array(",)),
    (("sgd", "mse"), {"metrics": ["acuracy"]}, ValueError, ("unknown metric 'acuracy'", "did you mean 'accuracy'?")),
    (("sgd", "mse"), {"metrics": ["mae", None]}, ValueError, ("unknown metric None", "'auc'")),
    (("sgd", "mse"), {"metrics": 5}, TypeError, ("metrics must be a list", "'accuracy'", "5")),
    (("sgd", "mse"), {"engine": "nunba"}, ValueError, ("unknown engine 'nunba'", "did you mean 'numba'?")),
    (("sgd", "mse"), {"engine": "torch"}, ValueError, ("unknown engine 'torch'",)),
    (("sgd", "mse"), {"engine": None}, ValueError, ("unknown engine None", "'numpy', 'numba', 'cupy', 'auto'")),
    (("sgd", "mse"), {"dtype": "float16"}, ValueError, ("dtype", "'float32' or 'float64'", "'float16'")),
    (("sgd", "mse"), {"dtype": "flaot32"}, ValueError, ("dtype", "'float32' or 'float64'", "'flaot32'")),
    (("sgd", "mse"), {"dtype": None}, ValueError, ("dtype", "None")),
    (("sgd", "mse"), {"dtype": ">f4"}, ValueError, ("dtype", "'>f4'")),
    (("sgd", "mse"), {"dtype": "f4,,"}, ValueError, ("dtype", "'f4,,'")),
    (("sgd", "mse"), {"matmul_precision": "hihg"}, ValueError, ("matmul_precision", "'hihg'", "mean 'high'?")),
    (("sgd", "mse"), {"matmul_precision": None}, ValueError, ("matmul_precision", "'highest', 'high', 'medium'")),
    (("sgd", "categorical_crossentropy"), {}, ValueError, ("2 outputs or more", "has 1", "binary_crossentropy")),
    (("sgd", "sparse_categorical_crossentropy"), {}, ValueError, ("2 outputs or more",)),
]  # fmt: skip


@pytest.mark.parametrize(("given", "options", "kind", "words"), BAD_COMPILE, ids=lambda value: str(value)[:40])
def test_a_compile_that_fails_leaves_the_model_as_it_was(model, given, options, kind, words):
    with refused(kind, *words):
        model.compile(*given, **{"engine": "numpy", "dtype": "float64", **options})


@pytest.mark.parametrize("lazy", [False, True])
def test_a_model_that_does_not_fit_its_loss_never_becomes_compiled(lazy):
    model = Sequential([Dense(1, input_shape=None if lazy else (F,))])
    with refused(ValueError, "needs outputs in [0, 1]", "sigmoid"):
        model.compile("sgd", "mse", metrics=["auc"], engine="numpy")
    with refused(ValueError, "2 outputs or more"):
        model.compile("sgd", "categorical_crossentropy", engine="numpy")
    for _ in range(2):
        with refused(RuntimeError, "not compiled"):
            model.fit(X, Y)
    model.compile("sgd", "mse", engine="numpy")
    model.fit(X, Y, verbose=0)


def test_the_area_under_the_curve_needs_labels_of_0_and_1():
    model = Sequential([Dense(1, "sigmoid", input_shape=(F,))])
    model.compile("sgd", "binary_crossentropy", metrics=["auc"], engine="numpy")
    with refused(ValueError, "'auc'", "labels of 0 and 1", "y holds others"):
        model.fit(X, np.full(N, 0.5))


@pytest.mark.parametrize("make", [minidl.get_engine, lambda name: a_model().compile("sgd", "mse", engine=name)])
def test_an_engine_that_cannot_run_says_what_to_do(make, monkeypatch):
    monkeypatch.setattr(engines, "_loaded", {})
    monkeypatch.setattr(engines, "why_no_gpu", lambda: "there is no device")
    monkeypatch.setattr(engines, "why_not_imported", lambda *_: "")
    with refused(RuntimeError, "the engine 'cupy' cannot run here: there is no device"):
        make("cupy")


@pytest.mark.parametrize("name", ["Numba", "nunba", 3, None, ["numpy"]])
def test_unknown_engines_are_named(name):
    with refused(ValueError, "unknown engine", "num"):
        minidl.get_engine(name)


def test_broken_or_missing_numba_is_said_and_auto_goes_on_with_numpy(tmp_path):
    (tmp_path / "numba.py").write_text("raise SystemError('initialization failed')\n")
    code = (
        "import warnings, minidl\n"
        "from minidl import Sequential, Dense\n"
        "model = Sequential([Dense(1, input_shape=(2,))])\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    model.compile('sgd', 'mse')\n"
        "print(model.engine, '|', *[w.message for w in caught])\n"
        "try: minidl.get_engine('numba')\n"
        "except RuntimeError as error: print(error)\n"
        "import sys; sys.path.pop(0); sys.modules['numba'] = None\n"
        "try: minidl.get_engine('numba')\n"
        "except RuntimeError as error: print(error)\n"
    )
    # The first entry of the path is this folder, so that its numba.py stands for a broken installation.
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"],
        capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}, check=True,
    )  # fmt: skip
    auto, broken, missing = found.stdout.splitlines()
    assert auto.startswith("numpy | engine='auto' uses NumPy here")
    assert "initialization failed" in auto
    assert "does not import" in broken
    assert "pip install -U numba" in broken
    assert "not installed" in missing
    assert "pip install numba" in missing


# --- the numbers of optimizers, layers and the rest ------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("make", [SGD, Adam, AdamW])
@pytest.mark.parametrize(
    ("value", "kind"),
    [*((value, ValueError) for value in (-0.1, NAN, INF, 10**400)), *((value, TypeError) for value in ("1", True))],
    ids=str,
)
def test_learning_rates_must_be_finite_and_not_negative(make, value, kind):
    with refused(kind, "learning_rate", "number"):
        make(learning_rate=value)
    optimizer = make(0.5)
    with refused(kind, "learning_rate", "number"):
        optimizer.learning_rate = value
    assert optimizer.learning_rate == 0.5


def test_a_learning_rate_set_later_is_checked_on_a_model_too(model):
    with refused(ValueError, "learning_rate", "-1"):
        model.optimizer.learning_rate = -1
    assert model.optimizer.learning_rate == 0.001


@pytest.mark.parametrize(
    ("thing", "name", "value", "kind", "words"),
    [
        (Adam(), "beta_1", 7, ValueError, ("beta_1", "[0, 1)", "7")),
        (Adam(), "beta_2", 1, ValueError, ("beta_2", "[0, 1)")),
        (Adam(), "epsilon", -1, ValueError, ("epsilon", "at least 0")),
        (AdamW(), "weight_decay", "0", TypeError, ("weight_decay", "number")),
        (SGD(), "momentum", 2, ValueError, ("momentum", "[0, 1]")),
        (SGD(), "nesterov", 1, TypeError, ("nesterov", "True or False")),
        (Dense(1), "activation", "bogus", ValueError, ("unknown activation 'bogus'",)),
        (Dense(1), "units", 0, ValueError, ("units", "at least 1")),
        (Dense(1), "use_bias", "no", TypeError, ("use_bias", "True or False")),
        (Dense(1), "kernel_regularizer", "l3", ValueError, ("unknown regularizer 'l3'",)),
        (Dense(1), "trainable", 1, TypeError, ("trainable", "True or False")),
        (Dropout(0.5), "rate", 1, ValueError, ("rate", "[0, 1)")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_are_checked_when_they_are_changed_too(thing, name, value, kind, words):
    before = getattr(thing, name)
    with refused(kind, *words):
        setattr(thing, name, value)
    assert getattr(thing, name) == before


def test_a_class_that_was_not_called_is_named_as_it_should_be_written():
    model = Sequential([Dense(1, input_shape=(2,))])
    for options, words in (
        ({"optimizer": Adam, "loss": "mse"}, "write Adam()"),
        ({"optimizer": "adam", "loss": losses.MeanSquaredError}, "write MeanSquaredError()"),
        ({"optimizer": "adam", "loss": "mse", "metrics": [minidl.metrics.AUC]}, "write AUC()"),
    ):
        with refused(ValueError, words):
            model.compile(**options)
    with refused(ValueError, "unknown regularizer", "write L1()"):
        Dense(1, kernel_regularizer=regularizers.L1)


BAD_MAKING = [
    (lambda: Dense(0), ValueError, ("units", "at least 1", "not 0")),
    (lambda: Dense(-3), ValueError, ("units", "at least 1", "-3")),
    (lambda: Dense(2.5), TypeError, ("units", "whole number", "2.5")),
    (lambda: Dense(True), TypeError, ("units", "whole number", "True")),
    (lambda: Dense("10"), TypeError, ("units", "whole number", "'10'")),
    (lambda: Dense(1, activation="rellu"), ValueError, ("unknown activation 'rellu'", "did you mean 'relu'?")),
    (lambda: Dense(1, activation="ReLU"), ValueError, ("unknown activation 'ReLU'", "did you mean 'relu'?")),
    (lambda: Dense(1, activation=np.tanh), ValueError, ("unknown activation", "'linear', 'sigmoid', 'relu'")),
    (lambda: Dense(1, use_bias="no"), TypeError, ("use_bias", "True or False")),
    (lambda: Dense(1, trainable=1), TypeError, ("trainable", "True or False")),
    (lambda: Dense(1, kernel_initializer="glorot"), ValueError, ("initializer 'glorot'", "did you mean 'glorot_")),
    (lambda: Dense(1, bias_initializer="zeroes"), ValueError, ("initializer 'zeroes'", "did you mean 'zeros'?")),
    (lambda: Dense(1, kernel_regularizer="l3"), ValueError, ("unknown regularizer 'l3'", "'l1', 'l2'")),
    (lambda: Dense(1, kernel_regularizer=0.01), ValueError, ("unknown regularizer 0.01", "'l1', 'l2', 'l1_l2'")),
    (lambda: Dense(1, input_shape=(0,)), ValueError, ("input_shape", "at least 1")),
    (lambda: Dense(1, input_shape=(2, 3)), ValueError, ("input_shape", "one number", "(2, 3)")),
    (lambda: Dense(1, input_shape="3"), ValueError, ("input_shape", "one number", "'3'")),
    (lambda: Dense(1, name=3), TypeError, ("name", "text", "3")),
    (lambda: Dense(1, name=""), TypeError, ("name", "text", "''")),
    (lambda: Dropout(1.0), ValueError, ("rate", "[0, 1)", "1.0")),
    (lambda: Dropout(-0.1), ValueError, ("rate", "[0, 1)", "-0.1")),
    (lambda: Dropout("0.5"), TypeError, ("rate", "number", "'0.5'")),
    (lambda: SGD(momentum=1.5), ValueError, ("momentum", "[0, 1]", "1.5")),
    (lambda: SGD(nesterov=1), TypeError, ("nesterov", "True or False")),
    (lambda: Adam(beta_1=1), ValueError, ("beta_1", "[0, 1)")),
    (lambda: Adam(beta_2=-0.5), ValueError, ("beta_2", "[0, 1)")),
    (lambda: Adam(epsilon=NAN), ValueError, ("epsilon", "nan")),
    (lambda: AdamW(weight_decay=-1), ValueError, ("weight_decay", "at least 0")),
    (lambda: regularizers.L2(-1), ValueError, ("l2", "at least 0")),
    (lambda: regularizers.L1("a"), TypeError, ("l1", "number")),
    (lambda: losses.BinaryCrossentropy(from_logits=1), TypeError, ("from_logits", "True or False")),
    (lambda: Sequential(seed=-1), ValueError, ("seed", "at least 0")),
    (lambda: Sequential(seed=0.5), TypeError, ("seed", "whole number")),
    (lambda: Sequential(Dense(3)), TypeError, ("layers must be a list", "Dense")),
    (lambda: Sequential([Dense(3), "relu"]), TypeError, ("layers such as minidl.Dense(10)", "'relu'")),
    (lambda: Sequential([Dense]), TypeError, ("layers such as minidl.Dense(10)", "class")),
    (lambda: minidl.set_random_seed("lucky"), TypeError, ("seed", "whole number", "'lucky'")),
    (lambda: minidl.set_random_seed(-1), ValueError, ("seed", "at least 0")),
]  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "words"), BAD_MAKING, ids=[" ".join(words)[:40] for *_, words in BAD_MAKING])
def test_bad_numbers_and_names_are_refused_at_construction(make, kind, words):
    with refused(kind, *words):
        make()


# --- layers ----------------------------------------------------------------------------------------------------------


def test_a_layer_belongs_to_one_place_in_one_model():
    layer = Dense(3)
    model = Sequential([Dense(3, input_shape=(F,)), layer])
    before = model.get_weights()
    for other in (model, Sequential()):
        with refused(ValueError, "'dense_1' already belongs to a model", "make a new one"):
            other.add(layer)
    assert len(model.layers) == 2
    assert all(map(np.array_equal, model.get_weights(), before))


def test_layers_come_before_compile(model):
    with refused(RuntimeError, "the model is compiled", "before compile"):
        model.add(Dense(1))


def test_layers_whose_sizes_do_not_fit_are_not_added():
    model = Sequential([Dense(4, input_shape=(F,)), Dropout(0.5)])
    before = model.get_weights()
    wrong = Dense(2, input_shape=(5,))
    with refused(ValueError, "'dense_1' takes 5 features", "is given 4"):
        model.add(wrong)
    assert (wrong.owner, wrong.name, wrong.built) == (None, None, False)
    assert len(model.layers) == 2
    assert all(map(np.array_equal, model.get_weights(), before))
    model.add(Dense(2, input_shape=(4,)))
    assert model.predict(X).shape == (N, 2)


def test_sizes_that_turn_out_not_to_fit_leave_the_model_unbuilt():
    model = Sequential([Dropout(0.5), Dense(2, input_shape=(5,))])
    with refused(ValueError, "'dense' takes 5 features", "is given 3"):
        model.predict(X)
    assert not any(layer.built for layer in model.layers)
    assert model.predict(np.zeros((1, 5))).shape == (1, 2)


def test_an_initializer_that_fails_leaves_the_model_as_it_was():
    model = Sequential([Dense(4, input_shape=(F,))])
    wrong = Dense(2, kernel_initializer=lambda shape, rng: np.zeros(3))
    with refused(ValueError, "an initializer returned the shape (3,)", "(4, 2)"):
        model.add(wrong)
    assert len(model.layers) == 1
    assert model.predict(X).shape == (N, 4)
    model.add(Dense(2))
    assert model.predict(X).shape == (N, 2)


def test_an_initializer_that_fails_when_built_late_fails_each_time():
    model = Sequential([Dense(2, kernel_initializer=lambda shape, rng: np.zeros(3))])
    for _ in range(2):
        with refused(ValueError, "an initializer returned the shape (3,)", "(3, 2)"):
            model.predict(X)


def test_names_are_unique():
    model = Sequential([Dense(3, name="first", input_shape=(F,))])
    with refused(ValueError, "two layers have the name 'first'"):
        model.add(Dense(2, name="first"))
    assert len(model.layers) == 1


def test_models_without_layers_or_without_a_dense_layer():
    model = Sequential()
    for call in (lambda: model.compile("sgd", "mse", engine="numpy"), lambda: model.predict(X), lambda: model(X)):
        with refused(RuntimeError, "the model has no layers", "add some"):
            call()
    for layers in ([Dropout(0.5)], [Normalization(input_shape=(F,))]):
        with refused(RuntimeError, "no Dense layer", "nothing to train"):
            Sequential(layers).compile("sgd", "mse", engine="numpy")


def test_values_too_large_for_their_variance_are_refused():
    layer = Normalization()
    layer.adapt(X)
    before = layer.get_weights()
    bad = X.astype(np.float64)
    bad[0, 1] = 1e200
    with refused(ValueError, "column 1 of X", "too large", "variance"):
        layer.adapt(bad)
    assert all(map(np.array_equal, layer.get_weights(), before))
    model = Sequential([Normalization(input_shape=(1,)), Dense(1)])
    model.compile("sgd", "mse", engine="numpy")
    with refused(ValueError, "column 0 of X", "variance 1e+60", "float32"):
        model.fit([[1e30], [-1e30]], [0, 1])
    model = Sequential([Normalization(), Dense(1)])
    model.compile("sgd", "mse", engine="numpy")
    with refused(ValueError, "column 0 of X", "variance 1e+60", "float32"):
        model.fit([[1e30], [-1e30]], [0, 1])
    assert not model.built


# --- weights ---------------------------------------------------------------------------------------------------------


def bad_weights():
    """Lists of weights for ``a_model`` (its shapes: (3,) (3,) (3, 4) (4,) (4, 1) (1,)), each wrong in its own way."""
    right = [np.full(shape, 7.0) for shape in ((3,), (3,), (3, 4), (4,), (4, 1), (1,))]

    def but(place, value):
        return [*right[:place], value, *right[place + 1 :]]

    return {
        "too few": (right[:-1], ValueError, ("the model has 6 weight arrays", "5 are given")),
        "too many": ([*right, 1], ValueError, ("6 weight arrays", "7 are given")),
        "none": ([], ValueError, ("6 weight arrays", "0 are given")),
        "no list": (5, TypeError, ("must be a list of arrays", "5")),
        "transposed": (but(2, np.ones((4, 3))), ValueError, ("weights[2]", "(3, 4)", "(4, 3)")),
        "last one": (but(5, np.ones((1, 1))), ValueError, ("weights[5]", "(1,)", "(1, 1)")),
        "a number": (but(4, 3.0), ValueError, ("weights[4]", "(4, 1)", "()")),
        "NaN": (but(4, np.full((4, 1), np.nan)), ValueError, ("weights[4] holds NaN", "row 0 column 0")),
        "too large": (but(5, [1e39]), ValueError, ("weights[5] holds 1e+39", "too large for float32")),
        "text": (but(5, ["a"]), TypeError, ("weights[5] holds text",)),
        "nothing": (but(0, None), TypeError, ("weights[0] holds objects",)),
    }


@pytest.mark.parametrize("case", bad_weights())
def test_weights_that_do_not_fit_change_nothing(model, case):
    weights, kind, words = bad_weights()[case]
    with refused(kind, *words):
        model.set_weights(weights)


def test_weights_of_a_layer_that_do_not_fit_change_nothing(model):
    layer = model.layers[1]
    with refused(ValueError, "the layer 'dense' has 2 weight arrays", "1 are given"):
        layer.set_weights([np.ones((3, 4))])
    with refused(ValueError, "weights[1] of the layer 'dense'", "(4,)", "(5,)"):
        layer.set_weights([np.ones((3, 4)), np.ones(5)])
    with refused(ValueError, "W of the layer 'dense'", "(3, 4)", "(4, 3)"):
        layer.W = np.ones((4, 3))
    with refused(ValueError, "b holds NaN", "row 1"):
        layer.b = [0, NAN, 0, 0]


def test_weights_that_do_not_exist_yet():
    model = Sequential([Dense(2)])
    for call in (lambda: model.set_weights([1]), model.count_params):
        with refused(RuntimeError, "no weights yet", "input_shape"):
            call()
    with refused(RuntimeError, "'dense' has no weights yet"):
        model.layers[0].set_weights([1])
    assert model.get_weights() == []


# --- losses called directly, and what the checks themselves promise --------------------------------------------------


def test_losses_check_what_they_are_called_with():
    loss = losses.get("bce")
    with refused(ValueError, "X has 2 rows", "y_true has 3"):
        loss([0, 1, 1], [0.5, 0.5])
    with refused(ValueError, "y_pred holds NaN", "row 1"):
        loss([0, 1], [0.5, NAN])
    with refused(ValueError, "y_true holds 2", "labels in [0, 1]"):
        loss([0, 2], [0.5, 0.5])


def test_what_a_message_shows_is_one_short_line():
    assert checks.shown("x") == "'x'"
    assert checks.shown(np.eye(2)) == "array([[1., 0.], [0., 1.]])"
    assert len(checks.shown(list(range(1000)))) == 80


def test_a_model_refuses_at_any_time_and_trains_on(model):
    """Many failures in a row; the fixture then compares the model with one that had none."""
    for x, kind, _ in BAD_X.values():
        with pytest.raises(kind):
            model.fit(x, Y)
    for y, kind, _ in BAD_Y.values():
        with pytest.raises(kind):
            model.fit(X, y)
    for weights, kind, _ in bad_weights().values():
        with pytest.raises(kind):
            model.set_weights(weights)
