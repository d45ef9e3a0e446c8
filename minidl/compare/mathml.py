"""Formulas as MathML, which browsers draw by themselves: SymPy's printer, mended where no textbook prints so."""

from __future__ import annotations

from xml.dom.minidom import Element

import sympy as sp
from sympy.printing.mathml import MathMLPresentationPrinter

from minidl.formula import Formula, ordered_factors, ordered_terms, tens

NAMES = {"ell": "ℓ"}  # letters that SymPy has no character for


class Printer(MathMLPresentationPrinter):
    """Prints an expression as a textbook would."""

    def tag(self, name: str, *inside: Element | str) -> Element:
        element = self.dom.createElement(name)
        for part in inside:
            element.appendChild(self.dom.createTextNode(part) if isinstance(part, str) else part)
        return element

    def _as_ordered_terms(self, total: sp.Expr, order: str | None = None) -> list[sp.Expr]:
        return ordered_terms(total)

    def _print_Exp1(self, expression: object) -> Element:
        return self.tag("mi", "e")

    def _print_Symbol(self, symbol: sp.Symbol, style: str = "plain") -> Element:
        if symbol.name in NAMES:
            return self.tag("mi", NAMES[symbol.name])
        if symbol.name.endswith("prime"):
            return self.tag("msup", self._print(sp.Symbol(symbol.name.removesuffix("prime"))), self.tag("mo", "′"))
        return super()._print_Symbol(symbol, style)

    def _print_Indexed(self, indexed: sp.Indexed) -> Element:
        indices = [self._print(index) for index in indexed.indices]
        return self.tag("msub", self._print(indexed.base), self.tag("mrow", *indices))

    def _print_AppliedUndef(self, call: sp.Expr) -> Element:
        name = self._print(sp.Symbol(call.func.__name__))
        return self.tag("mrow", name, self._paren_comma_separated(*call.args))

    def _print_KroneckerDelta(self, delta: sp.Expr) -> Element:
        return self.tag("msub", self.tag("mi", "δ"), self.tag("mrow", *map(self._print, delta.args)))

    def _print_Max(self, largest: sp.Max) -> Element:
        return self.tag("mrow", self.tag("mi", "max"), self._paren_comma_separated(*largest.args))

    def _print_Min(self, smallest: sp.Min) -> Element:
        return self.tag("mrow", self.tag("mi", "min"), self._paren_comma_separated(*smallest.args))

    def _print_Piecewise(self, piecewise: sp.Piecewise) -> Element:
        rows = []
        for value, condition in piecewise.args:
            when = [self.tag("mtext", "otherwise")]
            if condition != sp.true:
                space = self.tag("mspace")
                space.setAttribute("width", "0.3em")
                when = [self.tag("mtext", "if"), space, self._print(condition)]
            rows.append(self.tag("mtr", self.tag("mtd", self._print(value)), self.tag("mtd", self.tag("mrow", *when))))
        table = self.tag("mtable", *rows)
        table.setAttribute("displaystyle", "true")
        return self.tag("mrow", self.tag("mo", "{"), table)

    def _print_Mul(self, product: sp.Mul) -> Element:
        if product.could_extract_minus_sign():
            return self.tag("mrow", self.tag("mo", "-"), self._print(-product))
        over, under = sp.fraction(product, exact=True)  # exact: e^-z stays a factor above the line
        if under != 1:
            return self.tag("mfrac", self._print(over), self._print(under))
        row = self.tag("mrow")
        factors = ordered_factors(product)
        for place, factor in enumerate(factors):
            if place > 0:
                row.appendChild(self.between(factor))
            open_ended = factor.is_Add or (isinstance(factor, sp.Sum) and factor is not factors[-1])
            row.appendChild(self.parenthesized(self._print(factor)) if open_ended else self._print(factor))
        return row

    def between(self, factor: sp.Expr) -> Element:
        """What stands between a factor and the one before it: a space before a name such as ln, else nothing seen."""
        if not isinstance(factor, sp.Function) or isinstance(factor, sp.exp):
            return self.tag("mo", "\u2062")  # the invisible multiplication sign
        space = self.tag("mspace")
        space.setAttribute("width", "0.17em")
        return space

    def _print_Sum(self, total: sp.Sum) -> Element:
        (index, first, last), term = total.limits[0], self._print(total.function)
        below = self.tag("mrow", self._print(index), self.tag("mo", "="), self._print(first))
        sign = self.tag("munderover", self.tag("mo", "∑"), below, self._print(last))
        return self.tag("mrow", sign, self.parenthesized(term) if total.function.is_Add else term)

    def _print_Rational(self, number: sp.Rational) -> Element:
        if tens(number):
            power = self.tag("mrow", self.tag("mo", "-"), self.tag("mn", str(tens(number))))
            return self.tag("msup", self.tag("mn", "10"), power)
        return super()._print_Rational(number)

    def parenthesized(self, element: Element) -> Element:
        return self.tag("mrow", self._l_paren(), element, self._r_paren())


def markup(expression: sp.Expr) -> str:
    return Printer({"ln_notation": True}).doprint(expression).replace("<mo>-</mo>", "<mo>−</mo>")


def equation(left: str, right: str) -> str:
    """Two sides as one displayed formula."""
    return f'<math display="block"><mrow>{left}<mo>=</mo>{right}</mrow></math>'


def definition(formula: Formula) -> str:
    """What the formula says, with its ``where`` lines."""
    lines = ((formula.symbol, formula.expression), *formula.where)
    return "".join(equation(markup(left), markup(right)) for left, right in lines)


def derivative(formula: Formula) -> str:
    """Its derivative by its variable, both sides."""
    return equation(slope(formula), markup(formula.derivative))


def slope(formula: Formula) -> str:
    """The left-hand side of the derivative."""
    over, under = (f"<mrow><mo>∂</mo>{markup(part)}</mrow>" for part in (formula.symbol, formula.variable))
    return f"<mfrac>{over}{under}</mfrac>"


def stable(formula: Formula) -> str:
    """The form that the engines compute."""
    return equation(markup(formula.symbol), markup(formula.stable))


def from_output(formula: Formula) -> str:
    """The derivative written with the output a."""
    return equation(slope(formula), markup(formula.from_output))
