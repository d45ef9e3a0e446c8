"""The oracle: evaluates a formula to 40 digits, and measures how far a computed array is from it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import mpmath
import numpy as np
import sympy as sp
from sympy import IndexedBase, Sum, Symbol

FUNCTIONS = {
    "KroneckerDelta": lambda left, right: int(left == right),
    "round": mpmath.nint,  # half to even
    "log_of_1_and": mpmath.log1p,
    "exp_less_1": mpmath.expm1,
}


def evaluate(expression: sp.Expr, values: dict[str, object], ranges: dict[Symbol, Symbol], digits: int) -> np.ndarray:
    """Evaluate an expression entry by entry with mpmath.

    Parameters
    ----------
    expression: scalar symbols and indexed ones, whose bases declare their shapes, are told apart by themselves.
    values: an array for each indexed base and a number for each other symbol, by printed name. In an expression
        without indexed symbols the numbers may be arrays; they are broadcast.
    ranges: for each index the symbol of its last value; indices count from 1.
    digits: decimal digits of the working precision.

    Returns an object array of ``mpmath.mpf`` with one axis for each free index, in the order of ``ranges``; without
    indexed symbols, in the broadcast shape. Raises KeyError where a value is missing.
    """
    with mpmath.workdps(digits):
        bases = sorted(expression.atoms(IndexedBase), key=str)
        arrays = [one_based(values[str(base)]) for base in bases]
        sizes = {
            symbol: length - 1
            for base, array in zip(bases, arrays, strict=True)
            for symbol, length in zip(base.shape, array.shape, strict=True)
        }
        summed = {limit[0] for total in expression.atoms(Sum) for limit in total.limits}
        indices = [index for index in ranges if index in expression.free_symbols - summed]
        scalars = sorted(expression.atoms(Symbol) - {*ranges, *sizes} - {base.label for base in bases}, key=str)

        dummies = [sp.Dummy() for _ in scalars]  # v' is a symbol but no name in Python
        function = sp.lambdify(
            [*bases, *sizes, *indices, *dummies],
            without_cancellation(expression).xreplace(dict(zip(scalars, dummies, strict=True))),
            modules=[FUNCTIONS, "mpmath"],
        )
        numbers = np.broadcast_arrays(*(exact(values[str(scalar)]) for scalar in scalars))
        if not scalars and not bases:
            return as_objects([function()], ())
        if not bases:
            shape = numbers[0].shape if numbers else ()
            return as_objects((function(*row) for row in zip(*(c.flat for c in numbers), strict=True)), shape)
        fixed = [*arrays, *sizes.values()]
        shape = tuple(sizes[ranges[index]] for index in indices)
        places = itertools.product(*(range(1, length + 1) for length in shape))
        return as_objects((function(*fixed, *place, *(c.item() for c in numbers)) for place in places), shape)


def without_cancellation(expression: sp.Expr) -> sp.Expr:
    """With log(1 + x) and e^x - 1 as functions of x: the sums would lose the digits of a small one."""
    log_of_1_and, exp_less_1, x = sp.Function("log_of_1_and"), sp.Function("exp_less_1"), sp.Wild("x")

    def adds_1(e: sp.Expr) -> bool:
        return isinstance(e, sp.log) and e.args[0].is_Add and sp.S.One in e.args[0].args

    expression = expression.replace(sp.exp(x) - 1, exp_less_1(x)).replace(1 - sp.exp(x), -exp_less_1(x))
    return expression.replace(adds_1, lambda e: log_of_1_and(e.args[0] - 1))


def exact(values: object) -> np.ndarray:
    """An object array of mpmath numbers, each exactly the floating-point number given."""
    values = np.asarray(values)
    return as_objects((mpmath.mpf(entry) for entry in values.ravel().tolist()), values.shape)


def one_based(values: object) -> np.ndarray:
    """The array with an empty place in front of each axis, so that it is indexed from 1, as formulas are printed."""
    values = exact(values)
    return np.pad(values, [(1, 0)] * values.ndim, constant_values=None)


def as_objects(entries: Iterable[object], shape: tuple[int, ...]) -> np.ndarray:
    """An object array of the entries, which NumPy is kept from looking into."""
    entries = list(entries)
    array = np.empty(len(entries), dtype=object)
    array[:] = entries
    return array.reshape(shape)


def ulp_error(computed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """|computed - expected| in units in the last place of ``computed.dtype`` at the expected value.

    Below the smallest normal number the unit is the smallest subnormal one. An infinity or a NaN where the oracle
    has a finite value that the type can hold is an infinite error; an overflow beyond the type's range is none.
    """
    if computed.shape != np.shape(expected):
        raise ValueError(f"computed is {computed.shape}, but expected is {np.shape(expected)}; they must be alike")
    limits = np.finfo(computed.dtype)
    high, low = split(expected)
    exponent = np.maximum(np.frexp(high)[1] - 1, limits.minexp)
    with np.errstate(invalid="ignore"):  # infinities and NaN are dealt with below
        error = np.abs((computed.astype(np.float64) - high) - low) / np.ldexp(1.0, exponent - limits.nmant)
    overflow = np.isinf(computed) & (np.abs(high) > float(limits.max)) & (np.sign(computed) == np.sign(high))
    error[overflow] = 0
    error[~np.isfinite(computed) & ~overflow] = np.inf
    return error


def relative_error(computed: np.ndarray, expected: np.ndarray, scale: np.ndarray | float | None = None) -> float:
    """max |computed - expected| / (u scale), u being half the distance from 1 to the next number of the dtype.

    ``scale`` is the size of the terms that were added up (for a matrix product |A| |B|, entry by entry); without it
    the largest expected entry.
    """
    high, low = split(expected)
    error = np.abs((computed.astype(np.float64) - high) - low)
    scale = np.max(np.abs(high), initial=0.0) if scale is None else scale
    if not np.all(np.isfinite(computed)):
        return float("inf")
    unit = float(np.finfo(computed.dtype).eps) / 2
    return float(np.max(np.where(error == 0, 0.0, error / (unit * np.where(scale == 0, 1.0, scale)))))


def split(expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An mpmath number as the sum of two floats, which together hold 106 bits of it."""
    expected = np.asarray(expected, dtype=object)
    high = np.array([float(value) for value in expected.flat]).reshape(expected.shape)
    low = np.array([float(v - mpmath.mpf(h)) for v, h in zip(expected.flat, high.flat, strict=True)])
    return high, low.reshape(expected.shape)
