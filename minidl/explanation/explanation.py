"""One formula explained: everything that is shown of it, found and measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy as sp

from minidl import display
from minidl.bench import ceilings, machine, operations
from minidl.compare.report import BUSY, error_of, error_text
from minidl.contract import OPERATIONS, Operation
from minidl.engines import why_not
from minidl.explanation import source
from minidl.explanation.contents import backward_of, meaning_of, name_of, operation_of
from minidl.formula import aligned
from minidl.formulas import FORMULAS, Formula
from minidl.words import duration, times

UNITS = {
    "ulp": "in units in the last place of the result",
    "product": "in rounding units u times the size of the terms added up, |A||B|",
    "relative": "in rounding units u times the largest entry of the result",
    "steps": "in whole steps of the result",
}

# What the letters of the formulas stand for.
LETTERS = {
    "X": "inputs", "W": "weights", "b": "bias", "G": "gradient by Z, from above", "Z": "weighted sums (logits)",
    "Y": "targets", "P": "predictions", "w": "weights", "z": "weighted sum", "a": "the output", "x": "input",
    "theta": "parameter", "thetaprime": "the same after the step", "g": "its gradient", "eta": "learning rate",
    "mu": "momentum", "v": "what is remembered of before", "vprime": "the same after the step",
    "m": "mean of the gradients before", "mprime": "the same after the step", "t": "the step, from 1",
    "beta_1": "how much of m stays", "beta_2": "how much of v stays", "epsilon": "keeps the divisor from 0",
    "lambda": "rate of the penalty", "p": "share that is dropped", "B": "1 where kept, else 0", "mu_x": "mean",
    "sigma_x^2": "variance", "c_r": "the row's largest logit", "r": "row", "k": "input", "u": "unit or class",
    "s": "the same, summed over", "j": "the unit the derivative is taken by", "q": "entry", "Q": "inputs, 0 to 255",
    "S": "sums, whole numbers", "c": "bias, and correction for q_0, in steps of S", "Delta": "what a step is worth",
    "q_0": "the whole number that stands for 0", "q_min": "the least to come out", "M": "steps of Q in a step of S",
    "n": "how many rows",
    "i": "how many inputs", "o": "how many units", "K": "how many weights",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """What one engine makes of the operation. ``reason`` says why it cannot run here; then nothing is ``measured``."""

    engine: str
    reason: str
    pieces: tuple[source.Piece, ...]
    measured: dict | None

    @property
    def beyond(self) -> bool:
        """Whether the error that was measured is larger than the bound."""
        return self.measured is not None and not error_of(self.measured) <= self.measured["bound"]

    @property
    def callees(self) -> list[str]:
        """The names of the functions that it calls within minidl."""
        return list(dict.fromkeys(piece.name for piece in self.pieces[1:] if "def " in piece.text))


HEAD = ("error", "bound", "unit", "time", "vs NumPy", "of the ceiling")  # of Explanation.rows
CEILING_SECONDS = 1.0  # of measuring the ceilings, where nobody has


@dataclass(frozen=True, repr=False)
class Explanation(display.Shown):
    """A formula, and the operation that computes it in every engine. It shows itself as text and in Jupyter."""

    name: str
    meaning: str
    formula: Formula | None
    operation: Operation | None
    columns: tuple[Column, ...]
    problems: tuple[str, ...]
    busy: bool = False  # whether others worked on the machine while this was measured
    full: bool = False
    short: bool = False

    @classmethod
    def of(cls, name: str, measure: bool = True, full: bool = False, short: bool = False) -> Explanation:
        """See ``minidl.explain``."""
        name = name_of(name)
        operation = operation_of(name)
        formula = FORMULAS.get(name) or (FORMULAS.get(operation.formula) if operation else None)
        reasons = {engine: why_not(engine) for engine in source.engines()} if operation else {}
        able, problems, measured = [engine for engine in reasons if not reasons[engine]], [], {}
        load, cores = machine.load(), machine.cores()
        busy = bool(load and cores and load > BUSY * cores)
        if measure and able and not short:
            from minidl.compare.experiment import check_formula

            measured = check_formula(operation.name, able, problems)
        columns = tuple(
            Column(engine, reason, source.read(engine, operation), measured.get(engine))
            for engine, reason in reasons.items()
        )
        return cls(name, meaning_of(name), formula, operation, columns, tuple(problems), busy, full, short)

    @property
    def chapter(self) -> str:
        return self.operation.module if self.operation else "formulas"

    @property
    def sections(self) -> list[tuple[str, str]]:
        """What there is to say of the formula: a heading and the name that pretty.py and mathml.py know it by."""
        if self.formula is None:
            return []
        backward = self.operation is not None and backward_of(self.operation)
        return sections(self.formula, bool(backward))[: 1 if self.short else None]

    @property
    def facts(self) -> dict[str, str]:
        """Signature, shapes, bounds and where the formula comes from, in words."""
        found = {}
        if self.operation is not None:
            operation = self.operation
            bounds = [f"{value:g} in {engine}" for engine, value in operation.bounds]
            bound = "".join(f" ({', '.join(bounds)})" if bounds else "")
            found["call"] = f"{operation.name}{operation.signature}"
            found["shapes"] = operation.shapes
            largest = f"at most {operation.bound:g}{bound}, {UNITS[operation.measure]}"
            found["error"] = largest if operation.bound else "none: exact"
            if operation.name != self.name:
                found["computed by"] = operation.name
        found["source"] = self.formula.source if self.formula else "counted as Keras counts"
        if self.related:
            found["see also"] = ", ".join(self.related)
        return found

    @property
    def letters(self) -> list[tuple[sp.Symbol, str]]:
        """The letters of the formula, and what each stands for."""
        if self.formula is None:
            return []
        expressions = [self.formula.full, *(left for left, _ in self.formula.where), self.formula.symbol]
        expressions += [getattr(self.formula, what) for _, what in self.sections if what != "definition"]
        names = set().union(*map(letters_of, expressions))
        return [(sp.Symbol(letter), words) for letter, words in LETTERS.items() if letter in names]

    @property
    def rows(self) -> dict[str, list[str]]:
        """For each engine that was measured: error, bound, unit, time, speedup and share of the ceiling, in words."""
        found = {}
        for column in self.columns:
            entry = column.measured
            if entry is not None:
                speedup = entry.get("speedup_vs_numpy")
                found[column.engine] = [
                    error_text(error_of(entry)),
                    error_text(entry["bound"]),
                    entry["unit"],
                    duration(entry["seconds"]),
                    "-" if speedup is None else times(speedup),
                    self.share(column.engine, entry["seconds"]),
                ]
        return found

    def share(self, engine: str, seconds: float | None) -> str:
        """The least time that this machine's ceilings allow over the time that was measured, and what limits it.

        "" where the ceilings have not been measured in this process.
        """
        limits, name = ceilings.known(), self.operation.name
        if limits is None:
            return ""
        dtype = "int8" if name == "dense_int8" else "float32"
        if seconds is None or engine == "cupy" or limits.peaks.get(dtype) is None:
            return "-"
        several = name in operations.PRODUCTS and (engine, name) != ("numba", "dense_int8")
        cores = "all" if several else "one"  # BLAS takes all there are, and so do Numba's large products
        done, moved, held = operations.work(name)
        found = limits.limits(done, moved, dtype, cores, held)
        limit, least = max(found.items(), key=lambda each: each[1])
        return f"{least / seconds:.0%} ({limit})"

    @property
    def note(self) -> str:
        """What error and time were measured on."""
        sizes = next((c.measured["timed_on"] for c in self.columns if c.measured and "timed_on" in c.measured), "")
        kind = "arrays" if self.chapter == "int8" else "float32 arrays"
        timed = f"; time of a call on {kind} of {', '.join(dict.fromkeys(sizes.split(', ')))}" if sizes else ""
        busy = " The machine was busy, so the times are uncertain." if self.busy else ""
        ceiling = (
            " Of the ceiling: the least time in which one core of this machine (for matrix products all cores) "
            "can do the arithmetic, or move each array once (twice where it is written in place), over the time "
            "measured; behind it what limits."
        )
        known = ceiling if sizes and ceilings.known() else ""
        return f"Error: the largest of a sample, against 40 digits{timed}.{known}{busy}"

    @property
    def related(self) -> list[str]:
        """Operations that belong to this one: its backward ones or its forward one, and others of the formula."""
        stem = self.name.split("_backward")[0]
        formula = self.formula.name if self.formula else ""
        names = [name for name in OPERATIONS if name.split("_backward")[0] == stem]
        names += [name for name, operation in OPERATIONS.items() if operation.formula == formula and name not in names]
        return [name for name in names if name != self.name]

    def __rich_console__(self, console, options) -> Iterator[object]:
        from minidl.explanation.text import parts

        yield from parts(self, options.max_width, unicode=not options.ascii_only)

    @property
    def latex(self) -> str:
        """The formula in each of its forms, and beside each which that is."""
        rows = []
        for heading, what in self.sections:
            for left, right in self.formula.equations("expression" if what == "definition" else what):
                rows.append(rf"{left} &= {right} &\qquad& \text{{{heading}}}")
                heading = ""
        return aligned(rows)

    def _ipython_display_(self) -> None:
        """Show it in a notebook, without MathML: the formulas as LaTeX, the letters in the text as characters.

        A notebook that others have run is not trusted: its HTML is sanitized, which takes MathML and styles away, and
        of a fraction only a row of letters would be left.
        """
        if not display.in_notebook():
            raise NotImplementedError  # then IPython prints it as it prints anything
        from IPython.display import display as put

        from minidl.explanation.page import head, rest

        self._see_to_ceilings()
        put({"text/html": display.fragment(head(self)), "text/plain": str(self)}, raw=True)
        if self.formula is not None:
            put({"text/latex": rf"$\displaystyle {self.latex}$", "text/plain": ""}, raw=True)
        put({"text/html": display.fragment(rest(self, math=False)), "text/plain": ""}, raw=True)

    def _html(self) -> str:
        from minidl.explanation.page import body

        self._see_to_ceilings()
        return body(self)

    def _see_to_ceilings(self) -> None:
        if any(column.measured for column in self.columns) and not why_not("numba"):
            ceilings.measure(CEILING_SECONDS)

    def page(self) -> str:
        """The same as a page of its own, which needs nothing but itself."""
        return display.document(f"minidl explain {self.name}", self._html())


def letters_of(expression: sp.Basic) -> set[str]:
    """The names of the letters that are seen when the expression is printed: not the sizes of its arrays."""
    if isinstance(expression, sp.Indexed):
        return {str(expression.base), *map(str, expression.indices)}
    return set().union(*map(letters_of, expression.args), [expression.name] if expression.is_Symbol else [])


def sections(formula: Formula, backward: bool = False) -> list[tuple[str, str]]:
    """A heading for each thing there is to say of a formula, and the name it has in pretty.py and mathml.py.

    For a backward operation the derivative comes first, since that is its formula.
    """
    found = [("formula", "definition")]
    if formula.stable is not None and str(formula.stable) != str(formula.symbol):
        found.append(("the equal form that is computed", "stable"))
    if formula.variable is not None:
        slopes = [("derivative", "derivative")]
        if formula.from_output is not None and formula.from_output != formula.derivative:
            slopes.append(("derivative from the output", "from_output"))
        found = [*slopes, ("of this formula", "definition"), *found[1:]] if backward else [*found, *slopes]
    return found
