"""The ladder of an epoch, for a small network and a large one: from NumPy's operations to one compiled run."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np

import minidl
from minidl import contract as c
from minidl.bench.ceilings import ALL
from minidl.bench.ladders.ladder import Ladder, Rung, Work
from minidl.engines import get_engine


def one_by_one(engine, program, start, X, y, order, batch_size):
    """Every operation of the engine called from Python; binary cross-entropy from logits, Adam."""
    activation = {code: name for name, code in vars(c).items() if name in ("LINEAR", "SIGMOID", "RELU")}
    gradient = np.zeros_like(program.parameters)
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        outputs, goal = [X[rows]], y[rows]
        for row in program.table:
            if row[c.KIND] == c.DENSE:
                outputs.append(engine.dense(outputs[-1], program.weights(row), program.bias(row)))
            else:
                outputs.append(getattr(engine, activation[row[c.WHICH]].lower())(outputs[-1]))
        dz = engine.binary_crossentropy_from_logits_backward(goal, outputs[-2])
        dz /= np.float32(len(rows))
        for place in reversed(range(program.loss_at)):
            row = program.table[place]
            if row[c.KIND] == c.DENSE:
                engine.dense_backward_W(outputs[place], dz, program.weights(row, gradient))
                engine.dense_backward_b(dz, program.bias(row, gradient))
                if place > 0:
                    dz = engine.dense_backward_x(dz, program.weights(row))
            else:
                dz = getattr(engine, f"{activation[row[c.WHICH]].lower()}_backward")(dz, outputs[place + 1])
        program.step += 1
        rate, _, beta_1, beta_2, epsilon, _ = program.optimizer_numbers.tolist()
        engine.adam(program.theta, gradient, *program.slots, program.step, rate, beta_1, beta_2, epsilon)
    return program.theta.copy()


def with_numpy(*inputs):
    return bare("numpy"), *inputs


def with_numba(*inputs):
    return bare("numba"), *inputs


def bare(name):
    """The engine's operations without the look at their arguments, which later rungs do not pay for either."""
    engine = get_engine(name)
    return SimpleNamespace(**{operation: getattr(engine, operation).__wrapped__ for operation in c.OPERATIONS})


def batch_by_batch(trainer, order, batch_size):
    """A compiled call for each batch."""
    for first in range(0, len(order), batch_size):
        trainer.run(order[None], first, min(first + batch_size, len(order)))
    trainer.pull()
    return trainer.program.theta.copy()


def trained(trainer, order):
    trainer.run(order[None], 0, len(order))
    trainer.pull()
    return trainer.program.theta.copy()


def on_one_thread(program, start, X, y, order, batch_size):
    trainer = get_engine("numba").trainer(program, X, y, None, batch_size)
    trainer.threads = 1
    return trainer, order


def each_batch_on_one_thread(program, start, X, y, order, batch_size):
    return *on_one_thread(program, start, X, y, order, batch_size), batch_size


def on_all(program, start, X, y, order, batch_size):
    return get_engine("numba").trainer(program, X, y, None, batch_size), order


def make(rows, widths, batch_size, rng):
    """A program with its first parameters, data, and the order of the epoch's rows."""
    inputs, *hidden, outputs = widths
    layers = [minidl.Dense(hidden[0], "relu", input_shape=(inputs,)), *(minidl.Dense(w, "relu") for w in hidden[1:])]
    model = minidl.Sequential([*layers, minidl.Dense(outputs, "sigmoid")], seed=0)
    model.compile("adam", "binary_crossentropy", engine="numba")
    program = model._program
    program.optimizer_numbers = model.optimizer.numbers()
    X = rng.normal(size=(rows, inputs)).astype(np.float32)
    y = (X @ rng.normal(size=(inputs, outputs)) > 0).astype(np.float32)
    return program, program.parameters.copy(), X, y, rng.permutation(rows), batch_size


def reset(program, start, X, y, order, batch_size):
    program.parameters[:], program.slots[:], program.step = start, 0, 0


def part(rows, program, start, X, y, order, batch_size):
    return program, start, X, y, order[:rows], batch_size


def reference(program, start, X, y, order, batch_size):
    """theta after the epoch, by the NumPy engine in float64."""
    twin = copy.copy(program)
    twin.parameters, twin.slots, twin.step = start.astype(np.float64), program.slots.astype(np.float64) * 0, 0
    trainer = get_engine("numpy").trainer(twin, X.astype(np.float64), y.astype(np.float64), None, batch_size)
    trainer.run(order[None], 0, len(order))
    return twin.theta


def work(program, start, X, y, order, batch_size):
    """The three matrix products of each layer (the first needs but two); rows, parameters and slots moved once."""
    sizes = [row[c.INPUTS] * row[c.OUTPUTS] for row in program.table if row[c.KIND] == c.DENSE]
    moved = len(order) * (X.itemsize * (X.shape[1] + y.shape[1]) + order.itemsize)
    moved += 2 * (program.parameters.nbytes + program.slots.nbytes)
    return Work(float(len(order) * (6 * sum(sizes) - 2 * sizes[0])), float(moved))


def describe(program, start, X, y, order, batch_size):
    widths = [X.shape[1], *(row[c.OUTPUTS] for row in program.table if row[c.KIND] == c.DENSE)]
    return f"{'-'.join(map(str, widths))}, {len(order):,} rows, batch {batch_size}, Adam, {X.dtype}"


RUNGS = (
    Rung("NumPy operations", "Every operation is a call from Python and a loop of NumPy's, with a new array each time.",
         one_by_one, prepare=with_numpy, cores=ALL),
    Rung("njit operations", "The same calls in the same order, now of the Numba engine: Python is still in between.",
         one_by_one, prepare=with_numba),
    Rung("njit steps", "A whole step in one compiled call, into arrays made once: Python comes in once a batch.",
         batch_by_batch, prepare=each_batch_on_one_thread),
    Rung("one njit run", "All batches in one compiled call: Python is out of the way.",
         trained, prepare=on_one_thread),
    Rung("threads", "The same run on as many threads as the engine finds worth it for a batch of this size.",
         trained, prepare=on_all, cores=ALL),
)  # fmt: skip


def ladder(name, title, size):
    return Ladder(
        name, title, "GFLOP/s", "the peak of multiply-adds in float32", size, RUNGS, make, part, reference, work,
        lambda ceilings, cores: ceilings.peak("float32", cores), describe, reset, tolerance=1e-3,
    )  # fmt: skip


LADDERS = {
    "epoch": ladder("epoch", "An epoch, small network", (2048, (30, 64, 64, 1), 32)),
    "epoch-large": ladder("epoch-large", "An epoch, large network", (2048, (784, 256, 128, 1), 256)),
}
