"""What the commands share: exit codes, options that several of them have, and the values of options."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterable, Sequence

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


# --- options that several commands have -----------------------------------------------------------------------------


def add_reading(add: Callable) -> None:
    """How a CSV is read."""
    add("--labels", metavar="FILE", help="a second CSV with the labels of DATA.csv, row by row")
    add("--drop", type=names, default=(), metavar="COLUMN,...", help="columns to leave out, such as names and numbers")
    add("--missing", choices=("error", "drop", "mean"), default="error", metavar="error|drop|mean",
        help="cells without a value: refuse, leave out their rows, or put in the mean (default: error)")  # fmt: skip
    add("--categorical", choices=("error", "onehot"), default="error", metavar="error|onehot",
        help="columns of text: refuse them, or make a 0 or 1 of each category (default: error)")  # fmt: skip
    add("--task", choices=("binary", "multiclass", "regression"), metavar="binary|multiclass|regression",
        help="two classes, several, or a number (default: read off the target)")  # fmt: skip


def add_network(add: Callable, epochs: int) -> None:
    """The network and how it is trained."""
    add("--hidden", type=widths, default=(64, 64), metavar="UNITS,...", help="units of hidden layers (default: 64,64)")
    add("--epochs", type=whole_number(1), default=epochs, metavar="N",
        help=f"times through the training rows (default: {epochs})")  # fmt: skip
    add("--batch-size", type=whole_number(1), default=32, metavar="N", help="rows in a batch (default: 32)")
    add("--seed", type=whole_number(0), default=0, metavar="N",
        help="of weights, batches and held-out rows (default: 0)")  # fmt: skip


def not_over(out: str, inputs: Iterable[str | None]) -> str:
    """Where ``out`` really lies; OSError where it cannot be written, or where it is a file that is read."""
    from minidl.files import writable

    target = writable(out)
    for path in inputs:
        if path is not None and os.path.exists(target) and os.path.exists(path) and os.path.samefile(target, path):
            raise OSError(f"--out {out!r} is the file {path!r}, which would be lost; name another")
    return target


# --- values of options: each function turns a text into a value, or says why it cannot ------------------------------


def nearest(name: str, known: Sequence[str]) -> str:
    from minidl.checks import did_you_mean

    return did_you_mean(name, known)


def whole_number(least: int) -> Callable[[str], int]:
    """A type for argparse: a whole number from ``least`` on."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {value}")
        return value

    return convert


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be a finite number above 0, not {text}")
    return value


def widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(whole_number(1)(part) for part in text.split(","))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"needs units, such as 64,64, but in {text!r} {error}") from None


def engine_names(text: str) -> tuple[str, ...]:
    from minidl.engines import ENGINES

    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in ENGINES:
            raise argparse.ArgumentTypeError(f"unknown engine {name!r}; {nearest(name, ENGINES)}")
    return names


def names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def one_of(known: Sequence[str]) -> Callable[[str], str]:
    """A type for argparse: one of these names."""

    def convert(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"unknown {text!r}; {nearest(text, known)}")
        return text

    return convert


def engine_name(text: str) -> str:
    return text if text == "auto" else engine_names(text)[0]


def share(text: str) -> float:
    """A number in [0, 1)."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be a share from 0 up to, but not including, 1, not {text}")
    return value
