"""The charts of the notebooks: times as bars, curves, and errors over the argument, an engine always in one colour.

Every series has a marker, a line or a hatch of its own too, so that the charts can be read without colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from minidl.bench.timing import Comparison
from minidl.looks import look
from minidl.plots import LIGHT, Picture, Style, theme
from minidl.words import duration, unit_of
from minidl.words import times as factor

AGAIN = ("-", "--", ":", "-.")  # lines of one engine's curves, one after the other
LARGE = 20  # ulp: errors up to here are seen on a linear axis


def times(
    found: Comparison | Mapping[str, float], title: str, *, floor: float | None = None, floor_name: str = "the floor",
    per: str = "a call",
) -> Picture:  # fmt: skip
    """A bar for each way, from 0: its time, its quartiles where there are any, and how many times faster it is.

    found: what ``timing.compare`` returned, or seconds by name; the first is what the others are compared with.
    floor: seconds below which this machine cannot go, drawn as a line.
    """
    with theme(LIGHT):
        figure = Picture(figsize=(8.4, 1.3 + 0.44 * len(seconds_of(found))), dpi=110, layout="constrained")
        draw_times(figure.add_subplot(), found, title, floor=floor, floor_name=floor_name, per=per)
    return figure


def draw_times(axes: Axes, found: Comparison | Mapping[str, float], title: str, *, floor: float | None = None,
               floor_name: str = "the floor", per: str = "a call") -> None:  # fmt: skip
    """The same into axes that are there: for several side by side, within ``minidl.plots.theme``."""
    timings, seconds = getattr(found, "timings", {}), seconds_of(found)
    unit, worth = unit_of(max(seconds.values()))
    first = next(iter(seconds.values()))
    for place, (name, value) in enumerate(seconds.items()):
        colour, _, _, hatch = look(name, place)
        axes.barh(place, value / worth, height=0.62, color=colour, hatch=hatch, edgecolor="white", lw=0)
        if name in timings:
            axes.hlines(place, timings[name].low / worth, timings[name].high / worth, color=LIGHT.ink, lw=1.5)
        words = f"{duration(value)}" + ("" if place == 0 else f"   {times_as_fast(first / value)}")
        right = timings[name].high if name in timings else value
        axes.annotate(words, (max(right, value) / worth, place), xytext=(6, 0), textcoords="offset points",
                      va="center", bbox={"fc": LIGHT.paper, "ec": "none", "pad": 1})  # fmt: skip
    if floor is not None:
        axes.axvline(floor / worth, color=LIGHT.ink, lw=1.5, ls="--", label=f"{floor_name}: {duration(floor)}")
        axes.legend(loc="lower right")
    axes.set_yticks(range(len(seconds)), list(seconds))
    axes.set_ylim(len(seconds) - 0.4, -0.6)
    axes.set_xlim(0, max(seconds.values()) / worth * 1.3)
    axes.grid(axis="y", visible=False)
    axes.set_title(title)
    axes.set_xlabel(f"{unit} {per}" + (" (median; the line within: its quartiles)" if timings else ""))


def seconds_of(found: Comparison | Mapping[str, float]) -> dict[str, float]:
    """Seconds by name: the medians, where there are samples."""
    return {name: timing.median for name, timing in getattr(found, "timings", {}).items()} or dict(found)


def bars(
    values: Mapping[str, float], title: str, xlabel: str, *, limit: float | None = None, limit_name: str = "the bound",
    log: bool = False,
) -> Picture:  # fmt: skip
    """A bar for each name, from 0 or on a logarithmic axis, which the label then says, with its value behind it.

    limit: drawn as a line across.
    """
    with theme(LIGHT):
        figure = Picture(figsize=(8.4, 1.3 + 0.44 * len(values)), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        for place, (name, value) in enumerate(values.items()):
            colour, _, _, hatch = look(name)  # what is no engine and no rival is all of one colour
            axes.barh(place, value, height=0.62, color=colour, hatch=hatch, edgecolor="white", lw=0)
            axes.annotate(short(value), (value, place), xytext=(6, 0), textcoords="offset points", va="center")
        if limit is not None:
            axes.axvline(limit, color=LIGHT.ink, lw=1.5, ls="--", label=f"{limit_name}: {short(limit)}")
            figure.legend(loc="outside upper right")
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(short))
            axes.xaxis.set_minor_formatter(NullFormatter())
        low, high = axes.get_xlim()
        axes.set_xlim(low if log else 0, high * (high / low) ** 0.15 if log else high * 1.15)
        axes.set_yticks(range(len(values)), list(values))
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_title(title)
        axes.set_xlabel(xlabel + (" (logarithmic axis)" if log else ""))
    return figure


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str, xlabel: str, ylabel: str, *,
    logx: bool = False, logy: bool = False, from_zero: bool = True,
) -> Picture:  # fmt: skip
    """A curve for each name, ``{name: (x, y)}``. Axes begin at 0 unless logarithmic, which the label then says.

    from_zero: False where 0 has no meaning for y or lies far off; the label then says so too.
    """
    with theme(LIGHT):
        figure = Picture(figsize=(8.4, 4.2), dpi=110, layout="constrained")
        draw_curves(figure.add_subplot(), lines, title, xlabel, ylabel, logx=logx, logy=logy, from_zero=from_zero)
    return figure


def draw_curves(axes: Axes, lines: Mapping, title: str, xlabel: str, ylabel: str, *, logx: bool = False,
                logy: bool = False, from_zero: bool = True) -> None:  # fmt: skip
    """The same into axes that are there: for several side by side, within ``minidl.plots.theme``."""
    least, seen = [], []
    for place, (name, (x, y)) in enumerate(lines.items()):
        colour, marker, line, _ = look(name, place)
        again = seen.count(colour)  # a second curve of one engine is broken, and its markers are open
        few, seen = len(x) <= 40, [*seen, colour]
        axes.plot(x, y, AGAIN[again % len(AGAIN)] if again else line, marker=marker if few else "", color=colour,
                  label=name, ms=5.5, lw=1.8, markerfacecolor=LIGHT.paper if again else colour)  # fmt: skip
        least.append(np.nanmin(np.asarray(y, float)))
    if not logx and all(float(value).is_integer() for x, _ in lines.values() for value in x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axis, log in ((axes.xaxis, logx), (axes.yaxis, logy)):
        if log:
            (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
            low, high = axis.get_view_interval()
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,), numticks=12))
            axis.set_major_formatter(FuncFormatter(short))
            axis.set_minor_formatter(NullFormatter())
    if not logy and from_zero:
        axes.set_ylim(min(0.0, *least), None)
    axes.set_title(title)
    axes.set_xlabel(xlabel + (" (logarithmic axis)" if logx else ""))
    axes.set_ylabel(ylabel + (" (logarithmic axis)" if logy else "" if from_zero else "\n(not from 0)"))
    if len(lines) > 1:
        axes.legend()


def race(losses: Mapping[str, Sequence[float]], found: Comparison | Mapping[str, float], title: str, *,
         ylabel: str = "loss", per: str = "a call") -> Picture:  # fmt: skip
    """Trainings of one network beside each other: on the left the loss of each epoch, on the right the time.

    Each curve is drawn thinner than the one below it, so that those that are equal are all seen.
    """
    with theme(LIGHT):
        figure = Picture(figsize=(11, 3.6), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
        lines = {name: (range(1, len(curve) + 1), curve) for name, curve in losses.items()}
        draw_curves(left, lines, title, "epoch", ylabel)
        for place, line in enumerate(left.lines):
            wide = 2.2 * (len(left.lines) - place) - 0.6
            line.set(linewidth=wide, markersize=wide + 3)
        left.legend()
        draw_times(right, found, "... in this time", per=per)
    return figure


def errors(x: np.ndarray, found: Mapping[str, np.ndarray], title: str, *, bound: float | None = None,
           xlabel: str = "x", bins: int = 240, logx: bool = False, style: Style = LIGHT) -> Picture:  # fmt: skip
    """The largest error, in ulp, among neighbouring arguments, for each name: ``{name: errors at each x}``.

    Where one is large the axis is linear up to 1 ulp and logarithmic beyond, since textbook forms are off by millions.
    """
    x = np.asarray(x, float).ravel()
    order = np.argsort(x)
    parts = [part for part in np.array_split(order, bins) if len(part)]
    with theme(style):
        figure = Picture(figsize=(8.4, 4.2), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        for place, (name, error) in enumerate(found.items()):
            error = np.asarray(error, float).ravel()
            colour, marker, line, _ = look(name, place)
            centres = [float(np.median(x[part])) for part in parts]
            axes.plot(centres, [float(error[part].max()) for part in parts], line, color=colour, lw=1.5, marker=marker,
                      markevery=max(1, len(parts) // 12), ms=5, label=f"{name}: at most {short(error.max())} ulp")
        if bound is not None:
            axes.axhline(bound, color=style.ink, ls="--", lw=1.2, label=f"the bound: {bound:g} ulp")
        large = max(float(np.max(error)) for error in found.values()) > LARGE
        if large:
            axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(0, None if large else 1.5 * max(axes.get_ylim()[1], bound or 0))  # with room for the legend
        axes.yaxis.set_major_formatter(FuncFormatter(short))
        if logx:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(short))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(title)
        axes.set_xlabel(xlabel + (" (logarithmic axis)" if logx else ""))
        axes.set_ylabel("largest error in ulp" + ("\n(linear to 1, then logarithmic)" if large else ""))
        axes.legend()
    return figure


def times_as_fast(ratio: float) -> str:
    """How many times as fast; of what is slower, how many times as long it takes."""
    return f"{factor(ratio)} as fast" if ratio >= 1 else f"{factor(1 / ratio)} as long"


def short(value: float, _: object = None) -> str:
    """A number on an axis, as it is read: 0.5, 20, 3,000, 2.1e+06."""
    return f"{value:,.3g}" if 1e-3 <= abs(value) < 1e3 or value == 0 else (
        f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.2g}"
    )  # fmt: skip
