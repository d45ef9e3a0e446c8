"""A training and a network as pictures, and how minidl's pictures look."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullFormatter
from PIL import Image  # which matplotlib brings along

from minidl import files, summary
from minidl.callbacks.history import are_numbers
from minidl.layers import Dense, Dropout, Normalization
from minidl.looks import ENGINES, GREY, ON_DARK

if TYPE_CHECKING:
    from minidl.callbacks import History
    from minidl.layers import Layer
    from minidl.model import Sequential

STEEP = 100  # where the largest value is that many times the smallest, the axis is logarithmic
MARKED = 30  # up to so many epochs each has a marker
FORMATS = (".png", ".svg", ".pdf")
LONGEST = 24  # letters of a layer's name that its box has room for


@dataclass(frozen=True)
class Style:
    """The colours of one theme."""

    paper: str
    ink: str
    faint: str
    engines: dict[str, str]


LIGHT = Style("#ffffff", "#1c2430", "#dde2e9", ENGINES)
CLEAR = Style("none", GREY, f"{GREY}50", ENGINES)  # without a paper of its own: for pages that may be light or dark
DARK = Style("#171c24", "#e6eaf0", "#38414e", ON_DARK)


def theme(style: Style):
    return rc_context({
        "font.size": 9.5,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": style.faint,
        "axes.edgecolor": style.faint,
        "legend.frameon": False,
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), style.paper),
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), style.ink),
    })  # fmt: skip


def png(figure: Figure) -> bytes:
    """The picture in 256 colours, which no eye misses in a chart, and a third of the bytes."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image, method = Image.fromarray(np.asarray(canvas.buffer_rgba())), Image.Quantize.FASTOCTREE  # which knows of clear
    if figure.get_facecolor()[3]:
        image, method = image.convert("RGB"), Image.Quantize.MEDIANCUT
    buffer = io.BytesIO()
    image.quantize(256, method, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


class Picture(Figure):
    """A figure that is not pyplot's, so that nothing keeps it or opens a window; in Jupyter it shows itself."""

    def _repr_png_(self) -> bytes:
        return png(self)


def history(record: History, path: str | Path | None = None) -> Picture:
    """``History.plot``: the loss and each metric over the epochs, training and validation laid on each other.

    What callbacks put into the logs is drawn where it is numbers. Axes begin at 0, or are logarithmic and say so.
    RuntimeError where no epoch was trained; ValueError for a path that ends in no known format, OSError where it
    cannot be written.
    """
    if not record.epoch:
        raise RuntimeError("there is nothing to plot: no epoch has been trained; call fit with epochs=1 or more")
    check_path(path)
    drawn = [name for name, values in record.history.items() if are_numbers(values)]
    names = [name for name in drawn if not (name.startswith("val_") and name[4:] in drawn)]
    names.sort(key=lambda name: name != "loss")  # the loss first, the others as they came
    with theme(LIGHT):
        across = min(len(names), 3)
        down = math.ceil(len(names) / across)
        figure = Picture(figsize=(4.8 * across, 3.6 * down), dpi=110, layout="constrained")
        places = figure.subplots(down, across, squeeze=False).ravel()
        for axes, name in zip(places, names, strict=False):
            panel(axes, name, record)
        for axes in places[len(names) :]:
            axes.set_axis_off()
        write(figure, path)
    return figure


def network(model: Sequential, path: str | Path | None = None) -> Picture:
    """``Sequential.plot``: the layers as boxes, from the input down, and beside each its parameters and its share of
    the multiply-adds that a row costs.

    RuntimeError where the model has no weights yet; ValueError for a path that ends in no known format, OSError where
    it cannot be written.
    """
    model._require_built()
    check_path(path)
    layers = model.layers
    sizes = [sum(array.size for array in layer.weights) for layer in layers]
    work = [layer.W.size if isinstance(layer, Dense) else 0 for layer in layers]  # multiply-adds of one row
    with theme(LIGHT):
        figure = Picture(figsize=(10, 1.6 + 0.62 * len(layers)), dpi=110, layout="constrained")
        boxes, left, right = figure.subplots(1, 3, sharey=True, width_ratios=(5, 2.4, 2.4))
        draw_layers(boxes, layers)
        shares = [part / max(sum(work), 1) for part in work]
        percent = [f"{share:.1%}" for share in shares]
        draw_amounts(left, sizes, [f"{size:,}" for size in sizes], "parameters", f"{sum(sizes):,} in all")
        draw_amounts(right, shares, percent, "multiply-adds", f"{sum(work):,} for each row")
        write(figure, path)
    return figure


def draw_layers(axes: Axes, layers: list[Layer]) -> None:
    """A box for each layer, with its name and settings and what goes in and out of it, and arrows between them."""
    colours = {Dense: LIGHT.engines["numpy"], Normalization: LIGHT.engines["cupy"], Dropout: LIGHT.engines["numba"]}
    words = {"va": "center", "parse_math": False}
    arrow = {"arrowstyle": "-|>", "color": LIGHT.ink, "shrinkA": 0, "shrinkB": 0}
    axes.text(0.5, -0.72, f"{layers[0].inputs:,} features", ha="center", **words)
    for place, layer in enumerate(layers):
        axes.annotate("", (0.5, place - 0.3), (0.5, place - (0.7 if place else 0.58)), arrowprops=arrow)
        tone = colours.get(type(layer), LIGHT.ink)
        axes.add_patch(Rectangle((0, place - 0.3), 1, 0.6, facecolor=(tone, 0.13), edgecolor=tone, lw=1.2))
        name = layer.name if len(layer.name) <= LONGEST else f"{layer.name[: LONGEST - 1]}…"
        axes.text(0.03, place - 0.11, name, fontweight="bold", **words)
        axes.text(0.03, place + 0.14, f"{type(layer).__name__}  {summary.settings(layer)}", fontsize=8, **words)
        axes.text(0.97, place - 0.11, f"{layer.inputs:,} → {layer.outputs:,}", ha="right", **words)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(len(layers) - 0.5, -0.95)
    axes.set_axis_off()


def draw_amounts(axes: Axes, amounts: list[float], words: list[str], title: str, total: str) -> None:
    """A bar for each layer, from 0, with its value behind it."""
    axes.barh(range(len(amounts)), amounts, height=0.36, color=LIGHT.engines["numpy"])
    for place, (amount, word) in enumerate(zip(amounts, words, strict=True)):
        axes.annotate(word, (amount, place), xytext=(5, 0), textcoords="offset points", va="center")
    axes.set_title(title)
    axes.set_xlabel(total, loc="left")
    axes.set_xlim(0, 1.45 * (max(amounts) or 1))  # with room for the words
    axes.set_xticks([])
    axes.tick_params(left=False, labelleft=False)
    axes.spines["bottom"].set_visible(False)
    axes.grid(visible=False)


def check_path(path: str | Path | None) -> None:
    """ValueError for a path that ends in no known format, OSError where it cannot be written; None is no path."""
    if path is None:
        return
    if Path(path).suffix.lower() not in FORMATS:
        raise ValueError(f"a picture's name ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, not {str(path)!r}")
    files.writable(path)


def write(figure: Figure, path: str | Path | None) -> None:
    """Put the figure into the file, whole or not at all; nowhere where there is no path."""
    if path is not None:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=Path(path).suffix.lower()[1:])
        files.replace(path, buffer.getvalue())


