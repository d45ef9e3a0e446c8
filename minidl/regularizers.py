"""Penalties on the weights of a dense layer, by Keras's names."""

from __future__ import annotations

from dataclasses import dataclass

from minidl import checks


@dataclass(frozen=True)
class L1L2:
    """Adds l1 sum |w| + l2 sum w^2 to the loss (formulas "l1", "l2")."""

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self):
        checks.number(self.l1, "l1", 0)
        checks.number(self.l2, "l2", 0)


def L1(l1: float = 0.01) -> L1L2:
    """Adds l1 sum |w| to the loss."""
    return L1L2(l1=l1)


def L2(l2: float = 0.01) -> L1L2:
    """Adds l2 sum w^2 to the loss."""
    return L1L2(l2=l2)


REGULARIZERS = {"l1": L1L2(l1=0.01), "l2": L1L2(l2=0.01), "l1_l2": L1L2(0.01, 0.01)}


def get(regularizer: str | L1L2 | None) -> L1L2:
    """The regularizer of this name; None is none at all."""
    if regularizer is None:
        return L1L2()
    if isinstance(regularizer, L1L2):
        return regularizer
    if isinstance(regularizer, str) and regularizer in REGULARIZERS:
        return REGULARIZERS[regularizer]
    hint = checks.did_you_mean(regularizer, REGULARIZERS)
    raise ValueError(f"unknown regularizer {checks.shown(regularizer)}; {hint}")
