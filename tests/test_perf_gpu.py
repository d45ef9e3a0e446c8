"""``python -m perf gpu``, run end to end where the CPU stands in for a GPU; what is then kept, said and shown."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from minidl.engines.cupy_engine import measured
from minidl.engines.cupy_engine.gpu_on_cpu import build
from perf import gpu, gpu_cases, gpu_checks, gpu_choice, report, results_file

pytestmark = pytest.mark.skipif(bool(build.why_not()), reason=build.why_not())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results_file, "FOLDER", tmp_path / "results")
    (tmp_path / "results").mkdir()
    return tmp_path


@pytest.fixture
def one_test(monkeypatch):
    """In place of all tests of the GPU, which run anyway."""
    monkeypatch.setattr(gpu_checks, "TESTS", ["tests/test_gpu_kernels.py::test_begin_batch_walks_through_the_epochs"])


def test_everything_runs_where_the_cpu_stands_in(folder, one_test, capsys):
    out = folder / "gpu.json"
    gpu.main("cpu", 0.1, out)
    said, content = capsys.readouterr().out, json.loads(out.read_text())
    assert said.startswith(gpu.NO_GPU)
    assert said.rstrip().endswith(gpu.NO_GPU)
    assert content["note"] == gpu.NO_GPU
    assert content["device"] == "cpu"
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert set(content["ceilings"]) == {"copy", "upload", "float32", "tf32"}
    assert content["checks"]["tests"]["passed"], content["checks"]
    assert "passed" in content["checks"]["tests"]["says"]
    assert content["checks"]["compute-sanitizer"] == {"passed": None, "says": "not run: it watches a GPU"}
    for errors in content["accuracy"].values():
        assert errors["three TF32"] < 2 * errors["the library's float32"] < errors["TF32"] / 100
    assert content["loss_curves"]["recorded, highest"] < 1e-6
    assert content["loss_curves"]["recorded, cuBLASLt, highest"] < 1e-6
    assert content["loss_curves"]["in one launch, high"] < 1e-3
    training, inference = gpu_cases.SMALL
    assert list(content["cases"]) == [*training, *inference]
    for name, case in content["cases"].items():
        assert {"minidl, recorded", "minidl, recorded, cuBLASLt"} <= set(case["entries"])
        assert ("minidl, in one launch" in case["entries"]) == (name in training)
        assert "minidl, as chosen" in case["entries"]
        assert "minidl, readable" in case["left_out"]  # a rival that is missing is a line, too
        assert set(case["entries"]) | set(case["left_out"]) > {"minidl, readable", "minidl, recorded"}
        launches = [kernel for kernel, seconds in case.get("profile", []) if seconds > 0]
        assert (launches[:1], launches[-1:]) == ((["begin_batch"], ["update<3>"]) if name in training else ([], []))
        assert any(key.startswith("JAX") for key in case["entries"] | case["left_out"])
        assert any(key.startswith("PyTorch") for key in case["entries"] | case["left_out"])
        assert all(outcome["met"] is None for outcome in case["goal"].values())
    ((parameters, rows),) = content["choice"]["one launch"]
    assert parameters == 5 * 8 + 8 + 8 + 1
    assert rows in (0, 8, 16)
    products = [("forward", 5, 8), ("backward_W", 5, 8), ("backward_W", 8, 1)]  # the others are the head's
    precisions = "float32", "TF32", "bfloat16"
    assert [tuple(row[:5]) for row in content["choice"]["cublaslt"]] == [
        (precision, which, rows, inputs, units)
        for rows in (8, 16) for precision in precisions for which, inputs, units in products
    ]  # fmt: skip
    assert all(ratio > 0 for *_, ratio in content["choice"]["cublaslt"])
    assert content["gpu"] not in json.loads(measured.TABLE.read_text())
    for name in content["cases"]["train 16"]["left_out"]:
        assert f"{name}: left out, " in said


def test_what_is_no_gpu_s_is_neither_kept_nor_shown(folder, monkeypatch, capsys):
    with pytest.raises(ValueError, match="no result"):
        gpu.main("cpu", 0.1, results_file.FOLDER / "gpu-fast.json")
    gpu.write(made_up("cpu"), None)
    assert "nothing is written" in capsys.readouterr().out
    assert not list(results_file.FOLDER.iterdir())
    (results_file.FOLDER / "gpu-none.json").write_text(json.dumps(made_up("cpu")))
    assert results_file.read_gpus() is None


def made_up(device):
    """As perf gpu keeps it: minidl 10 us, JAX 25, PyTorch 200."""
    entries = {
        name: {"seconds": seconds, "ratio": {"value": seconds / 1e-5, "low": 1, "high": 1}}
        for name, seconds in (("minidl, recorded", 1e-5), ("JAX, jit", 2.5e-5), ("PyTorch, eager", 2e-4))
    }
    case, goal = gpu_cases.TRAINING["train 128"]
    judged = gpu_cases.judged(case, goal, True, entries, 1e12)
    found = {"entries": entries, "left_out": {}, "fastest": "minidl, recorded", "goal": judged}
    return {
        "device": device, "gpu": "GPU X 1", "machine": {"date": "2030-01-02T03:04"},
        "cases": {"train 128": found | {"network": case.name, "precision": case.precision}},
    }  # fmt: skip


def test_a_gpu_s_figures_are_kept_under_its_name_and_shown(folder):
    gpu.write(made_up("gpu"), None)
    assert {path.name for path in results_file.FOLDER.iterdir()} == {"gpu-gpu-x-1.json", "gpu-gpu-x-1.png"}
    assert report.gpu_table(results_file.read_gpus()).splitlines()[2:] == [
        "| GPU X 1, train 128: 784-256-128-1, products highest | 10.0 us (recorded) | 20x | **2.50x** (JAX, jit) "
        "| 3 of 3 |",
        "",
        "The rivals' columns say how many times as long they take. Measured: GPU X 1 on 2030-01-02.",
    ]


def test_goals_are_judged_by_what_was_measured():
    case, _ = gpu_cases.TRAINING["train 65,536"]
    entries = {"minidl, recorded": {"seconds": 1e-3}, "minidl, readable": {"seconds": 3e-3},
               "JAX, jit": {"seconds": 1.2e-3}, "PyTorch, eager": {"seconds": 4e-3}}  # fmt: skip
    goal = gpu_cases.Goal(1.5, eager=4, seconds=2e-3, share=0.6)
    bandwidth = 4 * 65_536 * (2 * 784 + 3 * (256 + 128)) / 0.5e-3  # the rows twice, the hidden layers' outputs thrice
    found = gpu_cases.judged(case, goal, True, entries, bandwidth)
    assert [(outcome["wanted"], pytest.approx(outcome["found"]), outcome["met"]) for outcome in found.values()] == [
        (1.5, 1.2, False), (4, 4, True), (2e-3, 1e-3, True), (0.6, 0.5, False),
    ]  # fmt: skip
    against = gpu_cases.judged(case, gpu_cases.Goal(1.5, "PyTorch, graph"), True, entries, bandwidth)
    assert list(against.values()) == [{"wanted": 1.5, "found": None, "met": None}]


def test_what_was_measured_is_kept_beside_other_gpus_and_chosen_by(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "TABLE", tmp_path / "measured.json")
    monkeypatch.setattr(measured, "table", functools.cache(measured.table.__wrapped__))
    a, b = ({"one launch": [[rows, 2]], "cublaslt": [["TF32", "forward", rows, 3, 4, 1.5]]} for rows in (1, 5))
    measured.TABLE.write_text(json.dumps({"A": a}))
    assert measured.most_rows("B", 5) == measured.ROWS
    gpu_choice.keep("B", b)
    assert json.loads(measured.TABLE.read_text()) == {"A": a, "B": b}
    assert measured.most_rows("B", 5) == 2


def test_products_are_left_out_without_time_or_library(monkeypatch, capsys):
    networks = gpu_choice.SMALL_NETWORKS, gpu_choice.SMALL_BATCHES
    assert gpu_choice.all_products(*networks, "cpu", deadline=0) == []
    monkeypatch.setattr(gpu_choice.gpu_minidl, "no_cublaslt", lambda on: "it is not here")
    assert gpu_choice.all_products(*networks, "cpu", deadline=float("inf")) == []
    assert "no products by cuBLASLt: it is not here" in capsys.readouterr().out
    assert gpu_choice.recorded_ways("cpu") == ["recorded"]


def test_without_a_gpu_one_sentence_says_so(monkeypatch):
    monkeypatch.setattr(gpu.gpu_minidl, "why_not", lambda device: "there is no GPU")
    with pytest.raises(RuntimeError, match="nothing can be measured: there is no GPU"):
        gpu.main("gpu", 1, None)


def test_what_a_sanitizer_watches_runs():
    done = subprocess.run(
        [sys.executable, "-m", "perf.gpu_checks", "cpu"], cwd=Path(gpu.__file__).parents[1], capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
