"""The pictures of the tuner: batch sizes, the Pareto front, and a search with its predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from minidl import plots
from minidl.inference.tune.front import Pareto
from minidl.inference.tune.search import Structure
from minidl.inference.tune.shown import Found
from minidl.inference.tune.sizes import BatchSizes
from minidl.metrics import larger_is_better
from minidl.plots import LIGHT, Picture, theme
from minidl.words import in_bytes

MAIN, SECOND, GOOD, QUIET = *LIGHT.engines.values(), "#8b94a1"
RING = {"marker": "o", "ms": 12, "mfc": "none", "mew": 2, "color": GOOD, "ls": ""}
BOUND = {"color": LIGHT.ink, "ls": "--", "lw": 1.2}


def draw(found: Found, path: str | Path | None) -> Picture:
    """``Found.plot``."""
    plots.check_path(path)
    looks: dict[type, tuple[tuple[float, float], Callable]] = {
        BatchSizes: ((7, 6.4), sizes), Pareto: ((7, 4.8), front), Structure: ((11, 4.6), trials)
    }  # fmt: skip
    size, of = looks[type(found)]
    with theme(LIGHT):
        figure = Picture(figsize=size, dpi=110, layout="constrained")
        of(found, figure)
        plots.write(figure, path)
    return figure


def sizes(found: BatchSizes, figure: Picture) -> None:
    """Latency above, throughput below, over the same logarithmic axis of rows."""
    (above, below), table = figure.subplots(2, 1, sharex=True), found.found
    above.plot("rows", "p99_ms", "o-", data=table, color=SECOND, label="99 of 100 calls within")
    above.plot("rows", "median_ms", "o-", data=table, color=MAIN, label="median")
    above.axhline(found.latency_ms, label=f"the bound, {found.latency_ms:g} ms", **BOUND)
    above.set(title="Latency of a call", yscale="log", ylabel="ms (logarithmic axis)")
    above.legend()
    below.plot("rows", "rows_per_second", "o-", data=table, color=MAIN)
    below.plot("rows", "rows_per_second", data=table[table.remark == "best"], **RING)
    below.set(title="Throughput", ylabel="rows/s (logarithmic axis)", xlabel="rows in a call (logarithmic axis)")
    below.set_title(found.note, loc="right", fontsize=9, fontweight="normal", color=GOOD)
    below.set(xscale="log", yscale="log")
    plain(above.yaxis, below.yaxis)
    below.set_xticks(table.rows, [f"{rows:,}" for rows in table.rows], rotation=30 if len(table) > 10 else 0)
    below.minorticks_off()


def front(found: Pareto, figure: Picture) -> None:
    """Better is up or, of an error, down; faster is left. Points on the front are full and joined."""
    axes, table, metric = figure.subplots(), found.found, found.metric
    best = table.remark == "front"
    axes.hlines(metric, "low_ms", "high_ms", data=table, color=QUIET, lw=2)
    axes.plot("median_ms", metric, "o", data=table[~best], ms=8, color=QUIET, mfc=LIGHT.paper)
    axes.plot("median_ms", metric, "o-", data=table[best].sort_values("median_ms"), ms=8, lw=1.4, color=MAIN)
    down = larger_is_better(metric)  # labels keep out of the way of the front, which goes up to the right
    ordered = table.sort_values("median_ms")
    for place, one in enumerate(ordered.itertuples()):
        name = f"{one.model}\n{in_bytes(int(one.nbytes))}" if one.nbytes > 0 else one.model
        below = down != (place % 2 == 1 and one[2] == ordered[metric].iloc[place - 1])  # and of an equal one beside
        axes.annotate(name, (one.median_ms, one[2]), xytext=(8, -5 if below else 5), fontsize=8.5,
                      va="top" if below else "bottom", textcoords="offset points")  # fmt: skip
    axes.margins(x=0.25, y=0.2)
    axes.set(xscale="log", ylabel=said(metric), title="The Pareto front: full points")
    axes.set_xlabel(f"median time of a batch of {found.rows:,} in ms (logarithmic axis); bars: quartiles")
    plain(axes.xaxis)


def trials(found: Structure, figure: Picture) -> None:
    """Predicted against measured times, and the metric against the measured time."""
    (left, right), table = figure.subplots(1, 2), found.found.dropna()
    if table.empty:
        raise RuntimeError("there is nothing to plot: no candidate was fast enough to be trained and measured")
    left.plot("measured_ms", "predicted_ms", "o", data=table, color=MAIN, label="")
    ends = [table.measured_ms.min(), table.measured_ms.max()]
    left.plot(ends, ends, color=LIGHT.ink, lw=1, label="predicted = measured")
    left.set(xscale="log", yscale="log", title="Predicted and measured times")
    left.set(xlabel="measured, ms (logarithmic axis)", ylabel="predicted, ms (logarithmic axis)")
    left.legend()
    right.plot("measured_ms", found.metric, "o", data=table, color=MAIN, label="")
    right.plot("measured_ms", found.metric, data=table[table.remark == "best"], label="best", **RING)
    right.axvline(found.latency_ms, label=f"the bound, {found.latency_ms:g} ms", **BOUND)
    right.set(xscale="log", ylabel=said(found.metric), title="How good they are on the rows held out")
    right.set_xlabel(f"measured time of a batch of {found.rows:,}, ms (logarithmic axis)")
    right.legend(frameon=True, edgecolor=LIGHT.paper)
    plain(left.xaxis, left.yaxis, right.xaxis)


def said(metric: str) -> str:
    return metric if larger_is_better(metric) else f"{metric} (less is better)"


def plain(*axes: Axis) -> None:
    """Numbers in full on logarithmic axes."""
    for axis in axes:
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 10 * low else MaxNLocator(6))
        axis.set_major_formatter("{x:,.12g}")
        axis.set_minor_locator(NullLocator())
