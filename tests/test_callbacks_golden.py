"""The same calls in the same order, and the same effects, as Keras 3.15's callbacks: its record in tests/golden."""

import json
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import Callback, Dense, Sequential
from minidl.callbacks.base import HOOKS

RECORD = json.loads((Path(__file__).parent / "golden" / "keras_callbacks.json").read_text())
RUNS = {run["name"]: run for run in RECORD["runs"]}
CLOSE = {"rel": 1e-5, "abs": 1e-6}  # float32 sums in another order

# --- what the record names -------------------------------------------------------------------------------------------

FUNCTIONS = {"halve": lambda epoch, rate: rate / 2, "by_epoch": lambda epoch: 2.0**-epoch}
OLD = ("on_batch_begin", "on_batch_end")


class Recorder(Callback):
    """Writes down every call."""

    def __init__(self):
        self.calls = []


class OldNames(Recorder):
    """Has the two hooks by their old names alone."""


def recording(hook):
    def record(self, *arguments):
        *number, logs = arguments
        self.calls.append([hook, number[0] if number else None, dict(logs)])

    return record


for _hook in HOOKS:
    setattr(OldNames if _hook in OLD else Recorder, _hook, recording(_hook))
for _hook in set(HOOKS) - set(OLD):
    setattr(OldNames, _hook, getattr(Callback, _hook))


def functions(hooks):
    calls = []

    def recorder(hook):
        return lambda *arguments: recording(hook)(callback, *arguments)

    callback = minidl.LambdaCallback(**{hook: recorder(hook) for hook in hooks})
    callback.calls = calls
    return callback


class Set(Callback):
    """Sets attributes of the model at one hook, at one number or any."""

    def __init__(self, hook, number=None, **values):
        def act(*arguments):
            if number in (None, arguments[0]):
                for name, value in values.items():
                    setattr(self.model.optimizer if name == "learning_rate" else self.model, name, value)

        setattr(self, hook, act)


CALLBACKS = {"Recorder": Recorder, "OldNames": OldNames, "Set": Set, "functions": functions}

# --- the replay ------------------------------------------------------------------------------------------------------


def callback_of(config, folder):
    arguments = {key: value for key, value in config.items() if key != "type"}
    for name in {"filepath", "filename", "log_dir"} & set(arguments):
        arguments[name] = str(folder / arguments[name])
    if "schedule" in arguments:
        arguments["schedule"] = FUNCTIONS[arguments["schedule"]]
    return (CALLBACKS.get(config["type"]) or getattr(minidl, config["type"]))(**arguments)


def network(engine, learning_rate):
    model = Sequential([Dense(3, "tanh", input_shape=(4,)), Dense(1, "sigmoid")], seed=0)
    model.compile(minidl.SGD(learning_rate), "binary_crossentropy", metrics=["accuracy", "mae"], engine=engine)
    model.set_weights(RECORD["initial"])
    return model


def assert_same(found, expected):
    """The same dictionaries: equal names in equal order, close values."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=CLOSE["rel"], atol=CLOSE["abs"], err_msg=name)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("name", RUNS)
def test_callbacks_follow_keras(name, engine, tmp_path, monkeypatch):
    run = RUNS[name]
    if "scalars" in run:
        pytest.importorskip("tensorboardX")
    saved = []
    for method in ("save", "save_weights"):
        monkeypatch.setattr(
            Sequential, method, lambda self, path, m=method, **_: saved.append([m, Path(path).name]), raising=False
        )
    model, callbacks = network(engine, run["learning_rate"]), [callback_of(c, tmp_path) for c in run["callbacks"]]
    options = {"batch_size": RECORD["batch_size"], "verbose": 0, "callbacks": callbacks}
    x, y = np.array(RECORD["x"]), np.array(RECORD["y"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if run["method"] == "fit":
            validation = (np.array(RECORD["x_val"]), np.array(RECORD["y_val"])) if run["validation"] else None
            history = model.fit(x, y, shuffle=False, validation_data=validation, **run["arguments"], **options)
            assert_same(history.history, run["history"])
            assert model.optimizer.learning_rate == pytest.approx(run["end_rate"])
        elif run["method"] == "evaluate":
            assert_same(model.evaluate(x, y, return_dict=True, **options), run["result"])
        else:
            np.testing.assert_allclose(model.predict(x, **options), run["result"], rtol=1e-5)
    assert any("but the logs hold" in str(warning.message) for warning in caught) == run["warned"]

    recorded = [callback.calls for callback in callbacks if hasattr(callback, "calls")]
    for found, expected in zip(recorded, run["calls"], strict=True):
        assert [call[:2] for call in found] == [call[:2] for call in expected]
        for call, like in zip(found, expected, strict=True):
            assert_same(call[2], like[2])
    assert saved == run.get("saved", [])
    for found, expected in zip(model.get_weights(), run.get("weights", []), strict=False):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    for attribute, expected in run.get("after", {}).items():
        assert getattr(callbacks[0], attribute) == (expected and pytest.approx(expected, **CLOSE)), attribute
    if "csv" in run:
        assert_csv((tmp_path / "log.csv").read_text(), run["csv"])
    if "scalars" in run:
        assert_scalars(tmp_path / "logs", run["scalars"])


def assert_csv(found, expected):
    found, expected = ([line.replace(";", ",").split(",") for line in text.splitlines()] for text in (found, expected))
    assert found[0] == expected[0]
    assert len(found) == len(expected)
    for row, like in zip(found[1:], expected[1:], strict=True):
        for field, wanted in zip(row, like, strict=True):
            assert field == wanted == "NA" or float(field) == pytest.approx(float(wanted), **CLOSE)


def assert_scalars(folder, expected):
    assert sorted(path.name for path in folder.iterdir()) == sorted(expected)
    for part, tags in expected.items():
        found = scalars_in(folder / part)
        assert sorted(found) == sorted(tags)
        for tag, points in tags.items():
            np.testing.assert_allclose(found[tag], points, rtol=1e-5, atol=1e-6, err_msg=tag)


def scalars_in(folder):
    """What the event files hold: tag -> [[step, value], ...]."""
    found = {}
    for event in events_in(folder):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, []).append([event.step, value.simple_value])
    return found


def events_in(folder):
    """The events of every file: each a length (8 bytes), its checksum (4), the event and its checksum (4)."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir()):
        content, place = path.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            yield Event.FromString(content[place + 12 : place + 12 + length])
            place += 16 + length
