"""What is handed to an engine's operation is looked at first: compiled code would read and write beyond an array's end,
and NumPy would stretch one, without a word."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from minidl.contract import Operation

CHARACTERS = {"float32": "f", "float64": "d", "uint8": "B", "int8": "b", "int32": "i"}  # sooner asked for


class Argument(NamedTuple):
    """An array argument: its place, its dimensions as letters or numbers, its dtype where the contract names one."""

    name: str
    place: int
    dims: tuple[str | int, ...]
    dtype: str
    character: str


def checked(function: Callable[..., Any], operation: Operation) -> Callable[..., Any]:
    """The operation, which refuses arrays of other shapes or dtypes than its contract's with one sentence.

    An activation that treats each number for itself takes arrays of any shape, as long as they have the same.
    """
    names, expected = operation.arguments, expected_of(operation)
    numbers: dict[object, object] = {dim: dim for argument in expected for dim in argument.dims if isinstance(dim, int)}
    any_shape = operation.module == "activations" and not operation.name.startswith("softmax")

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        given = [*arguments, *(named.get(name) for name in names[len(arguments) :])] if named else arguments
        sizes = numbers.copy()  # by letter, and under None the dtype of floating-point numbers
        for argument in expected:
            array = given[argument.place] if argument.place < len(given) else None
            if array is None:  # left out; where it must not be, the operation says so
                continue
            try:
                shape, dtype, contiguous = array.shape, array.dtype.char, array.flags.c_contiguous
            except AttributeError:
                raise TypeError(not_an_array(operation, argument, array)) from None
            if any_shape:
                fits = sizes.setdefault("shape", shape) == shape
            else:
                fits = len(shape) == len(argument.dims)
                for dim, size in zip(argument.dims, shape, strict=False):
                    if size != sizes.setdefault(dim, size):
                        fits = False
            if not fits:
                raise ValueError(f"{operation.name} takes {operation.shapes}, but got {in_words(expected, given)}")
            if dtype != (argument.character or sizes.setdefault(None, dtype if dtype in "fd" else "")):
                raise TypeError(of_another_dtype(operation, argument, array.dtype))
            if not contiguous:
                raise ValueError(with_gaps(operation, argument))
        return function(*arguments, **named)

    return call


def not_an_array(operation: Operation, argument: Argument, value: object) -> str:
    made = f"np.array(..., dtype={argument.dtype or 'float32'!r})"
    return f"{operation.name} takes arrays, but {argument.name} is a {type(value).__name__}; make one with {made}"


def of_another_dtype(operation: Operation, argument: Argument, dtype: object) -> str:
    wanted = argument.dtype or "float32 or float64, one for all arrays"
    return f"{operation.name} takes {wanted}, but {argument.name} is {dtype}; convert it with .astype"


def with_gaps(operation: Operation, argument: Argument) -> str:
    name = argument.name
    return f"{operation.name} takes arrays without gaps, but {name} is a view; pass np.ascontiguousarray({name})"


def expected_of(operation: Operation) -> list[Argument]:
    """The array arguments that the contract's line of shapes tells of, ``out`` with the shape of the result."""
    names = operation.arguments
    before, _, result = operation.shapes.replace(", each (", " (").partition(" -> ")
    found = []
    for group, dims, dtype in re.findall(r"(\w+(?:, \w+)*) \(([^()]*)\)(?: (\w+))?", before):
        found += [(name, dims, dtype) for name in group.split(", ")]
    if "out" in names and result:
        dims, dtype = re.fullmatch(r"\(([^()]*)\)(?: (\w+))?", result).groups("")
        found.append(("out", dims, dtype))
    return [
        Argument(name, names.index(name), parsed(dims), dtype, CHARACTERS.get(dtype, "")) for name, dims, dtype in found
    ]


def parsed(dims: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in dims.replace(" ", "").split(",") if part)


def in_words(expected: Sequence[Argument], given: Sequence[Any]) -> str:
    arrays = [(argument.name, given[argument.place]) for argument in expected if argument.place < len(given)]
    return ", ".join(f"{name} {tuple(array.shape)}" for name, array in arrays if hasattr(array, "shape"))
