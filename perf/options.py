"""Options that several commands have, their values, and the cases that they choose."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from minidl.checks import did_you_mean
from perf import rivals


def add(parser: argparse.ArgumentParser, cases: Iterable[str] = (), seconds: float = 0) -> None:
    """``--rivals``, and ``--only`` and ``--seconds`` where there are cases, and a time for each, to choose from."""
    parser.add_argument("--rivals", dest="names", type=names, metavar="NAME,...",
                        help=f"these alone, beside minidl: {', '.join(list(rivals.MODULES)[1:])}")  # fmt: skip
    known = list(cases)
    if known:
        parser.add_argument("--only", type=lambda text: chosen(text, known), metavar="CASE,...", default=known,
                            help=f"these cases alone: {', '.join(known)}")  # fmt: skip
    if seconds:
        parser.add_argument("--seconds", type=float, default=seconds, metavar="N",
                            help=f"for the samples of a case, all rivals together (default: {seconds:g})")  # fmt: skip


def names(text: str) -> list[str]:
    try:
        return rivals.named(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def chosen(text: str, known: list[str]) -> list[str]:
    found = [name.strip() for name in text.split(",")]
    for name in found:
        if name not in known:
            raise argparse.ArgumentTypeError(f"unknown case {name!r}; {did_you_mean(name, known)}")
    return found
