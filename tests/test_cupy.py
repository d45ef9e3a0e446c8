"""The CuPy engine where it cannot run: what is said, that nothing imports CuPy unasked, and what CuPy must provide."""

import ast
import inspect
import os
import re
import subprocess
import sys
import tomllib
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import minidl
from minidl import engines
from minidl.engines import cupy_engine

ROOT = Path(__file__).parents[1]


def cupy_module(available, driver, devices):
    """What the engines ask of CuPy before they use it, answering as on a machine of this kind."""

    def count():
        if isinstance(devices, Exception):
            raise devices
        return devices

    module = ModuleType("cupy")
    module.__spec__ = ModuleSpec("cupy", None)
    module.is_available = lambda: available
    module.cuda = SimpleNamespace(runtime=SimpleNamespace(driverGetVersion=lambda: driver, getDeviceCount=count))
    return module


NO_DEVICE = RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
TOO_OLD = RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")
MACHINES = {
    "no cupy": (None, ["CuPy is not installed", 'pip install "minidl[cuda13]"', 'pip install "minidl[cuda12]"']),
    "no driver": (cupy_module(False, 0, TOO_OLD), ["there is no NVIDIA driver"]),
    "no device": (cupy_module(False, 13000, NO_DEVICE), ["there is no device", "cudaErrorNoDevice"]),
    "old driver": (cupy_module(False, 11000, TOO_OLD), ["there is no device", "driver version is insufficient"]),
}


@pytest.fixture(params=MACHINES)
def machine(request, monkeypatch):
    module, words = MACHINES[request.param]
    monkeypatch.setitem(sys.modules, "cupy", module)  # None stands for a module that is not there
    monkeypatch.setattr(engines, "_loaded", {})
    return words


def test_one_sentence_says_what_is_missing(machine):
    reason = engines.why_not("cupy")
    assert all(word in reason for word in machine)
    assert "\n" not in reason
    with pytest.raises(RuntimeError) as refused:
        minidl.get_engine("cupy")
    assert str(refused.value) == f"the engine 'cupy' cannot run here: {reason}"
    model = minidl.Sequential([minidl.Dense(1, input_shape=(2,))])
    with pytest.raises(RuntimeError) as refused:
        model.compile("sgd", "mse", engine="cupy")
    assert str(refused.value) == f"the engine 'cupy' cannot run here: {reason}"


def test_each_lack_has_a_sentence_of_its_own(monkeypatch):
    reasons = set()
    for module, _ in MACHINES.values():
        monkeypatch.setitem(sys.modules, "cupy", module)
        reasons.add(engines.why_not("cupy"))
    assert len(reasons) == len(MACHINES)


def test_a_device_is_enough(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", cupy_module(True, 13000, 1))
    assert engines.why_not("cupy") == ""


def test_a_cupy_that_does_not_import_says_so(tmp_path, monkeypatch):
    (tmp_path / "cupy.py").write_text("raise SystemError('libcudart is broken')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    reason = engines.why_not("cupy")
    assert reason.startswith("CuPy is installed but does not import (libcudart is broken)")
    assert "pip install -U" in reason


@pytest.mark.parametrize(
    "code",
    [
        "import minidl; minidl.get_engine('numpy')",
        "import minidl; minidl.get_engine('auto')",
        "import minidl; m = minidl.Sequential([minidl.Dense(1, input_shape=(2,))])\n"
        "m.compile('sgd', 'mse'); m([[1, 2]])",
        "import inspect, minidl.engines.cupy_engine.train as t, minidl.engines.cupy_engine.losses as l\n"
        "inspect.getsource(l.binary_crossentropy), inspect.unwrap(t.Trainer), hasattr(l.xp, '__wrapped__')",
    ],
    ids=["numpy", "auto", "a model", "reading the source"],
)
def test_nothing_imports_cupy_unasked(code, tmp_path):
    (tmp_path / "cupy.py").write_text("raise SystemExit('CuPy was imported')\n")
    environment = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "PATH": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", code + "\nimport sys; assert 'cupy' not in sys.modules"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


def test_an_extra_brings_a_wheel_and_never_builds_from_source():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert extras["cuda12"] == ["cupy-cuda12x[ctk]>=14"]  # before 14 there was no [ctk]
    assert extras["cuda13"] == ["cupy-cuda13x[ctk]>=14"]
    assert extras["test-gpu"][0] == "cupy-cuda13x>=14"
    required = [*project["project"]["dependencies"], *(package for extra in extras.values() for package in extra)]
    found = [package for package in required if package.startswith("cupy")]
    assert found == [*extras["cuda12"], *extras["cuda13"], "cupy-cuda13x>=14"]
    assert project["tool"]["uv"]["conflicts"] == [
        [{"extra": "cuda12"}, {"extra": other}] for other in ("cuda13", "test-gpu")
    ]


# --- against the real CuPy, which need not have a GPU to be asked what it has -----------------------------------------


def uses_of_xp():
    """Every ``xp.name`` in the engine's files, with the keywords it is called with."""
    found = {}
    for path in sorted(Path(cupy_engine.__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            name = dotted(node)
            if name:
                found.setdefault(name, set())
            if isinstance(node, ast.Call) and dotted(node.func):
                found.setdefault(dotted(node.func), set()).update(keyword.arg for keyword in node.keywords)
    return found


def dotted(node):
    """ "add.at" for the expression xp.add.at; empty for anything else."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join(reversed(names)) if isinstance(node, ast.Name) and node.id == "xp" else ""


def test_uses_of_xp_are_found():
    found = uses_of_xp()
    assert found["sum"] == {"axis", "dtype", "keepdims", "out"}
    assert "add.at" in found
    assert "cuda.get_current_stream" in found


def test_the_real_cupy_has_what_the_engine_uses():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    for name, keywords in uses_of_xp().items():
        found = cupy
        for part in name.split("."):
            assert hasattr(found, part), f"CuPy {cupy.__version__} has no {name}"
            found = getattr(found, part)
        if keywords:  # a ufunc does not show its signature
            known = {"out", "dtype"} if isinstance(found, cupy.ufunc) else keywords_of(found)
            assert keywords <= known, f"CuPy {cupy.__version__}: {name}"


def keywords_of(function):
    """By its signature; what is written in Cython may show it only in the first line of its help."""
    try:
        return set(inspect.signature(function).parameters)
    except ValueError:
        return set(re.findall(r"\w+", (function.__doc__ or "").partition("\n")[0]))


def test_the_real_cupy_s_objects_have_what_the_device_uses():
    """What device.py asks of a stream, a graph, a kernel and an array."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    for kind, names in (
        (cupy.cuda.Stream, ["begin_capture", "end_capture", "synchronize", "record", "wait_event", "__enter__"]),
        (cupy.cuda.Event, ["synchronize"]),
        (cupy.cuda.Graph, ["launch"]),
        (cupy.cuda.Device, ["attributes", "compute_capability", "mem_info"]),
        (cupy.cuda.MemoryPool, ["free_bytes"]),
        (cupy.RawModule, ["get_function"]),
        (cupy.RawKernel, ["__call__", "max_dynamic_shared_size_bytes"]),
        (cupy.ndarray, ["set", "data", "dtype", "shape"]),
    ):
        assert all(hasattr(kind, name) for name in names), kind


def test_the_real_cupy_without_a_gpu_says_what_is_missing():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if cupy.is_available():
        pytest.skip("there is a GPU here")
    driver = cupy.cuda.runtime.driverGetVersion()
    assert ("there is no device" if driver else "there is no NVIDIA driver") in engines.why_not("cupy")
