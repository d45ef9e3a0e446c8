"""The pictures of a comparison: loss curves laid on each other, speedups, and errors against their stated bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from minidl.compare import MODEL_TIMES
from minidl.compare import report as said
from minidl.looks import look
from minidl.plots import LIGHT, Style, png, theme
from minidl.words import duration, times

LOSSES = {
    "binary": "binary cross-entropy (nats)",
    "multiclass": "categorical cross-entropy (nats)",
    "regression": "mean squared error",
}
WORST = 2  # shares of a bound are drawn up to here


def overview(report: dict) -> bytes:
    """All panels as one PNG."""
    heights = (4, rows_height(report))
    with theme(LIGHT):
        figure = Figure(figsize=(13, sum(heights)), layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=heights)
        pairs = (*above.subplots(1, 2), *below.subplots(1, 2, sharey=True))
        for axes, draw in zip(pairs, PANELS.values(), strict=True):
            draw(axes, report, LIGHT)
        return png(figure)


def panel(name: str, report: dict, style: Style) -> bytes:
    """One panel as a PNG: "loss", "speedups", "operations" or "errors"."""
    size = (5.6, 3.5 if name in ("loss", "speedups") else rows_height(report))
    with theme(style):
        figure = Figure(figsize=size, dpi=150, layout="constrained")
        PANELS[name](figure.add_subplot(), report, style)
        return png(figure)


def rows_height(report: dict) -> float:
    return 1.4 + 0.19 * max(3, len(report["formulas"]))


# --- panels ---------------------------------------------------------------------------------------------------------


def loss(axes: Axes, report: dict, style: Style) -> None:
    """The training loss of each engine: wide lines below, narrow ones on top, so that equal curves are all seen."""
    widths = {"numpy": 7, "numba": 2, "cupy": 0.9}
    for name, entry in report["engines"].items():
        curve = entry["history"].get("loss", [])
        if curve:
            marker = look(name)[1] if len(curve) <= 30 else None
            axes.plot(range(1, len(curve) + 1), curve, lw=widths[name], marker=marker, **looks(name, style))
    axes.set_title("Training loss")
    if report["loss_curves_differ_by"] is not None:
        found = f"largest relative difference {report['loss_curves_differ_by']:.1g}"
        axes.annotate(found, (0.98, 0.5), xycoords="axes fraction", ha="right")
    axes.set(xlabel="epoch", ylabel=LOSSES[report["data"]["task"]])
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.lines:
        axes.legend()


def speedups(axes: Axes, report: dict, style: Style) -> None:
    """How many times faster than NumPy each engine trains and predicts; bars begin at 0."""
    labels = [label for _, label, _ in MODEL_TIMES]
    bars = [
        (row + 0.5 * number, name, report["engines"][name]["timings"].get(what))
        for number, name in enumerate(rivals(report))
        for row, (what, _, _) in enumerate(MODEL_TIMES)
    ]
    bars = [(place, name, entry) for place, name, entry in bars if entry and entry["speedup_vs_numpy"]]
    axes.set_title("Speedup over NumPy, whole network")
    if not bars:
        return nothing(axes)
    for place, name, entry in bars:
        value, (low, high) = entry["speedup_vs_numpy"], entry["speedup_interval"]
        axes.barh(place, value, height=0.45, color=style.engines[name])
        axes.plot((low, high), (place, place), "|-", color=style.ink, lw=1.5)
        text = f"{times(value)}   {duration(entry['seconds'])}"
        axes.annotate(text, (max(value, high), place), xytext=(6, 0), textcoords="offset points", va="center")
    axes.axvline(1, color=style.engines["numpy"], lw=2, label="NumPy")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, max(entry["speedup_interval"][1] for _, _, entry in bars) * 1.3)
    axes.set_xlabel("times as fast as NumPy (95% interval within this run)")


def operations(axes: Axes, report: dict, style: Style) -> None:
    """The speedup of each operation, on a logarithmic axis where twice as fast and half as fast are as far from 1."""
    axes.set_title("Speedup by operation")
    names = list(report["formulas"])
    found = {
        engine: [report["formulas"][name][engine].get("speedup_vs_numpy") or math.nan for name in names]
        for engine in rivals(report)
    }
    if all(math.isnan(value) for values in found.values() for value in values):
        return nothing(axes)
    for engine, values in found.items():
        axes.hlines(range(len(names)), 1, values, color=style.engines[engine], lw=2, alpha=0.35)
        axes.plot(values, range(len(names)), look(engine)[1], **looks(engine, style))
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.5), max(high, 2))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(1, color=style.engines["numpy"], lw=2, label="numpy")
    axes.set_xlabel("times as fast as NumPy (logarithmic axis)")
    rows(axes, names)


def errors(axes: Axes, report: dict, style: Style) -> None:
    """The error of each operation against the oracle, as a share of the bound that its engine states."""
    axes.set_title("Error by operation")
    names = list(report["formulas"])
    if not names:
        return nothing(axes)
    beyond = False
    for engine in said.measured(report):
        shares = [share(report["formulas"][name][engine]) for name in names]
        axes.plot(shares, range(len(names)), look(engine)[1], **looks(engine, style))
        beyond = beyond or max(shares) > 1
    axes.axvline(1, color=style.ink, lw=1.5, ls="--", label="bound")
    axes.set_xlim(-0.02, WORST * 1.02 if beyond else 1.05)
    more = f"; {WORST} stands for {WORST} and more" if beyond else ""
    axes.set_xlabel(f"largest error / stated bound (0 is exact){more}")
    rows(axes, names)


PANELS: dict[str, Callable[[Axes, dict, Style], None]] = {
    "loss": loss,
    "speedups": speedups,
    "operations": operations,
    "errors": errors,
}


# --- helpers --------------------------------------------------------------------------------------------------------


def rivals(report: dict) -> list[str]:
    """The engines that were measured, without the yardstick."""
    return [name for name in said.measured(report) if name != "numpy"]


def looks(engine: str, style: Style) -> dict[str, Any]:
    """How an engine's points look: NumPy's large and pale, so that equal ones of the others are seen on top of them."""
    large, pale = (8, 0.45) if engine == "numpy" else (4.5, 1)
    return {"label": engine, "color": style.engines[engine], "ms": large, "alpha": pale}


def share(entry: dict) -> float:
    """The error as a share of its bound, at most ``WORST``."""
    error, bound = said.error_of(entry), entry["bound"]
    if error == 0:
        return 0
    return min(error / bound, WORST) if error is not None and bound else WORST


def rows(axes: Axes, names: list[str]) -> None:
    """One row for each operation, and the legend between title and axes, where no point can be."""
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=8.5)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.1, handlelength=1, columnspacing=1)
    axes.set_title(axes.get_title(loc="left"), pad=24)


def nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "nothing was measured to compare", ha="center", transform=axes.transAxes)
    axes.set_axis_off()
