"""Code to be read: a piece of Python or CUDA C++ as it stands in its file, in colours, with what it shows."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from minidl import display
from minidl.bench.ladders import Rung
from minidl.checks import one_of

CUDA = Path(__file__).parent.parent / "engines" / "cupy_engine"


@dataclass(frozen=True, repr=False)
class Listing(display.Shown):
    """A title, a sentence, where the code stands, and the code. It shows itself as text and in Jupyter.

    parts: (heading, code) of what is folded below the code.
    """

    title: str
    shows: str
    where: str
    code: str
    language: str = "python"
    parts: tuple[tuple[str, str], ...] = ()

    def __rich_console__(self, console: object, options: object) -> Iterator[object]:
        from rich.text import Text

        yield Text(self.title, "bold")
        yield Text(self.shows)
        yield Text("\n".join([self.code, *(code for _, code in self.parts)]))

    def _html(self) -> str:
        from minidl.explanation.highlight import as_html

        folded = "".join(
            f"<details><summary>{escape(heading)}</summary>{as_html(code, self.language)}</details>"
            for heading, code in self.parts
        )
        head = f"<h3>{escape(self.title)} <small>{escape(self.where)}</small></h3><p>{escape(self.shows)}</p>"
        return f'<div class="box">{head}{as_html(self.code, self.language)}{folded}</div>'


def rung(of: Rung) -> Listing:
    """A rung of a ladder: its own function, and folded below it the others that belong to it."""
    first, *others = functions(of.source)
    return Listing(of.name, of.shows, where(of.call), first, parts=tuple((name_of(code), code) for code in others))


def python(function: Callable, shows: str = "", also: tuple[Callable, ...] = ()) -> Listing:
    """A function of minidl, compiled or not, as it stands in its file; folded below it those to be seen also."""
    (name, code), *others = [(name_of(code), code) for code in map(code_of, (function, *also))]
    return Listing(getattr(function, "__qualname__", name), shows, where(function), code, parts=tuple(others))


def code_of(function: Callable) -> str:
    return textwrap.dedent(inspect.getsource(getattr(function, "py_func", function))).rstrip()


def where(function: Callable) -> str:
    """The file, from its package's folder on."""
    path = Path(inspect.unwrap(getattr(function, "py_func", function)).__code__.co_filename)
    return "/".join(path.parts[-2:])


def functions(source: str) -> list[str]:
    """The definitions of a text, which stand two lines apart, each with what is above it."""
    return [part.strip("\n") for part in re.split(r"\n\n(?=@|def )", source)]


def name_of(code: str) -> str:
    return re.search(r"def (\w+)", code)[1]


def cuda(file: str, name: str, shows: str = "") -> Listing:
    """A function or struct of the GPU's kernels, with the comment above it: ``cuda("dense.cuh", "forward_tile")``.

    file: "kernels.cu", or one of its chapters. ValueError for a file or a name that is not there.
    """
    chapters = {path.name: path for path in (CUDA / "kernels.cu", *sorted((CUDA / "cuda").glob("*.cuh")))}
    path = chapters[one_of(file, "file", chapters)]
    text = path.read_text(encoding="utf-8")
    return Listing(name, shows, path.relative_to(CUDA).as_posix(), definition(text, name, file), "cuda")


def definition(text: str, name: str, file: str) -> str:
    """From the comment above it to the brace in the first column that ends it, or to the end of a single line."""
    lines = text.split("\n")
    word = re.escape(name)
    before = r"(?:__global__|__device__|struct|enum|constexpr)\b(?:__launch_bounds__\([^)]*\)|[^;=(])*"
    begins = re.compile(rf"{before}\b{word}\b|{word}\(")
    place = next((at for at, line in enumerate(lines) if begins.match(line)), None)
    if place is None:
        raise ValueError(f"there is no {name!r} in {file}")
    first, last = place, place
    while first and re.match(r"//(?! ---)|template|__global__|__device__", lines[first - 1]):
        first -= 1
    while not lines[last].endswith(("}", "};")) or lines[last].startswith(" "):
        last += 1
    return "\n".join(lines[first : last + 1])
