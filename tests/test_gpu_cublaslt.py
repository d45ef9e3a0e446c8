"""Products by cuBLASLt: the binding against float64, on the CPU with what stands in for the library, and what that
refuses; which products of a network are the library's; and whether the library itself knows the same attributes."""

import ctypes
import warnings
from types import SimpleNamespace

import gpu_devices
import numpy as np
import pytest
from test_gpu_kernels import PRECISION, SHAPES, U, float32, normal, within
from test_gpu_training import BY_CUBLASLT, TARGETS, WEIGHT, X, everything, follow, program_of, runs

import minidl
from minidl import contract as c
from minidl.engines.cupy_engine import cublaslt, kernels, launches_cublaslt, measured
from minidl.engines.cupy_engine.captured import CapturedTrainer
from minidl.engines.cupy_engine.gpu_on_cpu import build
from minidl.engines.numpy_engine import train

pytestmark = pytest.mark.skipif(bool(gpu_devices.WHY_NOT), reason=gpu_devices.WHY_NOT)
ON_THE_CPU = pytest.mark.skipif(not gpu_devices.CPU_TURNS, reason="the CPU's device does not run here")
MEMBERS = [turns for turns in (*gpu_devices.CPU_TURNS[:1], gpu_devices.GPU) if turns in gpu_devices.TURNS]


@pytest.fixture(params=MEMBERS, ids=lambda turns: turns[0])
def device(request):
    if not gpu_devices.has_cublaslt(request.param):
        pytest.skip("cuBLASLt is not here")
    return gpu_devices.device(request.param)


@pytest.fixture
def cpu():
    return gpu_devices.device(gpu_devices.CPU_TURNS[0])


# --- the binding ------------------------------------------------------------------------------------------------------


def multiply(
    device, precision, A, B, transposed=(False, False), epilogue=cublaslt.PLAIN, vector=None, room=0, mask=None
):  # fmt: skip
    """C = op(A) op(B) and the vector, as NumPy arrays; ``room`` is how many numbers lie behind each matrix."""
    (rows, inner), columns = A.shape[:: -1 if transposed[0] else 1], B.shape[0 if transposed[1] else 1]
    memory = [device.upload(np.append(matrix.ravel(), np.ones(room, np.float32))) for matrix in (A, B)]
    made = device.empty(rows * columns + room)
    vector = None if vector is None else device.upload(vector)
    product = device.cublaslt.plan(
        precision, rows, inner, columns, *memory, made, transposed=transposed, epilogue=epilogue, vector=vector,
        mask=mask,
    )  # fmt: skip
    device.multiply(product)
    assert np.isnan(made[rows * columns :]).all()
    return made[: rows * columns].reshape(rows, columns).copy(), None if vector is None else vector.copy()


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[0]])
@pytest.mark.parametrize("precision", kernels.PRECISIONS)
def test_products(device, precision, shape):
    """The three of a dense layer, with what is done along with them."""
    (n, i, o), rng, bound = shape, np.random.default_rng(3), PRECISION[precision]
    x, W, b, dz = normal(rng, n, i), normal(rng, i, o), normal(rng, o), normal(rng, n, o)
    wide = {name: np.float64(array) for name, array in (("x", x), ("W", W), ("dz", dz))}
    large = {name: np.abs(array) for name, array in wide.items()}

    z, yardstick = wide["x"] @ wide["W"] + b, large["x"] @ large["W"] + np.abs(b)
    within(multiply(device, precision, x, W, epilogue=cublaslt.ADD_BIAS, vector=b)[0], z, yardstick, bound)
    y, _ = multiply(device, precision, x, W, epilogue=cublaslt.ADD_BIAS_RELU, vector=b)
    within(y, np.maximum(z, 0), yardstick, bound)
    product, yardstick = wide["dz"] @ wide["W"].T, large["dz"] @ large["W"].T
    within(multiply(device, precision, dz, W, transposed=(False, True))[0], product, yardstick, bound)
    dW, db = multiply(device, precision, x, dz, (True, False), cublaslt.SUM_A, np.full(o, np.nan, np.float32))
    within(dW, wide["x"].T @ wide["dz"], large["x"].T @ large["dz"], bound)
    within(db, wide["dz"].sum(0), large["dz"].sum(0), max(bound, 8 * U))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[0]])
