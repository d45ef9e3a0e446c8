"""What the notebooks are made of: listings of live code, drawings, bars, records, datasheets and single GPU kernels."""

import inspect
import json

import gpu_devices
import numpy as np
import pytest

import minidl
from minidl import contract
from minidl.bench import charts, datasheets, drawings, gpu_kernels, listings, recorded
from minidl.engines.cupy_engine import kernels
from minidl.engines.cupy_engine.gpu_on_cpu.device import ORDERS
from minidl.engines.numpy_engine import train

on_the_device = pytest.mark.skipif(bool(gpu_devices.WHY_NOT), reason=gpu_devices.WHY_NOT)


# --- listings ---------------------------------------------------------------------------------------------------------


def test_a_function_is_listed_as_it_stands_in_its_file():
    listing = listings.python(train.Trainer.step, "One step.", also=(train.backward,))
    assert listing.code in inspect.getsource(train).replace("\n    ", "\n")
    assert (listing.title, listing.where) == ("Trainer.step", "numpy_engine/train.py")
    assert [name for name, _ in listing.parts] == ["backward"]
    assert "One step." in str(listing)
    assert "<details><summary>backward</summary>" in listing._repr_html_()


def test_a_rung_is_listed_with_what_belongs_to_it():
    from minidl.bench import ladders

    rungs = {rung.name: listings.rung(rung) for rung in ladders.get("dense").rungs}
    assert rungs["three Python loops"].code.startswith("def three_loops(")
    assert [name for name, _ in rungs["packed"].parts] == ["pack_rows", "pack_columns", "make_tile"]
    assert rungs["packed"].parts[0][1].startswith("@njit()\ndef pack_rows(")


@pytest.mark.parametrize(("file", "name", "first", "last"), [
    ("warp.cuh", "lane", "__device__ int lane()", "__device__ int lane() { return threadIdx.x % LANES; }"),
    ("warp.cuh", "sum_of_lanes", "// The sum over all lanes", "}"),
    ("product.cuh", "Slice", "// A slice of A or B", "};"),
    ("elementwise.cuh", "activation", "__global__ void activation(", "}"),
    ("dense.cuh", "forward", "template <int PRECISION, int TILE>", "}"),
    ("persistent.cuh", "train_steps", "template <int PRECISION>", "}"),
])  # fmt: skip
def test_a_kernel_is_listed_with_its_comment(file, name, first, last):
    listing = listings.cuda(file, name)
    assert listing.code.startswith(first)
    assert listing.code.split("\n")[-1] == last
    assert listing.code in kernels.source()
    assert listing.code.count("{") == listing.code.count("}")


def test_what_is_not_in_the_kernels_is_refused():
    with pytest.raises(ValueError, match=r"there is no 'nothing' in warp\.cuh"):
        listings.cuda("warp.cuh", "nothing")
    with pytest.raises(ValueError, match=r"warp\.cuh"):
        listings.cuda("warps.cuh", "lane")


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drawing", [lambda: drawings.of_tile(4, 8, 16), drawings.of_gpu])
def test_drawings_are_drawn(drawing):
    assert drawing()._repr_png_().startswith(b"\x89PNG")


def test_the_tile_s_numbers_are_right():
    _, step, _ = drawings.of_tile(8, 16, 32).axes
    words = " ".join(text.get_text() for text in step.texts)
    assert "8 + 2 loads for 16 multiply-adds of 16 numbers each" in words
    assert "19 of 32 registers" in words


def test_bars_begin_at_0_unless_they_say_otherwise():
    (axes,) = charts.bars({"numpy": 2.0, "some rung": 4.0}, "a title", "ulp", limit=5, limit_name="a bound").axes
    assert axes.get_xlim()[0] == 0
    assert axes.get_xlabel() == "ulp"
    assert [text.get_text() for text in axes.texts] == ["2", "4"]
    (axes,) = charts.bars({"numpy": 2.0, "cupy": 4000.0}, "a title", "ulp", log=True).axes
    assert axes.get_xlabel() == "ulp (logarithmic axis)"


# --- records ----------------------------------------------------------------------------------------------------------


