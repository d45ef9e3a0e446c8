"""A model as a dictionary that JSON can hold, and back: settings by name, from a fixed list of classes.

Nothing in such a dictionary is trusted: no class outside the list is made, every setting goes through its class's own
checks, and no array is made before the arrays at hand are known to have the right shapes.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from typing import Any

import numpy as np

from minidl import checks, engines, initializers, layers, losses, metrics, optimizers, program, regularizers, seeds
from minidl.data import Schema
from minidl.model import Sequential

CLASSES = {
    "layer": (layers.Dense, layers.Dropout, layers.Normalization),
    "optimizer": tuple(optimizers.OPTIMIZERS.values()),
    "loss": tuple(dict.fromkeys(losses.LOSSES.values())),
    "metric": tuple(dict.fromkeys(made for made in metrics.METRICS.values() if isinstance(made, type))),
    "regularizer": (regularizers.L1L2,),
}
SLOTS = "optimizer/slots"  # no layer's array is called so
INITIALIZERS = ("kernel_initializer", "bias_initializer")
FIELDS = ("layers", "built", "adapted", "seed", "dtype", "engine", "compiled", "step", "generators", "schema")


# --- a model described ----------------------------------------------------------------------------------------------


def describe(model: Sequential, include_optimizer: bool) -> dict:
    """All of a model but its arrays.

    Raises ValueError for what a file cannot hold, RuntimeError where ``include_optimizer`` asks for a training that
    could not go on, because layers or optimizer were changed after ``compile``.
    """
    compiled = model.optimizer is not None
    going_on = include_optimizer and compiled and model.built
    if going_on and not up_to_date(model):
        raise RuntimeError(
            "a layer or the optimizer was changed after compile, so the training cannot be saved to go on exactly; "
            "compile again, or save without include_optimizer"
        )
    schema = model.schema
    return {
        "layers": [described("layer", layer) for layer in model.layers],
        "built": [layer.name for layer in model.layers if layer.built],
        "adapted": adapted(model),
        "seed": model.seed,
        "dtype": str(model._dtype),
        "engine": model._engine and model._engine.name,
        "compiled": {
            "optimizer": described("optimizer", model.optimizer),
            **judged(model._loss, model._metrics),
        }
        if compiled
        else None,
        "step": int(model._program.step) if going_on else None,
        "generators": {"weights": state(model._draw_weights), "shuffling": state(model._shuffle)},
        "schema": None if schema is None else fitting(schema, model).to_dict(),
    }


def judged(loss: losses.Loss, chosen: list[metrics.Metric]) -> dict:
    """What a model is judged by; ``judges`` makes it again."""
    return {"loss": described("loss", loss), "metrics": [described("metric", metric) for metric in chosen]}


def described(kind: str, thing: Any) -> dict:
    """The name of a thing's class and what its constructor takes, under the names it has there."""
    cls = type(thing)
    if cls not in CLASSES[kind]:
        known = ", ".join(known.__name__ for known in CLASSES[kind])
        raise ValueError(f"it has a {kind} of the class {cls.__name__}, but only {known} can be named in a file")
    found = {name: plain(getattr(thing, name)) for name in inspect.signature(cls).parameters}
    if any(found.get(name, "") is None for name in INITIALIZERS) and not thing.built:
        raise ValueError(
            f"the layer {thing.name!r} still needs its initializer, a function that no file can hold; use one by its "
            "name, or build the model before it is saved"
        )
    found = {"class": cls.__name__, **found}
    made(kind, found)  # a setting that was changed into something impossible is found out now, not when it is read
    return found


def plain(value: object) -> object:
    """A setting as JSON has it. An initializer of the user's own is None: once a layer is built it has no use."""
    if isinstance(value, regularizers.L1L2):
        return described("regularizer", value)
    if callable(value):
        return next((name for name, known in initializers.INITIALIZERS.items() if known is value), None)
    if isinstance(value, np.generic):
        return value.item()
    return list(value) if isinstance(value, tuple) else value


def adapted(model: Sequential) -> list[str]:
    """The names of the normalizations that have seen data."""
    return [layer.name for layer in model.layers if getattr(layer, "adapted", False)]


def up_to_date(model: Sequential) -> bool:
    """Whether compiling again would change nothing but the optimizer's memory."""
    twins = [copy.copy(layer) for layer in model.layers]  # flatten binds the arrays of the layers it is given
    now, fresh = model._program, program.flatten(twins, model._dtype, seeds.dropout_seed(model.seed))
    same = (np.array_equal(getattr(now, name), getattr(fresh, name)) for name in ("table", "numbers", "starts"))
    optimizer = model.optimizer
    return (
        all(same)
        and (now.trainable, now.seed) == (fresh.trainable, fresh.seed)
        and (now.optimizer, len(now.slots)) == (optimizer.code, optimizer.slots)
    )


