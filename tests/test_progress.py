"""The progress of a training: how often it is drawn, and that the last state is."""

import io
import itertools
import sys

import pytest

from minidl import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock made by hand, in seconds."""
    time = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: time[0])
    return time


def test_drawn_at_most_ten_times_a_second(clock):
    drawn = []
    with progress.Progress(1, epochs=2, rows=1000) as shown:
        refresh = shown.bar.refresh
        shown.bar.refresh = lambda: drawn.append(clock[0]) or refresh()
        for _ in range(1000):  # 10 s
            clock[0] += 0.01
            shown.advance(0, 1)
        assert 90 <= len(drawn) <= 101
        assert all(later - earlier > 0.0999 for earlier, later in itertools.pairwise(drawn))
        shown.advance(1, 1000)
    assert len(drawn) >= 91
    assert shown.bar.tasks[0].completed == 2000


def test_lines_without_a_terminal(clock, capsys):
    with progress.Progress(2, epochs=1, rows=10) as shown:
        clock[0] += 1.5
        shown.end_of_epoch(0, {"loss": 0.123456})
    assert capsys.readouterr().out == "epoch 1/1  1.500 s  loss 0.1235\n"


def test_a_notebook_is_searched_for_widgets_once(monkeypatch):
    searched = []
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: searched.append(name))
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # no terminal
    progress.has_widgets.cache_clear()
    assert [progress.resolve("auto") for _ in range(3)] == [2, 2, 2]
    assert searched == ["ipywidgets"]
    progress.has_widgets.cache_clear()
