"""Reading CSV files into arrays: a first pass finds out what each column holds, a second one turns it into numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minidl import checks, display
from minidl.checks import listed
from minidl.data.columns import numbers_of
from minidl.data.schema import TASKS, Column, Schema, Target
from minidl.data.splitting import train_test_split
from minidl.data.text import Source
from minidl.words import as_written

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import DTypeLike

MOST_CATEGORIES = 100  # of a column of features; with more it is a name or a remark rather than a category
MOST_CLASSES = 1000  # of a target
FIRST, MOST_SHOWN = 5, 8  # rows and features that are shown in Jupyter
FEW = 10  # whole numbers with so many values or fewer are taken for classes

Frames = Callable[[set[str]], Iterator["pd.DataFrame"]]  # the rows, block by block, the named columns as text


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """What was read: X float64 (rows, features), y float64 (rows, 1) or None, and the schema that says what they mean.

    ``X, y = table`` takes it apart. ``model.fit(table)`` trains on it, and the model keeps the schema.
    """

    X: np.ndarray
    y: np.ndarray | None
    schema: Schema

    def __repr__(self) -> str:
        target = "no target" if self.y is None else f"target {self.schema.target.name!r}"
        return f"<Table of {len(self)} rows, {self.X.shape[1]} features, {target}>"

    def _repr_html_(self) -> str:
        """The first rows; of many features the first and the last ones."""
        names, target = self.schema.features, None if self.y is None else self.schema.target
        places = [*range(len(names))] if len(names) <= MOST_SHOWN else [*range(MOST_SHOWN - 3), None, -3, -2, -1]

        def line(cells: Callable[[int], str], last: str) -> list[str]:
            return ["…" if place is None else cells(place) for place in places] + ([last] if target else [])

        lines = [
            line(lambda place, row=row: as_written(self.X[row, place]), target.label(self.y[row, 0]) if target else "")
            for row in range(min(FIRST, len(self)))
        ]
        head = line(lambda place: names[place], target.name if target else "")
        said = f"{len(self):,} rows, {len(names):,} features, {f'target {target.said}' if target else 'no target'}"
        notes = [said] if len(self) <= FIRST else [f"{said}; the first {FIRST} rows are shown"]
        return display.fragment(display.Grid(head, lines, ()).html() + display.soft(notes))

    def __iter__(self) -> Iterator[np.ndarray | None]:
        return iter((self.X, self.y))

    def __len__(self) -> int:
        return len(self.X)

    def astype(self, dtype: DTypeLike) -> Table:
        """The same with X and y in another dtype."""
        return Table(self.X.astype(dtype), None if self.y is None else self.y.astype(dtype), self.schema)

    def split(self, share: float, seed: int | None = None) -> tuple[Table, Table]:
        """Two tables: a share in (0, 1) of the rows, drawn at random, is the second.

        Each class is parted in the same proportion, unless one of them has a single row.
        """
        classes = self.y is not None and self.schema.target.task != "regression"
        stratify = classes and bool(np.unique(self.y, return_counts=True)[1].min() > 1)
        y = np.zeros(len(self)) if self.y is None else self.y
        X, X_out, y, y_out = train_test_split(self.X, y, share, seed, stratify)
        return self._with(X, y), self._with(X_out, y_out)

    def _with(self, X: np.ndarray, y: np.ndarray) -> Table:
        return Table(X, None if self.y is None else y, self.schema)


def y_of(x: object, y: object, schema: Schema | None = None, whose: str = "") -> object:
    """The y that goes with x: of a Table its own, and none is given besides.

    ValueError for a Table without a target, with another than the ``schema`` of a model knows, or with a y beside it;
    TypeError where y is missing. ``whose`` is for the messages.
    """
    if isinstance(x, Table):
        if y is not None:
            raise ValueError("a Table brings its own y; give the table alone, or table.X and y")
        if x.y is None:
            raise ValueError(f"the {whose}table has no target: read it with read_csv(path, target=...)")
        if schema is not None and schema.target not in (None, x.schema.target):
            raise ValueError(
                f"the model was trained to predict {schema.target.said}, but this {whose}table has "
                f"{x.schema.target.said}; read it with schema=model.schema"
            )
        return x.y
    if y is None:
        raise TypeError(f"{whose}y is missing: give x and y, or a minidl.data.Table that holds both")
    return y


def read_csv(
    path: str | Path,
    target: str | None = None,
    labels: str | Path | None = None,
    missing: str = "error",
    categorical: str = "error",
    *,
    drop: Iterable[str] = (),
    task: str | None = None,
    schema: Schema | None = None,
) -> Table:
    """Read a CSV with a header into raw numbers; standardising them is the work of ``Normalization``.

    Parameters
    ----------
    target: the column to predict. Text labels become indices in alphabetical order; they are kept in the schema.
    labels: a second file, row by row the labels of the first; ``target`` may be left out where it has one column.
    missing: what to do about an empty cell, or one of NA, NaN, null, None and ?. "error" names the first; "drop"
        leaves out its row; "mean" puts in the column's mean, which is kept for later tables. A row without a label is
        never filled in.
    categorical: what to do about a column of text. "error" names it; "onehot" makes one 0 or 1 of each of its
        categories, in alphabetical order.
    drop: columns to leave out, such as names and numbers of rows; later tables may have them or not.
    task: "binary" (two classes), "multiclass" or "regression" (a number). Left out, it is read off the target: text,
        two different numbers, and whole numbers of 10 different values or fewer are classes.
    schema: of an earlier table (``model.schema``). The columns are then brought into its order and encoded as there.

    The file may have semicolons, tabs or bars in place of commas, which is guessed and said in a warning. Raises
    OSError where a file cannot be opened, ValueError where it will not do, in one sentence with file, column and row.
    """
    drop = [drop] if isinstance(drop, str) else list(drop)
    checks.one_of(missing, "missing", ("error", "drop", "mean"))
    checks.one_of(categorical, "categorical", ("error", "onehot"))
    if task is not None:
        checks.one_of(task, "task", TASKS)
    source = Source(path)
    frames: Frames
    if labels is None:
        columns, frames = source.columns, source.frames
        known = schema.target.name if schema is not None and schema.target is not None else None
        target = known if target is None and known in columns else target
    else:
        target, frames = beside(source, labels, target)
        columns = [*source.columns, target]
    if target is not None and target not in columns:
        some = f"it has {listed(columns)}, the last {columns[-1]!r}"
        hint = checks.did_you_mean(target, columns) if len(columns) <= 20 else some
        raise ValueError(f"{source.name} has no column {target!r}; {hint}")
    for column in drop:
        if column not in columns or column == target:
            what = "is the target" if column == target else f"is no column: {checks.did_you_mean(column, columns)}"
            raise ValueError(f"{column!r} cannot be left out of {source.name}; it {what}")
    if schema is not None:
        drop = [column for column in schema.left_out if column in columns]
        if schema.target is not None and schema.target.name not in (target, None) and schema.target.name in columns:
            drop.append(schema.target.name)
    frames = without(frames, drop, missing == "drop", source.name)
    if schema is None:
        features = [column for column in columns if column != target and column not in drop]
        if not features:
            raise ValueError(f"{source.name} has no column but the target {target!r}, so nothing to predict it from")
        schema = survey(frames, features, target, missing, categorical, task, source.name)
        schema = replace(schema, left_out=tuple(drop))
    else:
        schema.check_columns(columns, source.name, but=target)
        if target is not None and schema.target is None:  # of a model that was trained on a pandas table
            found = survey(frames, [], target, missing, categorical, task, source.name)
            schema = replace(schema, target=found.target)
    X, y = [], []
    for table in frames(schema.texts):
        X.append(schema.encode(table, source.name))
        if target is not None:
            y.append(schema.encode_target(table[target], source.name))
    return Table(np.concatenate(X), np.concatenate(y) if y else None, schema)


def read_chunks(path: str | Path | Source, schema: Schema) -> Iterator[np.ndarray]:
    """The features of a CSV, float64 (rows, features), some ten thousand rows at a time, whatever the file's size.

    Columns are found and encoded as the schema says. Raises what ``read_csv`` raises, once it comes to it.
    """
    source = path if isinstance(path, Source) else Source(path)
    schema.check_columns(source.columns, source.name)
    for table in source.frames(schema.texts):
        yield schema.encode(table, source.name)


def without(frames: Frames, columns: list[str], incomplete: bool, name: str) -> Frames:
    """The same without these columns, and where asked without the ``incomplete`` rows; ValueError if none are left."""

    def less(texts: set[str]) -> Iterator[pd.DataFrame]:
        rows = 0
        for table in frames(texts):
            table = table.drop(columns=columns)
            table = table.dropna() if incomplete else table
            rows += len(table)
            if len(table):
                yield table
        if rows == 0:
            raise ValueError(f"{name} has no rows{' without missing values' if incomplete else ''} below its header")

    return less


def beside(source: Source, labels: str | Path, target: str | None) -> tuple[str, Frames]:
    """The target's name, and the rows of a file of features with the labels of another file put beside them."""
    other = Source(labels)
    if target is None:
        if len(other.columns) > 1:
            raise ValueError(f"say which column of {other.name} is the target: {listed(other.columns)}")
        target = other.columns[0]
    if target not in other.columns:
        raise ValueError(f"{other.name} has no column {target!r}; {checks.did_you_mean(target, other.columns)}")
    if target in source.columns:
        raise ValueError(f"{source.name} and {other.name} both have a column {target!r}; take it out of the first")

    def frames(texts: set[str]) -> Iterator[pd.DataFrame]:
        import pandas as pd

        column = pd.concat([table[target] for table in other.frames(texts)] or [pd.Series(dtype=float)])
        rows = 0
        for table in source.frames(texts):
            first, rows = rows, rows + len(table)
            if rows <= len(column):
                table.insert(len(table.columns), target, column.iloc[first:rows].to_numpy())
                yield table
        if rows != len(column):
            raise ValueError(f"{source.name} has {rows} rows, but {other.name} has {len(column)}")

    return target, frames


