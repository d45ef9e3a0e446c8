"""The ceilings' kernels do all the work they claim, caches are read and found, and what is measured holds together."""

import dataclasses
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from made_ceilings import made

pytest.importorskip("numba")

from numba.core.dispatcher import Dispatcher

from minidl.bench import caches, ceilings, compiled, crew, kernels, ladders, pictures
from minidl.bench.ladders import activations, dense
from minidl.engines.numba_engine import cache, processor
from minidl.plots import png


@pytest.fixture(scope="module")
def measured():
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ceilings, "_measured", None)  # another test may have measured before
        yield ceilings.measure(0.2, said.append), said


# --- kernels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("steps", [1, 2, 1001])
def test_every_multiply_add_is_done(dtype, steps):
    # x = x + 1 is exact up to 2^24, so the result counts the steps of every lane of every chain.
    start = np.arange(kernels.CHAINS * kernels.TARGET.vector_bytes // np.dtype(dtype).itemsize).astype(dtype)
    x = start.copy()
    kernels.multiply_adds(x, dtype(1), dtype(1), steps)
    np.testing.assert_array_equal(x, start + dtype(steps))


def test_multiply_adds_follow_the_recurrence():
    # Halves of whole numbers below 2^24: every step of x = x / 2 + 3 is exact in float32 for the first few.
    x = 64 * np.arange(kernels.CHAINS * kernels.TARGET.vector_bytes // 4).astype(np.float32)
    expected = x.copy()
    for _ in range(6):
        expected = expected * np.float32(0.5) + np.float32(3)
    kernels.multiply_adds(x, np.float32(0.5), np.float32(3), 6)
    np.testing.assert_array_equal(x, expected)


@pytest.mark.skipif(not kernels.TARGET.int8, reason="this processor has no instruction for products of int8")
def test_every_product_of_int8_is_done():
    rng = np.random.default_rng(0)
    lanes = kernels.TARGET.vector_bytes
    x, y = rng.integers(0, 128, lanes).astype(np.int8), rng.integers(-128, 128, lanes).astype(np.int8)
    sums = np.arange(kernels.CHAINS * lanes // 4, dtype=np.int32)
    once = (x.astype(np.int64) * y).reshape(-1, 4).sum(1)
    expected = sums.reshape(kernels.CHAINS, -1) + 11 * once
    kernels.int8_products(sums, x, y, 11)
    np.testing.assert_array_equal(sums.reshape(kernels.CHAINS, -1), expected)


def numbers(seed):
    x = ceilings.block(4 * 3 * kernels.STEP)
    x[:] = np.random.default_rng(seed).normal(size=x.size)
    return x


def test_all_that_is_to_be_read_is_read():
    x, found = numbers(0), np.zeros(kernels.STEP, np.int32)
    once = np.bitwise_xor.reduce(x.view(np.int32).reshape(-1, kernels.STEP))
    for passes in (1, 2, 3):  # what is read twice takes itself back
        kernels.read(x, passes, found)
        np.testing.assert_array_equal(found, once if passes % 2 else 0)


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("kind", kernels.STREAMS)
def test_all_that_is_to_be_stored_is_stored(kind, beside):
    if beside and len(kernels.STREAMS[kind]) == 1:
        pytest.skip("there is no such way")
    x, y, out, before = numbers(1), numbers(2), numbers(3), numbers(3)
    kernels.STREAMS[kind][beside](out, x, y, np.float32(2), 3)  # the last pass is number 2
    expected = {"write": np.full_like(x, 4), "copy": x, "triad": x + 4 * y, "update": before + 2 + 3 + 4}[kind]
    np.testing.assert_allclose(out, expected, rtol=0, atol=2e-6 if kind in ("triad", "update") else 0)


def test_kernels_are_cached_under_a_stamp_of_these_files():
    modules = kernels, dense, activations
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Dispatcher)]
    found = [kernel for kernel in found if kernel.__module__ in {module.__name__ for module in modules}]
    assert len(found) > 15
    for kernel in found:
        assert kernel._cache._cache_file._source_stamp == compiled.STAMP != cache.STAMP, kernel


# --- the processor ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("triple", "name", "features", "expected"),
    [
        ("x86_64-unknown-linux-gnu", "x86-64", "", processor.Target(16, 16, False, "")),
        ("x86_64-unknown-linux-gnu", "haswell", "", processor.Target(32, 16, True, "")),
        ("x86_64-unknown-linux-gnu", "haswell", "-fma", processor.Target(32, 16, False, "")),
        ("x86_64-unknown-linux-gnu", "haswell", "+avxvnni",
         processor.Target(32, 16, True, "llvm.x86.avx512.vpdpbusd.256")),
        ("x86_64-unknown-linux-gnu", "skylake-avx512", "", processor.Target(64, 32, True, "")),
        ("x86_64-unknown-linux-gnu", "skylake-avx512", "-avx512f", processor.Target(32, 16, True, "")),
        ("x86_64-unknown-linux-gnu", "x86-64", "+avx512f,+avx512vnni",
         processor.Target(64, 32, True, "llvm.x86.avx512.vpdpbusd.512")),
    ],
)  # fmt: skip
def test_the_compiler_says_what_a_processor_has(triple, name, features, expected):
    from llvmlite import binding

    if not binding.get_process_triple().startswith("x86_64"):
        pytest.skip("LLVM was built with the host's instructions alone")
    assert processor.ask(triple, name, features) == expected


