"""The GPU's fast path, on the CPU's device where there is no GPU: recorded steps and steps in one launch follow the
reference."""

import copy
from types import SimpleNamespace

import gpu_devices
import numpy as np
import numpy_in_cupys_place
import pytest

import minidl
from minidl import contract as c
from minidl.engines.cupy_engine import chosen, kernels, launches_cublaslt, measured, persistent, streamed
from minidl.engines.cupy_engine.captured import CapturedForward, CapturedTrainer
from minidl.engines.cupy_engine.launches import Network
from minidl.engines.numpy_engine import infer, train

pytestmark = pytest.mark.skipif(bool(gpu_devices.WHY_NOT), reason=gpu_devices.WHY_NOT)

RNG = np.random.default_rng(12)
ROWS, INPUTS = 75, 6
X = RNG.normal(size=(ROWS, INPUTS)).astype(np.float32)
WEIGHT = RNG.uniform(0, 2, ROWS).astype(np.float32)
CLASSES = RNG.integers(3, size=ROWS)
TARGETS = {
    "mse": RNG.normal(size=(ROWS, 3)).astype(np.float32),
    "mae": RNG.normal(size=(ROWS, 3)).astype(np.float32),
    "binary_crossentropy": RNG.integers(0, 2, (ROWS, 3)).astype(np.float32),
    "categorical_crossentropy": np.eye(3, dtype=np.float32)[CLASSES],
    "sparse_categorical_crossentropy": CLASSES[:, None].astype(np.float32),
}
OPTIMIZERS = {
    "sgd": lambda: minidl.SGD(0.05),
    "momentum": lambda: minidl.SGD(0.05, momentum=0.875),
    "nesterov": lambda: minidl.SGD(0.05, momentum=0.875, nesterov=True),
    "adam": lambda: minidl.Adam(0.01),
    "adamw": lambda: minidl.AdamW(0.01),
}


def everything(head="sigmoid"):
    return [
        minidl.Normalization(),
        minidl.Dense(40, "tanh", kernel_regularizer="l1_l2"),
        minidl.Dropout(0.25),
        minidl.Dense(7, "relu", kernel_regularizer="l2"),
        minidl.Dense(3, head, use_bias=False),
    ]


NETWORKS = {  # each with whether the persistent kernel takes it
    "everything": (everything, True),
    "one layer": (lambda: [minidl.Dense(3, "sigmoid")], True),
    "frozen layers": (
        lambda: [minidl.Dense(8, "relu", trainable=False), minidl.Dense(5), minidl.Dense(3, "sigmoid")], True,
    ),
    "a dropout first": (lambda: [minidl.Dropout(0.2), minidl.Dense(3, "sigmoid")], False),
    "a softmax inside": (lambda: [minidl.Dense(9, "softmax"), minidl.Dense(3, "sigmoid")], False),
    "a normalization inside": (
        lambda: [minidl.Dense(9, "relu"), minidl.Normalization(trainable=False), minidl.Dropout(0.5),
                 minidl.Dense(3, "sigmoid")], False,
    ),
    "a dropout last": (lambda: [minidl.Dense(9, "relu"), minidl.Dense(3, "sigmoid"), minidl.Dropout(0.1)], False),
    "an activation of its own": (lambda: [minidl.Dropout(0.2), minidl.Dense(3)], False),
}  # fmt: skip


def program_of(layers, loss="binary_crossentropy", optimizer="adam", auc=True):
    model = minidl.Sequential(layers, seed=2)
    metrics = ["accuracy", "mae", *(["auc"] if auc else []), "mse"]
    model.compile(OPTIMIZERS[optimizer](), loss, metrics=metrics, engine="numpy")
    model._prepare(X)
    model._program.optimizer_numbers = model.optimizer.numbers()
    return model._program


def orders_of(epochs):
    rng = np.random.default_rng(5)
    return np.stack([rng.permutation(ROWS) for _ in range(epochs)])


def runs(trainer, program):
    """Everything that training gives over two calls, with another learning rate in the second."""
    sums = [trainer.run(orders_of(3), 0, ROWS)]
    trainer.pull()
    program.optimizer_numbers = program.optimizer_numbers * np.array([0.5, 1, 1, 1, 1, 1])
    sums.append(trainer.run(orders_of(2), 16, ROWS))
    trainer.pull()
    return np.concatenate(sums), [program.parameters, program.slots], program.step


