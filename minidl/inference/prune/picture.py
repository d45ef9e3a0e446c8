"""The picture of where sparsity pays: how many times as fast as dense, one panel for each number of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator

from minidl import plots
from minidl.inference.prune.where_it_pays import in_words, percent
from minidl.plots import LIGHT, Picture, theme

LOOKS = {  # of each way: colour and marker
    "fewer units": (LIGHT.engines["cupy"], "s"),
    "sparse": (LIGHT.engines["numba"], "o"),
    "two of four": ("#8e5bb5", "D"),
}


def of_payoff(payoff: Any, path: str | Path | None = None) -> Picture:
    """``Payoff.plot``."""
    plots.check_path(path)
    with theme(LIGHT):
        figure = Picture(figsize=(1.2 + 4.2 * len(payoff.rows), 4.4), dpi=110, layout="constrained")
        panels = figure.subplots(1, len(payoff.rows), sharey=True, squeeze=False)[0]
        for axes, rows in zip(panels, payoff.rows, strict=True):
            panel(axes, payoff, rows)
        panels[0].set_ylabel("times as fast as dense (logarithmic axis)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        network = "-".join(f"{width}" for width in payoff.widths)
        figure.suptitle(f"Dense layers {network}, {payoff.dtype}, one core", x=0.01, ha="left", fontsize=11)
        plots.write(figure, path)
    return figure


def panel(axes: Axes, payoff: Any, rows: int) -> None:
    """Both axes are logarithmic: to the right the weights that are left become fewer."""
    for way, (colour, marker) in LOOKS.items():
        found = payoff.of(way, rows)
        left = [1 - one.sparsity for one in found]
        axes.plot(left, [one.speedup.value for one in found], marker=marker, ms=6, color=colour, label=way)
        axes.vlines(left, [one.speedup.low for one in found], [one.speedup.high for one in found], color=colour, lw=3)
    axes.axhline(1, color=LIGHT.engines["numpy"], lw=2, zorder=1, label="dense")
    axes.set(xscale="log", yscale="log", title=in_words(rows))
    shares = sorted({*payoff.sparsities, 0.5})
    axes.set_xlim(1.15, (1 - shares[-1]) / 1.15)
    axes.set_xticks([1 - share for share in shares], [percent(share) for share in shares])
    axes.set_xlabel("share of the weights that is zero, or gone\n(axis logarithmic in what is left)")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}x"))
    axes.minorticks_off()
