"""Formulas as text in two dimensions, for terminals: SymPy's printer, mended where no textbook prints so."""

from __future__ import annotations

import sympy as sp
from sympy.printing.pretty.pretty import PrettyPrinter
from sympy.printing.pretty.pretty_symbology import pretty_use_unicode
from sympy.printing.pretty.stringpict import prettyForm

from minidl.compare.mathml import NAMES
from minidl.formula import Formula, ordered_factors, ordered_terms, tens

SUBSCRIPTS = {**dict(zip("0123456789", "₀₁₂₃₄₅₆₇₈₉", strict=True)), "r": "ᵣ", "k": "ₖ", "u": "ᵤ", "s": "ₛ", "j": "ⱼ"}


class Printer(PrettyPrinter):
    """Prints an expression as a textbook would: indices below, sums no taller than they must be, ln for the logarithm.

    Without Unicode the same in plain characters.
    """

    @property
    def unicode(self) -> bool:
        return self._settings["use_unicode"]

    def indexed(self, name: str, indices: tuple) -> prettyForm:
        letters = [str(index) for index in indices]
        if self.unicode and all(letter in SUBSCRIPTS for letter in letters):
            return prettyForm(name + "".join(SUBSCRIPTS[letter] for letter in letters))
        return prettyForm(f"{name}[{', '.join(letters)}]" if len(letters) > 1 else f"{name}_{letters[0]}")

    def call(self, name: str, arguments: tuple) -> prettyForm:
        inside = prettyForm(*self._print_seq(arguments, delimiter=", ").parens())
        return prettyForm(*inside.left(name), binding=prettyForm.FUNC)

    def _as_ordered_terms(self, total: sp.Expr, order: str | None = None) -> list[sp.Expr]:
        return ordered_terms(total)

    def _print_Symbol(self, symbol: sp.Symbol, bold_name: bool = False) -> prettyForm:
        if symbol.name in NAMES and self.unicode:
            return prettyForm(NAMES[symbol.name])
        if "_" in symbol.name and symbol.name.endswith("^2"):
            return self._print(sp.Symbol(symbol.name.removesuffix("^2"))) ** prettyForm("2")
        if symbol.name.endswith("prime") and not self.unicode:
            return prettyForm(symbol.name.removesuffix("prime") + "'")
        return super()._print_Symbol(symbol, bold_name)

    def _print_Indexed(self, indexed: sp.Indexed) -> prettyForm:
        return self.indexed(str(self._print(indexed.base.label)), indexed.indices)

    def _print_KroneckerDelta(self, delta: sp.Expr) -> prettyForm:
        return self.indexed("δ" if self.unicode else "delta", delta.args)

    def _print_Exp1(self, expression: object) -> prettyForm:
        return prettyForm("e")

    def _print_ExpBase(self, power: sp.Expr) -> prettyForm:
        return prettyForm("e") ** self._print(power.args[0])

    def _print_log(self, logarithm: sp.Expr) -> prettyForm:
        return self.call("ln", logarithm.args)

    def _print_Max(self, largest: sp.Max) -> prettyForm:
        return self.call("max", largest.args)

    def _print_Min(self, smallest: sp.Min) -> prettyForm:
        return self.call("min", smallest.args)

    def _print_Rational(self, number: sp.Rational) -> prettyForm:
        if tens(number):
            return prettyForm("10") ** prettyForm(f"-{tens(number)}")
        return super()._print_Rational(number)

    def _print_Piecewise(self, piecewise: sp.Piecewise) -> prettyForm:
        values = [self._print(value) for value, _ in piecewise.args]
        width = max(value.width() for value in values)
        rows = []
        for value, (_, condition) in zip(values, piecewise.args, strict=True):
            when = prettyForm("otherwise") if condition == sp.true else prettyForm(*self._print(condition).left("if "))
            rows.append(prettyForm(*value.right(" " * (width - value.width() + 3), when)))
        gap = [] if sum(row.height() for row in rows) % 2 else [""]  # a brace has an odd number of lines
        table = rows[0]
        for row in rows[1:]:
            wide = max(table.width(), row.width())
            table, row = (prettyForm(*part.right(" " * (wide - part.width()))) for part in (table, row))
            table = prettyForm(*table.below(*gap, row))
        table.baseline = table.height() // 2
        return prettyForm(*table.parens("{", ""), binding=prettyForm.OPEN)

    def _print_Mul(self, product: sp.Mul) -> prettyForm:
        if product.could_extract_minus_sign():
            positive = self._print(-product)
            positive = prettyForm(*positive.parens()) if positive.binding == prettyForm.ADD else positive
            return prettyForm(*positive.left("- " if positive.height() > 1 else "-"), binding=prettyForm.NEG)
        over, under = sp.fraction(product, exact=True)  # exact: e^-z stays a factor above the line
        if under != 1:
            return self._print(over) / self._print(under)
        factors = ordered_factors(product)
        forms = [self._print(factor) for factor in factors]
        ends = [isinstance(factor, sp.Sum) and factor is not factors[-1] for factor in factors]
        forms = [prettyForm(*form.parens()) if end else form for form, end in zip(forms, ends, strict=True)]
        return prettyForm.__mul__(*forms)

    def _print_Sum(self, total: sp.Sum) -> prettyForm:
        index, first, last = total.limits[0]
        term = self._print(total.function)
        if total.function.is_Add:
            term = prettyForm(*term.parens())
        below = f"{index}={first}"
        sign = prettyForm("∑" if self.unicode else "Sum")
        sign = prettyForm(*sign.above(str(last)))
        baseline = sign.height() - 1
        sign = prettyForm(*sign.below(below))
        sign.baseline = baseline
        return prettyForm(*sign.right(" ", term), binding=prettyForm.MUL)


def picture(expression: sp.Expr, unicode: bool = True) -> prettyForm:
    return Printer({"use_unicode": unicode})._print(expression)


def equation(left: prettyForm, right: prettyForm) -> prettyForm:
    return prettyForm(*left.right(" = ", right))


def lines(formula: Formula, what: str, unicode: bool = True) -> list[str]:
    """One side of a formula as the lines of a text: its "definition" with its ``where`` lines, or its "stable" form,
    its "derivative", or that "from_output"."""
    before = pretty_use_unicode(unicode)
    try:
        if what == "definition":
            pairs = ((formula.symbol, formula.expression), *formula.where)
            equations = [equation(picture(left, unicode), picture(right, unicode)) for left, right in pairs]
        elif what == "stable":
            equations = [equation(picture(formula.symbol, unicode), picture(formula.stable, unicode))]
        else:
            equations = [equation(slope(formula, unicode), picture(getattr(formula, what), unicode))]
        found: list[str] = []
        for place, form in enumerate(equations):
            found += [""] * (place > 0) + [line.rstrip() for line in form.picture]
        return found
    finally:
        pretty_use_unicode(before)


def letter(symbol: sp.Symbol, unicode: bool = True) -> str:
    """A symbol on one line."""
    before = pretty_use_unicode(unicode)
    try:
        raised, name = str(symbol).endswith("^2"), str(symbol).removesuffix("^2")
        printed = picture(sp.Symbol(name), unicode).picture[0]
        return printed + ("²" if unicode else "^2") * raised
    finally:
        pretty_use_unicode(before)


def slope(formula: Formula, unicode: bool) -> prettyForm:
    """The left-hand side of the derivative."""
    d = "∂" if unicode else "d"
    over, under = (prettyForm(*picture(part, unicode).left(d)) for part in (formula.symbol, formula.variable))
    return over / under
