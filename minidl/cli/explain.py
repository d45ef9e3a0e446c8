"""``minidl explain``: a formula beside what each engine makes of it."""

from __future__ import annotations

import argparse

from minidl.cli.options import FAILED, OK


def add(commands: argparse._SubParsersAction) -> None:
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
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help="an operation or a formula (default: list all there are)")
    add("--full", action="store_true", help="show the functions that the engines call, too")
    add("--html", metavar="FILE", help="write it as a page as well")
    add("--no-measure", action="store_false", dest="measure", help="leave out error and time")


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from rich.console import Console

    from minidl import explain, files
    from minidl.explanation.contents import name_of

    if given.name is not None:
        try:
            name_of(given.name)
        except ValueError as error:
            parser.error(str(error))
    if given.html is not None:
        files.writable(given.html)
    found = explain(given.name, measure=given.measure, full=given.full)
    Console(highlight=False).print(found)
    if given.html is not None:
        files.replace(given.html, found.page().encode())
        print(f"written: {given.html}")
    return FAILED if getattr(found, "problems", ()) else OK
