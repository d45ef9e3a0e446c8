"""Timing on a clock made by hand: what is called when, what is thrown out, and the numbers that come of it."""

import gc
import json

import numpy as np
import pytest

from minidl.bench import machine, timing


class Workshop:
    """A clock that only moves when a rival works, and a record of who worked when."""

    def __init__(self, **nanoseconds):
        self.now, self.record = 0, []
        self.rivals = {name: lambda name=name, cost=cost: self.work(name, cost) for name, cost in nanoseconds.items()}

    def work(self, name, cost):
        self.record.append(name)
        self.now += cost(self.record.count(name)) if callable(cost) else cost
        return name

    def clock(self):
        return self.now


def test_each_is_called_once_then_in_turns():
    shop = Workshop(A=400_000, B=200_000)  # each long enough for a sample by itself
    found = timing.compare(shop.rivals, repeat=(3, 3), clock=shop.clock)
    first, *rounds = [tuple(shop.record[start : start + 2]) for start in range(0, len(shop.record), 2)]
    assert first == ("A", "B")
    assert shop.record[2:6] == ["A", "A", "B", "B"]  # until each is known to be long enough
    assert rounds[2:] == [("A", "B")] * 3
    assert found.timings["A"].samples == found.timings["B"].samples == 3


def test_a_list_of_numbers_is_an_array():
    timing.close(0.1)({"list": [1.0, 2.0], "array": np.array([1.0, 2.1])})
    timing.close(0.1)({"one": [np.array([1.0]), np.array([2.0])], "other": [[1.0], [2.0]]})
    with pytest.raises(timing.Disagreement, match=r"array differs from list by 0\.15"):
        timing.close(0.1)({"list": [1.0, 2.0], "array": np.array([1.0, 2.3])})


def test_first_call_is_reported_apart():
    shop = Workshop(A=1_000_000, B=lambda call: 9_000_000_000 if call == 1 else 250_000)
    found = timing.compare(shop.rivals, repeat=(5, 5), clock=shop.clock)
    assert found.timings["B"].first_call == 9
    assert found.timings["B"].median == found.timings["B"].least == 0.00025
    assert found.speedups["B"].value == 4


def test_short_calls_are_looped_until_a_sample_is_long_enough():
    shop = Workshop(A=1_000)
    found = timing.compare(shop.rivals, repeat=(2, 2), clock=shop.clock).timings["A"]
    assert found.loops == 256  # the first power of two that reaches 200 us
    assert found.median == pytest.approx(1e-6)


def test_budget_ends_the_run_between_least_and_most_samples():
    slow = Workshop(A=1_000_000_000)
    assert timing.compare(slow.rivals, repeat=(4, 50), budget_seconds=0.5, clock=slow.clock).timings["A"].samples == 4
    fast = Workshop(A=1_000_000)
    assert timing.compare(fast.rivals, repeat=(4, 50), budget_seconds=0.02, clock=fast.clock).timings["A"].samples == 20


def test_preparation_comes_before_every_sample_and_is_not_timed():
    shop = Workshop(A=300_000)

    def prepare(name):
        shop.record.append(f"prepare {name}")
        shop.now += 7_000_000

    found = timing.compare(shop.rivals, prepare=prepare, repeat=(2, 2), clock=shop.clock)
    assert shop.record == ["prepare A", "A"] * 5  # the first call, twice until it is long enough, and two samples
    assert found.timings["A"].median == pytest.approx(0.0003)


def test_rivals_that_disagree_are_not_timed():
    shop = Workshop(A=300_000, B=300_000)
    rivals = {"A": lambda: np.ones(3), "B": lambda: shop.work("B", 1) and np.array([1, 1, 1.01])}
    with pytest.raises(timing.Disagreement, match=r"^B differs from A by 0.01 .* more than 0.0001; nothing was timed$"):
        timing.compare(rivals, validate=timing.close(1e-4), clock=shop.clock)
    assert shop.record == ["B"]  # its first call, and no other


@pytest.mark.parametrize(
    ("found", "error"),
    [
        ([1.0, 2.0], 0),
        ([1.0, 2.002], 0.001),  # of the largest entry, 2
        ([1.0, np.nan], np.inf),
        ([1.0], np.inf),
    ],
)
def test_difference(found, error):
    assert timing.difference(np.array([1.0, 2.0]), np.array(found)) == pytest.approx(error)


def test_medians_quartiles_and_ratio_by_hand():
    # A: median 4, quartiles 3 and 5 (five values, so they are values themselves). B is half of A in every round: the
    # ratio is 2 however the rounds are drawn again, although each of the two varies.
    found = timing.summarize({"A": 9, "B": 8}, {"A": [2, 5, 4, 3, 6], "B": [1, 2.5, 2, 1.5, 3]}, {"A": 1, "B": 2})
    a = found.timings["A"]
    assert (a.first_call, a.median, a.low, a.high, a.least, a.samples, a.loops) == (9, 4, 3, 5, 2, 5, 1)
    assert found.baseline == "A"
    assert found.speedups["A"] == timing.Ratio(1, 1, 1)
    assert found.speedups["B"] == timing.Ratio(2, 2, 2)


def test_interval_holds_the_ratio_and_is_the_same_every_time():
    rng = np.random.default_rng(1)
    a, b = rng.normal(6, 0.3, 100).tolist(), rng.normal(2, 0.1, 100).tolist()
    found = timing.ratio(a, b)
    assert 2.9 < found.low < found.value < found.high < 3.1
    assert timing.ratio(a, b) == found


def test_a_ratio_of_the_least_is_not_moved_by_what_disturbs_most_samples():
    # 4 against 2 where nothing disturbed: in the first and the last round of A, in the second of B.
    a, b = [4, 9, 40, 4], [20, 2, 30, 8]
    assert timing.ratio(a, b, np.min).value == 2
    assert timing.ratio(a, b).value == 6.5 / 14
    found = timing.summarize({"A": 9, "B": 9}, {"A": a, "B": b}, {"A": 1, "B": 1}, np.min)
    assert found.speedups["B"].value == 2
    assert found.speedups["B"].low <= 2 <= found.speedups["B"].high


def test_collector_rests_while_timing_and_comes_back():
    states = []
    timing.compare({"A": lambda: states.append(gc.isenabled())}, repeat=(2, 2), budget_seconds=0)
    assert states[0] is True  # the first call
    assert not any(states[1:])
    assert gc.isenabled()


def test_facts_of_the_machine_can_be_written_as_json():
    facts = json.loads(json.dumps(machine.facts(), allow_nan=False))
    assert facts["processor"]
    assert facts["cores"] >= 1
    assert facts["threads"]["blas"] >= 1  # NumPy's wheels bring a library that can be asked
    assert facts["versions"]["numpy"] == np.__version__
