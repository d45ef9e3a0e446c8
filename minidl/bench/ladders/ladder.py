"""A ladder: one computation written again and again, each time a step faster; every rung checked, timed and compared.

A rung that does not pay stays, and says so.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from html import escape

import numpy as np

from minidl import display
from minidl.bench import ceilings as ceilings_
from minidl.bench import timing
from minidl.bench.ceilings import ONE, Ceilings, Timed
from minidl.words import duration, percent, times

BUDGET_SECONDS = 10.0
PAYS = 1.1  # times faster at least: which rung ran before it, and where its arrays lie, can make a few percent
LINGERS = 0.1  # seconds in which OpenBLAS's threads keep a core busy after a product, waiting for the next one
WIDE = 100  # columns of a terminal from which on the quartiles find room


@dataclass(frozen=True)
class Rung:
    """One way to do it.

    name, shows: what it is called, and in one sentence what it shows.
    call: does the work and returns the result; it is given what ``prepare`` makes of the ladder's inputs, once and
        outside the clock, or the inputs themselves.
    cores: "one" or "all", whichever it may use: the ceiling that it is held against.
    rows: it is tried on so many rows only, because all would take too long.
    aside: a yardstick beside the ladder, which the next rung does not build on.
    also: other functions that belong to its source.
    """

    name: str
    shows: str
    call: Callable[..., object]
    prepare: Callable[..., tuple] | None = None
    cores: str = ONE
    rows: int | None = None
    aside: bool = False
    also: tuple[Callable, ...] = ()

    @property
    def source(self) -> str:
        """The rung's code, as it stands in its file."""
        functions = dict.fromkeys(getattr(part, "py_func", part) for part in (self.call, *self.also))
        return "\n\n".join(inspect.getsource(function).rstrip() for function in functions)


@dataclass(frozen=True)
class Work:
    """What a computation takes: floating-point operations, and bytes that have to be moved at least."""

    operations: float
    bytes: float


@dataclass(frozen=True)
class Ladder:
    """Rungs, and what they are tried on.

    make: the inputs from a size and a random generator; size: the one that is timed.
    part: the inputs of so many rows.
    reference: from the inputs, what every rung is to return, in float64; tolerance: how far the largest difference may
        be from it, as a share of the largest entry.
    work: what the inputs take. unit: "GFLOP/s" or "GB/s", which of the two is counted.
    ceiling: from the machine's ceilings and "one" or "all", the highest rate there can be, in that unit.
    describe: the inputs in words. reset: brings back their first state, and spoils a result that is left in them;
        called before each check and each sample, outside the clock.
    """

    name: str
    title: str
    unit: str
    limit: str
    size: tuple
    rungs: tuple[Rung, ...]
    make: Callable[..., tuple]
    part: Callable[..., tuple]
    reference: Callable[..., object]
    work: Callable[..., Work]
    ceiling: Callable[[Ceilings, str], float]
    describe: Callable[..., str]
    reset: Callable[..., None]
    tolerance: float = 1e-5


@dataclass(frozen=True)
class Step(Timed):
    """A rung as it was measured: the median and quartiles in seconds, and the rate in the ladder's unit.

    ``share`` is of the ceiling for as many cores; ``over_before`` and ``over_first`` are ratios of rates, with 95%
    intervals within this run, None where there is nothing before. ``rows`` are those it was tried on, None for all.
    ``remark`` says where a rung does not pay.
    """

    name: str
    shows: str
    cores: str
    aside: bool
    rows: int | None
    seconds: float
    low: float
    high: float
    operations: float
    bytes: float
    rate: float
    ceiling: float
    share: float
    over_before: timing.Ratio | None
    over_first: timing.Ratio | None
    remark: str


@dataclass(frozen=True, repr=False)
class Climb(display.Shown):
    """A ladder as it was measured on this machine. It shows itself as a table."""

    ladder: str
    title: str
    problem: str
    unit: str
    limit: str
    steps: list[Step]

    def to_dict(self) -> dict:
        """Everything as JSON has it."""
        return asdict(self)

    def head(self) -> list[str]:
        """What the table's columns are called."""
        return ["rung", "cores", "median", "quartiles", self.unit, "of ceiling", "over before", "over first"]

    def lines(self) -> list[list[str]]:
        """The table's cells, one list for each rung."""
        return [line_of(step) for step in self.steps]

    def notes(self) -> list[str]:
        """What there is to say below the table, one sentence a line."""
        aside = [f"{step.name}: a yardstick beside the ladder, no rung of it." for step in self.steps if step.aside]
        parts = [f"{step.name}: tried on {of_rows(step.rows)}." for step in self.steps if step.rows]
        remarks = [f"{step.name}: {step.remark}." for step in self.steps if step.remark]
        ceiling = f"The ceiling is {self.limit}, of as many cores; over before and over first are ratios of rates."
        return [ceiling, *aside, *parts, *remarks]

    def __rich_console__(self, console: object, options: object) -> Iterable[object]:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        yield Text(f"{self.title}: {self.problem}", "bold")
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        chosen = [place for place, head in enumerate(self.head()) if options.max_width >= WIDE or head != "quartiles"]
        for place in chosen:
            head = self.head()[place].replace(" ", "\n")
            table.add_column(head, justify="left" if place == 0 else "right", no_wrap=True)
        for line in self.lines():
            table.add_row(*(Text(line[place]) for place in chosen))
        yield table
        yield from (Text(note, "dim") for note in self.notes())

    def _html(self) -> str:
        body = [
            [f"<b>{escape(line[0])}</b><br/><small>{escape(step.shows)}</small>",
             *(escape(cell).replace(" ", "\N{NO-BREAK SPACE}") for cell in line[1:])]
            for step, line in zip(self.steps, self.lines(), strict=True)
        ]
        notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in self.notes())
        return f"<h3>{escape(self.title)}: {escape(self.problem)}</h3>{display.table(self.head(), body)}{notes}"


