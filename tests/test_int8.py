"""Whole numbers: the operations by hand, sums against int64, and whole networks in every engine."""

import copy
import pickle

import numpy as np
import numpy_in_cupys_place
import pytest
from hosted import Hosted
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import contract as c
from minidl import get_engine
from minidl.engines import why_not
from minidl.inference.int8 import Int8Layer, Int8Program

properties = settings(derandomize=True, deadline=None, max_examples=60)
ENGINES = [name for name in ("numpy", "numba", "cupy", "numpy in cupy's place") if name[0] == "n" or not why_not(name)]
NONE = np.zeros(0, np.float32)


@pytest.fixture(params=ENGINES, scope="module")
def engine(request):
    if request.param in ("numpy", "numba", "cupy"):
        yield get_engine(request.param)
    else:
        with numpy_in_cupys_place.engine() as found:
            yield found


@pytest.fixture(scope="module")
def hosted(engine):
    return Hosted(engine)


# --- the operations ---------------------------------------------------------------------------------------------------


def test_quantize_by_hand(hosted):
    # Steps of 1/2 and 3 in the place of 0: x / 0.5 + 3, halves to even, not below 0 and not above 255.
    x = np.float32([[0, 0.5, -0.25, 0.25, 0.75, -1.5, -2, 126, 126.5, np.nan, np.inf, -np.inf]])
    q = hosted.quantize(x, np.float32(0.5), 3)
    assert q.tolist() == [[3, 4, 3, 3, 5, 0, 0, 255, 255, 0, 255, 0]]


def test_a_layer_by_hand(hosted):
    #  [3 0 255] [ 2 -127]   [6 - 255   -381 + 255 * 127]
    #            [ 5    1] =
    #            [-1  127]
    s = hosted.dense_int8(np.uint8([[3, 0, 255]]), np.int8([[2, -127], [5, 1], [-1, 127]]))
    assert s.tolist() == [[-249, 32004]]
    offset, factor = np.int32([9, -4]), np.float32([0.5, 0.25])
    assert hosted.dequantize(s, offset, factor).tolist() == [[-120, 8000]]  # -240 / 2 and 32000 / 4
    # What is 0.5 and 0.25 now shall be 64 and 128 times less than a step: -240 / 128 = -1.875 and 32000 / 512 = 62.5
    multiplier = factor / np.float32([64, 128])
    assert hosted.requantize(s, offset, multiplier, 10, 0).tolist() == [[8, 72]]  # 62.5 is rounded to 62
    assert hosted.requantize(s, offset, multiplier, 10, 10).tolist() == [[10, 72]]  # with a ReLU
    assert hosted.requantize(s, offset, 100 * multiplier, 10, 0).tolist() == [[0, 255]]


@pytest.mark.parametrize("inputs", [1, 7, 64, 784, 3000])
def test_sums_of_the_largest_numbers_are_exact(hosted, inputs):
    signs = np.where(np.random.default_rng(inputs).random((inputs, 5)) < 0.5, -1, 1)
    signs[:, :2] = 1, -1
    for q in (np.full((3, inputs), 255, np.uint8), np.random.default_rng(1).integers(0, 256, (3, inputs), np.uint8)):
        W = (127 * signs).astype(np.int8)
        found = hosted.dense_int8(q, W)
        assert found.dtype == np.int32
        assert np.array_equal(found, q.astype(np.int64) @ W.astype(np.int64))


SIZES = st.integers(1, 40)


@properties
@given(n=SIZES, i=SIZES, o=SIZES, seed=st.integers(0, 2**32))
def test_sums_of_any_shape_are_exact(hosted, n, i, o, seed):
    rng = np.random.default_rng(seed)
    q, W = rng.integers(0, 256, (n, i), np.uint8), rng.integers(-128, 128, (i, o), np.int8)
    assert np.array_equal(hosted.dense_int8(q, W), q.astype(np.int64) @ W.astype(np.int64))


