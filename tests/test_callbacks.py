"""The callbacks beyond Keras's record: what batches cost, files, bad input, and properties that hold for any losses."""

import itertools
import math
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_callbacks_golden import events_in, scalars_in

import minidl
from minidl import (
    SGD,
    Callback,
    CSVLogger,
    Dense,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    Sequential,
    TensorBoard,
    get_engine,
)
from minidl.callbacks import CallbackList
from minidl.engines.numpy_engine.train import Trainer

engines = pytest.mark.parametrize("engine", ["numpy", "numba"])
RNG = np.random.default_rng(5)
X = RNG.normal(size=(20, 3)).astype(np.float32)
Y = (X @ RNG.normal(size=3) > 0).astype(np.float32)
NOTHING = {"verbose": 0, "batch_size": 8, "shuffle": False}
properties = settings(derandomize=True, deadline=None, max_examples=60)


def network(engine="numpy", rate=0.5):
    model = Sequential([Dense(4, "tanh", input_shape=(3,)), Dense(1, "sigmoid")], seed=2)
    model.compile(SGD(rate), "binary_crossentropy", metrics=["accuracy"], engine=engine)
    return model


def test_a_callback_that_only_sees_batches_begin_sees_each():
    began = []
    network().fit(X, Y, callbacks=[LambdaCallback(on_train_batch_begin=lambda batch, logs: began.append(batch))],
                  **NOTHING)  # fmt: skip
    assert began == [0, 1, 2]


def fail(*arguments):
    raise ZeroDivisionError("on purpose")


