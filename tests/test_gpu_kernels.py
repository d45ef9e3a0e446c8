"""Every kernel of kernels.cu on the CPU, against the reference in float64.

Run over odd shapes, with the threads' turns in several orders, memory that begins as NaN and lies between guards, and
once more under the address and undefined-behaviour sanitizers.
"""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import gpu_devices
import numpy as np
import pytest
from gpu_devices import NO_DROPOUT, dropout_of, place, whole

from minidl import contract as c
from minidl import get_engine
from minidl.engines.cupy_engine import kernels
from minidl.engines.cupy_engine.device import GpuDevice
from minidl.engines.cupy_engine.gpu_on_cpu import build
from minidl.engines.cupy_engine.gpu_on_cpu.device import CpuDevice
from minidl.engines.numpy_engine import activations, losses, metrics, optimizers
from minidl.engines.numpy_engine.regularization import keep_mask

pytestmark = pytest.mark.skipif(bool(gpu_devices.WHY_NOT), reason=gpu_devices.WHY_NOT)

numpy_engine = get_engine("numpy")
U = 2.0**-24  # the rounding unit of float32
PRECISION = {  # times |A| |B|
    kernels.FLOAT32: 8 * U, kernels.TF32: 2.0**-10, kernels.THREE_TF32: 8 * U, kernels.BFLOAT16: 2.0**-7,
}  # fmt: skip
ELEMENTWISE = [code for code, name in enumerate(c.ACTIVATIONS) if name != "softmax"]


@pytest.fixture(params=gpu_devices.TURNS, ids=lambda turns: f"{turns[0]} {turns[1]}")
def device(request):
    return gpu_devices.device(request.param)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def float32(array):
    return np.asarray(array, np.float32)


def normal(rng, *shape):
    return float32(rng.normal(size=shape))


def close(found, wanted, bound=8 * U, scale=None):
    """Within the bound, measured by ``scale`` or the largest entry; NaN and infinity where wanted and nowhere else."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(found[~finite], wanted[~finite])
    scale = np.max(np.abs(wanted[finite]), initial=0) if scale is None else np.broadcast_to(scale, wanted.shape)[finite]
    assert (np.abs(found[finite] - wanted[finite]) <= bound * scale + 2.0**-126).all()  # CuPy lets subnormals be 0


def reference(function, *arguments):
    """The reference engine's result in float64."""
    with np.errstate(all="ignore"):
        return function(*(np.float64(part) if isinstance(part, np.ndarray) else part for part in arguments))


# --- where a run stands -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not gpu_devices.CPU_TURNS, reason=build.why_not())
def test_structs_have_the_layout_of_the_text():
    device = gpu_devices.device(gpu_devices.CPU_TURNS[0])
    for name, dtype in kernels.STRUCTS.items():
        assert device.library.cuda_on_cpu_struct(name.encode()) == dtype.itemsize, name


def test_a_gpu_is_handed_the_same_bytes():
    """What CuPy is given for each kind of argument: a number of the right size, which it hands over by value."""
    cpu, gpu = (object.__new__(kind) for kind in (CpuDevice, GpuDevice))
    for argument in (None, 3, np.int64(2**40), kernels.struct("Penalty", l1=0.5), np.zeros(2, np.float32)):
        assert gpu.packed(argument).tobytes() == cpu.packed(argument)


@pytest.mark.parametrize("before", [-1, 4, 3_000])
def test_begin_batch_walks_through_the_epochs(device, before):
    """After so many steps; in the first one its number is 0."""
    numbers = [0.01, 0, 0.9, 0.999, 1e-7, 0]
    at, rates = place(device, rows=7, batch_size=3, epochs=2, first=-3, step=before), device.upload(np.array(numbers))
    for step, (epoch, first) in enumerate([(0, 0), (0, 3), (0, 6), (1, 0), (1, 3), (1, 6)], start=before + 1):
        device.launch(kernels.BEGIN_BATCH, 1, at, c.ADAM, rates)
        now = at.view(kernels.STRUCTS["Place"])[0]
        assert (now["step"], now["epoch"], now["first"]) == (step, epoch, first)
        t = step + 1
        assert now["rate"] == pytest.approx(0.01 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t), rel=1e-12)
    for _ in range(2):  # all epochs are done: nothing moves any more
        device.launch(kernels.BEGIN_BATCH, 1, at, c.SGD, rates)
        now = at.view(kernels.STRUCTS["Place"])[0]
        assert (now["step"], now["epoch"], now["first"], now["rate"]) == (before + 7, 2, 0, 0.01)


