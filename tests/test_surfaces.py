"""Pictures of paths over a loss surface: what is drawn, and where."""

import numpy as np

from minidl.bench import surfaces


def bowl(x, y):
    return x**2 + 10 * y**2


def test_every_path_is_drawn_in_its_panel_over_its_contours():
    down = np.array([[2.0, 1.0], [1.0, 0.5], [0.0, 0.0]])
    across = np.array([[2.0, 1.0], [-1.0, 0.2]])
    picture = surfaces.of_paths({"one": {"SGD": down}, "two": {"SGD": down, "Adam": across}}, bowl, "w1", "w2")
    one, two = picture.axes
    assert (one.get_title(loc="left"), two.get_title(loc="left")) == ("one", "two")
    assert (one.get_xlabel(), one.get_ylabel()) == ("w1", "w2")
    np.testing.assert_array_equal(two.lines[1].get_xydata(), across)
    assert [text.get_text() for text in two.get_legend().get_texts()] == ["SGD", "Adam"]
    for look in ("marker", "linestyle", "color"):
        assert len({getattr(line, f"get_{look}")() for line in two.lines[:2]}) == 2


def test_contours_are_a_constant_factor_apart_and_cover_the_paths():
    path = np.array([[2.0, 1.0], [0.0, 0.0]])
    (axes,) = surfaces.of_paths({"one": {"SGD": path}}, bowl, "w1", "w2").axes
    levels = axes.collections[0].levels
    assert len(levels) == surfaces.LEVELS
    np.testing.assert_allclose(levels[1:] / levels[:-1], levels[1] / levels[0])
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < 0 < 2 < right
    assert bottom < 0 < 1 < top


def test_each_panel_may_have_a_surface_of_its_own():
    path = np.array([[1.0, 1.0], [0.0, 0.0]])
    both = {"bowl": bowl, "round": lambda x, y: x**2 + y**2}
    picture = surfaces.of_paths({"bowl": {"SGD": path}, "round": {"SGD": path}}, both, "w1", "w2")
    heights = [axes.collections[0].levels[-1] for axes in picture.axes]
    assert heights[0] > 2 * heights[1]
