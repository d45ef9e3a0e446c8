"""The Numba engine computes the same on every kind of processor, and late in a training as early."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minidl

pytest.importorskip("numba")

ROOT = Path(minidl.__file__).parent.parent
# By Numba's own settings: what a processor without the features would be given.
PROCESSORS = {
    "AVX2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
    "no vectors beyond SSE2": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""},
}
CODE = """
import numpy as np, minidl
from minidl.engines.numba_engine import gemm
rng = np.random.default_rng(0)
for dtype in ("float32", "float64"):
    for n, i, o in (
        (1, 1, 1), (5, 7, 15), (13, 9, 17), (30, 300, 33), (3, 50, 300), (12, 256, 16), (7, 5, 31), (2, 3, 9),
        (1, 9, 290), (2, 9, 70), (14, 300, 290), (131, 300, 530), (129, 270, 525), (131, 300, 1023),
        *((n, i, o) for n in (1, 3, 4, 7, 13, 16, 25) for i in (1, 4, 5, 14, 33) for o in (1, 2, 3, 4, 5, 8)),
    ):
        x, W, b, dz = (rng.normal(size=shape).astype(dtype) for shape in ((n, i), (i, o), o, (n, o)))
        engine, unit = minidl.get_engine("numba"), 16 * np.finfo(dtype).eps / 2
        for run, A, B, add in (
            (lambda out: engine.dense(x, W, b, out=out), x, W, b),
            (lambda out: engine.dense_backward_x(dz, W, out=out), dz, W.T, 0),
            (lambda out: engine.dense_backward_W(x, dz, out=out), x.T, dz, 0),
        ):
            exact = A.astype(float) @ B.astype(float) + add
            room = np.full(exact.size + 2000, 7, dtype)  # beyond its result a product changes nothing
            found = run(room[1000:-1000].reshape(exact.shape))
            assert np.max(np.abs(found - exact) / (abs(A) @ abs(B) + abs(add))) <= unit
            assert (room[:1000] == 7).all() and (room[-1000:] == 7).all()
X, y = rng.normal(size=(150, 20)), rng.integers(2, size=150)
curves = []
for engine in ("numpy", "numba"):
    layers = [minidl.Dense(37, "relu"), minidl.Dropout(0.2), minidl.Dense(18, "tanh"), minidl.Dense(1, "sigmoid")]
    model = minidl.Sequential(layers, seed=1)
    model.compile("adam", "binary_crossentropy", engine=engine)
    curves.append(model.fit(X, y, batch_size=40, epochs=4, verbose=0).history["loss"])
np.testing.assert_allclose(*curves, rtol=1e-5)
print(gemm.VECTOR_BYTES, gemm.FUSED)
"""


@pytest.mark.parametrize("name", PROCESSORS)
def test_another_processor_computes_the_same(name, tmp_path):
    if not sys.platform.startswith("linux") or os.uname().machine != "x86_64":
        pytest.skip("the settings are those of x86-64")
    environment = os.environ | PROCESSORS[name] | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == {"AVX2": ["32", "True"]}.get(name, ["16", "False"]), done.stderr


def slots_of(model):
    return model._program.slots.ravel()


def test_no_subnormal_number_is_left_by_a_training():
    """A feature that is 0 but once: Adam's memory of its gradient shrinks by a factor a step, for ever."""
    X = np.zeros((60, 3), np.float32)
    X[:, 0], X[0, 1] = np.linspace(-1, 1, 60), 1e-18
    model = minidl.Sequential([minidl.Dense(4, "tanh"), minidl.Dense(1)], seed=0)
    model.compile(minidl.Adam(beta_1=0.5, beta_2=0.5), "mse", engine="numba")
    model.fit(X, X[:, 0], batch_size=10, epochs=40, shuffle=False, verbose=0)
    tiny = np.finfo(np.float32).tiny
    sizes = np.abs(slots_of(model))
    assert not ((sizes > 0) & (sizes < tiny)).any()
    reference = minidl.Sequential([minidl.Dense(4, "tanh"), minidl.Dense(1)], seed=0)
    reference.compile(minidl.Adam(beta_1=0.5, beta_2=0.5), "mse", engine="numpy")
    reference.fit(X, X[:, 0], batch_size=10, epochs=40, shuffle=False, verbose=0)
    sizes = np.abs(slots_of(reference))
    assert ((sizes > 0) & (sizes < tiny)).any()  # so there would have been some
    for found, expected in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-4)
    assert np.float32(1e-38) / np.float32(2**10) > 0  # and outside of the training they are there again
