"""The picture of the ranges: for each layer a histogram of its inputs, and how far the 256 steps reach."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from minidl import plots
from minidl.inference.quantize.report import PARTS, LayerReport
from minidl.plots import LIGHT, Picture, theme
from minidl.words import percent

WITHIN, BEYOND = LIGHT.engines["numpy"], LIGHT.engines["numba"]
LEGEND = [
    Line2D([], [], color=LIGHT.ink, lw=1.2, ls="--", label="the range of 256 steps"),
    Patch(color=WITHIN, label="inputs within it"),
    Patch(color=BEYOND, label="beyond it: they become its ends"),
]


def of_ranges(model: Any, path: str | Path | None = None) -> Picture:
    """``QuantizedModel.plot``."""
    if model.dynamic:
        raise RuntimeError("there are no ranges to plot: with dynamic=True each row has its own")
    plots.check_path(path)
    layers = model.report.layers
    across = min(len(layers), 3)
    down = math.ceil(len(layers) / across)
    columns = len(LEGEND) if across > 1 else 1  # of the legend
    with theme(LIGHT):
        room = 0.2 + 0.3 * len(LEGEND) / columns
        figure = Picture(figsize=(4.8 * across, 3.4 * down + room), dpi=110, layout="constrained")
        places = figure.subplots(down, across, squeeze=False).ravel()
        for axes, layer in zip(places, layers, strict=False):
            panel(axes, layer)
        for axes in places[len(layers) :]:
            axes.set_axis_off()
        figure.legend(handles=LEGEND, loc="outside lower center", ncols=columns)
        plots.write(figure, path)
    return figure


def panel(axes: Axes, layer: LayerReport) -> None:
    """The counts on a logarithmic axis, since a few outermost inputs are what a range is chosen by."""
    low, high = layer.range
    edges = np.linspace(layer.low, layer.high, PARTS + 1) if layer.high > layer.low else np.linspace(0, 1, PARTS + 1)
    centres, width = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    colours = np.where((centres >= low) & (centres <= high), WITHIN, BEYOND)
    axes.bar(centres, layer.counts, width, color=colours)
    if any(layer.counts):
        axes.set(yscale="log", ylim=(0.7, 2 * max(layer.counts)))  # so that a single input is seen
        axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    else:
        axes.text(0.5, 0.5, "every input is 0", transform=axes.transAxes, ha="center")
        axes.set_yticks([])
    for end in (low, high):
        axes.axvline(end, color=LIGHT.ink, lw=1.2, ls="--")
    axes.set_title(layer.name)
    words = f"SQNR {layer.decibels}, clipped {percent(layer.clipped)}"
    axes.set_title(words, loc="right", fontsize=9, fontweight="normal")
    axes.set(xlabel=f"input, in steps of {layer.scale:.3g}", ylabel="inputs other than 0 (logarithmic axis)")
