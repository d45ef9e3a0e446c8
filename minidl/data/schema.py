"""What the columns of a table mean: which numbers a model is given for them, and which labels its outputs stand for.

A model that was trained on a table keeps its schema, so that later tables are read just as the first one was.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from minidl import checks
from minidl.checks import listed

if TYPE_CHECKING:
    import pandas as pd

Label = str | int | float
ROW = "row below the header"  # the name of the index of a table that was read from a file
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
    def is_text(self) -> bool:
        return any(isinstance(label, str) for label in self.classes)


@dataclass(frozen=True)
class Schema:
    """The columns of a table in the order in which a model takes them, and what it predicts."""

    columns: tuple[Column, ...]
    target: Target | None = None

    @property
    def features(self) -> list[str]:
        """The names of the numbers that a row becomes, in order."""
        return [feature for column in self.columns for feature in column.features]

    @property
    def texts(self) -> set[str]:
        """The columns that hold text even where it looks like a number."""
        target = {self.target.name} if self.target is not None and self.target.is_text else set()
        return target | {column.name for column in self.columns if column.categories}

    # --- tables to numbers ------------------------------------------------------------------------------------------

    def encode(self, table: pd.DataFrame, name: str = "the table") -> np.ndarray:
        """The rows as float64 (rows, features), the columns found by name, in whatever order they come.

        Other columns than the model's are an error, except the target. ``name`` is for the messages. ValueError names
        the first cell that will not do.
        """
        self.check_columns([str(column) for column in table.columns], name)
        parts = []
        for column in self.columns:
            values, place = table[column.name], f"column {column.name!r} of {name}"
            if column.categories:
                found = places(texts_of(values, place), column.categories, values, place)
                parts.append((found[:, None] == np.arange(len(column.categories))).astype(np.float64))
            else:
                numbers = numbers_of(values, place)
                if column.mean is not None:
                    numbers = np.where(np.isnan(numbers), column.mean, numbers)
                check_numbers(numbers, values, place)
                parts.append(numbers[:, None])
        return np.concatenate(parts, axis=1)

    def check_columns(self, found: list[str], name: str) -> None:
        """ValueError where these are not the columns, in whatever order; the target may be among them."""
        wanted = [column.name for column in self.columns]
        compare(wanted, [column for column in found if self.target is None or column != self.target.name], name)

    def encode_target(self, values: pd.Series, name: str = "the table") -> np.ndarray:
        """The target as float64 (rows, 1): the number, or the index of the class."""
        target, place = self.target, f"the target {self.target.name!r} of {name}"
        if target.is_text:
            found = texts_of(values, place)
        else:
            found = numbers_of(values, place)
            check_numbers(found, values, place)
            if target.task == "regression":
                return found[:, None]
            found = found.tolist()
        return places(found, target.classes, values, place)[:, None].astype(np.float64)

    # --- outputs to labels ------------------------------------------------------------------------------------------

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """A model's outputs (rows, o) as predictions (rows,): the likeliest class's label, or the number itself."""
        outputs = np.asarray(outputs)
        if self.target is None or self.target.task == "regression":
            return outputs[:, 0] if outputs.shape[1] == 1 else outputs
        labels = np.array(self.target.classes, dtype=object if self.target.is_text else None)
        return labels[(outputs[:, 0] > 0.5).astype(int) if outputs.shape[1] == 1 else np.argmax(outputs, axis=1)]

    # --- to and from JSON ---------------------------------------------------------------------------------------------

    def to_dict(self) -> dict:
        """As plain lists, texts and numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: dict) -> Schema:
        """From what ``to_dict`` gave. ValueError for anything else."""
        try:
            columns = tuple(
                Column(text(c["name"]), tuple(map(text, entries(c["categories"]))), maybe_number(c["mean"]))
                for c in entries(found["columns"])
            )
            target = found["target"]
            if target is not None:
                target = Target(text(target["name"]), target["task"], tuple(map(label, entries(target["classes"]))))
                checks.one_of(target.task, "task", TASKS)
                if bool(target.classes) == (target.task == "regression"):
                    raise ValueError(f"a {target.task} target with {len(target.classes)} classes")
            names = [column.name for column in columns]
            if len(set(names)) < len(names):
                raise ValueError("two columns have one name")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no schema of a table: {type(error).__name__} {error}") from None
        return cls(columns, target)