@pytest.mark.parametrize("width", [1, 5, 33])
def test_gather(device, rng, width):
    X, order = normal(rng, 20, width), np.int32([rng.permutation(20), rng.permutation(20)])
    x = device.empty((8, width))
    at = place(device, rows=20, batch_size=8, epochs=2, epoch=1, first=16)
    device.launch(kernels.GATHER, 2, device.upload(X), device.upload(order), x, width, at)
    np.testing.assert_array_equal(x[:4], X[order[1, 16:]])
    assert np.isnan(x[4:]).all()  # the last batch is a short one


@pytest.mark.parametrize(("first", "left"), [(0, 0), (16, 4), (20, 8)])
def test_clear_rest(device, rng, first, left):
    """Of batches of 8 rows: none after a whole one, the last 4 after a short one, all where there is no batch."""
    x, dz = normal(rng, 8, 5), normal(rng, 8, 3)
    memory = [device.upload(np.append(array, np.ones((1, array.shape[1]), np.float32), 0)) for array in (x, dz)]
    at = place(device, rows=20, batch_size=8, epoch=int(first == 20), first=first % 20)
    device.launch(kernels.CLEAR_REST, 2, *memory, 5, 3, 8, at)
    for found, array in zip(memory, (x, dz), strict=True):
        array[8 - left :] = 0
        np.testing.assert_array_equal(found[:8], array)
        assert (found[8] == 1).all()


# --- each number for itself -------------------------------------------------------------------------------------------

LINE = float32([-np.inf, -100, -88, -3, -0.5, -1e-30, 0, 1e-30, 0.25, 2, 30, 104, np.inf, np.nan])


@pytest.mark.parametrize("which", ELEMENTWISE)
def test_activations(device, rng, which):
    z = np.concatenate([LINE, normal(rng, 300)])[:, None]
    y, at = device.empty(z.shape), place(device, len(z))
    device.launch(kernels.ACTIVATION, 2, device.upload(z), y, 1, which, at)
    wanted = reference(activations.FORWARD[which], z)
    close(y, wanted, 4 * U, np.abs(wanted))
    dy, dz = normal(rng, *z.shape), device.empty(z.shape)
    device.launch(kernels.ACTIVATION_BACKWARD, 2, device.upload(dy), y, dz, 1, which, at)
    close(dz, reference(activations.BACKWARD[which], dy, y.copy()), 4 * U)


@pytest.mark.parametrize("width", [1, 3, 32, 45])
def test_softmax(device, rng, width):
    z, dy = 30 * normal(rng, 11, width), normal(rng, 11, width)
    z[2, 0], z[3, -1] = np.nan, np.inf
    y, dz, at = device.empty((12, width)), device.empty((12, width)), place(device, 11)
    device.launch(kernels.SOFTMAX, 1, device.upload(z), y, width, at)
    close(y[:11], reference(activations.softmax, z), 64 * U)
    device.launch(kernels.SOFTMAX_BACKWARD, 2, device.upload(dy), y, dz, width, at)
    close(dz[:11], reference(activations.softmax_backward, dy, y[:11].copy()), 8 * U, np.abs(dy).max())
    assert np.isnan(y[11]).all()
    assert np.isnan(dz[11]).all()


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.9])
def test_dropout_is_the_contract_s_bits(device, rng, rate):
    x, at = normal(rng, 9, 13), place(device, rows=30, batch_size=9, step=41)
    wanted = x * (keep_mask(x.shape, rate, 5, 41, 2) * np.float32(1 / (1 - rate)))
    y = device.empty(x.shape)
    device.launch(kernels.DROPOUT, 3, device.upload(x), y, 13, dropout_of(rate, 5, 2), at)
    np.testing.assert_array_equal(y, wanted)
    in_place = device.upload(x)
    device.launch(kernels.DROPOUT, 1, in_place, in_place, 13, dropout_of(rate, 5, 2), at)
    np.testing.assert_array_equal(in_place, wanted)