def state(generator: np.random.Generator) -> dict:
    """Where a generator stands: whole numbers below 2^128."""
    whole = generator.bit_generator.state
    return {**whole["state"], "has_uint32": whole["has_uint32"], "uinteger": whole["uinteger"]}


# --- and made again -------------------------------------------------------------------------------------------------


def restore(configuration: dict, arrays: dict[str, np.ndarray], engine: str | None = None) -> Sequential:
    """The model of this description with these arrays, by name ("dense/W"); on its own engine or the one given.

    Raises ValueError, TypeError, RuntimeError or OverflowError where there can be no such model.
    """
    fields(configuration, FIELDS, "the configuration")
    model = Sequential(seed=checks.whole_number(configuration["seed"], "seed", 0))
    model.layers = layers_of(configuration, model)
    if configuration["dtype"] not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', not {checks.shown(configuration['dtype'])}")
    model._dtype = np.dtype(configuration["dtype"])
    slots = arrays.pop(SLOTS, None)
    give_arrays(model, arrays)
    engine = usable(configuration["engine"], engine)
    if configuration["compiled"] is not None:
        compile_like(model, configuration["compiled"], engine)
    elif engine is not None:
        model._engine = engines.get_engine(engine)
    if model.layers and model.layers[0].built:
        model._build(model.layers[0].inputs)  # draws nothing, since every layer has its arrays
    go_on(model, configuration["step"], slots)
    generators = fields(configuration["generators"], ("weights", "shuffling"), "generators")
    set_state(model._draw_weights, generators["weights"])
    set_state(model._shuffle, generators["shuffling"])
    if configuration["schema"] is not None:
        model.schema = fitting(Schema.from_dict(configuration["schema"]), model)
    return model


def made(kind: str, data: Any) -> Any:
    """The thing that ``described`` described. An initializer that is None is the class's usual one."""
    known = {cls.__name__: cls for cls in CLASSES[kind]}
    name = data.get("class") if isinstance(data, dict) else None
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"there is no {kind} {checks.shown(data if name is None else name)}")
    settings = tuple(inspect.signature(known[name]).parameters)
    fields(data, ("class", *settings), f"the {kind} {name}")
    chosen = {setting: data[setting] for setting in settings}
    if "name" in chosen and not (isinstance(chosen["name"], str) and chosen["name"]):
        raise ValueError(f"the name of a {kind} must be a text, not {checks.shown(chosen['name'])}")
    if "kernel_regularizer" in chosen:
        chosen["kernel_regularizer"] = made("regularizer", chosen["kernel_regularizer"])
    for setting in INITIALIZERS:
        if chosen.get(setting, "") is None:
            del chosen[setting]
    return known[name](**chosen)


def layers_of(configuration: dict, owner: Sequential) -> list[layers.Layer]:
    """The layers, those that are built still without their arrays."""
    found = [made("layer", data) for data in listed(configuration["layers"], "layers")]
    by_name = {layer.name: layer for layer in found}
    if len(by_name) < len(found):
        raise ValueError("two layers have the same name")
    for layer in named(by_name, configuration["built"], "built"):
        if layer.inputs is None:
            raise ValueError(f"the layer {layer.name!r} is built, but has no input_shape")
        layer.built = True
    for layer in named(by_name, configuration["adapted"], "adapted"):
        if not (isinstance(layer, layers.Normalization) and layer.built):
            raise ValueError(f"the layer {layer.name!r} cannot be adapted")
        layer.adapted = True
    for layer in found:
        layer.owner = owner
        if found[0].inputs is not None and not layer.built:
            raise ValueError(f"the layer {layer.name!r} must be built, since the first one has an input_shape")
    return found


def give_arrays(model: Sequential, arrays: dict[str, np.ndarray]) -> None:
    """Give each built layer its arrays."""
    built = [layer for layer in model.layers if layer.built]
    dtype = model._dtype if built and built[0] is model.layers[0] else np.dtype(np.float64)  # adapted before the rest
    match(arrays, {f"{layer.name}/{array}": shape for layer in built for array, shape in shapes(layer)}, dtype)
    for layer in built:
        for array, _ in shapes(layer):
            name = f"{layer.name}/{array}"
            layer.bind(array, checks.clean(arrays[name], name, dtype))
        if isinstance(layer, layers.Dense) and not layer.use_bias:
            layer.bind("b", np.zeros(layer.units, dtype))


def shapes(layer: layers.Layer) -> list[tuple[str, tuple[int, ...]]]:
    """The names and shapes of a built layer's arrays."""
    if isinstance(layer, layers.Dense):
        return [("W", (layer.inputs, layer.units)), ("b", (layer.units,))][: 2 if layer.use_bias else 1]
    return [(array, (layer.inputs,)) for array in layer.arrays]


