"""Every engine computes every operation of the contract within its stated error of the formula."""

import importlib
import inspect
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hosted import Hosted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minidl import contract, get_engine
from minidl.bench import operations
from minidl.contract import OPERATIONS
from minidl.engines import ENGINES, why_not

RUNNING = [name for name in ENGINES if not why_not(name)]
CODES = [
    (module, code, name)
    for module, names in (
        ("activations", contract.ACTIVATIONS), ("losses", contract.LOSSES), ("metrics", contract.METRICS[:-1])
    )
    for code, name in enumerate(names)
]  # fmt: skip
WITH_FORMULA = [name for name, operation in OPERATIONS.items() if operation.formula]


@pytest.fixture(params=RUNNING)
def engine(request):
    return get_engine(request.param)


@pytest.fixture
def hosted(engine):
    """The engine, for calls that have NumPy's arrays in their hands."""
    return Hosted(engine)


@pytest.mark.parametrize("name", ENGINES)
def test_engine_runs(name):
    if why_not(name):
        pytest.skip(f"the engine {name!r} cannot run here: {why_not(name)}")
    assert get_engine(name).name == name


@pytest.mark.parametrize("name", OPERATIONS)
def test_signature_is_the_contract_s(engine, name):
    function = getattr(engine, name)
    assert str(inspect.signature(getattr(function, "py_func", function))) == OPERATIONS[name].signature


@pytest.mark.parametrize("name", OPERATIONS)
def test_help_says_shapes_and_bound(engine, name):
    said = getattr(engine, name).__doc__
    assert OPERATIONS[name].shapes in said
    assert not OPERATIONS[name].formula or f"at most {OPERATIONS[name].bound_of(engine.name):g} " in said


def test_engines_have_the_same_functions_in_the_same_order():
    """File for file; what only one engine has (how it reaches an operation by its code) is left out.

    CuPy's files can be read where it cannot run.
    """
    engines = [name for name in ENGINES if name in (*RUNNING, "cupy")]
    for module in dict.fromkeys(operation.module for operation in OPERATIONS.values()):
        orders = []
        for name in engines:
            source = importlib.import_module(f"minidl.engines.{name}_engine.{module}")
            lines = inspect.getsource(source).splitlines()
            functions = [line[4 : line.index("(")] for line in lines if line.startswith("def ")]
            orders.append([function for function in functions if function in OPERATIONS])
        assert all(order == orders[0] for order in orders), module
        assert orders[0] == [name for name, operation in OPERATIONS.items() if operation.module == module]


@pytest.mark.parametrize("name", ["numpy", "cupy"])
def test_a_code_is_the_place_of_its_function(name):
    """The Numba engine, which has no such tuples, is asked below; the kernels of CUDA in test_gpu_kernels.py."""
    for module, names in (("activations", contract.ACTIVATIONS), ("losses", contract.LOSSES)):
        module = importlib.import_module(f"minidl.engines.{name}_engine.{module}")
        assert [function.__name__ for function in module.FORWARD] == list(names)
        assert [function.__name__ for function in module.BACKWARD] == [f"{name}_backward" for name in names]