def test_normalization(device, rng):
    x, mean, variance = normal(rng, 10, 7), normal(rng, 7), float32(rng.uniform(0, 2, 7))
    variance[3] = 0  # the floor of a deviation
    y, dx, at = device.empty(x.shape), device.empty(x.shape), place(device, 10)
    where = [device.upload(part) for part in (mean, variance)]
    device.launch(kernels.NORMALIZATION, 1, device.upload(x), *where, y, 7, at)
    device.launch(kernels.NORMALIZATION_BACKWARD, 1, device.upload(x), where[1], dx, 7, at)
    floor = np.arange(7) == 3
    for part in (floor, ~floor):
        close(y[:, part], reference(numpy_engine.normalization, x, mean, variance)[:, part])
        close(dx[:, part], reference(numpy_engine.normalization_backward, x, variance)[:, part])


# --- the dense layer --------------------------------------------------------------------------------------------------

# (rows, inputs, units): odd, less than a tile and more, with rows of 16 bytes and others, and no rows at all.
SHAPES = [(1, 1, 1), (5, 3, 2), (33, 65, 34), (40, 100, 36), (130, 7, 129), (0, 4, 4)]


def within(found, wanted, yardstick, bound):
    assert found.shape == wanted.shape
    assert not np.isnan(found).any()
    assert (np.abs(found - wanted) <= bound * yardstick + 1e-30).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tile", kernels.TILES)
@pytest.mark.parametrize("precision", kernels.PRECISIONS)
def test_products(device, rng, precision, tile, shape):
    """Forward without an activation, and both products backward, from a batch in the middle of an order."""
    n, i, o = shape
    bound = PRECISION[precision]
    X, W, b, dz = normal(rng, n + 9, i), normal(rng, i, o), normal(rng, o), normal(rng, n, o)
    order = rng.permutation(n + 9).astype(np.int32)
    at = place(device, rows=n + 5, batch_size=max(n, 1), first=5, epochs=0 if n == 0 else 1)
    x = np.float64(X[order[5 : 5 + n]])
    X_, order_, W_, b_, dz_ = (device.upload(part) for part in (X, order, W, b, dz))

    y = device.empty((n + 1, o))
    grid = whole(o, tile), max(whole(n, tile), 1)
    device.launch(
        kernels.forward(precision, tile), grid, X_, order_, W_, b_, y, None, i, o, c.LINEAR, NO_DROPOUT, at
    )  # fmt: skip
    within(y[:n], x @ W + b, np.abs(x) @ np.abs(W) + np.abs(b), bound)
    assert np.isnan(y[n]).all()

    dx = device.empty((n + 1, i))
    grid = whole(i, tile), max(whole(n, tile), 1)
    device.launch(
        kernels.backward_x(precision, tile), grid, dz_, W_, None, dx, i, o, c.LINEAR, NO_DROPOUT, at
    )  # fmt: skip
    within(dx[:n], np.float64(dz) @ W.T, np.abs(np.float64(dz)) @ np.abs(W.T), bound)
    assert np.isnan(dx[n]).all()

    for parts in (1, 3):
        gradient = device.empty((parts, i * o + o + 5))
        grid = whole(o, tile), whole(i, tile), parts
        device.launch(
            kernels.backward_W(precision, tile), grid, X_, order_, dz_, gradient, gradient[0, i * o :],
            np.int64(gradient.shape[1]), i, o, at,
        )  # fmt: skip
        dW, db = gradient[:, : i * o].sum(0, np.float64), gradient[:, i * o : i * o + o].sum(0, np.float64)
        within(dW.reshape(i, o), x.T @ dz, np.abs(x.T) @ np.abs(dz), bound)
        within(db, dz.sum(0, np.float64), np.abs(dz).sum(0, np.float64), 8 * U)
        assert np.isnan(gradient[:, -5:]).all()


