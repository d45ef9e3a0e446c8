"""Where randomness comes from: one seed for each model, from which weights, shuffling and dropout are drawn apart."""

from __future__ import annotations

import numpy as np

from minidl import checks

WEIGHTS, SHUFFLING, DROPOUT = range(3)

_global = np.random.default_rng()


def set_random_seed(seed: int) -> None:
    """Make everything that follows repeatable: models made without a seed of their own take theirs from this one."""
    global _global
    _global = np.random.default_rng(checks.whole_number(seed, "seed", 0))


def fresh_seed() -> int:
    """A seed for a model that was given none."""
    return int(_global.integers(2**63))


def stream(seed: int, purpose: int) -> np.random.Generator:
    """The generator of one purpose: how many numbers one purpose draws does not change another's."""
    return np.random.default_rng([purpose, seed])


def dropout_seed(seed: int) -> int:
    """The seed of the dropout masks' counter-based generator (contract.py), below 2^63."""
    return int(stream(seed, DROPOUT).integers(2**63))
