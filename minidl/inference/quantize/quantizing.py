"""minidl.quantize: from a trained model in floating point to one in whole numbers."""

from __future__ import annotations

import warnings

import numpy as np

from minidl import checks, storage
from minidl.inference.fold import fold
from minidl.inference.int8 import Int8Program
from minidl.inference.quantize import calibration
from minidl.inference.quantize.quantized_model import QuantizedModel
from minidl.inference.quantize.ranges import METHODS, scale_and_zero
from minidl.inference.quantize.report import Report
from minidl.inference.quantize.weights import check, int8_layer
from minidl.layers import Normalization
from minidl.model import Sequential

NOISY = 15  # decibels of signal to noise below which decisions begin to change
LEAST_ROWS = 10  # with fewer there is hardly a range to be seen; some hundreds are better


def quantize(
    model: Sequential, calibration_data: object = None, method: str = "minmax", dynamic: bool = False
) -> QuantizedModel:
    """The model in whole numbers: weights int8, inputs of layers uint8, sums int32; it predicts on the same engine.

    calibration_data: rows like those that the model will see, best some hundreds of the training data: an array, a
        pandas table or a ``minidl.data.Table``, as for ``predict``. From them the range of each layer's inputs is
        found, which 256 steps then cover; what lies beyond counts as the range's end.
    method: how: "minmax", all that was seen; "percentile", all but the outermost 0.01% on each side; "entropy", what
        changes the distribution least (minidl/inference/quantize/ranges.py).
    dynamic: instead, each row has its own range before each layer, found when it comes: slower, nothing lies beyond,
        and no calibration_data.

    Weights are rounded to -127 ... 127 steps, each unit with its own step. The model is folded first (Dropout left out,
    layers joined where that is less work); Normalizations are computed in float32, before the layer behind them is
    quantized. A float64 model is quantized as its weights are in float32. The model itself is not changed.

    Raises TypeError for anything but a Sequential and where calibration_data is missing; RuntimeError for a model that
    is not built; ValueError for one without a Dense layer, with NaN or infinity among its weights, a Normalization that
    has seen no data or a layer of more than 65,793 inputs (whose sums could leave int32), and for calibration_data that
    do not fit the model, hold NaN or infinity, have fewer than 10 rows or no two different ones, or are given to
    ``dynamic``.
    """
    checks.one_of(method, "method", METHODS)
    dynamic = checks.truth(dynamic, "dynamic")
    folded = in_float32(model)
    stages, behind = calibration.stages_of(folded)
    if dynamic:
        if calibration_data is not None:
            raise ValueError("with dynamic=True each row has its own range; leave calibration_data out")
        program = check(Int8Program(tuple(map(int8_layer, stages)), *behind, True))
        report = Report.without_data(program)
    else:
        X = rows(folded, calibration_data)
        seen = calibration.observe(stages, X)
        ranges = [scale_and_zero(*METHODS[method](one)) for one in seen]
        layers = [int8_layer(stage, *found) for stage, found in zip(stages, ranges, strict=True)]
        program = check(Int8Program(tuple(layers), *behind, False))
        measured = calibration.measure(program, stages, folded._engine, X)
        report = Report.of(program, seen, measured, method, len(X))
        warn_of_noise(report)
    return QuantizedModel(program, report, folded.schema, folded._engine, model.loss, model.metrics)


def warn_of_noise(report: Report) -> None:
    """Say which layer keeps the least of its signal, where that is little."""
    worst = min(report.layers, key=lambda layer: layer.sqnr)
    if worst.sqnr < NOISY:
        warnings.warn(
            f"the layer {worst.name!r} keeps little of its signal in whole numbers ({worst.decibels} above the noise); "
            "train with a Normalization in front of it, or try another method",
            stacklevel=3,
        )


def in_float32(model: object) -> Sequential:
    """The model folded, in float32, once it is known that it can be quantized."""
    if isinstance(model, QuantizedModel):
        raise TypeError("the model is quantized already; quantize the one that it was made of")
    if not isinstance(model, Sequential):
        raise TypeError(f"only a minidl.Sequential can be quantized, not {checks.shown(model)}")
    model._require_built()
    with storage.explained("the model cannot be quantized", ValueError):
        for name, array in storage.weights_of(model).items():
            checks.clean(array, name, np.dtype(np.float32))
        for layer in model.layers:
            if isinstance(layer, Normalization) and not layer.adapted:
                raise ValueError(f"the normalization {layer.name!r} has seen no data; call its adapt, or fit, first")
        folded, _ = fold(model, normalization=False)
    if folded._dtype != np.float32:
        folded._dtype = np.dtype(np.float32)
        folded._flatten()
    return folded


def rows(folded: Sequential, calibration_data: object) -> np.ndarray:
    """The calibration data as float32 (rows, inputs), once they are known to show a range."""
    name = "calibration_data"
    if calibration_data is None:
        raise TypeError(f"{name} is missing: give some hundred rows like those to be predicted, or dynamic=True")
    X = folded._features(calibration_data, name=name)
    if len(X) < LEAST_ROWS:
        raise ValueError(f"{name} has too few rows, {len(X)}: give at least {LEAST_ROWS}, best some hundreds")
    if not np.ptp(X, axis=0).any():
        raise ValueError(f"{name} shows no range, since all of its {len(X)} rows are equal; give rows that differ")
    return X
