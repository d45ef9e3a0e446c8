"""A model in a table: its layers, what they hold and how they are set, and how it is trained."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from minidl import display
from minidl.layers import Dense, Dropout, Layer, Normalization
from minidl.words import in_bytes

if TYPE_CHECKING:
    from minidl.model import Sequential

HEAD = ("layer", "output shape", "parameters", "settings")


class Summary(display.Tabled):
    """The table as text and as HTML."""

    def __init__(self, model: Sequential):
        self.model = model

    def _tables(self) -> list[display.Grid]:
        lines = []
        for layer, *others in rows(self.model):
            name, _, kind = layer.rpartition(" ")
            html = f"<b>{escape(name)}</b> <small>{escape(kind)}</small>"
            lines.append([display.Cell(layer, html), *others])
        return [display.Grid(HEAD, lines, (0, 1, 3))]

    def _notes(self) -> list[str]:
        return remarks(self.model)


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
