"""Writes keras_callbacks.json: which hooks real Keras calls, with what, and what its callbacks do.

minidl's tests replay every run and compare; they need neither Keras nor TensorFlow.
To make it again (a minute on one CPU core):

    pip install tensorflow-cpu tensorboard "keras==3.15.*"
    python tests/golden/make_keras_callbacks_golden.py

One small network (4 inputs, 3 tanh, 1 sigmoid; binary crossentropy, accuracy and mae), always from the same
initial weights, on the same 20 rows for training and 12 for validation, rows in order, batches of 8, in float32.
"x", "y", "x_val", "y_val" and "initial" (get_weights()) are lists at the top of the file.

"runs": each has a name, the method ("fit", "evaluate", "predict") and its arguments, the learning rate of SGD,
the callbacks in their order, and what came of it:
  calls        for each callback that records, what it saw: [hook, epoch or batch or null, logs]
  history, end_rate, result   `model.history.history` and the learning rate after a fit; what the others return
  warned       whether a callback warned of a value that is not in the logs
  weights, after, saved, csv  in some runs: get_weights() at the end, attributes of the first callback, the calls of
               save and save_weights with the file's name, the file a CSVLogger wrote
  scalars      what TensorBoard wrote: part -> tag -> [[step, value], ...]
A callback is {"type": name, argument: value, ...}; FUNCTIONS names the functions among the arguments, and CALLBACKS
the classes that are not Keras's. The test has the same ones.

Numbers are short binary fractions, so that they are the same in float32 and float64.
"""
import json
import os
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

HERE = Path(__file__).resolve().parent
BATCH = 8
HOOKS = [f"on_{what}_{when}" for what in ("train", "epoch", "train_batch", "test", "test_batch", "predict",
                                          "predict_batch") for when in ("begin", "end")]

# ---- functions and callbacks that the runs name; the test has the same ----

FUNCTIONS = {
    "halve": lambda epoch, rate: rate / 2,
    "by_epoch": lambda epoch: 2.0**-epoch,
}


class Recorder(keras.callbacks.Callback):
    """Writes down every call."""

    def __init__(self):
        super().__init__()
        self.calls = []


def recording(hook):
    if "epoch" in hook or "batch" in hook:
        def record(self, number, logs=None):
            self.calls.append([hook, number, plain(logs)])
    else:
        def record(self, logs=None):
            self.calls.append([hook, None, plain(logs)])
    return record


def plain(logs):
    return {name: np.asarray(value).tolist() for name, value in logs.items()}


for hook in HOOKS:
    setattr(Recorder, hook, recording(hook))


class OldNames(Recorder):
    """Has the two hooks by their old names alone."""


for hook in HOOKS:
    setattr(OldNames, hook, getattr(keras.callbacks.Callback, hook))
for hook in ("on_batch_begin", "on_batch_end"):
    setattr(OldNames, hook, recording(hook))


def functions(hooks):
    """A LambdaCallback that writes down the calls of these hooks."""
    calls = []

    def recorder(hook):
        def record(*arguments, logs=None):
            *number, logs = arguments if logs is None else (*arguments, logs)
            calls.append([hook, number[0] if number else None, plain(logs)])
        return record

    callback = keras.callbacks.LambdaCallback(**{hook: recorder(hook) for hook in hooks})
    callback.calls = calls
    return callback


class Set(keras.callbacks.Callback):
    """Sets attributes of the model ("optimizer.learning_rate" too) at one hook, at one number or any."""

    def __init__(self, hook, number=None, **values):
        super().__init__()

        def act(*arguments, logs=None):
            if number in (None, arguments[0]):
                for name, value in values.items():
                    if name == "learning_rate":
                        self.model.optimizer.learning_rate = value
                    else:
                        setattr(self.model, name, value)
        setattr(self, hook, act)


CALLBACKS = {"Recorder": Recorder, "OldNames": OldNames, "Set": Set, "functions": functions}

# ---- the runs ----