def follow(program, loss, sample_weight=None, bound=2e-4, device=None, **options):
    """Train the same program by the reference and on the device; both have to come to the same."""
    twin, y = copy.deepcopy(program), TARGETS[loss]
    sums, arrays, step = runs(train.Trainer(program, X, y, sample_weight, 16), program)
    trainer = CapturedTrainer(twin, X, y, sample_weight, 16, device=device or gpu_devices.device(), **options)
    found, found_arrays, found_step = runs(trainer, twin)
    assert found_step == step
    np.testing.assert_allclose(found, sums, rtol=bound, atol=bound)
    for array, wanted in zip(found_arrays, arrays, strict=True):
        np.testing.assert_allclose(array, wanted, atol=bound * max(np.abs(wanted).max(initial=0), 1e-3), rtol=0)
    return trainer


BY_CUBLASLT = {"in_one_launch": False, "with_cublaslt": True}
WAYS = {"recorded": {"in_one_launch": False, "with_cublaslt": False}, "in one launch": {"in_one_launch": True}}
if gpu_devices.has_cublaslt():
    WAYS["recorded, cuBLASLt"] = BY_CUBLASLT
HEADS = [
    ("mse", "linear"), ("mse", "sigmoid"), ("mae", "linear"), ("mae", "sigmoid"), ("binary_crossentropy", "sigmoid"),
    ("categorical_crossentropy", "softmax"), ("sparse_categorical_crossentropy", "softmax"),
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("loss", "head"), HEADS)
def test_every_loss_follows_the_reference(way, loss, head):
    auc = loss == "binary_crossentropy" and head == "sigmoid"
    program = program_of(everything(head), loss, auc=auc)
    trainer = follow(program, loss, WEIGHT, **WAYS[way])
    assert trainer.in_one_launch == WAYS[way]["in_one_launch"]


LOGITS = {
    "binary_crossentropy": minidl.losses.BinaryCrossentropy,
    "categorical_crossentropy": minidl.losses.CategoricalCrossentropy,
    "sparse_categorical_crossentropy": minidl.losses.SparseCategoricalCrossentropy,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("loss", LOGITS)
def test_losses_from_logits_follow_the_reference(way, loss):
    program = program_of(everything("linear"), LOGITS[loss](from_logits=True), auc=False)
    follow(program, loss, WEIGHT, **WAYS[way])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_follows_the_reference(way, optimizer):
    follow(program_of(everything(), optimizer=optimizer), "binary_crossentropy", **WAYS[way])


@pytest.mark.parametrize(
    ("way", "name"),
    [(way, name) for way in WAYS for name, (_, fits) in NETWORKS.items() if fits or not WAYS[way]["in_one_launch"]],
)
def test_every_network_follows_the_reference(way, name):
    layers, _ = NETWORKS[name]
    program = program_of(layers(), auc=name not in ("a dropout last", "an activation of its own"))
    trainer = follow(program, "binary_crossentropy", WEIGHT, **WAYS[way])
    assert trainer.in_one_launch == WAYS[way]["in_one_launch"]


@pytest.mark.parametrize("way", [way for way in WAYS if way != "in one launch"])
@pytest.mark.parametrize(
    ("loss", "head"), [("mse", "tanh"), ("mse", "softmax"), ("categorical_crossentropy", "softmax")]
)
def test_a_wide_head_follows_the_reference(way, loss, head, monkeypatch):
    """More outputs than a warp computes along with the loss."""
    y = RNG.uniform(size=(ROWS, 40)).astype(np.float32)
    monkeypatch.setitem(TARGETS, loss, y / y.sum(1, keepdims=True))
    program = program_of([minidl.Dense(9, "relu"), minidl.Dense(40, head)], loss, auc=False)
    follow(program, loss, WEIGHT, **WAYS[way])


@pytest.mark.parametrize("way", WAYS)
def test_three_products_in_tf32_follow_the_reference(way):
    program = program_of(everything(), auc=False)
    follow(program, "binary_crossentropy", precision=kernels.THREE_TF32, **WAYS[way])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("precision", "most", "least"), [(kernels.TF32, 2e-3, 1e-6), (kernels.BFLOAT16, 1e-2, 1e-5)])
