"""Sequential and its layers: what they promise, with numbers worked by hand where a pencil is enough."""

import copy
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
from hosted import Hosted

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
    contract,
    initializers,
    regularizers,
    seeds,
    training,
)
from minidl.engines import ENGINES, get_engine, why_not

RUNNING = [name for name in ENGINES if not why_not(name)]
engines = pytest.mark.parametrize("engine", RUNNING)
RNG = np.random.default_rng(11)
X = RNG.normal(size=(50, 6)).astype(np.float32)
Y = (X @ RNG.normal(size=6) > 0).astype(np.float32)


def network(engine="numpy", seed=1, optimizer="adam", **options):
    """Normalization, dropout, a penalty and a ragged last batch: every operation takes part."""
    model = Sequential(
        [
            Normalization(input_shape=(6,)),
            Dense(8, "tanh", kernel_regularizer=regularizers.L1L2(1e-4, 1e-3)),
            Dropout(0.25),
            Dense(5, "relu"),
            Dense(1, "sigmoid"),
        ],
        seed=seed,
    )
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"], engine=engine, **options)
    return model


def bits(model):
    return [array.tobytes() for array in model.get_weights()]


def line(engine="numpy", optimizer=None, weight=0.0, bias=0.0):
    """p = weight x + bias, trained by plain descent with rate 0.1 unless told otherwise."""
    model = Sequential([Dense(1, input_shape=(1,))])
    model.set_weights([[[weight]], [bias]])
    model.compile(optimizer or SGD(0.1), "mse", metrics=["mae"], engine=engine)
    return model


# --- structure -------------------------------------------------------------------------------------------------------


def test_layers_get_their_names_and_keep_their_order():
    model = Sequential(seed=0)
    layers = [Dense(4, input_shape=(3,)), Dropout(0.5), Dense(4), Normalization(), Dense(2, name="last"), Dropout(0.1)]
    for layer in layers:
        assert model.add(layer) is None
    assert model.layers == layers
    names = ["dense", "dropout", "dense_1", "normalization", "last", "dropout_1"]
    assert [layer.name for layer in layers] == names
    assert [(layer.inputs, layer.outputs) for layer in layers] == [(3, 4), (4, 4), (4, 4), (4, 4), (4, 2), (2, 2)]
    assert repr(model) == "<Sequential 'dense' -> 'dropout' -> 'dense_1' -> 'normalization' -> 'last' -> 'dropout_1'>"


def test_a_name_that_the_user_has_taken_is_passed_over():
    model = Sequential([Dense(3, name="dense_1", input_shape=(2,)), Dense(3), Dense(3), Dense(3)])
    assert [layer.name for layer in model.layers] == ["dense_1", "dense", "dense_2", "dense_3"]


def test_a_model_is_built_as_soon_as_its_features_are_known():
    model = Sequential()
    assert not model.built
    model.add(Dense(4, input_shape=(3,)))
    assert model.built
    first = model.get_weights()
    model.add(Dense(2))
    assert [array.shape for array in model.get_weights()] == [(3, 4), (4,), (4, 2), (2,)]
    assert all(map(np.array_equal, model.get_weights(), first))  # what was there is kept


@engines
def test_without_input_shape_the_first_data_build_it(engine):
    uses = {
        "fit": lambda model: model.fit(X, Y, epochs=0, verbose=0),
        "evaluate": lambda model: model.evaluate(X, Y, verbose=0),
        "predict": lambda model: model.predict(X, verbose=0),
        "call": lambda model: model(X),
        "train_on_batch": lambda model: model.train_on_batch(X, Y),
    }
    for name, use in uses.items():
        model = Sequential([Dense(4, "relu"), Dense(1, "sigmoid")], seed=5)
        model.compile("adam", "binary_crossentropy", engine=engine)
        assert not model.built
        assert model.layers[0].weights == []
        use(model)
        assert model.built
        assert [array.shape for array in model.get_weights()] == [(6, 4), (4,), (4, 1), (1,)]
        given = Sequential([Dense(4, "relu", input_shape=(6,)), Dense(1, "sigmoid")], seed=5)
        if name != "train_on_batch":
            assert bits(model) == bits(given)  # built late or early, the same seed draws the same weights


@pytest.mark.parametrize("shape", [(6,), [6], 6])
def test_input_shape_may_be_a_tuple_a_list_or_a_number(shape):
    assert Sequential([Dense(2, input_shape=shape)]).predict(X).shape == (50, 2)


def test_predict_needs_no_compile():
    model = Sequential([Dense(2, input_shape=(2,))])
    model.set_weights([[[1, 2], [3, 4]], [10, 20]])
    # [1, 1] W = [4, 6]; [0, -1] W = [-3, -4].
    assert model.predict([[1, 1], [0, -1]]).tolist() == [[14, 26], [7, 16]]
    assert model([[1, 1]]).tolist() == [[14, 26]]
    assert model.predict([[1, 1]]).dtype == np.float32


@engines
@pytest.mark.parametrize("activation", contract.ACTIVATIONS)
def test_a_call_lets_nan_and_infinity_through_in_their_own_rows(engine, activation):
    model = Sequential([Normalization(input_shape=(6,)), Dense(5, activation), Dense(3, activation)], seed=1)
    model.layers[0].adapt(X)
    model.compile("sgd", "mse", engine=engine)
    clean = model(X)
    for value in (np.nan, np.inf, -np.inf):
        dirty = X.copy()
        dirty[7, 2] = value
        with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="row 7 column 2"):
            model.predict(dirty)
        with np.errstate(invalid="ignore"):
            out = model(dirty)
        if np.isnan(value):
            assert np.isnan(out[7]).all()
        others = np.arange(50) != 7
        assert out[others].tobytes() == clean[others].tobytes()


def test_summary_says_what_there_is(capsys):
    model = Sequential([Normalization(), Dense(64, "relu"), Dropout(0.5), Dense(1, "sigmoid", name="answer")])
    model.summary()
    lazy = capsys.readouterr().out
    assert "not built" in lazy
    assert "(rows, ?)" in lazy
    assert lazy.endswith("not compiled\n")
    model.compile("adam", "binary_crossentropy", engine="numpy")
    model.layers[1].trainable = False
    model.compile("adam", "binary_crossentropy", engine="numpy", dtype="float64")
    model.predict(X)
    model.summary()
    # Normalization 2 * 6; Dense 6 * 64 + 64; Dense 64 + 1, and only the last learns.
    assert capsys.readouterr().out.splitlines() == [
        "layer                          output shape  parameters  settings",
        "-" * 69,
        "normalization (Normalization)  (rows, 6)             12  not adapted",
        "dense (Dense)                  (rows, 64)           448  relu, frozen",
        "dropout (Dropout)              (rows, 64)             0  rate 0.5",
        "answer (Dense)                 (rows, 1)             65  sigmoid",
        "525 parameters, 65 of them trainable, float64, 4.2 kB, engine numpy",
        "loss binary_crossentropy, optimizer Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07)",
    ]