def fit(name, callbacks, rate=0.5, epochs=3, validation=True, **more):
    return {"name": name, "method": "fit", "arguments": {"epochs": epochs}, "validation": validation,
            "learning_rate": rate, "callbacks": callbacks, **more}


def other(method, name, callbacks):
    return {"name": name, "method": method, "arguments": {}, "validation": False, "learning_rate": 0.5,
            "callbacks": callbacks}


def early(**arguments):
    return {"type": "EarlyStopping", **arguments}


def plateau(**arguments):
    return {"type": "ReduceLROnPlateau", **arguments}


def checkpoint(filepath, **arguments):
    return {"type": "ModelCheckpoint", "filepath": filepath, **arguments}


RECORDER, HALVE = {"type": "Recorder"}, {"type": "LearningRateScheduler", "schedule": "halve"}
STOPPED = ["wait", "stopped_epoch", "best_epoch", "best"]
WILD = 3.0  # a learning rate with which the validation loss goes down, up, down and up
FULL, WEIGHTS = "model-{epoch:02d}-{val_loss:.2f}.keras", "w{epoch}.weights.h5"

RUNS = [
    # The calls themselves.
    fit("fit", [RECORDER], epochs=2),
    fit("fit_without_validation", [RECORDER], epochs=2, validation=False),
    fit("fit_no_epochs", [RECORDER], epochs=0),
    fit("two_recorders", [RECORDER, HALVE, RECORDER], epochs=2),
    fit("old_names", [{"type": "OldNames"}], epochs=2),
    fit("functions", [{"type": "functions", "hooks": HOOKS[:6]}], epochs=2),
    fit("functions_by_other_names", [{"type": "functions", "hooks": ["on_batch_end", "on_test_batch_end"]}], epochs=2),
    other("evaluate", "evaluate", [RECORDER]),
    other("predict", "predict", [RECORDER]),
    # Stopping.
    fit("stop_after_batch",
        [{"type": "Set", "hook": "on_train_batch_end", "number": 1, "stop_training": True}, RECORDER]),
    fit("stop_at_begin", [{"type": "Set", "hook": "on_train_begin", "stop_training": True}, RECORDER]),
    fit("stop_at_epoch_begin",
        [{"type": "Set", "hook": "on_epoch_begin", "number": 1, "stop_training": True}], weights=True),
    fit("stop_validation",
        [{"type": "Set", "hook": "on_test_batch_end", "number": 0, "stop_evaluating": True}, RECORDER], epochs=2),
    other("evaluate", "stop_evaluating",
          [{"type": "Set", "hook": "on_test_batch_end", "number": 1, "stop_evaluating": True}, RECORDER]),
    other("predict", "stop_predicting",
          [{"type": "Set", "hook": "on_predict_batch_end", "number": 0, "stop_predicting": True}, RECORDER]),
    # Learning rates.
    fit("scheduler", [HALVE, RECORDER]),
    fit("scheduler_of_epoch", [{"type": "LearningRateScheduler", "schedule": "by_epoch"}], weights=True),
    fit("rate_within_epoch", [{"type": "Set", "hook": "on_train_batch_begin", "number": 1, "learning_rate": 2.0}],
        weights=True),
    fit("plateau", [plateau(patience=1, factor=0.25), RECORDER], WILD, 8),
    fit("plateau_cooldown", [plateau(patience=1, factor=0.5, cooldown=2, min_delta=0.0625)], WILD, 10),
    fit("plateau_min_lr", [plateau(monitor="loss", patience=2, factor=0.25, min_delta=1.0, min_lr=0.25)], WILD, 10,
        validation=False),
    fit("plateau_accuracy", [plateau(monitor="val_accuracy", patience=1, factor=0.5)], 1.0, 8),
    fit("plateau_missing", [plateau(monitor="val_loss", patience=1)], validation=False),
    fit("scheduler_and_plateau", [HALVE, plateau(patience=0, min_delta=8.0, factor=0.5), RECORDER], 2.0, 4),
    # Early stopping.
    fit("early", [early(patience=1, restore_best_weights=True), RECORDER], WILD, 10, weights=True, after=STOPPED),
    fit("early_no_patience", [early(), RECORDER], WILD, 10, after=STOPPED),
    fit("early_never_at_first", [early(min_delta=8.0)], 0.5, 5, after=STOPPED),
    fit("early_not_stopped", [early(patience=20, restore_best_weights=True)], WILD, 6, weights=True, after=STOPPED),
    fit("early_start", [early(start_from_epoch=3, restore_best_weights=True)], WILD, 10, weights=True, after=STOPPED),
    fit("early_baseline_met", [early(patience=2, baseline=0.5)], WILD, 10, after=STOPPED),
    fit("early_baseline", [early(patience=2, baseline=0.25, restore_best_weights=True)], WILD, 10, weights=True,
        after=STOPPED),
    fit("early_baseline_alone", [early(patience=2, baseline=0.125)], 0.5, 6, after=STOPPED),
    fit("early_min_delta", [early(monitor="loss", patience=2, min_delta=-0.0625)], 0.5, 10, after=STOPPED),
    fit("early_accuracy", [early(monitor="val_accuracy", patience=2, restore_best_weights=True)], 1.0, 10, weights=True,
        after=STOPPED),
    fit("early_mae", [early(monitor="val_mae", patience=2)], WILD, 10, after=STOPPED),
    fit("early_max_loss", [early(monitor="loss", mode="max")], 0.5, 10, after=STOPPED),
    fit("early_missing", [early(patience=0)], validation=False, after=STOPPED),
    # Checkpoints.
    fit("checkpoint", [checkpoint(FULL)]),
    fit("checkpoint_best", [checkpoint(FULL, save_best_only=True)], WILD, 8),
    fit("checkpoint_best_accuracy",
        [checkpoint("{epoch}-{accuracy:.3f}.keras", monitor="val_accuracy", save_best_only=True)], 1.0, 8),
    fit("checkpoint_threshold", [checkpoint(FULL, save_best_only=True, initial_value_threshold=0.6875)], 0.5, 8),
    fit("checkpoint_missing", [checkpoint("{epoch}.keras", save_best_only=True)], validation=False),
    fit("checkpoint_weights", [checkpoint(WEIGHTS, save_weights_only=True)]),
    fit("checkpoint_batches", [checkpoint("{epoch}-{batch}-{loss:.3f}.keras", save_freq=2)], epochs=5),
    fit("checkpoint_many_batches", [checkpoint("{epoch}-{batch}.keras", save_freq=4)], epochs=5),
    # Files of logs.
    fit("csv", [{"type": "CSVLogger", "filename": "log.csv"}]),
    fit("csv_without_validation", [{"type": "CSVLogger", "filename": "log.csv", "separator": ";"}], validation=False),
    fit("csv_rate", [HALVE, {"type": "CSVLogger", "filename": "log.csv"}]),
    fit("tensorboard", [{"type": "TensorBoard", "log_dir": "logs"}]),
    fit("tensorboard_batches", [{"type": "TensorBoard", "log_dir": "logs", "update_freq": "batch"}], epochs=2),
]

