"""The picture of what was measured on a GPU: how many times as long as minidl each way of each rival takes."""

from __future__ import annotations

from matplotlib.figure import Figure

from minidl.looks import look
from minidl.plots import LIGHT, png, theme
from minidl.words import duration


def draw(content: dict) -> bytes:
    """A panel for each case, a bar for each way; PNG."""
    found = list(content["cases"].items())
    with theme(LIGHT):
        figure = Figure(figsize=(11, 1 + 2.1 * len(found)), dpi=110, layout="constrained")
        for axes, (name, case) in zip(figure.subplots(len(found), 1, squeeze=False)[:, 0], found, strict=True):
            entries = sorted(case["entries"].items(), key=lambda pair: -pair[1]["seconds"])
            labels = [way for way, _ in entries]
            times = [entry["seconds"] * 1e6 for _, entry in entries]
            bars = axes.barh(labels, times, color=[look(way)[0] for way in labels])
            axes.bar_label(bars, [duration(entry["seconds"]) for _, entry in entries], padding=3)
            axes.set_xscale("log")
            axes.margins(x=0.12)
            axes.set_title(f"{name}, matrix products {case['precision']}")
        axes.set_xlabel(f"microseconds a step or a call (logarithmic axis); {origin(content)}")
        return png(figure)


def origin(content: dict) -> str:
    """Where the numbers are from, in words."""
    if content["device"] != "gpu":
        return "NOT A GPU: the CPU's stand-in"
    return f"{content['gpu']}, {content['machine']['date'][:10]}"
