"""``minidl train``, ``evaluate``, ``predict``, ``export``, ``info``: from a CSV to predictions without any Python."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import minidl
from minidl.cli import main


def run(*arguments):
    """The exit code, whether it is returned or raised."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as error:
        return error.code


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with a table of flowers of three kinds."""
    monkeypatch.chdir(tmp_path)
    flowers(tmp_path / "flowers.csv", 90, 0)
    return tmp_path


def flowers(path, rows, seed):
    rng = np.random.default_rng(seed)
    kind = rng.integers(3, size=rows)
    table = pd.DataFrame({
        "length": kind * 2 + rng.normal(0, 0.3, rows),
        "colour": np.array(["white", "blue", "red"])[rng.integers(3, size=rows)],
        "species": np.array(["iris", "lily", "rose"])[kind],
        "width": rng.normal(3, 1, rows),
    })  # fmt: skip
    table.to_csv(path, index=False)
    return table


TRAIN = ("train", "flowers.csv", "--target", "species", "--out", "m.safetensors", "--categorical", "onehot")
SHORT = ("--hidden", "16", "--epochs", "30", "--batch-size", "8", "--learning-rate", "0.01")


def read(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_from_csv_to_predictions(folder, capsys):
    assert run(*TRAIN, *SHORT) == 0
    said = capsys.readouterr().out
    assert "90 rows of 5 features; target 'species', 3 classes: iris (" in said
    assert "training a network 5-16-3 on 72 rows, 18 held out, engine numba" in said
    assert "always saying the commonest class: 0." in said
    new = flowers(folder / "new.csv", 50, 1)
    assert run("evaluate", "m.safetensors", "new.csv") == 0
    found = dict(line.split(" ") for line in capsys.readouterr().out.splitlines()[1:])
    assert list(found) == ["loss", "accuracy"]
    assert float(found["accuracy"]) > 0.9
    new[["width", "colour", "length"]].to_csv("unlabelled.csv", index=False)  # another order, and no target
    assert run("predict", "m.safetensors", "unlabelled.csv", "--out", "predictions.csv") == 0
    rows = read("predictions.csv")
    assert rows[0] == ["predicted_species", "probability_iris", "probability_lily", "probability_rose"]
    assert len(rows) == 51
    right = np.mean([row[0] == label for row, label in zip(rows[1:], new["species"], strict=True)])
    assert right == pytest.approx(float(found["accuracy"]))
    probabilities = np.array([row[1:] for row in rows[1:]], float)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert [rows[0][1 + place].split("_")[1] for place in probabilities.argmax(axis=1)] == [row[0] for row in rows[1:]]
    assert sorted(path.name for path in folder.iterdir()) == [
        "flowers.csv", "m.safetensors", "new.csv", "predictions.csv", "unlabelled.csv"
    ]  # fmt: skip


def test_two_classes_in_two_files(folder):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    pd.DataFrame(x, columns=["a", "b"]).to_csv("train_data.csv", index=False)
    pd.DataFrame({"label": np.where(x.sum(axis=1) > 0, "yes", "no")}).to_csv("train_labels.csv", index=False)
    assert run("train", "train_data.csv", "--labels", "train_labels.csv", "--out", "m", *SHORT) == 0
    assert run("evaluate", "m", "train_data.csv", "--labels", "train_labels.csv") == 0
    assert run("predict", "m", "train_data.csv", "--out", "p.csv") == 0
    rows = read("p.csv")
    assert rows[0] == ["predicted_label", "probability_no", "probability_yes"]
    assert np.mean([(row[0] == "yes") == (a + b > 0) for row, (a, b) in zip(rows[1:], x, strict=True)]) > 0.9


def test_a_number_of_any_size_is_learnt(folder, capsys):
    """Prices in the hundred thousands: the target is not standardised, and yet learnt in a few epochs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    table = pd.DataFrame({"rooms": x[:, 0], "age": x[:, 1], "price": 250_000 + 80_000 * x[:, 0] - 30_000 * x[:, 1]})
    table.to_csv("houses.csv", index=False)
    assert run("train", "houses.csv", "--target", "price", "--out", "m", *SHORT) == 0
    assert "a number from" in capsys.readouterr().out
    assert run("predict", "m", "houses.csv", "--out", "p.csv") == 0
    rows = read("p.csv")
    assert rows[0] == ["predicted_price"]
    error = np.mean(np.abs(np.array([row[0] for row in rows[1:]], float) - table["price"]))
    assert error < 0.15 * np.mean(np.abs(table["price"] - table["price"].mean()))


