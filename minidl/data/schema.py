"""What the columns of a table mean: which numbers a model is given for them, and which labels its outputs stand for.

A model that was trained on a table keeps its schema, so that later tables are read just as the first one was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl import checks, display
from minidl.checks import listed
from minidl.data.columns import check_numbers, numbers_of, places_of, texts_of
from minidl.words import as_written

if TYPE_CHECKING:
    import pandas as pd

Label = str | int | float
TASKS = ("binary", "multiclass", "regression")


@dataclass(frozen=True)
class Column:
    """One column of features: a number, or where it has ``categories`` a text that is one of them.

    ``mean`` stands in for a missing number; without one a missing number is an error.
    """

    name: str
    categories: tuple[str, ...] = ()
    mean: float | None = None

    @property
    def features(self) -> list[str]:
        """The names of the numbers it becomes: itself, or one 0 or 1 for each category."""
        return [f"{self.name}={category}" for category in self.categories] or [self.name]


@dataclass(frozen=True)
class Target:
    """The column to predict: of a "binary" or "multiclass" task one of its ``classes``, in the order of their indices;
    of a "regression" a number."""

    name: str
    task: str
    classes: tuple[Label, ...] = ()

    @property
    def said(self) -> str:
        """What it is, in words."""
        return f"{self.name!r}, {f'one of {listed(self.classes)}' if self.classes else 'a number'}"

    def label(self, value: float) -> str:
        """A number of ``encode_target`` in words: the class of this index, or the number itself; NaN is "nan"."""
        return str(self.classes[int(value)]) if self.classes and value == value else as_written(value)

    @property
    def is_text(self) -> bool:
        return any(isinstance(label, str) for label in self.classes)


@dataclass(frozen=True, repr=False)
class Schema(display.Tabled):
    """The columns of a table in the order in which a model takes them, and what it predicts; it shows itself so.

    Raises TypeError or ValueError where it says nothing possible: two columns of one name, classes of a regression.
    """

    columns: tuple[Column, ...]
    target: Target | None = None
    left_out: tuple[str, ...] = ()  # columns that may be there and are not looked at

    def __post_init__(self):
        for column in self.columns:
            a_text(column.name), different(column.categories, f"the categories of {column.name!r}", a_text)
            if column.mean is not None:
                a_number(column.mean)
        different([*(column.name for column in self.columns), *self.left_out], "the names of the columns", a_text)
        target = self.target
        if target is not None:
            a_text(target.name), checks.one_of(target.task, "task", TASKS)
            different(target.classes, f"the classes of {target.name!r}", a_label)
            if bool(target.classes) == (target.task == "regression"):
                raise ValueError(f"a {target.task} target with {len(target.classes)} classes")

    @cached_property
    def features(self) -> list[str]:
        """The names of the numbers that a row becomes, in order."""
        return [feature for column in self.columns for feature in column.features]

    @property
    def texts(self) -> set[str]:
        """The columns that hold text even where it looks like a number."""
        target = {self.target.name} if self.target is not None and self.target.is_text else set()
        return target | {column.name for column in self.columns if column.categories}

    def _tables(self) -> list[display.Grid]:
        lines = [
            [column.name, f"one of {listed(column.categories)}" if column.categories else "a number",
             "" if column.mean is None else as_written(column.mean)]
            for column in self.columns
        ]  # fmt: skip
        head = ["column", "holds", "a missing one is" if any(line[2] for line in lines) else ""]
        return [display.Grid(head, lines, (0, 1))]

    def _notes(self) -> list[str]:
        found = [f"target {self.target.said}" if self.target else "no target"]
        return [*found, f"left out: {', '.join(self.left_out)}"] if self.left_out else found

    # --- tables to numbers ------------------------------------------------------------------------------------------

    def encode(self, table: pd.DataFrame, name: str = "the table", *, finite: bool = True) -> np.ndarray:
        """The rows as float64 (rows, features), the columns found by name, in whatever order they come.

        ``name`` is for the messages. ValueError or TypeError names the first cell that will not do; where not
        ``finite``, a missing or infinite number passes.
        """
        parts = []
        for column in self.columns:
            values, place = table[column.name], f"column {column.name!r} of {name}"
            if column.categories:
                found = places_of(texts_of(values, place), column.categories, values, place)
                parts.append((found[:, None] == np.arange(len(column.categories))).astype(np.float64))
            else:
                numbers = numbers_of(values, place)
                if column.mean is not None:
                    numbers = np.where(np.isnan(numbers), column.mean, numbers)
                if finite:
                    check_numbers(numbers, values, place)
                parts.append(numbers[:, None])
        return np.concatenate(parts, axis=1)

    def check_columns(self, found: list[str], name: str, but: str | None = None) -> None:
        """ValueError where these are not the columns, in whatever order; the target and ``but`` may be among them."""
        ignored = {*self.left_out, but, *([self.target.name] if self.target is not None else [])}
        compare([column.name for column in self.columns], [column for column in found if column not in ignored], name)

    def encode_target(self, values: pd.Series, name: str = "the table") -> np.ndarray:
        """The target as float64 (rows, 1): the number, or the index of the class."""
        target, place = self.target, f"the target {self.target.name!r} of {name}"
        if target.is_text:
            labels: list = texts_of(values, place)
        else:
            found = numbers_of(values, place)
            check_numbers(found, values, place)
            if target.task == "regression":
                return found[:, None]
            labels = found.tolist()
        return places_of(labels, target.classes, values, place)[:, None].astype(np.float64)

    # --- a model's outputs --------------------------------------------------------------------------------------------

    def check_outputs(self, outputs: int) -> None:
        """ValueError where a model with so many outputs cannot predict the target: a number has one, two classes one
        or two, several classes one each."""
        if self.target is None or not self.target.classes:
            return
        classes = len(self.target.classes)
        if outputs != classes and not (outputs == 1 and classes <= 2):
            raise ValueError(f"the target {self.target.name!r} has {classes} classes, but the model {outputs} outputs")

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """The probability of each class (rows, classes), from a model's outputs (rows, 1 or classes)."""
        outputs = np.asarray(outputs)
        self.check_outputs(outputs.shape[1])
        if outputs.shape[1] == 1:
            outputs = np.concatenate([1 - outputs, outputs], axis=1)[:, -len(self.target.classes) :]
        return outputs

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """A model's outputs (rows, o) as predictions (rows,): the likeliest class's label, or the number itself."""
        outputs = np.asarray(outputs)
        if self.target is None or self.target.task == "regression":
            return outputs[:, 0] if outputs.shape[1] == 1 else outputs
        labels = np.array(self.target.classes, dtype=object if self.target.is_text else None)
        return labels[np.argmax(self.probabilities(outputs), axis=1)]

    # --- to and from JSON ---------------------------------------------------------------------------------------------

    def to_dict(self) -> dict:
        """As plain lists, texts and numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: dict) -> Schema:
        """From what ``to_dict`` gave. ValueError for anything else."""
        try:
            columns = tuple(
                Column(column["name"], a_tuple(column["categories"]), column["mean"])
                for column in a_tuple(found["columns"])
            )
            target = found["target"]
            if target is not None:
                target = Target(target["name"], target["task"], a_tuple(target["classes"]))
            return cls(columns, target, a_tuple(found["left_out"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no schema of a table: {error}") from None


# --- tables given to a model ------------------------------------------------------------------------------------------


def arrange(x: Any, schema: Schema | None, *, finite: bool = True) -> object:
    """X of a Table or a pandas table, its columns in the order of the schema; anything else is returned as it is."""
    if is_pandas(x):
        if schema is None or not names_of(x):
            return x
        schema.check_columns(names_of(x), "X")
        return schema.encode(x, "X", finite=finite)
    own = schema_of(x)
    if own is None:
        return x
    if schema is None or own.features == schema.features:
        return x.X
    compare(schema.features, own.features, "X")
    places = {feature: place for place, feature in enumerate(own.features)}
    return x.X[:, [places[feature] for feature in schema.features]]


def schema_of(x: object) -> Schema | None:
    """The schema of a Table; of a pandas table with named columns, one of plain numbers; else None."""
    if is_pandas(x):
        return Schema(tuple(Column(name) for name in names_of(x))) if names_of(x) else None
    found = getattr(x, "schema", None)
    return found if isinstance(found, Schema) else None


def is_pandas(x: object) -> bool:
    return type(x).__module__.split(".")[0] == "pandas" and hasattr(x, "columns")


def names_of(x: pd.DataFrame) -> list[str]:
    """The names of a pandas table's columns; none where they are not all texts."""
    names = list(x.columns)
    return names if all(isinstance(name, str) for name in names) else []