@properties
@given(st.floats(-1e6, 1e6, width=32), st.floats(2.0**-10, 2.0**10, width=32), st.integers(0, 255))
def test_a_number_within_the_range_comes_back_within_half_a_step(hosted, x, scale, zero):
    (q,) = hosted.quantize(np.float32([[x]]), np.float32(scale), zero)[0].tolist()
    x = min(max(x, -zero * scale), (255 - zero) * scale)
    assert abs((q - zero) * scale - x) <= scale * (0.5 + 1e-4)


# --- whole networks -----------------------------------------------------------------------------------------------


def program(rng, widths, activations, normalized=(), dynamic=False, behind=False):
    """A program of drawn whole numbers; ``normalized`` are the places of layers with a normalization before them."""
    layers = []
    for place, (i, o, activation) in enumerate(zip(widths[:-1], widths[1:], activations, strict=True)):
        mean, deviation = (rng.normal(size=i), rng.uniform(0.5, 2, i)) if place in normalized else (NONE, NONE)
        layers.append(
            Int8Layer(
                f"dense_{place}",
                rng.integers(-127, 128, (i, o), np.int8),
                rng.uniform(0.5, 1.5, o).astype(np.float32) / np.float32(127 * np.sqrt(i)),
                rng.normal(size=o).astype(np.float32),
                activation,
                np.float32(0 if dynamic else rng.uniform(0.01, 0.03)),
                0 if dynamic else int(rng.integers(0, 256)),
                mean.astype(np.float32),
                deviation.astype(np.float32),
            )
        )
    ends = (rng.normal(size=widths[-1]), rng.uniform(0.5, 2, widths[-1])) if behind else (NONE, NONE)
    return Int8Program(tuple(layers), *(end.astype(np.float32) for end in ends), dynamic)


def predicted(engine, program, X):
    out = np.full((len(X), program.outputs), np.nan, np.float32)
    return out, engine.predict_int8(program, X, out)


