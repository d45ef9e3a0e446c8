"""The command line of perf: ``python -m perf training | coldstart | report``."""

from __future__ import annotations

import argparse

from perf import coldstart, report, training

COMMANDS = {
    "training": (training.main, "an epoch on each engine, in turns: tiny, table, mnist/32, mnist/256"),
    "coldstart": (coldstart.main, "a fresh process to a trained and evaluated model, against JAX where installed"),
    "report": (report.main, "write the README's tables from perf/results"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (run, meaning) in COMMANDS.items():
        commands.add_parser(name, help=meaning, description=meaning).set_defaults(run=run)
    parser.parse_args().run()


if __name__ == "__main__":
    main()
