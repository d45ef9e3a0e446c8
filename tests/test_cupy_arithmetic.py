"""The CuPy engine with NumPy in CuPy's place: a check of its arithmetic on any machine, not of a GPU.

The tests imported from test_engines are collected here once more, where ``engine`` is that one. On a machine with a
GPU the suite's other files run on the real thing.
"""

import numpy as np
import numpy_in_cupys_place
import pytest
from test_engines import (  # noqa: F401
    hosted,
    test_dense_of_any_shape,
    test_dropout_keeps_its_share,
    test_dropout_masks_are_the_specified_bits,
    test_error_is_within_its_bound,
    test_infinities_are_exact_and_nan_is_kept,
    test_losses_from_logits_at_the_ends,
    test_metrics_by_hand,
    test_out_is_filled_and_returned,
    test_signature_is_the_contract_s,
    test_where_exp_goes_under,
    test_whole_float32_line,
)

import minidl
from minidl import contract, losses
from minidl.bench import operations
from minidl.engines.cupy_engine import device, infer

RNG = np.random.default_rng(12)
X = RNG.normal(size=(75, 6))
WEIGHT = RNG.uniform(0, 2, 75)
TARGETS = {
    "mse": RNG.normal(size=(75, 3)),
    "mae": RNG.normal(size=(75, 3)),
    "binary_crossentropy": RNG.integers(0, 2, (75, 3)),
    "categorical_crossentropy": np.eye(3)[RNG.integers(3, size=75)],
    "sparse_categorical_crossentropy": RNG.integers(3, size=75),
}
OPTIMIZERS = {
    "sgd": lambda: minidl.SGD(0.05),
    "momentum": lambda: minidl.SGD(0.05, momentum=0.875),
    "nesterov": lambda: minidl.SGD(0.05, momentum=0.875, nesterov=True),
    "adam": lambda: minidl.Adam(0.01),
    "adamw": lambda: minidl.AdamW(0.01),
}


@pytest.fixture(params=["numpy in cupy's place"])
def engine(request):
    with numpy_in_cupys_place.engine() as found:
        yield found


def network(engine, loss="binary_crossentropy", optimizer="adam", head="sigmoid", dtype="float32", **options):
    # In float32 the reference multiplies a penalty's rate in float64 and rounds once less.
    l1_l2, l2 = ("l1_l2", "l2") if dtype == "float64" else (None, None)
    layers = [
        minidl.Normalization(),
        minidl.Dense(8, "tanh", kernel_regularizer=l1_l2),
        minidl.Dropout(0.25),
        minidl.Dense(7, "relu", kernel_regularizer=l2, trainable=not options.get("frozen")),
        minidl.Dense(3, head, use_bias=False),
    ]
    model = minidl.Sequential(layers, seed=2)
    metrics = ["accuracy", "mae", "mse", *(["auc"] if loss == "binary_crossentropy" and head == "sigmoid" else [])]
    model.compile(OPTIMIZERS[optimizer](), loss, metrics=metrics, engine=engine, dtype=dtype)
    return model


def trained(engine, loss="binary_crossentropy", callbacks=(), **options):
    """Everything that two runs of fit, one evaluate and one predict give."""
    model, y = network(engine, loss, **options), TARGETS[loss]
    runs = [
        model.fit(X, y, 16, epochs, verbose=0, callbacks=list(callbacks), sample_weight=weight, validation_split=0.2)
        for epochs, weight in ((2, None), (1, WEIGHT))
    ]
    evaluated = model.evaluate(X, y, sample_weight=WEIGHT)
    arrays = [*model.get_weights(), model._program.slots, model.predict(X)]
    return [run.history for run in runs], evaluated, [(array.dtype, array.tobytes()) for array in arrays]



def test_every_optimizer_and_loss_of_the_contract_is_trained_below():
    assert {make().code for make in OPTIMIZERS.values()} == set(range(len(contract.OPTIMIZERS)))
    assert {code for loss in TARGETS for code in losses.get(loss).codes} == set(range(len(contract.LOSSES)))


HEADS = [(loss, head) for loss in TARGETS for head in ("linear", "softmax" if "categorical" in loss else "sigmoid")]


