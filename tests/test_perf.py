"""The measurements' own arithmetic, without any rival installed: registry, agreement, workers, results and tables."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import minidl
from minidl.bench import machine, timing
from perf import accuracy, cases, contest, options, pictures, report, resident, results_file, rivals, shapes
from perf.rivals import numpy_by_hand
from perf.worker import Worker

LIBRARIES = ("torch", "jax", "keras", "tensorflow", "sklearn", "onnxruntime", "scipy")
SMALL = {
    "sgd": cases.Case(3, (4,), "sigmoid", 10, "sgd", 4, 3, 0.5),  # 10 rows in batches of 4: the last has 2
    "adam": cases.Case(5, (7, 6), "relu", 23, "adam", 8, 3, 0.01),
}


# --- rivals ---------------------------------------------------------------------------------------------------------


def test_rivals_are_asked_without_loading_their_libraries():
    program = f"""
import sys
from perf import rivals
for name in rivals.MODULES:
    rival = rivals.load(name)
    assert isinstance(rival.why_not(), str)
    for what in ("trainer", "predictor", "product"):
        assert not hasattr(rival, what) or rival.settings(what)
print([name for name in {LIBRARIES} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_rival_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    reason = rivals.load("onnxruntime").why_not()
    assert reason == "ONNX Runtime is not installed; install it with: pip install onnxruntime onnx"
    for name in set(rivals.MODULES) - {"minidl", "numpy", "pytorch-compiled"}:
        assert "pip install" in rivals.load(name).why_not()


def test_who_takes_part():
    assert rivals.those_who("trainer")[:2] == ["minidl", "numpy"]
    assert "onnxruntime" not in rivals.those_who("trainer")  # it only predicts
    assert rivals.those_who("predictor", ["jax", "scipy"]) == ["minidl", "jax"]
    with pytest.raises(ValueError, match="unknown rival 'pytorhc'; did you mean 'pytorch'"):
        rivals.named("numpy,pytorhc")


@pytest.mark.parametrize("name", SMALL)
def test_numpy_by_hand_trains_and_predicts_as_minidls_numpy_engine(name):
    case = SMALL[name]
    X, y = cases.data(case)
    layers = [minidl.Dense(units, case.activation) for units in case.hidden]
    model = minidl.Sequential([*layers, minidl.Dense(1, "sigmoid")], seed=cases.SEED)
    optimizer = {"sgd": minidl.optimizers.SGD, "adam": minidl.optimizers.Adam}[case.optimizer](case.learning_rate)
    model.compile(optimizer, "binary_crossentropy", engine="numpy")
    model(X)
    model.set_weights([array for layer in cases.weights(case) for array in layer])
    predict = numpy_by_hand.predictor(case, cases.weights(case), X)
    np.testing.assert_allclose(predict(), model(X), rtol=1e-5)
    train = numpy_by_hand.trainer(case, cases.weights(case), X, y)
    for _ in range(2):  # the second call goes on where the first has ended
        losses = model.fit(X, y, case.batch_size, case.epochs, verbose=0).history["loss"]
        np.testing.assert_allclose(train(), losses, rtol=1e-4)


def test_products_are_those_of_a_dense_layer():
    engine = minidl.get_engine("numpy")
    for operation in ("dense", "dense_backward_W", "dense_backward_x"):
        a, b = cases.factors(cases.Product(operation, 5, 4, 3))
        bias = (np.zeros(3, np.float32),) if operation == "dense" else ()
        expected = getattr(engine, operation)(a, b, *bias)
        np.testing.assert_allclose(numpy_by_hand.product(operation, a, b)(), expected, rtol=1e-6)


def test_random_shapes_are_odd_ragged_and_within_bounds():
    rng = np.random.default_rng(0)
    for _ in range(200):
        case = shapes.draw(rng)
        units = (case.inputs, *case.hidden)
        assert all(width % 2 and 3 <= width <= 1_499 for width in units)
        assert 1 <= len(units) <= 6
        assert case.batch_size % 2
        assert 1 <= case.batch_size <= 4_095
        assert case.rows >= 2 * case.batch_size
        assert case.batch_size == 1 or case.rows % case.batch_size  # the last batch is ragged


# --- contests -------------------------------------------------------------------------------------------------------


def test_disagreement_is_raised():
    with pytest.raises(timing.Disagreement, match=r"^b differs from a by 0.002 "):
        contest.agree("trainer", {"a": [0.5, 0.4], "b": [0.501]})
    contest.agree("trainer", {"a": [0.5, 0.4], "b": [0.5, 0.3]})  # later epochs drift
    with pytest.raises(timing.Disagreement, match="b differs from a"):
        contest.agree("predictor", {"a": np.ones((2, 1)), "b": np.ones((2, 2))})


def test_a_rival_elsewhere_holds_the_clock_itself():
    class Elsewhere:
        def first_call(self):
            return 7.0, np.ones(1)

        def sample(self, loops):
            return 1_000 * loops

    both = {"a": Elsewhere(), "b": Elsewhere()}
    found = timing.compare(both, validate=timing.close(), repeat=(2, 2), sample_ns=4_000)
    assert found.timings["b"] == timing.Timing(7.0, 1e-6, 1e-6, 1e-6, 1e-6, 2, 4)  # 1 us a call, 4 calls a sample


def test_ratio_the_other_way_round():
    assert timing.Ratio(0.5, 0.25, 0.8).inverse() == timing.Ratio(2, 1.25, 4)


def test_worker_trains_elsewhere_and_stands_still_between():
    case = SMALL["sgd"]
    with Worker("numpy", {"threads": 1}) as worker:
        worker.set_up("trainer", case)
        _, losses = worker.first_call()
        assert losses == numpy_by_hand.trainer(case, cases.weights(case), *cases.data(case))()
        assert worker.first_call()[1] is losses  # it is the first call once
        assert worker.sample(2) > 0
        if os.path.exists("/proc"):
            with open(f"/proc/{worker.process.pid}/stat") as line:
                assert line.read().rsplit(")", 1)[1].split()[0] == "T"
        with pytest.raises(RuntimeError, match="numpy failed: AttributeError"):
            worker.set_up("nonsense", case)
        worker.process.kill()
        with pytest.raises(RuntimeError, match="numpy died"):
            worker.sample(1)


def test_contest_of_one_with_a_missing_rival(monkeypatch):
    monkeypatch.setattr(rivals.load("onnxruntime"), "why_not", lambda: "it is not installed")
    said = []
    found = contest.contest("predictor", SMALL["adam"], ["numpy", "onnxruntime"], 0.01, say=said.append)
    assert found["left_out"] == {"onnxruntime": "it is not installed"}
    assert "onnxruntime: left out, it is not installed" in said
    entry = found["entries"]["numpy"]
    assert entry["ratio"] == {"value": 1, "low": 1, "high": 1}
    assert entry["setting"] in ("1 thread", f"{machine.cores()} threads")
    assert entry["samples"] >= contest.REPEAT[0]
    with pytest.raises(RuntimeError, match="onnxruntime is what the others are compared with, and cannot run"):
        contest.contest("predictor", SMALL["adam"], ["onnxruntime", "numpy"], 0.01)


def test_settings_in_words():
    assert contest.in_words({"threads": 1, "gather": "batch"}) == "1 thread, gather=batch"
    assert contest.in_words({"threads": 2}) == "2 threads"


def test_memory_at_most_is_no_less_than_memory_now():
    if resident.now() is not None:
        block = np.ones(10_000_000, np.uint8)
        assert resident.peak() >= resident.now() > block.nbytes


# --- results and tables ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results_file, "FOLDER", tmp_path)
    return tmp_path


def entry(seconds, ratio):
    return {"seconds": seconds, "ratio": {"value": ratio, "low": ratio * 0.9, "high": ratio * 1.1}, "setting": ""}


def made_up():
    """minidl takes 0.1 ms, NumPy 5 times as long, JAX 1.25 times."""
    entries = {"minidl": entry(1e-4, 1), "numpy": entry(5e-4, 5), "jax": entry(1.25e-4, 1.25)}
    return {"entries": entries, "left_out": {"keras": "it is not installed"}}


def test_report_writes_the_tables_between_the_markers(folder, monkeypatch, capsys):
    readme = folder / "README.md"
    empty = "".join(f"<!-- {name}: written by python -m perf report -->\nold\n<!-- end of {name} -->\n"
                    for name in ("training", "inference"))  # fmt: skip
    readme.write_text(f"before\n{empty}after\n")
    monkeypatch.setattr(report, "README", readme)
    results_file.add("training", "tiny", made_up())
    report.main()
    lines = readme.read_text().splitlines()
    assert lines[:6] == [
        "before",
        "<!-- training: written by python -m perf report -->",
        "| an epoch of | minidl | NumPy by hand | JAX |",
        "|---|---:|---:|---:|",
        "| tiny: 10-10-1, batch 10, SGD, 100 rows | 100 us | 5.00x | **1.25x** |",
        "",
    ]
    assert machine.facts()["date"][:10] in lines[6]
    assert machine.processor() in lines[6]
    assert lines[-3:] == ["old", "<!-- end of inference -->", "after"]
    assert "inference: nothing measured yet; run python -m perf inference" in capsys.readouterr().out


def test_cases_of_another_machine_or_version_are_forgotten(folder):
    results_file.add("training", "tiny", made_up())
    results_file.add("training", "table", made_up())
    content = results_file.read_cases("training")
    assert list(content["cases"]) == ["tiny", "table"]
    results_file.write("training", content | {"machine": content["machine"] | {"processor": "another"}})
    results_file.add("training", "mnist/32", made_up())
    assert list(results_file.read_cases("training")["cases"]) == ["mnist/32"]
    results_file.write("training", {"cases": {"tiny": {"engines": {}}}})  # as an earlier version wrote it
    assert results_file.read_cases("training") is None


def test_pictures_are_drawn_from_what_was_measured(folder):
    pictures.draw("inference")
    assert not list(folder.glob("*.png"))  # nothing was measured
    for name in ("tiny/1", "mnist/1", "mnist/8192"):
        results_file.add("inference", name, made_up())
    pictures.draw("inference")
    for name in ("inference", "batch_sizes"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_what_each_way_to_a_faster_network_costs(folder, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    X = rng.random((300, 784), np.float32)
    monkeypatch.setattr(accuracy, "digits", lambda: (X, (X[:, 0] > 0.5).astype(np.float32)))
    monkeypatch.setattr(accuracy, "ROWS", (1, 1_024))
    monkeypatch.setattr(accuracy, "EPOCHS", 1)
    monkeypatch.setattr(accuracy, "TUNING", 1)
    monkeypatch.setattr(accuracy.importlib.util, "find_spec", lambda name: name)
    accuracy.main(seeds=1, seconds=0.05)
    found = json.loads((folder / "accuracy.json").read_text())["ways"]
    assert found["float32"]["seeds"][0]["equal"] == 1
    assert found["float32"]["bytes"] == 4 * (784 * 256 + 256 + 256 * 128 + 128 + 128 + 1)
    assert found["half the units"]["bytes"] == 4 * (784 * 128 + 128 + 128 * 64 + 64 + 64 + 1)
    assert found["int8, minmax"]["seeds"][0]["equal"] > 0.9
    assert set(found["90% zeros"]["rows"]) == {"1", "1024"}
    assert (folder / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert "seed 0, int8, minmax" in capsys.readouterr().out
    table = report.accuracy_table(json.loads((folder / "accuracy.json").read_text())).splitlines()
    assert len(table) == 2 + len(found) + 2
    assert table[2].startswith("| float32 | ")
    assert " | 100.0% | 936 kB | " in table[2]


def test_results_are_json_whole_or_not_at_all(folder):
    results_file.write("x", {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        results_file.write("x", {"a": float("nan")})
    assert json.loads((folder / "x.json").read_text()) == {"a": 1}


def test_only_known_cases_are_chosen():
    assert options.chosen("tiny, table", ["tiny", "table"]) == ["tiny", "table"]
    with pytest.raises(options.argparse.ArgumentTypeError, match="unknown case 'tinny'; did you mean 'tiny'"):
        options.chosen("tinny", ["tiny"])
