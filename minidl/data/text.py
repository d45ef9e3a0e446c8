"""A CSV file as text: its encoding, delimiter and header, and its rows a block at a time, however large it is."""

from __future__ import annotations

import csv
import io
import itertools
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from minidl.checks import listed, shown
from minidl.data.columns import ROW, is_number

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 2**22  # characters read at a time
LONGEST = 2**26  # characters without the end of a row: then a quote was opened and never closed
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
MISSING = ("", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?")  # what stands for no value, in either case

csv.field_size_limit(2**31 - 1)  # a wide table, read with the wrong delimiter, is one long field


class Source:
    """A CSV in UTF-8 with a header. ``columns`` are its names, ``delimiter`` what parts its fields.

    Raises OSError where it cannot be opened, ValueError where it is no table, in one sentence. A delimiter other than
    the comma is guessed from the first two rows, with a warning that names it.
    """

    def __init__(self, path: str | Path):
        if not isinstance(path, str | Path):
            raise TypeError(f"path must be the path of a file, not {shown(path)}")
        self.path = Path(path)
        self.name = repr(str(path))
        with self.open() as file:
            start = self.read(file)
        self.delimiter = self.guess_delimiter(start)
        first_rows = list(itertools.islice(records(start, self.delimiter, self.name), 2))
        if not first_rows:
            raise ValueError(f"{self.name} is empty")
        (header, self.header_size), *rows = first_rows
        self.columns = [name.strip() for name in header]
        self.check_header(rows[0][0] if rows else [])
        # Within quotes a line may end without ending the row; a quote opens a field only at its beginning.
        self.quoted = re.compile(rf'(?:^|(?<=[\n{re.escape(self.delimiter)}]))[ ]*"[^"]*(?:""[^"]*)*("|\Z)')
        if self.delimiter != "," and self.path.suffix.lower() != ".tsv":
            warnings.warn(
                f"{self.name} is read with {DELIMITERS[self.delimiter]} between the fields: a guess", stacklevel=4
            )

    def open(self) -> io.TextIOWrapper:
        if not self.path.is_file():
            raise OSError(f"{self.name} is not a file" if self.path.exists() else f"there is no file {self.name}")
        try:
            return open(self.path, encoding="utf-8-sig")
        except OSError as error:
            raise OSError(f"{self.name} cannot be opened ({error.strerror})") from None

    def read(self, file: io.TextIOWrapper) -> str:
        """The next block of text; the empty string at the end."""
        try:
            text = file.read(BLOCK)
        except UnicodeDecodeError:
            raise ValueError(f"{self.name} is no text in UTF-8; if it is a CSV, save it in that encoding") from None
        if "\0" in text:
            raise ValueError(f"{self.name} is no CSV: it holds binary data")
        return text

    def guess_delimiter(self, start: str) -> str:
        """The first delimiter that parts header and first row alike, else the first that parts the header."""
        counts = {}
        for delimiter in DELIMITERS:
            counts[delimiter] = [len(row) for row, _ in itertools.islice(records(start, delimiter, self.name), 2)]
        parting = [delimiter for delimiter in DELIMITERS if max(counts[delimiter][:1], default=0) > 1]
        alike = [delimiter for delimiter in parting if len(set(counts[delimiter])) == 1]
        return (alike or parting or [","])[0]

    def check_header(self, row: list[str]) -> None:
        """Refuse a header that is none, or that leaves a column without a name of its own."""
        columns = self.columns
        spaces = len(columns) == 1 and len(columns[0].split()) > 1 and row and len(row[0].split()) > 1
        if spaces and all(is_number(part) for part in row[0].split()):
            raise ValueError(f"the fields of {self.name} are parted by spaces; save it with commas between them")
        counted = len(columns) > 2 and columns in ([str(n + first) for n in range(len(columns))] for first in (0, 1))
        if 2 * sum(map(is_number, columns)) > len(columns) and not counted:
            raise ValueError(
                f"{self.name} has no header: its first row holds numbers ({listed(columns)}); put the names of the "
                "columns there"
            )
        seen: set[str] = set()
        for place, name in enumerate(columns):
            if not name:
                raise ValueError(
                    f"column {place + 1} of {self.name} has no name in the header; name it, or take it out (a table "
                    "that pandas wrote with its index has such a column: use to_csv(..., index=False))"
                )
            if name in seen:
                raise ValueError(f"{self.name} has two columns named {name!r}; give each its own name")
            seen.add(name)

    def frames(self, texts: set[str]) -> Iterator[pd.DataFrame]:
        """The rows, a block at a time; the index counts them, from 1 below the header.

        The columns in ``texts`` are read as text even where they hold numbers. ValueError names a ragged row.
        """
        done = 0
        for text in self.blocks():
            table = self.parse(text, texts, done)
            table.index = table.index.set_names(ROW) + done + 1
            done += len(table)
            if len(table):
                yield table

    def blocks(self) -> Iterator[str]:
        """The text below the header, cut between rows."""
        with self.open() as file:
            text = self.read(file)[self.header_size :]
            while True:
                more = self.read(file)
                if not more and len(self.columns) == 1:  # where a blank line is a missing value, save at the very end
                    text = text.rstrip("\n")
                cut = self.end_of_rows(text, at_end=not more)
                if text[:cut].strip() or (len(self.columns) == 1 and cut):
                    yield text[:cut]
                if not more:
                    return
                text = text[cut:] + more
                if len(text) > LONGEST:
                    raise ValueError(f"{self.name} cannot be read as a table: a quote is opened and not closed")

    def end_of_rows(self, text: str, at_end: bool) -> int:
        """Where the last whole row of the text ends; ValueError where the file ends within quotes."""
        open_at = next((m.start() for m in self.quoted.finditer(text) if not m[1]), None) if '"' in text else None
        if at_end:
            if open_at is not None:
                raise ValueError(f"{self.name} cannot be read as a table: a quote is opened and not closed")
            return len(text)
        cut = text.rfind("\n", 0, open_at) + 1
        if '"' not in text:
            return cut
        within = [m.span() for m in self.quoted.finditer(text, 0, len(text)) if m[1] and "\n" in m[0]]
        for start, stop in reversed(within):  # a line's end within quotes ends no row
            if start < cut <= stop:
                cut = text.rfind("\n", 0, start) + 1
        return cut

    def parse(self, text: str, texts: set[str], done: int) -> pd.DataFrame:
        import pandas as pd

        # From version 3 on, pandas reads every number exactly, and warns where that is asked for.
        exact = {"float_precision": "round_trip"} if int(pd.__version__.split(".")[0]) < 3 else {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                table = pd.read_csv(
                    io.StringIO(text), sep=self.delimiter, header=None, names=self.columns, index_col=False,
                    dtype=dict.fromkeys(texts & set(self.columns), str), keep_default_na=False,
                    na_values=[*MISSING, *map(str.upper, MISSING), "NaN", "Null", "None", "Na"], skipinitialspace=True,
                    low_memory=False, skip_blank_lines=len(self.columns) > 1, **exact,
                )  # fmt: skip
        except (pd.errors.ParserError, pd.errors.ParserWarning, OverflowError) as error:
            if "source failed" in str(error):  # what pandas makes of a Ctrl-C that comes while it reads
                raise KeyboardInterrupt from None
            self.check_ragged(text, done)
            raise ValueError(f"{self.name} cannot be read as a table: {' '.join(str(error).split())}") from None
        # pandas fills a row that ends early with missing values: only one that lacks its last can be such a row.
        if len(self.columns) > 1 and table[self.columns[-1]].isna().any():
            self.check_ragged(text, done)
        for column in table.columns:
            if not (pd.api.types.is_numeric_dtype(table[column]) or pd.api.types.is_bool_dtype(table[column])):
                table[column] = stripped(table[column])
        return table

    def check_ragged(self, text: str, done: int) -> None:
        """ValueError naming the first row whose fields are more or fewer than the header's."""
        for place, (row, _) in enumerate(records(text, self.delimiter, self.name)):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"row {done + place + 1} below the header of {self.name} has {len(row)} "
                    f"field{'s' * (len(row) != 1)}, but the header has {len(self.columns)}"
                )


def stripped(values: pd.Series) -> pd.Series:
    """A column of texts without the spaces around them, missing where what is left stands for no value."""
    found = values.map(lambda value: value.strip() if isinstance(value, str) else value)
    return found.mask(found.map(lambda value: isinstance(value, str) and value.lower() in MISSING))


def records(text: str, delimiter: str, name: str) -> Iterator[tuple[list[str], int]]:
    """The rows that are not blank, each with the characters read up to its end."""
    read = 0

    def lines() -> Iterator[str]:
        nonlocal read
        for line in io.StringIO(text):
            read += len(line)
            yield line

    try:
        for row in csv.reader(lines(), delimiter=delimiter, skipinitialspace=True):
            if row and (len(row) > 1 or row[0].strip()):
                yield row, read
    except csv.Error as error:
        raise ValueError(f"{name} cannot be read as a table: {error}") from None
