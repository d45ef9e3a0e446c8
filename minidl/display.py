"""How things show themselves: as text in a terminal or a file, as HTML in a notebook or as a page of its own."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from minidl.looks import ENGINES, GREY

# Nothing here asks for the theme: text has the colour that the page gives it, and the greys and the engines' colours
# are as far from white as from black. So a notebook may be light or dark, whichever way it says so.
STYLE = f".minidl {{ --soft: {GREY}; --line: {GREY}50; --warn: {ENGINES['numba']}; }}" + """
.minidl { font-size: 0.95rem; line-height: 1.5; }
.minidl h2 { margin: 0 0 4px; font-size: 1.45rem; }
.minidl h3 { margin: 18px 0 6px; font-size: 1.05rem; }
.minidl p { margin: 4px 0; }
.minidl small, .minidl .soft, .minidl dt, .minidl th { color: var(--soft); font-size: 0.85rem; font-weight: normal; }
.minidl .boxes { display: flex; flex-wrap: wrap; gap: 10px; margin: 12px 0; }
.minidl .boxes .box { display: flex; flex-direction: column; }
.minidl .box { border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; min-width: 0; }
.minidl .formula { overflow: auto hidden; margin: auto 0; }
.minidl math { font-family: "STIX Two Math", "Cambria Math", "Latin Modern Math", "STIX Math",
  "DejaVu Math TeX Gyre", math;
  font-size: 1.1rem; margin: 0.5em 0; text-align: left; }
.minidl .columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28.5rem), 1fr)); gap: 10px;
  margin: 12px 0; }
