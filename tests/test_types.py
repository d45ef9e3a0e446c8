"""Types for those who use minidl: the package says that it has them, and names for them all that it has."""

import ast
import inspect
from pathlib import Path

import pytest

import minidl


def test_the_package_says_that_it_has_types():
    assert (Path(minidl.__file__).parent / "py.typed").exists()


def test_every_public_name_is_there_for_type_checkers_from_the_same_home():
    """They do not run ``__getattr__``, so each name is imported once more where only they look."""
    tree = ast.parse(Path(minidl.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    found = {}
    for line in block.body:
        (alias,) = line.names
        assert alias.asname == alias.name  # which is how a stub says that the name is to be had from here
        found[alias.name] = line.module
    expected = {name: f"minidl.{home}" for name, home in minidl._HOME.items()}
    expected |= dict.fromkeys(minidl._MODULES, "minidl") | dict.fromkeys(minidl._INFERENCE, "minidl.inference")
    assert found == expected


CLASSES = [getattr(minidl, name) for name in minidl.__all__ if inspect.isclass(getattr(minidl, name))]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_public_methods_are_annotated(kind):
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if name.startswith("_") and name != "__init__":
            continue
        signature = inspect.signature(method)
        bare = [p for p in list(signature.parameters.values())[1:] if p.annotation is p.empty]
        assert not bare, f"{kind.__name__}.{name} {bare}"
        assert name == "__init__" or signature.return_annotation is not signature.empty, name


@pytest.mark.parametrize("module", [*minidl._MODULES, *minidl._INFERENCE])
def test_public_functions_are_annotated(module):
    home = getattr(minidl, module)
    for name, function in inspect.getmembers(home, inspect.isfunction):
        if not name.startswith("_") and function.__module__.startswith(home.__name__):
            signature = inspect.signature(function)
            assert signature.return_annotation is not signature.empty, name
            assert all(p.annotation is not p.empty for p in signature.parameters.values()), name