@pytest.mark.parametrize("which", ELEMENTWISE)
@pytest.mark.parametrize("rate", [0, 0.4])
def test_what_follows_a_product(device, rng, which, rate):
    """The activation and the dropout behind a layer, and the way back through both."""
    n, i, o, step = 37, 10, 35, 12
    x, W, b, dz = normal(rng, n, i), normal(rng, i, o), normal(rng, o), normal(rng, n, i)
    at, dropout = place(device, n, step=step), dropout_of(rate, 9, 1)
    mask = keep_mask((n, o), rate, 9, step, 1) / (1 - rate)
    y, dropped = device.empty((n, o)), device.empty((n, o))
    device.launch(
        kernels.forward(kernels.FLOAT32, 32), (2, 2), device.upload(x), None, device.upload(W), device.upload(b), y,
        dropped, i, o, which, dropout, at,
    )  # fmt: skip
    wanted = reference(activations.FORWARD[which], np.float64(x) @ W + b)
    close(y, wanted, 64 * U)
    close(dropped, y * mask, 4 * U, np.abs(y))

    V, dx = normal(rng, o, i), device.empty((n, o))
    device.launch(
        kernels.backward_x(kernels.FLOAT32, 32), (2, 2), device.upload(dz), device.upload(V), y, dx, o, i, which,
        dropout, at,
    )  # fmt: skip
    close(dx, reference(activations.BACKWARD[which], np.float64(dz) @ V.T * mask, y.copy()), 64 * U)


def test_bfloat16_rounds_to_the_nearest_even(rng):
    """Exactly as rounding both factors beforehand does, where the products and sums of integers are exact."""
    device, n, i, o = gpu_devices.device(), 32, 48, 32
    x, W = (float32(rng.integers(-600, 600, shape)) for shape in ((n, i), (i, o)))
    x[0, :4], W[:, 0] = [257, 259, 258, -257], 1  # 257 and 259 lie in the middle between two
    y, at = device.empty((n, o)), place(device, n)
    device.launch(
        kernels.forward(kernels.BFLOAT16, 32), (1, 1), device.upload(x), None, device.upload(W), device.zeros(o), y,
        None, i, o, c.LINEAR, NO_DROPOUT, at,
    )  # fmt: skip
    np.testing.assert_array_equal(y, to_bfloat16(x) @ to_bfloat16(W))


def to_bfloat16(array):
    """Whole numbers below 1,024 with the 8 bits that bfloat16 has, by rounding to multiples of 1, 2 or 4."""
    step = np.exp2(np.maximum(np.floor(np.log2(np.maximum(np.abs(array), 1))) - 7, 0))
    return np.rint(array / step) * step


def test_three_products_in_tf32_are_as_exact_as_float32(rng):
    """Over a long inner dimension, where one product in TF32 is a thousand times worse."""
    x, W = normal(rng, 32, 784), normal(rng, 784, 32)
    device, errors = gpu_devices.device(), []
    at, wanted = place(device, 32), np.float64(x) @ W
    for precision in kernels.PRECISIONS:
        y = device.empty((32, 32))
        device.launch(
            kernels.forward(precision, 32), (1, 1), device.upload(x), None, device.upload(W),
            device.zeros(32), y, None, 784, 32, c.LINEAR, NO_DROPOUT, at,
        )  # fmt: skip
        errors.append(np.linalg.norm(y - wanted) / np.linalg.norm(wanted))
    float32_, tf32, three, bfloat16 = errors
    assert three < 2 * float32_ < 1e-6
    assert 100 * three < tf32 < 1e-3
    assert 4 * tf32 < bfloat16 < 1e-2


# --- the end of the network -------------------------------------------------------------------------------------------

HEADS = [
    (c.MEAN_SQUARED_ERROR, False, c.LINEAR), (c.MEAN_SQUARED_ERROR, False, c.TANH),
    (c.MEAN_SQUARED_ERROR, False, c.SOFTMAX), (c.MEAN_ABSOLUTE_ERROR, False, c.RELU),
    (c.BINARY_CROSSENTROPY, False, c.SIGMOID), (c.BINARY_CROSSENTROPY_FROM_LOGITS, True, c.SIGMOID),
    (c.BINARY_CROSSENTROPY_FROM_LOGITS, True, c.LINEAR), (c.CATEGORICAL_CROSSENTROPY, False, c.SOFTMAX),
    (c.CATEGORICAL_CROSSENTROPY, False, c.LINEAR), (c.CATEGORICAL_CROSSENTROPY_FROM_LOGITS, True, c.SOFTMAX),
    (c.SPARSE_CATEGORICAL_CROSSENTROPY, False, c.SOFTMAX),
]  # fmt: skip
METRICS = [c.BINARY_ACCURACY, c.AUC, c.CATEGORICAL_ACCURACY, c.ABSOLUTE_ERROR, c.SQUARED_ERROR]


