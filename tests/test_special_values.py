"""NaN, infinities and rows of zeros: what is no number in one engine is none in any, and never becomes a number."""

import numpy as np
import pytest
from hosted import Hosted

import minidl
from minidl import get_engine
from minidl.contract import OPERATIONS
from minidl.engines import ENGINES, why_not

RUNNING = [name for name in ENGINES if not why_not(name)]
ACTIVATIONS = [name for name, operation in OPERATIONS.items() if operation.module == "activations"]
LOSSES = [name for name, operation in OPERATIONS.items() if operation.module == "losses"]
ROWS = np.array(
    [
        [0.2, np.nan, 0.5],
        [np.nan, np.nan, np.nan],
        [np.nan, 0, 1],
        [0.2, np.inf, 0.5],
        [0.2, -np.inf, 0.5],
        [np.inf, -np.inf, np.nan],
        [0, 0, 0],
        [1, 0, 0],
        [-0.5, 2, 0.25],
        [0.2, 0.3, 0.5],
    ]
)
LABELS = np.eye(3)[[0, 1, 2, 1, 0, 2, 0, 1, 2, 1]]


@pytest.fixture(params=[name for name in RUNNING if name != "numpy"])
def engine(request):
    return Hosted(get_engine(request.param))


def kinds(array):
    """Of each entry: a number, or which of the three others."""
    return np.where(np.isfinite(array), "number", array.astype(str))


def check(name, engine, dtype, *arguments):
    arguments = [argument.astype(dtype) for argument in arguments]
    with np.errstate(all="ignore"):
        expected, found = (getattr(which, name)(*arguments) for which in (get_engine("numpy"), engine))
    np.testing.assert_array_equal(kinds(found), kinds(expected))
    numbers = np.isfinite(expected)
    np.testing.assert_allclose(found[numbers], expected[numbers], rtol=32 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_agree_with_numpy(engine, name, dtype):
    if not name.endswith("_backward"):
        return check(name, engine, dtype, ROWS)
    check(name, engine, dtype, ROWS, np.full_like(ROWS, 0.5))  # what comes from above
    check(name, engine, dtype, np.full_like(ROWS, 0.25), ROWS)  # the output


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_of_large_negative_logits_by_hand(engine, dtype):
    """Read as whole numbers, negative floats are in the opposite order."""
    z = np.array([[-1000, -1000, -5000], [-1e30, -2e30, -3e30], [-1e30, -2.0, -np.inf]], dtype)
    expected = [[0.5, 0.5, 0], [1, 0, 0], [0, 1, 0]]
    np.testing.assert_array_equal(engine.softmax(z), expected)
    negative_nan = np.copysign(np.array([[np.nan, 1, 2]], dtype), -1)
    assert np.isnan(engine.softmax(negative_nan)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_agree_with_numpy(engine, name, dtype):
    check(name, engine, dtype, LABELS, ROWS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_nan_never_becomes_a_number(name, dtype):
    """A row of predictions with a NaN has no loss, and the entry itself no gradient."""
    p = np.array([[0.2, np.nan, 0.5]], dtype)
    for engine in RUNNING:
        with np.errstate(all="ignore"):
            found = getattr(Hosted(get_engine(engine)), name)(np.array([[0, 1, 0]], dtype), p)
        assert np.isnan(found.flat[1 if name.endswith("_backward") else 0]), engine


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name.endswith("_backward")])
def test_nan_from_above_passes_every_activation(name):
    dy = np.array([[np.nan, np.nan]], np.float32)
    for engine in RUNNING:
        found = getattr(Hosted(get_engine(engine)), name)(dy, np.array([[0, 0.5]], np.float32))
        assert np.isnan(found).all(), engine


@pytest.mark.parametrize("engine", RUNNING)
def test_slope_of_the_l1_penalty_keeps_nan(engine):
    out = np.zeros(4, np.float32)
    Hosted(get_engine(engine)).l1_backward(np.array([np.nan, -np.inf, 0, 2], np.float32), 0.5, out)
    np.testing.assert_array_equal(out, np.float32([np.nan, -0.5, 0, 0.5]))


@pytest.mark.parametrize("loss", ["binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"])
@pytest.mark.parametrize("engine", RUNNING)
def test_diverged_model_has_no_loss(engine, loss):
    """Its last layer is linear, so the loss is taken from what should be probabilities."""
    found = evaluated(engine, loss, "linear", [])
    assert np.isnan(found)


@pytest.mark.parametrize("engine", RUNNING)
def test_diverged_model_has_an_auc(engine):
    loss, auc = evaluated(engine, "binary_crossentropy", "sigmoid", ["auc"])
    assert np.isnan(loss)
    assert auc == 0.5  # all rows alike


def evaluated(engine, loss, activation, metrics):
    units = 1 if loss == "binary_crossentropy" else 2
    model = minidl.Sequential([minidl.Dense(units, activation, input_shape=(2,))])
    model.compile("sgd", loss, metrics=metrics, engine=engine)
    model.layers[0].W[...] = np.nan
    labels = np.arange(20) % 2
    return model.evaluate(np.ones((20, 2)), np.eye(2)[labels] if loss == "categorical_crossentropy" else labels)
