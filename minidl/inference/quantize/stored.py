"""A quantized model as a dictionary that JSON can hold and arrays, and back; storage.py puts them into files.

As of other models nothing in such a file is trusted: what is not possible is refused.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from itertools import pairwise

import numpy as np

from minidl import checks, config
from minidl.data.schema import Schema
from minidl.engines import get_engine
from minidl.inference.int8 import Int8Layer, Int8Program
from minidl.inference.quantize.calibration import NONE
from minidl.inference.quantize.evaluated import Evaluated
from minidl.inference.quantize.quantized_model import QuantizedModel
from minidl.inference.quantize.ranges import METHODS
from minidl.inference.quantize.report import PARTS, LayerReport, Report
from minidl.inference.quantize.weights import check
from minidl.layers import ACTIVATIONS

FIELDS = ("layers", "normalized", "method", "rows", "engine", "compiled", "schema")
BEHIND = ""  # among the names of what is normalized: the outputs


def describe(model: QuantizedModel) -> tuple[dict, dict[str, np.ndarray]]:
    """All of a quantized model but what it has counted."""
    report, normalized = model.report, []
    arrays: dict[str, np.ndarray] = {}
    for layer in model.layers:
        arrays |= {f"{layer.name}/{name}": getattr(layer, name) for name in ("W", "scale", "bias")}
    owners: list[tuple[str, Int8Layer | Int8Program]] = [(layer.name, layer) for layer in model.layers]
    for name, owner in [*owners, (BEHIND, model._program)]:
        if owner.mean.size:
            normalized.append(name)
            arrays |= {f"{name}/mean": owner.mean, f"{name}/deviation": owner.deviation}
    configuration = {
        "layers": [asdict(layer) for layer in report.layers],
        "normalized": normalized,
        "method": report.method,
        "rows": report.rows,
        "engine": model.engine,
        "compiled": None if model.loss is None else config.judged(model.loss, model.metrics),
        "schema": None if model.schema is None else model.schema.to_dict(),
    }
    return configuration, arrays


def restore(configuration: dict, arrays: dict[str, np.ndarray], engine: str | None = None) -> QuantizedModel:
    """The model of this description with these arrays, on its own engine or the one given.

    Raises ValueError, TypeError, RuntimeError or OverflowError where there can be no such model.
    """
    configuration = {"compiled": None} | configuration  # which the first files did not have
    config.fields(configuration, FIELDS, "the configuration")
    method = configuration["method"]
    dynamic = method is None
    if not dynamic:
        checks.one_of(method, "method", METHODS)
        checks.whole_number(configuration["rows"], "rows", 1)
    layers = [layer_of(data, dynamic) for data in config.listed(configuration["layers"], "layers")]
    if not layers or len({layer.name for layer in layers}) < len(layers):
        raise ValueError("it has no layers, or two of one name")
    if any(layer.inputs != before.units for before, layer in pairwise(layers)):
        raise ValueError("a layer takes another number of inputs than the layer before it has units")
    widths = {layer.name: layer.inputs for layer in layers} | {BEHIND: layers[-1].units}
    normalized = config.listed(configuration["normalized"], "normalized")
    if unknown := [name for name in normalized if name not in widths]:
        raise ValueError(f"normalized names {checks.shown(unknown[0])}, but there is no such layer")
    arrays = checked(arrays, layers, {name: widths[name] for name in normalized})
    program = Int8Program(
        tuple(int8_layer(layer, arrays) for layer in layers), *normalization(BEHIND, arrays), dynamic
    )
    schema = configuration["schema"]
    if schema is not None:
        schema = Schema.from_dict(schema)
        if len(schema.features) != program.inputs:
            raise ValueError(f"the schema has {len(schema.features)} features, but the model takes {program.inputs}")
        schema.check_outputs(program.outputs)
    running = config.usable(configuration["engine"], engine)
    if running is None:
        raise ValueError("it has no engine")
    report = Report(tuple(layers), method, configuration["rows"])
    model = QuantizedModel(check(program), report, schema, get_engine(running))
    if configuration["compiled"] is not None:
        found = config.fields(configuration["compiled"], ("loss", "metrics"), "compiled")
        model.loss, model.metrics = config.judges(found)
        Evaluated(model)  # which refuses what does not go with the outputs
    return model


def layer_of(data: object, dynamic: bool) -> LayerReport:
    """What is said of one layer, every number of it possible."""
    names = tuple(field.name for field in fields(LayerReport))
    found = dict(config.fields(data, names, "a layer"))
    if not isinstance(found["name"], str) or not found["name"]:
        raise ValueError(f"the name of a layer must be a text, not {checks.shown(found['name'])}")
    checks.one_of(found["activation"], "activation", ACTIVATIONS)
    for name in ("inputs", "units"):
        checks.whole_number(found[name], name, 1)
    numbers = names[names.index("scale") :]
    if dynamic:
        if any(found[name] is not None for name in numbers):
            raise ValueError("a layer has a range, but there is no method")
        return LayerReport(**found)
    for name in ("scale", "signal", "noise", "clipped"):
        checks.number(found[name], name, 0)
    if checks.whole_number(found["zero"], "zero", 0) > 255:
        raise ValueError(f"zero must be at most 255, not {found['zero']}")
    if not checks.number(found["low"], "low", -np.inf) <= 0 <= checks.number(found["high"], "high", -np.inf):
        raise ValueError("0 is not between low and high")
    counts = [checks.whole_number(count, "a count", 0) for count in config.listed(found["counts"], "counts")]
    if len(counts) != PARTS:
        raise ValueError(f"there must be {PARTS} counts, not {len(counts)}")
    return LayerReport(**found | {"counts": tuple(counts)})


def checked(
    arrays: dict[str, np.ndarray], layers: list[LayerReport], normalized: dict[str, int]
) -> dict[str, np.ndarray]:
    """The arrays, once they are known to be those of these layers and normalizations."""
    wanted: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        shapes = {"W": (layer.inputs, layer.units), "scale": (layer.units,), "bias": (layer.units,)}
        wanted |= {f"{layer.name}/{name}": shape for name, shape in shapes.items()}
    for name, width in normalized.items():
        wanted |= {f"{name}/mean": (width,), f"{name}/deviation": (width,)}
    config.match(arrays, wanted)
    found = {}
    for name, array in arrays.items():
        kind = np.dtype(np.int8 if name.endswith("/W") else np.float32)
        if array.dtype != kind:
            raise ValueError(f"{name!r} is of {array.dtype}, but the model needs {kind}")
        found[name] = checks.clean(array, name, kind)
        if kind == np.int8 and array.min() < -127:
            raise ValueError(f"{name!r} holds -128, but weights are -127 to 127")
        if name.endswith(("/scale", "/deviation")) and array.min() <= 0:
            raise ValueError(f"{name!r} holds numbers that are not above 0")
    return found


def int8_layer(layer: LayerReport, arrays: dict[str, np.ndarray]) -> Int8Layer:
    W, scale, bias = (arrays[f"{layer.name}/{name}"] for name in ("W", "scale", "bias"))
    x_scale, x_zero = np.float32(layer.scale or 0), layer.zero or 0
    before = normalization(layer.name, arrays)
    return Int8Layer(layer.name, W, scale, bias, ACTIVATIONS[layer.activation], x_scale, x_zero, *before)


def normalization(name: str, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the normalization before this layer, or empty arrays."""
    return arrays.get(f"{name}/mean", NONE), arrays.get(f"{name}/deviation", NONE)
