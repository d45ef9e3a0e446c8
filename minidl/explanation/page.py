"""An explanation as HTML: the formulas as MathML, the engines next to each other, what they call folded below."""

from __future__ import annotations

from html import escape
from itertools import groupby

from minidl import display
from minidl.compare import mathml
from minidl.explanation.explanation import HEAD, Column, Explanation
from minidl.explanation.highlight import ENGINES, as_html
from minidl.explanation.text import excerpt, text_of


def body(explanation: Explanation) -> str:
    """Everything, as a piece of HTML."""
    return "".join([
        f"<h2>{explanation.name} <small>{explanation.chapter}</small></h2>",
        f"<p>{escape(explanation.meaning)}</p>",
        formulas(explanation),
        measured(explanation),
        *(f'<p class="warn">{escape(problem)}</p>' for problem in explanation.problems),
        f'<div class="columns">{"".join(map(section, explanation.columns))}</div>',
        facts(explanation),
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
    return display.table(["", *HEAD], rows) + note if rows else ""


def section(column: Column) -> str:
    """One engine: its source, and folded what it calls."""
    colour = ENGINES[column.engine]
    where = f"{column.pieces[0].file}:{column.pieces[0].line}" if column.pieces else ""
    parts = [
        f'<div class="box" style="border-top-color:{colour}">',
        f'<h3 style="color:{colour}">{column.engine} <small>{where}</small></h3>',
        f'<p class="soft">cannot run here: {escape(column.reason)}</p>' if column.reason else "",
        as_html(text_of(column)),
    ]
    if column.pieces[1:]:
        called = ", ".join(column.callees) or ", ".join(piece.name for piece in column.pieces[1:])
        parts.append(f"<details><summary>uses {escape(called)}</summary>")
        for file, pieces in groupby(column.pieces[1:], key=lambda piece: piece.file):
            parts.append(f'<p class="soft">{file}</p>{as_html(excerpt(list(pieces)))}')
        parts.append("</details>")
    return "".join([*parts, "</div>"])


def facts(explanation: Explanation) -> str:
    """Call, shapes, bound, source, and what the letters stand for."""
    lines = [
        f"<dt>{name}</dt><dd>{f'<code>{escape(words)}</code>' if name in ('call', 'shapes') else escape(words)}</dd>"
        for name, words in explanation.facts.items()
    ]
    letters = "; ".join(f"<math>{mathml.markup(symbol)}</math> {words}" for symbol, words in explanation.letters)
    if letters:
        lines.append(f"<dt>letters</dt><dd>{letters}</dd>")
    return f"<dl>{''.join(lines)}</dl>"
