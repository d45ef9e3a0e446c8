"""How what was found shows itself: as a table with a title and a note, in text and in Jupyter, and as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl import display

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False, eq=False)
class Found:
    """A table with a title and a note; pictures.py draws it. What is derived from this says more."""

    title: str
    found: pd.DataFrame
    note: str

    def __repr__(self) -> str:
        return f"{self.title}\n\n{self.found.to_string(index=False, float_format=digits, na_rep='')}\n\n{self.note}"

    def _repr_html_(self) -> str:
        table = self.found.to_html(index=False, float_format=digits, na_rep="", border=0)
        return display.fragment(f"<h3>{escape(self.title)}</h3>{table}<p>{escape(self.note)}</p>")

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw it; the figure, which shows itself in Jupyter.

        path: a .png, .svg or .pdf that is written, too. ValueError for another, OSError where it cannot be written;
        RuntimeError where nothing was measured.
        """
        from minidl.inference.tune import pictures

        return pictures.draw(self, path)


def digits(number: float) -> str:
    return f"{number:.4g}" if number < 1000 else f"{number:,.0f}"