def float_of(program, X):
    """The program in float64, with what its whole numbers stand for."""
    x = X.astype(float)
    for layer in program.layers:
        x = (x - layer.mean) / layer.deviation if layer.mean.size else x
        scale, zero, bias = layer.x_scale, layer.x_zero, layer.bias
        if not program.dynamic:
            bias = np.rint(bias / layer.factor.astype(float)) * layer.factor
        else:
            least, largest = np.minimum(x.min(1, keepdims=True), 0), np.maximum(x.max(1, keepdims=True), 0)
            scale = np.where(largest > least, (largest - least) / 255, 1)
            zero = np.rint(-least / scale)
        x = (np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale
        z = x @ (layer.W * layer.scale.astype(float)) + bias
        one = get_engine("numpy")
        x = (one.linear, one.sigmoid, one.relu, one.tanh, one.softmax)[layer.activation](z)
    return (x - program.mean) / program.deviation if program.mean.size else x


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(
    ("widths", "activations", "options"),
    [
        ((5, 3), (c.LINEAR,), {}),
        ((30, 17, 9, 2), (c.RELU, c.LINEAR, c.SIGMOID), {"normalized": (0,)}),
        ((30, 17, 9, 2), (c.TANH, c.RELU, c.SOFTMAX), {"normalized": (0, 2), "behind": True}),
        ((300, 64, 64, 1), (c.RELU, c.RELU, c.LINEAR), {}),
    ],
)
def test_a_network_is_what_its_whole_numbers_stand_for(engine, widths, activations, options, dynamic):
    """Up to a step here and there that float32 rounds to the other side, which is one number in a hundred at most."""
    rng = np.random.default_rng(4)
    made = program(rng, widths, activations, dynamic=dynamic, **options)
    X = rng.normal(size=(50, widths[0])).astype(np.float32)
    found, outside = predicted(engine, made, X)
    expected = float_of(made, X)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    assert np.median(np.abs(found - expected)) < 1e-5 * np.abs(expected).max()
    if dynamic:
        assert outside == 0


@properties
@given(
    widths=st.lists(SIZES, min_size=2, max_size=4), n=SIZES, seed=st.integers(0, 2**32), whole=st.booleans(),
    behind=st.booleans(), dynamic=st.booleans(),
)  # fmt: skip
def test_engines_are_equal(engine, widths, n, seed, whole, behind, dynamic):
    """To the bit where only additions, multiplications and roundings are done."""
    rng = np.random.default_rng(seed)
    kinds = (c.LINEAR, c.RELU) if whole else (c.LINEAR, c.SIGMOID, c.RELU, c.TANH, c.SOFTMAX)
    activations = rng.choice(kinds, len(widths) - 1).tolist()
    normalized = np.flatnonzero(rng.random(len(activations)) < 0.4).tolist()
    made = program(rng, widths, activations, normalized, dynamic, behind)
    X = rng.normal(0, 2, (n, widths[0])).astype(np.float32)
    expected, outside = predicted(get_engine("numpy"), made, X)
    found, counted = predicted(engine, made, X)
    assert counted == outside
    if whole and not dynamic:
        assert found.tobytes() == expected.tobytes()
    else:  # an activation's last place may put a number on the other side of the middle between two steps
        assert np.mean(np.abs(found - expected) > 1e-4 * (1 + np.abs(expected))) < 0.2
        assert np.allclose(found, expected, atol=0.3)


def test_what_lies_outside_is_counted(engine):
    rng = np.random.default_rng(3)
    made = program(rng, (4, 3, 2), (c.RELU, c.LINEAR))
    layer = copy.copy(made.layers[0])
    vars(layer).update(x_scale=np.float32(0.5), x_zero=100)
    made = Int8Program((layer, made.layers[1]), NONE, NONE, False)
    # From -100 to 155 halves; what is rounded to that lies within.
    X = np.float32([[-50, -50.24, 77.5, 77.74], [-50.3, 77.8, np.nan, 0], [np.inf, -np.inf, 1e30, 1]])
    found, outside = predicted(engine, made, X)
    assert outside == 3 + 3
    assert np.isfinite(found).all()
    assert predicted(engine, made, X[:1])[1] == 0
    ends = np.float32([[-50, -50, 77.5, 77.5], [-50, 77.5, -50, 0], [77.5, -50, 77.5, 1]])
    assert found.tobytes() == predicted(engine, made, ends)[0].tobytes()


def test_rows_of_their_own_range(engine):
    """Each row as if it were alone; a row of zeros gives the biases; the scale of tiny numbers has an inverse."""
    rng = np.random.default_rng(5)
    made = program(rng, (6, 5), (c.LINEAR,), dynamic=True)
    X = (rng.normal(size=(4, 6)) * [[1], [1e-40], [0], [1e30]]).astype(np.float32)
    found, outside = predicted(engine, made, X)
    assert outside == 0
    np.testing.assert_allclose(found[1:3], np.tile(made.layers[0].bias, (2, 1)))
    for row in range(4):
        alone, expected = predicted(engine, made, X[row : row + 1])[0], float_of(made, X[row : row + 1])
        np.testing.assert_allclose(alone, found[row : row + 1], rtol=1e-6)
        np.testing.assert_allclose(alone, expected, atol=1e-5 * np.abs(expected).max())


def test_many_rows_are_those_of_each_part(engine):
    rng = np.random.default_rng(6)
    for dynamic in (False, True):
        made = program(rng, (5, 4, 3), (c.RELU, c.LINEAR), dynamic=dynamic)
        X = rng.normal(size=(20_000, 5)).astype(np.float32)
        found, outside = predicted(engine, made, X)
        parts = [predicted(engine, made, part) for part in np.array_split(X, 7)]
        np.testing.assert_allclose(found, np.concatenate([y for y, _ in parts]), rtol=1e-6)
        assert outside == sum(count for _, count in parts)


def test_a_copy_of_a_program_has_plans_of_its_own(engine):
    rng = np.random.default_rng(7)
    made = program(rng, (5, 4, 3), (c.RELU, c.LINEAR))
    X = rng.normal(size=(9, 5)).astype(np.float32)
    expected = predicted(engine, made, X)[0]
    made.plans["something"] = object()
    for twin in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert twin.plans == {}
        assert predicted(engine, twin, X)[0].tobytes() == expected.tobytes()