def test_a_model_of_arrays_takes_the_columns_in_their_order(folder, capsys):
    model = minidl.Sequential([minidl.Dense(1, "sigmoid", input_shape=(2,))], seed=0)
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"], engine="numpy")
    model.save("m")
    (folder / "x.csv").write_text("p,q\n1,2\n3,4\n")
    assert run("predict", "m", "x.csv", "--out", "p.csv") == 0
    assert "knows no names of columns" in capsys.readouterr().err
    expected = model.predict([[1, 2], [3, 4]])
    np.testing.assert_allclose([float(row[0]) for row in read("p.csv")[1:]], expected[:, 0], rtol=1e-6)
    (folder / "xy.csv").write_text("p,q,t\n1,2,0\n3,4,1\n")
    assert run("predict", "m", "xy.csv", "--out", "p.csv") == 1
    assert "takes 2 features" in capsys.readouterr().err
    assert run("evaluate", "m", "xy.csv", "--target", "t") == 0
    assert run("evaluate", "m", "xy.csv") == 2


def test_two_outputs_and_logits_become_probabilities(folder):
    from minidl.data import read_csv

    (folder / "t.csv").write_text("a,t\n" + "-1,no\n1,yes\n" * 20)
    table = read_csv("t.csv", "t")
    for layers, loss in (
        ([minidl.Dense(2, "softmax")], "sparse_categorical_crossentropy"),
        ([minidl.Dense(1)], minidl.losses.BinaryCrossentropy(from_logits=True)),
        ([minidl.Dense(2)], minidl.losses.SparseCategoricalCrossentropy(from_logits=True)),
    ):
        model = minidl.Sequential(layers, seed=0)
        model.compile(minidl.Adam(0.1), loss, engine="numpy")
        model.fit(table, epochs=20, verbose=0)
        model.save("m")
        assert run("predict", "m", "t.csv", "--out", "p.csv") == 0
        rows = read("p.csv")[1:]
        assert [row[0] for row in rows] == ["no", "yes"] * 20
        for label, no, yes in rows:
            assert float(no) + float(yes) == pytest.approx(1, abs=1e-6)
            assert (float(yes) > 0.5) == (label == "yes")


