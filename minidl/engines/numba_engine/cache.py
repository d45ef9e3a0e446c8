"""Numba's ``njit`` with a compile cache that notices every change, says when it compiles, and never stops a run."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numba
from numba.core.caching import FunctionCache

from minidl import contract

# Numba looks at the one file a function stands in. A compiled function here holds code of the files beside it, so the
# stamp of every function is made from all of them.
SOURCES = [*sorted(Path(__file__).parent.glob("*.py")), Path(contract.__file__)]


def stamp_of(sources: list[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


STAMP = stamp_of(SOURCES)


def njit(
    cache: bool = True, fastmath: frozenset[str] | set[str] = frozenset({"contract"}), inline: str = "never",
    counts: bool = True,
):  # fmt: skip
    """``numba.njit`` as this engine uses it.

    Of the fast-math flags only ``contract`` (a multiplication and an addition may become one fused operation, rounded
    once) and, where a function asks for it, ``reassoc`` (a sum may be taken in another order) are ever set: NaN and
    infinity must pass through. Division by zero gives infinity as in NumPy, and the GIL is released.

    Where nothing ``counts`` references to arrays, a function may make none, and is called by one that keeps those it is
    given.
    """
    options = {
        "fastmath": set(fastmath), "inline": inline, "error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True,
        "_nrt": counts,
    }  # fmt: skip

    def compiled(function):
        dispatcher = numba.njit(**options)(function)
        if cache:
            try:
                dispatcher._cache = Cache(function)
            except (OSError, RuntimeError) as error:  # no folder can be written
                say_once("uncached", f"minidl: compiled code cannot be kept ({error}); it is compiled in every run")
        return dispatcher

    return compiled


class Cache(FunctionCache):
    """A function's compile cache: where loading or saving fails, the function is compiled as if for the first time."""

    def __init__(self, function):
        super().__init__(function)
        self._cache_file._source_stamp = STAMP

    def load_overload(self, signature, target_context):
        try:
            found = super().load_overload(signature, target_context)
        except Exception:  # a damaged file raises whatever unpickling it comes upon
            found = None
        if found is None:
            say_once(
                "compiling",
                "minidl: compiling what the Numba engine needs for this processor (about 20 s for a first training, in "
                f"float32 and again in float64; less for an operation); kept in {self.cache_path}",
            )
        return found

    def save_overload(self, signature, compiled):
        try:
            super().save_overload(signature, compiled)
        except Exception:  # saving reads the index first: a damaged one is begun anew
            self.save_anew(signature, compiled)

    def save_anew(self, signature, compiled):
        try:
            self.flush()
            super().save_overload(signature, compiled)
        except OSError as error:
            say_once("uncached", f"minidl: compiled code cannot be kept ({error}); it is compiled in every run")


_said: set[str] = set()


def say_once(what: str, sentence: str) -> None:
    if what not in _said:
        _said.add(what)
        print(sentence, file=sys.stderr, flush=True)
