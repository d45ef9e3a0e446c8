"""The ladders: one computation from plain loops to all cores, every rung as a share of the machine's ceiling."""

from __future__ import annotations

import argparse

from minidl.bench import ceilings, ladders, machine
from minidl.checks import number
from perf import results_file
from perf.ceilings import warn_if_busy


def arguments(parser: argparse.ArgumentParser) -> None:
    known = ", ".join(ladders.NAMES)
    parser.add_argument("names", nargs="*", metavar="LADDER", help=f"of {known}; all of them where none is named")
    parser.add_argument("--seconds", type=float, default=ladders.BUDGET_SECONDS, metavar="S",
                        help="how long the samples of a ladder may take (default: %(default)g)")  # fmt: skip


def main(names: list[str], seconds: float) -> None:
    try:
        chosen = [ladders.get(name) for name in names or ladders.NAMES]
        seconds = number(seconds, "--seconds", 0)
        warn_if_busy()
        print("measuring the machine's ceilings ...", flush=True)
        limits = ceilings.measure()
        for ladder in chosen:
            print(f"{ladder.name}: {len(ladder.rungs)} rungs, checked and then timed in turns ...", flush=True)
            show(ladders.run(ladder, limits, budget_seconds=seconds), limits)
    except (ValueError, RuntimeError) as error:
        raise SystemExit(f"perf ladder: {error}") from None


def show(climb: ladders.Climb, limits: ceilings.Ceilings) -> None:
    """Print it, and keep it as JSON and as a picture."""
    from minidl.bench import pictures
    from minidl.plots import png

    print(climb)
    name = f"ladder-{climb.ladder}"
    content = {"machine": machine.facts(), "ceilings": limits.to_dict(), "climb": climb.to_dict()}
    print(f"written to {results_file.write(name, content)}")
    print(f"and {results_file.picture(name, png(pictures.of_climb(climb, limits)))}\n")