# ---- one run ----


def make_data():
    rng = np.random.default_rng(3)
    x, x_val = (rng.integers(-32, 33, size=(rows, 4)) / 16 for rows in (20, 12))
    flip = rng.random(32) < 0.15
    y, y_val = np.split(((np.concatenate([x, x_val]) @ [1.0, -0.5, 0.25, 0.0] > 0) ^ flip).astype(float), [20])
    initial = [rng.integers(-16, 17, size=shape) / 16 for shape in ((4, 3), (3,), (3, 1), (1,))]
    return {"x": x, "y": y, "x_val": x_val, "y_val": y_val}, initial


def make_model(initial, learning_rate):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "tanh"), keras.layers.Dense(1, "sigmoid")])
    model.set_weights(initial)
    model.compile(keras.optimizers.SGD(learning_rate), "binary_crossentropy", metrics=["accuracy", "mae"])
    return model


def make_callback(config, folder):
    arguments = {key: value for key, value in config.items() if key != "type"}
    for name in ("filepath", "filename", "log_dir"):
        if name in arguments:
            arguments[name] = os.path.join(folder, arguments[name])
    if "schedule" in arguments:
        arguments["schedule"] = FUNCTIONS[arguments["schedule"]]
    kind = CALLBACKS.get(config["type"]) or getattr(keras.callbacks, config["type"])
    return kind(**arguments)


