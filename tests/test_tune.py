"""Tuning: what is chosen from times made by hand, what a latency model learns, what a search trains and what not."""

import itertools
import subprocess
import sys
import types

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bad_input import refused

import minidl
from minidl import Dense, Normalization, Sequential, data, tune
from minidl.inference.tune import front, latency, search, sizes
from minidl.inference.tune.latency import LatencyModel

properties = settings(derandomize=True, deadline=None, max_examples=60)
X = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
US, MS = 1_000, 1_000_000  # nanoseconds


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what is said to take time, in nanoseconds."""
    made = types.SimpleNamespace(now=0)
    for module in (sizes, front):
        monkeypatch.setattr(module, "clock", lambda: made.now)
    return made


def model_of(clock, taken, outputs=None):
    """A model that takes ``taken(rows)`` nanoseconds of that clock, and returns the outputs of as many rows."""

    def model(x):
        clock.now += taken(len(x))
        return np.zeros((len(x), 1)) if outputs is None else np.array(outputs, float)[: len(x), None]

    return model


def sizes_of(clock, taken, latency_ms, **more):
    return tune.batch_size(model_of(clock, taken), X, latency_ms, verbose=0, **more)


# --- batch sizes -----------------------------------------------------------------------------------------------------


def test_a_line_of_times_worked_by_hand(clock):
    # A call of n rows takes 1,000 + 100 n ns. The bound of 5,000 ns holds up to 40 rows: of the powers of two up to 32,
    # which take 4,200 ns. 64 rows are the first beyond it, and the last that are looked at.
    found = sizes_of(clock, lambda rows: 1000 + 100 * rows, 0.005)
    assert found.best == 32
    assert found.found.rows.tolist() == [1, 2, 4, 8, 16, 32, 64]
    best = found.found.loc[5]
    assert (best.median_ms, best.p99_ms) == pytest.approx((4.2e-3, 4.2e-3))
    assert best.rows_per_second == pytest.approx(32 / 4.2e-6)
    assert found.found.remark.tolist() == [""] * 5 + ["best", "too slow"]
    assert found.note == "Best: 32 rows at a time."


@pytest.mark.parametrize(("a", "b", "bound", "best"), [(50, 10, 100, 4), (99, 1, 101, 2), (1, 1, 18, 16)])
def test_other_lines(clock, a, b, bound, best):
    found = sizes_of(clock, lambda rows: (a + b * rows) * US, (bound + 0.5) / 1000, sizes=[1, 2, 4, 8, 16])
    assert found.best == best


def test_the_bound_itself_is_within(clock):
    assert sizes_of(clock, lambda rows: rows * MS, 8, sizes=[8, 9]).best == 8


def test_the_largest_size_within_need_not_be_the_best(clock):
    # 1 row in 10 us, 2 in 15, 4 in 22, 8 in 60: 0.100, 0.133, 0.182, 0.133 rows/us.
    found = sizes_of(clock, {1: 10 * US, 2: 15 * US, 4: 22 * US, 8: 60 * US}.get, 1, sizes=[8, 4, 2, 1])
    assert found.found.rows.tolist() == [1, 2, 4, 8]
    assert found.best == 4


def test_of_equal_ones_the_least(clock):
    assert sizes_of(clock, lambda rows: 10 * US * rows, 1, sizes=[4, 2]).best == 2


@pytest.mark.parametrize(("every", "best"), [(200, 2), (50, 1)])
def test_two_slow_calls_in_a_hundred_are_too_many(clock, every, best):
    calls = itertools.count()

    def taken(rows):
        return 9 * MS if rows == 2 and next(calls) % every == every - 1 else 1 * MS

    found = sizes_of(clock, taken, 2, sizes=[1, 2])
    assert found.found.median_ms[1] == 1
    assert found.found.p99_ms[1] == (9 if best == 1 else 1)
    assert found.best == best


def test_no_size_within_the_bound_is_said(clock):
    found = sizes_of(clock, lambda rows: 3 * MS, 2)
    assert found.best is None
    assert found.found.rows.tolist() == [1]
    assert found.note == "No batch size is within 2 ms."


def test_sizes_end_with_the_rows_there_are(clock):
    found = sizes_of(clock, lambda rows: 1 * US, 1)
    assert found.found.rows.tolist() == [1, 2, 4, 8, 16, 32, 64]
    assert found.best == 64
    assert "More were not tried" in str(found)


def test_it_keeps_to_its_time(clock):
    found = sizes_of(clock, lambda rows: 10 * US * rows, 9, seconds=0.5)
    assert 0.3 < clock.now / 1e9 < 0.51
    assert (found.found.calls >= 50).all()
    clock.now = 0
    found = sizes_of(clock, lambda rows: 1000 * MS, 2000, seconds=3)
    assert clock.now / 1e9 == 5  # one call to see what it returns, and for each size one that warms up and one
    assert found.found.rows.tolist() == [1, 2]
    assert "More were not tried" in str(found)


def test_calls_are_on_rows_as_they_come(clock):
    seen = []

    def model(x):
        seen.append((len(x), x.dtype, x.flags.c_contiguous))
        clock.now += US
        return x

    tune.batch_size(model, np.arange(20.0).reshape(10, 2), 1, sizes=[3], verbose=0)
    assert set(seen) == {(3, np.dtype("d"), True)}


def test_sizes_of_a_model():
    model = Sequential([Dense(2, input_shape=(3,))], seed=0)
    model.compile("sgd", "mse", engine="numpy")
    found = tune.batch_size(model, X, 1000, sizes=[1, 5], seconds=0.05, verbose=0)
    assert found.found.rows.tolist() == [1, 5]
    assert found.best in (1, 5)
    assert (found.found.median_ms > 0).all()
    assert (found.found.median_ms <= found.found.p99_ms).all()


# --- the Pareto front ------------------------------------------------------------------------------------------------

Y = np.array([0, 1] * 5)


def right(count):
    """Outputs of which so many of ten are right."""
    return np.where(np.arange(10) < count, Y, 1 - Y)


def test_the_front_worked_by_hand(clock):
    made = {"a": (9, 100 * US), "b": (8, 50 * US), "c": (9, 200 * US), "d": (9, 100 * US), "e": (7, 50 * US)}
    models = {name: model_of(clock, lambda rows, t=t: t, right(count)) for name, (count, t) in made.items()}
    models["b"].nbytes = 1234
    found = tune.pareto(models, X[:10], Y, metric="accuracy")
    table = found.found.set_index("model")
    assert table.accuracy.to_dict() == {name: count / 10 for name, (count, _) in made.items()}
    assert table.median_ms.to_dict() == pytest.approx({name: t / MS for name, (_, t) in made.items()})
    # c is as good as a and slower; e as fast as b and worse; a and d are equal.
    assert found.front == ("b", "a", "d")
    assert table.index[table.remark == "front"].tolist() == ["a", "b", "d"]
    assert table.nbytes.dropna().to_dict() == {"b": 1234}
    assert "1.23 kB" in str(found)


def test_the_models_take_turns(clock):
    called = []

    def model(name):
        def call(x):
            called.append(name)
            clock.now += 300 * US  # more than a sample lasts: each is one call
            return np.zeros(len(x))

        return call

    tune.pareto({name: model(name) for name in "abc"}, X[:10], Y, metric="mse", seconds=0.01)
    assert "abc" * 10 in "".join(called)  # before, each is called until a sample is known to be long enough


@properties
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=8))
def test_who_is_not_on_the_front_is_surpassed_by_one_who_is(points):
    best = front.unsurpassed(*zip(*points, strict=True))
    for point, on in zip(points, best, strict=True):
        surpassed = [
            one != point and one[0] <= point[0] and one[1] <= point[1]
            for one, there in zip(points, best, strict=True)
            if there
        ]
        assert on != any(surpassed)


def compiled(loss, outputs):
    model = Sequential([Dense(outputs, input_shape=(3,))], seed=0)
    model.compile("sgd", loss, engine="numpy")
    return model


def test_the_metric_is_the_loss_s():
    model = compiled("mse", 1)
    p = model(X).astype(float)
    y = np.arange(100) % 2  # could be labels
    found = tune.pareto({"model": model}, X, y, seconds=0.01)
    assert found.metric == "mse"
    assert found.found.mse[0] == pytest.approx(np.mean((p[:, 0] - y) ** 2))
    assert found.found.nbytes[0] == 4 * 4
    found = tune.pareto({"model": compiled("mae", 1)}, X, y, seconds=0.01)
    assert (found.metric, found.found.mae[0]) == ("mae", pytest.approx(np.mean(np.abs(p[:, 0] - y))))
    found = tune.pareto({"int8": lambda x: x[:, :1], "model": compiled("binary_crossentropy", 1)}, X, y, seconds=0.01)
    assert found.metric == "accuracy"
    assert tune.pareto({"model": model}, X, y, metric="accuracy", seconds=0.01).metric == "accuracy"


@pytest.mark.parametrize(
    ("y", "metric", "value"),
    [
        ([0, 1, 2, 0], "accuracy", 0.75),  # class indices; the outputs below say 0, 1, 2, 1
        (np.eye(3)[[0, 1, 2, 0]], "accuracy", 0.75),
        (np.full((4, 3), 0.5), "mse", 0.25),
    ],
)
def test_several_outputs(y, metric, value):
    outputs = np.eye(3)[[0, 1, 2, 1]]
    found = tune.pareto({"model": lambda x: outputs[: len(x)]}, X[:4], y, metric=metric, seconds=0.01)
    assert found.found[metric][0] == value


def test_several_rows_in_a_call(clock):
    model = model_of(clock, lambda rows: rows * US)
    found = tune.pareto({"m": model}, X, np.zeros(100), rows=7, metric="mse")
    assert found.found.median_ms[0] == pytest.approx(7e-3)


def test_a_table_is_brought_into_the_model_s_order():
    table = data.read_csv(data.BREAST_CANCER, target="benign")
    model = Sequential([Normalization(), Dense(1, "sigmoid")], seed=0)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(table, epochs=1, verbose=0)
    names = [column.name for column in table.schema.columns]
    shuffled = pd.DataFrame(table.X, columns=names)[names[::-1]]
    found = tune.pareto({"m": model}, shuffled, table.y, seconds=0.01)
    assert found.found.accuracy[0] == pytest.approx(model.evaluate(table)[1])


LABELED = data.read_csv(data.BREAST_CANCER, target="benign")
JUDGED = Sequential([Normalization(), Dense(1, "sigmoid")], seed=0)
JUDGED.compile("adam", "binary_crossentropy", metrics=["accuracy", "auc", "mse"], engine="numpy")
JUDGED.fit(LABELED, verbose=0)


@pytest.mark.parametrize("metric", ["accuracy", "auc", "mse", "binary_accuracy"])
def test_any_metric_of_a_table_is_what_evaluate_says(metric):
    models = {"float32": JUDGED, "predictor": JUDGED.predictor(), "int8": minidl.quantize(JUDGED, LABELED)}
    found = tune.pareto(models, LABELED, metric=metric, seconds=0.01)
    of, name = models["int8"].evaluate(LABELED, return_dict=True), metric.removeprefix("binary_")
    expected = JUDGED.evaluate(LABELED, return_dict=True)[name]
    assert found.found[metric].tolist() == pytest.approx([expected, expected, of[name]], rel=1e-5)


def test_more_auc_is_better(clock):
    # Ranked rightly, and with one pair of the four turned round: 1 and 3/4. Keras's 200 thresholds see it the same.
    models = {"good": [0.1, 0.4, 0.6, 0.9], "bad": [0.1, 0.6, 0.4, 0.9]}
    models = {name: model_of(clock, lambda rows: MS, outputs) for name, outputs in models.items()}
    found = tune.pareto(models, X[:4], [0, 0, 1, 1], metric="auc")
    assert found.found.auc.tolist() == pytest.approx([1, 0.75])
    assert found.front == ("good",)
    assert found.plot().axes[0].get_ylabel() == "auc"


def test_auc_of_several_outputs_is_that_of_evaluate():
    y, model = np.arange(100) % 3, Sequential([Dense(3, "softmax", input_shape=(3,))], seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["auc"], engine="numpy")
    expected = model.evaluate(X, y)[1]
    for given_ in (y, np.eye(3)[y]):
        assert tune.pareto({"m": model}, X, given_, metric="auc", seconds=0).found.auc[0] == pytest.approx(expected)


def test_the_metric_can_be_a_quantized_model_s():
    quantized = minidl.quantize(JUDGED, dynamic=True)
    assert tune.pareto({"int8": quantized}, LABELED, seconds=0).metric == "accuracy"


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_predictor_knows_the_columns_too(dtype):
    predictor = JUDGED.predictor(dtype, calibration_data=LABELED if dtype == "int8" else None)
    names = LABELED.schema.features
    shuffled = pd.DataFrame(LABELED.X, columns=names)[names[::-1]]
    found = tune.pareto({"m": predictor}, shuffled, LABELED.y, metric="auc", seconds=0).found.auc[0]
    assert found == tune.pareto({"m": predictor}, LABELED, metric="auc", seconds=0).found.auc[0]


def test_another_target_is_not_taken_for_the_model_s():
    other = data.read_csv(data.BREAST_CANCER, target="mean_radius")
    with refused(ValueError, "the model was trained to predict 'benign'", "read it with schema=model.schema"):
        tune.pareto({"m": JUDGED}, other, metric="mse")


def test_batch_size_takes_a_table():
    found = tune.batch_size(JUDGED, LABELED, 1000, sizes=[569], seconds=0, verbose=0)
    assert found.best == 569


# --- the latency model -----------------------------------------------------------------------------------------------

PLANTED = (2e-6, 4e-7, 2e-11, 2.5e-11, 5e-11)


def seconds_of(widths, rows, costs=PLANTED):
    """The formula once more, layer by layer."""
    call, layer, operation, weight, value = costs
    total = call
    for i, o in itertools.pairwise(widths):
        total += layer + 2 * rows * i * o * operation + 4 * (i + 1) * o * weight + 4 * rows * (i + o) * value
    return total


def networks(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        layers = rng.integers(2, 6)
        yield tuple(np.exp(rng.uniform(np.log(4), np.log(700), layers)).astype(int).tolist()), int(rng.integers(1, 65))


@pytest.mark.parametrize("changed", [{}, {0: 5e-5}, {1: 0.0}, {2: 0.0}, {3: 1e-10, 4: 0.0}])
def test_planted_costs_are_recovered(changed):
    costs = [changed.get(place, cost) for place, cost in enumerate(PLANTED)]
    model = LatencyModel().learn({one: seconds_of(*one, costs) for one in networks(60, seed=1)})
    assert model.costs == pytest.approx(costs, rel=1e-5, abs=1e-16)
    for one in networks(30, seed=2):
        assert model.predict(*one) == pytest.approx(seconds_of(*one, costs), rel=1e-6)


def test_noise_is_averaged_out():
    rng = np.random.default_rng(3)
    model = LatencyModel().learn({one: seconds_of(*one) * rng.uniform(0.95, 1.05) for one in networks(80, seed=1)})
    errors = [abs(model.predict(*one) / seconds_of(*one) - 1) for one in networks(40, seed=2)]
    assert np.median(errors) < 0.03
    assert (model.costs >= 0).all()


@properties
@given(st.integers(0, 1000))
def test_no_cost_is_negative_and_those_left_are_least_squares(seed):
    A = np.random.default_rng(seed).uniform(0.1, 1, (12, 3))
    x = latency.nonnegative(A)
    assert (x >= 0).all()
    assert x.any()
    slope = A.T @ (A @ x - 1)
    assert slope[x > 0] == pytest.approx(0, abs=1e-9)


def test_it_says_what_it_does_not_know():
    model = LatencyModel("numpy")
    with refused(RuntimeError, "call its fit() first"):
        model.predict((3, 1))
    model.learn({((4, 4), 1): 1e-6, ((4, 4), 8): 2e-6})
    assert 1e-6 < model.predict((4, 4), 4) < 2e-6
    with refused(ValueError, "64 rows", "1 to 8", "rows=(64,)"):
        model.predict((4, 4), 64)
    with refused(TypeError, "widths"):
        model.predict((4,))
    with refused(ValueError, "a width", "at least 1"):
        model.predict((4, 0))
    with refused(ValueError, "at least one network"):
        model.fit([])
    with refused(TypeError, "widths must be a network's inputs and each layer's units, not (3,)"):
        model.fit([(3,)])
    with refused(TypeError, "rows must be a tuple of whole numbers, not 5"):
        model.fit([(3, 1)], rows=5)
    with refused(ValueError, "float16"):
        LatencyModel("numpy", "float16")


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_it_learns_from_this_machine(engine):
    model = LatencyModel(engine).fit([(4, 3), (30, 40, 2), (60, 60, 60, 60)], rows=(1, 8), seconds=0.01)
    times = [model.predict((60,) * depth, rows) for depth in (2, 4) for rows in (1, 8)]
    assert all(0 < taken < 1 for taken in times)
    assert (model.engine, model.rows) == (engine, (1, 8))


# --- the search ------------------------------------------------------------------------------------------------------

BENIGN = data.load_breast_cancer()


@pytest.fixture(autouse=True)
def little_timing(monkeypatch):
    monkeypatch.setattr(search, "TIMING", 0.02)


def found_in(given=BENIGN, latency_ms=1000, **more):
    pytest.importorskip("optuna")
    asked = {"trials": 3, "seconds": 30, "widths": (4, 24), "depths": (1, 2), "engine": "numpy", "verbose": 0}
    return tune.structure(given, latency_ms, **(asked | more))


def test_a_search_from_end_to_end():
    found = found_in(trials=5)
    table = found.found
    assert (4,) in set(table.hidden)  # the smallest comes first
    assert all(4 <= units <= 24 and 1 <= len(hidden) <= 2 for hidden in table.hidden for units in hidden)
    assert (table.accuracy > 0.85).all()
    assert (table.measured_ms > 0).all()
    best = table[table.accuracy == table.accuracy.max()]
    assert table.remark.tolist() == ["best"] + [""] * (len(table) - 1)
    assert table.weights[0] == best.weights.min()
    assert found.best.count_params() == table.weights[0]
    assert tuple(layer.units for layer in found.best.layers if isinstance(layer, Dense)) == (*table.hidden[0], 1)
    X, y = BENIGN
    assert found.best.evaluate(X, y)[1] > 0.9
    errors = [abs(one.predicted_ms / one.measured_ms - 1) for one in table.itertuples()]
    assert found.prediction_error == pytest.approx(np.median(errors))
    again = found_in(trials=5).found
    assert again[["hidden", "weights", "accuracy"]].equals(table[["hidden", "weights", "accuracy"]])


def test_what_is_too_slow_is_not_trained(monkeypatch):
    monkeypatch.setattr(LatencyModel, "predict", lambda self, widths, rows: 1e-3 if len(widths) == 3 else 2.0)
    trained, fit = [], Sequential.fit

    def watched(model, *given, **more):
        trained.append(len([layer for layer in model.layers if isinstance(layer, Dense)]))
        return fit(model, *given, **more)

    monkeypatch.setattr(Sequential, "fit", watched)
    found = found_in(trials=8)
    slow = found.found[found.found.hidden.map(len) == 2]
    assert 0 < len(slow) < len(found.found)
    assert trained == [2] * (len(found.found) - len(slow))
    assert set(slow.remark) == {"untrained"}
    assert slow[["accuracy", "measured_ms"]].isna().all(axis=None)
    assert len(found.found.hidden[0]) == 1


def test_nothing_within_the_bound_is_said(monkeypatch):
    monkeypatch.setattr(Sequential, "fit", lambda *given, **more: pytest.fail("it was trained"))
    found = found_in(latency_ms=1e-6)
    assert found.best is None
    assert np.isnan(found.prediction_error)
    assert found.note == "No network that could be trained is fast enough."
    with refused(RuntimeError, "nothing to plot"):
        found.plot()


def test_what_is_measured_beyond_the_bound_is_not_chosen(monkeypatch):
    monkeypatch.setattr(LatencyModel, "predict", lambda self, widths, rows: 1e-3)
    slower = itertools.chain([1e-3], itertools.repeat(9.0))

    def made(calls, seconds):
        return dict.fromkeys(calls, 1e-3) if len(calls) > 8 else {name: next(slower) for name in calls}

    monkeypatch.setattr(search, "medians", made)
    found = found_in(latency_ms=2)
    assert sorted(found.found.remark) == ["best", "too slow", "too slow"]
    assert found.found.hidden[(found.found.remark == "best").idxmax()] == (4,)
    assert found.best.layers[1].units == 4


def test_the_time_ends_it(monkeypatch):
    seconds, epochs, fit = itertools.count(0, 10**9), [], Sequential.fit

    def watched(model, *given, **more):
        history = fit(model, *given, **more)
        epochs.append(len(history.epoch))
        return history

    monkeypatch.setattr(search, "clock", lambda: next(seconds))
    monkeypatch.setattr(Sequential, "fit", watched)
    found = found_in(latency_ms=1e6, trials=50, seconds=100)
    assert 1 <= len(found.found) < 50
    assert 0 < epochs[-1] < 20  # it was being trained when the time was over


def test_what_diverges_is_not_chosen(monkeypatch):
    evaluate = Sequential.evaluate
    values = iter([np.nan])

    def made(model, *given, **more):
        loss, value = evaluate(model, *given, **more)
        return [next(values, loss), value]

    monkeypatch.setattr(Sequential, "evaluate", made)
    table = found_in().found
    assert (table.hidden.iloc[-1], table.remark.iloc[-1]) == ((4,), "diverged")
    assert table.remark[0] == "best"


@pytest.mark.parametrize(
    ("y", "task", "metric"),
    [
        (1000 * X[:, 0] + 5, None, "mae"),
        (np.digitize(X[:, 0], (-0.5, 0.5)), None, "accuracy"),
        (np.digitize(X[:, 0], (-0.5, 0.5)), "regression", "mae"),
    ],
)
def test_the_task_is_read_off_y(y, task, metric):
    found = found_in((X, y), task=task, rows=4)
    values = found.found[found.metric]
    assert found.metric == metric
    assert values[0] == (values.min() if metric == "mae" else values.max())
    assert found.best.predict(X).shape == (100, 3 if metric == "accuracy" else 1)


def test_a_search_on_a_table_keeps_its_schema():
    found = found_in(LABELED)
    assert (found.metric, found.best.schema) == ("accuracy", LABELED.schema)
    assert found.best.evaluate(LABELED)[1] > 0.9
    assert found_in((LABELED.X, LABELED.y)).best.schema is None


def test_optuna_is_told_to_be_missed(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with refused(RuntimeError, 'pip install "minidl[tune]"'):
        tune.structure(BENIGN, 1)


def test_it_leaves_optuna_s_logging_as_it_was(capsys):
    optuna = pytest.importorskip("optuna")
    before = optuna.logging.get_verbosity()
    found_in(trials=1)
    assert optuna.logging.get_verbosity() == before
    assert capsys.readouterr() == ("", "")


# --- how it is shown -------------------------------------------------------------------------------------------------


def shown():
    lines = {"rows": [1, 2, 4], "median_ms": [1.0, 1.5, 3.0], "p99_ms": [1.2, 1.8, 3.6]}
    lines |= {"rows_per_second": [1000.0, 1333.3, 1333.2], "calls": [500] * 3, "remark": ["", "best", "too slow"]}
    models = {"model": ["float32", "int8 <&>"], "accuracy": [0.9, 0.8], "median_ms": [2.0, 1.0]}
    models |= {"low_ms": [1.9, 0.9], "high_ms": [2.1, 1.2], "nbytes": [4000.0, np.nan], "remark": ["front", "front"]}
    trials = {"hidden": [(30,), (9, 9), (500,)], "weights": [200, 300, 9999], "predicted_ms": [1.0, 2.0, 1000.0]}
    trials |= {"measured_ms": [1.3, 2.2, np.nan], "accuracy": [0.93, 0.95, np.nan], "remark": ["best", "", "untrained"]}
    lines, models, trials = map(pd.DataFrame, (lines, models, trials))
    errors = models.rename(columns={"accuracy": "mse"})
    return {
        "sizes": sizes.BatchSizes("sizes", lines, "Best: 2.", latency_ms=3, best=2),
        "pareto": front.Pareto("<front>", models, "No other.", metric="accuracy", rows=1, front=()),
        "pareto of errors": front.Pareto("front", errors, "No other.", metric="mse", rows=1, front=()),
        "structure": search.Structure("networks", trials, "Best: (30,).", 2.1, 1, "accuracy", 0.1, best=None),
    }


@pytest.mark.parametrize("what", shown())
def test_a_table_in_text_and_in_jupyter(what):
    found = shown()[what]
    text, html = str(found), found._repr_html_()
    assert text.startswith(found.title)
    assert text.endswith(found.note)
    assert len(text.splitlines()) == 5 + len(found.found)
    assert html.count("<tr") == 1 + len(found.found)
    assert not any(raw in html for raw in ("int8 <&>", "<front>", "NaN"))
    assert "nan" not in text.lower()
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("what", shown())
def test_pictures_have_units_and_say_where_axes_are_logarithmic(what, tmp_path):
    found = shown()[what]
    figure = found.plot(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == figure._repr_png_()[:4] == b"\x89PNG"
    for axes in figure.axes:
        for name in "xy":
            label, scale = getattr(axes, f"get_{name}label")(), getattr(axes, f"get_{name}scale")()
            assert ("logarithmic" in label) == (scale == "log") or (name == "x" and not label)  # shared below
    labels = " ".join(axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes)
    assert "ms" in labels
    assert ("less is better" in labels) == (what == "pareto of errors")
    with refused(ValueError, "picture.gif"):
        found.plot("picture.gif")


def test_what_the_pictures_show():
    above, below = shown()["sizes"].plot().axes
    assert [list(line.get_ydata()) for line in above.lines] == [[1.2, 1.8, 3.6], [1, 1.5, 3], [3, 3]]  # and the bound
    assert list(below.lines[1].get_xdata()) == [2]  # the best
    (axes,) = shown()["pareto"].plot().axes
    assert list(axes.lines[1].get_xdata()) == [1, 2]
    assert {text.get_text() for text in axes.texts} == {"float32\n4 kB", "int8 <&>"}
    left, right = shown()["structure"].plot().axes
    assert list(left.lines[0].get_xdata()) == [1.3, 2.2]
    assert list(left.lines[0].get_ydata()) == [1, 2]
    assert [list(line.get_xdata()) for line in right.lines][1:] == [[1.3], [2.1, 2.1]]


def test_pareto_writes_its_picture(tmp_path):
    path = tmp_path / "p.svg"
    tune.pareto({"m": lambda x: np.zeros(len(x))}, X, np.zeros(100), path=path, metric="mse", seconds=0.01)
    assert path.exists()


def test_progress_is_a_line_where_nobody_watches(capsys):
    tune.batch_size(lambda x: x, X, 1000, sizes=[1], seconds=0.01, verbose=2)
    assert capsys.readouterr().out == "timing batches, at most about 0.01 s\n"


def test_a_bar_goes_on(capsys):
    with minidl.progress.bar(1, "working", 4) as done:
        for n in range(1, 5):
            done(n)
    assert "working" in capsys.readouterr().out


def test_importing_it_loads_nothing_heavy():
    heavy = {"optuna", "matplotlib", "numba", "rich", "pandas"}
    code = f"import sys, minidl; minidl.tune.structure; print({heavy} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# --- bad input -------------------------------------------------------------------------------------------------------

MODEL = Sequential([Normalization(input_shape=(3,)), Dense(1, "sigmoid")], seed=0)
NAN = np.where(np.arange(300).reshape(100, 3) == 4, np.nan, X)
LABELS = np.arange(100) % 2


def sizes_with(**changed):
    given = {"model": MODEL, "X": X, "latency_ms": 1, "verbose": 0}
    return lambda: tune.batch_size(**(given | changed))


def pareto_with(**changed):
    given = {"models": {"model": MODEL}, "X": X, "y": LABELS, "metric": "accuracy", "seconds": 0}
    return lambda: tune.pareto(**(given | changed))


def structure_with(**changed):
    given = {"data": (X, LABELS), "latency_ms": 1, "verbose": 0}
    return lambda: tune.structure(**(given | changed))


BAD = [
    (sizes_with(model=3), TypeError, "model must be a Sequential or a function"),
    (sizes_with(model=Sequential), TypeError, "model must be a Sequential or a function"),
    (sizes_with(model=lambda x: x[:0]), ValueError, "returned the shape (0, 3) for 1 rows"),
    (sizes_with(model=lambda x: 1.0), ValueError, "returned the shape ()"),
    (sizes_with(latency_ms=0), ValueError, "latency_ms must be a finite number at least 1e-06"),
    (sizes_with(latency_ms=-1), ValueError, "latency_ms"),
    (sizes_with(latency_ms=np.nan), ValueError, "latency_ms"),
    (sizes_with(latency_ms="1"), TypeError, "latency_ms must be a number"),
    (sizes_with(X=X[:0]), ValueError, "X is empty"),
    (sizes_with(X=X[:, :2]), ValueError, "X has 2 features"),
    (sizes_with(X=X[0]), ValueError, "two dimensions"),
    (sizes_with(X=NAN), ValueError, "NaN in row 1 column 1"),
    (sizes_with(X=[["a", "b", "c"]]), TypeError, "X holds text"),
    (sizes_with(sizes=[]), ValueError, "sizes must be numbers of rows up to 100"),
    (sizes_with(sizes="8"), TypeError, "sizes must be a whole number, not '8'"),
    (sizes_with(sizes=[1, 0]), ValueError, "sizes must be at least 1"),
    (sizes_with(sizes=[1.5]), TypeError, "sizes must be a whole number"),
    (sizes_with(sizes=[True]), TypeError, "sizes must be a whole number"),
    (sizes_with(sizes=[101]), ValueError, "numbers of rows up to 100, which X has, not [101]"),
    (sizes_with(seconds=-1), ValueError, "seconds must be a finite number at least 0"),
    (sizes_with(verbose=5), ValueError, "verbose"),
    (pareto_with(models={}), TypeError, "models must be a dictionary"),
    (pareto_with(models=[MODEL]), TypeError, "models must be a dictionary"),
    (pareto_with(models={"a": 2}), TypeError, "the model 'a' must be a Sequential or a function"),
    (pareto_with(models={"a": lambda x: x[:5]}), ValueError, "the model 'a' returned the shape (5, 3) for 100 rows"),
    (pareto_with(models={"a": lambda x: x * np.nan}), ValueError, "what the model 'a' returned holds NaN"),
    (pareto_with(models={"a": lambda x: ["x"] * len(x)}), TypeError, "what the model 'a' returned holds text"),
    (pareto_with(y=LABELS[:9]), ValueError, "X has 100 rows, but y has 9"),
    (pareto_with(y=np.full(100, np.nan)), ValueError, "y holds NaN"),
    (pareto_with(X=X[:, :1]), ValueError, "X has 1 features"),
    (pareto_with(rows=0), ValueError, "rows must be at least 1"),
    (pareto_with(rows=101), ValueError, "X has only 100 rows"),
    (pareto_with(metric=None), ValueError, "no model is compiled"),
    (pareto_with(metric="mape"), ValueError, "metric cannot be 'mape'"),
    (pareto_with(y=3 * LABELS), ValueError, "labels in [0, 1]"),
    (pareto_with(path="front.gif"), ValueError, "front.gif"),
    (pareto_with(path="no/folder/front.png"), FileNotFoundError, "no folder"),
    (pareto_with(seconds=-1), ValueError, "seconds"),
    (structure_with(data=X), TypeError, "data must be (X, y), as in structure((X, y), 1), or a Table, not"),
    (structure_with(data=(X, LABELS, X)), TypeError, "data must be (X, y)"),
    (structure_with(data=(X, LABELS[:5])), ValueError, "X has 100 rows, but y has 5"),
    (structure_with(data=(X, np.eye(2)[LABELS])), ValueError, "y has shape (100, 2)"),
    (structure_with(data=(NAN, LABELS)), ValueError, "NaN in row 1"),
    (structure_with(data=(X[:0], LABELS[:0])), ValueError, "X is empty"),
    (structure_with(data=(X, np.where(LABELS, np.nan, 0))), ValueError, "y holds NaN"),
    (structure_with(data=(X[:5], LABELS[:5])), ValueError, "at least 10 are needed"),
    (structure_with(data=LABELED, task="regression"), ValueError, "read it with task='regression' instead"),
    (structure_with(data=data.read_csv(data.BREAST_CANCER)), ValueError, "the table has no target"),
    (structure_with(data=(X, (np.arange(100) < 2) * 1)), ValueError, "held out are all of the class 0"),
    (pareto_with(y=None), TypeError, "y is missing: give x and y, or a minidl.data.Table"),
    (pareto_with(X=LABELED), ValueError, "a Table brings its own y"),
    (pareto_with(metric="auc", y=0 * LABELS), ValueError, "'auc' needs labels of 0 and of 1"),
    (pareto_with(metric="auc", y=LABELS / 2), ValueError, "'auc' needs labels of 0 and of 1"),
    (pareto_with(metric="auc", models={"a": lambda x: x[:, :1]}), ValueError, "the model 'a' put out"),
    (structure_with(data=(X, 0 * LABELS)), ValueError, "nothing to learn"),
    (structure_with(data=(X, LABELS + 1)), ValueError, "class indices 0 to 1"),
    (structure_with(data=(X, LABELS * 2)), ValueError, "class indices 0 to 1"),
    (structure_with(data=(X, LABELS / 2)), ValueError, "class indices 0 to 1"),
    (structure_with(data=(X, X[:, 0]), task="binary"), ValueError, "two classes are asked for"),
    (structure_with(task="ranking"), ValueError, "task cannot be 'ranking'"),
    (structure_with(latency_ms=0), ValueError, "latency_ms must be a finite number at least 1e-06"),
    (structure_with(rows=0), ValueError, "rows must be at least 1"),
    (structure_with(trials=0), ValueError, "trials must be at least 1"),
    (structure_with(trials=2.5), TypeError, "trials must be a whole number"),
    (structure_with(seconds=-1), ValueError, "seconds must be a finite number at least 0"),
    (structure_with(widths=(64, 8)), ValueError, "the largest of widths must be at least 64, not 8"),
    (structure_with(widths=(0, 8)), ValueError, "widths must be at least 1"),
    (structure_with(widths=64), TypeError, "widths must be two whole numbers"),
    (structure_with(depths=(3, 1)), ValueError, "the largest of depths must be at least 3, not 1"),
    (structure_with(depths=(0, 1)), ValueError, "depths must be at least 1"),
    (structure_with(epochs=0), ValueError, "epochs must be at least 1"),
    (structure_with(seed=-1), ValueError, "seed must be at least 0"),
    (structure_with(engine="fast"), ValueError, "'fast'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), BAD, ids=[words for _, _, words in BAD])
def test_bad_input_gets_one_sentence(call, kind, words):
    with refused(kind, words):
        call()


def test_a_model_that_is_not_built_is_refused_and_stays_so():
    blank = Sequential([Dense(1)])
    with pytest.raises(RuntimeError, match="no weights yet"):
        tune.pareto({"blank": blank}, np.zeros((5, 2)), np.zeros(5), metric="mse")
    assert not blank.built
