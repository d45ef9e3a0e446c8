"""The source of an operation in an engine, and of what it calls there, read from the engine's files.

The files are parsed, not imported: so an engine that cannot run on this machine can be read on it. What stands in
them is what runs (the tests hold it against ``inspect``).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import minidl
from minidl.contract import Operation
from minidl.engines import ENGINES

HOME = Path(minidl.__file__).parent


@dataclass(frozen=True)
class Piece:
    """A definition of a file: its name, its file (from ``minidl/`` on), the line it begins in, and its text."""

    name: str
    file: str
    line: int
    text: str


def engines() -> list[str]:
    """The engines whose files are part of this version of minidl, whether they can run here or not."""
    return [name for name in ENGINES if (HOME / "engines" / f"{name}_engine").is_dir()]


def read(engine: str, operation: Operation) -> tuple[Piece, ...]:
    """The operation's source in this engine, followed by all of minidl that it uses, file by file; () if it has none.

    What it uses: functions, constants, and calls that register something for a function, as ``choose(exp, ...)`` does.
    """
    found: dict[tuple[str, int], Piece] = {}
    open_ends = [(file_of(f"minidl.engines.{engine}_engine.{operation.module}"), operation.name)]
    for file, name in open_ends:  # grows while it is read: what the callees use comes after all callees
        place = find(file, name)
        if place is None:
            continue
        home, node, name = place
        for part in (node, *home.registrations(name)):
            piece = home.piece(name, part)
            if (piece.file, piece.line) not in found:
                found[piece.file, piece.line] = piece
                open_ends += [follow(home, *reference) for reference in references(part)]
    if not found:
        return ()
    first, *others = found.values()
    files = list(dict.fromkeys(piece.file for piece in others))
    return first, *sorted(others, key=lambda piece: (files.index(piece.file), piece.line))


# --- files --------------------------------------------------------------------------------------------------------


class File:
    """One module: what it defines and what it imports from minidl, by name."""

    def __init__(self, path: Path):
        self.path = path
        self.lines = path.read_text(encoding="utf-8").splitlines()
        self.tree = ast.parse("\n".join(self.lines))

    @cached_property
    def statements(self) -> list[ast.stmt]:
        """The statements of the module itself, those inside its ifs and trys among them."""
        return list(unfolded(self.tree.body))

    @cached_property
    def definitions(self) -> dict[str, ast.stmt]:
        found: dict[str, ast.stmt] = {}
        for node in self.statements:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                parts = [part for target in targets for part in ast.walk(target)]
                found |= {part.id: node for part in parts if isinstance(part, ast.Name)}
        return found

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """For each name that comes from minidl, wherever it is imported: the module and its name there."""
        return {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "minidl"
            for alias in node.names
        }

    def registrations(self, name: str) -> list[ast.stmt]:
        """Calls that stand by themselves and whose first argument is this name."""
        return [
            node
            for node in self.statements
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and node.value.args
            and isinstance(node.value.args[0], ast.Name) and node.value.args[0].id == name
        ]  # fmt: skip

    def piece(self, name: str, node: ast.stmt) -> Piece:
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
        file = self.path.relative_to(HOME.parent).as_posix()
        return Piece(name, file, first, "\n".join(self.lines[first - 1 : node.end_lineno]))


@cache
def parsed(path: Path, changed: int) -> File:
    return File(path)


def file_of(module: str) -> File | None:
    """The file of a module of minidl, anew where it has changed; None for a package, and where there is none."""
    path = HOME.parent.joinpath(*module.split(".")).with_suffix(".py")
    return parsed(path, path.stat().st_mtime_ns) if path.is_file() else None


def unfolded(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            for inner in ("body", "handlers", "orelse", "finalbody"):
                for part in getattr(node, inner, ()):
                    yield from unfolded(part.body if isinstance(part, ast.ExceptHandler) else [part])


# --- names --------------------------------------------------------------------------------------------------------


def find(file: File | None, name: str) -> tuple[File, ast.stmt, str] | None:
    """Where a name is defined: there, or in the file it is imported from, under the name it has there."""
    while file is not None and name not in file.definitions:
        module, name = file.imports.get(name, ("", ""))
        file = file_of(module) if module else None
    return None if file is None else (file, file.definitions[name], name)


def follow(file: File, name: str, attribute: str) -> tuple[File | None, str]:
    """A name as it is used in a file, or ``name.attribute`` where the name is a module of minidl."""
    module = file_of(".".join(file.imports[name])) if name in file.imports else None
    return (file, name) if module is None else (module, attribute)


def references(node: ast.stmt) -> list[tuple[str, str]]:
    """The names that a definition uses without making them, each with the attribute taken of it, as they come.

    Decorators and annotations are left out: they say how a function is compiled, not what it computes.
    """
    inside: list[ast.AST] = [node]
    if isinstance(node, ast.FunctionDef):
        inside = [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]
    elif isinstance(node, ast.ClassDef):
        inside = [*node.bases, *node.body]
    parts = [part for part in inside for part in ast.walk(part)]
    own = {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}
    own |= {part.id for part in parts if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load)}
    own |= {part.name for part in parts if isinstance(part, ast.FunctionDef | ast.ClassDef)}
    used = {id(part.value): part.attr for part in parts if isinstance(part, ast.Attribute)}
    names = [part for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)]
    names.sort(key=lambda part: (part.lineno, part.col_offset))
    return [(part.id, used.get(id(part), "")) for part in names if part.id not in own]
