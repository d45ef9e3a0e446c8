"""Tuning: what is chosen from times made by hand, what a latency model learns, what a search trains and what not."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bad_input import refused

import minidl
from minidl import Dense, Normalization, Sequential, data, tune
from minidl.inference.tune import search, sizes
from minidl.inference.tune.front import Member, Pareto, surpasses
from minidl.inference.tune.latency import LatencyModel
from minidl.inference.tune.trials import Structure, Trial

properties = settings(derandomize=True, deadline=None, max_examples=60)
X = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
US, MS = 1_000, 1_000_000  # nanoseconds


class Clock:
    """A clock that stands still but for what is said to take time, in nanoseconds."""

    now = 0

    def __call__(self):
        return self.now


def model_of(clock, taken, outputs=None):
    """A model that takes ``taken(rows)`` nanoseconds of that clock, and returns the outputs of as many rows."""

    def model(x):
        clock.now += taken(len(x))
        return np.zeros((len(x), 1)) if outputs is None else np.array(outputs, float)[: len(x), None]

    return model


def sizes_of(taken, latency_ms, **more):
    clock = Clock()
    return tune.batch_size(model_of(clock, taken), X, latency_ms, verbose=0, clock=clock, **more)


# --- batch sizes -----------------------------------------------------------------------------------------------------


def test_a_line_of_times_worked_by_hand():
    # A call of n rows takes 1,000 + 100 n ns. The bound of 5,000 ns holds up to 40 rows: of the powers of two up to 32,
    # which take 4,200 ns. 64 rows are the first beyond it, and the last that are looked at.
    found = sizes_of(lambda rows: 1000 + 100 * rows, 0.005)
    assert found.best == 32
    assert [size.rows for size in found.found] == [1, 2, 4, 8, 16, 32, 64]
    best = found.found[5]
    assert (best.median, best.p99) == (4.2e-6, 4.2e-6)
    assert best.rows_per_second == pytest.approx(32 / 4.2e-6)
    assert found.remarks == ()


@pytest.mark.parametrize(("a", "b", "bound", "best"), [(50, 10, 100, 4), (99, 1, 101, 2), (1, 1, 18, 16)])
def test_other_lines(a, b, bound, best):
    assert sizes_of(lambda rows: (a + b * rows) * US, (bound + 0.5) / 1000, sizes=[1, 2, 4, 8, 16]).best == best


def test_the_bound_itself_is_within():
    assert sizes_of(lambda rows: rows * MS, 8, sizes=[8, 9]).best == 8


def test_the_largest_size_within_need_not_be_the_best():
    # 1 row in 10 us, 2 in 15, 4 in 22, 8 in 60: 0.100, 0.133, 0.182, 0.133 rows/us.
    found = sizes_of({1: 10 * US, 2: 15 * US, 4: 22 * US, 8: 60 * US}.get, 1, sizes=[8, 4, 2, 1])
    assert [size.rows for size in found.found] == [1, 2, 4, 8]
    assert found.best == 4


def test_of_equal_ones_the_least():
    assert sizes_of(lambda rows: 10 * US * rows, 1, sizes=[4, 2]).best == 2


@pytest.mark.parametrize(("every", "best"), [(200, 2), (50, 1)])
def test_two_slow_calls_in_a_hundred_are_too_many(every, best):
    calls = itertools.count()

    def taken(rows):
        return 9 * MS if rows == 2 and next(calls) % every == every - 1 else 1 * MS

    found = sizes_of(taken, 2, sizes=[1, 2])
    assert found.found[1].median == 1e-3
    assert found.found[1].p99 == (9e-3 if best == 1 else 1e-3)
    assert found.best == best


def test_one_call_in_a_hundred_may_be_slow():
    assert sizes.summary(1, [1] * 99 + [9]).p99 == 1e-9
    assert sizes.summary(1, [1] * 98 + [9] * 2).p99 == 9e-9


def test_no_size_within_the_bound_is_said():
    found = sizes_of(lambda rows: 3 * MS, 2)
    assert found.best is None
    assert len(found.found) == 1
    assert found.notes()[0] == "No batch size is within 2 ms: 99 of 100 calls of 1 row take up to 3 ms (median 3 ms)."


def test_sizes_end_with_the_rows_there_are():
    found = sizes_of(lambda rows: 1 * US, 1)
    assert [size.rows for size in found.found] == [1, 2, 4, 8, 16, 32, 64]
    assert found.best == 64
    assert "X has only 100 rows" in str(found)


def test_it_keeps_to_its_time():
    clock = Clock()
    found = tune.batch_size(model_of(clock, lambda rows: 10 * US * rows), X, 9, seconds=0.5, verbose=0, clock=clock)
    assert 0.49 < clock.now / 1e9 < 0.51
    assert all(size.calls >= 50 for size in found.found)
    clock = Clock()
    found = tune.batch_size(model_of(clock, lambda rows: 1000 * MS), X, 2000, seconds=3, verbose=0, clock=clock)
    assert clock.now / 1e9 < 8
    assert [size.rows for size in found.found] == [1, 2]
    assert "The time was over before more than 2 rows were tried" in str(found)
    assert "Only 1 calls" in str(found)


def test_calls_are_on_rows_as_they_come():
    clock, seen = Clock(), []

    def model(x):
        seen.append((x[0, 0], x.dtype, x.flags.c_contiguous))
        clock.now += US
        return x

    tune.batch_size(model, np.arange(20.0).reshape(10, 2), 1, sizes=[3], verbose=0, clock=clock)
    assert {int(first) for first, _, _ in seen} == {0, 2, 4, 6, 8, 10, 12, 14}  # 3 rows on from 0, around 8 places
    assert {(dtype, whole) for _, dtype, whole in seen} == {(np.dtype("d"), True)}


def test_sizes_of_a_model():
    model = Sequential([Dense(2, input_shape=(3,))], seed=0)
    model.compile("sgd", "mse", engine="numpy")
    found = tune.batch_size(model, X.astype(float), 1000, sizes=[1, 5], seconds=0.05, verbose=0)
    assert [size.rows for size in found.found] == [1, 5]
    assert found.best in (1, 5)
    assert all(0 < size.median <= size.p99 for size in found.found)
    assert found.remarks == ("X is float64 and the model float32: each call converts its rows.",)


# --- the Pareto front ------------------------------------------------------------------------------------------------

Y = np.array([0, 1] * 5)


def right(count):
    """Outputs of which so many of ten are right."""
    return np.where(np.arange(10) < count, Y, 1 - Y)


def test_the_front_worked_by_hand():
    clock = Clock()
    made = {"a": (9, 100 * US), "b": (8, 50 * US), "c": (9, 200 * US), "d": (9, 100 * US), "e": (7, 50 * US)}
    models = {name: model_of(clock, lambda rows, t=t: t, right(count)) for name, (count, t) in made.items()}
    models["b"].nbytes = 1234
    found = tune.pareto(models, X[:10], Y, clock=clock)
    assert found.metric == "accuracy"
    assert {one.name: (one.value, round(one.seconds * 1e9)) for one in found.found} == {
        name: (count / 10, t) for name, (count, t) in made.items()
    }
    # c is as good as a and slower; e as fast as b and worse; a and d are equal.
    assert found.front == ("b", "a", "d")
    assert [one.nbytes for one in found.found] == [None, 1234, None, None, None]
    assert "1.23 kB" in str(found)


def test_the_models_take_turns():
    clock, called = Clock(), []

    def model(name):
        def call(x):
            called.append(name)
            clock.now += 300 * US  # more than a sample lasts: each is one call
            return np.zeros(len(x))

        return call

    tune.pareto({name: model(name) for name in "abc"}, X[:10], Y, seconds=0.01, clock=clock)
    assert "".join(called).startswith("abc" * 10)


points = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=8)


@properties
@given(points, st.sampled_from(["accuracy", "mse"]))
def test_who_is_not_on_the_front_is_surpassed_by_one_who_is(points, metric):
    members = [Member(str(n), value, time, time, time, None) for n, (time, value) in enumerate(points)]
    sign = -1 if metric == "accuracy" else 1
    front = set(Pareto(metric, 1, tuple(members)).front)
    of = {one.name: (one.seconds, sign * one.value) for one in members}
    for name, point in of.items():
        assert (name in front) != any(surpasses(of[other], point) for other in front)


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
    assert found.found[0].value == pytest.approx(np.mean((p[:, 0] - y) ** 2))
    assert found.found[0].nbytes == 4 * 4
    assert "mean squared error (less is better)" in str(found)
    found = tune.pareto({"model": compiled("mae", 1)}, X, y, seconds=0.01)
    assert (found.metric, found.found[0].value) == ("mae", pytest.approx(np.mean(np.abs(p[:, 0] - y))))
    assert tune.pareto({"model": compiled("binary_crossentropy", 1)}, X, y, seconds=0.01).metric == "accuracy"
    assert tune.pareto({"model": model}, X, y, metric="accuracy", seconds=0.01).metric == "accuracy"


@pytest.mark.parametrize(
    ("y", "metric", "value"),
    [
        ([0, 1, 2, 0], "accuracy", 0.75),  # class indices; the outputs below say 0, 1, 2, 1
        (np.eye(3)[[0, 1, 2, 0]], "accuracy", 0.75),
        (np.full((4, 3), 0.5), "mse", 0.25),
    ],
)
def test_without_a_loss_the_metric_is_read_off_y(y, metric, value):
    outputs = np.eye(3)[[0, 1, 2, 1]]
    found = tune.pareto({"model": lambda x: outputs[: len(x)]}, X[:4], y, seconds=0.01)
    assert (found.metric, found.found[0].value) == (metric, value)


def test_several_rows_in_a_call():
    clock = Clock()
    found = tune.pareto({"m": model_of(clock, lambda rows: rows * US)}, X, np.zeros(100), rows=7, clock=clock)
    assert found.found[0].seconds == pytest.approx(7e-6)


# --- the latency model -----------------------------------------------------------------------------------------------

CACHES = (4_000, 400_000)
PLANTED = {"call": 2e-6, "row": 3e-9, "layer": 4e-7, "peak": 5e10, "L1": 4e10, "L2": 2e10, "memory": 5e9}


def seconds_of(widths, rows, costs=PLANTED):
    """The formula once more, layer by layer."""
    weights = sum((i + 1) * o for i, o in itertools.pairwise(widths)) * 4
    level = "L1" if weights <= CACHES[0] else "L2" if weights <= CACHES[1] else "memory"
    total = costs["call"] + rows * costs["row"]
    for i, o in itertools.pairwise(widths):
        moved = 4 * ((i + 1) * o + rows * (i + o))
        total += costs["layer"] + max(2 * rows * i * o / costs["peak"], moved / costs[level])
    return total


def networks(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        layers = rng.integers(2, 6)
        yield tuple(np.exp(rng.uniform(np.log(4), np.log(700), layers)).astype(int).tolist()), int(rng.integers(1, 65))


@pytest.mark.parametrize("changed", [{}, {"peak": 2e12}, {"layer": 0.0, "memory": 2e10}, {"call": 5e-5, "row": 1e-7}])
def test_planted_costs_are_recovered(changed):
    costs = PLANTED | changed
    model = LatencyModel(caches=CACHES).learn([(*one, seconds_of(*one, costs)) for one in networks(60, seed=1)])
    for one in networks(30, seed=2):
        assert model.predict(*one) == pytest.approx(seconds_of(*one, costs), rel=1e-6)
    found = {"call": model.call, "row": model.row, "layer": model.layer} | model.bandwidths
    assert found == pytest.approx({name: costs[name] for name in found}, rel=1e-5, abs=1e-15)
    if costs["peak"] < 1e12:  # else no layer is held up by it
        assert model.peak == pytest.approx(costs["peak"], rel=1e-5)


def test_noise_is_averaged_out():
    rng = np.random.default_rng(3)
    noisy = [(*one, seconds_of(*one) * rng.uniform(0.95, 1.05)) for one in networks(80, seed=1)]
    model = LatencyModel(caches=CACHES).learn(noisy)
    errors = [abs(model.predict(*one) / seconds_of(*one) - 1) for one in networks(40, seed=2)]
    assert np.median(errors) < 0.03


def test_a_level_that_nothing_was_measured_in_is_as_the_nearest():
    small = [(one, 1, seconds_of(one, 1)) for one in ((4, 8), (20, 30), (30, 30), (10, 5, 3), (25, 9))]
    model = LatencyModel(caches=CACHES).learn(small)
    assert model.bandwidths["memory"] == model.bandwidths["L2"] == model.bandwidths["L1"] < np.inf
    assert model.predict((1000, 1000)) > 10 * model.predict((30, 30))


def test_it_says_what_it_does_not_know():
    model = LatencyModel("numpy", caches=CACHES)
    with refused(RuntimeError, "call its fit() first"):
        model.predict((3, 1))
    model.learn([((4, 4), 1, 1e-6), ((4, 4), 8, 2e-6)])
    assert 1e-6 < model.predict((4, 4), 4) < 2e-6
    with refused(ValueError, "64 rows", "1 to 8 rows", "rows=(64,)"):
        model.predict((4, 4), 64)
    with refused(TypeError, "widths"):
        model.predict((4,))
    with refused(ValueError, "a width", "at least 1"):
        model.predict((4, 0))
    with refused(ValueError, "at least one call"):
        model.learn([])
    with refused(ValueError, "a measured time"):
        model.learn([((4, 4), 1, 0)])


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_it_learns_from_this_machine(engine):
    model = LatencyModel(engine).fit([(4, 3), (30, 40, 2), (60, 60, 60, 60)], rows=(1, 8), seconds=0.01)
    times = [model.predict((60,) * depth, rows) for depth in (2, 4) for rows in (1, 8)]
    assert all(0 < taken < 1 for taken in times)
    assert model.engine == engine
    assert model.rows == (1, 8)


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
    assert found.found[0].hidden == (4,)  # the smallest comes first
    assert all(4 <= units <= 24 and 1 <= len(trial.hidden) <= 2 for trial in found.found for units in trial.hidden)
    assert all(trial.value > 0.85 and trial.measured > 0 and 0 < trial.epochs <= 20 for trial in found.found)
    best = max(trial.value for trial in found.found)
    assert found.chosen.value == best
    assert found.chosen.weights == min(trial.weights for trial in found.found if trial.value == best)
    assert found.best.count_params() == found.chosen.weights
    assert tuple(layer.units for layer in found.best.layers if isinstance(layer, Dense)) == (*found.chosen.hidden, 1)
    X, y = BENIGN
    assert found.best.evaluate(X, y)[1] > 0.9
    errors = [abs(trial.predicted / trial.measured - 1) for trial in found.found]
    assert found.prediction.relative_error == pytest.approx(np.median(errors))
    assert found.prediction.candidates == len(found.found)
    again = found_in(trials=5)
    assert [(trial.hidden, trial.value, trial.epochs) for trial in again.found] == [
        (trial.hidden, trial.value, trial.epochs) for trial in found.found
    ]


def test_what_is_too_slow_is_not_trained(monkeypatch):
    monkeypatch.setattr(LatencyModel, "predict", lambda self, widths, rows: 1e-3 if len(widths) == 3 else 2.0)
    trained, fit = [], Sequential.fit

    def watched(model, *given, **more):
        trained.append(len([layer for layer in model.layers if isinstance(layer, Dense)]))
        return fit(model, *given, **more)

    monkeypatch.setattr(Sequential, "fit", watched)
    found = found_in(trials=8)
    slow = [trial for trial in found.found if len(trial.hidden) == 2]
    assert 0 < len(slow) < len(found.found)
    assert trained == [2] * (len(found.found) - len(slow))
    assert all((trial.value, trial.measured, trial.epochs) == (None, None, 0) for trial in slow)
    assert len(found.chosen.hidden) == 1
    assert f"{len(slow)} of {len(found.found)} would be too slow and were not trained" in str(found)


def test_nothing_within_the_bound_is_said(monkeypatch):
    monkeypatch.setattr(Sequential, "fit", lambda *given, **more: pytest.fail("it was trained"))
    found = found_in(latency_ms=1e-9)
    assert (found.best, found.chosen, found.prediction) == (None, None, None)
    assert "No network that could be trained is within 1e-09 ms" in str(found)
    with refused(RuntimeError, "nothing to plot"):
        found.plot()


def test_what_is_measured_beyond_the_bound_is_not_chosen(monkeypatch):
    monkeypatch.setattr(LatencyModel, "predict", lambda self, widths, rows: 1e-3)
    slower = iter([1e-3, 9.0, 9.0])

    def made(calls, *more):
        return dict.fromkeys(calls, 1e-3) if len(calls) > 8 else {name: next(slower) for name in calls}

    monkeypatch.setattr(search, "medians", made)
    found = found_in(latency_ms=2)
    assert found.chosen is found.found[0]
    assert [found.said(trial) for trial in found.found[1:]] == ["too slow", "too slow"]


def test_the_time_ends_it():
    seconds = itertools.count(0, 10**9)
    found = found_in(latency_ms=1e6, trials=50, seconds=300, clock=lambda: next(seconds))
    (remark,) = found.remarks
    number = int(remark.removeprefix("The time was over after ").removesuffix(" of 50 trials."))
    assert 1 <= len(found.found) <= number < 50
    assert 0 < found.found[-1].epochs < 20  # it was being trained when the time was over


def test_what_diverges_is_not_chosen(monkeypatch):
    evaluate = Sequential.evaluate
    values = iter([np.nan])

    def made(model, *given, **more):
        loss, value = evaluate(model, *given, **more)
        return [next(values, loss), value]

    monkeypatch.setattr(Sequential, "evaluate", made)
    found = found_in()
    assert (found.found[0].value, found.said(found.found[0])) == (None, "diverged")
    assert found.chosen in found.found[1:]


@pytest.mark.parametrize(
    ("y", "task", "metric"),
    [
        (1000 * X[:, 0] + 5, "regression", "mae"),
        (np.digitize(X[:, 0], (-0.5, 0.5)), "multiclass", "accuracy"),
        (np.digitize(X[:, 0], (-0.5, 0.5)), "regression", "mae"),
    ],
)
def test_the_task_is_read_off_y(y, task, metric):
    given = (X, y, X[:20], y[:20])
    found = found_in(given, task=task if metric == "mae" and y.max() < 3 else None, rows=4)
    assert found.metric == metric
    values = [trial.value for trial in found.found]
    assert found.chosen.value == (min(values) if metric == "mae" else max(values))
    assert found.best.predict(X).shape == (100, 3 if task == "multiclass" else 1)
    assert found.chosen.value == pytest.approx(found.best.evaluate(*given[2:])[1])  # by the rows that were given


def test_a_table_is_taken_apart():
    table = data.read_csv(data.BREAST_CANCER, target="benign")
    assert found_in(table).metric == "accuracy"
    assert [len(part) for part in search.parted(table, None, 0)] == [455, 114]  # a fifth of 569 rows is held out


def test_optuna_is_told_to_be_missed(monkeypatch):
    monkeypatch.setattr(search.importlib.util, "find_spec", lambda name: None)
    with refused(RuntimeError, 'pip install "minidl[tune]"'):
        tune.structure(BENIGN, 1)


def test_it_leaves_optuna_s_logging_as_it_was(capsys):
    optuna = pytest.importorskip("optuna")
    before = optuna.logging.get_verbosity()
    found_in(trials=1)
    assert optuna.logging.get_verbosity() == before
    assert capsys.readouterr() == ("", "")


# --- how it is shown -------------------------------------------------------------------------------------------------


def a_structure():
    trials = [Trial((8,), 100, 1e-3, 1.1e-3, 0.9, 3), Trial((9, 9), 300, 2e-3, 2.2e-3, 0.95, 4)]
    trials += [Trial((500,), 9999, 1.0), Trial((30,), 200, 1e-3, 1.3e-3, 0.93, 3)]
    return Structure(2.1, 1, "accuracy", tuple(trials), trials[3], None)


def test_the_prediction_worked_by_hand():
    found = a_structure().prediction
    assert found.relative_error == pytest.approx(1 - 1 / 1.1)  # off by 1 - 1/1.1 twice, and by 1 - 1/1.3
    predicted, measured = [1, 2, 1], [1.1, 2.2, 1.3]
    assert found.correlation == pytest.approx(np.corrcoef(predicted, measured)[0, 1])
    assert str(found) == "Predicted times were 9% off (median of 3, correlation 0.99)."


def shown():
    line = {"rows": [1, 2, 4], "median": [1e-3, 1.5e-3, 3e-3]}
    found = tuple(sizes.Size(n, t, 1.2 * t, n / t, 500) for n, t in zip(*line.values(), strict=True))
    members = (Member("float32", 0.9, 2e-3, 2e-3, 2e-3, 4000), Member("int8 <&>", 0.8, 1e-3, 1e-3, 1e-3, 1000))
    return {
        "sizes": sizes.BatchSizes(3, found),
        "pareto": Pareto("accuracy", 1, members),
        "pareto of errors": Pareto("mse", 1, members),
        "structure": a_structure(),
    }


@pytest.mark.parametrize("what", shown())
def test_a_table_in_text_and_in_jupyter(what):
    found = shown()[what]
    text, html = str(found), found._repr_html_()
    assert all(line[0] in text for line in found.lines())
    assert all(note.split()[0] in text for note in found.notes())
    assert html.count("<tr>") == 1 + len(found.lines())
    assert "int8 <&>" not in html
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
    with refused(ValueError, "picture.gif"):
        found.plot("picture.gif")


def test_what_the_pictures_show():
    above, below = shown()["sizes"].plot().axes
    assert list(above.lines[0].get_ydata()) == pytest.approx([1.2, 1.8, 3.6])
    assert list(above.lines[1].get_ydata()) == pytest.approx([1, 1.5, 3])
    assert list(above.lines[2].get_ydata()) == [3, 3]  # the bound
    assert list(below.lines[1].get_xdata()) == [2]  # the best
    (axes,) = shown()["pareto"].plot().axes
    assert list(axes.lines[0].get_xdata()) == [1, 2]
    assert {text.get_text() for text in axes.texts} == {"float32\n4 kB", "int8 <&>\n1 kB"}
    left, right = a_structure().plot().axes
    assert list(left.lines[1].get_xdata()) == pytest.approx([1.1, 2.2, 1.3])
    assert list(left.lines[1].get_ydata()) == pytest.approx([1, 2, 1])
    assert [list(line.get_xdata()) for line in right.lines][1:] == [[pytest.approx(1.3)], [2.1, 2.1]]


def test_pareto_writes_its_picture(tmp_path):
    tune.pareto({"m": lambda x: np.zeros(len(x))}, X, np.zeros(100), path=tmp_path / "p.svg", seconds=0.01)
    assert (tmp_path / "p.svg").exists()


def test_progress_is_a_line_where_nobody_watches(capsys):
    tune.batch_size(lambda x: x, X, 1000, sizes=[1], seconds=0.01, verbose=2)
    assert capsys.readouterr().out == "timing calls of 1 row to 1 row, at most about 0.01 s\n"


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
    given = {"models": {"model": MODEL}, "X": X, "y": LABELS}
    return lambda: tune.pareto(**(given | changed))


def structure_with(**changed):
    given = {"data": (X, LABELS), "latency_ms": 1, "verbose": 0}
    return lambda: tune.structure(**(given | changed))


BAD = [
    (sizes_with(model=3), TypeError, "model must be a Sequential or a function"),
    (sizes_with(model=Sequential), TypeError, "model must be a Sequential or a function"),
    (sizes_with(model=lambda x: x[:0]), ValueError, "returned the shape (0, 3) for 1 rows"),
    (sizes_with(model=lambda x: 1.0), ValueError, "returned the shape ()"),
    (sizes_with(latency_ms=0), ValueError, "latency_ms must be more than 0"),
    (sizes_with(latency_ms=-1), ValueError, "latency_ms"),
    (sizes_with(latency_ms=np.nan), ValueError, "latency_ms"),
    (sizes_with(latency_ms="1"), TypeError, "latency_ms must be a number"),
    (sizes_with(X=X[:0]), ValueError, "X is empty"),
    (sizes_with(X=X[:, :2]), ValueError, "X has 2 features"),
    (sizes_with(X=X[0]), ValueError, "two dimensions"),
    (sizes_with(X=NAN), ValueError, "NaN in row 1 column 1"),
    (sizes_with(X=[["a", "b", "c"]]), TypeError, "X holds text"),
    (sizes_with(sizes=[]), ValueError, "sizes is empty"),
    (sizes_with(sizes=8), TypeError, "sizes must be a list"),
    (sizes_with(sizes="8"), TypeError, "sizes must be a list"),
    (sizes_with(sizes=[1, 0]), ValueError, "sizes must be at least 1"),
    (sizes_with(sizes=[1.5]), TypeError, "sizes must be a whole number"),
    (sizes_with(sizes=[True]), TypeError, "sizes must be a whole number"),
    (sizes_with(sizes=[101]), ValueError, "101 rows at a time, but X has 100"),
    (sizes_with(seconds=0), ValueError, "seconds must be more than 0"),
    (sizes_with(verbose=5), ValueError, "verbose"),
    (pareto_with(models={}), TypeError, "models must be a dictionary"),
    (pareto_with(models=[MODEL]), TypeError, "models must be a dictionary"),
    (pareto_with(models={1: MODEL}), TypeError, "the name of a model must be a text, not 1"),
    (pareto_with(models={"a": 2}), TypeError, "the model 'a' must be a Sequential or a function"),
    (pareto_with(models={"a": lambda x: x[:5]}), ValueError, "'a' returned the shape (5, 3) for 100 rows"),
    (pareto_with(models={"a": lambda x: x * np.nan}), ValueError, "what 'a' returned holds NaN"),
    (pareto_with(models={"a": lambda x: ["x"] * len(x)}), TypeError, "what 'a' returned holds text"),
    (pareto_with(models={"a": MODEL, "b": lambda x: x}), ValueError, "'b' returned the shape (100, 3), but 'a'"),
    (pareto_with(y=LABELS[:9]), ValueError, "X has 100 rows, but y has 9"),
    (pareto_with(y=np.full(100, np.nan)), ValueError, "y holds NaN"),
    (pareto_with(X=X[:, :1]), ValueError, "X has 1 features"),
    (pareto_with(rows=0), ValueError, "rows must be at least 1"),
    (pareto_with(rows=101), ValueError, "X has only 100 rows"),
    (pareto_with(metric="mape"), ValueError, "metric cannot be 'mape'"),
    (pareto_with(y=3 * LABELS, metric="accuracy"), ValueError, "labels in [0, 1]"),
    (pareto_with(path="front.gif"), ValueError, "front.gif"),
    (pareto_with(path="no/folder/front.png"), FileNotFoundError, "no folder"),
    (pareto_with(seconds=-1), ValueError, "seconds"),
    (structure_with(data=X), TypeError, "data must be (X, y), (X, y, X_val, y_val) or a Table"),
    (structure_with(data=(X, LABELS, X)), TypeError, "data must be (X, y)"),
    (structure_with(data=(X, LABELS[:5])), ValueError, "y has the shape (5,), but X has 100 rows"),
    (structure_with(data=(X, np.eye(2)[LABELS])), ValueError, "y has the shape (100, 2)"),
    (structure_with(data=(NAN, LABELS)), ValueError, "NaN in row 1"),
    (structure_with(data=(X[:0], LABELS[:0])), ValueError, "X is empty"),
    (structure_with(data=(X, LABELS, X[:5, :2], LABELS[:5])), ValueError, "X_val has 2 features"),
    (structure_with(data=(X, LABELS, X[:5], LABELS[:4])), ValueError, "y_val has the shape (4,)"),
    (structure_with(data=(X[:5], LABELS[:5])), ValueError, "at least 10 are needed"),
    (structure_with(data=(X, 0 * LABELS)), ValueError, "nothing to learn"),
    (structure_with(data=(X, LABELS + 1)), ValueError, "numbered from 0 on without a gap"),
    (structure_with(data=(X, LABELS * 2)), ValueError, "numbered from 0 on without a gap"),
    (structure_with(data=(X, X[:, 0]), task="binary"), ValueError, "two classes are asked for"),
    (structure_with(task="ranking"), ValueError, "task cannot be 'ranking'"),
    (structure_with(latency_ms=0), ValueError, "latency_ms must be more than 0"),
    (structure_with(rows=0), ValueError, "rows must be at least 1"),
    (structure_with(trials=0), ValueError, "trials must be at least 1"),
    (structure_with(trials=2.5), TypeError, "trials must be a whole number"),
    (structure_with(seconds=0), ValueError, "seconds must be more than 0"),
    (structure_with(widths=(64, 8)), ValueError, "write (8, 64)"),
    (structure_with(widths=(0, 8)), ValueError, "widths must be at least 1"),
    (structure_with(widths=64), TypeError, "widths must be two whole numbers"),
    (structure_with(depths=(3, 1)), ValueError, "write (1, 3)"),
    (structure_with(depths=(0, 1)), ValueError, "depths must be at least 1"),
    (structure_with(epochs=0), ValueError, "epochs must be at least 1"),
    (structure_with(seed=-1), ValueError, "seed must be at least 0"),
    (structure_with(engine="fast"), ValueError, "'fast'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "words"), BAD, ids=[words for _, _, words in BAD])
def test_bad_input_gets_one_sentence(call, kind, words):
    with refused(kind, words):
        call()
