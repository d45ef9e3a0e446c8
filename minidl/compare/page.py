"""The report as one web page that needs nothing but itself: style, pictures and formulas are in it."""

from __future__ import annotations

import base64
from html import escape

from minidl.compare import mathml, picture
from minidl.compare.report import (
    engine_rows,
    error_of,
    error_text,
    measured,
    missing,
    remarks,
    task_sentence,
)
from minidl.contract import OPERATIONS
from minidl.formulas import FORMULAS, Formula, largest
from minidl.plots import DARK, LIGHT
from minidl.words import duration, times

PANEL_TITLES = {
    "loss": "The training loss of each engine: the curves lie on each other",
    "speedups": "How many times faster than NumPy each engine trains and predicts",
    "operations": "The speedup of each operation",
    "errors": "The error of each operation, as a share of its stated bound",
}

STYLE = """
:root { color-scheme: light dark; --paper: #f5f6f8; --card: #ffffff; --ink: #1c2430; --soft: #5b6675; --line: #dde2e9;
  --accent: #d9541e; --warn: #fff4e0; }
@media (prefers-color-scheme: dark) { :root { --paper: #0f1319; --card: #171c24; --ink: #e6eaf0; --soft: #9aa6b5;
  --line: #2b333f; --accent: #ff9a62; --warn: #33290f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { margin: 8px 0; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 40px 0 12px; font-size: 1.35rem; }
h3 { margin: 0; font-size: 1.1rem; }
p { margin: 6px 0; }
.soft { color: var(--soft); font-size: 0.9rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px 18px;
  margin: 12px 0; }
.warn { background: var(--warn); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 12px; }
.pair .card { margin: 0; min-width: 0; }
img { display: block; width: 100%; height: auto; border-radius: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 0.92rem; }
th, td { padding: 5px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
.wrap td { white-space: normal; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { color: var(--soft); font-weight: 600; }
tr:last-child td { border-bottom: 0; }
td.over { color: var(--accent); font-weight: 700; }
code { font-family: ui-monospace, monospace; font-size: 0.92em; }
math { font-family: "STIX Two Math", "Cambria Math", "Latin Modern Math", "STIX Math", math; font-size: 1.15rem;
  margin: 0.55em 0; }
.formula { overflow: auto hidden; margin: 6px 0; padding: 2px 0; }
.formula .soft { margin-top: 10px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0; font-size: 0.92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
nav { columns: 3 200px; font-size: 0.9rem; } nav a { display: block; color: inherit; }
"""


