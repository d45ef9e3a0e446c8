"""Tuning for this machine: the batch size and the network that are best within a bound on the time of a call.

``batch_size`` and ``pareto`` measure, ``structure`` searches (extra ``tune``: Optuna), ``LatencyModel`` predicts.
"""

from minidl.inference.tune.front import pareto
from minidl.inference.tune.latency import LatencyModel
from minidl.inference.tune.search import structure
from minidl.inference.tune.sizes import batch_size

__all__ = ["LatencyModel", "batch_size", "pareto", "structure"]
