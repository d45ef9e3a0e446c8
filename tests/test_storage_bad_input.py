"""Files that are damaged, foreign or made up: ValueError or OSError in one sentence, and never a wrong model."""

import copy
import json
import os
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

import minidl
from minidl import Adam, Dense, Dropout, Normalization, Sequential, config, storage

X = np.random.default_rng(0).normal(size=(10, 3))
Y = np.arange(10) % 2

pytestmark = pytest.mark.filterwarnings("ignore:.*belongs to", "ignore:.*from_logits=True")


def a_model():
    hidden = Dense(2, "tanh", kernel_regularizer="l2")
    model = Sequential([Normalization(input_shape=(3,)), Dropout(0.5), hidden, Dense(1, "sigmoid")], seed=1)
    model.compile(Adam(), "binary_crossentropy", metrics=["accuracy"], engine="numpy")
    model.fit(X, Y, verbose=0)
    return model


def a_small_model():
    return Sequential([Normalization(input_shape=(2,)), Dense(1, "sigmoid", name="ö")], seed=1)


def refusal(path):
    """What is said of a bad file, once it is known to be one sentence and the same of weights."""
    with pytest.raises((ValueError, OSError)) as caught:
        minidl.load_model(path)
    message = str(caught.value)
    assert type(caught.value) in (ValueError, OSError, FileNotFoundError, IsADirectoryError, PermissionError)
    assert "\n" not in message
    assert repr(os.fsdecode(path)) in message
    return message


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model"


def signed(path, said, arrays, kind="model"):
    """A file with a right checksum, whatever is in it."""
    storage.write(path, kind, said, arrays)


def parts(path, model=None):
    """The configuration and arrays of a good file."""
    (model or a_model()).save(path, include_optimizer=True)
    return storage.read(path, "model")


# --- not a file, or another one ---------------------------------------------------------------------------------------


def test_no_file(path):
    assert "there is no such file" in refusal(path)
    assert "there is no such file" in refusal(path / "deeper")
    assert "there is no such file" in refusal("\x00")
    path.mkdir()
    assert "it is a folder" in refusal(path)
    os.mkfifo(path / "pipe")
    assert "it is no ordinary file" in refusal(path / "pipe")
    with pytest.raises(TypeError):
        minidl.load_model(0)