@pytest.mark.filterwarnings("ignore::UserWarning")  # a cross-entropy of a linear head is what minidl warns of
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "head"), HEADS)
def test_every_loss_trains_to_the_reference_s_bits(engine, loss, head, dtype):
    """The same operations in the same order. (On a GPU, whose products and exp round otherwise, there is a bound.)"""
    options = {"loss": loss, "head": head, "dtype": dtype}
    assert trained("cupy", **options) == trained("numpy", **options)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_trains_to_the_reference_s_bits(engine, optimizer, frozen):
    options = {"optimizer": optimizer, "frozen": frozen, "dtype": "float64"}
    assert trained("cupy", **options) == trained("numpy", **options)


HOOKS = ["on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_epoch_end",
         "on_train_end"]  # fmt: skip


class Meddler(minidl.Callback):
    """Changes weights, slots and the learning rate whenever its hook is called, and notes what it finds."""

    def __init__(self, hook):
        self.seen = []
        setattr(self, hook, self.meddle)

    def meddle(self, *_):
        self.seen.append([array.tobytes() for array in self.model.get_weights()])
        self.model.layers[1].weights[0][...] *= 0.75
        self.model.layers[-1].weights[0][0, 0] = -0.0
        self.model._program.slots[...] *= 0.5
        self.model.optimizer.learning_rate *= 0.9


@pytest.mark.parametrize("hook", HOOKS)
def test_what_a_callback_writes_is_trained_on_and_kept(engine, hook):
    """The host's weights are what the layers show: after each pull they are the GPU's, and changes go back there."""
    ours, theirs = Meddler(hook), Meddler(hook)
    assert trained("cupy", callbacks=[ours]) == trained("numpy", callbacks=[theirs])
    assert ours.seen == theirs.seen != []


def test_a_change_between_calls_is_seen(engine):
    models = network("cupy"), network("numpy")
    for scale in (1, 2):
        for model in models:
            model.predict(X)
            model.set_weights([scale * array for array in model.get_weights()])
        ours, theirs = (
            [model.predict(X).tolist(), model(X[:1]).tolist(), model.evaluate(X, TARGETS["binary_crossentropy"])]
            for model in models
        )
        assert ours == theirs


def test_data_and_weights_are_uploaded_once(engine, monkeypatch):
    """Later nothing but the order of the rows goes up, for the epochs of a call at once, unless a weight is changed."""
    uploads, upload = [], device.xp.asarray
    monkeypatch.setattr(device.xp, "asarray", lambda array: uploads.append(array.shape) or upload(array))
    model = network("cupy")
    model.fit(X, TARGETS["binary_crossentropy"], 16, epochs=5, verbose=0)
    orders, program = (5, 75), model._program
    once = [program.parameters.shape, X.shape, TARGETS["binary_crossentropy"].shape, program.slots.shape]
    assert uploads == [*once, orders]


def test_rows_come_up_in_chunks(engine, monkeypatch):
    model, y = network("cupy", dtype="float64"), TARGETS["binary_crossentropy"]
    whole = model.predict(X), model.evaluate(X, y, sample_weight=WEIGHT)
    monkeypatch.setattr(infer, "CHUNK", 7)
    np.testing.assert_allclose(model.predict(X), whole[0], rtol=1e-14)
    np.testing.assert_allclose(model.evaluate(X, y, sample_weight=WEIGHT), whole[1], rtol=1e-14)


def test_a_rival_leaves_the_caller_s_arrays_alone_and_waits(engine, monkeypatch):
    waits = []
    monkeypatch.setattr(engine, "synchronize", lambda: waits.append(1))
    arguments = operations.sample("sgd")
    theta = arguments[0].copy()
    run = operations.rival(engine, "sgd", arguments)
    run()
    run()
    np.testing.assert_array_equal(arguments[0], theta)
    assert waits == [1, 1]


def test_the_arrays_in_cupy_s_place_refuse_what_cupy_s_refuse(engine):
    """Otherwise the tests above would pass where a GPU fails."""
    here, there = np.ones(3), engine.to_device(np.ones(3))
    for refused in (
        lambda: here + there,
        lambda: device.xp.add(there, there, out=here),
        lambda: device.xp.divide(there, there, where=there > 0),
        lambda: there[np.array([0])],
        lambda: float(there[0]),
        lambda: list(there),
        lambda: engine.to_host(here),
    ):
        with pytest.raises(AssertionError):
            refused()
