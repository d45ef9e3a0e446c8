"""Models and weights in files: safetensors, with the configuration as JSON in its metadata and a checksum over all.

The metadata hold one text, "minidl": a JSON object with what the file is (a key of ``KINDS``), the format's version,
the version of minidl that wrote it, what config.py (of a quantized model inference/quantize/stored.py) says of the
model, and the SHA-256 of all that and of the arrays.
(One text, because safetensors writes several in any order, and the same model shall give the same bytes.) So a flipped
bit is noticed wherever it is, and nothing in a file can name code to be run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import __version__, checks, config, files
from minidl.engines import get_engine
from minidl.layers import Normalization, fill
from minidl.model import Sequential

FORMAT_VERSION = 1
HEADER_LIMIT = 2**24  # bytes; a model of a thousand layers has 0.4 million
KEY, CHECKSUM = "minidl", "sha256"
KINDS = {  # of files: the kinds of numbers in them, and what to do where another file is needed
    "model": ("f", "a model; read it with minidl.load_model"),
    "weights": ("f", "weights and no model; make the model and call its load_weights"),
    "quantized": ("fi", "a quantized model; read it with minidl.load_model"),
}
ABOUT = ("format", "format_version", "minidl_version")  # what the configuration says of the file itself


# --- models and weights ---------------------------------------------------------------------------------------------


def save_model(model: Sequential, path: str | os.PathLike, *, include_optimizer: bool = False) -> None:
    """Write a model, built or not, compiled or not, to a file.

    With ``include_optimizer`` the file also holds the optimizer's slots and steps: after ``load_model`` the training of
    further epochs gives the same bits as if it had never stopped. Without, the optimizer begins anew. The history is
    not kept. A change of a layer that waits for the next ``compile`` has taken effect in the model that is loaded.
    Initializers are kept by name; one that is a function of your own is forgotten once it has made its weights.

    Raises ValueError for what a file cannot hold: NaN or infinity among the weights, classes of your own, an
    initializer of your own that is still needed; and for a path that ends in .onnx. Raises RuntimeError for
    ``include_optimizer`` where layers or optimizer were changed after ``compile``; OSError where the file cannot be
    written. A file of before is then untouched.
    """
    include_optimizer = checks.truth(include_optimizer, "include_optimizer")
    with explained("the model cannot be saved", ValueError, TypeError):
        configuration, arrays = config.describe(model, include_optimizer), weights_of(model)
    if configuration["step"] is not None and model._program.slots.size:
        arrays[config.SLOTS] = model._program.packed()
    write(path, "model", configuration, arrays)


def load_model(path: str | os.PathLike, engine: str | None = None) -> Sequential | Any:
    """The model that ``save`` wrote, compiled as it was; a QuantizedModel where one was saved.

    It runs on the engine it was saved with, or where that cannot run, with a warning, on what "auto" finds; ``engine``
    chooses another. Raises OSError for a file that cannot be read, ValueError for one that is damaged or holds no
    model, RuntimeError for a chosen engine that cannot run here.
    """
    if engine is not None:
        get_engine(engine)  # what is wrong with it is said first
    kind, configuration, arrays = opened(path, "model", "quantized")
    impossible = f"the file {os.fsdecode(path)!r} holds no possible model"
    with explained(impossible, ValueError, TypeError, RuntimeError, OverflowError):
        if kind == "quantized":
            from minidl.inference.quantize import stored

            return stored.restore(configuration, arrays, engine)
        return config.restore(configuration, arrays, engine)


def save_weights(model: Sequential, path: str | os.PathLike) -> None:
    """Write the weight arrays of a built model. ValueError for NaN or infinity, OSError where it cannot be written."""
    model._require_built()
    write(path, "weights", {"adapted": config.adapted(model)}, weights_of(model))


def load_weights(model: Sequential, path: str | os.PathLike) -> None:
    """Put a file's arrays, of ``save_weights`` or ``save``, into a built model; all of them or none.

    Raises OSError for a file that cannot be read, ValueError for one that is damaged, whose arrays differ in name or
    shape, or hold a number too large for the model's dtype; RuntimeError for a model that is not built.
    """
    model._require_built()
    configuration, arrays = read(path, "model", "weights")
    arrays.pop(config.SLOTS, None)
    places = weights_of(model)
    with explained(f"the file {os.fsdecode(path)!r} does not fit the model", ValueError):
        config.match(arrays, {name: array.shape for name, array in places.items()})
        adapted = config.listed(configuration.get("adapted"), "adapted")
        fill(list(places.values()), [arrays[name] for name in places], "the model", list(places))
    for layer in model.layers:
        if isinstance(layer, Normalization):
            layer.adapted = layer.name in adapted


def weights_of(model: Sequential) -> dict[str, np.ndarray]:
    """The model's weights by name, as "dense/W": the same views as ``model.weights``."""
    return {
        f"{layer.name}/{name}": array
        for layer in model.layers
        for name, array in zip(layer.arrays, layer.weights, strict=False)  # a Dense without a bias has W alone
    }


