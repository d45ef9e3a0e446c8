"""Training a whole model in Numba: one compiled call runs many batches over the flat vector of parameters."""

import numpy as np

from minidl.contract import (
    ACTIVATION,
    ADAM,
    ADAMW,
    BETA_1,
    BETA_2,
    DENSE,
    EPSILON,
    FIRST,
    INPUTS,
    KIND,
    L1,
    L2,
    LEARNING_RATE,
    LOSS,
    MOMENTUM,
    MOMENTUM_RATE,
    NESTEROV,
    NORMALIZATION,
    OUTPUTS,
    RATE,
    SECOND,
    SGD,
    WEIGHT_DECAY,
    WHICH,
)
from minidl.engines.numba_engine import activations, losses, optimizers, threads
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.dense import dense_backward_b, dense_backward_W, dense_backward_x
from minidl.engines.numba_engine.infer import add_up, forward, penalty, places_for, targets, view
from minidl.engines.numba_engine.normalization import normalization_backward
from minidl.engines.numba_engine.regularization import dropout_backward, l1_backward, l2_backward
from minidl.engines.numba_engine.threads import wait_for_all

BLOCK = 16_384  # entries of theta that are updated at a time: theta, gradient and slots of a block fit in the cache

backward_activation, backward_loss = activations.backward, losses.backward
sgd, momentum, nesterov, adam, adamw = (
    optimizers.sgd, optimizers.momentum, optimizers.nesterov, optimizers.adam, optimizers.adamw
)  # fmt: skip


