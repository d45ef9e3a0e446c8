"""The engines train alike: same batches, loss curves and dropout; and the same bits for any number of threads."""

from itertools import pairwise

import numpy as np
import pytest

import minidl
from minidl import data
from minidl.engines import ENGINES, why_not

RUNNING = [name for name in ENGINES if not why_not(name)]


def network(
    engine, *hidden, activation="relu", normalized=True, dropout=0.0, optimizer="adam", loss="binary_crossentropy",
    dtype="float32", outputs=1,
):  # fmt: skip
    layers = [minidl.Normalization()] if normalized else []
    for units in hidden:
        layers.append(minidl.Dense(units, activation, kernel_regularizer="l2" if dropout else None))
        if dropout:
            layers.append(minidl.Dropout(dropout))
    head = {"binary_crossentropy": "sigmoid", "sparse_categorical_crossentropy": "softmax", "mse": None}[loss]
    model = minidl.Sequential([*layers, minidl.Dense(outputs, head)], seed=3)
    model.compile(optimizer, loss, metrics=["accuracy"], engine=engine, dtype=dtype)
    return model


def test_real_data_ends_well_and_alike():
    """The main job: held-out accuracy at least 0.96 on each engine, loss curves within 1e-4 of each other."""
    X_train, X_test, y_train, y_test = data.train_test_split(*data.load_breast_cancer(), test_size=0.25, seed=0)
    curves = {}
    for engine in RUNNING:
        model = network(engine, 64, 64)
        curves[engine] = model.fit(X_train, y_train, epochs=10, verbose=0).history["loss"]
        assert model.evaluate(X_test, y_test)[1] >= 0.96
        assert curves[engine][-1] < curves[engine][0] / 4
    for engine in RUNNING:
        np.testing.assert_allclose(curves[engine], curves["numpy"], rtol=1e-4)


@pytest.mark.parametrize("optimizer", [minidl.SGD(0.1, momentum=0.9, nesterov=True), minidl.AdamW(0.01)])
@pytest.mark.parametrize("loss", ["mse", "sparse_categorical_crossentropy"])
def test_dropout_penalties_weights_and_ragged_batches_alike(optimizer, loss):
    """In float64, where rounding does not hide a difference: 15 digits hardly grow apart in 40 steps."""
    rng = np.random.default_rng(5)
    X, weight = rng.normal(size=(150, 9)), rng.uniform(0, 2, 150)
    y = rng.integers(3, size=150) if "categorical" in loss else rng.normal(size=(150, 3))
    found = []
    for engine in RUNNING:
        model = network(engine, 17, 5, dropout=0.3, optimizer=optimizer, loss=loss, dtype="float64", outputs=3)
        history = model.fit(X, y, batch_size=71, epochs=13, sample_weight=weight, verbose=0).history
        found.append(np.concatenate([history["loss"], history["accuracy"], *(w.ravel() for w in model.get_weights())]))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-9, atol=1e-11)


def always(monkeypatch, threads, count):
    """Let every call run on so many threads, whether it pays or not."""
    monkeypatch.setattr(threads, "for_training", lambda *work: count)
    monkeypatch.setattr(threads, "for_call", lambda *work: count)


@pytest.mark.parametrize("batch_size", [333, 9])
@pytest.mark.parametrize(("activation", "normalized"), [("relu", False), ("tanh", True)])
def test_any_number_of_threads_gives_the_same_bits(batch_size, activation, normalized, monkeypatch):
    """A batch of many rows is parted by rows, one of few by the units of the first layer as well; both come out ragged.

    Threads also outnumber cores and jobs.
    """
    if "numba" not in RUNNING:
        pytest.skip(f"numba: {why_not('numba')}")
    from minidl.engines.numba_engine import plan, threads

    rng = np.random.default_rng(6)
    X, y = rng.normal(size=(700, 231)).astype(np.float32), rng.integers(2, size=700)
    results = []
    for count in (1, 2, 3, 8):
        always(monkeypatch, threads, count)
        model = network("numba", 301, 233, activation=activation, normalized=normalized, dropout=0.25)
        model.fit(X, y, batch_size=batch_size, epochs=2, verbose=0)
        results.append([model.predict(X), model.predict(X[:3]), *model.get_weights()])
        by_units = (plan_of(model).jobs[:, 0] == plan.UNITS).any()
        assert by_units == (batch_size == 9 and count > 1)
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(found, expected)