def test_models_of_pandas_tables_and_other_targets_are_evaluated(folder, capsys):
    table = pd.DataFrame({"a": [-1.0, 1.0] * 10, "b": [0.0, 1.0] * 10})
    model = minidl.Sequential([minidl.Dense(1, "sigmoid")], seed=0)
    model.compile(minidl.Adam(0.1), "binary_crossentropy", metrics=["accuracy"], engine="numpy")
    model.fit(table, [0, 1] * 10, epochs=20, verbose=0)
    model.save("m")
    table.assign(kind=["no", "yes"] * 10).to_csv("t.csv", index=False)
    assert run("evaluate", "m", "t.csv", "--target", "kind") == 0
    assert "accuracy 1" in capsys.readouterr().out
    table.to_csv("none.csv", index=False)
    assert run("evaluate", "m", "none.csv") == 1
    assert "has no column to compare the predictions with" in capsys.readouterr().err
    assert run(*TRAIN, "--epochs", "1") == 0
    flowers(folder / "renamed.csv", 20, 1).rename(columns={"species": "art"}).to_csv("renamed.csv", index=False)
    assert run("evaluate", "m.safetensors", "renamed.csv", "--target", "art") == 0


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e5, 1e12])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_number_of_any_scale_is_learnt_by_any_optimizer(folder, scale, optimizer, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    y = scale * (3 + x[:, 0] - 0.5 * x[:, 1])
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y}).to_csv("t.csv", index=False)
    options = ("--optimizer", optimizer, "--hidden", "16", "--epochs", "40", "--learning-rate", "0.01")
    assert run("train", "t.csv", "--target", "y", "--out", "m", *options) == 0
    last = capsys.readouterr().out.splitlines()[-2]
    found, guess = float(last.split("mae ")[1].split()[0]), float(last.split(": ")[-1].rstrip(")"))
    assert found < 0.2 * guess


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("train", "flowers.csv", "--out", "m"), 2, "--target COLUMN"),
        (("train", "flowers.csv", "--target", "species"), 2, "--out"),
        ((*TRAIN, "--activation", "rely"), 2, "unknown 'rely'; did you mean 'relu'?"),
        ((*TRAIN, "--optimizer", "adm"), 2, "did you mean 'adam'?"),
        ((*TRAIN, "--validation-split", "1"), 2, "a share from 0 up to"),
        ((*TRAIN, "--engine", "nunba"), 2, "did you mean 'numba'?"),
        ((*TRAIN, "--epochs", "0"), 2, "at least 1"),
        ((*TRAIN[:4], "--out", "m"), 1, "column 'colour' of 'flowers.csv' holds text"),
        (("train", "flowers.csv", "--target", "specie", "--out", "m"), 1, "did you mean 'species'?"),
        (("train", "none.csv", "--target", "species", "--out", "m"), 1, "there is no file 'none.csv'"),
        (("train", "one.csv", "--target", "t", "--out", "m"), 1, "the target 't' of 'one.csv' is x in every row"),
        (("train", "few.csv", "--target", "t", "--out", "m"), 1, "has 2 rows of data; at least 10"),
        ((*TRAIN[:4], "--out", "none/m"), 1, "there is no folder"),
        ((*TRAIN[:4], "--out", "."), 1, "it is a folder"),
        (("predict", "none", "flowers.csv", "--out", "p.csv"), 1, "none"),
        (("predict", "flowers.csv", "flowers.csv", "--out", "p.csv"), 1, "flowers.csv"),
        (("evaluate", "none", "flowers.csv"), 1, "none"),
        (("export", "none", "--out", "m.onnx"), 1, "there is no such file"),
        (("export", "flowers.csv", "--out", "m.onnx"), 1, "is not a model of minidl"),
        (("export", "flowers.csv"), 2, "--out"),
    ],
)
def test_what_will_not_do_is_one_sentence(folder, capsys, arguments, code, sentence):
    (folder / "one.csv").write_text("a,t\n" + "1,x\n" * 20)
    (folder / "few.csv").write_text("a,t\n1,x\n2,y\n")
    before = sorted(folder.iterdir())
    assert run(*arguments) == code
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "flowers.csv", "--target", "species", "--out", "flowers.csv"),
        ("train", "flowers.csv", "--labels", "labels.csv", "--out", "labels.csv"),
        ("predict", "m", "flowers.csv", "--out", "flowers.csv"),
        ("predict", "m", "flowers.csv", "--out", "./m"),
        ("predict", "m", "flowers.csv", "--out", "link"),
        ("export", "m", "--out", "m"),
    ],
)
def test_what_is_read_is_not_written_over(folder, capsys, arguments):
    for name in ("labels.csv", "m"):
        (folder / name).write_text("something")
    (folder / "link").symlink_to("m")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run(*arguments) == 1
    assert "would be lost; name another" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_link_stays_a_link(folder):
    assert run(*TRAIN, "--epochs", "1") == 0
    (folder / "elsewhere").mkdir()
    (folder / "p.csv").symlink_to(folder / "elsewhere" / "p.csv")
    assert run("predict", "m.safetensors", "flowers.csv", "--out", "p.csv") == 0
    assert (folder / "p.csv").is_symlink()
    assert len(read(folder / "elsewhere" / "p.csv")) == 91


def test_a_reader_that_stops_reading_does_not_stop_the_training(folder):
    command = f"{sys.executable} -m minidl {' '.join(TRAIN)} --epochs 30 | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": str(Path(minidl.__file__).parent.parent)})  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert (folder / "m.safetensors").exists()


def test_other_columns_at_prediction_are_named(folder, capsys):
    assert run(*TRAIN, "--epochs", "1") == 0
    (folder / "new.csv").write_text("length,colour\n1,red\n")
    assert run("predict", "m.safetensors", "new.csv", "--out", "p.csv") == 1
    assert "'new.csv' does not have the model's columns: it lacks 'width'" in capsys.readouterr().err
    assert not (folder / "p.csv").exists()


def test_a_folder_that_is_missing_is_told_before_the_training(folder, monkeypatch, capsys):
    monkeypatch.setattr(minidl.Sequential, "fit", lambda *_, **__: pytest.fail("trained in vain"))
    assert run("train", "flowers.csv", "--target", "species", "--out", "none/m", "--categorical", "onehot") == 1


def test_an_onnx_file_is_not_what_train_writes(folder, monkeypatch, capsys):
    monkeypatch.setattr(minidl.Sequential, "fit", lambda *_, **__: pytest.fail("trained in vain"))
    assert run("train", "flowers.csv", "--target", "species", "--out", "m.onnx", "--categorical", "onehot") == 1
    assert "'m.onnx' has the ending of another format" in capsys.readouterr().err


PATIENT = ("train", minidl.data.BREAST_CANCER, "--target", "benign", "--out", "m.safetensors", "--patience", "3")


