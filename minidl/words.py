"""Numbers as a reader wants them: three digits, and the unit that suits them."""

from __future__ import annotations

from decimal import Decimal

UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))  # of time, and their seconds
ROUNDED = 0.9995  # from here on three digits say 1 of the next unit


def unit_of(seconds: float) -> tuple[str, float]:
    """The unit in which a time is read best, and how many seconds it is."""
    return next((unit for unit in UNITS if abs(seconds) >= ROUNDED * unit[1]), UNITS[-1])


def duration(seconds: float | None) -> str:
    """A time, as "1.67 ms"; "-" where there is none."""
    if seconds is None or seconds != seconds:
        return "-"
    unit, worth = unit_of(seconds)
    return f"{digits(seconds / worth)} {unit}"


def digits(value: float) -> str:
    """A number with three digits, all of them where it is small, without an exponent: "0.0149", "1.95", "1,477"."""
    return f"{Decimal(f'{value:.2e}'):f}" if abs(value) < 99.95 else f"{value:,.0f}"


def times(ratio: float) -> str:
    """How many times as much, as "1.95x"."""
    return f"{digits(ratio)}x"


def percent(share: float) -> str:
    """A share of 1 in hundredths, as "12.5%"."""
    return f"{up_to_three(100 * share)}%"


def in_bytes(size: float) -> str:
    """A size; 1 kB is 1,000 bytes."""
    for unit, worth in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= ROUNDED * worth:
            return f"{up_to_three(size / worth)} {unit}"
    return f"{size:.0f} bytes"


def up_to_three(value: float) -> str:
    """A number with three digits, without zeros at the end and without an exponent."""
    return f"{Decimal(f'{value:.3g}'):f}" if abs(value) < 999.5 else f"{value:,.0f}"


def as_written(value: float) -> str:
    """A number of somebody's data: a whole one with all its digits, another with six, or all before the point."""
    whole = abs(value) < 1e15 and (value == int(value) or abs(value) >= 999_999.5)
    return f"{value:.0f}" if whole else f"{value:.6g}"