def plan_of(model):
    """How it was trained last."""
    *_, plan = model._program.plans["train"][-1].values()
    return plan


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("hidden", "activation"), [((), None), ((5,), "tanh"), ((8, 3), "tanh"), ((1, 3), "relu")])
@pytest.mark.parametrize("normalized", [False, True])
def test_gradients_of_small_layers_are_taken_in_parts(hidden, activation, normalized, dtype, monkeypatch):
    """Of many inputs and few units, from some rows at a time, as in NumPy, whoever takes which rows.

    Where the first operation is a layer of one unit, the rows are read where they lie.
    """
    if "numba" not in RUNNING:
        pytest.skip(f"numba: {why_not('numba')}")
    from minidl.engines.numba_engine import threads

    rng = np.random.default_rng(8)
    rows, batch_size = 345, 151  # jobs of 40, 40, 40 and 31 rows, the same once more, and of 40 and 3
    X, weight = rng.normal(size=(rows, 145)), rng.uniform(0, 2, rows)
    y, results = rng.integers(2, size=rows), []
    for engine, count in (("numpy", 1), ("numba", 1), ("numba", 2), ("numba", 3)):
        always(monkeypatch, threads, count)
        optimizer = minidl.SGD(0.1, momentum=0.9)
        model = network(
            engine, *hidden, activation=activation, normalized=normalized, dropout=0.2, optimizer=optimizer, dtype=dtype
        )
        history = model.fit(X, y, batch_size=batch_size, epochs=3, sample_weight=weight, verbose=0).history
        results.append(np.concatenate([history["loss"], *(w.ravel() for w in model.get_weights())]))
        if engine == "numba":
            assert plan_of(model).part_size > 0
            assert plan_of(model).part_rows == 40
    near = {"rtol": 1e-9, "atol": 1e-11} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(results[1], results[0], **near)
    np.testing.assert_array_equal(results[2], results[1])
    np.testing.assert_array_equal(results[3], results[1])


@pytest.mark.parametrize(
    ("inputs", "hidden", "rows", "batch_size"),
    [(145, (), 201, 200), (17_000, (), 3, 1), (33, (70, 9), 12, 1), (33, (1, 64), 12, 1), (20, (300,), 7, 3)],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_of_one_row(inputs, hidden, rows, batch_size, dtype):
    """Plain SGD moves each weight of such a batch by itself, unless gradients are taken in parts; and where
    all batches are such no W is transposed."""
    rng = np.random.default_rng(9)
    X, y, results = rng.normal(size=(rows, inputs)), rng.integers(3, size=rows), []
    for engine in RUNNING:
        optimizer, loss = minidl.SGD(0.01), "sparse_categorical_crossentropy"
        head = {"outputs": 3, "loss": loss} if hidden else {}  # without, one unit that reads its rows in place
        goal = y if hidden else y % 2
        model = network(engine, *hidden, normalized=False, optimizer=optimizer, dtype=dtype, **head)
        history = model.fit(X, goal, batch_size=batch_size, epochs=2, verbose=0).history
        results.append(np.concatenate([history["loss"], *(w.ravel() for w in model.get_weights())]))
    near = {"rtol": 1e-9, "atol": 1e-11} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-6}
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], **near)


def test_concurrent_training_and_prediction(monkeypatch):
    """Several Python threads at once, each with a model of its own, get what they would have got alone."""
    if "numba" not in RUNNING:
        pytest.skip(f"numba: {why_not('numba')}")
    from concurrent.futures import ThreadPoolExecutor

    from minidl.engines.numba_engine import threads

    always(monkeypatch, threads, 3)
    rng = np.random.default_rng(7)
    X, y = rng.normal(size=(400, 20)).astype(np.float32), rng.integers(2, size=400)

    def work(_):
        model = network("numba", 64)
        model.fit(X, y, batch_size=200, epochs=5, verbose=0)
        return model.predict(X)

    alone = work(0)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(work, range(8)):
            np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("engine", RUNNING)
def test_a_range_at_a_time_is_the_same_as_all_at_once(engine):
    """Where a run is cut between batches makes no difference to a bit."""
    rng = np.random.default_rng(8)
    X, y = rng.normal(size=(100, 6)).astype(np.float32), rng.integers(2, size=(100, 1)).astype(np.float32)
    order = rng.permutation(100)
    weights = []
    for cuts in ([0, 100], [0, 16, 64, 96, 100]):
        model = network(engine, 12, dropout=0.2)
        model.layers[0].adapt(X)
        model(X)
        model._program.optimizer_numbers = model.optimizer.numbers()
        trainer = minidl.get_engine(engine).trainer(model._program, X, y, None, 16)
        sums = sum(trainer.run(order[None], start, stop)[0] for start, stop in pairwise(cuts))
        trainer.pull()
        weights.append(model.get_weights())
        assert sums[0] == 100
    for found, expected in zip(*weights, strict=True):
        np.testing.assert_array_equal(found, expected)
