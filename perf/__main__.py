"""The command line of perf: ``python -m perf training | coldstart | ulp | report``."""

from __future__ import annotations

import argparse

from perf import coldstart, report, training, ulp

COMMANDS = {
    "training": (training.main, "an epoch on each engine, in turns: tiny, table, mnist/32, mnist/256"),
    "coldstart": (coldstart.main, "a fresh process to a trained and evaluated model, against JAX where installed"),
    "ulp": (ulp.main, "the error of the elementary functions over the float32 line, in a minute; --all over all of it"),
    "report": (report.main, "write the README's tables from perf/results"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (run, meaning) in COMMANDS.items():
        commands.add_parser(name, help=meaning, description=meaning).set_defaults(run=run)
    add = commands.choices["ulp"].add_argument
    add("functions", nargs="*", metavar="FUNCTION", help=f"which (default: {', '.join(ulp.FUNCTIONS)})")
    add("--all", action="store_true", help="all 2^32 values, which takes minutes for each function")
    options = vars(parser.parse_args())
    options.pop("run")(**options)


if __name__ == "__main__":
    main()