def test_every_name_of_the_contract_is_known_to_the_kernels():
    assert {name.upper() for name in (*c.ACTIVATIONS, *c.LOSSES, *c.OPTIMIZERS)} <= set(kernels.NAMES)
    assert {loss for loss, *_ in HEADS} == set(range(len(c.LOSSES)))  # so that all are tested below


def head_case(rng, loss, activation, rows, width, indices):
    """What the loss is given, in float32, and targets: rows of all labels, or class indices."""
    z = 2 * normal(rng, rows, width)
    given = z if "LOGITS" in loss_name(loss) else float32(activations.FORWARD[activation](z))
    if loss in (c.CATEGORICAL_CROSSENTROPY, c.SPARSE_CATEGORICAL_CROSSENTROPY) and activation == c.LINEAR:
        given = np.abs(given) + np.float32(0.01)
    classes = rng.integers(width, size=rows)
    y = float32(classes[:, None]) if indices else float32(rng.integers(0, 2, (rows, width)))
    return given, y, np.eye(width)[classes] if indices else y


def loss_name(code):
    return c.LOSSES[code].upper()


class Goal:
    """What a head is held against: a batch in the middle of an order of rows with weights; and where the results go."""

    n, rows, first = 11, 30, 8

    def __init__(self, device, rng, loss, from_logits, activation, width, indices):
        self.device, self.loss, self.from_logits, self.activation = device, loss, from_logits, activation
        self.given, y_rows, y = head_case(rng, loss, activation, self.rows, width, indices)
        order, weight = rng.permutation(self.rows).astype(np.int32), float32(rng.uniform(0, 2, self.rows))
        self.batch = order[self.first : self.first + self.n]
        self.given, self.y = self.given[: self.n], np.float64(y[self.batch])
        self.weight = np.float64(weight[self.batch])
        self.at = place(device, self.rows, batch_size=self.n, first=self.first)
        self.order = device.upload(order)
        self.blocks, self.partials = 2, device.empty((2, 1 + len(METRICS)), np.float64)
        self.sums = device.zeros((1, 1 + len(METRICS) + 2 * c.AUC_BINS), np.float64)
        self.memory = [device.upload(part) for part in (y_rows, weight, np.int32(METRICS))]
        self.p, self.dz = device.empty((self.n, width)), device.empty((self.n + 1, width))
        y_, weight_, metrics_ = map(device.address, self.memory)
        self.struct = kernels.struct(
            "Goal", y=y_, weight=weight_, order=device.address(self.order), metrics=metrics_, outputs=width,
            classes=width if indices else 0, loss=loss, from_logits=from_logits, activation=activation,
            metric_count=len(METRICS), p=device.address(self.p), dz=device.address(self.dz),
            partials=device.address(self.partials), sums=device.address(self.sums), sums_size=self.sums.size,
        )  # fmt: skip

    def check(self, given):
        """After the head and the totals, with what the loss was given."""
        self.device.launch(kernels.TOTALS, 1, self.struct, self.blocks, None, 0, self.at)
        wanted, p = reference(losses.BACKWARD[self.loss], self.y, given), given
        if self.from_logits:
            p = self.p.copy()
            close(p, reference(activations.FORWARD[self.activation], given), 64 * U)
        else:
            wanted = reference(activations.BACKWARD[self.activation], wanted, given)
        close(self.dz[: self.n], wanted * self.weight[:, None] / self.n, 64 * U)
        assert np.isnan(self.dz[self.n]).all()
        sums, at = self.sums[0], c.FIRST_METRIC
        assert sums[c.ROWS] == self.n
        loss = np.sum(reference(losses.FORWARD[self.loss], self.y, given) * self.weight)
        # In float32 what a probability is clipped to, 1 - 1e-7, is not quite that.
        close(sums[c.LOSS], loss, 64 * U, max(loss, 1))
        for metric in METRICS:
            if metric == c.AUC:
                counts = np.zeros((2, c.AUC_BINS))
                metrics.auc_histograms(self.y, p, counts)
                np.testing.assert_array_equal(sums[at:][: counts.size], counts.ravel())
                at += counts.size
            else:
                close(sums[at], metrics.FORWARD[metric](self.y, np.float64(p)).sum(), 64 * U)
                at += 1