.minidl .columns .box { border-top-width: 3px; }
.minidl .columns .wide { grid-column: 1 / -1; }
.minidl .columns h3 { margin: 0; }
.minidl pre { margin: 8px 0 0; padding: 0; overflow-x: auto; white-space: pre-wrap; background: none; border: 0;
  word-break: normal;
  color: inherit; font: 0.8rem/1.45 ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.minidl :is(p, dd, td) > code, .minidl pre > code { background: none; color: inherit; padding: 0;
  font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.minidl pre code { font: inherit; }
.minidl details { margin-top: 8px; }
.minidl summary { cursor: pointer; color: var(--soft); font-size: 0.85rem; }
.minidl .scroll { overflow-x: auto; }
.minidl table { border-collapse: collapse; margin: 8px 0; font-size: 0.9rem; font-variant-numeric: tabular-nums;
  width: auto; border: 0; }
.minidl table tr:nth-child(n) { background: none; }
.minidl th, .minidl td { padding: 4px 14px 4px 0; text-align: right; vertical-align: top; border: 0;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
.minidl table tr > .left { text-align: left; white-space: normal; }
.minidl .tables { display: flex; flex-wrap: wrap; gap: 0 40px; }
.minidl .track { width: 9rem; }
.minidl .bar { height: 0.7rem; min-width: 2px; margin-top: 0.25rem; border-radius: 2px; background: currentColor; }
.minidl svg { display: block; fill: none; stroke: currentColor; stroke-width: 1.5; stroke-linejoin: round;
  stroke-linecap: round; }
.minidl dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 10px 0 0;
  font-size: 0.9rem; }
.minidl dt { margin: 0; white-space: nowrap; } .minidl dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.minidl .warn { color: var(--warn); }
"""

PAGE = """:root { color-scheme: light dark; }
@media (prefers-color-scheme: dark) { body { background: #14181f; color: #e2e6ec; } }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1440px; margin: 0 auto; padding: 28px 20px 60px; }
"""


class Cell(NamedTuple):
    """A cell of a table that is more in HTML than in text."""

    text: str
    html: str


class Grid(NamedTuple):
    """A table of texts and Cells; the columns ``text`` (from 0) begin at the left, numbers end right."""

    head: Sequence[str]
    lines: Sequence[Sequence[str | Cell]]
    text: tuple[int, ...] = (0,)

    def plain(self) -> list[str]:
        """The lines of the table as text; columns without a text, such as bars, are left out."""
        lines = [[cell.text if isinstance(cell, Cell) else cell for cell in line] for line in (self.head, *self.lines)]
        columns = enumerate(zip(*lines, strict=True))
        widths = {place: max(map(width_of, column)) for place, column in columns if any(column)}

        def padded(line: list[str], at: int) -> str:
            room = " " * (widths[at] - width_of(line[at]))
            return line[at] + room if at in self.text else room + line[at]

        head, *body = ("  ".join(padded(line, at) for at in widths).rstrip() for line in lines)
        return [head, "-" * (sum(widths.values()) + 2 * len(widths) - 2), *body]

    def html(self) -> str:
        lines = [[cell.html if isinstance(cell, Cell) else escape(cell) for cell in line] for line in self.lines]
        return table([*map(escape, self.head)], lines, self.text)


def width_of(text: str) -> int:
    """How many letters wide a terminal shows it: a Chinese one is as wide as two others."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


class Shown:
    """Derive from this and write ``__rich_console__`` and ``_html``: it prints as text, and is rendered in Jupyter."""

    def __str__(self) -> str:
        return text(self)

    def __repr__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        return fragment(self._html())


class Tabled(Shown):
    """Derive from this and write ``_tables``, and ``_title`` and ``_notes`` where there is more to say."""

    def _tables(self) -> Iterable[Grid]:
        raise NotImplementedError

    def _title(self) -> str:
        return ""

    def _notes(self) -> list[str]:
        return []

    def __str__(self) -> str:
        tables = "\n\n".join("\n".join(grid.plain()) for grid in self._tables())
        parts = [f"{self._title()}\n" if self._title() and tables else self._title(), tables, *self._notes()]
        return "\n".join(filter(None, parts))

    __repr__ = __str__

    def _html(self) -> str:
        title = f"<h3>{escape(self._title())}</h3>" if self._title() else ""
        tables = "".join(grid.html() for grid in self._tables())
        return f'{title}<div class="tables">{tables}</div>{soft(self._notes())}'


def soft(notes: Iterable[str]) -> str:
    """Sentences in HTML, a paragraph each."""
    return "".join(f'<p class="soft">{escape(note)}</p>' for note in notes)


def bar(share: float, colour: str = "currentColor") -> Cell:
    """A bar from 0 in HTML, and nothing in text."""
    style = f"width: {100 * min(max(share, 0), 1):.1f}%; background: {colour}"
    return Cell("", f'<div class="track"><div class="bar" style="{style}"></div></div>')


def course(values: Sequence[float]) -> Cell:
    """A curve as small as a word in HTML, with gaps where values are not finite; nothing in text."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2 or min(finite) == max(finite):
        return Cell("", "")
    scale, step = max(map(abs, finite)), 116 / (len(values) - 1)
    low, high = min(finite) / scale, max(finite) / scale  # of the largest numbers the difference is infinite
    pieces: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if math.isfinite(value):
            pieces[-1].append(f"{2 + place * step:.1f},{18 - 16 * ((value / scale - low) / (high - low)):.1f}")
        elif pieces[-1]:
            pieces.append([])
    pieces = [piece * 2 if len(piece) == 1 else piece for piece in pieces]  # a line from a point to itself is a dot
    lines = "".join(f'<polyline points="{" ".join(piece)}"/>' for piece in pieces if piece)
    return Cell("", f'<svg width="120" height="20" viewBox="0 0 120 20">{lines}</svg>')


def show(shown: Shown) -> None:
    """Display it in a notebook, print it elsewhere."""
    if in_notebook():
        from IPython.display import display

        display(shown)
    else:
        print(shown)


def text(renderable: object, width: int | None = None) -> str:
    """What rich prints, without colours, in characters that the standard output has; as wide as the terminal."""
    from rich.console import Console

    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    file = io.TextIOWrapper(io.BytesIO(), encoding, errors="replace", newline="\n")
    console = Console(file=file, width=width, color_system=None, force_terminal=False, force_jupyter=False)
    console.print(renderable, highlight=False)
    file.flush()
    lines = file.buffer.getvalue().decode(encoding).split("\n")
    return "\n".join(line.rstrip() for line in lines).rstrip("\n")


def fragment(html: str) -> str:
    """A piece of HTML that brings its style with it and touches nothing around it."""
    return f'<div class="minidl"><style>{STYLE}</style>{html}</div>'


def document(title: str, html: str) -> str:
    """A page that needs nothing but itself; it is well-formed XML too."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escape(title)}</title>\n<style>{PAGE}</style>\n</head>\n"
        f"<body>\n<main>\n{fragment(html)}\n</main>\n</body>\n</html>\n"
    )


def table(head: list[str], rows: list[list[str]], text: tuple[int, ...] = (0,)) -> str:
    """A table of cells that are HTML already; the columns ``text`` (from 0) begin at the left, numbers end right."""

    def line(kind: str, cells: list[str]) -> str:
        sides = [' class="left"' if place in text else "" for place in range(len(cells))]
        return "".join(f"<{kind}{side}>{cell}</{kind}>" for side, cell in zip(sides, cells, strict=True))

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{line("th", head)}</tr>{body}</table></div>'


def in_notebook() -> bool:
    """Whether what is displayed goes to a notebook's page."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # Jupyter's, and Colab's own
