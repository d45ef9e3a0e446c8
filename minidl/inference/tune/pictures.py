"""The pictures of the tuner: batch sizes, the Pareto front, and a search with its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from minidl import plots
from minidl.inference.tune.front import METRICS, size_of
from minidl.inference.tune.shown import of_rows
from minidl.plots import LIGHT, Picture, theme

MAIN, SECOND, GOOD = LIGHT.engines["numpy"], LIGHT.engines["numba"], LIGHT.engines["cupy"]
QUIET = "#8b94a1"


def of_batch_sizes(found: Any, path: str | Path | None) -> Picture:
    """``BatchSizes.plot``: latency above, throughput below, over the same logarithmic axis of rows."""
    plots.check_path(path)
    rows = [size.rows for size in found.found]
    with theme(LIGHT):
        figure = Picture(figsize=(7, 6.4), dpi=110, layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        above.plot(rows, [size.p99 * 1e3 for size in found.found], "o-", color=SECOND, label="99 of 100 calls within")
        above.plot(rows, [size.median * 1e3 for size in found.found], "o-", color=MAIN, label="median")
        above.axhline(found.latency_ms, color=LIGHT.ink, ls="--", lw=1.2, label=f"the bound, {found.latency_ms:g} ms")
        above.set_title("Latency of a call")
        above.set_ylabel("ms (logarithmic axis)")
        above.legend()
        below.plot(rows, [size.rows_per_second for size in found.found], "o-", color=MAIN)
        below.set_title("Throughput")
        below.set_ylabel("rows/s (logarithmic axis)")
        for size in found.found:
            if size.rows == found.best:
                below.plot(size.rows, size.rows_per_second, "o", ms=12, mfc="none", mew=2, color=GOOD)
                for axes in (above, below):
                    axes.axvline(size.rows, color=GOOD, lw=1.2, zorder=0)
                note = f"best: {of_rows(size.rows)}, {size.rows_per_second:,.0f} rows/s"
                below.set_title(note, loc="right", fontsize=9, fontweight="normal", color=GOOD)
        for axes in (above, below):
            axes.set_yscale("log")
            plain(axes.yaxis)
        below.set_xscale("log", base=2)
        below.set_xticks(rows, [f"{n:,}" for n in rows], rotation=30 if len(rows) > 10 else 0)
        below.set_xlabel("rows in a call (logarithmic axis)")
        below.minorticks_off()
        plots.write(figure, path)
    return figure


def of_pareto(found: Any, path: str | Path | None) -> Picture:
    """``Pareto.plot``: better is up or, of an error, down; faster is left. Points on the front are full and joined."""
    plots.check_path(path)
    with theme(LIGHT):
        figure = Picture(figsize=(7, 4.8), dpi=110, layout="constrained")
        axes = figure.subplots()
        members = {one.name: one for one in found.found}
        front = [members[name] for name in found.front]
        axes.plot([one.seconds * 1e3 for one in front], [one.value for one in front], "-", color=MAIN, lw=1.4)
        up = found.metric != "accuracy"  # the front then goes down to the right; labels keep out of its way
        for one in found.found:
            best = one.name in found.front
            axes.hlines(one.value, one.low * 1e3, one.high * 1e3, color=MAIN if best else QUIET, lw=2)
            axes.plot(one.seconds * 1e3, one.value, "o", ms=8, color=MAIN if best else QUIET,
                      mfc=MAIN if best else LIGHT.paper)  # fmt: skip
            axes.annotate(f"{one.name}\n{size_of(one)}", (one.seconds * 1e3, one.value), xytext=(8, 5 if up else -5),
                          va="bottom" if up else "top", textcoords="offset points", fontsize=8.5)  # fmt: skip
        axes.margins(x=0.25, y=0.2)
        axes.set_xscale("log")
        plain(axes.xaxis)
        worse = "" if found.metric == "accuracy" else " (less is better)"
        axes.set_ylabel(METRICS[found.metric] + worse)
        axes.set_xlabel(f"median time of a call of {of_rows(found.rows)} in ms (logarithmic axis); bars: quartiles")
        axes.set_title("The Pareto front: full points")
        plots.write(figure, path)
    return figure


def of_structure(found: Any, path: str | Path | None) -> Picture:
    """``Structure.plot``: predicted against measured times, and the metric against the measured time."""
    plots.check_path(path)
    measured = [trial for trial in found.found if trial.measured is not None]
    times = [trial.measured * 1e3 for trial in measured]
    predicted = [trial.predicted * 1e3 for trial in measured]
    with theme(LIGHT):
        figure = Picture(figsize=(11, 4.6), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2)
        low, high = 0.9 * min(times + predicted), 1.1 * max(times + predicted)
        left.plot((low, high), (low, high), color=LIGHT.ink, lw=1, label="predicted = measured")
        left.plot(times, predicted, "o", color=MAIN)
        left.set(xscale="log", yscale="log", title="Predicted and measured times")
        left.set(xlabel="measured, ms (logarithmic axis)", ylabel="predicted, ms (logarithmic axis)")
        left.legend()
        right.plot(times, [trial.value for trial in measured], "o", color=MAIN)
        if found.chosen:
            right.plot(found.chosen.measured * 1e3, found.chosen.value, "o", ms=12, mfc="none", mew=2, color=GOOD,
                       label=f"best: {found.chosen.name}")  # fmt: skip
        right.axvline(found.latency_ms, color=LIGHT.ink, ls="--", lw=1.2, label=f"the bound, {found.latency_ms:g} ms")
        right.set(xscale="log", title=f"{METRICS[found.metric].capitalize()} on the rows held out")
        right.set_xlabel(f"measured time of a call of {of_rows(found.rows)}, ms (logarithmic axis)")
        right.set_ylabel(METRICS[found.metric] + ("" if found.metric == "accuracy" else " (less is better)"))
        right.legend(frameon=True, edgecolor=LIGHT.paper)
        for axis in (left.xaxis, left.yaxis, right.xaxis):
            plain(axis)
        plots.write(figure, path)
    return figure


def plain(axis: Any) -> None:
    """Numbers in full on a logarithmic axis."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 10 * low else MaxNLocator(6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axis.set_minor_locator(NullLocator())
