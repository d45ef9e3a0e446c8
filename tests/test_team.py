"""Threads that help with a call: woken or awake they take part, and nobody waits for one who comes too late."""

import math
import os
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("numba")

import minidl
from minidl.engines.numba_engine import atomics, infer, plan, team, threads
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.team import LINE, entry_of, packet_of, share

add, load = team.add_atomically, team.load_atomically


@njit(cache=False)
def visit(visits, wanted, thread, threads):
    """Note that this thread was here, and wait for so many others, but not for ever."""
    add(visits, thread * 16, 1)
    looks = 0
    while looks < 10_000_000_000:  # some 10 s: a virtual processor may be away for a second
        came = 0
        for other in range(threads):
            came += load(visits, other * 16)
        if came >= wanted:
            return
        looks += 1


@njit(cache=False)
def visit_together(bell, threads, *arguments):
    share(bell, threads, entry_of(visit, arguments), packet_of(arguments))


def visits(number, wanted):
    found = np.zeros(number * LINE, np.int64)
    team.together(visit_together, (found, wanted), number)
    return found[::LINE].tolist()


@pytest.fixture(autouse=True)
def own_team():
    """Each test has helpers of its own."""
    team.dismiss()
    yield
    team.dismiss()


@pytest.mark.parametrize("number", [2, 3, 8])
def test_every_thread_takes_part_once_where_the_call_lasts(number):
    for _ in range(5):
        assert visits(number, number) == [1] * number


def test_a_larger_team_keeps_those_who_are_there():
    assert visits(2, 2) == [1, 1]
    first = team._helpers[0]
    assert visits(3, 3) == [1, 1, 1]
    assert team._helpers[0] is first
    assert visits(2, 2) == [1, 1]  # the third is not asked


def test_a_helper_stays_awake_for_the_next_call_and_then_sleeps(monkeypatch):
    assert visits(2, 2) == [1, 1]
    helper = team._helpers[0]
    place = team.ASLEEP + helper.thread * LINE
    deadline = time.monotonic() + 30
    while helper.bell[place] == 0:
        assert time.monotonic() < deadline
    monkeypatch.setattr(team, "hold", lambda bell, threads: (False, -1))  # nobody is woken
    assert visits(2, 1) == [1, 0]  # it sleeps on, and is not waited for
    monkeypatch.undo()
    assert visits(2, 2) == [1, 1]


def test_a_second_team_makes_do_with_one_thread():
    assert visits(2, 2) == [1, 1]
    with team._running:
        assert visits(2, 1) == [1, 0]
    assert visits(2, 2) == [1, 1]