def test_count_params_by_hand():
    model = Sequential([Dense(256, input_shape=(784,)), Dense(128, use_bias=False), Dropout(0.5), Dense(1)])
    assert model.count_params() == (784 * 256 + 256) + 256 * 128 + (128 + 1)
    assert [array.shape for array in model.get_weights()] == [(784, 256), (256,), (256, 128), (128, 1), (1,)]


# --- weights ---------------------------------------------------------------------------------------------------------


def test_weights_go_out_and_in_again_as_copies():
    model, other = network(seed=1), network(seed=2)
    model.fit(X, Y, verbose=0)
    taken = model.get_weights()
    assert [array.shape for array in taken] == [(6,), (6,), (6, 8), (8,), (8, 5), (5,), (5, 1), (1,)]
    other.set_weights(taken)
    assert other.predict(X).tobytes() == model.predict(X).tobytes()
    before = bits(model)
    for array in taken:
        array[...] = 0
    assert bits(model) == before
    layer = model.layers[1]
    layer.set_weights([2 * array for array in layer.get_weights()])
    assert layer.W.tobytes() == (2 * np.frombuffer(before[2], np.float32)).tobytes()
    # Weights that are set count as adapted statistics, so that a later fit does not overwrite them.
    other.fit(3 * X, Y, verbose=0)
    assert bits(other)[:2] == before[:2]
    third = network()
    third.layers[0].set_weights(model.layers[0].get_weights())
    third.fit(3 * X, Y, verbose=0)
    assert bits(third)[:2] == before[:2]


def test_arrays_of_the_model_itself_may_be_set_in_another_order():
    model = Sequential([Dense(3, input_shape=(3,)), Dense(3)], seed=0)
    first, second = model.layers[0].get_weights(), model.layers[1].get_weights()
    model.set_weights(model.weights[2:] + model.weights[:2])
    assert all(map(np.array_equal, model.get_weights(), [*second, *first]))


@engines
def test_w_and_b_are_views_of_the_model(engine):
    model = Sequential([Dense(2, input_shape=(2,))])
    model.compile("sgd", "mse", engine=engine)
    layer = model.layers[0]
    layer.W[:] = [[1, 2], [3, 4]]
    layer.b[1] = 5
    assert model.predict([[1, 1]], verbose=0).tolist() == [[4, 11]]
    layer.W = np.eye(2)  # giving a new value writes into the view
    layer.b += 1
    assert model.predict([[7, 8]], verbose=0).tolist() == [[8, 14]]
    W = layer.W
    model.fit([[1, 1]], [[0, 0]], verbose=0)
    assert W is layer.W
    assert W[0, 1] < 0  # error [2, 7] at rate 0.01 moves every entry down
    assert model.weights[0] is W


@engines
def test_copies_and_pickles_are_models_of_their_own(engine):
    model = network(engine)
    model.fit(X, Y, epochs=2, verbose=0)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        before = bits(model)
        assert bits(twin) == before
        assert twin.engine == engine
        twin.layers[1].W[:] = 0  # still a view, of the copy
        assert (twin.predict(X, verbose=0) == twin.predict(X[:1], verbose=0)).all()
        assert bits(model) == before
    twins = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    histories = [each.fit(X, Y, epochs=2, verbose=0).history for each in (model, *twins)]
    assert histories[0] == histories[1] == histories[2]
    assert bits(model) == bits(twins[0]) == bits(twins[1])


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
def test_initial_weights_have_the_spread_their_name_promises(name):
    W = Sequential([Dense(300, kernel_initializer=name, input_shape=(500,))], seed=0).layers[0].W
    fan = {"glorot": 400, "he": 500, "lecun": 500}.get(name.split("_")[0])
    variance = {
        "zeros": 0, "ones": 0, "random_uniform": 0.1**2 / 12, "random_normal": 0.05**2,
        "glorot_uniform": 1 / 400, "glorot_normal": 1 / 400, "he_uniform": 2 / 500, "he_normal": 2 / 500,
        "lecun_uniform": 1 / 500, "lecun_normal": 1 / 500,
    }[name]  # fmt: skip
    assert np.var(W) == pytest.approx(variance, rel=0.02)
    assert np.mean(W) == pytest.approx(1 if name == "ones" else 0, abs=4 * math.sqrt(variance / W.size))
    if fan and name.endswith("uniform"):
        assert 0.99 < np.abs(W).max() / math.sqrt(3 * variance) <= 1
    if fan and name.endswith("normal"):  # cut off at two deviations of the bell before it was cut
        assert 0.99 < np.abs(W).max() / (2 * math.sqrt(variance) / 0.87962566103423978) <= 1


def test_an_initializer_may_be_a_function():
    layer = Dense(2, kernel_initializer=lambda shape, rng: np.full(shape, 3), bias_initializer="ones", input_shape=(2,))
    assert Sequential([layer]).predict([[1, 1]]).tolist() == [[7, 7]]


# --- the same seed, the same bits ------------------------------------------------------------------------------------


@engines
def test_a_seed_repeats_everything_and_another_does_not(engine):
    runs = []
    for seed in (3, 3, 4):
        model = network(engine, seed=seed)
        start = bits(model)
        history = model.fit(X, Y, batch_size=7, epochs=3, validation_split=0.2, verbose=0).history
        runs.append((start, history, bits(model)))
    assert runs[0] == runs[1]
    assert all(one != other for one, other in zip(runs[0], runs[2], strict=True))


def test_weights_shuffling_and_dropout_draw_from_streams_of_their_own():
    streams = [seeds.stream(5, purpose).integers(2**63) for purpose in (seeds.WEIGHTS, seeds.SHUFFLING, seeds.DROPOUT)]
    assert len(set(streams)) == 3
    assert seeds.dropout_seed(5) == streams[2]
    small, large = (Sequential([Dense(units, input_shape=(6,))], seed=5) for units in (1, 100))
    assert small._shuffle.permutation(50).tolist() == large._shuffle.permutation(50).tolist()