CHECK = """
import numpy as np
from minidl.bench import kernels
from minidl.bench.ladders import dense
lanes = kernels.TARGET.vector_bytes // 4
x = np.arange(kernels.CHAINS * lanes).astype(np.float32)
kernels.multiply_adds(x, np.float32(1), np.float32(1), 5)
assert (x == np.arange(x.size) + 5).all()
inputs = dense.make(9, 5, 2 * lanes + 3, np.random.default_rng(0))
assert np.allclose(dense.micro_kernel(*inputs), dense.reference(*inputs), atol=1e-5)
print(kernels.TARGET.vector_bytes, kernels.TARGET.fused)
"""


@pytest.mark.parametrize(("features", "expected"), [("-avx512f", "32 True"), ("-avx,-avx2,-fma,-avx512f", "16 False")])
def test_kernels_follow_the_features_that_numba_is_given(features, expected):
    from llvmlite import binding

    host = binding.get_host_cpu_features()
    if not (host.get("avx2") and host.get("fma")):
        pytest.skip("this processor has neither AVX2 nor fused multiply-adds to take away")
    # Vectors first: taking avx512f away takes all that builds on it.
    kept = ",".join(part for part in host.flatten().split(",") if "avx512" not in part)
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, timeout=120, check=False,
                          env=os.environ | {"NUMBA_CPU_FEATURES": f"{kept},{features}"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected


# --- caches -----------------------------------------------------------------------------------------------------------


def listed(folder, **levels):
    for index, (level, kind, size, shared) in levels.items():
        place = folder / index
        place.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size), ("shared_cpu_list", shared)):
            if text is not None:
                (place / name).write_text(f"{text}\n")


def test_caches_as_linux_lists_them(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 9}, raising=False)
    listed(tmp_path, index0=(1, "Data", "48K", "0"), index1=(1, "Instruction", "32K", "0"),
           index3=(3, "Unified", "2M", "0-2,8-9"), index2=(2, "Unified", "1024K", "0,1"))  # fmt: skip
    # Cores 0, 1, 2 and 9 are this process's, and share the third level; the file's 8 is somebody else's.
    expected = [caches.Cache("L1", 49_152, 1), caches.Cache("L2", 2**20, 2), caches.Cache("L3", 2**21, 4)]
    assert caches.of_linux(tmp_path) == expected


def test_caches_that_are_hidden_or_half_listed(tmp_path):
    assert caches.of_linux(tmp_path / "none") == []
    listed(tmp_path, index0=(1, "Data", "32K", "0"), index1=(2, "Unified", None, "0"), index2=(3, "Unified", "", ""))
    assert [level.name for level in caches.of_linux(tmp_path)] == ["L1"]


