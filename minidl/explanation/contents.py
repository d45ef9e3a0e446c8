"""Everything that can be explained, by chapters: the operations of the contract, and the formulas that are none."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from minidl import display
from minidl.bench.operations import SLOTS
from minidl.checks import did_you_mean, shown
from minidl.contract import OPERATIONS, Operation
from minidl.formulas import FORMULAS

COMPUTED_BY = {formula: name for name, formulas in reversed(SLOTS.items()) for formula in formulas}
NAMES = (*OPERATIONS, *(name for name in FORMULAS if name not in OPERATIONS))
SHORT = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "auc": "auc_histograms"}

# What the formulas do not say.
MEANINGS = {
    "softmax_backward": "The gradient by the logits: dy times the slopes of softmax, summed: y (dy - sum of dy y).",
    "dropout_backward": "The gradient by the input: dy, kept and scaled by the same mask.",
    "sparse_categorical_crossentropy": "The surprise at the class where targets are given as class indices; the engine "
    "gets them as rows of one 1. Probabilities are clipped before they are divided by their sum, as in Keras.",
    "binary_accuracy": "The share of a row's outputs that are above 0.5 where the label is 1, and not where it is 0.",
    "categorical_accuracy": "1 where a row's largest output is that of its class, else 0.",
    "auc_histograms": "How many scores fall between one threshold and the next, of the entries labelled 0 and of those "
    "labelled 1: the area under the ROC curve is made from these counts.",
}


def name_of(name: object) -> str:
    """The name as the contract or formulas.py has it; ValueError, with the nearest, for an unknown one."""
    known = {own.lower(): own for own in NAMES} | SHORT
    if not isinstance(name, str) or name.strip().lower() not in known:
        raise ValueError(f"there is nothing called {shown(name)} to explain; {nearest(name)}")
    return name if name in NAMES else known[name.strip().lower()]


def nearest(name: object) -> str:
    hint = did_you_mean(name, NAMES)
    return hint if hint.startswith("did") else "minidl.explain() lists all there is"


def operation_of(name: str) -> Operation | None:
    """The operation of this name, or the first one that computes the formula of this name; None where none does."""
    return OPERATIONS.get(COMPUTED_BY.get(name, name))


def backward_of(operation: Operation) -> str:
    """The formula that a backward operation is the derivative of; "" for others."""
    own = not operation.name.endswith("_backward") or operation.formula in ("", operation.name)
    return "" if own else operation.formula


def meaning_of(name: str) -> str:
    """What the operation or formula does, in a sentence or two."""
    operation = OPERATIONS.get(name)
    if name in MEANINGS:
        return MEANINGS[name]
    if operation is None or not backward_of(operation):
        return FORMULAS[name].meaning
    of = name.removesuffix("_backward")
    if operation.module == "losses":
        return f"The gradient by the {'logits' if 'logits' in name else 'prediction'}: the slope of {of}."
    return f"The gradient by the input: dy times the slope of {of}."


def chapters() -> dict[str, list[str]]:
    """The names of each chapter, which is a file of every engine."""
    found: dict[str, list[str]] = {}
    for name in NAMES:
        operation = operation_of(name)
        found.setdefault(operation.module if operation else "formulas", []).append(name)
    return found


class Contents(display.Shown):
    """All that ``explain`` can explain."""

    def __rich_console__(self, console, options) -> Iterator[object]:
        from rich.table import Table
        from rich.text import Text

        for chapter, names in chapters().items():
            yield Text(chapter, "bold")
            wide = max(map(len, names)) + 2
            table = Table.grid(padding=(0, 2, 0, 0))
            table.add_column(no_wrap=True)
            for name in names:
                meaning = [Text(meaning_of(name), "dim")] if options.max_width >= wide + 30 else []
                table.add_row(Text(f"  {name}", "cyan"), *meaning)
            yield table
            yield Text()
        yield Text('explain one by its name: minidl.explain("sigmoid"), or minidl explain sigmoid')

    def _html(self) -> str:
        parts = []
        for chapter, names in chapters().items():
            rows = [[f"<code>{name}</code>", escape(meaning_of(name))] for name in names]
            parts.append(f"<h3>{chapter}</h3>{display.table(['', ''], rows, text=(0, 1))}")
        hint = '<p class="soft">explain one by its name: <code>minidl.explain("sigmoid")</code></p>'
        return f"<h2>What minidl can explain</h2>{''.join(parts)}{hint}"

    def page(self) -> str:
        """The same as a page of its own."""
        return display.document("minidl", self._html())
