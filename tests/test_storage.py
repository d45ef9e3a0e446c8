"""Models in files: what is loaded is what was saved, to the bit, and training goes on as if it had never stopped."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import SGD, Adam, AdamW, Callback, Dense, Dropout, Normalization, Sequential, config, initializers
from minidl.data import Column, Schema, Target
from minidl.layers import ACTIVATIONS
from minidl.losses import BinaryCrossentropy
from minidl.metrics import MeanAbsoluteError
from minidl.regularizers import L1L2

GOLDEN = Path(__file__).parent / "golden"
X = np.random.default_rng(0).normal(3, 2, size=(50, 3))
Y = (X[:, 0] > X[:, 1]).astype(np.float64)


def a_model(optimizer=None, engine="numpy", dtype="float32"):
    """A model with everything that is kept: statistics, dropout, a frozen layer, one without bias, penalties."""
    layers = [
        Normalization(input_shape=(3,)),
        Dense(5, "tanh", kernel_regularizer=L1L2(1e-3, 1e-2)),
        Dropout(0.4),
        Dense(4, "relu", trainable=False),
        Dense(4, "relu", use_bias=False),
        Dropout(0.2),
        Dense(1, "sigmoid"),
    ]
    model = Sequential(layers, seed=11)
    loss = "binary_crossentropy"
    model.compile(optimizer or Adam(0.01), loss, metrics=["accuracy", "auc"], engine=engine, dtype=dtype)
    return model


def everything(model):
    """All that two models must agree on, their settings and every number, and where a training stands."""
    program = model._program
    arrays = [array for layer in model.layers if layer.built for name in layer.arrays for array in [vars(layer)[name]]]
    if program is not None:
        arrays += [program.parameters, program.slots, program.table, program.numbers]
    return config.describe(model, True), [(array.dtype, array.shape, array.tobytes()) for array in arrays]


def test_round_trip_keeps_everything(tmp_path):
    model = a_model()
    model.fit(X, Y, epochs=2, verbose=0)
    model.save(tmp_path / "model", include_optimizer=True)
    loaded = minidl.load_model(tmp_path / "model")
    assert everything(loaded) == everything(model)
    assert loaded.predict(X).tobytes() == model.predict(X).tobytes()
    assert loaded.evaluate(X, Y) == model.evaluate(X, Y)
    assert (loaded.engine, repr(loaded.optimizer)) == ("numpy", repr(model.optimizer))
    assert repr(loaded._loss) == repr(model._loss)
    assert [metric.name for metric in loaded._metrics] == ["accuracy", "auc"]
    assert loaded.history is None
    loaded.save(str(tmp_path / "again"), include_optimizer=True)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


def test_what_is_in_the_file(tmp_path):
    """Any reader of safetensors finds the arrays under their names, and the configuration as JSON."""
    from safetensors import safe_open

    model = a_model()
    model.save(tmp_path / "model")
    with safe_open(tmp_path / "model", framework="np") as file:
        names, said = list(file.keys()), json.loads(file.metadata()["minidl"])
        assert file.get_tensor("dense/W").tobytes() == model.layers[1].W.tobytes()
    assert sorted(names) == [
        "dense/W", "dense/b", "dense_1/W", "dense_1/b", "dense_2/W", "dense_3/W", "dense_3/b", "normalization/mean",
        "normalization/variance",
    ]  # fmt: skip
    assert (said["format"], said["format_version"], said["minidl_version"]) == ("model", 1, minidl.__version__)
    assert said["layers"][1] == {
        "class": "Dense", "units": 5, "activation": "tanh", "use_bias": True, "kernel_initializer": "glorot_uniform",
        "bias_initializer": "zeros", "kernel_regularizer": {"class": "L1L2", "l1": 1e-3, "l2": 1e-2},
        "input_shape": [3], "trainable": True, "name": "dense",
    }  # fmt: skip
    assert (said["step"], said["schema"], said["engine"], said["dtype"]) == (None, None, "numpy", "float32")


def test_file_of_format_version_1_can_be_read():
    """Written once by minidl 0.1.0 (model below, trained for 3 epochs): later versions must read it too."""
    loaded = minidl.load_model(GOLDEN / "model_version_1.safetensors")
    model = a_model(SGD(0.5, momentum=0.75), dtype="float64")
    model.fit(X, Y, epochs=3, verbose=0)
    np.testing.assert_allclose(loaded.predict(X), model.predict(X), rtol=1e-9)
    first = [model.fit(X, Y, verbose=0).history, loaded.fit(X, Y, verbose=0).history]
    assert first[0].keys() == first[1].keys()
    np.testing.assert_allclose(first[0]["loss"], first[1]["loss"], rtol=1e-9)


# --- training goes on -------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda: SGD(0.1),
    "momentum": lambda: SGD(0.1, momentum=0.9),
    "nesterov": lambda: SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: Adam(0.01),
    "adamw": lambda: AdamW(0.01),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_with_the_same_bits(optimizer, engine, dtype, tmp_path):
    whole, half = (a_model(OPTIMIZERS[optimizer](), engine, dtype) for _ in range(2))
    history = whole.fit(X, Y, batch_size=8, epochs=4, verbose=0).history
    first = half.fit(X, Y, batch_size=8, epochs=2, verbose=0).history
    half.save(tmp_path / "model", include_optimizer=True)
    loaded = minidl.load_model(tmp_path / "model")
    then = loaded.fit(X, Y, batch_size=8, epochs=2, verbose=0).history
    assert {name: first[name] + then[name] for name in first} == history
    assert everything(loaded) == everything(whole)


def test_training_goes_on_from_the_middle_of_a_fit(tmp_path):
    """A file written at the end of the second of four epochs, with a learning rate that had been changed."""

    class Saves(Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                self.model.optimizer.learning_rate = 0.03
                self.model.save(tmp_path / "model", include_optimizer=True)

    model = a_model()
    history = model.fit(X, Y, epochs=4, callbacks=[Saves()], verbose=0).history
    loaded = minidl.load_model(tmp_path / "model")
    assert loaded.fit(X, Y, epochs=2, verbose=0).history["loss"] == history["loss"][2:]
    assert everything(loaded) == everything(model)


def test_without_the_optimizer_it_begins_anew(tmp_path):
    model = a_model()
    model.fit(X, Y, epochs=2, verbose=0)
    model.save(tmp_path / "model")
    loaded = minidl.load_model(tmp_path / "model")
    assert loaded._program.step == 0
    assert not loaded._program.slots.any()
    model.compile(model.optimizer, "binary_crossentropy", metrics=["accuracy", "auc"], engine="numpy")
    assert loaded.fit(X, Y, verbose=0).history == model.fit(X, Y, verbose=0).history


def test_nothing_trainable_and_no_slots_can_be_saved_with_the_optimizer(tmp_path):
    model = Sequential([Dense(1, input_shape=(3,), trainable=False)])
    model.compile("adam", "mse", engine="numpy")
    model.save(tmp_path / "model", include_optimizer=True)
    assert minidl.load_model(tmp_path / "model")._program.slots.shape == (2, 0)


@pytest.mark.parametrize("change", ["trainable", "rate", "momentum", "seed"])
def test_change_after_compile_takes_effect_in_the_loaded_model_or_is_refused(change, tmp_path):
    model = a_model(SGD(0.1))
    model.fit(X, Y, verbose=0)
    if change == "trainable":
        model.layers[1].trainable = False
    elif change == "rate":
        model.layers[2].rate = 0.5
    elif change == "momentum":
        model.optimizer.momentum = 0.9
    else:
        model.seed = 12
    with pytest.raises(RuntimeError, match=r"changed after compile.*compile again, or save without"):
        model.save(tmp_path / "model", include_optimizer=True)
    assert list(tmp_path.iterdir()) == []
    model.save(tmp_path / "model")
    loaded = minidl.load_model(tmp_path / "model")
    assert loaded.predict(X).tobytes() == model.predict(X).tobytes()
    model.compile(model.optimizer, "binary_crossentropy", metrics=["accuracy", "auc"], engine="numpy")
    assert everything(loaded) == everything(model)


# --- not built, not compiled ------------------------------------------------------------------------------------------


def test_empty_model(tmp_path):
    Sequential(seed=5).save(tmp_path / "model", include_optimizer=True)
    loaded = minidl.load_model(tmp_path / "model")
    assert (loaded.layers, loaded.seed, loaded.built, loaded.optimizer) == ([], 5, False, None)


@pytest.mark.parametrize("compiled", [True, False])
def test_unbuilt_model_draws_the_same_weights_later(compiled, tmp_path):
    model = Sequential([Dense(4, "relu", kernel_initializer="he_normal"), Dropout(0.5), Dense(1, name="last")], seed=3)
    if compiled:
        model.compile(SGD(0.1), "mse", engine="numpy", dtype="float64")
    model.save(tmp_path / "model", include_optimizer=True)
    loaded = minidl.load_model(tmp_path / "model")
    assert not loaded.built
    assert [layer.name for layer in loaded.layers] == ["dense", "dropout", "last"]
    assert loaded(X).tobytes() == model(X).tobytes()
    assert everything(loaded) == everything(model)


def test_layer_added_after_loading_draws_what_it_would_have_drawn(tmp_path):
    model = Sequential([Dense(4, input_shape=(3,))], seed=3)
    model.save(tmp_path / "model")
    loaded = minidl.load_model(tmp_path / "model")
    for one in (model, loaded):
        one.add(Dense(2))
    assert loaded.predict(X).tobytes() == model.predict(X).tobytes()


def test_normalization_adapted_before_the_model_is_built(tmp_path):
    normalization = Normalization()
    normalization.adapt(np.random.default_rng(1).normal(size=(20, 4)))
    model = Sequential([Dense(4), normalization, Dense(1)], seed=3)
    model.save(tmp_path / "model")
    loaded = minidl.load_model(tmp_path / "model")
    assert loaded.layers[1].adapted
    assert everything(loaded) == everything(model)
    assert loaded.predict(X).tobytes() == model.predict(X).tobytes()


@pytest.mark.parametrize("trainable", [True, False])
def test_normalization_that_has_seen_no_data(trainable, tmp_path):
    """The first fit after loading adapts it, unless it is frozen."""
    model = Sequential([Normalization(input_shape=(3,), trainable=trainable), Dense(1)], seed=3)
    model.compile("sgd", "mse", engine="numpy")
    model.save(tmp_path / "model")
    model.save_weights(tmp_path / "weights")
    loaded, other = minidl.load_model(tmp_path / "model"), minidl.load_model(tmp_path / "model")
    other.load_weights(tmp_path / "weights")
    for one in (model, loaded, other):
        assert not one.layers[0].adapted
        one.fit(X, Y, verbose=0)
        assert one.layers[0].adapted is trainable
    assert everything(loaded) == everything(other) == everything(model)


# --- initializers and classes of one's own ----------------------------------------------------------------------------


def halves(shape, rng):
    return np.full(shape, 0.5)


def test_initializer_of_ones_own_is_forgotten_once_it_has_done_its_work(tmp_path):
    model = Sequential([Dense(2, kernel_initializer=halves, bias_initializer=initializers.ones, input_shape=(3,))])
    model.save(tmp_path / "model")
    loaded = minidl.load_model(tmp_path / "model")
    assert (loaded.layers[0].W == 0.5).all()
    assert (loaded.layers[0].kernel_initializer, loaded.layers[0].bias_initializer) == ("glorot_uniform", "ones")


def test_initializer_of_ones_own_that_is_still_needed_is_refused(tmp_path):
    model = Sequential([Dense(2, name="mine", kernel_initializer=halves)])
    with pytest.raises(ValueError, match=r"cannot be saved: the layer 'mine' still needs its initializer"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


class MyDense(Dense):
    pass


class MyAdam(Adam):
    pass


class MyLoss(BinaryCrossentropy):
    pass


class MyMetric(MeanAbsoluteError):
    pass


@pytest.mark.parametrize("mine", ["layer", "optimizer", "loss", "metric"])
def test_class_of_ones_own_is_refused(mine, tmp_path):
    model = Sequential([(MyDense if mine == "layer" else Dense)(1, "sigmoid", input_shape=(3,))])
    model.compile(
        MyAdam() if mine == "optimizer" else Adam(),
        MyLoss() if mine == "loss" else BinaryCrossentropy(),
        metrics=[MyMetric() if mine == "metric" else MeanAbsoluteError()],
        engine="numpy",
    )
    with pytest.raises(ValueError, match=f"cannot be saved: it has a {mine} of the class My"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_setting_that_was_made_impossible_is_found_when_saving(tmp_path):
    model = a_model()
    vars(model.layers[2])["rate"] = "much"  # past the check that a setting gets
    with pytest.raises(ValueError, match=r"cannot be saved: rate must be a number, not 'much'"):
        model.save(tmp_path / "model")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_diverged_are_refused(value, tmp_path):
    model = a_model()
    model.save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    model.layers[1].W[1, 2] = value
    for save in (model.save, model.save_weights):
        with pytest.raises(ValueError, match=r"cannot be saved: dense/W holds (NaN|inf) in row 1 column 2"):
            save(tmp_path / "model")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_name_that_is_no_unicode_is_refused(tmp_path):
    model = Sequential([Dense(1, input_shape=(3,), name="\ud800")])
    with pytest.raises(ValueError, match="cannot be saved"):
        model.save(tmp_path / "model")


@pytest.mark.parametrize("name", ["a/W", "optimizer", "__metadata__", 'größe\n"\\', "W", " ", "\x00"])
def test_any_other_name_survives(name, tmp_path):
    model = Sequential([Dense(2, input_shape=(3,), name=name), Dense(2, name=f"{name}/W"), Dense(1, name="a")], seed=1)
    model.compile("adam", "mse", engine="numpy")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model", include_optimizer=True)
    assert everything(minidl.load_model(tmp_path / "model")) == everything(model)


def test_header_that_would_be_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("minidl.storage.HEADER_LIMIT", 1000)
    with pytest.raises(ValueError, match="cannot be saved: its configuration takes more than 1000 bytes"):
        a_model().save(tmp_path / "model")


# --- engines ----------------------------------------------------------------------------------------------------------


def test_missing_engine_is_replaced_with_a_warning(tmp_path, monkeypatch, recwarn):
    model = a_model(engine="numba")
    model.save(tmp_path / "model")
    monkeypatch.setattr("minidl.engines.why_not", lambda name: "" if name == "numpy" else "it is not installed")
    loaded = minidl.load_model(tmp_path / "model")
    (warning,) = recwarn
    assert warning.category is UserWarning
    assert warning.filename == __file__
    assert str(warning.message) == (
        "the model was saved with the engine 'numba' and now uses 'numpy', because 'numba' cannot run here: "
        "it is not installed"
    )
    assert loaded.engine == "numpy"
    np.testing.assert_allclose(loaded.predict(X), model.predict(X), rtol=1e-5)


def test_engine_of_the_file_or_the_one_given(tmp_path, monkeypatch, recwarn):
    a_model(engine="numba").save(tmp_path / "model")
    assert minidl.load_model(tmp_path / "model").engine == "numba"
    assert minidl.load_model(tmp_path / "model", engine="numpy").engine == "numpy"
    monkeypatch.setattr("minidl.engines.why_not", lambda name: "" if name == "numpy" else "it is not installed")
    assert minidl.load_model(tmp_path / "model", engine="numpy").engine == "numpy"
    assert list(recwarn) == []
    with pytest.raises(ValueError, match="unknown engine 'nmpy'; did you mean 'numpy'"):
        minidl.load_model(tmp_path / "missing", engine="nmpy")
    monkeypatch.setattr("minidl.engines._loaded", {})
    with pytest.raises(RuntimeError, match="the engine 'numba' cannot run here: it is not installed"):
        minidl.load_model(tmp_path / "model", engine="numba")


def test_engine_of_a_model_that_is_not_compiled(tmp_path):
    model = Sequential([Dense(1, input_shape=(3,))])
    model.save(tmp_path / "model")
    assert minidl.load_model(tmp_path / "model")._engine is None
    minidl.load_model(tmp_path / "model", engine="numpy").save(tmp_path / "model")
    assert minidl.load_model(tmp_path / "model").engine == "numpy"


# --- the schema of the data -------------------------------------------------------------------------------------------


SCHEMA = Schema(
    (Column("größe", mean=2.5), Column("colour", ("blue", "red"))),
    Target("kind", "binary", ("iris", "rose")),
)


def test_schema_is_kept(tmp_path):
    model = a_model()
    assert model.layers[0].inputs == len(SCHEMA.features)
    model.schema = SCHEMA
    model.save(tmp_path / "model")
    assert minidl.load_model(tmp_path / "model").schema == SCHEMA
    a_model().save(tmp_path / "without")
    assert minidl.load_model(tmp_path / "without").schema is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"columns": 3}, "no schema of a table"),
        ({"columns": []}, "has 0 features, but the model takes 3"),
        ({"columns": SCHEMA.to_dict()["columns"] * 2}, "no schema of a table"),
        ({"target": {"name": "kind", "task": "binary", "classes": "ab"}}, "'ab' is no list"),
        ({"target": {"name": "kind", "task": "regression", "classes": ["a"]}}, "a regression target with 1 classes"),
    ],
)
def test_schema_that_cannot_be_read(tmp_path, monkeypatch, change, sentence):
    model = a_model()
    model.schema = SCHEMA
    made_up = SCHEMA.to_dict() | change
    monkeypatch.setattr(Schema, "to_dict", lambda self: made_up)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=sentence):
        minidl.load_model(tmp_path / "model")


# --- weights alone ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", ["save_weights", "save"])
def test_weights_are_loaded_into_another_model(save, tmp_path):
    model, other = a_model(), a_model(SGD(0.1))
    model.fit(X, Y, epochs=2, verbose=0)
    other.seed = 4
    getattr(model, save)(tmp_path / "weights")
    view = other.layers[1].W
    other.load_weights(tmp_path / "weights")
    assert [a.tobytes() for a in other.get_weights()] == [a.tobytes() for a in model.get_weights()]
    assert other.predict(X).tobytes() == model.predict(X).tobytes()
    assert other.layers[1].W is view
    assert other.layers[0].adapted
    assert (other.optimizer.learning_rate, other.seed) == (0.1, 4)  # all else is its own


def test_weights_of_another_dtype(tmp_path):
    single, double = a_model(), a_model(dtype="float64")
    single.fit(X, Y, verbose=0)
    single.save_weights(tmp_path / "single")
    double.load_weights(tmp_path / "single")
    assert all((a == b).all() for a, b in zip(single.get_weights(), double.get_weights(), strict=True))
    before = single.get_weights()
    double.layers[-1].b[0] = 1e300
    double.save_weights(tmp_path / "double")
    with pytest.raises(ValueError, match=r"dense_3/b holds 1e\+300, too large for float32"):
        single.load_weights(tmp_path / "double")
    assert all((a == b).all() for a, b in zip(single.get_weights(), before, strict=True))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Dense(4), Dense(1)], r"it holds an array 'normalization/mean', for which the model has no place"),
        ([Normalization(), Dense(4), Dense(1), Dense(1)], r"the array 'dense_2/W' is missing"),
        ([Normalization(), Dense(4)], r"it holds an array 'dense_1/W', for which the model has no place"),
        ([Normalization(), Dense(4, use_bias=False), Dense(1)], r"it holds an array 'dense/b'"),
        ([Normalization(), Dense(5), Dense(1)], r"'dense/W' has the shape \(3, 4\), but the model needs \(3, 5\)"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(layers, message, tmp_path):
    source = Sequential([Normalization(), Dense(4), Dense(1)], seed=1)
    source(X)
    source.save_weights(tmp_path / "weights")
    model = Sequential(layers, seed=2)
    model(X)
    before = everything(model)
    with pytest.raises(ValueError, match=message) as caught:
        model.load_weights(tmp_path / "weights")
    assert str(caught.value).startswith(f"the file '{tmp_path}/weights' does not fit the model: ")
    assert everything(model) == before


def test_weights_need_a_built_model(tmp_path):
    model = Sequential([Dense(1)])
    for call in (model.save_weights, model.load_weights):
        with pytest.raises(RuntimeError, match="the model has no weights yet"):
            call(tmp_path / "weights")


def test_weights_are_no_model(tmp_path):
    a_model().save_weights(tmp_path / "weights")
    with pytest.raises(ValueError, match="holds weights and no model; make the model and call its load_weights"):
        minidl.load_model(tmp_path / "weights")


# --- any model --------------------------------------------------------------------------------------------------------

INITIALIZERS = st.sampled_from(sorted(initializers.INITIALIZERS))
rates = st.floats(0, 1, exclude_max=True)


@st.composite
def models(draw):
    def dense(units, activation):
        return Dense(
            units,
            activation,
            use_bias=draw(st.booleans()),
            kernel_initializer=draw(INITIALIZERS),
            bias_initializer=draw(INITIALIZERS),
            kernel_regularizer=draw(st.sampled_from([None, "l1", "l2", L1L2(1, np.float32(0.1))])),
            trainable=draw(st.booleans()),
        )

    layers = []
    for kind in draw(st.lists(st.sampled_from(["dense", "dropout", "normalization"]), max_size=3)):
        if kind == "dense":
            layers.append(dense(draw(st.integers(1, 4)), draw(st.sampled_from([None, *ACTIVATIONS]))))
        elif kind == "dropout":
            layers.append(Dropout(draw(rates)))
        else:
            layers.append(Normalization(trainable=draw(st.booleans())))
            if layers[:-1] == []:
                layers[0].adapt(X)
    layers.append(dense(draw(st.integers(1, 3)), draw(st.sampled_from(["sigmoid", "softmax"]))))
    model = Sequential(layers, seed=draw(st.integers(0, 2**70)))
    if draw(st.booleans()):
        optimizer = draw(
            st.one_of(
                st.builds(SGD, st.floats(0, 1), momentum=rates, nesterov=st.booleans()),
                st.builds(Adam, st.floats(0, 1), rates, rates, st.floats(0, 1)),
                st.builds(AdamW, st.floats(0, 1), st.floats(0, 1)),
            )
        )
        losses = ["mse", "mae", "binary_crossentropy", BinaryCrossentropy(from_logits=True)]
        losses += ["categorical_crossentropy", "sparse_categorical_crossentropy"] if layers[-1].units > 1 else []
        metrics = draw(st.lists(st.sampled_from(["accuracy", "acc", "auc", "mae", MeanAbsoluteError("mine")])))
        model.compile(
            optimizer, draw(st.sampled_from(losses)), metrics=metrics, engine="numpy",
            dtype=draw(st.sampled_from(["float32", "float64"])),
        )  # fmt: skip
    if draw(st.booleans()):
        model(X)
    return model


@pytest.mark.filterwarnings("ignore:.*belongs to", "ignore:.*from_logits=True")
@settings(derandomize=True, deadline=None, max_examples=150)
@given(model=models())
def test_any_model_comes_back_the_same(model, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any"
    model.save(path, include_optimizer=True)
    loaded = minidl.load_model(path)
    assert everything(loaded) == everything(model)
    assert loaded(X).tobytes() == model(X).tobytes()  # those that are not built draw their weights here
    assert everything(loaded) == everything(model)
    if model.optimizer is not None:
        y = np.zeros(len(X)) if model._loss.takes_indices else np.tile(Y[:, None], model.layers[-1].units)
        with np.errstate(all="ignore"):
            assert repr(loaded.train_on_batch(X, y)) == repr(model.train_on_batch(X, y))
        assert repr(everything(loaded)) == repr(everything(model))
