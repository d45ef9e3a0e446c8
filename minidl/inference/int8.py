"""A network in whole numbers, as the engines run it: int8 weights, uint8 activations, int32 sums.

A number x stands as q = round(x / scale) + zero, in [0, 255] for what goes into a layer and, with zero = 0, in
[-127, 127] for weights, each unit with a scale of its own. So the layer's sum over the inputs k is

    sum_k x_k W_ku + b_u  =  x_scale scale_u (sum_k q_k W'_ku + offset_u),
    offset_u = round(b_u / (x_scale scale_u)) - x_zero sum_k W'_ku

with whole numbers in the brackets (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018, equation 7). Rounding is to the nearest, half to even. What is rounded to less
than 0 or more than 255 becomes 0 or 255, and a NaN 0.

Scale and zero of what goes into a layer are found beforehand, from data (static), or for each row when it comes, from
its least and largest entry and 0 (dynamic): scale = (largest - least) / 255, but no less than 2^-126, and
zero = round(-least / scale). Then the bias is added as the number that it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Int8Layer:
    """A normalization, where there is one before it, a dense layer and its activation.

    W: int8 (i, o); scale: float32 (o,), of W's units; bias: float32 (o,). activation: its code (contract.py).
    x_scale, x_zero: of what goes in; 0 where each row gets its own when it comes (dynamic). inputs * 255 * 127 and
        the bias in steps of the sum are less than 2^31 together, so that no sum leaves int32.
    mean, deviation: float32 (i,), of the normalization, or empty.
    """

    name: str
    W: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    activation: int
    x_scale: np.float32
    x_zero: int
    mean: np.ndarray
    deviation: np.ndarray

    @cached_property
    def totals(self) -> np.ndarray:
        """sum_k W_ku, int32 (o,)."""
        return self.W.sum(axis=0, dtype=np.int32)

    @cached_property
    def factor(self) -> np.ndarray:
        """What a unit of the sum is worth: x_scale * scale, float32 (o,)."""
        return self.x_scale * self.scale

    @cached_property
    def offset(self) -> np.ndarray:
        """The bias and the correction for x_zero, int32 (o,)."""
        return np.rint(self.bias / self.factor.astype(np.float64)).astype(np.int32) - self.x_zero * self.totals


@dataclass(frozen=True, eq=False)
class Int8Program:
    """What ``engine.predict_int8`` runs: layers, and a normalization behind the last one (or empty arrays).

    most_threads: how many a prediction may use; 0 is as many as pay. plans: where an engine keeps what it has worked
    out.
    """

    layers: tuple[Int8Layer, ...]
    mean: np.ndarray
    deviation: np.ndarray
    dynamic: bool
    most_threads: int = 0

    @cached_property
    def plans(self) -> dict:
        return {}

    def __getstate__(self) -> dict:
        """For copy.deepcopy and pickle: a plan is of this process, and may hold addresses."""
        return {name: value for name, value in vars(self).items() if name != "plans"}

    @property
    def inputs(self) -> int:
        return len(self.layers[0].W)

    @property
    def outputs(self) -> int:
        return self.layers[-1].W.shape[1]