def test_a_patient_training_keeps_its_best_epoch(folder, monkeypatch, capsys):
    fit, fits = minidl.Sequential.fit, []
    monkeypatch.setattr(minidl.Sequential, "fit", lambda *a, **k: fits.append(fit(*a, **k)))
    assert run(*PATIENT, "--learning-rate", "0.05", "--engine", "numpy") == 0
    lines = capsys.readouterr().out.splitlines()
    losses = fits[0].history["val_loss"]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 3 < 50
    assert f"epoch {best + 1}, the best, are put back" in lines[-3]
    assert f"loss {losses[best]:.4g}" in lines[-2]


def test_a_quiet_training_says_how_it_ended(folder, monkeypatch, capsys):
    assert run(*PATIENT, "--learning-rate", "0.05", "--engine", "numpy", "--quiet") == 0
    read, trained, *ended = capsys.readouterr().out.splitlines()
    assert "569 rows of 30 features" in read
    assert "on 455 rows, 114 held out" in trained
    patterns = (
        r"epoch \d+: stopped early",
        r"the weights of epoch \d+, the best, are put back",
        r"on the 114 rows held out: loss 0\.\d+, accuracy 0\.\d+ \(always saying the commonest class: 0\.\d+\)",
        r"saved: m\.safetensors",
    )
    assert len(ended) == len(patterns)
    assert all(map(re.fullmatch, patterns, ended))


def test_a_patient_training_that_diverges_says_so(folder, capsys):
    assert run(*PATIENT, "--learning-rate", "1e30", "--optimizer", "sgd", "--engine", "numpy") == 1
    said, err = capsys.readouterr()
    assert "put back" not in said
    assert "the training diverged; try a smaller learning rate" in err


def test_patience_needs_rows_held_out(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert run("train", "flowers.csv", "--target", "species", "--out", "m", "--patience=3", "--validation-split=0") == 2
    assert "--validation-split" in capsys.readouterr().err


def test_an_interrupted_training_is_saved(folder, monkeypatch, capsys):
    fit = minidl.Sequential.fit

    class Stop(minidl.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(minidl.Sequential, "fit", lambda *a, **k: fit(*a, **k | {"callbacks": [Stop()]}))
    assert run(*TRAIN) == 130
    assert "interrupted after 3 of 50 epochs; the model is saved" in capsys.readouterr().out
    assert run("evaluate", "m.safetensors", "flowers.csv") == 0


def test_a_prediction_that_stops_keeps_what_it_had(folder, monkeypatch, capsys):
    from minidl.data import text

    assert run(*TRAIN, "--epochs", "1") == 0
    monkeypatch.setattr(text, "BLOCK", 400)
    with open("flowers.csv", "a") as file:
        file.write("1,red,rose,x\n")
    (folder / "p.csv").write_text("what was there before")
    assert run("predict", "m.safetensors", "flowers.csv", "--out", "p.csv") == 1
    said = capsys.readouterr().err
    assert "column 'width' of 'flowers.csv' holds text, 'x' in row 91 below the header" in said
    assert "rows are in p.csv.partial" in said
    assert (folder / "p.csv").read_text() == "what was there before"
    assert 1 < len(read("p.csv.partial")) < 91


# --- export ---------------------------------------------------------------------------------------------------------


def test_a_saved_model_is_exported(folder, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    assert run(*TRAIN, "--epochs", "1") == 0
    assert run("export", "m.safetensors", "--out", "m.onnx") == 0
    assert capsys.readouterr().out.endswith("written: m.onnx\n")
    session = onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    said = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    assert said["features"] == ["length", "colour=blue", "colour=red", "colour=white", "width"]
    assert said["classes"] == ["iris", "lily", "rose"]
    model = minidl.load_model("m.safetensors")
    table = minidl.data.read_csv("flowers.csv", schema=model.schema)
    found = session.run(None, {"input": table.X.astype(np.float32)})[0]
    np.testing.assert_allclose(found, model.predict(table), atol=1e-5)


# --- info -------------------------------------------------------------------------------------------------------------


def test_info_tells_what_is_here(capsys):
    assert run("info") == 0
    said = capsys.readouterr().out
    for name in ("engine numpy", "engine numba", "engine cupy", "processor", "threads", "GPU", "compile cache"):
        assert f"\n{name} " in f"\n{said}"
    assert "engine numpy         ready" in said


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "export", "info"])
def test_help(command, capsys):
    assert run(command, "--help") == 0
    assert f"usage: minidl {command}" in capsys.readouterr().out


def test_the_command_runs_as_a_module(folder):
    done = subprocess.run([sys.executable, "-m", "minidl", "predict", "none", "x", "--out", "p"], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("minidl predict: ")