def test_a_relu_there_and_back(device, shape):
    """The gradient by what goes into a ReLU, through the bits that its product has noted."""
    (n, i, o), rng = shape, np.random.default_rng(4)
    x, W, b, dz, V = normal(rng, n, i), normal(rng, i, o), normal(rng, o), normal(rng, n, i), normal(rng, o, i)
    mask = device.zeros(n * cublaslt.mask_width(o) // 8, np.uint8)
    y, _ = multiply(device, kernels.FLOAT32, x, W, epilogue=cublaslt.ADD_BIAS_RELU_MASK, vector=b, mask=mask)
    within(y, np.maximum(np.float64(x) @ W + b, 0), np.abs(np.float64(x)) @ np.abs(W) + np.abs(b), 8 * U)
    dx, _ = multiply(device, kernels.FLOAT32, dz, V, (False, True), cublaslt.TIMES_MASK, mask=mask)
    within(dx, np.float64(dz) @ V.T * (y > 0), np.abs(np.float64(dz)) @ np.abs(V.T), 8 * U)


@pytest.mark.parametrize("epilogue", [cublaslt.ADD_BIAS_RELU, cublaslt.ADD_BIAS_RELU_MASK])
def test_nan_passes_through_a_relu(device, epilogue):
    """NVIDIA's documentation says max(x, 0), which leaves open what becomes of NaN."""
    x, W, b = float32([[np.nan], [1], [-1]]), float32([[2]]), float32([1])
    mask = device.zeros(3 * 128 // 8, np.uint8)
    y, _ = multiply(device, kernels.FLOAT32, x, W, epilogue=epilogue, vector=b, mask=mask)
    np.testing.assert_array_equal(y, float32([[np.nan], [3], [0]]))


FAULTS = {
    "A and B change their transposes": ("TRANSPOSED_A", cublaslt.TRANSPOSED_B),
    "another epilogue": ("ADD_BIAS", cublaslt.PLAIN),
    "TF32 where float32 is asked for": ("COMPUTE", dict.fromkeys(kernels.PRECISIONS, 77)),
}


def product_fails(device, shape, room):
    """Whether a product is wrong, or refused."""
    (n, i, o), rng = shape, np.random.default_rng(3)
    x, W, b = normal(rng, n, i), normal(rng, o, i), normal(rng, o)
    wanted, yardstick = np.float64(x) @ W.T + b, np.abs(np.float64(x)) @ np.abs(W.T) + np.abs(b)
    try:
        y, _ = multiply(device, kernels.FLOAT32, x, W, (False, True), cublaslt.ADD_BIAS, b, room)
        within(y, wanted, yardstick, 8 * U)
    except (RuntimeError, AssertionError) as failure:
        return type(failure)
    return None


@ON_THE_CPU
@pytest.mark.parametrize("fault", [None, *FAULTS, "a leading dimension"])
def test_planted_faults_are_found(cpu, fault, monkeypatch):
    """By the comparison, where all shapes fit and there is room behind the matrices; else they are refused as well."""
    if fault == "a leading dimension":
        owned = cublaslt.CublasLt.owned

        def one_more(library, owner, kind, *arguments):
            if kind == "MatrixLayout":
                *arguments, leading = arguments
                arguments.append(leading + 1)
            return owned(library, owner, kind, *arguments)

        monkeypatch.setattr(cublaslt.CublasLt, "owned", one_more)
        assert product_fails(cpu, (9, 9, 9), room=0) is RuntimeError
    elif fault:
        monkeypatch.setattr(cublaslt, *FAULTS[fault])
    assert product_fails(cpu, (9, 9, 9), room=40) == (AssertionError if fault else None)
    assert bool(product_fails(cpu, (5, 3, 2), room=40)) == bool(fault)


# --- what the stand-in refuses ----------------------------------------------------------------------------------------


@pytest.fixture
def planned(cpu):
    """A product of 4 x 4 matrices, each of which lies at a multiple of 256 bytes."""
    A, B, C = (cpu.upload(np.ones((4, 4), np.float32)) for _ in range(3))
    made = cpu.cublaslt.plan(kernels.FLOAT32, 4, 4, 4, A, B, C)
    made.kept = A, B, C
    return made


@ON_THE_CPU
def test_unknown_attributes_and_wrong_sizes_are_refused(planned):
    for which, value in ((99, np.int32(1)), (cublaslt.EPILOGUE, np.uint64(1)), (cublaslt.BIAS, np.uint32(0))):
        with pytest.raises(RuntimeError, match="DescSetAttribute of cuBLASLt failed with status 7: a value"):
            planned.set("MatmulDesc", planned.operation, which, value)
    with pytest.raises(RuntimeError, match="status 7"):  # one kind of opaque thing in the place of another
        planned.set("MatmulDesc", planned.layouts[0], cublaslt.EPILOGUE, np.uint32(1))


WRONG = {
    "another product's algorithm": lambda p: p.set(
        "MatmulDesc", p.operation, cublaslt.TRANSPOSED_A, np.int32(1)
    ),
    "memory that lies askew": lambda p: p.memory.__setitem__(0, p.memory[0] + 4),
    "memory beyond the end": lambda p: p.memory.__setitem__(0, p.memory[0] + 256),
    "a workspace that is too small": lambda p: setattr(p, "library", with_workspace(p, slice(0, 256))),
    "a workspace that lies askew": lambda p: setattr(p, "library", with_workspace(p, slice(16, 1024))),
}  # fmt: skip


def with_workspace(planned, part):
    library = planned.library
    return SimpleNamespace(
        handle=library.handle, workspace=library.workspace[part], address=library.address, call=library.call
    )


@ON_THE_CPU
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_call_is_refused(cpu, planned, wrong):
    cpu.multiply(planned)
    WRONG[wrong](planned)
    with pytest.raises(RuntimeError, match="cublasLtMatmul of cuBLASLt failed"):
        cpu.multiply(planned)


@ON_THE_CPU
def test_another_stream_is_refused(planned):
    with pytest.raises(RuntimeError, match="cublasLtMatmul of cuBLASLt failed with status 7"):
        planned.launch(0)


@ON_THE_CPU
def test_without_an_algorithm_there_is_no_plan(cpu, monkeypatch):
    memory = [cpu.upload(np.ones((4, 4), np.float32)) for _ in range(3)]
    monkeypatch.setattr(cpu.cublaslt, "workspace", cpu.cublaslt.workspace[:256])
    assert cpu.cublaslt.plan(kernels.FLOAT32, 4, 4, 4, *memory) is None


# --- where it is missing ----------------------------------------------------------------------------------------------


def test_a_missing_library_or_function_is_said_in_one_sentence(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(cublaslt.importlib, "import_module", missing)
    with pytest.raises(RuntimeError, match="cuBLASLt is not here, so the engine's own kernels compute all products"):
        cublaslt.load()
    with pytest.raises(RuntimeError, match="this cuBLASLt has no cublasLtCreate, so the engine's own kernels"):
        cublaslt.CublasLt(SimpleNamespace(), None, id)


class Without:
    """A device without the library."""

    def __init__(self, device):
        self.device = device

    def __getattr__(self, name):
        if name == "cublaslt":
            raise RuntimeError("cuBLASLt is not here")
        return getattr(self.device, name)


def test_without_it_own_kernels_are_used(monkeypatch):
    device, program = Without(gpu_devices.device()), program_of(everything())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing was measured, so nobody misses it
        assert type(network(program, device)) is launches_cublaslt.Network
        row = ["float32", "forward", 16, 6, 40, 0.5]  # or none was faster
        monkeypatch.setattr(measured, "table", lambda: {device.name: {"cublaslt": [row]}})
        assert type(network(program, device)) is launches_cublaslt.Network
    row[-1] = 2.0
    with pytest.warns(RuntimeWarning, match="cuBLASLt is not here"):
        assert type(network(program, device)) is launches_cublaslt.Network
    with pytest.raises(RuntimeError, match="cuBLASLt is not here"):
        network(program, device, with_cublaslt=True)


# --- in a network -----------------------------------------------------------------------------------------------------


def network(program, device, **options):
    return launches_cublaslt.network(device, program, 16, kernels.FLOAT32, training=True, **options)


def three_layers():
    """6-40-7-3, of which the head computes the last layer forward, and the gradient by what that is given."""
    return program_of([minidl.Dense(40, "relu"), minidl.Dense(7, "tanh"), minidl.Dense(3)], "mse", auc=False)


def products_of(made, device, monkeypatch, *others):
    """Whose each of a step's products was: cuBLASLt's, or a kernel's name; and where these ``others`` were launched."""
    found, launch, multiply = [], device.launch, device.multiply

    def noted(kernel, *rest):
        found.append(kernel.name.split("<")[0])
        launch(kernel, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(device, "launch", noted)
        patched.setattr(device, "multiply", lambda product: found.append(product.name) or multiply(product))
        made.step(*map(device.upload, (X, TARGETS["mse"], np.arange(len(X), dtype=np.int32))), None)
    return [name for name in found if name in (cublaslt.Product.name, *launches_cublaslt.PRODUCTS, *others)]


@ON_THE_CPU
def test_each_product_is_whose_was_measured_to_be_faster(cpu, monkeypatch):
    theirs, (y, dx, dW) = cublaslt.Product.name, launches_cublaslt.PRODUCTS
    assert products_of(network(three_layers(), cpu), cpu, monkeypatch) == [y, y, dW, dW, dx, dW]
    made = network(three_layers(), cpu, with_cublaslt=True)
    assert products_of(made, cpu, monkeypatch) == [theirs] * 6
    table = [
        ["float32", y, 16, 6, 40, 1.5], ["float32", y, 16, 40, 7, 0.5],
        ["float32", dW, 16, 40, 7, 1.25], ["float32", dW, 16, 6, 40, 0.75],
        ["TF32", dx, 16, 40, 7, 3.0],
    ]  # fmt: skip
    monkeypatch.setattr(measured, "table", lambda: {cpu.name: {"cublaslt": table}})
    # The last layer is most like the second.
    assert products_of(network(three_layers(), cpu), cpu, monkeypatch) == [theirs, y, theirs, theirs, dx, dW]


@ON_THE_CPU
@pytest.mark.parametrize("unknown", [cublaslt.ADD_BIAS_RELU_MASK, cublaslt.TIMES_MASK])
def test_without_an_algorithm_for_a_mask_the_way_back_is_a_launch(cpu, unknown, monkeypatch):
    plan = cublaslt.CublasLt.plan

    def some(library, *arguments, **options):
        return None if options["epilogue"] == unknown else plan(library, *arguments, **options)

    for expected in (0, 1):
        made = network(three_layers(), cpu, with_cublaslt=True)
        found = products_of(made, cpu, monkeypatch, kernels.ACTIVATION_BACKWARD.name)
        assert found.count(cublaslt.Product.name) == 6
        assert found.count(kernels.ACTIVATION_BACKWARD.name) == expected
        monkeypatch.setattr(cublaslt.CublasLt, "plan", some)
    follow(program_of(everything()), "binary_crossentropy", WEIGHT, device=cpu, **BY_CUBLASLT)


@ON_THE_CPU
def test_streamed_rows_find_no_algorithm_for_a_mask_either(cpu, monkeypatch):
    """The second buffer asks once more, since its rows lie elsewhere."""
    make, find, asked, masks = cublaslt.Product.__init__, cublaslt.Product.find, {}, []

    def note(product, *arguments, epilogue=cublaslt.PLAIN, **options):
        asked[id(product)] = epilogue
        masks.extend([epilogue] * (epilogue == cublaslt.ADD_BIAS_RELU_MASK))
        make(product, *arguments, epilogue=epilogue, **options)

    monkeypatch.setattr(cublaslt.Product, "__init__", note)
    monkeypatch.setattr(
        cublaslt.Product, "find",
        lambda product: None if asked[id(product)] == cublaslt.ADD_BIAS_RELU_MASK else find(product),
    )  # fmt: skip
    monkeypatch.setattr(cpu, "free_memory", lambda: 1000)
    layers = [minidl.Dense(40, "relu"), minidl.Dense(7, "tanh"), minidl.Dense(3, "sigmoid")]
    trainer = follow(program_of(layers), "binary_crossentropy", WEIGHT, device=cpu, **BY_CUBLASLT)
    assert len(trainer.buffers) == 2
    assert len(masks) == 1  # and has not been asked for again


@ON_THE_CPU
def test_a_gradient_has_parts_for_the_engine_s_own_kernels_alone(cpu, monkeypatch):
    device, program = cpu, three_layers()
    monkeypatch.setattr(launches_cublaslt.Network, "most_parts", lambda network: 3)
    for own, parts in ((), 1), (("backward_x",), 1), (("backward_W",), 3):
        wanted = lambda which, *_, own=own: which not in own  # noqa: E731
        made = launches_cublaslt.NetworkWithCublasLt(wanted, device, program, 16, kernels.FLOAT32, training=True)
        assert made.parts == parts


@ON_THE_CPU
@pytest.mark.parametrize("own", launches_cublaslt.PRODUCTS)
def test_products_of_both_kinds_follow_the_reference(own, cpu, monkeypatch):
    """The library knows no algorithm for one of the three; among them what the first layer had gathered."""
    plan = launches_cublaslt.NetworkWithCublasLt.plan
    monkeypatch.setattr(
        launches_cublaslt.NetworkWithCublasLt, "plan",
        lambda network, which, *rest, **options: None if which == own else plan(network, which, *rest, **options),
    )  # fmt: skip
    follow(program_of(everything()), "binary_crossentropy", WEIGHT, device=cpu, **BY_CUBLASLT)


@ON_THE_CPU
def test_a_dropout_behind_a_masked_relu_follows_the_reference(cpu):
    layers = [minidl.Dense(40, "relu"), minidl.Dropout(0.25), minidl.Dense(9, "relu"), minidl.Dense(3, "sigmoid")]
    follow(program_of(layers), "binary_crossentropy", WEIGHT, device=cpu, **BY_CUBLASLT)


@ON_THE_CPU
def test_while_recording_nothing_is_planned_or_allocated(cpu, monkeypatch):
    """Neither may be done while a stream is captured."""
    calls = []

    def watched(plain):
        def call(*arguments, **options):
            calls.append(plain)
            assert cpu.recording is None
            return plain(*arguments, **options)

        return call

    for owner, name in ((cublaslt.CublasLt, "call"), (cpu, "empty")):
        monkeypatch.setattr(owner, name, watched(getattr(owner, name)))
    program = program_of(everything())
    trainer = CapturedTrainer(
        program, X, TARGETS["binary_crossentropy"], None, 16, device=cpu, **BY_CUBLASLT
    )
    runs(trainer, program)
    assert len(calls) > 100


@ON_THE_CPU
@pytest.mark.parametrize("fault", [None, "clear_rest", "gather"])
def test_a_short_batch_must_be_cleared_and_rows_gathered(cpu, fault, monkeypatch):
    """What the tests of training are worth: without either, the loss curve is another one."""
    launch = cpu.launch
    monkeypatch.setattr(cpu, "launch", lambda kernel, *rest: kernel.name == fault or launch(kernel, *rest))
    programs, y = [three_layers() for _ in range(2)], TARGETS["mse"]
    wanted, _, _ = runs(train.Trainer(programs[0], X, y, None, 16), programs[0])
    trainer = CapturedTrainer(programs[1], X, y, None, 16, device=cpu, **BY_CUBLASLT)
    found, _, _ = runs(trainer, programs[1])
    assert np.allclose(found[:, c.LOSS], wanted[:, c.LOSS], rtol=1e-5) == (fault is None)


# --- the library itself, which takes descriptions of products without a GPU ------------------------------------------


class WithoutHandle(cublaslt.CublasLt):
    """What makes descriptions alone: a handle needs a GPU."""

    def made(self, function, *arguments):
        return None if function == "cublasLtCreate" else super().made(function, *arguments)


@pytest.fixture(params=["what stands in", "cuBLASLt"])
def describing(request):
    if request.param == "cuBLASLt":
        try:
            library = cublaslt.load()
        except RuntimeError as missing:
            pytest.skip(str(missing))
    elif gpu_devices.CPU_TURNS:
        library = ctypes.CDLL(str(build.library()))
    else:
        pytest.skip("the CPU's device does not run here")
    return WithoutHandle(library, np.zeros(1024, np.uint8), lambda array: array.ctypes.data)


def test_the_library_knows_every_attribute_that_is_set(describing, monkeypatch):
    """It gives back what was set, in the size that it has there."""
    values, owners = {}, {}
    set_ = cublaslt.Product.set

    def noted(product, kind, owner, which, value):
        set_(product, kind, owner, which, value)
        values[kind, which], owners[kind] = value, owner

    def find(product):
        owners["kept"] = describing.owned(product, "MatmulPreference")
        for which, value in ((cublaslt.WORKSPACE, np.uint64(1024)), *((a, np.uint32(64)) for a in cublaslt.ALIGNMENTS)):
            noted(product, "MatmulPreference", owners["kept"], which, value)

    monkeypatch.setattr(cublaslt.Product, "set", noted)
    monkeypatch.setattr(cublaslt.Product, "find", find)
    a, b, made = (np.zeros(shape, np.float32) for shape in ((4, 3), (5, 4), (3, 5)))
    for precision in kernels.PRECISIONS:
        product = cublaslt.Product(
            describing, precision, 3, 4, 5, a, b, made, transposed=(True, True), epilogue=cublaslt.TIMES_MASK,
            vector=made, mask=made,
        )  # fmt: skip
        values["MatmulDesc", 0], values["MatmulDesc", 1] = np.int32(cublaslt.COMPUTE[precision]), np.int32(0)
        for (kind, which), value in values.items():
            room, written = np.zeros_like(value[None]), ctypes.c_size_t()
            describing.library[f"cublasLt{kind}GetAttribute"](
                owners[kind], which, ctypes.c_void_p(room.ctypes.data), ctypes.c_size_t(room.nbytes),
                ctypes.byref(written),
            )  # fmt: skip
            assert (room[0], written.value) == (value, room.nbytes), (kind, which)
        for layout, wanted in zip(product.layouts, ((4, 5, 4), (3, 4, 3), (5, 3, 5)), strict=True):
            assert shape_of(describing, layout) == wanted
    assert len(values) == 13


def shape_of(describing, layout):
    """Rows, columns and leading dimension of a matrix that lies column by column."""
    found = []
    for which in (2, 3, 4):
        room = ctypes.c_int64()
        describing.call(
            "cublasLtMatrixLayoutGetAttribute", layout, which, ctypes.byref(room), ctypes.c_size_t(8), None
        )  # fmt: skip
        found.append(room.value)
    return tuple(found)
