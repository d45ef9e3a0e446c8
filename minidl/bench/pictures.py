"""Pictures of what the machine can do and of what was done with it: rooflines, bandwidths and ladders."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from minidl.bench.ceilings import ALL, KINDS, ONE, Ceilings, Timed
from minidl.bench.ladders.ladder import Climb, Step, of_rows
from minidl.looks import look
from minidl.plots import LIGHT, Picture, theme
from minidl.words import percent

LEVEL_COLOURS = ("#2f7fc1", "#2a9d5c", "#b8860b", "#8e5bb5", "#5a6472")  # from the first cache on
PAYS, PAYS_NOT, ASIDE = LIGHT.engines["numba"], "#edb9a3", LIGHT.engines["numpy"]
APART = 0.04  # of an axis: labels that are nearer to each other would be laid over each other


@dataclass(frozen=True)
class Point(Timed):
    """Work on a roofline. The name begins with an engine's, which gives the point its colour."""

    name: str
    operations: float
    bytes: float
    seconds: float


def of_ceilings(ceilings: Ceilings) -> Picture:
    """The roofline of one core and of all, and the bandwidths it is made of."""
    with theme(LIGHT):
        figure = Picture(figsize=(13, 5.2), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        roofline(left, ceilings)
        bandwidths(right, ceilings)
        figure.suptitle(f"{ceilings.processor}, {ceilings.cores} cores", x=0.01, ha="left", fontsize=9.5)
    return figure


def of_climb(climb: Climb, ceilings: Ceilings) -> Picture:
    """The ladder as bars, and every rung on the roofline."""
    with theme(LIGHT):
        figure = Picture(figsize=(14, 1.8 + 0.42 * max(len(climb.steps), 7)), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2)
        bars(left, climb)
        roofline(right, ceilings, climb.steps, colour)
        title = f"{climb.title}: {climb.problem}    ({ceilings.processor}, {ceilings.cores} cores)"
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5)
    return figure


def of_points(points: Sequence[Point], ceilings: Ceilings) -> Picture:
    """Whatever was timed, on the roofline."""
    with theme(LIGHT):
        figure = Picture(figsize=(10, 5.6), dpi=110, layout="constrained")
        roofline(figure.add_subplot(), ceilings, points, lambda point: look(point.name)[0])
    return figure


def of_reading(sizes: Sequence[int], rates: Sequence[float], ceilings: Ceilings) -> Picture:
    """What ``ceilings.reading`` found, with a line where each cache of the machine ends."""
    with theme(LIGHT):
        figure = Picture(figsize=(8.4, 4.2), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        axes.plot(sizes, rates, "o-", color=LIGHT.ink, ms=4.5, lw=1.6)
        axes.set_xscale("log", base=2)
        axes.set_ylim(0, 1.15 * max(rates))
        for level, tone in zip(ceilings.levels, LEVEL_COLOURS, strict=False):
            if level.size:
                axes.axvline(level.size, color=tone, ls="--", lw=1.4)
                words = f"{level.name} ends\n{in_binary(level.size)}"
                axes.annotate(words, (level.size, 1), (4, -4), ha="left", va="top", color=tone,
                              xycoords=("data", "axes fraction"), textcoords="offset points")  # fmt: skip
        axes.xaxis.set_major_locator(LogLocator(base=2, subs=(1,), numticks=12))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: in_binary(int(size))))
        axes.set_title("Reading the same bytes over and over, one core")
        axes.set_xlabel("how many bytes (logarithmic axis)")
        axes.set_ylabel("GB/s")
    return figure


