"""A layer's weights in whole numbers, each unit with a step of its own, and whether they can be."""

from __future__ import annotations

import itertools

import numpy as np

from minidl.contract import SMALLEST_SCALE
from minidl.inference.int8 import Int8Layer, Int8Program
from minidl.inference.quantize.calibration import Stage

LARGEST_SUM = 2**31 - 1
LARGEST_PRODUCT = 255 * 127
MOST_INPUTS = (LARGEST_SUM - 2**24) // LARGEST_PRODUCT  # so that a bias with float32's digits can be added


def int8_layer(stage: Stage, x_scale: float | np.float32 = 0, x_zero: int = 0) -> Int8Layer:
    """The layer with weights from -127 to 127, symmetric, so that 0 stays 0; without a scale of x, for rows' own.

    A unit's scale is that of its largest weight. It is larger where the bias would not fit into int32: beside such a
    bias the weights are as nothing. A unit of zeros has scale 1.
    """
    inputs = len(stage.W)
    if inputs > MOST_INPUTS:
        raise ValueError(
            f"the layer {stage.name!r} has {inputs:,} inputs, but can be quantized with {MOST_INPUTS:,} at most: the "
            "sums of more could leave int32"
        )
    scale = np.abs(stage.W).max(axis=0).astype(np.float64) / 127
    scale[scale == 0] = 1
    scale = np.maximum(scale, SMALLEST_SCALE / min(1, x_scale or 1))  # so that their product is a number in float32
    if x_scale:
        room = (LARGEST_SUM - inputs * LARGEST_PRODUCT) / 2  # half of it: the scale is rounded
        scale = np.maximum(scale, np.abs(stage.b) / (room * float(x_scale)))
    scale = scale.astype(np.float32)
    W = np.clip(np.rint(stage.W / scale), -127, 127).astype(np.int8)
    numbers = stage.activation, np.float32(x_scale), x_zero
    return Int8Layer(stage.name, W, scale, stage.b, *numbers, stage.mean, stage.deviation)


def check(program: Int8Program) -> Int8Program:
    """The program; ValueError where a sum could leave int32, or what a step is worth is no number in float32."""
    for layer, following in itertools.zip_longest(program.layers, program.layers[1:]):
        worth, largest = [layer.scale], len(layer.W) * LARGEST_PRODUCT
        if not program.dynamic:
            worth.append(layer.factor)
            with np.errstate(all="ignore"):
                if following is not None:
                    worth.append(layer.factor / following.x_scale)
                largest += np.abs(layer.bias / layer.factor.astype(np.float64)).max()
        if not (largest <= LARGEST_SUM and all((one > 0).all() and np.isfinite(one).all() for one in worth)):
            raise ValueError(
                f"the layer {layer.name!r} cannot be quantized: its weights, its inputs and the next layer's are too "
                "large or too small beside each other"
            )
    return program
