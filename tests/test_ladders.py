"""Every rung of every ladder computes the same, and tables and pictures say what was measured."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_ceilings import made

pytest.importorskip("numba")

from minidl.bench import ladders, pictures, timing
from minidl.bench.ladders import ladder as ladder_
from minidl.engines import get_engine
from minidl.plots import png

SMALL = {
    "dense": [(1, 1, 1), (13, 7, 5), (9, 3, 70), (17, 40, 129)],
    "activations": [(1,), (1013,)],
    "epoch": [(37, (5, 7, 3, 1), 8)],
    "epoch-large": [(20, (3, 4, 1), 64)],
}
RUNGS = [(name, rung.name) for name in ladders.NAMES for rung in ladders.get(name).rungs]


@pytest.mark.parametrize(("name", "rung"), RUNGS)
def test_every_rung_follows_the_reference_in_odd_shapes(name, rung):
    ladder = ladders.get(name)
    rung = next(each for each in ladder.rungs if each.name == rung)
    for size in SMALL[name]:
        inputs = ladder.make(*size, np.random.default_rng(1))
        part = ladder.part(rung.rows, *inputs) if rung.rows else inputs
        expected = np.asarray(ladder.reference(*part))
        call = ladder_.call_of(rung, part)
        for _ in range(2):  # a second call begins from the same state
            ladder.reset(*inputs)
            ladder_.check(ladder, rung.name, expected, call())


@pytest.mark.parametrize(("name", "rung"), RUNGS)
def test_every_rung_shows_its_source_and_says_what_it_shows(name, rung):
    rung = next(each for each in ladders.get(name).rungs if each.name == rung)
    assert rung.source.count("def ") >= 1
    assert rung.shows.endswith(".")
    assert rung.shows.count(".") <= 3  # a sentence or two


def test_epochs_move_the_parameters():
    ladder = ladders.get("epoch")
    inputs = ladder.make(*SMALL["epoch"][0], np.random.default_rng(1))
    assert np.max(np.abs(ladder.reference(*inputs) - inputs[1])) > 1e-3


def test_one_thread_is_what_the_trainer_is_set_to():
    """The rung of one run sets the trainer's ``threads``: it would mean nothing if the engine named it otherwise."""
    from minidl.bench.ladders import epoch

    inputs = epoch.make(8, (3, 2, 1), 4, np.random.default_rng(0))
    assert hasattr(get_engine("numba").trainer(*inputs[:1], *inputs[2:4], None, 4), "threads")


def test_a_trainer_that_is_set_to_one_thread_asks_no_other(monkeypatch):
    from minidl.bench.ladders import epoch
    from minidl.engines.numba_engine import threads, train

    used, together = [], train.together
    monkeypatch.setattr(threads, "for_training", lambda *work: 2)
    monkeypatch.setattr(train, "together", lambda *call: used.append(call[2]) or together(*call))
    inputs = epoch.make(8, (3, 2, 1), 4, np.random.default_rng(0))
    trainer = get_engine("numba").trainer(*inputs[:1], *inputs[2:4], None, 4)
    for trainer.threads in (2, 1, 1, 1):
        trainer.run(np.arange(8)[None], 0, 8)
    assert used == [2, 1, 1, 1]


def test_a_wrong_rung_is_found_and_nothing_is_timed():
    ladder = ladders.get("dense")
    calls = []

    def wrong(x, W, b, y):
        calls.append(1)
        y[:] = x @ W  # without b
        return y

    spoilt = replace(ladder, rungs=(ladder.rungs[1], ladders.Rung("wrong", "Forgets b.", wrong)))
    with pytest.raises(timing.Disagreement, match="the rung 'wrong' differs from the reference"):
        ladders.run(spoilt, made(), size=(3, 4, 5))
    assert len(calls) == 1


def test_a_result_left_by_the_rung_before_does_not_pass():
    ladder = ladders.get("dense")
    idle = ladders.Rung("idle", "Returns what lies there.", lambda x, W, b, y: y)
    with pytest.raises(timing.Disagreement, match="'idle'"):
        ladders.run(replace(ladder, rungs=(ladder.rungs[1], idle)), made(), size=(3, 4, 5))