def test_an_interruption_while_a_helper_starts_leaves_no_two_of_one_number(monkeypatch):
    start = team.Helper.start

    def interrupted(helper):
        start(helper)
        raise KeyboardInterrupt

    monkeypatch.setattr(team.Helper, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        visits(2, 1)
    monkeypatch.undo()
    assert visits(2, 2) == [1, 1]
    assert [helper.thread for helper in team._helpers] == [1]


def test_fewer_helpers_do_where_the_system_has_no_more_threads(monkeypatch):
    def refuse(helper):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(team.Helper, "start", refuse)
    assert visits(3, 1) == [1, 0, 0]
    monkeypatch.undo()
    assert visits(3, 3) == [1, 1, 1]


@pytest.mark.parametrize("native", [True, False])
def test_helpers_are_woken_by_the_system_or_by_python(native, tmp_path):
    """As it is where the system has no futex."""
    code = (
        "import time, numpy as np\n"
        "from minidl.engines.numba_engine import atomics\n"
        f"atomics.FUTEX = atomics.FUTEX if {native} else 0\n"
        "from minidl.engines.numba_engine import infer, plan, team, threads\n"
        "threads.PATIENCE, answered = 10**10, 0\n"
        "for call in range(20):\n"
        "    answers = np.zeros(2 * team.LINE, np.int64)\n"
        "    team.together(threads.exchange_together, (answers, 5), 2)\n"
        "    answered += answers[0] == 5\n"
        "    time.sleep(0.02)\n"
        "deadline = time.monotonic() + 60\n"
        "while team._bell[team.ASLEEP + team.LINE] == 0 and time.monotonic() < deadline:\n"
        "    time.sleep(0.01)\n"
        "print(answered, team._bell[team.ASLEEP + team.LINE])\n"
    )
    environment = dict(os.environ) | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert (done.returncode, done.stdout) == (0, "20 1\n"), done.stderr


def test_a_process_ends_while_its_helpers_are_awake():
    code = (
        "import numpy as np, minidl\n"
        "from minidl.engines.numba_engine import infer, plan, team, threads\n"
        "threads.for_training = threads.for_call = lambda *work: 3\n"
        "model = minidl.Sequential([minidl.Dense(1, input_shape=(6,))], seed=0)\n"
        "model.compile('adam', 'mse', engine='numba')\n"
        "X, y = np.ones((256, 6)), np.ones(256)\n"
        "model.fit(X, y, batch_size=256, verbose=0)\n"
        "assert len(team._helpers) == 2\n"
        "model(X)\n"
    )
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.skipif(not atomics.FUTEX, reason="which processor a thread runs on is asked of Linux alone")
def test_helpers_keep_away_from_the_callers_processor():
    processors = os.sched_getaffinity(0)
    if len(processors) == 1:
        pytest.skip("there is one processor")
    code = (
        "import os, numpy as np, minidl\n"
        "from minidl.engines.numba_engine import infer, team, threads\n"
        "threads.for_call, threads.available = (lambda *work: 3), (lambda: 3)\n"
        "model = minidl.Sequential([minidl.Dense(1, input_shape=(6,))], seed=0)\n"
        "model.compile('adam', 'mse', engine='numba')\n"
        "X, processors = np.ones((2048, 6)), os.sched_getaffinity(0)\n"
        "threads.PAYS_TO_WAKE = 0\n"
        "model(X)\n"
        "for processor in sorted(processors)[:2] * 2:\n"
        "    os.sched_setaffinity(0, {processor})\n"
        "    team._moved = 0.0\n"
        "    model(X)\n"
        "    for helper in team._helpers:\n"
        "        assert os.sched_getaffinity(helper.native_id) == processors - {processor}\n"
        "print(len(team._helpers) > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_small_calls_have_several_threads_where_they_follow_each_other(monkeypatch):
    model = minidl.Sequential([minidl.Dense(300, "relu", input_shape=(400,)), minidl.Dense(3)], seed=0)
    model.compile("sgd", "mse", engine="numba")
    X = np.random.default_rng(0).normal(size=(40, 400)).astype(np.float32)
    monkeypatch.setattr(threads, "available", lambda: 2)
    for soon, calls, used in ((1e9, threads.ENOUGH, 1), (1e9, threads.ENOUGH + 1, 2), (-1, 2 * threads.ENOUGH, 1)):
        monkeypatch.setattr(threads, "SOON", soon)
        model._program.plans.clear()
        model(X)
        model._program.plans[40].stream.calls = 0  # whether the first call follows another depends on the clock
        for _ in range(calls - 1):
            model(X)
        plan = model._program.plans[40]
        assert plan.threads == 2
        assert len(plan.alone.free) == 1
        assert len(plan.free) == (used == 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "softmax"])
def test_a_few_rows_have_the_same_bits_when_the_units_are_parted(activation, dtype, monkeypatch):
    """Layers of an odd number of units, of one unit and of too little work, with what stands between layers."""
    monkeypatch.setattr(plan, "PAYS_TO_PART", 0)
    monkeypatch.setattr(plan, "PAYS_TO_MEET", 3_000)
    model = minidl.Sequential(
        [minidl.Normalization(input_shape=(57,)), minidl.Dense(163, activation), minidl.Dropout(0.5),
         minidl.Dense(5), minidl.Dense(301, activation), minidl.Dense(1)],
        seed=0,
    )  # fmt: skip
    model.compile("sgd", "mse", engine="numba", dtype=dtype)
    rng = np.random.default_rng(1)
    model.layers[0].adapt(rng.normal(2, 3, (50, 57)))
    program = model._program
    for rows in (1, 2, 5, 16, 29):
        X = rng.normal(size=(rows, 57)).astype(dtype)
        expected, found = np.empty((rows, 1), dtype), np.empty((rows, 1), dtype)
        infer.Inference(program, rows, 1).run(X, expected)
        for count in (2, 3, 8):
            inference = infer.Inference(program, rows, count)
            assert inference.call is infer.units_together
            found[:] = np.nan
            inference.run(X, found)
            np.testing.assert_array_equal(found, expected)


def test_the_jobs_of_a_few_rows(monkeypatch):
    """784-256-128-1: 8 rows make 1.6e6 multiply-adds in the first layer, which are parted, and 2.6e5 in the second."""
    layers = [minidl.Dense(256, "relu", input_shape=(784,)), minidl.Dense(128, "relu"), minidl.Dense(1)]
    model = minidl.Sequential(layers)
    model.compile("sgd", "mse", engine="numba")
    jobs, shares = plan.parted_by_units(model._program, 8, 2)
    # Operations: dense, ReLU, dense, ReLU, dense. What, from operation, to operation, from unit, to unit.
    assert jobs.tolist() == [[plan.UNITS, 0, 2, 0, 128], [plan.UNITS, 0, 2, 128, 256], [plan.PASS, 2, 5, 0, 0]]
    assert shares.tolist() == [[0, 1, 2], [2, 3, 3]]  # the caller does what is one job
    assert plan.parted_by_units(model._program, 1, 2) is None  # too little work
    assert plan.parted_by_units(model._program, plan.FEW + 1, 2) is None  # many rows are parted themselves
    assert plan.parted_by_units(model._program, 8, 1) is None


def test_two_threads_that_do_not_answer_are_not_waited_for():
    """A thread that is alone gives up, and the other finds that out when it comes."""
    answers = np.zeros(2 * threads.LINE, np.int64)
    threads.exchange(answers, 5, 0, 2)
    assert answers[0] > 5
    threads.exchange(answers, 5, 1, 2)
    assert answers[threads.LINE] == 5


def test_threads_are_asked_how_near_they_are_once_a_second(monkeypatch):
    asked = []
    monkeypatch.setattr(threads, "_near", (False, 0.0))
    monkeypatch.setattr(threads, "together", lambda *call: asked.append(call[2]))
    assert not threads.near()  # nobody has answered
    assert asked == [2] * threads.TRIES
    assert not threads.near()
    assert len(asked) == threads.TRIES


def test_training_has_several_threads_where_the_estimate_says_so(monkeypatch):
    """784-256-128-1 in float32, a multiply-add taking 10 ps: 3 products a row and 20 multiply-adds a parameter."""
    monkeypatch.setattr(threads, "available", lambda: 2)
    monkeypatch.setattr(threads, "pace", lambda: 1e-11)
    numbers = {"parameters": 233_985, "products": 237_568, "handed": 784 + 2 * 385, "item": 4}

    def chosen(near, rows, epoch_rows=8192, **changed):
        monkeypatch.setattr(threads, "_near", (near, math.inf))
        return threads.for_training(**(numbers | changed), rows=rows, epoch_rows=epoch_rows)

    # 32 rows: alone 275 us. Near: 137 + 0.2 + 0.57 MB at 17 GB/s = 171 us. Far, at 4.3 GB/s: 137 + 1.2 + 132 = 270 us.
    assert (chosen(True, 32), chosen(False, 32)) == (2, 1)
    # 256 rows: alone 1.87 ms. Far: 0.94 ms and 1.26 MB, 294 us.
    assert chosen(False, 256) == 2
    assert chosen(True, 32, 64) == 2
    assert chosen(True, 32, products=1_000, parameters=1_000) == 1  # the step is too small
    assert chosen(True, 32, 32) == 1  # the epoch is
    monkeypatch.setattr(threads, "available", lambda: 1)
    assert chosen(True, 256) == 1


def test_training_goes_on_with_the_number_of_threads_that_is_quicker(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(threads.time, "perf_counter", lambda: clock[0])
    choice, taken = threads.Choice(2), []

    def train(seconds, runs):
        for _ in range(runs):
            taken.append(choice.threads())
            clock[0] += seconds[taken[-1]]
            choice.note(taken[-1], seconds[taken[-1]], 10)

    train({1: 0.001, 2: 0.0006}, 100)
    assert set(taken) == {2}  # for the first tenth of a second
    train({1: 0.001, 2: 0.0006}, 900)
    assert 1 <= taken.count(1) <= 6
    del taken[:]
    train({1: 0.001, 2: 0.005}, 500)  # another program has come
    assert 1 <= taken.count(2) <= 25
    assert taken[100:].count(2) <= 4
    del taken[:]
    train({1: 0.001, 2: 0.0006}, 500)  # and has gone
    assert taken[250:].count(1) <= 3


def test_the_pace_of_a_core_is_measured_once():
    threads.pace.cache_clear()
    assert 1e-13 < threads.pace() < 1e-8
    assert threads.pace() is threads.pace()

