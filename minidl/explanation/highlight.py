"""Code in colours, for terminals and for HTML: of a brightness that is read on white and on black alike."""

from __future__ import annotations

from typing import ClassVar

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import CudaLexer, PythonLexer
from pygments.style import Style
from pygments.token import Comment, Keyword, Name, Number, Operator, String
from rich.style import Style as RichStyle
from rich.text import Text

from minidl.looks import ENGINES, GREY


class Readable(Style):
    """Few colours, none of them light or dark."""

    styles: ClassVar = {
        Comment: f"italic {GREY}",
        Keyword: "#b655b0",
        Operator.Word: "#b655b0",
        Name.Function: f"bold {ENGINES['numpy']}",
        Name.Decorator: GREY,
        Name.Builtin: "#1f8a8a",
        Number: "#c2621b",
        String: "#38904a",
    }


LEXERS = {"python": PythonLexer, "cuda": CudaLexer}


def as_html(code: str, language: str = "python") -> str:
    """The code as a <pre> whose colours stand in it; lines that are too long are folded under themselves."""
    lexer = LEXERS[language](stripnl=False)
    coloured = highlight(code, lexer, HtmlFormatter(style=Readable, noclasses=True, nowrap=True))
    lines = [
        f'<span style="display:block;padding-left:{hang}ch;text-indent:-{hang}ch">{line or " "}</span>'
        for line, hang in zip(coloured.split("\n"), map(hanging, code.split("\n")), strict=False)
    ]
    return f"<pre><code>{''.join(lines)}</code></pre>"


def hanging(line: str) -> int:
    """How far in the rest of a line stands where it has to be folded: a comment's under its words."""
    indent = len(line) - len(line.lstrip())
    return indent + (2 if line.lstrip().startswith("#") else 3 if line.lstrip().startswith("//") else 8)


def as_text(code: str, width: int) -> Text:
    """The code for a terminal, lines that are too long folded under themselves."""
    text = Text()
    for kind, value in PythonLexer(stripnl=False).get_tokens(code):
        look = Readable.style_for_token(kind)  # without a colour of its own it has the terminal's
        colour = f"#{look['color']}" if look["color"] else None
        text.append(value, RichStyle(color=colour, bold=look["bold"] or None, italic=look["italic"] or None))
    text.rstrip()
    return Text("\n").join(part for line in text.split("\n") for part in folded(line, width))


def folded(line: Text, width: int) -> list[Text]:
    """A line in pieces of at most ``width`` characters, parted at spaces; all but the first stand further in."""
    line.rstrip()
    hang = " " * min(hanging(line.plain), width // 2)
    pieces = []
    while len(line.plain) > width:
        cut = line.plain.rfind(" ", len(line.plain) - len(line.plain.lstrip()) + 1, width + 1)
        cut = cut if cut > 0 else width
        piece, line = line.divide([cut])
        pieces.append(piece)
        rest = line.plain.lstrip()
        line = Text(hang) + line[len(line.plain) - len(rest) :]
    return [*pieces, line]
