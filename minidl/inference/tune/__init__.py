"""Tuning for this machine: the batch size and the network that are best within a bound on the time of a call.

``batch_size`` measures how many rows at a time give the most rows a second, ``pareto`` which of several models are
worth having, and ``structure`` searches for a network that is fast enough (extra ``tune``: Optuna). ``LatencyModel``
predicts the time of a call.
"""

from minidl.inference.tune.front import pareto
from minidl.inference.tune.latency import LatencyModel
from minidl.inference.tune.search import structure
from minidl.inference.tune.sizes import batch_size

__all__ = ["LatencyModel", "batch_size", "pareto", "structure"]
