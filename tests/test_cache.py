"""Numba's compile cache: it notices every change, survives damage, and is done without where nothing can be written."""

import importlib
import importlib.util
import os
import pickle
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

from numba import config
from numba.core.caching import IndexDataCacheFile
from numba.core.dispatcher import Dispatcher

from minidl.engines import numba_engine
from minidl.engines.numba_engine import cache

SOURCE = """
from minidl.engines.numba_engine.cache import njit

@njit(cache=True)
def plus(x):
    return x + 2

@njit(cache=True)
def times(x):
    return x * 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a small module of kernels, its cache below it, and nothing said so far."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_said", set())
    (tmp_path / "kernels.py").write_text(SOURCE)
    return tmp_path


def fresh(folder):
    """The module as a new process would import it."""
    spec = importlib.util.spec_from_file_location("kernels", folder / "kernels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loaded(function, argument):
    """What the function returns, and whether its code came from the cache."""
    result = function(argument)
    stats = function.stats
    assert sum(stats.cache_hits.values()) + sum(stats.cache_misses.values()) == 1
    return result, bool(stats.cache_hits)


def test_compiled_once_then_loaded_and_the_waiting_is_announced_once(folder, capsys):
    module = fresh(folder)
    assert loaded(module.plus, 1) == (3, False)
    assert loaded(module.times, 1) == (3, False)
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("minidl: compiling what the Numba engine needs")
    assert str(folder / "cache") in said
    cache._said.clear()
    module = fresh(folder)
    assert loaded(module.plus, 1) == (3, True)
    assert loaded(module.times, 1) == (3, True)
    assert capsys.readouterr().err == ""


def scrambled(data):
    return bytes((byte * 31 + place * 17 + 5) % 256 for place, byte in enumerate(data))


DAMAGES = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "overwritten": lambda path: path.write_bytes(scrambled(path.read_bytes())),
    "text": lambda path: path.write_text("this is no compiled code\n" * 50),
    "another pickle": lambda path: path.write_bytes(pickle.dumps(5) * 2),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_damaged_files_are_compiled_anew_and_mended(folder, kind, damage):
    fresh(folder).plus(1)
    (path,) = (folder / "cache").rglob(f"*.{kind}")
    DAMAGES[damage](path)
    assert loaded(fresh(folder).plus, 1) == (3, False)
    assert loaded(fresh(folder).plus, 1) == (3, True)


def test_another_stamp_makes_all_code_old(folder, monkeypatch):
    module = fresh(folder)
    module.plus(1), module.times(1)
    monkeypatch.setattr(cache, "STAMP", "made from other sources")
    for hit in (False, True):  # compiled for the new stamp, then kept under it
        module = fresh(folder)
        assert loaded(module.plus, 1) == (3, hit)
        assert loaded(module.times, 1) == (3, hit)


def test_the_stamp_is_made_from_every_source(tmp_path):
    here = Path(numba_engine.__file__).parent
    assert set(cache.SOURCES) == {*here.glob("*.py"), here.parent.parent / "contract.py"}
    copies = [Path(shutil.copy(source, tmp_path / f"{place}.py")) for place, source in enumerate(cache.SOURCES)]
    assert cache.stamp_of(copies) == cache.STAMP
    stamps = {cache.STAMP}
    for path in copies:
        text = path.read_text()
        path.write_text(text + "\n")
        stamps.add(cache.stamp_of(copies))
        path.write_text(text)
    assert len(stamps) == len(copies) + 1


def test_every_kernel_of_the_engine_is_cached_under_the_stamp():
    found = []
    for info in pkgutil.iter_modules(numba_engine.__path__):
        module = importlib.import_module(f"{numba_engine.__name__}.{info.name}")
        found += [value for value in vars(module).values() if isinstance(value, Dispatcher)]
    assert len(found) > 40
    for kernel in found:
        assert isinstance(kernel._cache, cache.Cache), kernel
        assert kernel._cache._cache_file._source_stamp == cache.STAMP


def test_a_full_disk_stops_nothing_and_is_said_once(folder, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(IndexDataCacheFile, "_save_index", full)
    module = fresh(folder)
    assert loaded(module.plus, 1) == (3, False)
    assert loaded(module.times, 1) == (3, False)
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "cannot be kept" in line] == [
        "minidl: compiled code cannot be kept ([Errno 28] No space left on device); it is compiled in every run"
    ]


@pytest.mark.parametrize("place", ["below a file", "below a device"])
def test_without_a_folder_to_write_the_run_continues_and_says_so_once(folder, place):
    """Every place Numba would take is barred by a file where a folder should be, which stops root too."""
    (folder / "__pycache__").write_text("")
    (folder / "file").write_text("")
    barred = {"below a file": str(folder / "file" / "x"), "below a device": "/dev/null/x"}[place]
    found = subprocess.run(
        [sys.executable, "-c", "import kernels; print(kernels.plus(1), kernels.times(1))"],
        capture_output=True, text=True, timeout=60, cwd=folder, check=True,
        env=os.environ | {"NUMBA_CACHE_DIR": barred, "XDG_CACHE_HOME": barred, "HOME": barred},
    )  # fmt: skip
    assert found.stdout.split() == ["3", "3"]
    (said,) = found.stderr.splitlines()
    assert said.startswith("minidl: compiled code cannot be kept (")
    assert said.endswith("; it is compiled in every run")
