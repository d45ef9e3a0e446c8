"""The command ``minidl``. What a command needs is imported when it runs, so that ``minidl --version`` is quick."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn, TextIO

from minidl import __version__
from minidl.cli import compare, explain, export, info, train, use
from minidl.cli.options import FAILED, INTERRUPTED, OK, USAGE, nearest


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
        known = list(commands[options.command]._option_string_actions)
        hint = f"; {nearest(unknown[0], known)}" if unknown[0].startswith("-") else ""
        commands[options.command].error(f"unexpected argument {unknown[0]!r}{hint}")
    stdout, sys.stdout = sys.stdout, Tolerant(sys.stdout)
    warnings.showwarning = lambda message, *_: print(f"minidl {options.command}: note: {message}", file=sys.stderr)
    try:
        return options.run(options, commands[options.command])
    except KeyboardInterrupt:
        return failed(options.command, "interrupted", INTERRUPTED)
    except (ValueError, RuntimeError, OSError) as error:
        return failed(options.command, str(error))
    except MemoryError as error:
        return failed(options.command, f"the memory does not suffice ({error}); try a smaller network or smaller data")
    finally:
        sys.stdout.flush()
        sys.stdout = stdout


class Tolerant(io.TextIOBase):
    """The standard output, where it goes to a program that may end before this one, as ``head`` does."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    @property
    def encoding(self) -> str:
        return self.stream.encoding

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except BrokenPipeError:
            self.give_up()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except BrokenPipeError:
            self.give_up()

    def give_up(self) -> None:
        """Nobody reads any more, and the work goes on."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())  # what the stream still holds goes there when the process ends
        os.close(nowhere)

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()


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
    for add in (compare.add, train.add, use.add_evaluate, use.add_predict, export.add, explain.add, info.add):
        add(commands)
    return parser, commands.choices


def failed(command: str, sentence: str, code: int = FAILED) -> int:
    print(f"minidl {command}: {' '.join(sentence.split())}", file=sys.stderr)
    return code
