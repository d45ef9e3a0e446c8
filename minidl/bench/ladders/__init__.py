"""Ladders: one computation from plain loops to all that the machine can do, every rung checked, timed and shown."""

from __future__ import annotations

import importlib

from minidl.bench.ladders.ladder import BUDGET_SECONDS, Climb, Ladder, Rung, Step, Work, call_of, run
from minidl.checks import one_of

NAMES = {"dense": "dense", "activations": "activations", "epoch": "epoch", "epoch-large": "epoch"}  # and their files


def get(name: str) -> Ladder:
    """The ladder of this name; ValueError for an unknown one, RuntimeError where Numba cannot run."""
    from minidl.engines import get_engine

    one_of(name, "ladder", NAMES)
    get_engine("numba")  # says what is missing
    return importlib.import_module(f"minidl.bench.ladders.{NAMES[name]}").LADDERS[name]


__all__ = ["BUDGET_SECONDS", "NAMES", "Climb", "Ladder", "Rung", "Step", "Work", "call_of", "get", "run"]
