"""Pruning: weights become zero or whole units go, training goes on without them, and where that pays is measured.

``magnitude`` and ``two_of_four`` put zeros in, ``KeepZeros`` keeps them while training goes on, ``sparsity`` counts
them. ``units`` makes a smaller model. ``payoff`` measures on this machine which of them is faster, and from where on.
"""

from minidl.inference.prune.hidden_units import units
from minidl.inference.prune.keep_zeros import KeepZeros
from minidl.inference.prune.weights import magnitude, sparsity, two_of_four
from minidl.inference.prune.where_it_pays import payoff

__all__ = ["KeepZeros", "magnitude", "payoff", "sparsity", "two_of_four", "units"]