def html(report: dict) -> str:
    """The whole page."""
    body = "\n".join([
        "<h1>minidl compare</h1>",
        f"<p>{escape(task_sentence(report))}</p>",
        *(f'<p class="card warn">{escape(remark)}</p>' for remark in remarks(report)),
        *(f'<p class="soft">{escape(sentence)}</p>' for sentence in missing(report)),
        engines(report),
        pictures(report),
        formulas(report),
        machine(report),
    ])  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>minidl compare: {escape(report['data']['name'])}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are HTML already."""
    lines = ["".join(f"<th>{cell}</th>" for cell in head)]
    lines += ["".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row) for row in rows]
    return f'<div class="scroll"><table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


# --- sections -------------------------------------------------------------------------------------------------------


def engines(report: dict) -> str:
    """Accuracy, loss and times of the whole network, one column for each engine."""
    names = measured(report)
    if not names:
        return ""
    rows = [list(map(escape, row)) for row in engine_rows(report)]
    note = (
        "Medians of interleaved runs (A B A B), garbage collector off, after the engines were found to agree; in "
        "brackets the 95% interval of the ratio of medians within this run. An epoch is one call of <code>fit</code>, "
        "a prediction of one row one call of <code>model(x)</code>."
    )
    return f'<h2>The network</h2><div class="card wrap">{table(["", *names], rows)}<p class="soft">{note}</p></div>'


def pictures(report: dict) -> str:
    """The panels, in light and dark."""
    cards = "".join(f'<div class="card">{image(name, title, report)}</div>' for name, title in PANEL_TITLES.items())
    return f'<h2>The pictures</h2><div class="pair">{cards}</div>'


def image(name: str, title: str, report: dict) -> str:
    light, dark = (embedded(picture.panel(name, report, style)) for style in (LIGHT, DARK))
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{escape(title)}"></picture>'
    )


def embedded(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def formulas(report: dict) -> str:
    """A card for each formula, with the operations that compute it or its derivative."""
    operations: dict[str, list[str]] = {}
    for name in report["formulas"]:
        operations.setdefault(OPERATIONS[name].formula, []).append(name)
    if not operations:
        return ""
    links = "".join(f'<a href="#{name}">{name.replace("_", " ")}</a>' for name in operations)
    cards = "".join(card(FORMULAS[name], names, report) for name, names in operations.items())
    note = (
        "Errors are the largest found against the formula itself, evaluated to 40 digits. <code>ulp</code>: units in "
        "the last place of the result. <code>u |A||B|</code>: the rounding unit times the size of the terms that were "
        "added up. <code>u max|C|</code>: the rounding unit times the largest entry of the result. <code>steps</code>: "
        "whole numbers of the result. Times are those of the whole operation on arrays of the sizes given, of float32 "
        "or, where the formula says so, whole numbers."
    )
    return f'<h2>The formulas</h2><p class="soft">{note}</p><nav class="card">{links}</nav>{cards}'


def card(formula: Formula, names: list[str], report: dict) -> str:
    """One formula: what it says, its derivative, and how near and how fast each engine computes it."""
    parts = [("", mathml.definition(formula))]
    if formula.stable is not None and mathml.markup(formula.stable) != mathml.markup(formula.symbol):
        words = "computed in the equal form that neither overflows nor cancels"
        if formula.stable.has(largest):
            words += "; <i>c<sub>r</sub></i> is the largest logit of the row, though any number gives the same value"
        parts.append((words, mathml.stable(formula)))
    if formula.variable is not None:
        parts.append(("derivative", mathml.derivative(formula)))
        if formula.from_output is not None and formula.from_output != formula.derivative:
            parts.append(("the derivative from the output a, as the engines compute it", mathml.from_output(formula)))
    shown = "".join(f'<p class="soft">{words}</p>{math}' for words, math in parts)
    rows = [row(name, engine, entry) for name in names for engine, entry in report["formulas"][name].items()]
    head = ["operation", "engine", "error", "bound", "unit", "time", "speedup", "array sizes"]
    return (
        f'<section class="card" id="{formula.name}"><h3>{formula.name.replace("_", " ")}</h3>'
        f'<p>{escape(formula.meaning)}</p><div class="formula">{shown}</div>'
        f'{table(head, rows)}<p class="soft">{escape(formula.source)}</p></section>'
    )


def row(name: str, engine: str, entry: dict) -> list[str]:
    error = error_of(entry)
    over = "" if error <= entry["bound"] else ' class="over"'
    speedup = entry.get("speedup_vs_numpy")
    return [
        f"<code>{name}</code>",
        engine,
        f"<td{over}>{error_text(error)}</td>",
        error_text(entry["bound"]),
        escape(entry["unit"]),
        duration(entry["seconds"]),
        "-" if speedup is None else times(speedup),
        entry.get("timed_on", "-"),
    ]


def machine(report: dict) -> str:
    """Where, when and with what it was measured."""
    facts = report["machine"]
    threads = ", ".join(f"{name} {number or 'unknown'}" for name, number in facts["threads"].items())
    shown = {
        "processor": facts["processor"],
        "cores": facts["cores"],
        "threads at most": threads,
        "load at the start": facts["load"],
        "matrix products": facts["blas"],
        "system": facts["system"],
        "Python": facts["python"],
        **facts["versions"],
        "date": facts["date"],
    }
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in shown.items())
    return f'<h2>The machine</h2><div class="card"><dl>{lines}</dl></div>'
