"""An explanation in a terminal: boxes side by side where the width allows it, else one under another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from minidl.explanation import pretty
from minidl.explanation.explanation import HEAD, Column, Explanation
from minidl.explanation.highlight import as_text
from minidl.looks import ENGINES

BORDER = 4  # a panel's frame and padding, both sides
LEAST = 78  # a panel in which lines are folded is at least so wide, if another stands beside it


def parts(explanation: Explanation, width: int, unicode: bool = True) -> Iterator[object]:
    """What is printed, part by part."""
    yield Text.assemble((explanation.name, "bold"), ("  ", ""), (explanation.chapter, "dim"))
    yield Text(explanation.meaning)
    yield Text()
    yield from formulas(explanation, width, unicode)
    if explanation.short:
        yield from sources(explanation, width)
        return
    yield facts(explanation, unicode)
    if any(column.measured for column in explanation.columns):
        yield from measured(explanation)
    else:
        yield Text()
    for problem in explanation.problems:
        yield Text(problem, "red")
    yield from sources(explanation, width)
    if explanation.full:
        yield from callees(explanation, width)


# --- the formula --------------------------------------------------------------------------------------------------


def formulas(explanation: Explanation, width: int, unicode: bool) -> Iterator[Table]:
    """A box for each form of the formula, as many in a row as the width holds."""
    row: list[Panel] = []
    used = 0
    for heading, what in explanation.sections:
        lines = fitting(pretty.lines(explanation.formula, what, unicode), width - BORDER)
        wide = min(max(len(heading) + 2, *map(len, lines)) + BORDER, width)
        if row and used + 1 + wide > width:
            yield beside(row)
            row, used = [], 0
        body = Text("\n".join(lines), no_wrap=True)
        row.append(Panel(body, title=Text(heading, "dim"), title_align="left", border_style="dim", width=wide))
        used += wide + (used > 0)
    if row:
        yield beside(row)


def beside(panels: list[Panel]) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    for panel in panels:
        grid.add_column(width=panel.width)
    tallest = max(panel.renderable.plain.count("\n") for panel in panels)
    for panel in panels:
        above = (tallest - panel.renderable.plain.count("\n")) // 2
        panel.renderable, panel.height = Text("\n" * above) + panel.renderable, tallest + 3
    grid.add_row(*panels)
    return grid


def fitting(lines: list[str], width: int) -> list[str]:
    """The picture of a formula cut into strips, one below the other, where it is too wide."""
    wide = max(map(len, lines))
    strips = [[line[start : start + width].rstrip() for line in lines] for start in range(0, wide, width)]
    return [line for strip in strips for line in ([] if strip is strips[0] else [""]) + strip]


def facts(explanation: Explanation, unicode: bool) -> Table:
    """Call, shapes, bound, source, and what the letters stand for."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, words in explanation.facts.items():
        grid.add_row(Text(name, "dim"), Text(words))
    letters = [f"{pretty.letter(symbol, unicode)} {words}" for symbol, words in explanation.letters]
    if letters:
        grid.add_row(Text("letters", "dim"), Text("; ".join(letters)))
    return grid


# --- the engines --------------------------------------------------------------------------------------------------


def measured(explanation: Explanation) -> Iterator[object]:
    """Error and time of each engine that can run here."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("engine")
    rows = explanation.rows
    heads = HEAD if all(row[-1] for row in rows.values()) else HEAD[:-1]  # no ceiling is known
    for head in heads:
        table.add_column(head, justify="right")
    for column in explanation.columns:
        if column.measured:
            error, *others = rows[column.engine][: len(heads)]
            table.add_row(engine_name(column), Text(error, "red" if column.beyond else ""), *others)
    yield table
    yield Text(explanation.note, "dim")
    yield Text()


def engine_name(column: Column) -> Text:
    return Text(column.engine, f"bold {ENGINES.get(column.engine, '')}".strip())


def sources(explanation: Explanation, width: int) -> Iterator[object]:
    """The operation itself in each engine, as many side by side as can be read so."""
    columns = explanation.columns
    for in_a_row in range(len(columns), 0, -1):
        rows = [columns[start : start + in_a_row] for start in range(0, len(columns), in_a_row)]
        widths = [shares(row, width) for row in rows]
        if all(widths):
            break
    else:
        return
    for row, wide in zip(rows, widths, strict=True):
        grid = Table.grid(padding=(0, 1, 0, 0))
        for each in wide:
            grid.add_column(width=each)
        grid.add_row(*(panel(column, explanation, each) for column, each in zip(row, wide, strict=True)))
        yield grid


def shares(columns: tuple[Column, ...], width: int) -> list[int]:
    """How wide each engine's panel is beside the others; [] where too little is left to read the source in."""
    room = width - (len(columns) - 1)
    natural = [max([30, *map(len, text_of(column).splitlines())]) + BORDER for column in columns]
    if sum(natural) <= room:
        return [wide + (room - sum(natural)) // len(columns) for wide in natural]
    return [room // len(columns)] * len(columns) if len(columns) == 1 or room // len(columns) >= LEAST else []


def text_of(column: Column) -> str:
    return column.pieces[0].text if column.pieces else "not written in this engine"


def panel(column: Column, explanation: Explanation, width: int) -> Panel:
    """One engine's source, with the file it stands in, what it calls, and why it cannot run."""
    inside = width - BORDER
    body = as_text(text_of(column), inside)
    notes = []
    if column.callees and not explanation.full and not explanation.short:
        notes.append(f"uses {', '.join(column.callees)} (--full or full=True shows them)")
    if column.reason:
        notes.append(f"cannot run here: {column.reason}")
    for note in notes:
        body.append(f"\n\n{note}", "dim")
    where = f"{column.pieces[0].file}:{column.pieces[0].line}" if column.pieces else ""
    return Panel(
        body, width=width, title=engine_name(column), title_align="left", border_style=ENGINES.get(column.engine, ""),
        subtitle=Text(where, "dim"), subtitle_align="right",
    )  # fmt: skip


def callees(explanation: Explanation, width: int) -> Iterator[object]:
    """What the operation calls in each engine, as an excerpt of each file."""
    for column in explanation.columns:
        for file, pieces in groupby(column.pieces[1:], key=lambda piece: piece.file):
            yield Text()
            yield Text.assemble(engine_name(column), (" uses, of ", "dim"), (file, "dim"))
            yield Text()
            yield as_text(excerpt(list(pieces)), width)


def excerpt(pieces: list) -> str:
    """Definitions under each other: one-line ones close together, others apart."""
    text = pieces[0].text
    for before, piece in pairwise(pieces):
        close = "\n" not in before.text and "\n" not in piece.text
        text += ("\n" if close else "\n\n") + piece.text
    return text