CASES = [  # only a categorical cross-entropy is given class indices
    (*head, width, indices)
    for head in HEADS
    for width, indices in [(1, False), (3, False), (3, True), (40, False), (40, True)]
    if not indices or "CATEGORICAL" in loss_name(head[0])
]


@pytest.mark.parametrize(("loss", "from_logits", "activation", "width", "indices"), CASES, ids=str)
def test_head(device, rng, loss, from_logits, activation, width, indices):
    goal = Goal(device, rng, loss, from_logits, activation, width, indices)
    device.launch(kernels.HEAD, goal.blocks, device.upload(goal.given), goal.struct, goal.at)
    goal.check(goal.given)


@pytest.mark.parametrize(
    ("loss", "from_logits", "activation", "width", "indices"), [case for case in CASES if case[3] <= 32], ids=str
)
def test_last_layer(device, rng, loss, from_logits, activation, width, indices):
    """A narrow layer along with its head: z = x W + b, and the gradient by x, through a dropout and an activation."""
    goal, inputs = Goal(device, rng, loss, from_logits, activation, width, indices), 37
    n, below, dropout = goal.n, c.TANH, dropout_of(0.25, 3, 0)
    y = np.tanh(normal(rng, n, inputs))
    mask = keep_mask(y.shape, 0.25, 3, 0, 0) / 0.75
    x, W, b = float32(y * mask), normal(rng, inputs, width), normal(rng, width)
    if loss in (c.CATEGORICAL_CROSSENTROPY, c.SPARSE_CATEGORICAL_CROSSENTROPY) and activation == c.LINEAR:
        x, W, b = np.abs(x), np.abs(W), np.abs(b)  # what comes out are probabilities
    memory = [device.upload(part) for part in (x, W, b, y)]
    z, activated, dx = device.empty((n, width)), device.empty((n, width)), device.empty((n, inputs))
    x_, W_, b_, y_ = map(device.address, memory)
    layer = kernels.struct(
        "LastLayer", x=x_, W=W_, b=b_, y=y_, z=device.address(z), activated=0 if from_logits else
        device.address(activated), dx=device.address(dx), inputs=inputs, units=width, activation=below, dropout=dropout,
    )  # fmt: skip
    device.launch(kernels.LAST_LAYER, goal.blocks, layer, goal.struct, goal.at)
    within(z, np.float64(x) @ W + b, np.abs(np.float64(x)) @ np.abs(W) + np.abs(b), 8 * U)
    if not from_logits:
        close(activated, reference(activations.FORWARD[activation], z.copy()), 64 * U)
    goal.check(z.copy() if from_logits else activated.copy())
    close(dx, np.float64(goal.dz[:n]) @ W.T * mask * (1 - np.float64(y) ** 2), 16 * U)


# --- the optimizers ---------------------------------------------------------------------------------------------------

NUMBERS = np.array([0.01, 0.9, 0.8, 0.99, 1e-7, 0.05])


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("optimizer", range(len(c.OPTIMIZERS)))
def test_update(device, rng, optimizer, parts):
    size, stride, step = 700, 705, 6
    theta, slots, g = normal(rng, size), np.abs(normal(rng, 2, size)), normal(rng, parts, stride)
    memory = [device.upload(part) for part in (theta, slots, g, NUMBERS)]
    at = place(device, 8, batch_size=4, step=step - 1, first=-4)
    device.launch(kernels.BEGIN_BATCH, 1, at, optimizer, memory[3])
    device.launch(
        kernels.update(optimizer), 2, *memory[:3], parts, np.int64(stride), np.int64(size), memory[3], at
    )  # fmt: skip
    rate, momentum, beta_1, beta_2, epsilon, decay = NUMBERS.tolist()
    wanted, remembered, g = np.float64(theta), np.float64(slots), g[:, :size].sum(0, np.float64)
    t = step + 1
    {
        c.SGD: lambda: optimizers.sgd(wanted, g, rate),
        c.MOMENTUM: lambda: optimizers.momentum(wanted, g, remembered[0], rate, momentum),
        c.NESTEROV: lambda: optimizers.nesterov(wanted, g, remembered[0], rate, momentum),
        c.ADAM: lambda: optimizers.adam(wanted, g, *remembered, t, rate, beta_1, beta_2, epsilon),
        c.ADAMW: lambda: optimizers.adamw(wanted, g, *remembered, t, rate, beta_1, beta_2, epsilon, decay),
    }[optimizer]()
    close(memory[0], wanted, 4 * U)
    close(memory[1], remembered, 4 * U)