class Fail(Callback):
    """Ends the training with an error at the end of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs):
        if epoch == self.epoch:
            fail()


# --- what batches cost -----------------------------------------------------------------------------------------------


class Stops(EarlyStopping):
    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)


class Saves(ModelCheckpoint):
    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)


QUIET = {"train": False, "test": False, "predict": False}
WATCHING = [
    (Callback(), QUIET),
    (History(), QUIET),
    (EarlyStopping(), QUIET),
    (ReduceLROnPlateau(), QUIET),
    (LearningRateScheduler(lambda epoch: 0.1), QUIET),
    (CSVLogger("log.csv"), QUIET),
    (ModelCheckpoint("model"), QUIET),
    (ModelCheckpoint("model", save_freq=10), QUIET | {"train": True}),
    (Saves("model"), QUIET | {"train": True}),
    (Stops(), QUIET | {"train": True}),
    (LambdaCallback(on_epoch_end=fail, on_predict_end=fail), QUIET),
    (LambdaCallback(on_train_batch_begin=fail), QUIET | {"train": True}),
    (LambdaCallback(on_batch_end=fail), QUIET | {"train": True}),
    (LambdaCallback(on_test_batch_begin=fail), QUIET | {"test": True}),
    (LambdaCallback(on_predict_batch_end=fail), QUIET | {"predict": True}),
]


@pytest.mark.parametrize(("callback", "expected"), WATCHING, ids=lambda value: type(value).__name__)
def test_only_an_overridden_hook_watches_batches(callback, expected):
    assert CallbackList([Callback(), callback], network(), {}).every_batch == expected


def test_tensorboard_watches_batches_only_where_it_writes_them():
    pytest.importorskip("tensorboardX")
    assert CallbackList([TensorBoard()], network(), {}).every_batch == QUIET
    assert CallbackList([TensorBoard(update_freq=5)], network(), {}).every_batch == QUIET | {"train": True}


@pytest.mark.parametrize(("hook", "runs", "evaluations"), [("on_epoch_end", 1, 1), ("on_train_batch_end", 3, 1),
                                                           ("on_test_batch_end", 1, 2)])  # fmt: skip
def test_the_engine_is_called_batch_by_batch_only_where_batches_are_watched(hook, runs, evaluations, monkeypatch):
    engine, called = get_engine("numpy"), {"run": 0, "evaluate": 0}

    def counting(name, function):
        def count(*arguments):
            called[name] += 1
            return function(*arguments)

        return count

    monkeypatch.setattr(Trainer, "run", counting("run", Trainer.run))
    monkeypatch.setattr(engine, "evaluate", counting("evaluate", engine.evaluate))
    watching = LambdaCallback(**{hook: lambda number, logs: None})
    network().fit(X, Y, validation_data=(X[:16], Y[:16]), callbacks=watching, **NOTHING)
    assert called == {"run": runs, "evaluate": evaluations}


@engines
def test_watched_or_not_evaluate_and_predict_give_the_same(engine):
    model, seen = network(engine), []
    watching = LambdaCallback(
        on_test_batch_end=lambda batch, logs: seen.append(batch),
        on_predict_batch_end=lambda batch, logs: seen.append(logs["outputs"].shape),
    )
    assert model.evaluate(X, Y, batch_size=8, callbacks=watching, verbose=0) == pytest.approx(
        model.evaluate(X, Y, verbose=0), rel=1e-6
    )
    np.testing.assert_allclose(model.predict(X, 8, 0, callbacks=[watching]), model.predict(X, verbose=0), rtol=1e-6)
    assert seen == [0, 1, 2, (8, 1), (8, 1), (4, 1)]
    model.predict(X, callbacks=watching, verbose=0)
    assert seen[6:] == [(20, 1)]  # a batch is 32 rows where nothing else is said


def test_evaluate_and_predict_take_nothing_but_callbacks():
    for use in (lambda: network().predict(X, callbacks=[print]), lambda: network().evaluate(X, Y, callbacks=[print])):
        with pytest.raises(TypeError, match=r"minidl\.Callback"):
            use()


# --- what a training hands on ----------------------------------------------------------------------------------------


def test_a_given_history_is_the_one_returned_and_sees_what_is_before_it():
    own = History()
    schedule = LearningRateScheduler(lambda epoch, rate: rate)
    model = network()
    assert model.fit(X, Y, callbacks=[own, schedule], **NOTHING) is own is model.history
    assert list(own.history) == ["accuracy", "loss"]
    assert list(model.fit(X, Y, callbacks=[schedule], **NOTHING).history) == ["accuracy", "loss", "learning_rate"]


@engines
def test_restored_weights_outlive_the_trainer(engine, monkeypatch):
    class Far(get_engine(engine).trainer):
        """Keeps the parameters elsewhere, as on a GPU, so that pulling them overwrites those of the model."""

        def run(self, orders, start, stop):
            sums = super().run(orders, start, stop)
            self.kept = self.program.parameters.copy()
            return sums

        def pull(self):
            self.program.parameters[:] = self.kept

    monkeypatch.setattr(get_engine(engine), "trainer", Far)
    model = network(engine, 40.0)
    best = EarlyStopping(patience=10, restore_best_weights=True)
    history = model.fit(X, Y, epochs=6, validation_data=(X, Y), callbacks=best, **NOTHING).history["val_loss"]
    assert history[-1] > min(history)
    assert model.evaluate(X, Y, verbose=0)[0] == min(history)


def test_files_are_let_go_of_however_the_training_ends():
    class Holds(Callback):
        held = True

        def _release(self):
            self.held = False

    class FailsToo(Holds):
        def _release(self):
            super()._release()
            raise OSError("no space left")

    holders = [Holds(), FailsToo(), Holds()]
    with pytest.raises(OSError, match="no space left"):
        network().fit(X, Y, callbacks=[*holders, Fail(0)], **NOTHING)
    assert not any(holder.held for holder in holders)
    last = Holds()
    with pytest.raises(KeyboardInterrupt):
        network().fit(X, Y, callbacks=[last, LambdaCallback(on_epoch_end=interrupt)], **NOTHING)
    assert not last.held


def interrupt(*arguments):
    raise KeyboardInterrupt


# --- early stopping and learning rates -------------------------------------------------------------------------------


class Stub(SimpleNamespace):
    """As much of a model as a callback sees."""

    def __init__(self):
        super().__init__(stop_training=False, metrics=[], optimizer=SGD(1.0), weights=None)

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights


def replay(callback, losses):
    """The model after these losses, of which each epoch's weights are its number."""
    model = Stub()
    callback.set_model(model)
    callback.on_train_begin({})
    for epoch, loss in enumerate(losses):
        callback.on_epoch_begin(epoch, {})
        model.weights = epoch
        callback.on_epoch_end(epoch, {"loss": loss})
        if model.stop_training:
            break
    callback.on_train_end({})
    return model, epoch


