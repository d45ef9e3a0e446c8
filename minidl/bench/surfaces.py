"""Loss surfaces over two weights: contour lines, and the paths of optimizers across them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes

from minidl.bench.charts import AGAIN
from minidl.looks import look
from minidl.plots import LIGHT, Picture, theme

LEVELS = 12  # contour lines, each at the same multiple of the one below it
LOWEST = 2e-3  # of the highest point: where the lowest line lies
MARGIN = 0.12  # of the paths' extent, around them

Surface = Callable[[np.ndarray, np.ndarray], np.ndarray]


def of_paths(
    panels: Mapping[str, Mapping[str, np.ndarray]], loss: Surface | Mapping[str, Surface], xlabel: str, ylabel: str,
) -> Picture:  # fmt: skip
    """A panel for each title: its paths over its surface.

    panels: for each title, paths by name, each (steps, 2) from the first point to the last.
    loss: of arrays of first and of second weights, entry by entry; or one for each title.
    """
    with theme(LIGHT):
        figure = Picture(figsize=(5.5 * len(panels), 4.6), dpi=110, layout="constrained")
        places = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (title, paths) in zip(places, panels.items(), strict=True):
            draw(axes, loss[title] if isinstance(loss, Mapping) else loss, paths)
            axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return figure


def draw(axes: Axes, loss: Surface, paths: Mapping[str, np.ndarray]) -> None:
    """Contour lines where the paths go, each line the same multiple of the one within it, and the paths in steps."""
    points = np.concatenate([np.asarray(path, float) for path in paths.values()])
    low, high = points.min(axis=0), points.max(axis=0)
    margin = MARGIN * (high - low).max()
    x, y = (np.linspace(low[axis] - margin, high[axis] + margin, 160) for axis in (0, 1))
    height = loss(*np.meshgrid(x, y))
    height = height - min(height.min(), loss(*points.T).min())
    levels = np.geomspace(LOWEST * height.max(), height.max(), LEVELS)
    axes.contour(x, y, height, levels=levels, colors="#9aa5b4", linewidths=0.8)
    for place, (name, path) in enumerate(paths.items()):
        colour, marker, _, _ = look(name, place)
        path = np.asarray(path, float)
        axes.plot(*path.T, AGAIN[place % len(AGAIN)], marker=marker, color=colour, ms=4, lw=1.4, label=name)
    axes.plot(*points[0], "o", color=LIGHT.ink, ms=8, zorder=3)
    axes.annotate("start", points[0], xytext=(8, 6), textcoords="offset points")
    axes.legend()
