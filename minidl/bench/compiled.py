"""The Numba engine's ``njit`` for the kernels of this folder, whose compile cache notices when this folder changes."""

from __future__ import annotations

from pathlib import Path

from minidl.engines.numba_engine import cache

STAMP = cache.stamp_of(sorted(Path(__file__).parent.rglob("*.py")))


def njit(fastmath: frozenset[str] | set[str] = frozenset({"contract"})):
    """``cache.njit`` of the engine, with this folder's stamp."""

    def compiled(function):
        dispatcher = cache.njit(fastmath=fastmath)(function)
        if isinstance(dispatcher._cache, cache.Cache):
            dispatcher._cache._cache_file._source_stamp = STAMP
        return dispatcher

    return compiled