# --- columns of cells ------------------------------------------------------------------------------------------------

FILL_OR_DROP = "fill it in, or drop such rows (missing='drop', --missing drop)"


def numbers_of(values: pd.Series, place: str) -> np.ndarray:
    """A column as float64, NaN where there is no value; ValueError naming the first text."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return values.to_numpy(np.float64, na_value=np.nan)
    found = pd.to_numeric(values.map(lambda value: float(value) if isinstance(value, bool) else value), errors="coerce")
    bad = np.flatnonzero(found.isna() & values.notna())
    if bad.size:
        value = str(values.iloc[bad[0]])
        comma = " (numbers are written with a point, not with a comma)" if is_decimal_comma(value) else ""
        raise ValueError(f"{place} holds text, {checks.shown(value)} in {row(values, bad[0])}{comma}")
    return found.to_numpy(np.float64)


def check_numbers(numbers: np.ndarray, values: pd.Series, place: str) -> None:
    """ValueError naming the first number that is missing, infinite or too large."""
    bad = np.flatnonzero(~(np.abs(numbers) <= np.finfo(np.float32).max))
    if bad.size:
        if np.isnan(numbers[bad[0]]):
            raise ValueError(f"{place} has no value in {row(values, bad[0])}; {FILL_OR_DROP}")
        raise ValueError(f"{place} holds {numbers[bad[0]]:g} in {row(values, bad[0])}; float32 cannot hold that")


def texts_of(values: pd.Series, place: str) -> list[str]:
    """A column as texts; ValueError naming the first row without one."""
    missing = np.flatnonzero(values.isna())
    if missing.size:
        raise ValueError(f"{place} has no value in {row(values, missing[0])}; {FILL_OR_DROP}")
    return [text.strip() for text in values.astype(str)]


def places(found: list, known: tuple, values: pd.Series, place: str) -> np.ndarray:
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


def is_decimal_comma(value: str) -> bool:
    return value.count(",") == 1 and value.replace(",", "").strip("+-").isdigit()


def compare(wanted: list[str], found: list[str], name: str) -> None:
    """ValueError naming the columns that are wanted and not found, or found and not wanted."""
    lacking, extra = [c for c in wanted if c not in found], [c for c in found if c not in wanted]
    if lacking or extra:
        what = [f"lacks {listed(lacking)}"] if lacking else []
        what += [f"has {listed(extra)}, which the model does not know"] if extra else []
        raise ValueError(f"{name} does not have the model's columns: it {' and '.join(what)}")


# --- small things ----------------------------------------------------------------------------------------------------


def arrange(x: object, schema: Schema | None) -> object:
    """X of a Table or a pandas table, its columns in the order of the schema; anything else is returned as it is."""
    if is_pandas(x):
        return x if schema is None or not names_of(x) else schema.encode(x, "X")
    own = schema_of(x)
    if own is None:
        return x
    if schema is None or own.features == schema.features:
        return x.X
    compare(schema.features, own.features, "X")
    return x.X[:, [own.features.index(feature) for feature in schema.features]]


def is_pandas(x: object) -> bool:
    return type(x).__module__.split(".")[0] == "pandas" and hasattr(x, "columns")


def names_of(x: pd.DataFrame) -> list[str]:
    """The names of a pandas table's columns; none where they are not all texts."""
    names = list(x.columns)
    return names if all(isinstance(name, str) for name in names) else []


def schema_of(x: object) -> Schema | None:
    """The schema of a Table; of a pandas table with named columns, one of plain numbers; else None."""
    if is_pandas(x):
        return Schema(tuple(Column(name) for name in names_of(x))) if names_of(x) else None
    found = getattr(x, "schema", None)
    return found if isinstance(found, Schema) else None


def entries(value: object) -> list | tuple:
    if not isinstance(value, list | tuple) or len(set(map(repr, value))) < len(value):
        raise TypeError(f"{checks.shown(value)} is no list of different entries")
    return value


def text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{checks.shown(value)} is no text")
    return value


def maybe_number(value: object) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value)):
        raise TypeError(f"{checks.shown(value)} is no number")
    return value


def label(value: object) -> Label:
    if value is None:
        raise TypeError("a class has no label")
    return value if isinstance(value, str) else maybe_number(value)