def bars(axes: Axes, climb: Climb) -> None:
    """The share of the ceiling of every rung, on a logarithmic axis."""
    shares = [step.share for step in climb.steps]
    places = range(len(shares))
    axes.barh(places, shares, color=[colour(step) for step in climb.steps], height=0.62)
    for place, step in zip(places, climb.steps, strict=True):
        words = f"{step.rate:.3g} {climb.unit}, {percent(step.share)}{' of all cores' if step.cores == ALL else ''}"
        axes.annotate(words, (1, place), xycoords=("axes fraction", "data"), xytext=(6, 0), va="center",
                      textcoords="offset points", annotation_clip=False)  # fmt: skip
    axes.axvline(1, color=LIGHT.ink, lw=1.5, ls="--")
    axes.set_yticks(places, [f"{step.name}{' *' if step.rows else ''}" for step in climb.steps])
    axes.set_ylim(len(shares) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.set_xlim(10 ** math.floor(math.log10(min(shares)) - 0.3), 1.2 * max(1, *shares))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y", visible=False)
    part = [f"* tried on {words}" for words in dict.fromkeys(of_rows(step.rows) for step in climb.steps if step.rows)]
    axes.set_xlabel("\n".join([f"{climb.limit}, of as many cores", "(logarithmic axis)", *part]))
    above(axes, "Share of the ceiling")
    drawn = {colour(step) for step in climb.steps}
    for tone, meaning in {PAYS: "pays", PAYS_NOT: "does not pay here", ASIDE: "a yardstick"}.items():
        if tone in drawn:
            axes.fill_between([], [], color=tone, label=meaning)
    legend(axes)


def roofline(
    axes: Axes, ceilings: Ceilings, steps: Sequence[Step | Point] = (), colour_of: Callable[..., str] | None = None
) -> None:
    """What arithmetic and bandwidth allow, in float32: log-log, one core in full lines, all in broken ones."""
    intensities = [step.intensity for step in steps]
    low, high = min([0.02, *(value / 4 for value in intensities)]), max([100, *(value * 60 for value in intensities)])
    peaks = {cores: ceilings.peak("float32", cores) for cores in (ONE, ALL)}
    for cores, style in ((ONE, "-"), (ALL, "--")):
        for level, tone in zip(ceilings.levels, LEVEL_COLOURS, strict=False):
            width = ceilings.bandwidth(level.name, cores=cores)
            ridge = peaks[cores] / width
            label = f"{level.name} {width:.3g} GB/s" if cores == ONE else None
            axes.plot((low, ridge), (low * width, peaks[cores]), style, color=tone, lw=1.6, label=label)
        ridges = [peaks[cores] / ceilings.bandwidth(level.name, cores=cores) for level in ceilings.levels]
        axes.plot((min(ridges), high), (peaks[cores], peaks[cores]), style, color=LIGHT.ink, lw=1.6)
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    lows = [step.gflops for step in steps] or [low * ceilings.bandwidth("memory")]
    bottom, top = min(*lows, peaks[ONE] / 100) / 2, max(peaks[ALL], *(step.gflops for step in steps), 0) * 2
    axes.set_ylim(bottom, top)
    words = {ONE: "one core", ALL: f"all {ceilings.cores} cores"}
    heights = apart([peaks[ONE], peaks[ALL]], bottom, top, 0.1)
    for cores, height in zip((ONE, ALL), heights, strict=True):
        peak = f"{words[cores]}\n{peaks[cores]:.0f} GFLOP/s"
        axes.annotate(peak, (1, height), xycoords=("axes fraction", "data"), xytext=(4, 0), va="center", fontsize=8.5,
                      textcoords="offset points", annotation_clip=False)  # fmt: skip
    line = {"arrowstyle": "-", "color": LIGHT.faint, "shrinkA": 0, "shrinkB": 3}
    heights = apart([step.gflops for step in steps], bottom, top, APART)
    for step, height in zip(steps, heights, strict=True):
        axes.plot(step.intensity, step.gflops, "o", color=colour_of(step), ms=6, zorder=3)
        axes.annotate(step.name, (step.intensity, step.gflops), xytext=(step.intensity * 1.6, height), fontsize=8.5,
                      va="center", arrowprops=line, bbox={"fc": LIGHT.paper, "ec": "none", "pad": 0.5})  # fmt: skip
    above(axes, "Roofline, float32: full lines one core, broken lines all")
    legend(axes)
    moved = "that must come from memory or go there" if steps else "that moves between the level and the core"
    note = "slopes: the fastest of read, write, copy and triad, not of updates in place; the numbers are one core's"
    axes.set_xlabel(f"FLOP for each byte {moved} (logarithmic axis)\n{note}")
    axes.set_ylabel("GFLOP/s (logarithmic axis)")
    plain(axes)


def bandwidths(axes: Axes, ceilings: Ceilings) -> None:
    """Every kind of traffic at every level, of one core and of all."""
    for place, (kind, marker) in enumerate(zip(KINDS, "os^Dv", strict=True)):
        for cores, filled in ((ONE, True), (ALL, False)):
            rates = [level.bandwidth[cores][kind] for level in ceilings.levels]
            places = [at + 0.15 * (place - 2) for at in range(len(rates))]
            face = LEVEL_COLOURS[place] if filled else "none"
            axes.plot(places, rates, marker, color=LEVEL_COLOURS[place], markerfacecolor=face, ms=7,
                      label=kind if filled else None)  # fmt: skip
    names = [f"{level.name}\n{in_binary(level.size)}" for level in ceilings.levels]
    axes.set_xticks(range(len(names)), names)
    axes.set_yscale("log")
    plain(axes)
    axes.set_ylabel("GB/s (logarithmic axis)")
    above(axes, "Bandwidth: filled one core, open all")
    legend(axes)


def apart(values: list[float], bottom: float, top: float, least: float) -> list[float]:
    """Where labels stand on a logarithmic axis: as near to their values as they can and still be read.

    ``least`` is how far apart two are at least, as a share of the axis. Those that would come too near to each other
    are put around the mean of their values (the method of pooled adjacent violators).
    """
    span = math.log(top / bottom)
    places = [math.log(value / bottom) / span for value in values]
    order = sorted(range(len(places)), key=places.__getitem__)
    groups: list[tuple[float, int]] = []  # the mean of places, each taken down by its rank, and how many
    for rank, label in enumerate(order):
        mean, size = places[label] - rank * least, 1
        while groups and groups[-1][0] >= mean:
            other, more = groups.pop()
            mean, size = (mean * size + other * more) / (size + more), size + more
        groups.append((mean, size))
    moved = [mean for mean, size in groups for _ in range(size)]
    found = {label: moved[rank] + rank * least for rank, label in enumerate(order)}
    return [bottom * math.exp(found[label] * span) for label in range(len(values))]


def above(axes: Axes, title: str) -> None:
    """A title with room for a legend between it and the axes, where no point can be."""
    axes.set_title(title, pad=24)


def legend(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, borderaxespad=0.1, handlelength=1, columnspacing=1,
                fontsize=8.5)  # fmt: skip


def colour(step: Step) -> str:
    return ASIDE if step.aside else PAYS_NOT if step.remark else PAYS


def in_binary(size: int) -> str:
    """A cache's size as its makers give it."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.4g} {unit}"
    return ""


def plain(axes: Axes) -> None:
    """Numbers on the axes as they are read, not as powers."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            low, high = axis.get_view_interval()
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axis.set_minor_formatter(NullFormatter())
