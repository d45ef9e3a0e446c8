"""One formula: an expression that prints itself, derives itself, and evaluates itself as the oracle.

Index letters have one meaning throughout, and count from 1 as in print:
``r`` rows of the batch (1..n), ``k`` inputs (1..i), ``u`` units or classes (1..o), ``s`` the same where a second
one is summed over, ``j`` the one a derivative is taken by, ``q`` the entries of one weight tensor (1..K).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp
from sympy import Piecewise, Symbol
from sympy.printing.latex import LatexPrinter

from minidl import checks, oracle

n, i, o, K = (Symbol(letter, integer=True, positive=True) for letter in "nioK")
r, k, u, s, j, q = (Symbol(letter, integer=True, positive=True) for letter in "rkusjq")
RANGE = {r: n, k: i, u: o, s: o, j: o, q: K}  # the last value of each index


@dataclass(frozen=True)
class Formula:
    """One formula: what is defined, the expression, and where it comes from.

    ``symbol`` is the left-hand side, ``variable`` what the derivative is taken by (None: none is needed),
    ``where`` spells out symbols that the expression uses, ``stable`` is the algebraically equal form that the
    engines compute where the textbook form would overflow or cancel, and ``from_output`` is the derivative
    written with the output ``a``, which is what is still in memory when gradients flow back.
    """

    name: str
    symbol: sp.Expr
    expression: sp.Expr
    meaning: str
    source: str
    variable: sp.Expr | None = None
    where: tuple[tuple[sp.Symbol, sp.Expr], ...] = ()
    stable: sp.Expr | None = None
    from_output: sp.Expr | None = None

    @cached_property
    def full(self) -> sp.Expr:
        """The expression with every ``where`` put in."""
        return self.expression.subs(list(self.where))

    @cached_property
    def derivative(self) -> sp.Expr:
        """d expression / d variable, by ``sympy.diff``; every index is taken to lie in its range."""
        if self.variable is None:
            raise ValueError(f"the formula {self.name!r} is not differentiated by anything")
        return resolve(sp.diff(self.full, self.variable))

    @property
    def latex(self) -> str:
        """The formula as LaTeX, with its ``where`` lines and its derivative."""
        lines = [*self.equations(), *(self.equations("derivative") if self.variable is not None else [])]
        return aligned(f"{left} &= {right}" for left, right in lines)

    def equations(self, what: str = "expression") -> list[tuple[str, str]]:
        """Both sides as LaTeX of what ``evaluate`` evaluates; of the expression with its ``where`` lines."""
        left = to_latex(self.symbol)
        if what == "expression":
            return [(left, to_latex(self.expression)), *((to_latex(a), to_latex(b)) for a, b in self.where)]
        if what != "stable":
            left = rf"\frac{{\partial {left}}}{{\partial {to_latex(self.variable)}}}"
        return [(left, to_latex(getattr(self, what)))]

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {self.latex}$"

    def evaluate(self, what: str = "expression", digits: int = 40, **values: object) -> np.ndarray:
        """The oracle: the formula in ``digits`` decimal digits, as an object array of mpmath numbers.

        ``what`` names the attribute to evaluate: "expression", "derivative", "stable" or "from_output".
        ``values`` gives each free symbol by its printed name: scalars or arrays (broadcast) for symbols, arrays
        of the declared shape for indexed ones. The result has one axis for each free index (rows first), or
        for scalar formulas the broadcast shape. ``mpmath.nstr(number, 40)`` prints one with all its digits.

        Raises ValueError for another ``what``, or where the formula has none.
        """
        checks.one_of(what, "what", ("expression", "derivative", "stable", "from_output"))
        expression = self.full if what == "expression" else getattr(self, what)
        if expression is None:
            raise ValueError(f"the formula {self.name!r} has no {what}")
        return oracle.evaluate(expression, values, RANGE, digits)


class Formulas(dict[str, Formula]):
    """Formulas by name; KeyError, with the nearest name, for an unknown one."""

    def __missing__(self, name: str) -> Formula:
        raise KeyError(f"there is no formula {checks.shown(name)}; {checks.did_you_mean(name, self)}")


def resolve(expression: sp.Expr) -> sp.Expr:
    """Carry out the sums over KroneckerDelta that differentiating by an indexed symbol leaves behind."""
    expression = expression.doit()
    while True:
        in_range = expression.replace(lambda e: isinstance(e, Piecewise) and is_range_check(e), lambda e: e.args[0][0])
        if in_range == expression:
            return min((expression, sp.factor_terms(expression)), key=sp.count_ops)
        expression = in_range.doit()


def is_range_check(piecewise: Piecewise) -> bool:
    """Whether this is SymPy's "if 1 <= index <= size": true for every index here, since indices stay in range."""
    (_, condition), (otherwise, always) = piecewise.args[0], piecewise.args[-1]
    zero_else = len(piecewise.args) == 2 and otherwise.doit() == 0 and always == sp.true
    return zero_else and condition.free_symbols <= {*RANGE, *RANGE.values()}


