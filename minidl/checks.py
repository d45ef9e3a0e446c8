"""What goes in is checked here, once: each function returns clean data or raises one clear sentence."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, else all of them; for an uncalled class, how to call it."""
    if callable(name) and getattr(name, "__module__", "").startswith("minidl."):
        return f"write {name.__name__}()"
    known = list(known)
    near = difflib.get_close_matches(str(name).lower(), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(map(repr, known))}"


def shown(value: object) -> str:
    """The value as a message shows it: on one line, and cut off where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def listed(names: Iterable[object]) -> str:
    """Names as a message lists them: the first ten, and how many more."""
    names = list(names)
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(shown(name) for name in names[:10]) + more


def one_of(value: object, name: str, known: Iterable[str]) -> str:
    """The value, one of the known texts; ValueError for any other, naming the nearest."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} cannot be {shown(value)}; {did_you_mean(value, known)}")
    return value


def whole_number(value: object, name: str, least: int) -> int:
    """The value as int; TypeError unless it is a whole number, ValueError below ``least``."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, not {shown(value)}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return int(value)


def number(value: object, name: str, low: float, high: float = math.inf, *, below_high: bool = False) -> float:
    """The value as float; TypeError unless a number, ValueError unless finite and in [low, high] or [low, high)."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, not {shown(value)}")
    try:
        value = float(value)
    except OverflowError:  # a whole number beyond the largest float
        value = math.inf
    if not math.isfinite(value) or value < low or value > high or (below_high and value == high):
        limits = f" at least {low:g}" if high == math.inf else f" in [{low:g}, {high:g}{')' if below_high else ']'}"
        raise ValueError(f"{name} must be a finite number{limits if low > -math.inf else ''}, not {value!r}")
    return value