def scalars_in(folder):
    found = {}
    for part in sorted(os.listdir(folder)):
        events = EventAccumulator(os.path.join(folder, part), size_guidance={"tensors": 0})
        events.Reload()
        found[part] = {tag: [[event.step, float(tf.make_ndarray(event.tensor_proto))] for event in events.Tensors(tag)]
                       for tag in events.Tags()["tensors"] if tag != "keras"}
    return found


def run(config, data, initial):
    model, x, y = make_model(initial, config["learning_rate"]), data["x"], data["y"]
    entry = {key: value for key, value in config.items() if key not in ("weights", "after")}
    with tempfile.TemporaryDirectory() as folder:
        callbacks = [make_callback(callback, folder) for callback in config["callbacks"]]
        saved = []
        model.save = lambda path, overwrite: saved.append(["save", os.path.basename(path)])
        model.save_weights = lambda path, overwrite: saved.append(["save_weights", os.path.basename(path)])
        options = {"batch_size": BATCH, "verbose": 0, "callbacks": callbacks}
        if config["method"] == "fit":
            validation = (data["x_val"], data["y_val"]) if config["validation"] else None
            model.fit(x, y, shuffle=False, validation_data=validation, **config["arguments"], **options)
            entry["history"] = model.history.history
            entry["end_rate"] = float(model.optimizer.learning_rate)
        elif config["method"] == "evaluate":
            entry["result"] = model.evaluate(x, y, return_dict=True, **options)
        else:
            entry["result"] = model.predict(x, **options).tolist()
        entry["calls"] = [callback.calls for callback in callbacks if hasattr(callback, "calls")]
        if saved:
            entry["saved"] = saved
        if config.get("weights"):
            entry["weights"] = [w.tolist() for w in model.get_weights()]
        if config.get("after"):
            entry["after"] = {name: getattr(callbacks[0], name) for name in config["after"]}
        if os.path.exists(log := os.path.join(folder, "log.csv")):
            entry["csv"] = Path(log).read_text()
        if os.path.exists(logs := os.path.join(folder, "logs")):
            entry["scalars"] = scalars_in(logs)
    return entry


def to_json(result):
    """Readable json: one key per line in a run, one call per line."""
    def block(entry):
        lines = []
        for key, value in entry.items():
            if key == "calls":
                lists = ["[\n     " + ",\n     ".join(map(json.dumps, calls)) + "\n    ]" for calls in value]
                lines.append(f'"calls": [{", ".join(lists)}]')
            else:
                lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
        return "{" + ",\n   ".join(lines) + "}"
    parts = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in result.items() if k != "runs"]
    parts.append('"runs": [\n  ' + ",\n  ".join(map(block, result["runs"])) + "\n ]")
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def main():
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    data, initial = make_data()
    result = {"versions": {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__},
              "batch_size": BATCH, **{name: array.tolist() for name, array in data.items()},
              "initial": [array.tolist() for array in initial], "runs": []}
    for config in RUNS:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            entry = run(config, data, initial)
        entry["warned"] = any("available" in str(warning.message) for warning in caught)
        result["runs"].append(entry)
        print(entry["name"], entry.get("after", ""), entry.get("saved", ""), entry["warned"] or "", flush=True)
    (HERE / "keras_callbacks.json").write_text(to_json(result))


if __name__ == "__main__":
    main()