def aligned(rows: Iterable[str]) -> str:
    """Rows of LaTeX below each other, with some room between them, where each has its ``&``."""
    below = r" \\[6pt] "
    return rf"\begin{{aligned}} {below.join(rows)} \end{{aligned}}"


class Latex(LatexPrinter):
    """Prints an expression as a textbook would, as the printers of MathML and of text do."""

    def _as_ordered_terms(self, total: sp.Expr, order: str | None = None) -> list[sp.Expr]:
        return ordered_terms(total)

    def _print_Mul(self, product: sp.Expr) -> str:
        if product.could_extract_minus_sign():
            return f"- {self.factor(-product)}"
        over, under = sp.fraction(product, exact=True)  # exact: e^-z stays a factor above the line
        if under != 1:
            return rf"\frac{{{self._print(over)}}}{{{self._print(under)}}}"
        *before, last = ordered_factors(product)
        return " ".join([*(self.factor(each, isinstance(each, sp.Sum)) for each in before), self.factor(last)])

    def factor(self, factor: sp.Expr, open_ended: bool = False) -> str:
        printed = self._print(factor)
        return rf"\left({printed}\right)" if factor.is_Add or open_ended else printed

    def _print_Rational(self, number: sp.Rational) -> str:
        return f"10^{{-{tens(number)}}}" if tens(number) else super()._print_Rational(number)

    def _print_Piecewise(self, piecewise: sp.Piecewise) -> str:
        return super()._print_Piecewise(piecewise).replace(r"\text{for}", r"\text{if}")


def to_latex(expression: sp.Expr) -> str:
    return Latex({"ln_notation": True}).doprint(expression)


def ordered_terms(total: sp.Expr) -> list[sp.Expr]:
    """A sum's terms as a textbook writes them: a number or theta first, e^z before e^-z, what is taken off last."""

    def place(term: sp.Expr) -> tuple[bool, bool, bool]:
        falls = isinstance(term, sp.exp) and term.args[0].could_extract_minus_sign()
        return term.could_extract_minus_sign(), not (term.is_Number or str(term) == "theta"), falls

    return sorted(total.as_ordered_terms("rev-lex"), key=place)


def ordered_factors(product: sp.Expr) -> list[sp.Expr]:
    """A product's factors as a textbook writes them: letters and numbers before what is more, as in Y ln P."""
    return sorted(product.as_ordered_factors(), key=lambda factor: bool(factor.atoms(sp.Function, sp.Sum)))


def tens(number: sp.Rational) -> int:
    """n of a number that is written as 10^-n: 0.01, 0.001 and so on; 0 of any other."""
    zeros = len(str(number.q)) - 1
    return zeros if number.p == 1 and number.q == 10**zeros > 10 else 0