LOSSES = st.lists(st.integers(0, 8).map(float), min_size=1, max_size=20)


@properties
@given(LOSSES, st.integers(0, 4), st.integers(0, 3))
def test_early_stopping_stops_where_patience_ends_and_leaves_the_best(losses, patience, start):
    model, last = replay(EarlyStopping("loss", 0, patience, restore_best_weights=True, start_from_epoch=start), losses)
    seen = losses[start : last + 1]
    if not seen:
        assert model.weights == last
        return
    best = start + seen.index(min(seen))  # the first of the best
    assert model.weights == best
    assert model.stop_training == (last - best >= max(patience, 1))
    assert model.stop_training or last == len(losses) - 1


@properties
@given(LOSSES, st.integers(1, 3), st.integers(0, 3), st.sampled_from([0.0, 0.125, 0.5, 2.0]))
def test_the_plateau_waits_for_patience_and_cooldown_and_keeps_its_bound(losses, patience, cooldown, least):
    callback, rates = ReduceLROnPlateau("loss", 0.25, patience, cooldown=cooldown, min_lr=least), []
    callback.on_epoch_begin = lambda epoch, logs: rates.append(callback.model.optimizer.learning_rate)
    model, _ = replay(callback, losses)
    rates.append(model.optimizer.learning_rate)
    changes = [epoch for epoch in range(len(losses)) if rates[epoch + 1] != rates[epoch]]
    assert all(rates[epoch + 1] == max(rates[epoch] / 4, least) for epoch in changes)
    assert rates == sorted(rates, reverse=True)  # a bound above the rate does not raise it
    assert all(epoch >= patience for epoch in changes)
    # The last epoch of a cooldown counts again, as in Keras.
    assert all(b - a >= patience + max(cooldown - 1, 0) for a, b in itertools.pairwise(changes))
    assert all(losses[epoch] >= min(losses[:epoch]) for epoch in changes)


@pytest.mark.parametrize(("monitor", "values", "better"), [("val_accuracy", (0.5, 0.6), True),
                                                           ("auc", (0.5, 0.6), True), ("mae", (0.5, 0.6), False),
                                                           ("val_loss", (0.5, 0.6), False)])  # fmt: skip