@pytest.mark.parametrize(("module", "code", "name"), CODES)
def test_numba_reaches_an_operation_by_its_code(module, code, name):
    if "numba" not in RUNNING:
        pytest.skip(f"numba: {why_not('numba')}")
    source = importlib.import_module(f"minidl.engines.numba_engine.{module}")
    for reach, called in (("forward", name), ("backward", f"{name}_backward")):
        if hasattr(source, reach):
            arguments = operations.sample(called)
            expected = getattr(get_engine("numba"), called)(*arguments)
            out = np.full_like(expected, np.nan)
            getattr(source, reach)(code, *arguments, out)
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", contract.OPTIMIZERS)
def test_a_training_step_is_that_of_the_optimizer_s_code(name):
    names, arguments = OPERATIONS[name].signature.strip("()").split(", "), operations.sample(name, "float64")
    given, code = dict(zip(names, arguments, strict=True)), contract.OPTIMIZERS.index(name)
    numbers = np.array([given.get(number, 0.0) for number in contract.OPTIMIZER_NUMBERS])
    slots = np.array([given[slot] for slot in names if slot in ("m", "v")]).reshape(-1, given["g"].size)
    for engine in sorted({"numpy", "numba"} & set(RUNNING)):
        train = importlib.import_module(f"minidl.engines.{engine}_engine.train")
        theta, moved, t = given["theta"].copy(), slots.copy(), given.get("t", 1)
        if engine == "numba":
            train.update(code, numbers, theta, moved, t, given["g"], 0)
        else:
            program = {"theta": theta, "slots": moved, "step": t - 1, "optimizer": code, "optimizer_numbers": numbers}
            train.update(SimpleNamespace(**program), given["g"])
        for found, expected in zip([theta, *moved], operations.call(get_engine(engine), name, arguments), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", WITH_FORMULA)
def test_error_is_within_its_bound(engine, name, dtype):
    assert operations.error(engine, name, dtype) <= OPERATIONS[name].bound_of(engine.name)
    kinds = {OPERATIONS[name].shapes.split()[-1]} if OPERATIONS[name].module == "int8" else {dtype, "float64"}
    assert all(array.dtype.name in kinds for array in call(engine, name, dtype))


def call(engine, name, dtype):
    return operations.call(engine, name, operations.sample(name, dtype))


@pytest.mark.parametrize("name", [name for name, op in OPERATIONS.items() if "out=None" in op.signature])
def test_out_is_filled_and_returned(hosted, name):
    arguments = operations.sample(name, "float64")
    expected = getattr(hosted, name)(*arguments)
    out = np.full_like(expected, 77 if OPERATIONS[name].module == "int8" else np.nan)
    arguments = (*arguments, 0) if name.startswith("dropout") else arguments  # its first entry
    returned = getattr(hosted, name)(*arguments, out)
    assert np.shares_memory(returned, out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", [name for name in contract.ACTIVATIONS if name != "softmax"])
def test_whole_float32_line(engine, name):
    """60,000 floats in equal steps of their bit patterns, subnormal ones included."""
    z = operations.float_line("float32", 60_000).reshape(1, -1)
    assert operations.error(engine, name, arguments=(z,)) <= OPERATIONS[name].bound_of(engine.name)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_where_exp_goes_under(engine, name):
    """Around the largest exponents of float32 and around 0, in steps of the last place."""
    ends = np.concatenate([np.linspace(-110, -80, 4001), np.linspace(80, 110, 4001), np.linspace(-2, 2, 4001)])
    z = ends.astype(np.float32).reshape(1, -1)
    assert operations.error(engine, name, arguments=(z,)) <= OPERATIONS[name].bound_of(engine.name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinities_are_exact_and_nan_is_kept(hosted, dtype):
    z = np.array([[-np.inf, np.inf, np.nan, -0.0]], dtype)
    with np.errstate(invalid="ignore"):
        found = {name: getattr(hosted, name)(z) for name in ("linear", "sigmoid", "relu", "tanh")}
    expected = {
        "linear": [-np.inf, np.inf, np.nan, 0],
        "sigmoid": [0, 1, np.nan, 0.5],
        "relu": [0, np.inf, np.nan, 0],
        "tanh": [-1, 1, np.nan, 0],
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], [values], err_msg=name)
    with np.errstate(invalid="ignore"):
        assert np.isnan(hosted.softmax(np.array([[1.0, np.nan]], dtype))).all()
        assert np.isnan(hosted.softmax(np.array([[np.nan, 1.0]], dtype))).all()


def test_losses_from_logits_at_the_ends(hosted):
    """Where a probability would have rounded to 0 or 1: z = 40 with label 0 costs 40, not 15.94."""
    y, z = np.array([[0.0], [1.0], [1.0]], np.float32), np.array([[40.0], [-200.0], [100.0]], np.float32)
    found = hosted.binary_crossentropy_from_logits(y, z)
    np.testing.assert_allclose(found, [40, 200, 3.783506e-44], rtol=1e-6, atol=1.5e-45)
    p = np.array([[1.0]], np.float32)
    assert hosted.binary_crossentropy(y[:1], p)[0] == pytest.approx(15.942385, rel=1e-6)
    z = np.array([[1000.0, 0.0]], np.float32)
    assert hosted.categorical_crossentropy_from_logits(np.array([[0, 1]], np.float32), z)[0] == 1000


SIZES = st.integers(1, 19)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=SIZES, i=SIZES, o=SIZES, seed=st.integers(0, 2**32))
def test_dense_of_any_shape(hosted, n, i, o, seed):
    """Ragged edges everywhere: |C^ - C| against |A||B|, with float64 as the oracle of float32."""
    rng = np.random.default_rng(seed)
    x, W, b, dz = (rng.normal(size=shape).astype(np.float32) for shape in ((n, i), (i, o), (o,), (n, o)))
    wide = [array.astype(np.float64) for array in (x, W, b, dz)]
    for found, expected, scale in (
        (hosted.dense(x, W, b), wide[0] @ wide[1] + wide[2], abs(wide[0]) @ abs(wide[1]) + abs(wide[2])),
        (hosted.dense_backward_x(dz, W), wide[3] @ wide[1].T, abs(wide[3]) @ abs(wide[1].T)),
        (hosted.dense_backward_W(x, dz), wide[0].T @ wide[3], abs(wide[0].T) @ abs(wide[3])),
        (hosted.dense_backward_b(dz), wide[3].sum(axis=0), abs(wide[3]).sum(axis=0)),
    ):
        assert found.shape == expected.shape
        assert np.max(np.abs(found - expected) / scale) <= 8 * 2.0**-24


def test_metrics_by_hand(hosted):
    y = np.array([[1.0, 0.0], [1.0, 1.0]])
    p = np.array([[0.9, 0.5], [0.4, 0.6]])
    assert hosted.binary_accuracy(y, p).tolist() == [1.0, 0.5]  # 0.5 is not above 0.5
    labels = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    scores = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    assert hosted.categorical_accuracy(labels, scores).tolist() == [1.0, 0.0]
    counts = np.zeros((2, contract.AUC_BINS))
    hosted.auc_histograms(np.array([[0.0], [1.0], [1.0]]), np.array([[0.0], [1.0], [0.5]]), counts)
    # ceil(199 p) - 1, not below 0: 0, 198 and ceil(99.5) - 1 = 99
    assert [tuple(map(int, place)) for place in np.argwhere(counts)] == [(0, 0), (1, 99), (1, 198)]


def splitmix(h):
    """The generator of contract.py once more, in Python's own integers."""
    mask = 2**64 - 1
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & mask
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & mask
    return h ^ (h >> 31)


def test_dropout_masks_are_the_specified_bits(hosted):
    rate, seed, step, layer = 0.3, 2**63 - 25, 41, 3
    mask = 2**64 - 1
    key = splitmix((splitmix((splitmix(seed) + step) & mask) + layer) & mask)
    bits = [splitmix((key + index * 0x9E3779B97F4A7C15) & mask) for index in range(1, 22)]
    kept = np.array([(b >> 40) >= rate * 2**24 for b in bits]).reshape(7, 3)
    found = hosted.dropout(np.full((7, 3), 0.7), rate, seed, step, layer)
    np.testing.assert_array_equal(found, np.where(kept, 0.7 * (1 / 0.7), 0))
    assert 0 < kept.sum() < 21
    part = hosted.dropout(np.full((5, 3), 0.7), rate, seed, step, layer, 6)  # the batch from its row 2 on
    np.testing.assert_array_equal(part, found[2:])


def test_dropout_keeps_its_share(hosted):
    found = hosted.dropout(np.ones((500, 200)), 0.25, 1, 2, 3)
    assert found.mean() == pytest.approx(1, abs=5 * np.sqrt(0.75 * 0.25 / 1e5) / 0.75)
    other = hosted.dropout(np.ones((500, 200)), 0.25, 1, 3, 3)
    assert ((found > 0) == (other > 0)).mean() == pytest.approx(0.75**2 + 0.25**2, abs=0.01)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [1, 2, 3, 4, 5, 8, 9, 16, 33])
