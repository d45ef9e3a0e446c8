"""How what was found shows itself: as a table with a title and a note, in text and in Jupyter, and as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl import display
from minidl.words import duration, in_bytes

if TYPE_CHECKING:
    import pandas as pd

HEADS = {"low_ms": "1st quartile", "high_ms": "3rd quartile", "p99_ms": "99% within", "nbytes": "size",
         "rows_per_second": "rows a second"}  # fmt: skip
TEXTS = ("model", "hidden", "remark")  # columns that are no numbers


@dataclass(frozen=True, repr=False, eq=False)
class Found(display.Tabled):
    """A table with a title and a note; pictures.py draws it. What is derived from this says more."""

    title: str
    found: pd.DataFrame
    note: str

    def _title(self) -> str:
        return self.title

    def _tables(self) -> list[display.Grid]:
        head = [HEADS.get(name, name.removesuffix("_ms")) for name in self.found]
        lines = [
            [in_words(name, value) for name, value in zip(self.found, line, strict=True)]
            for line in self.found.itertuples(index=False)
        ]
        texts = tuple(place for place, name in enumerate(self.found) if name in TEXTS)
        return [display.Grid(head, lines, texts)]

    def _notes(self) -> list[str]:
        return [self.note]

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw it; the figure, which shows itself in Jupyter.

        path: a .png, .svg or .pdf that is written, too. ValueError for another, OSError where it cannot be written;
        RuntimeError where nothing was measured.
        """
        from minidl.inference.tune import pictures

        return pictures.draw(self, path)


def in_words(name: str, value: object) -> str:
    """An entry of the column of this name, with its unit."""
    if value != value:  # was not measured
        return ""
    if name.endswith("_ms"):
        return duration(value / 1e3)
    if name == "nbytes":
        return in_bytes(value)
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