def match(arrays: dict, wanted: dict[str, tuple[int, ...]], dtype: np.dtype | None = None) -> None:
    """ValueError unless the arrays are those that are wanted, by name and shape, and where given in the dtype."""
    for name, shape in wanted.items():
        if name not in arrays:
            raise ValueError(f"the array {name!r} is missing")
        found = arrays[name]
        if found.shape != shape:
            raise ValueError(f"{name!r} has the shape {found.shape}, but the model needs {shape}")
        if dtype not in (None, found.dtype):
            raise ValueError(f"{name!r} is of {found.dtype}, but the model needs {dtype}")
    if extra := sorted(arrays.keys() - wanted.keys()):  # sorted, since safetensors gives arrays in any order
        raise ValueError(f"it holds an array {checks.shown(extra[0])}, for which the model has no place")


def usable(saved: object, given: str | None) -> str | None:
    """The engine given, else the one a model was saved with, else, with a warning, one that can run here."""
    if saved is not None and saved not in engines.ENGINES:
        raise ValueError(f"there is no engine {checks.shown(saved)}")
    if given is not None or saved is None:
        return given
    reason = engines.why_not(saved)
    if not reason:
        return saved
    instead = engines.get_engine("auto").name
    warnings.warn(
        f"the model was saved with the engine {saved!r} and now uses {instead!r}, because {saved!r} cannot run here: "
        f"{reason}",
        stacklevel=4,
    )
    return instead


def compile_like(model: Sequential, data: Any, engine: str | None) -> None:
    """Compile as the saved model was."""
    if engine is None:
        raise ValueError("it is compiled, but has no engine")
    fields(data, ("optimizer", "loss", "metrics"), "compiled")
    (loss, chosen), optimizer = judges(data), made("optimizer", data["optimizer"])
    model.compile(optimizer, loss, metrics=chosen, engine=engine, dtype=str(model._dtype))


def judges(data: dict) -> tuple[losses.Loss, list[metrics.Metric]]:
    """The loss and the metrics that ``judged`` described."""
    chosen = [made("metric", metric) for metric in listed(data["metrics"], "metrics")]
    if len({metric.name for metric in chosen}) < len(chosen):
        raise ValueError("two metrics have the same name")
    return made("loss", data["loss"]), chosen


def go_on(model: Sequential, step: object, slots: np.ndarray | None) -> None:
    """Put back where the training stood; nothing where it was not saved."""
    wanted: dict[str, tuple[int, ...]] = {}
    if step is not None:
        if not model.built or model.optimizer is None:
            raise ValueError("there is a step, but the model is not compiled and built")
        program = model._program
        program.step = below(step, 2**63, "step")
        if program.slots.size:
            wanted[SLOTS] = (len(program.slots), program.trained)
    found = {} if slots is None else {SLOTS: slots}
    match(found, wanted, model._dtype)
    if found:
        program.unpack(slots)


def set_state(generator: np.random.Generator, data: object) -> None:
    """Put a generator where another one stood."""
    limits = {"state": 2**128, "inc": 2**128, "has_uint32": 2, "uinteger": 2**32}
    found = {name: below(fields(data, tuple(limits), "a generator")[name], limits[name], name) for name in limits}
    if found["inc"] % 2 == 0:
        raise ValueError("inc must be odd")
    inner = {name: found.pop(name) for name in ("state", "inc")}
    generator.bit_generator.state = {**generator.bit_generator.state, "state": inner, **found}


def fitting(schema: Schema, model: Sequential) -> Schema:
    """The schema, once it is known to have as many features and classes as the model has inputs and outputs."""
    inputs = model.layers[0].inputs if model.layers else None
    if inputs not in (None, len(schema.features)):
        raise ValueError(f"the schema has {len(schema.features)} features, but the model takes {inputs}")
    outputs = [layer.units for layer in model.layers if isinstance(layer, layers.Dense)]
    if outputs:
        schema.check_outputs(outputs[-1])
    return schema


# --- the shape of the data ------------------------------------------------------------------------------------------


def fields(data: object, names: tuple[str, ...], what: str) -> dict:
    """The data, once they are known to be an object with these fields and no others."""
    if not isinstance(data, dict):
        raise ValueError(f"{what} must be an object with the fields {', '.join(names)}, not {checks.shown(data)}")
    for name in names:
        if name not in data:
            raise ValueError(f"{what} has no field {name!r}")
    for name in data:
        if name not in names:
            raise ValueError(f"{what} has an unknown field {checks.shown(name)}")
    return data


def listed(data: object, what: str) -> list:
    if not isinstance(data, list):
        raise ValueError(f"{what} must be a list, not {checks.shown(data)}")
    return data


def named(by_name: dict[str, layers.Layer], names: Any, what: str) -> list[layers.Layer]:
    names = listed(names, what)
    for name in names:
        if not isinstance(name, str) or name not in by_name:
            raise ValueError(f"{what} names {checks.shown(name)}, but there is no such layer")
    return [by_name[name] for name in names]


def below(value: Any, limit: int, name: str) -> int:
    """A whole number in [0, limit)."""
    if checks.whole_number(value, name, 0) >= limit:
        raise ValueError(f"{name} must be less than {limit}")
    return value