@pytest.mark.parametrize("name", ladders.NAMES)
def test_ladders_run_and_show_themselves(name):
    climb = ladders.run(ladders.get(name), made(), size=SMALL[name][-1], budget_seconds=0, repeat=(2, 2))
    assert [step.name for step in climb.steps] == [rung.name for rung in ladders.get(name).rungs]
    json.dumps(climb.to_dict(), allow_nan=False)
    for step in climb.steps:
        assert step.low <= step.seconds <= step.high
        assert step.share == pytest.approx(step.rate / step.ceiling)
        assert step.name in str(climb)
        assert step.name in climb._repr_html_()
    assert png(pictures.of_climb(climb, made())).startswith(b"\x89PNG")


def test_rates_shares_and_ratios_by_hand():
    # All rungs have 8 operations but "part", which is tried on one of 4 rows and has 2. The ceiling is 100 for one core
    # and 200 for all. Three equal samples each: quartiles and intervals are the medians themselves.
    ladder = replace(
        ladders.get("dense"),
        rungs=(
            ladders.Rung("part", "", None, rows=1),
            ladders.Rung("yardstick", "", None, cores="all", aside=True),
            ladders.Rung("faster", "", None),
            ladders.Rung("slower", "", None),
            ladders.Rung("same", "", None),
        ),
    )
    seconds = {"part": 1e-9, "yardstick": 1e-9, "faster": 0.5e-9, "slower": 1e-9, "same": 0.98e-9}
    samples = {name: [value] * 3 for name, value in seconds.items()}
    found = timing.summarize(seconds, samples, dict.fromkeys(seconds, 1))
    work = {name: ladders.Work(2 if name == "part" else 8, 4) for name in seconds}
    part, yardstick, faster, slower, same = ladder_.steps_of(ladder, found, work, made())
    assert (part.rate, part.share, part.over_before, part.over_first, part.intensity) == (
        pytest.approx(2), pytest.approx(0.02), None, None, 0.5
    )  # fmt: skip
    assert (yardstick.share, yardstick.over_before.value) == (pytest.approx(0.04), pytest.approx(4))
    assert yardstick.remark == ""
    # 16 operations a nanosecond: 8 times "part", on which it builds, although the yardstick lies between.
    assert (faster.rate, faster.over_before.value, faster.remark) == (pytest.approx(16), pytest.approx(8), "")
    assert (slower.over_before.value, slower.remark) == (pytest.approx(0.5), "does not pay here, it is slower")
    assert same.over_before.value == pytest.approx(1 / 0.98)
    assert same.remark == "does not pay here, it gains next to nothing"
    assert same.over_first.value == pytest.approx(4 / 0.98)


def test_what_varies_too_much_is_no_gain():
    # 1.3 times as fast by the medians, but drawn again it may as well be slower; and the first rung has none before it.
    assert ladder_.remark(timing.Ratio(1.3, 0.9, 1.6)) == "does not pay here, there is no clear difference"
    assert ladder_.remark(timing.Ratio(1.3, 1.2, 1.6)) == ladder_.remark(None) == ""


def test_labels_are_put_apart_and_stay_in_order():
    # On an axis from 1 to 100 a share of 0.1 is a factor of 100^0.1. The two at 10 go to both sides of it, 50 stays.
    places = pictures.apart([10.0, 50.0, 10.0], 1, 100, 0.1)
    assert places == pytest.approx([10 / 100**0.05, 50, 10 * 100**0.05])
    assert pictures.apart([], 1, 100, 0.1) == []


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'dense'"):
        ladders.get("dens")
    done = subprocess.run([sys.executable, "-m", "perf", "ladder", "epohc"], capture_output=True, text=True, timeout=60,
                          cwd=Path(__file__).parent.parent, check=False)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == "perf ladder: ladder cannot be 'epohc'; did you mean 'epoch'?"


def test_every_ladder_names_its_rungs_once():
    for name in ladders.NAMES:
        names = [rung.name for rung in ladders.get(name).rungs]
        assert len(set(names)) == len(names) >= 4