class Trainer:
    """Trains a program on X (n, i) and y (n, o), or (n, 1) class indices; everything of the program's dtype."""

    def __init__(self, program, X, y, sample_weight=None, batch_size=32):
        self.program, self.batch_size = program, min(batch_size, len(X))
        self.X, self.y = X, y
        self.sample_weight = np.empty(0, X.dtype) if sample_weight is None else sample_weight
        rows = self.chunk_rows = threads.chunk_rows(self.batch_size)
        chunks = -(-self.batch_size // rows)
        self.threads = threads.worth(program.parameters.size, self.batch_size, chunks)
        self.places, size = places_for(program, rows)
        widest = int(max(program.table[:, INPUTS].max(), program.table[:, OUTPUTS].max()))
        # Planned once, for each chunk its own: nothing is allocated while batches run.
        self.x = np.empty((chunks, rows, program.inputs), X.dtype)
        self.goal = np.empty((chunks, rows, program.outputs), X.dtype)
        self.row_values = np.empty((chunks, rows), X.dtype)
        self.work = np.empty((chunks, size), X.dtype)
        self.deltas = np.empty((chunks, 2, rows * widest), X.dtype)
        self.gradients = np.zeros((chunks, program.parameters.size), X.dtype)

    def run(self, order, start, stop):
        """Train on the rows ``order[start:stop]``, batch by batch; the sums (contract.py) of loss and metrics."""
        program = self.program
        sums, counter = np.zeros((len(self.gradients), program.sums_size)), np.zeros(1, np.int64)

        def work(thread, threads):
            return run_batches(
                program.table, program.numbers, program.parameters, program.seed, program.step,
                program.first_trainable, program.loss, program.loss_at, program.classes, program.metrics,
                self.X, self.y, self.sample_weight, self.x, self.goal, self.row_values, self.work, self.places,
                self.deltas, self.gradients, sums, order, start, stop, self.batch_size, self.chunk_rows,
                program.optimizer, program.optimizer_numbers, program.theta, program.slots, thread, threads, counter,
            )  # fmt: skip

        with threads.team(self.threads) as run:
            program.step = run(work, counter)
        return sums.sum(axis=0)

    def pull(self):
        """Bring the parameters and slots back to the program: here they have never left it."""


@njit(cache=True)
def run_batches(
    table, numbers, parameters, seed, step, first_trainable, loss, loss_at, classes, chosen,
    X, y, sample_weight, x, goal, row_values, work, places, deltas, gradients, sums,
    order, start, stop, batch_size, chunk_rows, optimizer, optimizer_numbers, theta, slots, thread, threads, counter,
):  # fmt: skip
    """Train on ``order[start:stop]``; the number of optimizer steps done since the beginning.

    Each of the ``threads`` calls this with its own number. They share the chunks of a batch, wait for each other,
    share the blocks of theta, and wait again.
    """
    arrivals = 0
    for first in range(start, stop, batch_size):
        batch = order[first : min(first + batch_size, stop)]
        chunks = (batch.size + chunk_rows - 1) // chunk_rows
        if thread == 0:
            sums[0, LOSS] += batch.size * penalty(table, numbers, parameters)
        for chunk in range(thread, chunks, threads):
            train_chunk(
                table, numbers, parameters, seed, step, first_trainable, loss, loss_at, classes, chosen,
                X, y, sample_weight, x, goal, row_values, work, places, deltas, gradients, sums,
                batch, chunk_rows, chunk,
            )  # fmt: skip
        step += 1
        if threads > 1:
            arrivals += threads
            if not wait_for_all(counter, arrivals):
                break
        for begin in range(thread * BLOCK, theta.size, threads * BLOCK):
            update_block(optimizer, optimizer_numbers, theta, slots, step, gradients, chunks, begin)
        if threads > 1:
            arrivals += threads
            if not wait_for_all(counter, arrivals):
                break
    return step


@njit(cache=True, inline="always")
def train_chunk(
    table, numbers, parameters, seed, step, first_trainable, loss, loss_at, classes, chosen,
    X, y, sample_weight, x, goal, row_values, work, places, deltas, gradients, sums, batch, chunk_rows, chunk,
):  # fmt: skip
    """Forward, loss and backward of one chunk of a batch, into the chunk's own gradient and sums."""
    last, first = table.shape[0], chunk * chunk_rows
    chosen_rows = batch[first : min(first + chunk_rows, batch.size)]
    rows, outputs = chosen_rows.size, goal.shape[2]
    x_c, goal_c, work_c, deltas_c = x[chunk, :rows], goal[chunk, :rows], work[chunk], deltas[chunk]
    gather(classes, X, y, chosen_rows, x_c, goal_c)

    forward(table, numbers, parameters, x_c, work_c, places, True, seed, step, first)
    given, p = view(work_c, places[loss_at], rows, outputs), view(work_c, places[last], rows, outputs)
    add_up(loss, chosen, goal_c, given, p, sample_weight, chosen_rows, row_values[chunk, :rows], sums[chunk])

    dz = view(deltas_c[0], 0, rows, outputs)
    backward_loss(loss, goal_c, given, dz)
    one = dz.dtype.type(1)
    for r in range(rows):
        weight = sample_weight[chosen_rows[r]] if sample_weight.size > 0 else one
        share = weight / dz.dtype.type(batch.size)
        for u in range(outputs):
            dz[r, u] *= share
    backward(
        table, numbers, parameters, x_c, work_c, places, deltas_c, gradients[chunk], first_trainable, loss_at,
        seed, step, first,
    )  # fmt: skip


@njit(cache=True, inline="always")
def gather(classes, X, y, rows, x_out, y_out):
    """Copy the chosen rows next to each other."""
    for r in range(rows.size):
        x_r, out_r = X[rows[r]], x_out[r]
        for k in range(out_r.size):
            out_r[k] = x_r[k]
        targets(classes, y[rows[r] : rows[r] + 1], y_out[r : r + 1])


@njit(cache=True, inline="always")
def backward(
    table, numbers, parameters, x, work, places, deltas, gradient, first_trainable, loss_at, seed, step, first
):  # fmt: skip
    """From the gradient in ``deltas[0]`` by what the loss was given, back to the gradient by every parameter.

    The two rows of ``deltas`` take turns: one is read, the other written. ``first`` is the row of the batch that x
    begins with; the penalties count once for a batch, so the chunk that begins it adds them.
    """
    rows, here = x.shape[0], 0
    for p in range(loss_at - 1, first_trainable - 1, -1):
        kind, start, second = table[p, KIND], table[p, FIRST], table[p, SECOND]
        inputs, outputs = table[p, INPUTS], table[p, OUTPUTS]
        dz, dx = view(deltas[here], 0, rows, outputs), view(deltas[1 - here], 0, rows, inputs)
        if kind == DENSE:
            x_p = x if p == 0 else view(work, places[p], rows, inputs)
            W, dW = view(parameters, start, inputs, outputs), view(gradient, start, inputs, outputs)
            dense_backward_W(x_p, dz, dW)
            dense_backward_b(dz, gradient[second : second + outputs])
            if first == 0 and numbers[p, L1] != 0:
                l1_backward(W, numbers[p, L1], dW)
            if first == 0 and numbers[p, L2] != 0:
                l2_backward(W, numbers[p, L2], dW)
            if p > first_trainable:
                dense_backward_x(dz, W, dx)
        elif kind == ACTIVATION:
            backward_activation(table[p, WHICH], dz, view(work, places[p + 1], rows, outputs), dx)
        elif kind == NORMALIZATION:
            normalization_backward(dz, parameters[second : second + outputs], dx)
        else:
            rate, layer = numbers[p, RATE], table[p, WHICH]
            dropout_backward(dz, rate, seed, step, layer, first * outputs, dx)
        here = 1 - here


@njit(cache=True, inline="always")
def update_block(optimizer, numbers, theta, slots, t, gradients, chunks, start):
    """Add up the chunks' gradients for one block of theta, and take the optimizer's step there."""
    stop = min(start + BLOCK, theta.size)
    theta, g = theta[start:stop], gradients[0, start:stop]
    for chunk in range(1, chunks):
        more = gradients[chunk, start:stop]
        for e in range(g.size):
            g[e] += more[e]
    rate, mu = numbers[LEARNING_RATE], numbers[MOMENTUM_RATE]
    beta_1, beta_2, epsilon = numbers[BETA_1], numbers[BETA_2], numbers[EPSILON]
    if optimizer == SGD:
        sgd(theta, g, rate)
    elif optimizer == MOMENTUM:
        momentum(theta, g, slots[0, start:stop], rate, mu)
    elif optimizer == NESTEROV:
        nesterov(theta, g, slots[0, start:stop], rate, mu)
    elif optimizer == ADAM:
        adam(theta, g, slots[0, start:stop], slots[1, start:stop], t, rate, beta_1, beta_2, epsilon)
    elif optimizer == ADAMW:
        decay = numbers[WEIGHT_DECAY]
        adamw(theta, g, slots[0, start:stop], slots[1, start:stop], t, rate, beta_1, beta_2, epsilon, decay)