def test_records_are_found_above_the_working_directory(tmp_path, monkeypatch):
    results = tmp_path / "perf" / "results"
    results.mkdir(parents=True)
    machine = {"processor": "A", "cores": 2, "versions": {"numpy": "2.4", "jax": None}, "date": "2026-11-25T08:37:12"}
    (results / "gpu-a.json").write_text(json.dumps({"machine": machine}))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setattr(recorded.minidl, "__file__", str(tmp_path / "site" / "minidl" / "__init__.py"))
    assert recorded.names("gpu-*") == ["gpu-a"]
    assert recorded.said(recorded.read("gpu-a"), "numpy", "jax") == "measured on 2026-11-25, A, 2 cores, numpy 2.4"
    assert recorded.read("training") is None
    monkeypatch.chdir("/")
    assert recorded.names("gpu-*") == []
    assert recorded.read("gpu-a") is None


# --- datasheets -------------------------------------------------------------------------------------------------------


def test_the_model_of_a_card_by_hand():
    """1,000 operations and 100 bytes a nanosecond: a layer 1000-1000 with 1 row is 4 MB, 40 us; with 1,000 rows 2e9
    operations, 2 ms, beside 12 MB, 120 us."""
    card = datasheets.Card("a card", 1_000, 100, 10, "")
    assert datasheets.forward_seconds(card, (1000, 1000), 1) == pytest.approx(4.012e-5, rel=1e-3)
    assert datasheets.forward_seconds(card, (1000, 1000), 1000) == pytest.approx(2e-3)
    assert datasheets.bus_seconds(card, 250) == pytest.approx(1e-7)
    # In training 4e9 operations (the first layer passes nothing back), 4 ms, beside 64 MB, 0.64 ms.
    assert datasheets.training_seconds(card, (1000, 1000), 1000) == pytest.approx(4e-3)


# --- kernels ----------------------------------------------------------------------------------------------------------


@on_the_device
def test_single_kernels():
    rng = np.random.default_rng(0)
    x, W, b = (rng.normal(size=shape).astype(np.float32) for shape in ((5, 7), (7, 3), (3,)))
    device = gpu_devices.device()
    np.testing.assert_allclose(gpu_kernels.dense(device, x, W, b), x @ W + b, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(gpu_kernels.activation(device, contract.RELU, x), np.maximum(x, 0))


@on_the_device
def test_a_missing_barrier_shows_in_some_orders_only():
    from minidl.engines.cupy_engine.captured import CapturedForward
    from minidl.engines.cupy_engine.gpu_on_cpu.device import CpuDevice

    model = minidl.Sequential([minidl.Dense(64, "relu", input_shape=(30,)), minidl.Dense(1)], seed=0)
    model.compile("sgd", "mse", engine="numpy")
    library = gpu_kernels.without_barrier("part[warp()][lane()] = sum;")
    row, right = np.ones((1, 30), np.float32), []
    for order in ORDERS:
        out = np.empty((1, 1), np.float32)
        CapturedForward(model._program, 1, device=CpuDevice(order, library=library)).predict(row, out)
        right.append(np.allclose(out, model.predict(row), rtol=1e-4))
    assert right == [False, True, False]
    with pytest.raises(ValueError, match="does not have one"):
        gpu_kernels.without_barrier("no such words")


@on_the_device
@pytest.mark.parametrize("way", ["captured", "one launch"])
def test_trainers_train_a_copy(way):
    model = minidl.Sequential([minidl.Dense(4, "relu", input_shape=(3,)), minidl.Dense(1, "sigmoid")], seed=0)
    model.compile("adam", "binary_crossentropy", engine="numpy")
    before = model.get_weights()
    X = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    y, theta = (X[:, :1] > 0).astype(np.float32), []
    for each in ("numpy", way):
        trainer = gpu_kernels.trainer(model, X, y, 4, each, gpu_devices.device())
        trainer.run(np.arange(10)[None], 0, 10)
        trainer.pull()
        theta.append(trainer.program.theta)
    np.testing.assert_allclose(*theta, atol=1e-5)
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
