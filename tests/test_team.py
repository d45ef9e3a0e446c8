"""A thread that leaves its team takes the others along: nobody waits for ever for what will not come."""

import subprocess
import sys

import pytest

pytest.importorskip("numba")

BEFORE = """
import numpy as np, minidl
from minidl.engines.numba_engine import threads, train
threads.PAYS, threads.available = 0, lambda: 3
model = minidl.Sequential([minidl.Dense(1, input_shape=(6,))], seed=0)
model.compile('adam', 'mse', engine='numba')
X, y = np.ones((256, 6)), np.ones(256)
model.fit(X, y, batch_size=256, verbose=0)
before = [array.copy() for array in model.get_weights()]

class Leaving(threads.ThreadPoolExecutor):
    asked = 0
    def submit(self, *work):
        Leaving.asked += 1
        if Leaving.asked == 2:
            raise KeyboardInterrupt
        return super().submit(*work)

pool, run_batches = threads.ThreadPoolExecutor, train.run_batches
"""
LEAVES = {
    "the main thread, before its own share": "threads._pool, threads.ThreadPoolExecutor = None, Leaving",
    "another thread": """
def leaving(*arguments):
    if arguments[-3] == 2:
        raise KeyboardInterrupt
    return run_batches(*arguments)
train.run_batches = leaving
""",
}
AFTER = """
try:
    model.fit(X, y, batch_size=256, verbose=0)
except KeyboardInterrupt:
    print("left")
for found, expected in zip(model.get_weights(), before):
    np.testing.assert_array_equal(found, expected)
threads.ThreadPoolExecutor, train.run_batches = pool, run_batches
model.fit(X, y, batch_size=256, verbose=0)  # with a new team
print("alive")
"""


@pytest.mark.parametrize("who", LEAVES)
def test_nobody_waits_for_one_who_has_left(who):
    code = BEFORE + LEAVES[who] + AFTER
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["left", "alive"], done.stderr
