"""``minidl compare``: the same network on every engine, side by side."""

from __future__ import annotations

import argparse
from dataclasses import fields

from minidl.cli import options
from minidl.cli.options import FAILED, INTERRUPTED, OK


def add(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "compare",
        help="train one network on every engine, check every formula, time it all",
        description=(
            "Trains the same network, from the same weights and on the same batches, with every\n"
            "engine; checks every formula against 40 digits; times everything side by side; and\n"
            "writes report.html, report.png and report.json."
        ),
        epilog=(
            "examples:  minidl compare\n"
            "           minidl compare flowers.csv --target blooms --hidden 32 --epochs 50"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("data", nargs="?", metavar="DATA.csv", help="a CSV with a header (default: the shipped data)")
    add("--target", metavar="COLUMN", help="the column of DATA.csv to predict")
    options.add_reading(add)
    options.add_network(add, epochs=10)
    add("--learning-rate", type=options.positive, default=0.001, metavar="R", help="Adam's step size (default: 0.001)")
    add("--engines", type=options.engine_names, metavar="NAME,...",
        help="engines to compare (default: all that can run here)")  # fmt: skip
    add("--out", default="minidl-compare", metavar="FOLDER", help="where the report goes (default: minidl-compare)")


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if given.data is None and (given.target is not None or given.labels is not None):
        parser.error("--target and --labels belong to a CSV, but no DATA.csv is given")
    from minidl.compare import experiment, report
    from minidl.interruption import Interruption

    settings = experiment.Settings(**{field.name: getattr(given, field.name) for field in fields(experiment.Settings)})
    task = experiment.load(settings)
    engines, reasons = experiment.choose_engines(settings.engines)
    folder = report.make_folder(given.out)
    stages = report.Stages()
    found = experiment.compare(settings, task, engines, reasons, stages)
    with Interruption():  # a Ctrl-C that comes now waits for the files; a second one does not
        what = "interrupted: writing what is finished" if found["interrupted"] else "writing the report"
        with stages(what, 1) as advance:
            files = report.write(found, folder)
            advance()
        report.show(found, files)
    if found["interrupted"]:
        return INTERRUPTED
    return FAILED if found["problems"] else OK
