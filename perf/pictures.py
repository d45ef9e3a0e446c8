"""The pictures of the measurements: how many times faster than each rival, and times by the size of a batch."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from minidl.looks import look
from minidl.plots import LIGHT, png, theme
from perf import results_file, rivals

UNITS = {"training": "an epoch", "inference": "a call", "int8": "a call in int8"}


def draw(name: str) -> None:
    """Write the pictures of a command's results: perf/results/NAME.png, and for inference batch_sizes.png too."""
    results = results_file.read_cases(name)
    if results is None:
        return
    made = {name: ratios(results, f"How many times as long as minidl {UNITS[name]} takes", source(results, name))}
    if name == "inference":
        made["batch_sizes"] = batch_sizes(results)
    for title, picture in made.items():
        print(f"written to {results_file.picture(title, picture)}")


def ratios(results: dict, title: str, measured: str) -> bytes:
    """A row for each case, a point for each rival, its 95% interval through it; minidl is the line at 1."""
    found = list(results["cases"].items())
    with theme(LIGHT):
        figure = Figure(figsize=(8, 1.6 + 0.5 * len(found)), dpi=130, layout="constrained")
        axes = figure.add_subplot()
        for rival in [name for name in rivals.MODULES if name != "minidl"]:
            entries = enumerate(case["entries"].get(rival) for _, case in found)
            here = {row: entry["ratio"] for row, entry in entries if entry}
            if not here:
                continue
            low, value, high = ([ratio[key] for ratio in here.values()] for key in ("low", "value", "high"))
            colour, marker, _, _ = look(rival)
            axes.hlines(list(here), low, high, color=colour)
            axes.plot(value, list(here), marker, color=colour, ms=7, label=rivals.LABELS[rival])
        axes.axvline(1, color=look("minidl")[0], lw=2, label="minidl")
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, 0.7), max(high, 2))
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}×"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_yticks(range(len(found)), [name for name, _ in found])
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.set_xlabel(f"logarithmic axis; 95% interval within the run\n{measured}")
        axes.set_title(title)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return png(figure)


def batch_sizes(results: dict) -> bytes:
    """Latency and throughput of the mnist network over the rows in a call, both axes logarithmic."""
    found = [(int(name.split("/")[1]), case["entries"]) for name, case in results["cases"].items() if "mnist" in name]
    found.sort(key=lambda pair: pair[0])
    with theme(LIGHT):
        figure = Figure(figsize=(11, 4.4), dpi=130, layout="constrained")
        latency, throughput = figure.subplots(1, 2)
        for rival in rivals.MODULES:
            colour, marker, _, _ = look(rival)
            rows = [(size, entries[rival]["seconds"]) for size, entries in found if rival in entries]
            if rows:
                style = {"color": colour, "marker": marker, "label": rivals.LABELS[rival], "ms": 5,
                         "lw": 2.2 if rival == "minidl" else 1.1}  # fmt: skip
                latency.plot([size for size, _ in rows], [seconds * 1e6 for _, seconds in rows], **style)
                throughput.plot([size for size, _ in rows], [size / seconds for size, seconds in rows], **style)
        label(latency, "Latency of 784-256-128-1", "microseconds a call")
        label(throughput, "Throughput", "rows a second")
        throughput.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        figure.supxlabel(source(results), fontsize=8)
        return png(figure)


def accuracy(results: dict) -> bytes:
    """Each way to a faster network: digits decided rightly over the time of a call of few and of many rows."""
    with theme(LIGHT):
        figure = Figure(figsize=(11, 4.6), dpi=130, layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, rows in zip(panels, ("1", "1024"), strict=True):
            for (name, way), marker in zip(results["ways"].items(), "osv^DPX*", strict=False):
                right = [100 * seed["accuracy"] for seed in way["seeds"]]
                middle = sum(right) / len(right)
                axes.errorbar(
                    way["rows"][rows] * 1e6, middle, [[middle - min(right)], [max(right) - middle]], fmt=marker, ms=8,
                    capsize=3, label=f"{name} ({way['bytes'] / 1e3:,.0f} kB)",
                )  # fmt: skip
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set(xlabel="microseconds a call (logarithmic axis)")
            axes.set_title(f"{int(rows):,} row{'s' * (rows != '1')}")
        panels[0].set_ylabel("% of digits decided rightly\n(mean, worst to best seed; the axis begins above 0)")
        panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), title="weights in")
        figure.supxlabel(source(results, "accuracy"), fontsize=8)
        return png(figure)


def label(axes: Axes, title: str, quantity: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_title(title)
    axes.set(xlabel="rows in a call (logarithmic axes)", ylabel=quantity)


def source(results: dict, name: str = "") -> str:
    """Where and when, and in which dtype where all are in one."""
    machine, dtype = results["machine"], "" if name in ("int8", "accuracy") else "float32, "
    return f"{machine['processor']}, {machine['cores']} cores, {dtype}{machine['date'][:10]}"