@contextlib.contextmanager
def explained(what: str, *kinds: type[Exception]) -> Iterator[None]:
    """Errors of these kinds become a ValueError that says first what could not be done."""
    try:
        yield
    except kinds as error:
        raise ValueError(f"{what}: {error}") from None


# --- the file -------------------------------------------------------------------------------------------------------


def write(path: str | os.PathLike, kind: str, configuration: dict, arrays: dict[str, np.ndarray]) -> None:
    """Write a file of this kind, whole or not at all."""
    from safetensors.numpy import save

    check_ending(path)
    said = dict(zip(ABOUT, (kind, FORMAT_VERSION, __version__), strict=True)) | configuration
    with explained("the model cannot be saved", ValueError, TypeError, RecursionError):
        arrays = {
            name: checks.clean(array, name, array.dtype, finite=name != config.SLOTS) for name, array in arrays.items()
        }
        said[CHECKSUM] = checksum(said, arrays)
        content = save(arrays, {KEY: json.dumps(said, allow_nan=False)})
        if int.from_bytes(content[:8], "little") > HEADER_LIMIT:
            raise ValueError(f"its configuration takes more than {HEADER_LIMIT} bytes")
    files.replace(path, content)


def check_ending(path: str | os.PathLike) -> None:
    """ValueError where the path looks like an ONNX file's."""
    files.refuse_ending(path, ".onnx", "save writes safetensors; an ONNX file is written by the model's export")


def read(path: str | os.PathLike, *kinds: str) -> tuple[dict, dict[str, np.ndarray]]:
    """The configuration and the arrays of a file of one of these kinds, known to be as they were written.

    Raises OSError for a file that cannot be read, ValueError for one that is damaged or something else.
    """
    return opened(path, *kinds)[1:]


def opened(path: str | os.PathLike, *kinds: str) -> tuple[str, dict, dict[str, np.ndarray]]:
    """Which of these kinds a file is, and what ``read`` says."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = os.fsdecode(path)
    content, text = content_of(path)
    try:
        said, arrays = parsed(text), load(content)
        version, kind = said["format_version"], said["format"]
        sound = type(version) is int and kind in KINDS and said.pop(CHECKSUM, None) == checksum(said, arrays)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError, SafetensorError):
        version, sound = FORMAT_VERSION, False
    if type(version) is int and version != FORMAT_VERSION:
        raise ValueError(
            f"the file {path!r} has the format version {version}, but this minidl reads version {FORMAT_VERSION}; use "
            f"the minidl that wrote it (version {checks.shown(said.get('minidl_version'))})"
        )
    if not sound or any(array.dtype.kind not in KINDS[kind][0] for array in arrays.values()):
        raise ValueError(f"the file {path!r} is damaged or cut off: its contents are not what was written")
    if kind not in kinds:
        raise ValueError(f"the file {path!r} holds {KINDS[kind][1]}")
    return kind, {name: value for name, value in said.items() if name not in ABOUT}, arrays


def content_of(path: str) -> tuple[bytes, str]:
    """A file's bytes, and the text in it that is minidl's; the bytes are read once the header is seen to be sound."""
    with files.reading(path) as file:
        length, rest = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size - 8
        header = file.read(length) if 0 < length <= min(rest, HEADER_LIMIT) else b""
        text = minidl_text(path, header)
        file.seek(0)
        return file.read(), text


def minidl_text(path: str, header: bytes) -> str:
    """What minidl has written into this header of a safetensors file."""
    try:
        metadata = parsed(header.decode())["__metadata__"]
    except (ValueError, TypeError, RecursionError):
        hint = "; minidl.from_onnx reads ONNX files" if path.lower().endswith(".onnx") else ""
        raise ValueError(f"the file {path!r} is not a model of minidl, or is damaged or cut off{hint}") from None
    except LookupError:
        metadata = None
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        raise ValueError(f"the file {path!r} was not written by minidl, though it is a safetensors file")
    return metadata[KEY]


def parsed(text: str) -> Any:
    """What a JSON text says; ValueError for a name that stands twice in one object, and for NaN and Infinity."""

    def once(pairs: list[tuple[str, object]]) -> dict:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name stands twice in one object")
        return found

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, object_pairs_hook=once, parse_constant=refuse)


def checksum(said: dict, arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of what is said of a model, and of the names, dtypes, shapes and bytes of its arrays."""
    kinds = {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
    digest = hashlib.sha256(json.dumps([said, kinds], sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(arrays[name].reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