def test_rounded_products_follow_the_loss_curve(precision, most, least, way):
    programs = [program_of(everything(), auc=False) for _ in range(2)]
    y, device = TARGETS["binary_crossentropy"], gpu_devices.device()
    wanted, _, _ = runs(train.Trainer(programs[0], X, y, None, 16), programs[0])
    trainer = CapturedTrainer(programs[1], X, y, None, 16, device=device, precision=precision, **WAYS[way])
    found, _, _ = runs(trainer, programs[1])
    np.testing.assert_allclose(found[:, c.LOSS], wanted[:, c.LOSS], rtol=most)
    assert np.abs(found[:, c.LOSS] / wanted[:, c.LOSS] - 1).max() > least  # it is not float32


@pytest.mark.parametrize("way", WAYS)
def test_a_run_can_be_repeated_to_the_bit(way):
    """Whichever turns the threads and blocks have: no sum depends on who comes first."""
    found = []
    for turns in gpu_devices.CPU_TURNS or [gpu_devices.GPU] * 2:
        program = program_of(everything())
        trainer = CapturedTrainer(
            program, X, TARGETS["binary_crossentropy"], WEIGHT, 16, device=gpu_devices.device(turns),
            **WAYS[way],
        )  # fmt: skip
        sums, arrays, _ = runs(trainer, program)
        found.append((sums.tobytes(), [array.tobytes() for array in arrays]))
    assert all(other == found[0] for other in found)


def test_steps_are_recorded_once(monkeypatch):
    device, recorded = gpu_devices.device(), []
    record = device.record
    monkeypatch.setattr(device, "record", lambda launches: recorded.append(1) or record(launches))
    program = program_of(everything())
    trainer = CapturedTrainer(
        program, X, TARGETS["binary_crossentropy"], None, 4, device=device, in_one_launch=False
    )  # fmt: skip
    for epochs in (2, 2, 1):
        trainer.run(orders_of(epochs), 0, ROWS)
    assert len(recorded) == 2  # one step, and many
    trainer.run(orders_of(3), 0, ROWS)  # more epochs than there was room for
    assert len(recorded) == 4


def test_a_run_of_many_launches_is_one_of_few(monkeypatch):
    """Where the persistent kernel stops and is launched anew, it goes on as if it had not."""
    found = []
    for steps in (persistent.STEPS, 2):
        monkeypatch.setattr(persistent, "STEPS", steps)
        program = program_of(everything())
        trainer = CapturedTrainer(
            program, X, TARGETS["binary_crossentropy"], None, 16, device=gpu_devices.device(), in_one_launch=True
        )  # fmt: skip
        sums, arrays, _ = runs(trainer, program)
        found.append((sums.tobytes(), [array.tobytes() for array in arrays]))
    assert found[0] == found[1]


def test_tiles_fill_the_gpu_and_have_room():
    device = copy.copy(gpu_devices.device())
    network = Network(device, program_of(everything()), 16, kernels.FLOAT32, training=True)
    for blocks, shared, tile in ((1, 227, 128), (4, 227, 128), (5, 227, 64), (17, 227, 32), (1, 99, 64), (1, 48, 32)):
        device.multiprocessors, device.shared_memory = blocks, shared * 1024
        assert network.with_tile(kernels.forward, 256, 256, 1).tile == tile
    assert network.with_tile(kernels.backward_W, 256, 256, 13).tile == 32  # in 48 kB


def test_what_is_written_between_runs_is_trained_on():
    """Weights, slots and a normalization's statistics, as a callback may change them."""
    programs = program_of(everything()), program_of(everything())
    y = TARGETS["binary_crossentropy"]
    trainers = (
        train.Trainer(programs[0], X, y, None, 16),
        CapturedTrainer(programs[1], X, y, None, 16, device=gpu_devices.device()),
    )
    for change in (lambda program: None, meddle, lambda program: None):
        sums = []
        for program, trainer in zip(programs, trainers, strict=True):
            change(program)
            sums.append(trainer.run(orders_of(1), 0, ROWS))
            trainer.pull()
        np.testing.assert_allclose(sums[1], sums[0], rtol=2e-4, atol=2e-4)
        np.testing.assert_allclose(programs[1].parameters, programs[0].parameters, rtol=2e-4, atol=2e-4)