def test_auto_knows_each_metric_by_its_name(monitor, values, better):
    model = Sequential([Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy", "auc", "mae"])
    callback = EarlyStopping(monitor)
    callback.set_model(model)
    assert callback.improves(values[1], values[0]) is better
    assert callback.improves(values[0], values[1]) is not better
    assert not callback.improves(values[0], values[0])


@pytest.mark.parametrize("callback", [EarlyStopping, ReduceLROnPlateau,
                                      lambda name: ModelCheckpoint("model", name, save_best_only=True)])  # fmt: skip
def test_a_metric_that_auto_does_not_know_is_told_before_the_training(callback):
    model = network()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"'val_acc'.*\(loss, accuracy\).*mode='max'"):
        model.fit(X, Y, callbacks=callback("val_acc"), **NOTHING)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


@pytest.mark.parametrize(("callback", "consequence"), [(EarlyStopping(), "will not stop"),
                                                       (ReduceLROnPlateau(), "learning rate stays")])  # fmt: skip
def test_a_missing_value_is_warned_of_and_no_more(callback, consequence):
    message = f"'val_loss', but the logs hold accuracy, loss.*{consequence}.*validation data"
    with pytest.warns(UserWarning, match=message):
        assert network().fit(X, Y, epochs=3, callbacks=callback, **NOTHING).epoch == [0, 1, 2]


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(("losses", "last", "best", "kept"), [
    ([NAN, NAN, NAN, NAN], 1, None, 1),  # never in the first epoch; no weights are the best, so the last stay
    ([INF, NAN, NAN, NAN], 1, None, 1),
    ([NAN, 3.0, 2.0, NAN, NAN], 4, 2.0, 2),
    ([3.0, NAN, NAN, NAN], 2, 3.0, 0),
])  # fmt: skip
def test_a_loss_that_is_not_finite_is_never_the_best(losses, last, best, kept):
    callback = EarlyStopping("loss", patience=2, restore_best_weights=True)
    model, stopped = replay(callback, losses)
    assert (stopped, callback.best, model.weights) == (last, best, kept)
    assert model.stop_training


def test_nan_is_no_better_than_a_bound_or_nothing():
    callback = EarlyStopping("loss")
    for mode in ("min", "max"):
        callback.mode = mode
        assert not any(callback.improves(value, old) for value in (NAN, INF, -INF) for old in (None, NAN, 1.0))
        assert callback.improves(1.0, NAN)
        assert callback.improves(1.0, None)


def test_nan_reduces_the_learning_rate_and_the_next_number_is_the_best():
    callback = ReduceLROnPlateau("loss", 0.5, patience=2)
    model, _ = replay(callback, [NAN, NAN, 2.0])
    assert (model.optimizer.learning_rate, callback.best) == (0.5, 2.0)


def test_a_diverged_model_is_never_saved_as_the_best(saves, tmp_path, capsys):
    callback = ModelCheckpoint(tmp_path / "best", "loss", save_best_only=True, verbose=1)
    callback.set_model(network())
    for epoch, loss in enumerate([NAN, 2.0, NAN, 1.0]):
        callback.on_epoch_end(epoch, {"loss": loss})
    assert len(saves) == 2
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "epoch 1: loss is nan; not saved"
    assert said[2] == "epoch 3: loss is nan, not better than 2.00000; not saved"


def test_what_a_callback_puts_into_the_logs_is_printed(capsys):
    noting = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(time="12:00", note=None))
    network().fit(X, Y, callbacks=[noting], **NOTHING | {"verbose": 2})
    assert capsys.readouterr().out.endswith("  time 12:00  note None\n")


def test_one_early_stopping_serves_several_trainings():
    callback = EarlyStopping("loss", patience=1)
    replay(callback, [1.0, 2.0, 3.0])
    model, last = replay(callback, [9.0, 8.0, 7.0])  # worse than the best of the first, and getting better
    assert (model.stop_training, last, callback.best, callback.stopped_epoch) == (False, 2, 7.0, 0)


@pytest.mark.parametrize("bad", [1, None, "0.1", [0.1]])
def test_a_schedule_must_return_a_float(bad):
    with pytest.raises(ValueError, match=r"what schedule returns for epoch 0 must be a float, not"):
        network().fit(X, Y, callbacks=LearningRateScheduler(lambda epoch, rate: bad), **NOTHING)


@pytest.mark.parametrize("bad", [-0.5, math.nan, math.inf])
def test_a_scheduled_rate_must_be_a_rate(bad):
    with pytest.raises(ValueError, match="what schedule returns for epoch 0 must be a finite number at least 0"):
        network().fit(X, Y, callbacks=LearningRateScheduler(lambda epoch: bad), **NOTHING)


def test_an_error_within_a_schedule_is_its_own():
    def schedule(epoch, rate):
        return rate + "1"

    with pytest.raises(TypeError, match="unsupported operand"):
        network().fit(X, Y, callbacks=LearningRateScheduler(schedule), **NOTHING)


def test_a_numpy_rate_and_a_schedule_with_a_default_are_fine():
    def schedule(epoch, rate=None):
        assert rate is not None
        return np.float32(0.125)

    model = network()
    assert model.fit(X, Y, callbacks=LearningRateScheduler(schedule), **NOTHING).history["learning_rate"] == [0.125]
    assert model.optimizer.learning_rate == 0.125


