"""The gradient of whole networks against central differences in float64, on every engine and of any shape."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minidl
from minidl import contract, regularizers
from minidl.engines import ENGINES, why_not

RUNNING = [name for name in ENGINES if not why_not(name)]
HEADS = {
    "mse": ("linear", "tanh", "sigmoid"),
    "binary_crossentropy": ("sigmoid",),
    "categorical_crossentropy": ("softmax",),
    "sparse_categorical_crossentropy": ("softmax",),
}


@st.composite
def networks(draw):
    loss = draw(st.sampled_from(sorted(HEADS)))
    activation = st.sampled_from([name for name in contract.ACTIVATIONS if name != "relu"])  # which has a kink
    hidden = draw(st.lists(st.tuples(st.integers(1, 7), activation), max_size=3))
    outputs = draw(st.integers(2 if "categorical" in loss else 1, 4))
    return {
        "loss": loss,
        "hidden": hidden,
        "outputs": outputs,
        "head": draw(st.sampled_from(HEADS[loss])),
        "inputs": draw(st.integers(1, 6)),
        "rows": draw(st.integers(1, 9)),
        "bias": draw(st.booleans()),
        "penalty": draw(st.sampled_from([None, "l1", "l2", "l1_l2"])),
        "normalization": draw(st.booleans()),
        "dropout": draw(st.booleans()),
        "weighted": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**31)),
    }


def build(network, engine):
    layers = [minidl.Normalization(trainable=False)] if network["normalization"] else []
    for units, activation in network["hidden"]:
        layers.append(minidl.Dense(units, activation, network["bias"], kernel_regularizer=network["penalty"]))
        if network["dropout"]:
            layers.append(minidl.Dropout(0.25))
    layers.append(minidl.Dense(network["outputs"], network["head"], kernel_regularizer=network["penalty"]))
    model = minidl.Sequential(layers, seed=network["seed"])
    model.compile(minidl.SGD(1.0), network["loss"], engine=engine, dtype="float64")
    rng = np.random.default_rng(network["seed"])
    n, o = network["rows"], network["outputs"]
    X = rng.normal(size=(n, network["inputs"]))
    if network["normalization"]:
        layers[0].adapt(rng.normal(1, 2, size=(20, network["inputs"])))
    y = {
        "mse": rng.normal(size=(n, o)),
        "binary_crossentropy": rng.uniform(size=(n, o)),
        "categorical_crossentropy": rng.dirichlet(np.ones(o), n),
        "sparse_categorical_crossentropy": rng.integers(o, size=n),
    }[network["loss"]]
    weight = rng.uniform(0, 2, n) if network["weighted"] else None
    model(X)
    # Away from 0, where the slope of an l1 penalty jumps.
    model.set_weights([np.where(np.abs(w) < 0.05, 0.05, w) if w.ndim == 2 else w + 0.1 for w in model.get_weights()])
    return model, X, y, weight


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(network=networks())
@pytest.mark.parametrize("engine", RUNNING)
def test_gradient_by_central_differences(engine, network):
    """One step of SGD at rate 1 moves theta by minus the gradient, and returns the loss, dropout included."""
    model, X, y, weight = build(network, engine)
    theta = model._program.theta
    start = theta.copy()

    def loss_at(point):
        theta[:] = point
        model._program.step = 0  # the same dropout masks each time
        return model.train_on_batch(X, y, weight)

    loss_at(start)
    gradient = start - theta
    step = 1e-5
    for entry in range(theta.size):
        shift = np.zeros_like(start)
        shift[entry] = step
        slope = (loss_at(start + shift) - loss_at(start - shift)) / (2 * step)
        assert gradient[entry] == pytest.approx(slope, rel=2e-6, abs=2e-8)


@pytest.mark.parametrize("engine", RUNNING)
def test_gradient_through_relu_by_hand(engine):
    """One row (1, 2) and two hidden units, of which one passes and one is cut; every number can be followed.

    z = (1*1 + 2*1, 1*1 - 2*1) = (3, -1), a = (3, 0), p = 3*2 + 0*5 + 1 = 7, y = 5, loss 4, dp = 2 (7 - 5) = 4
    output layer: dW = a dp = (12, 0), db = 4; dz = dp (2, 5), cut to (8, 0)
    hidden layer: dW = x dz = (8, 0; 16, 0), db = (8, 0)
    """
    model = minidl.Sequential([minidl.Dense(2, "relu", input_shape=(2,)), minidl.Dense(1)])
    model.compile(minidl.SGD(1.0), "mse", engine=engine, dtype="float64")
    model.set_weights([[[1, 1], [1, -1]], [0, 0], [[2], [5]], [1]])
    assert model.train_on_batch([[1, 2]], [5]) == 4
    expected = [[[-7, 1], [-15, -1]], [-8, 0], [[-10], [5]], [-3]]
    for found, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_penalties_reach_the_gradient():
    """l1 = 0.5, l2 = 0.25 on w = 2 with no data gradient: dw = 0.5 + 2 * 0.25 * 2 = 1.5."""
    model = minidl.Sequential(
        [minidl.Dense(1, use_bias=False, kernel_regularizer=regularizers.L1L2(0.5, 0.25), input_shape=(1,))]
    )
    model.compile(minidl.SGD(1.0), "mse", engine="numpy", dtype="float64")
    model.set_weights([[[2.0]]])
    assert model.train_on_batch([[0.0]], [0.0]) == 0.5 * 2 + 0.25 * 4
    assert model.get_weights()[0].item() == 0.5