@engines
def test_set_random_seed_repeats_all_models_that_follow(engine):
    runs = []
    for seed in (7, 7, 8):
        minidl.set_random_seed(seed)
        models = [network(engine, seed=None) for _ in range(2)]
        histories = [model.fit(X, Y, verbose=0).history for model in models]
        runs.append((histories, [bits(model) for model in models]))
    assert runs[0] == runs[1]
    assert runs[0][1] != runs[2][1]
    assert runs[0][1][0] != runs[0][1][1]  # two models after one seed are two different ones
    assert network(seed=None).seed != network(seed=None).seed


def test_initial_weights_do_not_depend_on_the_engine_and_only_round_with_the_dtype():
    single, double = network(dtype="float32"), network(dtype="float64")
    assert bits(single) == bits(network("numba"))
    for a, b in zip(single.get_weights(), double.get_weights(), strict=True):
        assert np.array_equal(a, b.astype(np.float32))
        assert (a.dtype, b.dtype) == (np.float32, np.float64)


@engines
@pytest.mark.parametrize("optimizer", [SGD(0.1, momentum=0.9), "adam", AdamW(0.01)], ids=repr)
def test_two_fits_of_two_epochs_are_one_of_four(engine, optimizer):
    whole, parts = network(engine, optimizer=optimizer), network(engine, optimizer=optimizer)
    expected = whole.fit(X, Y, batch_size=8, epochs=4, verbose=0)
    first, second = (parts.fit(X, Y, batch_size=8, epochs=2, verbose=0) for _ in range(2))
    assert {name: first.history[name] + second.history[name] for name in first.history} == expected.history
    assert bits(parts) == bits(whole)
    assert parts._program.slots.tobytes() == whole._program.slots.tobytes()
    assert parts._program.step == whole._program.step == 28


@engines
def test_batches_trained_one_by_one_are_an_epoch(engine):
    fitted, stepped = network(engine), network(engine)
    for model in (fitted, stepped):
        model.layers[0].adapt(X)
    history = fitted.fit(X, Y, batch_size=16, shuffle=False, verbose=0).history
    steps = [stepped.train_on_batch(X[at : at + 16], Y[at : at + 16]) for at in range(0, 50, 16)]
    assert bits(stepped) == bits(fitted)
    rows = np.array([16, 16, 16, 2])
    np.testing.assert_allclose(history["loss"], np.dot(rows, [loss for loss, _ in steps]) / 50, rtol=1e-6)
    np.testing.assert_allclose(history["accuracy"], np.dot(rows, [right for _, right in steps]) / 50, rtol=1e-6)


@engines
def test_shuffling_sees_every_row_once_an_epoch_in_another_order_each_time(engine):
    # With x = 2^row and rate 0 the running sums of |p - y| = x tell which rows came in which order.
    class Order(Callback):
        def on_train_begin(self, logs):
            self.epochs = []

        def on_epoch_begin(self, epoch, logs):
            self.totals = [0.0]

        def on_train_batch_end(self, batch, logs):
            self.totals.append(logs["mae"] * (batch + 1))

        def on_epoch_end(self, epoch, logs):
            self.epochs.append(np.log2(np.diff(self.totals)).round().astype(int).tolist())

    model, order = line(engine, SGD(0.0), weight=1), Order()
    x = 2.0 ** np.arange(12)[:, None]
    model.fit(x, np.zeros(12), batch_size=1, epochs=3, callbacks=[order], verbose=0)
    assert [sorted(epoch) for epoch in order.epochs] == [list(range(12))] * 3
    assert order.epochs[0] != order.epochs[1] != order.epochs[2]
    expected = seeds.stream(model.seed, seeds.SHUFFLING)  # NumPy's own generator, so that all engines see the same
    assert order.epochs == [expected.permutation(12).tolist() for _ in range(3)]
    model.fit(x, np.zeros(12), batch_size=1, epochs=2, callbacks=[order], shuffle=False, verbose=0)
    assert order.epochs == [list(range(12))] * 2


# --- compile and trainable -------------------------------------------------------------------------------------------


@engines
def test_compile_keeps_the_weights_and_makes_the_optimizer_forget(engine):
    model, fresh = network(engine), network(engine)
    model.fit(X, Y, epochs=2, verbose=0)
    kept = bits(model)
    assert model._program.slots.any()
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"], engine=engine)
    assert bits(model) == kept
    assert not model._program.slots.any()
    fresh.set_weights(model.get_weights())
    histories = [each.fit(X, Y, epochs=2, shuffle=False, verbose=0).history for each in (model, fresh)]
    assert histories[0] == histories[1]
    assert bits(model) == bits(fresh)


@engines
def test_frozen_layers_keep_their_bits_and_have_no_slots(engine):
    model = network(engine)
    model.layers[0].adapt(X)
    model.layers[1].trainable = False
    model.layers[4].trainable = False
    model.compile("adam", "binary_crossentropy", engine=engine)
    before = [array.tobytes() for layer in model.layers for array in layer.get_weights()]
    model.fit(X, Y, epochs=3, verbose=0)
    after = bits(model)
    # mean, variance | W, b frozen | W, b of the middle layer learn | W, b frozen
    assert [one == other for one, other in zip(before, after, strict=True)] == [True] * 4 + [False] * 2 + [True] * 2
    assert model._program.trained == 8 * 5 + 5
    assert model._program.packed().shape == (2, 45)
    model.layers[1].trainable = True
    model.compile("adam", "binary_crossentropy", engine=engine)
    model.fit(X, Y, verbose=0)
    assert bits(model)[2] != before[2]


@engines
def test_a_model_with_nothing_to_learn_trains_without_a_change(engine):
    model = Sequential([Dense(1, "sigmoid", trainable=False, kernel_regularizer="l2", input_shape=(6,))], seed=0)
    model.compile("adam", "binary_crossentropy", engine=engine)
    before = bits(model)
    losses = model.fit(X, Y, epochs=2, verbose=0).history["loss"]
    assert bits(model) == before
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)  # the rows come in another order
    # The penalty of a layer that does not learn is not counted, as in Keras.
    p = 1 / (1 + np.exp(-(X @ model.layers[0].W.astype(float))[:, 0]))
    assert losses[0] == pytest.approx(np.mean(-Y * np.log(p) - (1 - Y) * np.log(1 - p)), rel=1e-5)


def test_an_activation_may_be_a_function_of_an_engine():
    for name in ("relu", "tanh", "softmax"):
        for engine in ("numpy", "numba"):
            assert Dense(2, activation=getattr(minidl.get_engine(engine), name)).activation == name
    for other in (np.tanh, abs, minidl.get_engine("numpy").dense):
        with pytest.raises(ValueError, match="unknown activation"):
            Dense(2, activation=other)