# --- what the columns hold -------------------------------------------------------------------------------------------


def survey(
    frames: Frames, features: list[str], target: str | None, missing: str, categorical: str, task: str | None, name: str
) -> Schema:
    """The schema of a file, found in one pass over it, and a second one where it holds text."""
    texts, sums, counts, numbers = look(frames, features, target, name)
    refused = [column for column in features if column in texts and categorical == "error"]
    if refused:
        text = texts[refused[0]]
        otherwise = "" if "with a comma" in text else ", or use categorical='onehot' (--categorical)"
        raise ValueError(f"{text}; leave it out (--drop){otherwise}")
    categories = different_texts(frames, set(texts))
    columns = []
    for column in features:
        found = tuple(sorted(categories.get(column, ())))
        if len(found) > MOST_CATEGORIES:
            raise ValueError(
                f"{texts[column]}, and {len(found)} different texts or more; leave it out (drop=[{column!r}], --drop), "
                f"or put it into {MOST_CATEGORIES} categories or fewer"
            )
        mean = None
        if missing == "mean" and column not in texts:
            if not counts[column]:
                raise ValueError(f"column {column!r} of {name} has no value in any row; take it out")
            mean = sums[column] / counts[column]
        columns.append(Column(column, found, mean))
    if target is None:
        return Schema(tuple(columns))
    place = f"the target {target!r} of {name}"
    if target not in texts:
        return Schema(tuple(columns), target_of_numbers(target, numbers, task, place))
    if task == "regression":
        raise ValueError(f"{texts[target]}; a regression needs numbers")
    if len(categories[target]) > MOST_CLASSES:
        raise ValueError(f"{texts[target]}, and more than {MOST_CLASSES} different texts, too many for classes")
    return Schema(tuple(columns), target_of_classes(target, sorted(categories[target]), task, place))