def meddle(program):
    program.parameters[: program.trainable] *= 0.5
    program.slots *= 0.25
    program.mean(program.table[0])[...] += 1
    program.variance(program.table[0])[...] *= 2


@pytest.mark.parametrize("with_cublaslt", [False, True] if gpu_devices.has_cublaslt() else [False])
@pytest.mark.parametrize("rows", [1, 7, 75])
@pytest.mark.parametrize("name", NETWORKS)
def test_forward_follows_the_reference(name, rows, with_cublaslt):
    program = program_of(NETWORKS[name][0](), auc=name not in ("a dropout last", "an activation of its own"))
    forward = CapturedForward(program, 16, device=gpu_devices.device(), with_cublaslt=with_cublaslt)
    out = np.empty((rows, 3), np.float32)
    y = TARGETS["binary_crossentropy"]
    for _ in range(2):  # the second time with other weights
        forward.take()
        forward.predict(X[:rows], out)  # 16 rows at a time, through two buffers
        sums = forward.evaluate(X[:rows], y[:rows], WEIGHT[:rows])
        np.testing.assert_allclose(out, infer.predict(program, X[:rows]), rtol=1e-5, atol=1e-6)
        wanted = infer.evaluate(program, X[:rows], y[:rows], WEIGHT[:rows])
        np.testing.assert_allclose(sums, wanted, rtol=1e-5, atol=1e-5)
        program.parameters[: program.trainable] *= 1.5