def test_what_they_do_is_printed_where_asked_for(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(Sequential, "save", lambda self, path, **_: None, raising=False)
    path = str(tmp_path / "model")
    network().fit(
        X, Y, epochs=3, validation_data=(X, Y), **NOTHING,
        callbacks=[
            LearningRateScheduler(lambda epoch, rate: rate, verbose=1),
            ReduceLROnPlateau(patience=1, min_delta=9.0, factor=0.5, verbose=1),
            EarlyStopping(min_delta=9.0, verbose=1, restore_best_weights=True),
            ModelCheckpoint(path, save_best_only=True, verbose=1, initial_value_threshold=0.0),
        ],
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "val_loss" not in line] == [
        "epoch 1: learning rate 0.5",
        "epoch 2: learning rate 0.5",
        "epoch 2: learning rate reduced to 0.25",
        "epoch 2: stopped early",
        "the weights of epoch 1, the best, are put back",
    ]
    saved = [line for line in lines if "val_loss" in line]
    assert len(saved) == 2
    assert all(line.endswith(", not better than 0.00000; not saved") for line in saved)


# --- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.fixture
def saves(monkeypatch):
    """What is saved: the method, the path, the options and the weights at that time."""
    saved = []

    def recorder(method):
        return lambda model, path, **options: saved.append((method, path, options, model.get_weights()))

    for method in ("save", "save_weights"):
        monkeypatch.setattr(Sequential, method, recorder(method), raising=False)
    return saved


@engines
def test_a_checkpoint_has_the_weights_of_its_epoch(engine, saves, tmp_path):
    model = network(engine)
    model.fit(X, Y, epochs=3, callbacks=ModelCheckpoint(tmp_path / "{epoch}.safetensors"), **NOTHING)
    assert [Path(path).name for _, path, _, _ in saves] == ["1.safetensors", "2.safetensors", "3.safetensors"]
    assert all((method, options) == ("save", {"include_optimizer": True}) for method, _, options, _ in saves)
    twin = network(engine)
    for _, _, _, weights in saves:
        twin.fit(X, Y, **NOTHING)
        assert all(np.array_equal(a, b) for a, b in zip(weights, twin.get_weights(), strict=True))


@engines
def test_a_checkpoint_within_an_epoch_has_the_weights_of_its_batch(engine, saves, tmp_path):
    network(engine).fit(
        X, Y, callbacks=ModelCheckpoint(tmp_path / "{batch}", save_freq=2, save_weights_only=True), **NOTHING
    )
    twin = network(engine)
    twin.fit(X[:16], Y[:16], **NOTHING)  # the first two batches
    ((method, path, options, weights),) = saves
    assert (method, Path(path).name, options) == ("save_weights", "2", {})
    assert all(np.array_equal(a, b) for a, b in zip(weights, twin.get_weights(), strict=True))


def test_best_is_kept_from_one_training_to_the_next(saves, tmp_path):
    callback, model = ModelCheckpoint(tmp_path / "best", "loss", save_best_only=True), network()
    model.fit(X, Y, callbacks=callback, **NOTHING)
    callback.best = 0.0
    model.fit(X, Y, callbacks=callback, **NOTHING)
    assert len(saves) == 1


def test_a_best_batch_of_the_first_epoch_is_compared_too(saves, tmp_path):
    callback = ModelCheckpoint(tmp_path / "best", "loss", save_best_only=True, save_freq=1)
    seen = LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    losses = []
    network().fit(X, Y, callbacks=[callback, seen], **NOTHING)
    assert callback.best == min(losses)
    assert len(saves) == sum(loss < min(losses[:batch], default=math.inf) for batch, loss in enumerate(losses))


@pytest.mark.parametrize(("path", "error"), [("missing/model", FileNotFoundError), ("there", IsADirectoryError),
                                             ("file/model", FileNotFoundError),
                                             ("missing/{epoch}/model", FileNotFoundError)])  # fmt: skip
def test_a_place_that_cannot_be_written_is_told_before_the_training(path, error, saves, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("")
    reached = LambdaCallback(on_epoch_begin=fail)
    with pytest.raises(error, match=r"ModelCheckpoint cannot write"):
        network().fit(X, Y, callbacks=[ModelCheckpoint(tmp_path / path), reached], **NOTHING)
    assert sorted(os.listdir(tmp_path)) == ["file", "there"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told_before_the_training(saves, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="ModelCheckpoint cannot write"):
        network().fit(X, Y, callbacks=ModelCheckpoint(tmp_path / "model"), **NOTHING)
    tmp_path.chmod(0o700)


def test_a_folder_named_by_the_epoch_is_made(saves, tmp_path):
    network().fit(X, Y, epochs=2, callbacks=ModelCheckpoint(tmp_path / "{epoch}" / "model"), **NOTHING)
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


def test_a_name_that_the_logs_lack_is_named(saves, tmp_path):
    with pytest.raises(ValueError, match=r"\{val_loss\}, but there are only accuracy, epoch, loss"):
        network().fit(X, Y, callbacks=ModelCheckpoint(tmp_path / "{val_loss:.2f}"), **NOTHING)


@pytest.mark.parametrize("path", ["{", "}", "{}", "{0}", "{epoch", "{loss:d}", "{epoch.real}", "{loss!x}", "{loss[0]}",
                                  "{batch}"])  # fmt: skip
def test_a_path_that_cannot_be_filled_in_is_refused(path):
    with pytest.raises(ValueError, match="path"):
        ModelCheckpoint(path)


# --- CSV -------------------------------------------------------------------------------------------------------------


def rows_of(path, separator=","):
    return [line.split(separator) for line in path.read_text().splitlines()]


def test_an_error_leaves_the_finished_rows_and_no_open_file(tmp_path):
    logger, path = CSVLogger(tmp_path / "log.csv"), tmp_path / "log.csv"
    with pytest.raises(ZeroDivisionError):
        network().fit(X, Y, epochs=5, callbacks=[logger, Fail(2)], **NOTHING)
    assert logger.csv_file is None
    assert [row[0] for row in rows_of(path)] == ["epoch", "0", "1", "2"]


def test_a_row_can_be_read_while_the_training_goes_on(tmp_path):
    path, seen = tmp_path / "log.csv", []
    watch = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(rows_of(path)[-1][:3]))
    history = network().fit(X, Y, epochs=2, callbacks=[CSVLogger(path), watch], **NOTHING).history
    assert seen == [[str(e), str(history["accuracy"][e]), str(history["loss"][e])] for e in (0, 1)]


def test_appending_goes_on_below_and_writing_anew_does_not(tmp_path):
    path, model = tmp_path / "log.csv", network()
    model.fit(X, Y, epochs=2, callbacks=CSVLogger(path, ";", append=True), **NOTHING)  # no file yet
    first = path.read_text()
    model.fit(X, Y, epochs=1, validation_data=(X, Y), callbacks=CSVLogger(path, ";", append=True), **NOTHING)
    assert path.read_text().startswith(first)
    assert [row[0] for row in rows_of(path, ";")] == ["epoch", "0", "1", "0"]
    assert rows_of(path, ";")[1][3:] == ["NA", "NA"]  # no validation in the first, in the columns kept for it
    assert "NA" not in rows_of(path, ";")[3]
    model.fit(X, Y, epochs=1, callbacks=CSVLogger(path), **NOTHING)
    assert [row[0] for row in rows_of(path)] == ["epoch", "0"]


def test_an_empty_file_to_append_to_gets_its_header(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("")
    network().fit(X, Y, callbacks=CSVLogger(path, append=True), **NOTHING)
    assert rows_of(path)[0] == ["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"epoch;loss\n", b"\xff\xfe\x00", b"\n"])
def test_appending_to_another_file_is_refused_before_the_training(content, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="does not begin with the column 'epoch' and the separator ','"):
        network().fit(X, Y, callbacks=[CSVLogger(path, append=True), LambdaCallback(on_epoch_begin=fail)], **NOTHING)
    assert path.read_bytes() == content


def test_appending_what_has_no_column_is_refused(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n0,1.0\n")
    with pytest.raises(ValueError, match=r"log\.csv' has no column for accuracy"):
        network().fit(X, Y, callbacks=CSVLogger(path, append=True), **NOTHING)
    assert path.read_text() == "epoch,loss\n0,1.0\n"


def test_a_csv_that_cannot_be_written_is_told_before_the_training(tmp_path):
    for path, error in ((tmp_path / "missing" / "log.csv", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error, match="CSVLogger cannot write"):
            network().fit(X, Y, callbacks=[CSVLogger(path), LambdaCallback(on_epoch_begin=fail)], **NOTHING)


# --- TensorBoard -----------------------------------------------------------------------------------------------------


@pytest.fixture
def board(tmp_path):
    pytest.importorskip("tensorboardX")
    return tmp_path / "logs"


def test_every_second_batch_and_the_speed(board):
    network().fit(X, Y, epochs=2, callbacks=TensorBoard(board, update_freq=2, write_steps_per_second=True), **NOTHING)
    found = scalars_in(board / "train")
    names = {"accuracy", "loss", "steps_per_second"}
    assert set(found) == {f"{when}_{name}" for when in ("batch", "epoch") for name in names} | {"epoch_learning_rate"}
    assert [step for step, _ in found["batch_loss"]] == [2, 4, 6]  # counted through both epochs
    assert [step for step, _ in found["epoch_loss"]] == [0, 1]
    assert all(speed > 0 for _, speed in found["epoch_steps_per_second"] + found["batch_steps_per_second"])
    assert not (board / "validation").exists()


def test_histograms_of_all_weights(board):
    model = Sequential([minidl.Normalization(input_shape=(3,)), Dense(4, use_bias=False), Dense(1, "sigmoid")], seed=1)
    model.compile("sgd", "binary_crossentropy")
    model.fit(X, Y, epochs=5, callbacks=TensorBoard(board, histogram_freq=2), **NOTHING)
    found = [
        (event.step, value.tag, value.histo)
        for event in events_in(board / "train")
        for value in event.summary.value
        if value.WhichOneof("value") == "histo"
    ]
    sizes = {"normalization/mean": 3, "normalization/variance": 3, "dense/W": 12, "dense_1/W": 4, "dense_1/b": 1}
    assert [(step, tag, histogram.num) for step, tag, histogram in found] == [
        (epoch, f"{name}/histogram", size) for epoch in (0, 2, 4) for name, size in sizes.items()
    ]
    last = {tag: histogram for _, tag, histogram in found}
    assert last["dense_1/W/histogram"].min == pytest.approx(model.layers[2].W.min())
    assert last["dense_1/W/histogram"].sum == pytest.approx(model.layers[2].W.sum())


def test_a_second_training_does_not_write_over_the_first(board):
    model, callback = network(), TensorBoard(board)
    for _ in range(3):  # within one second, by which tensorboardX names its files
        model.fit(X, Y, callbacks=callback, **NOTHING)
    assert len(scalars_in(board / "train")["epoch_loss"]) == 3


def test_an_error_leaves_the_finished_epochs_in_the_board(board):
    with pytest.raises(ZeroDivisionError):
        network().fit(X, Y, epochs=5, callbacks=[TensorBoard(board), Fail(2)], **NOTHING)
    assert [step for step, _ in scalars_in(board / "train")["epoch_loss"]] == [0, 1, 2]


def test_an_evaluation_is_written_by_the_steps_of_the_optimizer(board):
    model = network()
    model.fit(X, Y, epochs=2, **NOTHING)
    loss, accuracy = model.evaluate(X, Y, callbacks=TensorBoard(board), verbose=0)
    found = scalars_in(board / "validation")
    assert found["evaluation_loss_vs_iterations"] == [[6, pytest.approx(loss)]]
    assert found["evaluation_accuracy_vs_iterations"] == [[6, pytest.approx(accuracy)]]


def test_diverged_weights_do_not_end_the_training(board):
    model = network()
    model.layers[0].W[0, 0] = np.nan
    with pytest.warns(RuntimeWarning, match="diverged"):
        model.fit(X, Y, callbacks=TensorBoard(board, histogram_freq=1), **NOTHING)


def test_a_board_that_cannot_be_written_is_told_before_the_training(board):
    board.write_text("a file")
    with pytest.raises(OSError, match="TensorBoard cannot write into"):
        network().fit(X, Y, callbacks=[TensorBoard(board), LambdaCallback(on_epoch_begin=fail)], **NOTHING)


@pytest.mark.parametrize("argument", [{"write_graph": True}, {"write_images": True}, {"profile_batch": (2, 4)},
                                      {"profile_batch": 2}, {"embeddings_freq": 1},
                                      {"embeddings_metadata": "names.tsv"}])  # fmt: skip
def test_what_tensorboard_cannot_do_is_refused(argument):
    (name,) = argument
    with pytest.raises(ValueError, match=f"TensorBoard cannot do {name}=.*: minidl "):
        TensorBoard(**argument)


def test_without_tensorboardx_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r'tensorboardX; install it with: pip install "minidl\[tensorboard\]"'):
        TensorBoard()


# --- bad arguments ---------------------------------------------------------------------------------------------------

BAD = [
    (EarlyStopping, {"monitor": 3}, TypeError, "monitor"),
    (EarlyStopping, {"mode": "mim"}, ValueError, "did you mean 'min'"),
    (EarlyStopping, {"min_delta": math.nan}, ValueError, "min_delta must be a finite number, not nan"),
    (EarlyStopping, {"patience": -1}, ValueError, "patience"),
    (EarlyStopping, {"patience": 2.5}, TypeError, "patience"),
    (EarlyStopping, {"baseline": "low"}, TypeError, "baseline"),
    (EarlyStopping, {"restore_best_weights": "yes"}, TypeError, "restore_best_weights"),
    (EarlyStopping, {"start_from_epoch": -1}, ValueError, "start_from_epoch"),
    (ReduceLROnPlateau, {"factor": 1.0}, ValueError, r"factor must be a finite number in \[0, 1\)"),
    (ReduceLROnPlateau, {"factor": -0.5}, ValueError, "factor"),
    (ReduceLROnPlateau, {"cooldown": -1}, ValueError, "cooldown"),
    (ReduceLROnPlateau, {"min_lr": -1.0}, ValueError, "min_lr"),
    (ReduceLROnPlateau, {"patience": None}, TypeError, "patience"),
    (LearningRateScheduler, {"schedule": 0.1}, TypeError, "schedule must be a function"),
    (ModelCheckpoint, {"filepath": None}, TypeError, "filepath must be a path"),
    (ModelCheckpoint, {"filepath": "m-{epoch}.onnx"}, ValueError, "by the model's export"),
    (ModelCheckpoint, {"filepath": "m", "save_freq": "batch"}, TypeError, "save_freq"),
    (ModelCheckpoint, {"filepath": "m", "save_freq": 0}, ValueError, "save_freq"),
    (ModelCheckpoint, {"filepath": "m", "save_best_only": 1}, TypeError, "save_best_only"),
    (ModelCheckpoint, {"filepath": "m", "initial_value_threshold": math.inf}, ValueError, "initial_value_threshold"),
    (CSVLogger, {"filename": 3}, TypeError, "filename must be a path"),
    (CSVLogger, {"filename": "log.csv", "separator": ", "}, ValueError, "separator"),
    (CSVLogger, {"filename": "log.csv", "append": "yes"}, TypeError, "append"),
    (LambdaCallback, {"on_epoch": print}, TypeError, "no hook 'on_epoch'; did you mean 'on_epoch_"),
    (LambdaCallback, {"on_epoch_end": 3}, TypeError, "on_epoch_end must be a function"),
    (TensorBoard, {"log_dir": 3}, TypeError, "log_dir must be a path"),
    (TensorBoard, {"histogram_freq": -1}, ValueError, "histogram_freq"),
    (TensorBoard, {"update_freq": "epochs"}, TypeError, "update_freq"),
    (TensorBoard, {"update_freq": 0}, ValueError, "update_freq"),
]


@pytest.mark.parametrize(("kind", "arguments", "error", "message"), BAD)
def test_bad_arguments_are_named(kind, arguments, error, message):
    with pytest.raises(error, match=message):
        kind(**arguments)


def test_all_have_their_public_names():
    for name in ("Callback", "CSVLogger", "EarlyStopping", "History", "LambdaCallback", "LearningRateScheduler",
                 "ModelCheckpoint", "ReduceLROnPlateau", "TensorBoard"):  # fmt: skip
        assert getattr(minidl, name) is getattr(minidl.callbacks, name)
        assert name in dir(minidl)