def test_caches_found_by_reading_more_and_more(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    sizes = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
    # 100 holds to 32, 80 and 79 are a level, 65 lies between, 50 is the next, and 20 is the memory.
    rates = [100.0, 97, 99, 80, 79, 65, 50, 51, 20, 20.5]
    found = caches.of_sweep(sizes, rates)
    assert found == [caches.Cache("L1", 32, 1), caches.Cache("L2", 128, 1), caches.Cache("L3", 1024, 2)]
    assert caches.of_sweep(sizes, [50.0] * 10) == []  # one speed: nothing but memory


def test_footprints_are_within_their_level():
    found = [caches.Cache("L1", 32 * 2**10, 1), caches.Cache("L2", 2**20, 1), caches.Cache("L3", 32 * 2**20, 8)]
    one, four = ceilings.footprint_of(found, 1), ceilings.footprint_of(found, 4)
    assert one == {"L1": 2**14, "L2": 2**19, "L3": 2**24, "memory": 2**27}
    assert four == {"L1": 2**14, "L2": 2**19, "L3": 2**22, "memory": 2**25}


# --- threads that begin together --------------------------------------------------------------------------------------


def test_a_crew_runs_together_and_each_has_its_number():
    meeting = threading.Barrier(3, timeout=30)  # passed only by three at once

    def work(thread):
        meeting.wait()
        return thread

    with crew.Crew(3) as three:
        assert three.run(work) == [0, 1, 2]
        assert three.seconds(work) > 0
    with crew.Crew(1) as one:
        assert one.run(lambda thread: thread) == [0]


# --- what is measured -------------------------------------------------------------------------------------------------


def test_ceilings_hold_together(measured):
    found, said = measured
    assert found.cores >= 1
    for dtype, peak in found.peaks.items():
        if peak is None:
            assert dtype == "int8"
            assert not found.int8_instruction
        else:
            assert 0 < peak["one"] <= peak["all"] <= 1.5 * found.cores * peak["one"]
    # Lanes are half as wide, so twice as many: far from 2 only where another process had the core throughout.
    assert 1 < found.peak("float32") / found.peak("float64") < 4
    assert found.levels[-1].name == "memory"
    for level in found.levels:
        for cores in ("one", "all"):
            assert set(level.bandwidth[cores]) == set(ceilings.KINDS)
            assert all(rate > 0 for rate in level.bandwidth[cores].values())
    assert found.bandwidth("memory", "read") <= found.bandwidth("memory")
    measured_at_all = [dtype for dtype, peak in found.peaks.items() if peak]
    assert len(said) == 2 * (len(measured_at_all) + len(found.levels))


def test_no_rung_is_above_its_ceiling(measured):
    """Half as much again is left to chance: operations that were counted twice would show."""
    found, _ = measured
    for step in ladders.run(ladders.get("dense"), found, size=(64, 256, 256), budget_seconds=0, repeat=(5, 5)).steps:
        assert 0 < step.share < 1.5, step


def test_ceilings_are_measured_once_and_can_be_written(measured):
    found, _ = measured
    assert ceilings.measure() is found
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["peaks"]["float32"]["one"] == found.peak()
    assert png(pictures.of_ceilings(found)).startswith(b"\x89PNG")


def test_ceilings_show_themselves():
    found = made()
    for shown in (str(found), found._repr_html_()):
        for words in ("a processor", "float32", "GFLOP/s", "200", "memory", "all 2 cores", "triad", "13"):
            assert words in shown
        assert "int8" not in shown  # it was not measured


def test_reading_gives_a_rate_for_each_size_and_its_picture():
    sizes = [2**12, 2**16]
    rates = ceilings.reading(sizes, seconds=0.01)
    assert len(rates) == 2
    assert all(rate > 0.1 for rate in rates)
    cached = dataclasses.replace(made().levels[0], name="L1", size=2**14)
    found = dataclasses.replace(made(), levels=[cached, *made().levels])
    assert [found.holding(size) for size in (1, 2**14, 2**14 + 1)] == ["L1", "L1", "memory"]
    (axes,) = pictures.of_reading(sizes, rates, found).axes
    assert axes.lines[0].get_xdata().tolist() == sizes
    assert [text.get_text() for text in axes.texts] == ["L1 ends\n16 KiB"]


def test_the_least_time_by_hand():
    # 8e9 operations at 100 GFLOP/s are 80 ms, 4e9 bytes at 10 GB/s 400 ms; with all cores 40 ms and 4 / 15 s.
    assert made().limits(8e9, 4e9) == {"arithmetic": pytest.approx(0.08), "memory": pytest.approx(0.4)}
    # Of 2 GB one is read and written in place: 3 are moved, 2 of them as updates at 16 GB/s, 1 at 10.
    assert made().limits(0, 3e9, held=2e9) == {"arithmetic": 0, "memory": pytest.approx(2 / 16 + 1 / 10)}
    assert made().limits(8e9, 4e9, cores="all") == {"arithmetic": pytest.approx(0.04), "memory": pytest.approx(4 / 15)}


def test_points_on_the_roofline_by_hand():
    # 8e9 operations on 4e9 bytes in half a second: 2 a byte, 16 GFLOP/s.
    point = pictures.Point("numba relu", 8e9, 4e9, 0.5)
    assert (point.intensity, point.gflops) == (2, 16)
    (axes,) = pictures.of_points([point], made()).axes
    assert [2.0, 16.0] in [[*line.get_xdata(), *line.get_ydata()] for line in axes.lines]
    assert "numba relu" in [text.get_text() for text in axes.texts]


def test_the_roof_by_hand():
    # One core: 10 GB/s at most, so 2 operations a byte allow 20 GFLOP/s, and from 10 on the peak of 100 is the roof.
    found = made()
    assert found.roof(2) == 20
    assert found.roof(10) == found.roof(1000) == 100
    assert found.roof(2, cores="all") == 30
    assert found.bandwidth("memory", "copy", "all") == 12


def test_what_was_not_measured_says_so():
    with pytest.raises(ValueError, match="int8 was not measured"):
        made().peak("int8")
    with pytest.raises(ValueError, match="no level 'L9'"):
        made().bandwidth("L9")
    with pytest.raises(ValueError, match="seconds must be"):
        ceilings.measure(float("nan"))
