"""The command ``minidl``. What a command needs is imported when it runs, so that ``minidl --version`` is quick."""

from __future__ import annotations

import argparse
import io
import math
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from minidl import __version__

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage around it."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code: 0 done, 1 the data or the model will not do, 2 wrong usage, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):  # where a terminal lacks a character, it shows "?" instead of failing
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    parser, commands = make_parser()
    options, unknown = parser.parse_known_args(arguments)
    if options.command is None:
        parser.print_help()
        return OK
    if unknown:
        known = [f"--{name.replace('_', '-')}" for name in vars(options)]
        hint = f"; {nearest(unknown[0], known)}" if unknown[0].startswith("-") else ""
        commands[options.command].error(f"unexpected argument {unknown[0]!r}{hint}")
    try:
        return options.run(options, commands[options.command])
    except KeyboardInterrupt:
        return failed(options.command, "interrupted", INTERRUPTED)
    except (ValueError, RuntimeError, OSError) as error:
        return failed(options.command, str(error))
    except MemoryError as error:
        return failed(options.command, f"the memory does not suffice ({error}); try a smaller network or smaller data")


def make_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser of ``minidl`` and those of its commands, by name. A further command is a further line here."""
    parser = Parser(
        prog="minidl",
        description="Multi-layer perceptrons, formula by formula, on NumPy, Numba and CuPy.",
        epilog="minidl COMMAND --help explains a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"minidl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    add_compare(commands)
    add_explain(commands)
    return parser, commands.choices


def failed(command: str, sentence: str, code: int = FAILED) -> int:
    print(f"minidl {command}: {' '.join(sentence.split())}", file=sys.stderr)
    return code


def nearest(name: str, known: Sequence[str]) -> str:
    from minidl.checks import did_you_mean

    return did_you_mean(name, known)


# --- compare --------------------------------------------------------------------------------------------------------


def add_compare(commands: argparse._SubParsersAction) -> None:
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
    parser.set_defaults(run=run_compare)
    add = parser.add_argument
    add("data", nargs="?", metavar="DATA.csv", help="numeric columns, one of them 0 or 1 (default: the shipped data)")
    add("--target", metavar="COLUMN", help="the column of DATA.csv to predict")
    add("--hidden", type=widths, default=(64, 64), metavar="UNITS,...", help="units of hidden layers (default: 64,64)")
    add("--epochs", type=whole_number(1), default=10, metavar="N", help="times through the training rows (default: 10)")
    add("--batch-size", type=whole_number(1), default=32, metavar="N", help="rows in a batch (default: 32)")
    add("--learning-rate", type=positive, default=0.001, metavar="R", help="Adam's step size (default: 0.001)")
    add("--engines", type=engine_names, metavar="NAME,...", help="engines to compare (default: all that can run here)")
    add("--seed", type=whole_number(0), default=0, metavar="N", help="of weights, batches and test rows (default: 0)")
    add("--out", default="minidl-compare", metavar="FOLDER", help="where the report goes (default: minidl-compare)")


def run_compare(options: argparse.Namespace, parser: Parser) -> int:
    if options.target is not None and options.data is None:
        parser.error("--target names a column of a CSV, but no DATA.csv is given")
    from minidl.compare import experiment, report
    from minidl.interruption import Interruption

    settings = experiment.Settings(
        data=options.data,
        target=options.target,
        hidden=options.hidden,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        engines=options.engines,
        seed=options.seed,
    )
    task = experiment.load(settings)
    engines, reasons = experiment.choose_engines(settings.engines)
    folder = report.make_folder(options.out)
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


# --- explain --------------------------------------------------------------------------------------------------------


def add_explain(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "explain",
        help="show a formula beside what each engine makes of it, with error and time",
        description=(
            "Shows a formula, its derivative and its stable form, and the source that computes it in\n"
            "each engine, with its error against 40 digits and its time, measured now."
        ),
        epilog=(
            "examples:  minidl explain\n"
            "           minidl explain sigmoid\n"
            "           minidl explain dense --full --html dense.html"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    parser.set_defaults(run=run_explain)
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="an operation or a formula (default: list all there are)")
    add("--full", action="store_true", help="show the functions that the engines call, too")
    add("--html", metavar="FILE", help="write it as a page as well")
    add("--no-measure", action="store_false", dest="measure", help="leave out error and time")


def run_explain(options: argparse.Namespace, parser: Parser) -> int:
    from rich.console import Console

    from minidl import display, explain
    from minidl.explanation.contents import name_of

    if options.name is not None:
        try:
            name_of(options.name)
        except ValueError as error:
            parser.error(str(error))
    if options.html is not None:
        display.check_writable(options.html)
    found = explain(options.name, measure=options.measure, full=options.full)
    Console(highlight=False).print(found)
    if options.html is not None:
        display.write(options.html, found.page().encode())
        print(f"written: {options.html}")
    return FAILED if getattr(found, "problems", ()) else OK


# --- values of options ----------------------------------------------------------------------------------------------


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