def panel(axes: Axes, name: str, record: History) -> None:
    """One quantity over the epochs: the training below with a wide line, so that equal curves are both seen."""
    last = record.epochs()
    looks = {
        name: {"label": "training", "color": LIGHT.engines["numpy"], "lw": 3, "ms": 6},
        f"val_{name}": {"label": "validation", "color": LIGHT.engines["numba"], "lw": 1.4, "ms": 3.5},
    }
    curves = [(key, record.history[key], look) for key, look in looks.items() if are_numbers(record.history.get(key))]
    finite = [value for _, values, _ in curves for value in values if math.isfinite(value)]
    missing = set()
    for key, values, look in curves:
        epochs = [place + 1 for place in record.places(key)]  # a History that is given to fit again goes on
        missing |= {epoch for epoch, value in zip(epochs, values, strict=True) if not math.isfinite(value)}
        shown = [value if math.isfinite(value) else math.nan for value in values]
        axes.plot(epochs, shown, marker="o" if len(values) <= MARKED else "", **look)
    steep = bool(finite) and min(finite) > 0 and max(finite) > STEEP * min(finite)
    axes.set_title(name)
    axes.set(xlabel="epoch", ylabel=label_of(name, record) + (" (logarithmic axis)" if steep else ""))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(*padded(1, last))
    if steep:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif finite:
        low, high = min(0.0, *finite, 0.0), max(0.0, *finite, 0.0)
        axes.set_ylim(low * 1.05, high * 1.05 or 1)
    else:
        axes.set_yticks([])
    if missing:
        words = f"not finite in {'epoch' if len(missing) == 1 else 'epochs'} {runs(sorted(missing))}"
        axes.set_title(words, loc="right", fontsize=9, fontweight="normal")
    if len(curves) > 1:
        axes.legend()


def padded(first: int, last: int) -> tuple[float, float]:
    margin = max(0.5, 0.03 * (last - first))
    return first - min(margin, 0.9), last + margin  # epoch 0 is not in sight


def runs(epochs: list[int]) -> str:
    """Numbers in words, neighbours as one: 3, 5 to 9."""
    groups: list[list[int]] = []
    for epoch in epochs:
        if groups and epoch == groups[-1][-1] + 1:
            groups[-1].append(epoch)
        else:
            groups.append([epoch])
    words = [str(group[0]) if len(group) == 1 else f"{group[0]} to {group[-1]}" for group in groups]
    return ", ".join(words if len(words) <= 4 else [*words[:3], f"and {len(words) - 3} more runs"])


def label_of(name: str, record: History) -> str:
    """What the axis of a quantity says: of the loss its name, with the unit where it has one."""
    if name != "loss":
        return name.replace("_", " ")
    loss = getattr(getattr(record.model, "_loss", None), "name", "loss")
    return loss.replace("_", " ") + (" (nats)" if "crossentropy" in loss else "")
