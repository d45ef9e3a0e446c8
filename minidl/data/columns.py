"""One column of a table as numbers, texts or classes; what will not do is named by its row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minidl import checks
from minidl.checks import listed

if TYPE_CHECKING:
    import pandas as pd

ROW = "row below the header"  # the name of the index of a table that was read from a file


def numbers_of(values: pd.Series, place: str) -> np.ndarray:
    """A column as float64, NaN where there is no value. ValueError names the first text, TypeError what is no number.

    ``place`` says in the messages which column it is.
    """
    import pandas as pd

    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        if getattr(values.dtype, "kind", "f") == "c":
            raise TypeError(f"{place} holds complex numbers, but must hold real ones")
        return values.to_numpy(np.float64, na_value=np.nan)
    if values.dtype.kind in "mM":
        raise TypeError(f"{place} holds dates or times; turn them into numbers, such as days since the first")
    try:
        found = pd.to_numeric(values.map(lambda value: float(value) if isinstance(value, bool) else value), "coerce")
    except (OverflowError, TypeError):  # whole numbers of hundreds of digits, or objects
        found = values.map(lambda value: np.inf if is_number(str(value)) else np.nan)
    bad = np.flatnonzero(found.isna() & values.notna())
    if bad.size:
        value = str(values.iloc[bad[0]])
        comma = " (numbers are written with a point, not with a comma)" if is_decimal_comma(value) else ""
        raise ValueError(f"{place} holds text, {checks.shown(value)} in {row(values, bad[0])}{comma}")
    return found.to_numpy(np.float64)


def check_numbers(numbers: np.ndarray, values: pd.Series, place: str) -> None:
    """ValueError naming the first number of a column that is missing, infinite or too large."""
    bad = np.flatnonzero(~(np.abs(numbers) <= np.finfo(np.float32).max))
    if bad.size:
        if np.isnan(numbers[bad[0]]):
            raise ValueError(f"{place} has no value in {row(values, bad[0])}; {fill(values)}")
        raise ValueError(f"{place} holds {numbers[bad[0]]:g} in {row(values, bad[0])}; float32 cannot hold that")


def texts_of(values: pd.Series, place: str) -> list[str]:
    """A column as texts; ValueError naming the first row without one."""
    missing = np.flatnonzero(values.isna())
    if missing.size:
        raise ValueError(f"{place} has no value in {row(values, missing[0])}; {fill(values)}")
    return [text.strip() for text in values.astype(str)]


def places_of(found: list, known: tuple, values: pd.Series, place: str) -> np.ndarray:
    """Where each of the values found stands among the known ones; ValueError naming the first that does not."""
    index = {value: position for position, value in enumerate(known)}
    positions = np.array([index.get(value, -1) for value in found], dtype=np.int64)
    bad = np.flatnonzero(positions < 0)
    if bad.size:
        value = found[bad[0]]
        value = checks.shown(value) if isinstance(value, str) else f"{value:g}"
        raise ValueError(f"{place} holds {value} in {row(values, bad[0])}; known are only {listed(known)}")
    return positions


def row(values: pd.Series, position: int) -> str:
    """The row of a file or of a pandas table, as a message names it."""
    below = " below the header" if values.index.name == ROW else ""
    return f"row {values.index[position]}{below}"


def fill(values: pd.Series) -> str:
    """What to do about a missing value."""
    read = values.index.name == ROW
    return "fill it in, or leave out such rows with missing='drop' (--missing drop)" if read else "fill it in"


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_decimal_comma(value: str) -> bool:
    return value.count(",") == 1 and value.replace(",", "").strip("+-").isdigit()
