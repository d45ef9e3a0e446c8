"""``minidl.explain``: a formula beside what each engine makes of it, with error and time as measured now."""

from __future__ import annotations

from minidl.explanation.contents import Contents
from minidl.explanation.explanation import Explanation


def explain(
    name: str | None = None, *, measure: bool = True, full: bool = False, short: bool = False
) -> Explanation | Contents:
    """Explain an operation of the contract or a formula: ``explain("sigmoid")``, ``explain("softmax_backward")``.

    What is returned shows itself: as text where it is printed, as a table with formulas in Jupyter. It has the formula,
    its derivative and its stable form, the meaning and the source, the shapes, and for each engine the live source
    with its error against the formula (to 40 digits) and its time, measured now. That takes a second or less once
    the engines are compiled; in Jupyter, the first time in a process, some seconds more, in which the machine's
    ceilings are measured and the picture of the errors is drawn.

    Parameters
    ----------
    name: as in the contract or in formulas.py; large or small letters and Keras's short names ("mse") do as well.
        Without a name: all there are, by chapters.
    measure: False leaves out error and time.
    full: in a text, show the functions that the engines call too. In Jupyter they are there, folded.
    short: the formula and each engine's own source, nothing else; then nothing is measured.

    Raises ValueError, with the nearest name, for an unknown one.
    """
    return Contents() if name is None else Explanation.of(name, measure, full, short)
