"""An explanation as HTML: the formulas as MathML, the engines next to each other, what they call folded below."""

from __future__ import annotations

import base64
from html import escape
from itertools import groupby

import sympy as sp

from minidl import display
from minidl.bench import operations
from minidl.compare import mathml
from minidl.explanation import pretty
from minidl.explanation.explanation import HEAD, Column, Explanation
from minidl.explanation.highlight import as_html
from minidl.explanation.text import excerpt, text_of
from minidl.looks import ENGINES

NAMED = 6  # functions that are named of those that an operation calls


def body(explanation: Explanation) -> str:
    """Everything, or the short form, as a piece of HTML."""
    return head(explanation) + formulas(explanation) + rest(explanation)


def head(explanation: Explanation) -> str:
    """What it is called, and what it means."""
    name = f"<h2>{explanation.name} <small>{explanation.chapter}</small></h2>"
    return f"{name}<p>{escape(explanation.meaning)}</p>"


def rest(explanation: Explanation, math: bool = True) -> str:
    """What comes below the formulas; its letters as MathML, or as characters."""
    if explanation.short:
        return versions(explanation)
    return "".join([
        measured(explanation),
        errors(explanation),
        *(f'<p class="warn">{escape(problem)}</p>' for problem in explanation.problems),
        versions(explanation),
        facts(explanation, math),
    ])  # fmt: skip


def formulas(explanation: Explanation) -> str:
    """A box for each form of the formula."""
    boxes = (
        f'<div class="box"><small>{heading}</small><div class="formula">{getattr(mathml, what)(explanation.formula)}'
        "</div></div>"
        for heading, what in explanation.sections
    )
    return f'<div class="boxes">{"".join(boxes)}</div>'


def measured(explanation: Explanation) -> str:
    """Error and time of each engine that can run here."""
    rows = []
    for column in explanation.columns:
        if column.measured:
            error, *others = map(escape, explanation.rows[column.engine])
            name = f'<b style="color:{ENGINES[column.engine]}">{column.engine}</b>'
            rows.append([name, f'<b class="warn">{error}</b>' if column.beyond else error, *others])
    note = f'<p class="soft">{escape(explanation.note)}</p>'
    if not any(row[-1] for row in rows):  # no ceiling is known
        rows = [row[:-1] for row in rows]
    return display.table(["", *HEAD][: len(rows[0])], rows) + note if rows else ""


def errors(explanation: Explanation) -> str:
    """A picture of the error over the argument, of an elementwise function that is not exact."""
    able = [column.engine for column in explanation.columns if column.measured]
    name = explanation.operation.name if able else ""
    if not able or not operations.on_a_line(name) or not explanation.operation.bound:
        return ""
    from matplotlib.ticker import FuncFormatter

    from minidl.bench import charts
    from minidl.plots import CLEAR, png

    title = f"{name}: its error over x, float32"
    figure = charts.errors(*operations.errors_on_a_line(name, able), title, bins=1000, style=CLEAR)
    (axes,) = figure.axes
    axes.set_xscale("symlog", linthresh=0.01)
    axes.xaxis.set_major_formatter(FuncFormatter(charts.short))
    axes.set(xlim=(-1000, 1000), xlabel="x (linear to ±0.01, then logarithmic)")
    data = base64.b64encode(png(figure)).decode()
    look = 'alt="the largest error in ulp over x" style="max-width: 40rem; width: 100%; margin: 8px 0"'
    return f'<img {look} src="data:image/png;base64,{data}"/>'


def versions(explanation: Explanation) -> str:
    """The engines next to each other."""
    return f'<div class="columns">{"".join(section(column, explanation.short) for column in explanation.columns)}</div>'


def section(column: Column, short: bool) -> str:
    """One engine: its source, folded where it cannot run here, and folded what it calls."""
    colour = ENGINES[column.engine]
    where = f"{column.pieces[0].file}:{column.pieces[0].line}" if column.pieces else ""
    parts = [
        f'<div class="box{" wide" if column.reason else ""}" style="border-top-color:{colour}">',
        f'<h3 style="color:{colour}">{column.engine} <small>{where}</small></h3>',
        f"<details><summary>cannot run here: {escape(column.reason)}</summary>" if column.reason else "",
        as_html(text_of(column)),
        "</details>" if column.reason else "",
    ]
    if column.pieces[1:] and not short:
        called = column.callees or [piece.name for piece in column.pieces[1:]]
        parts.append(f"<details><summary>uses {escape(some(called))}</summary>")
        for file, pieces in groupby(column.pieces[1:], key=lambda piece: piece.file):
            parts.append(f'<p class="soft">{file}</p>{as_html(excerpt(list(pieces)))}')
        parts.append("</details>")
    return "".join([*parts, "</div>"])


def some(names: list[str]) -> str:
    """The first of the names, and how many there are beyond."""
    return ", ".join(names) if len(names) <= NAMED + 1 else f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"


def facts(explanation: Explanation, math: bool) -> str:
    """Call, shapes, bound, source, and what the letters stand for."""

    def letter(symbol: sp.Symbol) -> str:
        return f"<math>{mathml.markup(symbol)}</math>" if math else escape(pretty.letter(symbol))

    lines = [
        f"<dt>{name}</dt><dd>{f'<code>{escape(words)}</code>' if name in ('call', 'shapes') else escape(words)}</dd>"
        for name, words in explanation.facts.items()
    ]
    letters = "; ".join(f"{letter(symbol)} {words}" for symbol, words in explanation.letters)
    if letters:
        lines.append(f"<dt>letters</dt><dd>{letters}</dd>")
    return f"<dl>{''.join(lines)}</dl>"