@engines
def test_a_layer_without_bias_has_none(engine):
    model = Sequential([Dense(2, use_bias=False, input_shape=(6,)), Dense(1)], seed=0)
    model.compile("adam", "mse", engine=engine)
    model.fit(X, Y, epochs=2, verbose=0)
    assert not model.layers[0].b.any()
    assert len(model.layers[0].get_weights()) == 1
    assert model.predict(np.zeros((1, 6)), verbose=0) == model.layers[1].b


@engines
def test_the_learning_rate_can_be_changed_between_epochs(engine):
    class Stop(Callback):
        def on_epoch_begin(self, epoch, logs):
            if epoch == 2:
                self.model.optimizer.learning_rate = 0.0

    model, short = network(engine, optimizer=SGD(0.1)), network(engine, optimizer=SGD(0.1))
    model.fit(X, Y, epochs=5, callbacks=[Stop()], verbose=0)
    short.fit(X, Y, epochs=2, verbose=0)
    assert bits(model) == bits(short)


def test_odd_pairs_of_activation_and_loss_are_said_where_compile_is_called():
    from minidl.losses import BinaryCrossentropy

    model = Sequential([Dense(3, "softmax", input_shape=(6,))])
    with pytest.warns(UserWarning, match="ends in softmax, but binary_crossentropy belongs to sigmoid") as caught:
        model.compile("sgd", "binary_crossentropy", engine="numpy")
    assert caught[0].filename == __file__
    model = Sequential([Dense(1, "sigmoid", input_shape=(6,))])
    with pytest.warns(UserWarning, match="from_logits=True, but the model ends in an activation") as caught:
        model.compile("sgd", BinaryCrossentropy(from_logits=True), engine="numpy")
    assert caught[0].filename == __file__


@engines
def test_a_training_that_diverges_says_so(engine):
    model = line(engine, SGD(1e30))
    with pytest.warns(RuntimeWarning, match="diverged; try a smaller") as caught:
        model.fit([[1], [2]], [1, 2], epochs=4, verbose=0)
    assert [warning.filename for warning in caught] == [__file__]


@engines
@pytest.mark.filterwarnings("error")
def test_what_is_no_number_passes_without_a_warning(engine):
    model = network(engine)
    found = model(np.array([[np.inf, -np.inf, 0, 0, 0, 0], [np.nan, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]))
    assert np.isfinite(found[2])
    assert np.isnan(found[:2]).all()


def test_numbers_of_numpy_s_serve_as_well():
    layer = Dense(1, input_shape=np.int64(6))
    assert layer.input_shape == (6,)
    model = Sequential([layer])
    model.compile("sgd", "mse", engine="numpy")
    model.fit(X, Y, verbose=np.int64(0))


# --- Dropout ---------------------------------------------------------------------------------------------------------

MASK = 2**64 - 1


def mix(h):
    """The specification of contract.py in Python's own whole numbers."""
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    h = (h ^ (h >> 27)) * 0x94D049BB133111EB & MASK
    return h ^ (h >> 31)


def generator(seed, step, layer, count):
    key = mix((mix((mix(seed) + step) & MASK) + layer) & MASK)
    return [mix((key + (index + 1) * 0x9E3779B97F4A7C15) & MASK) for index in range(count)]


def test_the_specified_generator_is_splitmix64():
    # mix(0) = 0, so that seed, step and layer 0 give the key 0: the published first numbers of SplitMix64.
    assert generator(0, 0, 0, 5) == [
        0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC, 0x1B39896A51A8749B
    ]  # fmt: skip


@engines
def test_dropout_masks_have_the_specified_bits(engine):
    dropout = Hosted(minidl.get_engine(engine)).dropout
    ones = np.ones((3, 5), np.float32)
    # The first numbers begin with E2, 6E, 06, F8, 1B: at rate 1/2 the first and the fourth reach 80.
    assert dropout(ones, 0.5, 0, 0, 0)[0].tolist() == [2, 0, 0, 2, 0]
    for seed, step, layer in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**63 - 1, 10**6, 40)):
        for rate in (0.0, 0.1, 0.5, 0.999):
            kept = [(number >> 40) >= rate * 2**24 for number in generator(seed, step, layer, 15)]
            expected = np.reshape(kept, (3, 5)) * np.float32(1 / (1 - rate))
            assert dropout(ones, rate, seed, step, layer).tobytes() == expected.tobytes()


def test_dropout_masks_are_the_same_bits_in_every_engine():
    x = RNG.normal(size=(257, 33)).astype(np.float32)
    outputs = [Hosted(minidl.get_engine(engine)).dropout(x, 0.3, 5, 6, 7).tobytes() for engine in RUNNING]
    assert all(output == outputs[0] for output in outputs)


@engines
def test_dropout_statistics(engine):
    dropout, shape, rate = Hosted(minidl.get_engine(engine)).dropout, (400, 250), 0.3
    masks = np.array([dropout(np.ones(shape, np.float32), rate, seed=1, step=step, layer=0) > 0 for step in range(4)])
    deviation = math.sqrt(rate * (1 - rate) / (shape[0] * shape[1]))
    assert np.abs(masks.mean(axis=(1, 2)) - (1 - rate)).max() < 4 * deviation
    assert np.abs(masks[0].mean(axis=0) - (1 - rate)).max() < 5 * math.sqrt(rate * (1 - rate) / shape[0])
    # Neighbours in a row, in a column and in time know nothing of each other.
    m = masks - masks.mean()
    for product in (m[0, :, 1:] * m[0, :, :-1], m[0, 1:] * m[0, :-1], m[0] * m[1], m[2] * m[3]):
        assert abs(product.mean()) < 5 * rate * (1 - rate) / math.sqrt(product.size)


@engines
def test_dropout_acts_in_training_alone_with_a_new_mask_each_step(engine):
    model = Sequential([Dropout(0.5, input_shape=(8,)), Dense(1, kernel_initializer="ones")], seed=9)
    model.compile(SGD(0.0), "mae", engine=engine)
    x = 2.0 ** np.arange(8)[None]  # so that the sum of what was kept tells which were kept
    assert model.predict(x, verbose=0) == model(x) == 255
    assert model.evaluate(x, [0], verbose=0) == 255
    for step in range(3):
        kept = [number >> 63 for number in generator(seeds.dropout_seed(9), step, 0, 8)]
        assert model.train_on_batch(x, [0]) == 2 * sum(bit << place for place, bit in enumerate(kept))


@engines
def test_two_dropouts_have_masks_of_their_own(engine):
    # 8 ones, the first mask, doubled; then the second mask, doubled: 4 for each that passed both.
    model = Sequential([Dropout(0.5, input_shape=(8,)), Dropout(0.5), Dense(1, kernel_initializer="ones")], seed=9)
    model.compile(SGD(0.0), "mae", engine=engine)
    first, second = ([n >> 63 for n in generator(seeds.dropout_seed(9), 0, layer, 8)] for layer in (0, 1))
    assert first != second
    assert model.train_on_batch(np.ones((1, 8)), [0]) == 4 * sum(a * b for a, b in zip(first, second, strict=True))


