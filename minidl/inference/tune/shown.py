"""How what was found shows itself: a table with a title and remarks, as text or in Jupyter."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from minidl import display


class Found(display.Shown):
    """Derive from this and write ``title``, ``head``, ``lines`` and ``notes``; the outer columns are text."""

    def __rich_console__(self, console: object, options: object) -> Iterator[object]:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        yield Text(self.title(), "bold")
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        last = len(self.head()) - 1
        for place, head in enumerate(self.head()):
            table.add_column(
                head.replace(" (", "\n("), justify="left" if place in (0, last) else "right", no_wrap=place == 0
            )
        for line in self.lines():
            table.add_row(*map(Text, line))
        yield table
        yield from (Text(note) for note in self.notes())

    def _html(self) -> str:
        head = list(map(escape, self.head()))
        table = display.table(head, [list(map(escape, line)) for line in self.lines()], text=(0, len(head) - 1))
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes())
        return f"<h3>{escape(self.title())}</h3>{table}{notes}"


def ms(seconds: float | None) -> str:
    """Seconds as milliseconds with three digits; nothing for None."""
    return "" if seconds is None else f"{1e3 * seconds:.3g}" if seconds < 0.9995 else f"{1e3 * seconds:,.0f}"


def of_rows(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows:,} rows"