def test_file_that_may_not_be_read(path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    path.write_bytes(b"")
    monkeypatch.setattr("builtins.open", refuse)
    assert refusal(path) == f"cannot read {str(path)!r}: Permission denied"


FOREIGN = {
    "empty": b"",
    "short": b"\x01\x00\x00",
    "eight bytes": bytes(8),
    "header of nothing": bytes(100),
    "text": b"name,age\nAda,36\n" * 50,
    "pickle": pickle.dumps({"weights": [1, 2, 3]}),
    "zip": b"PK\x03\x04" + bytes(200),
    "header larger than the file": (1000).to_bytes(8, "little") + b'{"a":',
    "header of 2^63": (2**63).to_bytes(8, "little") + b"{}",
    "header no object": (2).to_bytes(8, "little") + b"[]",
    "header a number": (1).to_bytes(8, "little") + b"7",
    "header not UTF-8": (4).to_bytes(8, "little") + b'"\xff"}',
    "header nested": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "header a huge number": (9_000).to_bytes(8, "little") + b"9" * 9_000,
    "name twice": (44).to_bytes(8, "little") + b'{"__metadata__":{"minidl":"","minidl":"{}"}}',
}


@pytest.mark.parametrize("name", FOREIGN)
def test_file_of_another_kind(name, path):
    path.write_bytes(FOREIGN[name])
    refusal(path)


def test_safetensors_of_another_program(path):
    for metadata in (None, {"format": "pt"}, {"minidl": ""}, {"minidl": "[]"}, {"minidl": "7"}, {"minidl": "{}"}):
        save_file({"dense/W": np.zeros((3, 1), np.float32)}, path, metadata)
        refusal(path)
    save_file({"dense/W": np.zeros((3, 1), np.float32)}, path)
    assert "was not written by minidl, though it is a safetensors file" in refusal(path)


def test_header_larger_than_any_model_has_is_not_read(path):
    length = storage.HEADER_LIMIT + 8
    with open(path, "wb") as file:
        file.write(length.to_bytes(8, "little"))
        file.truncate(length + 8)
    tracemalloc.start()
    refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


# --- damaged ----------------------------------------------------------------------------------------------------------


def test_every_truncation_is_noticed(path):
    a_small_model().save(path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refusal(path)
    for longer in (content + b"\x00", content + b" ", content + content):
        path.write_bytes(longer)
        refusal(path)


def test_every_flipped_bit_is_noticed(path):
    """In the header's length, the header and the arrays; where the same is written otherwise, the model is the same."""
    model = a_small_model()
    model.save(path)
    content, alike = path.read_bytes(), 0
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            loaded = minidl.load_model(path)
        except (ValueError, OSError):
            continue
        alike += 1
        assert config.describe(loaded, True) == config.describe(model, True)
        assert [a.tobytes() for a in loaded.get_weights()] == [a.tobytes() for a in model.get_weights()]
    assert alike < 10  # as the F in the escape of "ö", which may be small or large


def test_flipped_bits_are_noticed_by_load_weights(path):
    model, other = a_small_model(), a_small_model()
    model.save_weights(path)
    content, before = path.read_bytes(), other.get_weights()
    for bit in range(0, 8 * len(content), 5):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises((ValueError, OSError)):
            other.load_weights(path)
    assert all((a == b).all() for a, b in zip(other.get_weights(), before, strict=True))


def test_arrays_exchanged_in_the_header_are_noticed(path):
    """Both have the same length, so that safetensors itself has nothing against it."""
    model = Sequential([Dense(3, input_shape=(3,)), Dense(3)], seed=1)
    model.save(path)
    content = path.read_bytes()
    first, second = b'"dense/W"', b'"dense_1/W"'
    exchanged = content.replace(first, b"!!").replace(second, first).replace(b"!!", second)
    assert len(exchanged) == len(content)
    path.write_bytes(exchanged)
    assert "is damaged" in refusal(path)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(data=st.data())
def test_bytes_at_random(data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "bytes"
    a_small_model().save(path)
    content = path.read_bytes()
    start, stop = sorted(data.draw(st.tuples(*2 * [st.integers(0, len(content))])))
    changed = content[:start] + data.draw(st.binary(max_size=40)) + content[stop:]
    path.write_bytes(changed)
    if changed != content:
        refusal(path)


# --- made up, with a right checksum -----------------------------------------------------------------------------------


def test_other_versions(path):
    said, arrays = parts(path)
    for version in (0, 2, 10**6):
        signed(path, {**said, "format_version": version, "minidl_version": "7.1"}, arrays)
        assert f"has the format version {version}, but this minidl reads version 1; use the minidl that wrote it" in (
            refusal(path)
        )
    for version in (True, 1.0, "1", None, [], {}):
        signed(path, {**said, "format_version": version}, arrays)
        assert "is damaged" in refusal(path)


def test_arrays_that_do_not_fit(path):
    said, arrays = parts(path)
    W = arrays["dense/W"]
    for wrong, words in (
        ({"dense/W": W.T.copy()}, "'dense/W' has the shape (2, 3), but the model needs (3, 2)"),
        ({"dense/W": W.reshape(-1)}, "'dense/W' has the shape (6,)"),
        ({"dense/W": W.astype(np.float64)}, "'dense/W' is of float64, but the model needs float32"),
        ({"dense/W": W.astype(np.float16)}, "'dense/W' is of float16, but the model needs float32"),
        ({"dense/x": W}, "it holds an array 'dense/x', for which the model has no place"),
        ({"dense_1/W": None}, "the array 'dense_1/W' is missing"),
        ({config.SLOTS: None}, "the array 'optimizer/slots' is missing"),
        ({config.SLOTS: arrays[config.SLOTS][:1].copy()}, "'optimizer/slots' has the shape (1, 11)"),
        ({config.SLOTS: arrays[config.SLOTS].astype(np.float64)}, "'optimizer/slots' is of float64"),
    ):
        changed = {name: array for name, array in {**arrays, **wrong}.items() if array is not None}
        signed(path, said, changed)
        assert words in refusal(path)


@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.uint8])
def test_arrays_that_are_no_floats(dtype, path):
    _, arrays = parts(path)
    arrays["dense/W"] = arrays["dense/W"].astype(dtype)
    said = {"format": "weights", "format_version": 1, "adapted": []}
    said["sha256"] = storage.checksum(said, arrays)
    path.write_bytes(save(arrays, {"minidl": json.dumps(said)}))
    with pytest.raises(ValueError, match="is damaged"):
        a_model().load_weights(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(value, path, monkeypatch):
    said, arrays = parts(path)
    arrays["dense/W"][1, 0] = value
    monkeypatch.setattr(storage.checks, "clean", lambda array, *rest, **more: array)
    signed(path, said, arrays)
    monkeypatch.undo()
    assert "dense/W holds" in refusal(path)
    model = a_model()
    before = model.get_weights()
    arrays.pop(config.SLOTS)
    with pytest.raises(ValueError, match="dense/W holds"):
        model.load_weights(path)
    assert all((a == b).all() for a, b in zip(model.get_weights(), before, strict=True))


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("field", ["units", "input_shape"])
def test_huge_layers_allocate_nothing(field, use_bias, path):
    said, arrays = parts(path, Sequential([Dense(2, use_bias=use_bias, input_shape=(3,))]))
    for huge in (10**12, 10**30):
        said["layers"][0][field] = huge if field == "units" else [huge]
        signed(path, said, arrays)
        tracemalloc.start()
        assert "'dense/W' has the shape (3, 2), but the model needs" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 1e6
        tracemalloc.stop()


def test_huge_dropout_is_refused(path):
    said, arrays = parts(path, Sequential([Dropout(0.5, input_shape=(3,))]))
    said["layers"][0]["input_shape"] = [10**30]
    signed(path, said, arrays)
    assert "holds no possible model" in refusal(path)


def test_layers_that_do_not_go_together(path):
    said, arrays = parts(path, Sequential([Dense(2, input_shape=(3,)), Dense(1), Dropout(0.5)]))

    def changed(change):
        other = copy.deepcopy(said)
        change(other)
        signed(path, other, arrays)
        return refusal(path)

    assert "two layers have the same name" in changed(lambda said: said["layers"][1].update(name="dense"))
    assert "takes 7 features, but is given 1" in changed(lambda said: said["layers"][2].update(input_shape=[7]))
    assert "'dropout' must be built" in changed(lambda said: said["built"].remove("dropout"))
    assert "built, but has no input_shape" in changed(lambda said: said["layers"][2].update(input_shape=None))
    assert "'dense' cannot be adapted" in changed(lambda said: said["adapted"].append("dense"))
    assert "but there is no such layer" in changed(lambda said: said["built"].append("dense_7"))
    assert "there is a step, but" in changed(lambda said: said.update(step=3))


STRANGE = (
    None, True, False, 0, 1, -1, 2, 0.5, 1e308, 2**63, 2**100, "", "x", "relu", "zeros", "numba", "float64", "dense_1",
    [], {}, [None], [[]], [7], {"class": "Dense"}, {"class": "Adam"}, {"class": []}, ["normalization"], ["x", "x"],
)  # fmt: skip


def places(said, at=()):
    """The path of everything in a configuration."""
    yield at
    for key in said if isinstance(said, dict) else range(len(said)) if isinstance(said, list) else ():
        yield from places(said[key], (*at, key))


def with_change(said, at, change):
    """A copy in which ``change(container, key)`` has been done at this path."""
    holder = {"": copy.deepcopy(said)}
    inner, at = holder, ("", *at)
    for key in at[:-1]:
        inner = inner[key]
    change(inner, at[-1])
    return holder[""]


def load_or_refuse(path, said, arrays):
    """Nothing but a refusal, or the very model that the configuration says."""
    signed(path, said, arrays)
    try:
        model = minidl.load_model(path)
    except ValueError:
        return False
    found = config.describe(model, config.SLOTS in arrays)
    for layer, was in zip(said["layers"], found["layers"], strict=True):  # what may be said in two ways
        layer["input_shape"] = [layer["input_shape"]] if type(layer["input_shape"]) is int else layer["input_shape"]
        for setting in ("activation", *config.INITIALIZERS):
            if setting in layer and layer[setting] in (None, ""):
                layer[setting] = was[setting]
    assert found == said
    if model.built:
        assert model(X).shape == (10, 1)
    return True


@pytest.mark.parametrize("built", [True, False])
def test_strange_values_anywhere(built, path):
    model = a_model()
    if not built:
        model = Sequential([Dense(2, "relu"), Dropout(0.5), Dense(1, "sigmoid")], seed=1)
        model.compile("sgd", "binary_crossentropy", metrics=["mae"], engine="numpy")
    said, arrays = parts(path, model)
    accepted = 0
    for at in list(places(said))[1:]:
        for strange in STRANGE:
            changed = with_change(said, at, lambda inner, key, strange=strange: inner.__setitem__(key, strange))
            if changed["schema"] is None:
                accepted += load_or_refuse(path, changed, arrays)
    assert 50 < accepted < 500


def test_missing_and_unknown_fields_anywhere(path):
    said, arrays = parts(path)
    for at in list(places(said))[1:]:
        if isinstance(at[-1], str):
            signed(path, with_change(said, at, lambda inner, key: inner.pop(key)), arrays)
            refusal(path)
            signed(path, with_change(said, at, lambda inner, key: inner.update(unknown=1)), arrays)
            assert "unknown field 'unknown'" in refusal(path)


def test_name_that_stands_twice_in_the_configuration(path):
    said, arrays = parts(path)
    said = {"format": "model", "format_version": 1, "minidl_version": "0.1.0", **said}
    said["sha256"] = storage.checksum(said, arrays)
    text = json.dumps(said)
    for twice in (text.replace('"seed": 1', '"seed": 2, "seed": 1'), text.replace('"name"', '"name": "x", "name"', 1)):
        assert twice != text
        path.write_bytes(save(arrays, {"minidl": twice}))
        assert "is damaged" in refusal(path)
    path.write_bytes(save(arrays, {"minidl": text}))
    assert minidl.load_model(path).seed == 1


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(-1e9, 1e9), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=5,
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(data=st.data())
def test_configurations_at_random(data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "configuration"
    said, arrays = parts(path)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(list(places(said))))
        strange = data.draw(JSON)
        said = with_change(said, at, lambda inner, key, strange=strange: inner.__setitem__(key, strange))
    if isinstance(said, dict) and said.get("schema") is None:
        load_or_refuse(path, said, arrays)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(data=st.data())
def test_headers_at_random(data, tmp_path_factory):
    """The names, dtypes, shapes and offsets of the arrays."""
    path = tmp_path_factory.getbasetemp() / "header"
    a_small_model().save(path)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    said = json.loads(content[8 : 8 + length])
    at = data.draw(st.sampled_from([at for at in places(said) if at and at[0] != "__metadata__"]))
    likely = st.sampled_from(["F64", "BF16", "F8_E4M3", "F4", "I64", "C64", 2**62, 2**64, -1])
    strange = data.draw(st.one_of(JSON, likely))
    changed = with_change(said, at, lambda inner, key: inner.__setitem__(key, strange))
    if changed == said:
        return
    header = json.dumps(changed).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    refusal(path)