@pytest.mark.parametrize("way", [way for way in WAYS if way != "in one launch"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("name", ["everything", "one layer", "a dropout first"])
def test_data_that_do_not_fit_are_streamed_to_the_same_bits(name, weight, way, monkeypatch):
    """Shuffled, with a last batch that is ragged, in two runs; the CPU's device copies as late as it may."""
    found, device = [], gpu_devices.device()
    for free in (2**40, 1000):
        monkeypatch.setattr(device, "free_memory", lambda free=free: free)
        program = program_of(NETWORKS[name][0]())
        trainer = CapturedTrainer(
            program, X, TARGETS["binary_crossentropy"], weight, 16, device=device, **WAYS[way]
        )  # fmt: skip
        assert bool(trainer.buffers) == (free == 1000)
        sums, arrays, step = runs(trainer, program)
        found.append((sums.tobytes(), [array.tobytes() for array in arrays], step))
    assert found[0] == found[1]


def test_the_persistent_kernel_does_not_stream(monkeypatch):
    device = gpu_devices.device()
    monkeypatch.setattr(device, "free_memory", lambda: 0)
    program = program_of(everything())
    y = TARGETS["binary_crossentropy"]
    assert not CapturedTrainer(program, X, y, None, 16, device=device, in_one_launch=True).in_one_launch


@pytest.mark.skipif(not gpu_devices.CPU_TURNS, reason="the CPU's device does not run here")
@pytest.mark.parametrize("fault", [False, True])
def test_rows_that_nobody_waits_for_are_missing(fault, monkeypatch):
    """What the tests of streaming are worth: without the wait, the network computes with what has not arrived."""
    device = gpu_devices.device(gpu_devices.CPU_TURNS[0])
    if fault:
        monkeypatch.setattr(streamed.Buffer, "use", lambda buffer, launch: launch())
    program = program_of(everything())
    forward, out = CapturedForward(program, 16, device=device), np.full((ROWS, 3), np.nan, np.float32)
    forward.take()
    forward.predict(X, out)
    wanted = infer.predict(program, X)
    assert np.allclose(out, wanted, rtol=1e-5, atol=1e-6) != fault


def test_the_way_is_chosen_by_what_was_measured(monkeypatch):
    device = gpu_devices.device()
    tables = {"A": {"one launch": [[1_000, 64], [100_000, 0]]}, device.name: {"one launch": [[400, 8]]}}
    monkeypatch.setattr(measured, "table", lambda: tables)
    chosen_rows = [measured.most_rows("A", size) for size in (10, 9_000, 11_000, 10**7)]
    assert chosen_rows == [64, 64, 0, 0]
    assert measured.most_rows("not measured", 1_000) == measured.ROWS
    for batch_size in (8, 9):
        trainer = CapturedTrainer(
            program_of(everything()), X, TARGETS["binary_crossentropy"], None, batch_size, device=device
        )  # fmt: skip
        assert trainer.in_one_launch == (batch_size == 8)


def test_the_shipped_table_names_gpus_networks_and_products():
    for name, found in measured.table().items():
        assert "none" not in name
        assert set(found) == {"one launch", "cublaslt"}
        assert all(parameters > 0 and rows >= 0 for parameters, rows in found["one launch"])
        for precision, product, *numbers in found["cublaslt"]:
            assert precision in kernels.PRECISION_NAMES
            assert product in launches_cublaslt.PRODUCTS
            assert len(numbers) == 4
            assert all(number > 0 for number in numbers)


def test_what_the_persistent_kernel_takes():
    for name, (layers, fits) in NETWORKS.items():
        program = program_of(layers(), auc=False)
        network = Network(gpu_devices.device(), program, 16, kernels.FLOAT32, training=True)
        assert persistent.fits(network) == fits, name


# --- the whole engine, as a model uses it -----------------------------------------------------------------------------


@pytest.fixture
def on_the_device(monkeypatch):
    """The engine "cupy" with its fast version on the CPU's device; what was asked of that."""
    asked = []
    monkeypatch.setattr(chosen, "device_for", lambda program: asked.append(1) or gpu_devices.device())
    with numpy_in_cupys_place.engine():
        yield asked


def use(engine):
    """All that a model gives: fit with validation, fit with weights, evaluate, predict of all rows and of one."""
    model, y = minidl.Sequential(everything(), seed=2), TARGETS["binary_crossentropy"]
    model.compile("adam", "binary_crossentropy", metrics=["accuracy", "auc"], engine=engine)
    runs = [
        model.fit(X, y, 16, epochs=3, verbose=0, validation_split=0.2),
        model.fit(X, y, 16, epochs=2, verbose=0, sample_weight=WEIGHT),
    ]
    history = [values for run in runs for values in run.history.values()]
    return [*history, model.evaluate(X, y), model.predict(X), model.predict(X[:1]), *model.get_weights()]


def test_a_model_follows_the_reference(on_the_device):
    for found, wanted in zip(use("cupy"), use("numpy"), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    assert on_the_device


def test_without_being_asked_the_readable_version_runs(monkeypatch):
    program = program_of(everything())
    monkeypatch.delenv(chosen.SWITCH, raising=False)
    assert chosen.device_for(program) is None
    monkeypatch.setenv(chosen.SWITCH, "1")
    gpu = SimpleNamespace(capability=80)
    monkeypatch.setattr(chosen, "the_gpu", lambda: gpu)
    monkeypatch.setattr(chosen, "xp", SimpleNamespace(RawModule=None))
    assert chosen.device_for(program) is gpu
    gpu.capability = 75  # the kernels' instructions are younger
    assert chosen.device_for(program) is None
    gpu.capability = 80
    program.parameters = program.parameters.astype(np.float64)  # the kernels know float32 only
    assert chosen.device_for(program) is None


def test_the_precision_is_as_asked_for(on_the_device, monkeypatch):
    device, made = gpu_devices.device(), []
    trainer = chosen.captured.CapturedTrainer
    monkeypatch.setattr(
        chosen.captured, "CapturedTrainer",
        lambda *arguments, **options: made.append(options["precision"]) or trainer(*arguments, **options),
    )  # fmt: skip
    for strong in (False, True):
        monkeypatch.setattr(device, "strong_tensor_cores", strong)
        for asked in ("highest", "high", "medium"):
            model = minidl.Sequential([minidl.Dense(3, "sigmoid")], seed=2)
            model.compile("sgd", "binary_crossentropy", engine="cupy", matmul_precision=asked)
            model.fit(X, TARGETS["binary_crossentropy"], 40, verbose=0)
    less = [kernels.TF32, kernels.BFLOAT16]
    assert made == [kernels.FLOAT32, *less, kernels.THREE_TF32, *less]


def test_a_frozen_program_is_taken_once():
    program = program_of(everything())
    forward = CapturedForward(program, 1, device=gpu_devices.device())
    found = []
    for program.frozen in (False, False, True):
        program.parameters[: program.trainable] *= 0.75
        forward.take()
        out = np.empty((1, 3), np.float32)
        forward.predict(X[:1], out)
        found.append(out.tobytes())
    assert found[0] != found[1] == found[2]