def truth(value: object, name: str) -> bool:
    """The value as bool; TypeError for anything else."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, not {shown(value)}")
    return bool(value)


def float_type(dtype: Any) -> np.dtype:
    """float32 or float64 as a NumPy dtype; ValueError for any other."""
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):  # NumPy reads texts such as "f4,f4" too
        found = None
    if dtype is None or found not in (np.float32, np.float64):
        raise ValueError(f"dtype must be 'float32' or 'float64', not {shown(dtype)}")
    return found


def numeric(data: Any, name: str) -> np.ndarray:
    """An array of booleans, integers or floats; TypeError for anything that is not numbers."""
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise TypeError(f"{name} is a masked array; fill or drop its masked entries first")
    try:
        array = np.asarray(data)
    except ValueError:
        raise ValueError(f"{name} is not rectangular: its rows differ in length") from None
    if array.dtype.kind == "O" and hasattr(data, "dtypes"):
        # A pandas table with columns of several types, booleans beside floats for example, comes as objects.
        columns = np.ravel(np.array(data.dtypes, dtype=object))
        if all(column.kind in "buif" for column in columns):
            array = data.to_numpy(np.float64, na_value=np.nan)
    if array.dtype.kind in "buif":
        return array
    kinds = {"c": "complex numbers", "O": "objects", "M": "dates", "m": "time differences", "V": "records"}
    kind = kinds.get(array.dtype.kind, "text")
    raise TypeError(f"{name} holds {kind} (dtype {array.dtype}), but must hold real numbers")


def clean(array: np.ndarray, name: str, dtype: np.dtype, *, finite: bool = True) -> np.ndarray:
    """The array in the dtype, native, C-contiguous and writable (a copy only where it is not so already).

    ValueError where it is empty, or names the first place that is NaN, infinite, or too large for the dtype.
    """
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}")
    with np.errstate(over="ignore"):
        cleaned = np.require(array, dtype, ["C", "A", "W"])
    if finite and not all_finite(cleaned):
        place = tuple(int(axis) for axis in np.argwhere(~np.isfinite(cleaned))[0])
        where = " column ".join(str(axis) for axis in place[:2])
        value = array[place]
        too_large = np.isfinite(value)
        what = f"{value!s}, too large for {dtype}" if too_large else ("NaN" if np.isnan(value) else f"{value!s}")
        raise ValueError(f"{name} holds {what} in row {where} (counted from 0); only finite numbers can be used")
    return cleaned


def all_finite(array: np.ndarray) -> bool:
    """Whether there is neither NaN nor infinity: by the sum of the squares, which one read of the array gives."""
    with np.errstate(all="ignore"):  # where that overflows, each entry is looked at
        return bool(np.isfinite(np.vdot(array, array)) or np.isfinite(array).all())


def features(
    x: object, dtype: np.dtype, inputs: int | None = None, name: str = "X", *, finite: bool = True
) -> np.ndarray:
    """X as (rows, features); with ``inputs``, the number of features the model takes."""
    array = numeric(x, name)
    if array.ndim != 2:
        hint = "; for one feature use X.reshape(-1, 1), for one row X.reshape(1, -1)" if array.ndim == 1 else ""
        raise ValueError(f"{name} must have two dimensions, (rows, features), but has shape {array.shape}{hint}")
    array = clean(array, name, dtype, finite=finite)
    if inputs is not None and array.shape[1] != inputs:
        raise ValueError(
            f"{name} has {array.shape[1]} features (shape {array.shape}), but the model takes {inputs}: "
            f"shape (rows, {inputs})"
        )
    return array


def targets(y: object, dtype: np.dtype, rows: int, outputs: int, loss: Any, name: str = "y") -> np.ndarray:
    """y as (rows, outputs), or as (rows, 1) of class indices where the loss takes those; in the loss's range."""
    array = numeric(y, name)
    columns = 1 if loss.takes_indices else outputs
    shape = array.shape
    if array.ndim == 1 and columns == 1:
        array = array.reshape(-1, 1)
    if array.ndim != 2 or array.shape[1] != columns:
        wanted = f"(rows, {columns})" + (" or (rows,)" if columns == 1 else "")
        hint = ""
        if not loss.takes_indices and loss.codes and "categorical" in loss.name and array.ndim <= 2 and columns > 1:
            hint = "; for class indices use the loss 'sparse_categorical_crossentropy'"
        raise ValueError(f"{name} has shape {shape}, but the model with the loss {loss.name!r} needs {wanted}{hint}")
    array = clean(array, name, dtype)
    if len(array) != rows:
        raise ValueError(f"X has {rows} rows, but {name} has {len(array)}")
    if loss.takes_indices:
        bad = (array < 0) | (array >= outputs) | (array != np.floor(array))
        wanted = f"class indices 0 to {outputs - 1}"
    elif loss.takes_probabilities:
        bad, wanted = (array < 0) | (array > 1), "labels in [0, 1]"
    else:
        return array
    if bad.any():
        row, column = (int(axis) for axis in np.argwhere(bad)[0])
        raise ValueError(
            f"{name} holds {array[row, column]:g} in row {row} column {column} (counted from 0), "
            f"but the loss {loss.name!r} needs {wanted}"
        )
    return array


def row_weights(weight: object, dtype: np.dtype, rows: int, name: str = "sample_weight") -> np.ndarray | None:
    """Sample weights as (rows,), or None."""
    if weight is None:
        return None
    array = numeric(weight, name)
    if array.shape not in ((rows,), (rows, 1)):
        raise ValueError(f"{name} has shape {array.shape}, but X has {rows} rows: it must be ({rows},)")
    return clean(array.reshape(rows), name, dtype)


def class_weights(weight: object, y: np.ndarray, outputs: int, loss: Any) -> np.ndarray:
    """For each row the weight of its class, 1 where there is none; y is (rows, 1), or (rows, classes) of probabilities.

    As in Keras the class is the rounded label, or the largest of several.
    """
    if not isinstance(weight, dict):
        raise TypeError(f"class_weight must map class indices to weights, as {{0: 1.0, 1: 2.5}}, not {shown(weight)}")
    if not (loss.takes_indices or loss.takes_probabilities):
        raise ValueError(f"class_weight needs classes, but the loss {loss.name!r} is one of numbers")
    weights = {whole_number(k, "a class in class_weight", 0): number(v, f"the weight of class {k}", 0)
               for k, v in weight.items()}  # fmt: skip
    classes = np.argmax(y, axis=1) if y.shape[1] > 1 else np.round(y[:, 0]).astype(np.int64)
    unknown = set(weights) - set(range(max(outputs, 2)))
    if unknown:
        raise ValueError(f"class_weight names the class {min(unknown)}, which no row can have")
    return np.array([weights.get(k, 1.0) for k in classes.tolist()], y.dtype)
