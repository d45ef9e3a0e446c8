"""The Numba engine's products in whole numbers are exact, to the last of them, on every kind of processor."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

from test_processors import PROCESSORS, ROOT

CODE = """
import numpy as np
from minidl.engines.numba_engine import gemm_int8 as g
from minidl.engines.numba_engine.infer_int8 import quantize_rows
from minidl.engines.numba_engine.processor import host

rng, zero = np.random.default_rng(0), np.float32(7)
for n, i, o in (
    (1, 1, 1), (1, 37, 65), (2, 5, 31), (3, 64, 33), (4, 66, 32), (7, 9, 130), (12, 130, 64), (13, 101, 17),
    (29, 784, 70), (1, 3000, 3), (5, 3000, 3),
):
    units, steps = g.whole_panels(o), g.steps_of(i)
    for extreme in (False, True):
        q = np.full((n, i), 255) if extreme else rng.integers(0, 256, (n, i))
        W = np.tile(rng.choice([-127, 127], o), (i, 1)) if extreme else rng.integers(-127, 128, (i, o))
        offsets, factors = np.zeros(units, np.int32), np.zeros(units, np.float32)
        offsets[:o], factors[:o] = rng.integers(-9999, 9999, o), rng.random(o) * 1e-3
        A = rng.integers(0, 256, (n, steps * g.FOUR)).astype(np.uint8)  # what is filled up may be anything
        A[:, :i] = q
        exact = q.astype(np.int64) @ W.astype(np.int64) + offsets[:o]
        for dtype in (np.int32, np.uint8):
            room = np.full(n * units + 400, 9, dtype)
            g.multiply_int8(
                n, units, steps, room[200:-200], units, offsets, factors, A.view(np.int32).reshape(-1), steps,
                g.pack(W.astype(np.int8)), zero, zero,
            )
            assert (room[:200] == 9).all() and (room[-200:] == 9).all()
            wanted = exact
            if dtype == np.uint8:
                wanted = np.clip(np.rint(exact.astype(np.float32) * factors[:o]) + zero, zero, 255)
            assert (room[200:-200].reshape(n, units)[:, :o] == wanted).all(), (n, i, o, dtype)
x = np.append(rng.normal(size=(3, 63)) * 200, [[0.5, 1.5, 2.5, np.nan, np.inf, -np.inf]] * 3, axis=1).astype(np.float32)
made, shifted = np.full(3 * 80 + 20, 9, np.uint8), np.rint(x * np.float32(0.5)) + zero
outside = quantize_rows(x, np.float32(0.5), zero, made, 80)
assert outside == (~((shifted >= 0) & (shifted <= 255))).sum() > 10
made = made[:240].reshape(3, 80)
assert (made[:, :69] == np.clip(np.nan_to_num(shifted, nan=0), 0, 255)).all() and (made[:, 69:] == 9).all()
print(host().vector_bytes, host().int8 or "pairs")
"""


@pytest.mark.parametrize("name", [None, *PROCESSORS])
def test_products_in_whole_numbers_are_exact(name, tmp_path):
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path)}
    if name is not None:
        if not sys.platform.startswith("linux") or os.uname().machine != "x86_64":
            pytest.skip("the settings are those of x86-64")
        environment |= PROCESSORS[name]
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if name is not None:
        assert done.stdout.split() == [{"AVX2": "32"}.get(name, "16"), "pairs"]