# --- Normalization ---------------------------------------------------------------------------------------------------


@engines
def test_normalization_by_hand(engine):
    layer = Normalization()
    layer.adapt([[1, 7, 0.1], [3, 7, 0.1], [5, 7, 0.1]])
    # mean 3; variance ((1-3)^2 + 0 + (5-3)^2)/3 = 8/3, the population's; the constant columns have exactly 0.
    assert layer.mean.tolist() == [3, 7, 0.1]
    assert layer.variance.tolist() == [8 / 3, 0, 0]
    model = Sequential([layer, Dense(3, kernel_initializer=lambda shape, rng: np.eye(3))])
    model.compile("sgd", "mse", engine=engine)
    out = model.predict([[1, 7, 0.1], [3, 7, 0.1], [9, 7, 0.1]], verbose=0)
    step = 2 / math.sqrt(8 / 3)
    np.testing.assert_allclose(out, [[-step, 0, 0], [0, 0, 0], [3 * step, 0, 0]], rtol=1e-6)
    assert (out[:, 1:] == 0).all()


@engines
def test_the_first_fit_adapts_on_the_training_rows_alone(engine):
    model = network(engine)
    model.fit(X, Y, validation_split=0.2, verbose=0)
    np.testing.assert_allclose(model.layers[0].mean, X[:40].mean(axis=0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(model.layers[0].variance, X[:40].var(axis=0), rtol=1e-5)
    adapted = bits(model)[:2]
    model.fit(X + 100, Y, verbose=0)  # later data do not move it
    assert bits(model)[:2] == adapted
    by_hand = network(engine)
    by_hand.layers[0].adapt(X[10:])
    kept = bits(by_hand)[:2]
    by_hand.fit(X, Y, verbose=0)
    assert bits(by_hand)[:2] == kept


@engines
def test_an_unadapted_normalization_that_is_not_trainable_passes_everything(engine):
    model = Sequential([Normalization(trainable=False), Dense(1, kernel_initializer="ones")])
    model.compile(SGD(0.0), "mae", engine=engine)
    assert model.fit([[3, 4]], [0], verbose=0).history["loss"] == [7]
    assert not model.layers[0].adapted
    model.layers[0].adapt([[3, 4], [3, 6]])
    assert model.predict([[3, 6]], verbose=0) == 1


# --- validation and history ------------------------------------------------------------------------------------------


@engines
def test_validation_split_takes_the_last_rows_before_shuffling(engine):
    weight = np.linspace(0, 2, 50)
    held_out = X[35:], Y[35:], weight[35:]
    split, given = network(engine), network(engine)
    histories = [
        split.fit(X, Y, validation_split=0.3, epochs=3, sample_weight=weight, verbose=0),
        given.fit(X[:35], Y[:35], validation_data=held_out, epochs=3, sample_weight=weight[:35], verbose=0),
    ]
    assert histories[0].history == histories[1].history
    assert bits(split) == bits(given)
    found = split.evaluate(X[35:], Y[35:], sample_weight=weight[35:], verbose=0)
    assert found == [histories[0].history["val_loss"][-1], histories[0].history["val_accuracy"][-1]]


@engines
def test_validating_changes_nothing_in_the_training(engine):
    model, alone = network(engine), network(engine)
    found = model.fit(X, Y, epochs=3, validation_data=(X[:5], Y[:5]), verbose=0).history
    expected = alone.fit(X, Y, epochs=3, verbose=0).history
    assert {name: values for name, values in found.items() if not name.startswith("val_")} == expected
    assert bits(model) == bits(alone)


@engines
def test_history_holds_sorted_names_and_a_number_for_each_epoch(engine):
    model = network(engine)
    assert model.history is None
    history = model.fit(X, Y, epochs=3, validation_split=0.2, verbose=0)
    assert history is model.history
    assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert history.epoch == [0, 1, 2]
    assert all([type(value) for value in values] == [float] * 3 for values in history.history.values())
    assert history.params == {"verbose": 0, "epochs": 3, "steps": 2}
    assert model.fit(X, Y, epochs=0, verbose=0).history == {}


def test_verbose_2_prints_a_line_an_epoch_and_0_nothing(capsys):
    model = network()
    model.fit(X, Y, epochs=2, validation_split=0.2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    assert all(f"{name} " in line for line in lines for name in ("accuracy", "loss", "val_accuracy", "val_loss"))
    model.fit(X, Y, epochs=2, verbose=0)
    assert capsys.readouterr().out == ""
    model.fit(X, Y, epochs=2, verbose=1)
    assert "epoch 2/2" in capsys.readouterr().out


# --- callbacks -------------------------------------------------------------------------------------------------------


class Recorder(Callback):
    """Writes down every call with its number and the names in its logs."""

    def __init__(self):
        self.calls = []


def recording(hook):
    def record(self, *arguments):
        *number, logs = arguments
        self.calls.append((hook, *number, *logs))

    return record


HOOKS = [name for name in vars(Callback) if name.startswith("on_")]
EveryBatch = type("EveryBatch", (Recorder,), {hook: recording(hook) for hook in HOOKS})
EveryEpoch = type("EveryEpoch", (Recorder,), {hook: recording(hook) for hook in HOOKS if "batch" not in hook})


@engines
def test_callbacks_are_called_in_keras_order(engine):
    logs, val = ["accuracy", "loss"], ["val_accuracy", "val_loss"]  # in alphabetical order, as in Keras
    recorder, model = EveryBatch(), network(engine)
    model.fit(X[:10], Y[:10], batch_size=5, epochs=2, validation_split=0.2, callbacks=[recorder], verbose=0)
    epochs = [
        [
            ("on_epoch_begin", epoch),
            ("on_train_batch_begin", 0), ("on_train_batch_end", 0, *logs),
            ("on_train_batch_begin", 1), ("on_train_batch_end", 1, *logs),
            ("on_test_begin",),
            ("on_test_batch_begin", 0), ("on_test_batch_end", 0, *logs),
            ("on_test_end", *logs),
            ("on_epoch_end", epoch, "accuracy", "loss", *val),
        ]
        for epoch in range(2)
    ]  # fmt: skip
    assert recorder.calls == [
        ("on_train_begin",), *epochs[0], *epochs[1], ("on_train_end", "accuracy", "loss", *val)
    ]  # fmt: skip
    assert recorder.model is model
    assert recorder.params == {"verbose": 0, "epochs": 2, "steps": 2}


@engines
def test_watching_batches_does_not_change_the_result(engine):
    models = [network(engine) for _ in range(3)]
    callbacks = [[], [EveryEpoch()], [EveryBatch()]]
    histories = [
        model.fit(X, Y, batch_size=8, epochs=3, callbacks=watching, verbose=0).history
        for model, watching in zip(models, callbacks, strict=True)
    ]
    assert bits(models[0]) == bits(models[1]) == bits(models[2])
    assert histories[0]["accuracy"] == histories[1]["accuracy"] == histories[2]["accuracy"]
    np.testing.assert_allclose(histories[2]["loss"], histories[0]["loss"], rtol=1e-12)


@engines
def test_an_epoch_parted_into_ranges_has_the_same_result(engine, monkeypatch):
    whole, parted = network(engine), network(engine)
    expected = whole.fit(X, Y, batch_size=8, epochs=3, verbose=0).history
    monkeypatch.setattr("minidl.training.RANGE", 1)  # one batch a range
    found = parted.fit(X, Y, batch_size=8, epochs=3, verbose=0).history
    assert bits(parted) == bits(whole)
    assert found["accuracy"] == expected["accuracy"]
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-12)


@engines
def test_batch_hooks_see_the_running_logs(engine):
    class Watch(Callback):
        seen = ()

        def on_train_batch_end(self, batch, logs):
            self.seen = (*self.seen, dict(logs))

    watch, model = Watch(), line(engine, SGD(0.0))
    model.fit([[0]] * 5, [1, 2, 3, 4, 5], batch_size=2, shuffle=False, callbacks=[watch], verbose=0)
    # Nothing learns, p = 0. Rows so far: 1 2 | 1 2 3 4 | 1 2 3 4 5.
    assert watch.seen == (
        {"loss": 5 / 2, "mae": 3 / 2},
        {"loss": 30 / 4, "mae": 10 / 4},
        {"loss": 55 / 5, "mae": 15 / 5},
    )


def test_a_hook_given_to_the_instance_counts_too():
    callback, seen = Callback(), []
    callback.on_train_batch_end = lambda batch, logs: seen.append(batch)
    network().fit(X, Y, batch_size=20, callbacks=callback, verbose=0)  # one callback needs no list
    assert seen == [0, 1, 2]


@engines
def test_stop_training_after_an_epoch(engine):
    class Stop(Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.stop_training = epoch == 1

    model, twin = network(engine), network(engine)
    history = model.fit(X, Y, epochs=10, callbacks=[Stop()], verbose=0)
    assert history.epoch == [0, 1]
    twin.fit(X, Y, epochs=2, verbose=0)
    assert bits(model) == bits(twin)
    assert model.fit(X, Y, epochs=3, verbose=0).epoch == [0, 1, 2]  # the next fit is not stopped


@engines
def test_stop_training_after_a_batch_ends_the_epoch_properly(engine):
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs):
            if batch == 1:
                self.model.stop_training = True

    model, recorder = network(engine), EveryBatch()
    history = model.fit(
        X, Y, batch_size=10, epochs=5, validation_data=(X, Y), callbacks=[Stop(), recorder], verbose=0
    )
    assert model._program.step == 2
    assert history.epoch == [0]
    after = [call[0] for call in recorder.calls if "batch" not in call[0]]
    assert after[-4:] == ["on_test_begin", "on_test_end", "on_epoch_end", "on_train_end"]


@engines
def test_a_callback_can_use_and_change_the_model(engine):
    class KeepBest(Callback):
        best, weights = math.inf, None

        def on_epoch_end(self, epoch, logs):
            assert self.model.evaluate(X, Y, verbose=0)[0] == logs["val_loss"]
            if logs["val_loss"] < self.best:
                self.best, self.weights = logs["val_loss"], self.model.get_weights()

        def on_train_end(self, logs):
            self.model.set_weights(self.weights)

    model = network(engine, optimizer=SGD(3.0))
    history = model.fit(X, Y, epochs=5, validation_data=(X, Y), callbacks=[KeepBest()], verbose=0).history
    assert history["val_loss"][-1] > min(history["val_loss"])  # so that putting the best back changes something
    assert model.evaluate(X, Y, verbose=0)[0] == min(history["val_loss"])


class Interrupt(Callback):
    """Does something once, in the epoch (and batch) given."""

    def __init__(self, act, epoch, batch=None):
        self.act, self.wanted, self.epoch = act, (epoch, batch), None

    def on_epoch_begin(self, epoch, logs):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs):
        if (epoch, None) == self.wanted:
            self.act()


class InterruptBatch(Interrupt):
    def on_train_batch_end(self, batch, logs):
        if (self.epoch, batch) == self.wanted:
            self.act()


def fail(error):
    raise error


@engines
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_error_in_a_callback_leaves_the_finished_epochs(engine, error):
    model, twin = network(engine), network(engine)
    with pytest.raises(error):
        model.fit(X, Y, batch_size=10, epochs=5, callbacks=[InterruptBatch(lambda: fail(error), 2, 1)], verbose=0)
    assert model.history.epoch == [0, 1]
    assert [len(values) for values in model.history.history.values()] == [2, 2]
    stop = InterruptBatch(lambda: setattr(twin, "stop_training", True), 2, 1)
    twin.fit(X, Y, batch_size=10, epochs=3, callbacks=[stop], verbose=0)
    assert bits(model) == bits(twin)  # two batches into the third epoch
    assert model._program.step == 12
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"]).all()


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_handler():
    """Python's own handler of Ctrl-C before the test, and found again after it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


@engines
def test_ctrl_c_from_outside_ends_after_a_finished_range(own_handler, engine):
    model, twin = network(engine), network(engine)

    def press():
        while model.history is None or len(model.history.epoch) < 3:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=100_000, verbose=0)
    thread.join()
    done = len(model.history.epoch)
    assert 3 <= done < 100_000
    assert model.history.epoch == list(range(done))
    assert model._program.step == 2 * done  # an epoch of so small a model is one range
    assert model.history.history == twin.fit(X, Y, epochs=done, verbose=0).history
    assert bits(model) == bits(twin)
    assert model.fit(X, Y, verbose=0).history == twin.fit(X, Y, verbose=0).history  # and trains on as if nothing was
    assert bits(model) == bits(twin)


@engines
def test_ctrl_c_within_an_epoch_waits_for_the_range_and_no_longer(own_handler, engine):
    model = network(engine)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, batch_size=10, epochs=5, callbacks=[InterruptBatch(ctrl_c, 1, 2)], verbose=0)
    assert model.history.epoch == [0]
    assert model._program.step == 5 + 3
    assert np.isfinite(np.concatenate([array.ravel() for array in model.get_weights()])).all()


def test_ctrl_c_at_the_very_end_is_not_swallowed(own_handler):
    model = network()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=2, callbacks=[Interrupt(ctrl_c, 1)], verbose=0)
    assert model.history.epoch == [0, 1]


def test_a_second_ctrl_c_takes_effect_at_once(own_handler):
    reached = []

    def twice():
        ctrl_c()
        reached.append("after the first")
        ctrl_c()
        reached.append("after the second")

    model = network()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=3, callbacks=[Interrupt(twice, 0)], verbose=0)
    assert reached == ["after the first"]


def test_the_first_ctrl_c_is_answered(own_handler, capsys):
    with pytest.raises(KeyboardInterrupt):
        network().fit(X, Y, epochs=3, callbacks=[Interrupt(ctrl_c, 1)], verbose=0)
    said = capsys.readouterr().err.strip()
    assert said == "stopping after this range of batches; Ctrl-C again stops at once"


def test_a_program_that_handles_ctrl_c_itself_keeps_doing_so():
    noted = []

    def mine(number, frame):
        noted.append(number)

    before = signal.signal(signal.SIGINT, mine)
    try:
        history = network().fit(X, Y, epochs=2, callbacks=[Interrupt(ctrl_c, 0)], verbose=0)
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)
    assert noted == [signal.SIGINT]
    assert history.epoch == [0, 1]


@engines
def test_fit_runs_in_a_thread_too(own_handler, engine):
    models = [network(engine) for _ in range(3)]
    threads = [threading.Thread(target=lambda m=m: m.fit(X, Y, epochs=20, verbose=0)) for m in models[:2]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    models[2].fit(X, Y, epochs=20, verbose=0)
    assert bits(models[0]) == bits(models[1]) == bits(models[2])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_trains_although_its_parent_has_threads():
    code = (
        "import os, numpy as np, minidl\n"
        "from minidl.engines.numba_engine import threads\n"
        "threads.for_training = threads.for_call = lambda *work: 2\n"
        "model = minidl.Sequential([minidl.Dense(1, input_shape=(6,))], seed=0)\n"
        "model.compile('adam', 'mse', engine='numba')\n"
        "X, y = np.ones((256, 6)), np.ones(256)\n"
        "model.fit(X, y, batch_size=256, verbose=0)\n"
        "child = os.fork()\n"
        "model.fit(X, y, batch_size=256, verbose=0)\n"
        "if child: assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60, check=True)


@engines
@pytest.mark.parametrize("shuffle", [True, False])
def test_epochs_that_nobody_watches_are_the_same_bits(engine, shuffle):
    """Seven epochs in one call of the engine, or one by one because a callback looks on."""
    alone, watched = network(engine), network(engine)
    history = alone.fit(X, Y, batch_size=16, epochs=7, shuffle=shuffle, verbose=0)
    other = watched.fit(X, Y, batch_size=16, epochs=7, shuffle=shuffle, verbose=0, callbacks=[Callback()])
    assert bits(alone) == bits(watched)
    assert history.history == other.history
    assert history.epoch == other.epoch == list(range(7))
    assert alone._program.step == watched._program.step == 7 * 4
    again, once = alone.fit(X, Y, batch_size=16, verbose=0), watched.fit(X, Y, batch_size=16, verbose=0)
    assert again.history == once.history  # the generators of the orders stand at the same place


@engines
def test_a_call_of_the_engine_never_lasts_long(engine, monkeypatch):
    """Ctrl-C is looked at between two calls: so many epochs are parted, however small each of them is."""
    whole, parted, calls = network(engine), network(engine), []

    class Counted(get_engine(engine).trainer):
        def run(self, orders, start, stop):
            calls.append(len(orders))
            return super().run(orders, start, stop)

    whole.fit(X, Y, batch_size=16, epochs=7, verbose=0)
    monkeypatch.setattr(get_engine(engine), "trainer", Counted)
    monkeypatch.setattr(training, "RANGE", 9.5 * training.AROUND)  # 9 steps, which are 2 epochs and one step
    parted.fit(X, Y, batch_size=16, epochs=7, verbose=0)
    assert calls == [2, 2, 2, 1]
    assert bits(whole) == bits(parted)
    assert training.AROUND * 2000 > 2e9  # so a call never has more than some hundred steps


@engines
def test_arrays_begin_at_cache_lines_and_the_gaps_stay_empty(engine):
    model = network(engine)
    model.fit(X, Y, epochs=3, verbose=0)
    program = model._program
    held = np.zeros(program.parameters.size, bool)
    for start, size in zip(program.starts, program.sizes, strict=True):
        held[start : start + size] = True
    # 6 means, 6 variances | 48 + 8 | 40 + 5 | 5 + 1; of these all but the statistics learn
    assert held.sum() == 119
    assert program.trained == 107
    assert program.packed().shape == (2, 107)
    assert not program.parameters[~held].any()
    assert not program.slots[:, ~held[: program.trainable]].any()
    if engine != "cupy":
        arrays = [array for layer in model.layers for array in (getattr(layer, name) for name in layer.arrays)]
        assert all(array.ctypes.data % 64 == 0 for array in [*arrays, *program.slots])


# --- evaluate --------------------------------------------------------------------------------------------------------


@engines
def test_evaluate_by_hand(engine):
    penalty = regularizers.L1L2(0.1, 0.01)
    model = Sequential([Dense(1, kernel_regularizer=penalty, input_shape=(2,))])
    model.set_weights([[[2], [-1]], [0.5]])
    model.compile(SGD(0.0), "mse", metrics=["mae"], engine=engine)
    x, y, weight = [[1, 2], [3, 1]], [0, 5.25], [1, 3]
    # p = 2 - 2 + 0.5 = 0.5 and 6 - 1 + 0.5 = 5.5: squared errors 0.25 and 0.0625.
    # Penalty: 0.1 (2 + 1) + 0.01 (4 + 1) = 0.35.
    assert model.evaluate(x, y, verbose=0) == pytest.approx([0.3125 / 2 + 0.35, 0.375], rel=1e-6)
    # With weights sum(w l)/n: (0.25 + 3 * 0.0625)/2; the metrics do not see them.
    weighted = pytest.approx([0.4375 / 2 + 0.35, 0.375], rel=1e-6)
    assert model.evaluate(x, y, sample_weight=weight, verbose=0) == weighted
    assert model.train_on_batch(x, y, sample_weight=weight) == weighted
    found = model.evaluate(x, y, return_dict=True, verbose=0)
    assert list(found) == ["loss", "mae"]
    assert list(found.values()) == model.evaluate(x, y, verbose=0)
    model.compile("sgd", "mse", engine=engine)
    assert type(model.evaluate(x, y, verbose=0)) is float
    assert type(model.train_on_batch(x, y)) is float
    assert model.evaluate(x, y, return_dict=True, verbose=0).keys() == {"loss"}


@engines
def test_crossentropies_by_hand(engine):
    model = Sequential([Dense(1, "sigmoid", kernel_initializer="ones", input_shape=(1,))])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"], engine=engine)
    # At z = log 3 the probability is 3/4: -log(3/4) for a label of 1, -log(1/4) for 0, and both halves for 0.5.
    z = [[math.log(3)]] * 3
    expected = [-(1.5 * math.log(0.75) + 1.5 * math.log(0.25)) / 3, 1 / 3]
    assert model.evaluate(z, [1, 0, 0.5], verbose=0) == pytest.approx(expected, rel=1e-6)
    assert model.evaluate([[40]], [0], verbose=0)[0] == pytest.approx(40, rel=1e-6)  # from the logits, never clipped
    model = Sequential([Dense(3, "softmax", kernel_initializer=lambda shape, rng: np.eye(3), input_shape=(3,))])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], engine=engine)
    z = np.log([[1, 2, 5], [1, 2, 5]])  # probabilities 1/8, 1/4, 5/8
    expected = [-(math.log(5 / 8) + math.log(1 / 4)) / 2, 0.5]
    assert model.evaluate(z, [2, 1], verbose=0) == pytest.approx(expected, rel=1e-6)


@engines
def test_a_row_of_weight_0_does_not_teach(engine):
    model, short = line(engine), line(engine)
    model.fit([[1], [2], [7]], [2, 4, 100], sample_weight=[1.5, 1.5, 0], verbose=0)
    short.fit([[1], [2]], [2, 4], verbose=0)  # 3 rows of weight 1.5, 1.5, 0 are as 2 rows of weight 1
    np.testing.assert_allclose(model.layers[0].W, short.layers[0].W, rtol=1e-6)


# --- what the classes do ---------------------------------------------------------------------------------------------


@engines
def test_class_example_784_256_128_1(engine):
    rng = np.random.default_rng(0)
    x, y = rng.random((256, 784)), rng.integers(0, 2, 256)
    model = Sequential(seed=0)
    model.add(Dense(256, activation="relu", input_shape=(784,)))
    model.add(Dense(128, activation="relu"))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"], engine=engine)
    loss = model.fit(x, y, epochs=8, batch_size=64, verbose=0).history["loss"]
    assert model.count_params() == 233_985
    assert loss[-1] < loss[0]
    assert loss[-1] < 0.67  # below what always saying 1/2 costs, log 2 = 0.693


@engines
@pytest.mark.parametrize("reader", ["numpy", "pandas"])
def test_class_example_from_csv_files(engine, reader, tmp_path):
    rng = np.random.default_rng(42)
    data = rng.random((100, 10))
    labels = (data.sum(axis=1) > 5).astype(int)
    np.savetxt(tmp_path / "train_data.csv", data, delimiter=",")
    np.savetxt(tmp_path / "train_labels.csv", labels, delimiter=",", fmt="%d")
    if reader == "numpy":
        x = np.loadtxt(tmp_path / "train_data.csv", delimiter=",")
        y = np.loadtxt(tmp_path / "train_labels.csv", delimiter=",")
    else:
        x = pd.read_csv(tmp_path / "train_data.csv", header=None)
        y = pd.read_csv(tmp_path / "train_labels.csv", header=None)
    model = Sequential(seed=0)
    model.add(Dense(10, activation="sigmoid", input_shape=(10,)))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(optimizer="sgd", loss="binary_crossentropy", metrics=["accuracy"], engine=engine)
    history = model.fit(x, y, epochs=10, batch_size=10, verbose=0)
    assert len(history.history["loss"]) == 10
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert model.count_params() == 121
    loss, accuracy = model.evaluate(x, y, verbose=0)
    predictions = model.predict(x, verbose=0)
    assert predictions.shape == (100, 1)
    assert accuracy == pytest.approx(np.mean((predictions[:, 0] > 0.5) == labels))
    right = np.where(labels == 1, predictions[:, 0], 1 - predictions[:, 0])
    assert loss == pytest.approx(np.mean(-np.log(right)), rel=1e-5)


@engines
def test_class_example_regression(engine):
    rng = np.random.default_rng(1)
    x = rng.uniform(-2, 2, (256, 2))
    y = np.sin(x[:, 0]) + 0.5 * x[:, 1] ** 2
    model = Sequential([Dense(64, "relu", input_shape=(2,)), Dense(64, "relu"), Dense(1)], seed=0)
    model.compile(Adam(0.003), "mse", metrics=["mae"], engine=engine)
    history = model.fit(x, y, epochs=60, validation_split=0.25, verbose=0).history
    assert history["val_loss"][-1] < 0.05 * np.var(y)  # at least 95 % of the variance explained on rows not seen


# --- importing -------------------------------------------------------------------------------------------------------

HEAVY = ("cupy", "numba", "llvmlite", "sympy", "mpmath", "pandas", "matplotlib", "rich", "scipy")


@pytest.mark.parametrize(
    "code",
    [
        "import minidl",
        "import minidl; minidl.Sequential, minidl.Dense, minidl.Adam, minidl.data.load_breast_cancer()",
        "import minidl; m = minidl.Sequential([minidl.Dense(1, input_shape=(2,))]);"
        "m.compile('adam', 'mse', engine='numpy'); m.fit([[1, 2]], [3]); m.predict([[1, 2]]); m.summary()",
        "import minidl; m = minidl.Sequential([minidl.Dense(1, input_shape=(2,))]); minidl.prune.magnitude(m, 0.5)",
    ],
    ids=["import", "names", "numpy engine", "pruning"],
)
def test_importing_loads_numpy_alone(code):
    code = f"{code}\nimport sys, json; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(found.stdout.splitlines()[-1]) == []


def test_the_public_names_are_listed_and_there():
    listed = dir(minidl)
    for name in minidl.__all__:
        assert name in listed
        assert getattr(minidl, name) is not None
    assert {"Sequential", "Dense", "Dropout", "Normalization", "SGD", "Adam", "Callback", "get_engine"} <= set(listed)
    assert listed == sorted(listed)
    with pytest.raises(AttributeError, match="minidl has no 'Secuential'"):
        _ = minidl.Secuential