@pytest.mark.parametrize("inputs", [3, 14, 37, 65])
def test_a_row_has_the_same_bits_whatever_rows_are_beside_it(inputs, units, dtype):
    if "numba" not in RUNNING:
        pytest.skip(f"numba: {why_not('numba')}")
    rng, engine = np.random.default_rng(0), get_engine("numba")
    x, W, b = (rng.normal(size=shape).astype(dtype) for shape in ((41, inputs), (inputs, units), units))
    whole = engine.dense(x, W, b)
    for first, last in itertools.combinations((0, 1, 2, 5, 9, 20, 28, 41), 2):
        np.testing.assert_array_equal(engine.dense(x[first:last].copy(), W, b), whole[first:last])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", range(1, 10))
def test_infinity_stays_in_its_row_and_meets_no_zero(hosted, units, dtype):
    """Sums in which a vector is filled up with zeros: infinity times one of these would be NaN."""
    for inputs in (1, 4, 7, 18):
        for place in range(inputs):
            x, W = np.ones((5, inputs), dtype), np.full((inputs, units), 0.5, dtype)
            x[2, place] = np.inf
            found = hosted.dense(x, W, np.zeros(units, dtype))
            np.testing.assert_array_equal(found[2], np.inf)
            np.testing.assert_array_equal(np.delete(found, 2, axis=0), 0.5 * inputs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [9, 17, 31, 35, 130])