def compare(wanted: list[str], found: list[str], name: str) -> None:
    """ValueError naming the columns that are wanted and not found, or found and not wanted."""
    lacking, extra = sorted({*wanted} - {*found}, key=wanted.index), sorted({*found} - {*wanted}, key=found.index)
    if lacking or extra:
        what = [f"lacks {listed(lacking)}"] if lacking else []
        what += [f"has {listed(extra)}, which the model does not know"] if extra else []
        raise ValueError(f"{name} does not have the model's columns: it {' and '.join(what)}")
    if len(found) != len(wanted):
        raise ValueError(f"{name} has two columns of one name")


# --- what a schema may hold -------------------------------------------------------------------------------------------


def a_tuple(value: object) -> tuple:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{checks.shown(value)} is no list")
    return tuple(value)


def a_text(value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{checks.shown(value)} is no text")


def a_number(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise TypeError(f"{checks.shown(value)} is no number")


def a_label(value: object) -> None:
    if not isinstance(value, str):
        a_number(value)


def different(values: Any, what: str, check: Callable[[Any], None]) -> None:
    """TypeError or ValueError unless each of the values passes the check, and no two are equal."""
    for value in values:
        check(value)
    if len({*values}) < len(values):
        raise ValueError(f"{what} hold one twice")