def line_of(step: Step) -> list[str]:
    ratios = ["" if ratio is None else times(ratio.value) for ratio in (step.over_before, step.over_first)]
    quartiles = f"{duration(step.low)} to {duration(step.high)}"
    return [step.name, step.cores, duration(step.seconds), quartiles, f"{step.rate:.3g}", percent(step.share), *ratios]


def of_rows(rows: int) -> str:
    return "one row only" if rows == 1 else f"{rows:,} rows only"


def run(
    ladder: Ladder,
    ceilings: Ceilings | None = None,
    *,
    size: tuple | None = None,
    budget_seconds: float = BUDGET_SECONDS,
    repeat: tuple[int, int] = (5, 100),
) -> Climb:
    """Check every rung against the reference, then time them in turns.

    ceilings: measured now where they are not given; size: of the problem, the ladder's own where it is not given;
    budget_seconds: for all samples, and repeat: how many there are of each rung, at least and at most. Raises
    ``timing.Disagreement`` (a ValueError) for a rung that computes something else; nothing is then timed.
    """
    ceilings = ceilings or ceilings_.measure()
    inputs = ladder.make(*(size or ladder.size), np.random.default_rng(0))
    parts = {rung.name: ladder.part(rung.rows, *inputs) if rung.rows else inputs for rung in ladder.rungs}
    calls = {rung.name: call_of(rung, parts[rung.name]) for rung in ladder.rungs}
    expected = {rung.rows: np.asarray(ladder.reference(*parts[rung.name])) for rung in by_rows(ladder.rungs)}
    for rung in ladder.rungs:
        ladder.reset(*inputs)
        check(ladder, rung.name, expected[rung.rows], calls[rung.name]())

    def begin(name):
        if cores[name] != ONE:  # the threads of the rung before are to leave the cores
            time.sleep(LINGERS)
        calls[name]()  # so that its own threads are awake, and its data near
        ladder.reset(*inputs)

    cores = {rung.name: rung.cores for rung in ladder.rungs}
    found = timing.compare(calls, prepare=begin, repeat=repeat, budget_seconds=budget_seconds)
    work = {name: ladder.work(*part) for name, part in parts.items()}
    steps = steps_of(ladder, found, work, ceilings)
    return Climb(ladder.name, ladder.title, ladder.describe(*inputs), ladder.unit, ladder.limit, steps)


def by_rows(rungs: Iterable[Rung]) -> list[Rung]:
    """One rung for each number of rows that any of them is tried on."""
    return list({rung.rows: rung for rung in rungs}.values())


def call_of(rung: Rung, inputs: tuple) -> Callable[[], object]:
    arguments = rung.prepare(*inputs) if rung.prepare else inputs
    return lambda: rung.call(*arguments)


def check(ladder: Ladder, name: str, expected: np.ndarray, found: object) -> None:
    """Raise ``timing.Disagreement`` where what a rung has found is not near enough to the reference."""
    error = timing.difference(expected, np.asarray(found, np.float64))
    if not error <= ladder.tolerance:
        raise timing.Disagreement(
            f"the rung {name!r} differs from the reference by {error:.2g} of the largest entry, more than "
            f"{ladder.tolerance:g}; nothing was timed"
        )


def steps_of(ladder: Ladder, found: timing.Comparison, work: dict[str, Work], ceilings: Ceilings) -> list[Step]:
    """Rates, shares and ratios of what was timed."""

    def over(before: Rung | None, rung: Rung) -> timing.Ratio | None:
        """The ratio of rates: as much faster as the seconds say, times as much work."""
        if before is None or before is rung:
            return None
        ratio = timing.ratio(found.samples[before.name], found.samples[rung.name])
        more = done[rung.name] / done[before.name]
        return timing.Ratio(ratio.value * more, ratio.low * more, ratio.high * more)

    done = {name: each.bytes if ladder.unit == "GB/s" else each.operations for name, each in work.items()}
    steps, first, before = [], ladder.rungs[0], None
    for rung in ladder.rungs:
        timed, all_of_it, over_before = found.timings[rung.name], work[rung.name], over(before, rung)
        rate, ceiling = done[rung.name] / timed.median / 1e9, ladder.ceiling(ceilings, rung.cores)
        steps.append(Step(
            rung.name, rung.shows, rung.cores, rung.aside, rung.rows, timed.median, timed.low, timed.high,
            all_of_it.operations, all_of_it.bytes, rate, ceiling, rate / ceiling, over_before, over(first, rung),
            "" if rung.aside else remark(over_before),
        ))  # fmt: skip
        before = before if rung.aside else rung
    return steps


def remark(over_before: timing.Ratio | None) -> str:
    """Whether the rung pays, where it does not: by the interval too, since a median alone tells chance as a gain."""
    if over_before is None or (over_before.value >= PAYS and over_before.low > 1):
        return ""
    if over_before.high < 1:
        return "does not pay here, it is slower"
    return f"does not pay here, {'it gains next to nothing' if over_before.low > 1 else 'there is no clear difference'}"