def test_update_leaves_everything_alone_once_all_epochs_are_done(device, rng):
    theta = normal(rng, 40)
    memory = [device.upload(part) for part in (theta, np.zeros((0, 40), np.float32), theta, NUMBERS)]
    at = place(device, 8, epoch=1)
    device.launch(kernels.update(c.SGD), 1, *memory[:3], 1, np.int64(40), np.int64(40), memory[3], at)
    np.testing.assert_array_equal(memory[0], theta)


@pytest.mark.parametrize("blocks", [1, 3])
def test_penalize(device, rng, blocks):
    W, dW, l1, l2 = normal(rng, 1000), normal(rng, 1000), 0.1, 0.03
    W[5], W[6] = 0, -0.0
    memory, values = [device.upload(W), device.upload(dW)], device.empty(blocks, np.float64)
    at, penalty = place(device, 4), kernels.struct("Penalty", l1=l1, l2=l2)
    device.launch(kernels.PENALIZE, blocks, *memory, np.int64(1000), penalty, values, at)
    wide = np.float64(W)
    close(memory[1], dW + l1 * np.sign(wide) + 2 * l2 * wide, 4 * U)
    close(values.sum(), l1 * np.abs(wide).sum() + l2 * np.square(wide).sum(), 1e-12)
    again = device.empty(blocks, np.float64)
    device.launch(kernels.PENALIZE, blocks, memory[0], None, np.int64(1000), penalty, again, at)
    np.testing.assert_array_equal(again, values)


def test_totals_add_the_penalties_for_each_row(device):
    partials, penalties = device.upload(np.array([[3.0], [4.0]])), device.upload(np.full(70, 0.5))
    sums = device.upload(np.ones((2, 2)))
    goal = kernels.struct("Goal", partials=device.address(partials), sums=device.address(sums), sums_size=2)
    at = place(device, 9, batch_size=6, first=6, epoch=1, epochs=2)
    device.launch(kernels.TOTALS, 1, goal, 2, penalties, 70, at)
    np.testing.assert_array_equal(sums, [[1, 1], [1 + 3, 1 + 7 + 3 * 35]])


# --- one row ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [c.SIGMOID, c.SOFTMAX])
@pytest.mark.parametrize("sizes", [(5, 3), (70, 33, 64, 2), (13, 100, 45)])
def test_forward_row(device, rng, sizes, head):
    layers, parameters, work, x = [], [], 0, normal(rng, sizes[0])
    mean, variance = normal(rng, sizes[0]), float32(rng.uniform(0.5, 2, sizes[0]))
    y = (np.float64(x) - mean) / np.sqrt(np.float64(variance))
    for number, (i, o) in enumerate(pairwise(sizes)):
        W, b = normal(rng, i, o) / np.float32(i**0.5), normal(rng, o)
        activation = head if number == len(sizes) - 2 else c.TANH
        begin = sum(part.size for part in parameters)
        layers.append(kernels.struct(
            "Layer", inputs=i, units=o, activation=activation, W=begin, b=begin + W.size, y=work, dropped=-1
        ))  # fmt: skip
        parameters += [W.ravel(), b]
        work += o
        y = activations.FORWARD[activation]((y @ np.float64(W) + b)[None])[0]
    table = np.concatenate(layers)
    memory = [device.upload(part) for part in (table.view(np.int64), np.concatenate(parameters), x, mean, variance)]
    made, arrived = device.empty(sizes[-1]), device.zeros(1, np.uint64)
    room = device.empty(work)
    for _ in range(2):  # the barrier's count goes on from launch to launch
        device.launch(
            kernels.FORWARD_ROW, 3, memory[0], len(table), *memory[1:], room, made, arrived
        )  # fmt: skip
        close(made, y, 64 * U)
        made[...] = np.nan


