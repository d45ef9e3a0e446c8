"""A model in a table: its layers, what they hold and how they are set, and how it is trained."""

from __future__ import annotations

import sys
from html import escape
from typing import TYPE_CHECKING

from minidl import display
from minidl.layers import Dense, Dropout, Layer, Normalization
from minidl.words import in_bytes

if TYPE_CHECKING:
    from minidl.model import Sequential

HEAD = ("layer", "output shape", "parameters", "settings")


def show(model: Sequential) -> None:
    """Print the table; in a notebook display it. Where the output is no terminal it is plain text."""
    if display.in_notebook():
        from IPython.display import HTML
        from IPython.display import display as display_

        display_(HTML(html(model)))
    elif sys.stdout.isatty():
        in_colours(model)
    else:
        print(text(model))


def rows(model: Sequential) -> list[tuple[str, str, str, str]]:
    """One row for each layer."""
    found = []
    for layer in model.layers:
        size = f"{sum(array.size for array in layer.weights):,}" if model.built else "not built"
        width = "?" if layer.outputs is None else layer.outputs
        found.append((f"{layer.name} ({type(layer).__name__})", f"(rows, {width})", size, settings(layer)))
    return found


def settings(layer: Layer) -> str:
    """How a layer is set, in words; what is nothing special is not said."""
    words = []
    if isinstance(layer, Dense):
        penalties = [(name, getattr(layer.kernel_regularizer, name)) for name in ("l1", "l2")]
        words += [layer.activation, *(f"{name} {value:g}" for name, value in penalties if value)]
        words += [] if layer.use_bias else ["no bias"]
    elif isinstance(layer, Dropout):
        words.append(f"rate {layer.rate:g}")
    elif isinstance(layer, Normalization):
        words.append("adapted" if layer.adapted else "not adapted")
    return ", ".join(words if layer.trainable else [*words, "frozen"])


def remarks(model: Sequential) -> list[str]:
    """What there is to say of the whole model, one sentence a line."""
    found = []
    if model.built:
        size, trained = sum(array.nbytes for array in model.weights), model._program.trained
        held = f"{model.count_params():,} parameters, {trained:,} of them trainable, {model._dtype}, {in_bytes(size)}"
        found.append(f"{held}, engine {model.engine}")
    if model.optimizer is None:
        found.append("not compiled")
    else:
        watched = [metric.name for metric in model._metrics]
        metrics = f", metrics {', '.join(watched)}" if watched else ""
        found.append(f"loss {model._loss.name}, optimizer {model.optimizer!r}{metrics}")
    return found


# --- as text, in colours, as HTML -------------------------------------------------------------------------------


def text(model: Sequential) -> str:
    """The table as plain text."""
    lines = [HEAD, *rows(model)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    layer, shape, size, _ = widths
    shown = [f"{a:<{layer}}  {b:<{shape}}  {n:>{size}}  {how}".rstrip() for a, b, n, how in lines]
    return "\n".join([shown[0], "-" * (sum(widths) + 6), *shown[1:], *remarks(model)])


def in_colours(model: Sequential) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for head in HEAD:
        table.add_column(head, justify="right" if head == "parameters" else "left")
    for layer, shape, size, how in rows(model):
        name, _, kind = layer.rpartition(" ")
        table.add_row(Text.assemble((name, "bold cyan"), (f" {kind}", "dim")), Text(shape), size, Text(how))
    console = Console(highlight=False)
    console.print(table)
    for remark in remarks(model):
        console.print(Text(remark, "dim"))


def html(model: Sequential) -> str:
    """The table as HTML that brings its style with it."""
    body = []
    for layer, *others in rows(model):
        name, _, kind = layer.rpartition(" ")
        body.append([f"<b>{escape(name)}</b> <small>{escape(kind)}</small>", *map(escape, others)])
    lines = "".join(f'<p class="soft">{escape(remark)}</p>' for remark in remarks(model))
    return display.fragment(display.table(list(HEAD), body, text=(0, 1, 3)) + lines)
