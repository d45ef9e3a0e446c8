"""The command line of perf: ``python -m perf ceilings | ladder | training | coldstart | ulp | report``."""

from __future__ import annotations

import argparse

from perf import ceilings, coldstart, ladder, report, training, ulp

COMMANDS = {  # what it runs, what it does, and where it takes arguments a function that adds them to its parser
    "ceilings": (ceilings.main, "the most that this machine can do: multiply-adds, and bandwidth of caches and memory"),
    "ladder": (ladder.main, "from plain loops to all cores, each rung as a share of the ceiling", ladder.arguments),
    "training": (training.main, "an epoch on each engine, in turns: tiny, table, mnist/32, mnist/256"),
    "coldstart": (coldstart.main, "a fresh process to a trained and evaluated model, against JAX where installed"),
    "ulp": (ulp.main, "the error of the elementary functions over the float32 line, in a minute", ulp.arguments),
    "report": (report.main, "write the README's tables from perf/results"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (run, meaning, *more) in COMMANDS.items():
        command = commands.add_parser(name, help=meaning, description=meaning)
        command.set_defaults(run=run)
        for add_arguments in more:
            add_arguments(command)
    options = vars(parser.parse_args())
    options.pop("run")(**options)


if __name__ == "__main__":
    main()
