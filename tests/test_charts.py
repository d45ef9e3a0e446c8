"""The notebooks' charts: what they draw, in which units, from where."""

import numpy as np
import pytest

from minidl.bench import charts, timing


@pytest.mark.parametrize(("ratio", "words"), [(4, "4.00x as fast"), (1, "1.00x as fast"), (0.25, "4.00x as long"),
                                              (150.3, "150x as fast")])  # fmt: skip
def test_what_is_slower_takes_as_long(ratio, words):
    assert charts.times_as_fast(ratio) == words


def test_bars_begin_at_0_and_say_how_much_faster():
    picture = charts.times({"NumPy": 4e-3, "Numba": 1e-3}, "a title", floor=0.5e-3, floor_name="bandwidth")
    (axes,) = picture.axes
    assert axes.get_xlim()[0] == 0
    assert [bar.get_width() for bar in axes.patches] == [4, 1]
    assert axes.get_xlabel() == "ms a call"
    assert [text.get_text() for text in axes.texts] == ["4.00 ms", "1.00 ms   4.00x as fast"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["bandwidth: 500 us"]
    assert axes.patches[1].get_facecolor()[:3] == pytest.approx((0xD9 / 255, 0x54 / 255, 0x1E / 255))


def test_bars_of_a_comparison_show_quartiles():
    found = timing.summarize({"a": 0, "b": 0}, {"a": [2.0, 2, 4], "b": [1.0, 1, 1]}, {"a": 1, "b": 1})
    (axes,) = charts.times(found, "a title").axes
    assert "quartiles" in axes.get_xlabel()
    (first, second) = axes.collections
    assert [segment[:, 0].tolist() for segment in first.get_segments()] == [[2, 3]]
    assert [segment[:, 0].tolist() for segment in second.get_segments()] == [[1, 1]]


def test_curves_say_where_their_axes_begin():
    lines = {"NumPy": ([1, 2, 3], [5.0, 4, 3]), "Numba": ([1, 2, 3], [2.0, 2, 2])}
    (axes,) = charts.curves(lines, "a title", "rows", "us").axes
    assert axes.get_ylim()[0] == 0
    (axes,) = charts.curves(lines, "a title", "rows", "us", logx=True, logy=True).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("rows (logarithmic axis)", "us (logarithmic axis)")
    (axes,) = charts.curves(lines, "a title", "rows", "us", from_zero=False).axes
    assert "not from 0" in axes.get_ylabel()
    assert len({line.get_marker() for line in axes.lines}) == len({line.get_color() for line in axes.lines}) == 2


def test_errors_show_the_largest_among_neighbours():
    x = np.linspace(-1, 1, 1000)
    error = np.zeros(1000)
    error[[100, 700]] = 3, 2e6
    (axes,) = charts.errors(x, {"textbook": error, "numba": np.ones(1000)}, "a title", bound=2.5).axes
    drawn = axes.lines[0].get_ydata()
    assert sorted(drawn)[-2:] == [3, 2e6]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["textbook: at most 2e+06 ulp", "numba: at most 1 ulp", "the bound: 2.5 ulp"]


def test_a_race_shows_every_curve_and_the_times_beside_them():
    losses, seconds = {"numpy": [3.0, 2, 1], "numba": [3.0, 2, 1]}, {"numpy": 2.0, "numba": 1.0}
    left, right = charts.race(losses, seconds, "a title").axes
    assert [line.get_ydata().tolist() for line in left.lines] == [[3, 2, 1]] * 2
    wide, narrow = (line.get_linewidth() for line in left.lines)
    assert wide > narrow  # so that the one below is seen
    assert all(tick == int(tick) for tick in left.get_xticks())
    assert [bar.get_width() for bar in right.patches] == [2, 1]


def test_small_errors_are_on_a_linear_axis_and_large_ones_are_not():
    x, small, large = np.linspace(1, 2, 100), np.full(100, 1.5), np.full(100, 1e6)
    (axes,) = charts.errors(x, {"numpy": small}, "a title", bound=4, logx=True).axes
    assert (axes.get_yscale(), axes.get_ylabel()) == ("linear", "largest error in ulp")
    assert axes.get_ylim()[0] == 0
    assert axes.get_ylim()[1] > 4
    (axes,) = charts.errors(x, {"numpy": small, "textbook": large}, "a title").axes
    assert axes.get_yscale() == "symlog"
    assert "logarithmic" in axes.get_ylabel()


def test_two_curves_of_one_engine_can_be_told_apart():
    (axes,) = charts.curves({"numba relu": ([1, 2], [1, 2]), "numba tanh": ([1, 2], [2, 3])}, "t", "x", "y").axes
    first, second = axes.lines
    assert first.get_color() == second.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_markerfacecolor() != second.get_markerfacecolor()