def test_bands_of_any_height(units, dtype):
    """From 1 to 64 rows, which the Numba engine takes in bands of several heights, on both sides of a block's end."""
    if "numba" not in RUNNING:
        pytest.skip(f"numba: {why_not('numba')}")
    rng, engine = np.random.default_rng(4), get_engine("numba")
    x, W, b = (rng.normal(size=shape).astype(dtype) for shape in ((64, 259), (259, units), units))
    exact, size = x.astype(float) @ W.astype(float) + b, abs(x) @ abs(W) + abs(b)
    for rows in range(1, 65):
        assert np.max(np.abs(engine.dense(x[:rows], W, b) - exact[:rows]) / size[:rows]) <= 8 * np.finfo(dtype).eps


def test_bands_are_as_high_as_takes_the_least_time():
    if "numba" not in RUNNING:
        pytest.skip(f"numba: {why_not('numba')}")
    from minidl.engines.numba_engine.gemm import BANDS, FIRST_BAND, first_bands

    kinds = {height: ((), 0, time) for height, time in {4: 4, 3: 3.9, 1: 2}.items()}
    assert list(first_bands(kinds, 8)) == [0, 1, 1, 3, 4, 4, 3, 4, 4]  # 6 as 3 and 3: 7.8; as 4, 1 and 1: 8
    for rows in range(1, FIRST_BAND.size):
        left = rows
        while left > 0:
            assert FIRST_BAND[left] in BANDS
            left -= FIRST_BAND[left]
        assert left == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wide_products_of_many_rows(dtype):
    """Where rows are a page apart the Numba engine copies columns next to each other first, two vectors at a time,
    whatever is left over: here of some of the columns, as one of several threads takes them."""
    if "numba" not in RUNNING:
        pytest.skip(f"numba: {why_not('numba')}")
    from numba import njit

    from minidl.engines.numba_engine.gemm import PAGE, multiply
    from minidl.engines.numba_engine.vectors import ONE, ZERO

    @njit
    def product(m, o, d, C, D, A, B, row):
        multiply(m, o, d, C, ZERO, row, D, ZERO, A, ZERO, d, ONE, B, ZERO, row, C.dtype.type(-np.inf))

    rng, (m, d), row = np.random.default_rng(3), (129, 270), PAGE // np.dtype(dtype).itemsize
    A, B, D = (rng.normal(size=shape).astype(dtype) for shape in ((m, d), (d, row), row))
    exact, size = A.astype(float) @ B.astype(float) + D, abs(A) @ abs(B) + abs(D)
    for o in [*range(1, 34), *range(row - 33, row + 1)]:
        C = np.zeros((m, row), dtype)
        product(m, o, d, C.reshape(-1), D, A.reshape(-1), B.reshape(-1), row)
        assert np.max(np.abs(C - exact)[:, :o] / size[:, :o]) <= 8 * np.finfo(dtype).eps
        assert not C[:, o:].any()
