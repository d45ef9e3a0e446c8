"""A thread that leaves its team leaves its jobs to the others: nobody waits for ever, and nothing is half done."""

import subprocess
import sys

import pytest

pytest.importorskip("numba")

BEFORE = """
import threading
import numpy as np, minidl
from minidl.engines.numba_engine import threads, train
threads.for_training = threads.for_call = lambda *work: 3
model = minidl.Sequential([minidl.Dense(1, input_shape=(6,))], seed=0)
model.compile('adam', 'mse', engine='numba')
X, y = np.ones((256, 6)), np.ones(256)
model.fit(X, y, batch_size=256, verbose=0)
model.fit(X, y, batch_size=256, verbose=0)
after_two = model.get_weights(), model._program.step
model = minidl.Sequential([minidl.Dense(1, input_shape=(6,))], seed=0)
model.compile('adam', 'mse', engine='numba')
model.fit(X, y, batch_size=256, verbose=0)

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
    if threading.current_thread() is not threading.main_thread():
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
for found, expected in zip(model.get_weights(), after_two[0]):
    np.testing.assert_array_equal(found, expected)
assert model._program.step == after_two[1]
threads.ThreadPoolExecutor, train.run_batches = pool, run_batches
model.fit(X, y, batch_size=256, verbose=0)  # with a new team
print("alive")
"""


@pytest.mark.parametrize("who", LEAVES)
def test_nobody_waits_for_one_who_has_left(who):
    code = BEFORE + LEAVES[who] + AFTER
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["left", "alive"], done.stderr


def test_two_threads_that_do_not_answer_are_not_waited_for():
    """A thread that is alone gives up, and the other finds that out when it comes."""
    import numpy as np

    from minidl.engines.numba_engine import threads

    answers = np.zeros(2 * threads.LINE, np.int64)
    threads.exchange(answers, 0, 5)
    assert answers[0] > 5
    threads.exchange(answers, 1, 5)
    assert answers[threads.LINE] == 5


def test_threads_are_asked_how_near_they_are_once_a_second(monkeypatch):
    from minidl.engines.numba_engine import threads

    asked = []
    monkeypatch.setattr(threads, "available", lambda: 2)
    monkeypatch.setattr(threads, "_near", (False, 0.0))
    monkeypatch.setattr(threads, "exchange", lambda answers, thread, calls: asked.append(thread))
    work = threads.PAYS, threads.FAR_ROWS - 1, threads.PAYS_TO_WAKE
    assert threads.for_training(*work) == 1  # nobody has answered
    assert sorted(asked) == [0, 0, 0, 1, 1, 1]
    assert threads.for_training(*work) == 1
    assert len(asked) == 6
    monkeypatch.setattr(threads, "_near", (True, float("inf")))
    assert threads.for_training(*work) == 2
    assert threads.for_training(threads.PAYS / 2, *work[1:]) == 1
    assert threads.for_training(work[0], threads.NEAR_ROWS - 1, work[2]) == 1
    assert threads.for_training(work[0], threads.FAR_ROWS, threads.PAYS_TO_WAKE / 2) == 1
