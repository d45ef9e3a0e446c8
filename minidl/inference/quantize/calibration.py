"""The model in float32 over the calibration data: what each layer is given, and what whole numbers make of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minidl import checks
from minidl.contract import DEVIATION_FLOOR
from minidl.engines import Engine
from minidl.engines.numpy_engine.activations import FORWARD
from minidl.engines.numpy_engine.dense import dense
from minidl.engines.numpy_engine.infer import silently
from minidl.engines.numpy_engine.int8 import normalized, steps
from minidl.inference.int8 import Int8Program
from minidl.inference.quantize.ranges import Observed
from minidl.layers import ACTIVATIONS, Dense
from minidl.model import Sequential

CHUNK = 1024  # rows at a time
NONE = np.zeros(0, np.float32)


@dataclass
class Stage:
    """What becomes an Int8Layer, in float32: a normalization or empty arrays, a dense layer and its activation."""

    name: str
    W: np.ndarray
    b: np.ndarray
    activation: int
    mean: np.ndarray
    deviation: np.ndarray


def stages_of(folded: Sequential) -> tuple[list[Stage], tuple[np.ndarray, np.ndarray]]:
    """The layers of a folded model in stages, and the mean and deviation of a normalization behind the last."""
    stages, mean, deviation = [], NONE, NONE
    for layer in folded.layers:
        arrays = [
            checks.clean(array, f"{layer.name}/{name}", np.dtype(np.float32)).copy()
            for name, array in zip(layer.arrays, layer.weights, strict=True)
        ]
        if isinstance(layer, Dense):
            W, b = arrays
            stages.append(Stage(layer.name, W, b, ACTIVATIONS[layer.activation], mean, deviation))
            mean, deviation = NONE, NONE
            continue
        own = arrays[0], np.maximum(np.sqrt(arrays[1]), np.float32(DEVIATION_FLOOR))
        # Of two normalizations one behind the other: ((x - m) / d - m') / d' = (x - (m + d m')) / (d d')
        mean, deviation = (mean + deviation * own[0], deviation * own[1]) if mean.size else own
    return stages, (mean, deviation)


@silently
def run(stages: list[Stage], x: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """What each dense layer is given, and what it makes of it with its activation."""
    found = []
    for stage in stages:
        given = normalized(stage, x)
        x = FORWARD[stage.activation](dense(given, stage.W, stage.b))
        found.append((given, x))
    return found


def chunks(X: np.ndarray) -> Iterator[np.ndarray]:
    return (X[start : start + CHUNK] for start in range(0, len(X), CHUNK))


def observe(stages: list[Stage], X: np.ndarray) -> list[Observed]:
    """What each layer is given for these rows: first the ends, then the counts between them."""
    seen = [Observed() for _ in stages]
    for x in chunks(X):
        for one, stage, (given, made) in zip(seen, stages, run(stages, x), strict=True):
            if not (checks.all_finite(given) and checks.all_finite(made)):
                raise ValueError(f"the model cannot be quantized: {stage.name!r} makes NaN or infinity of some rows")
            one.stretch(given)
    for x in chunks(X):
        for one, (given, _) in zip(seen, run(stages, x), strict=True):
            one.count(given)
    return seen


def measure(
    program: Int8Program, stages: list[Stage], engine: Engine, X: np.ndarray
) -> list[tuple[float, float, float]]:
    """Of each layer over these rows: the mean square of its output, that of what the program's output is off, and the
    share of its inputs that lie outside of the range."""
    parts = [Int8Program(program.layers[: place + 1], NONE, NONE, False) for place in range(len(stages))]
    found = np.zeros((len(stages), 3))
    for x in chunks(X):
        for total, part, (given, made) in zip(found, parts, run(stages, x), strict=True):
            layer, out = part.layers[-1], np.empty(made.shape, np.float32)
            engine.predict_int8(part, x, out)
            step = steps(given, layer.x_scale, layer.x_zero)
            outside = np.mean((step < 0) | (step > 255))
            off = np.subtract(out, made, dtype=np.float64)
            total += len(x) * np.array([np.mean(np.square(made, dtype=np.float64)), np.mean(off * off), outside])
    return [tuple(total) for total in (found / len(X)).tolist()]