# --- what the checks are worth: faults planted on purpose -------------------------------------------------------------

FAULTS = {
    "a missing barrier": ("__syncthreads();                // ... everyone's is", "// ... everyone's is"),
    "a write beyond the end": ("if (row + i / TILE < rows &&", "if (row + i / TILE <= rows &&"),
    "a missing wait": ("wait_for_copies<STAGES - 2>();", "wait_for_copies<STAGES>();"),
    "a barrier not for all": ("if (row < batch.rows)\n        forward_t", "if (threadIdx.x > 0)\n        forward_t"),
}


def forward_fails(library):
    """Whether one forward product is wrong, or reported, in any order of turns."""
    rng = np.random.default_rng(1)
    n, i, o = 40, 100, 36
    x, W, b = normal(rng, n, i), normal(rng, i, o), normal(rng, o)
    failures = []
    for turns in (("forward", 0), ("backward", 0), ("shuffled", 1), ("shuffled", 2)):
        device = CpuDevice(*turns, library=library)
        y = device.empty((n, o))
        try:
            device.launch(
                kernels.forward(kernels.FLOAT32, 32), (2, 2), device.upload(x), None, device.upload(W),
                device.upload(b), y, None, i, o, c.LINEAR, NO_DROPOUT, place(device, n),
            )  # fmt: skip
            within(y, np.float64(x) @ W + b, np.abs(np.float64(x)) @ np.abs(W) + np.abs(b), 8 * U)
        except (RuntimeError, AssertionError) as failure:
            failures.append(str(failure))
    return failures


@pytest.mark.skipif(gpu_devices.CPU_TURNS != gpu_devices.ORDERS or bool(gpu_devices.SANITIZED), reason="planted once")
@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_planted_faults_are_found(fault):
    """Without one, the same check passes."""
    text = kernels.source()
    if fault:
        right, wrong = FAULTS[fault]
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    failures = forward_fails(build.library([kernels.forward(kernels.FLOAT32, 32)], source=text))
    assert bool(failures) == bool(fault)
    if fault == "a write beyond the end":
        assert any("a write outside of what was allocated" in failure for failure in failures)
    if fault == "a barrier not for all":
        assert all("a barrier that others of their block never come to" in failure for failure in failures)


# --- once more, with every address checked ----------------------------------------------------------------------------


def sanitized(library, *arguments):
    """This file and that of cuBLASLt's products in a process of its own, with a library under the sanitizers."""
    environment = os.environ | {
        "LD_PRELOAD": build.sanitizer(), "ASAN_OPTIONS": "detect_leaks=0", "MINIDL_SANITIZED_KERNELS": str(library)
    }  # fmt: skip
    files = [__file__, str(Path(__file__).with_name("test_gpu_cublaslt.py"))]
    command = [sys.executable, "-m", "pytest", "-s", "-v", "-p", "no:cacheprovider", *files, *arguments]
    root = Path(__file__).parents[1]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def sanitizer():
    if gpu_devices.SANITIZED:
        pytest.skip("this is that process")
    if build.why_not():
        pytest.skip(build.why_not())
    if not build.sanitizer():
        pytest.skip("g++ is here without its address sanitizer; on Debian or Ubuntu: apt install libgcc-dev")


@pytest.mark.usefixtures("sanitizer")
def test_under_the_sanitizers():
    done = sanitized(build.library(sanitized=True))
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert " passed" in done.stdout


@pytest.mark.usefixtures("sanitizer")
def test_the_sanitizer_names_an_access_beyond_the_end():
    text = kernels.source()
    right = "y[i] = activate(which, z[i])"
    assert text.count(right) == 1
    text = text.replace(right, "y[i] = activate(which, z[i + 1])")
    library = build.library([kernels.ACTIVATION, kernels.ACTIVATION_BACKWARD], source=text, sanitized=True)
    done = sanitized(library, "-k", "test_activations")
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stdout + done.stderr