def look(frames: Frames, features: list[str], target: str | None, name: str) -> tuple[dict, dict, dict, set]:
    """What the columns hold: of those with text a sentence that shows where, of the others the sum and the count of
    their numbers, and of the target its different numbers."""
    import pandas as pd

    texts: dict[str, str] = {}
    sums, counts = dict.fromkeys(features, 0.0), dict.fromkeys(features, 0)
    numbers: set[float] = set()
    for table in frames(set()):
        for column in [*features, *([target] if target is not None else [])]:
            if column in texts:
                continue
            place = f"the target {column!r}" if column == target else f"column {column!r}"
            if column == target and pd.api.types.is_bool_dtype(table[column]):
                texts[column] = f"{place} of {name} holds True and False"
                continue
            try:
                values = numbers_of(table[column], f"{place} of {name}")
            except ValueError as error:
                texts[column] = str(error)
                continue
            values = values[np.isfinite(values)]
            if column == target:
                if len(numbers) <= MOST_CLASSES:
                    numbers.update(np.unique(values).tolist())
            else:
                sums[column] += float(np.sum(values))
                counts[column] += len(values)
    return texts, sums, counts, numbers


def different_texts(frames: Frames, columns: set[str]) -> dict[str, set[str]]:
    """The different texts in each of these columns, or the first so many of them."""
    found: dict[str, set[str]] = {column: set() for column in columns}
    for table in frames(columns) if columns else ():
        for column in columns:
            if len(found[column]) <= MOST_CLASSES:
                found[column].update(value.strip() for value in table[column].dropna().unique())
    return found


def target_of_numbers(target: str, numbers: set[float], task: str | None, place: str) -> Target:
    whole = all(value == int(value) for value in numbers)
    few = len(numbers) == 2 or (whole and len(numbers) <= FEW)
    if task == "regression" or (task is None and not few):
        return Target(target, "regression")
    classes = sorted(int(value) if value == int(value) else value for value in numbers)
    return target_of_classes(target, classes, task, place)


def target_of_classes(target: str, classes: list, task: str | None, place: str) -> Target:
    if len(classes) > MOST_CLASSES:
        raise ValueError(f"{place} has more than {MOST_CLASSES} different values, too many for classes")
    if not classes:
        raise ValueError(f"{place} has no value in any row")
    if task == "binary" and len(classes) > 2:
        raise ValueError(f"{place} has {len(classes)} different values, but two classes are asked for")
    return Target(target, task or ("binary" if len(classes) <= 2 else "multiclass"), tuple(classes))
