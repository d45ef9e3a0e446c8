"""Training a whole model in Numba: one compiled call runs many batches over the flat vector of parameters.

A step has two parts. In the first the batch is parted by rows: each job takes some rows forward through all layers, and
the gradient of the loss back through them. In the second the parameters are parted: each job computes the gradient by
some rows of one W from the whole batch, and takes the optimizer's step there while it is still in the cache. So there
is no vector of gradients, and the threads meet twice in a step.
"""

import numpy as np

from minidl import contract as c
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
from minidl.engines.numba_engine.dense import ONE, dense_backward_b, product, rows_backward_W
from minidl.engines.numba_engine.gemm import ROWS, transpose
from minidl.engines.numba_engine.infer import add_up, forward, penalty, places_for, targets
from minidl.engines.numba_engine.normalization import normalization_backward
from minidl.engines.numba_engine.regularization import dropout_backward, l1_backward, l2_backward
from minidl.engines.numba_engine.subnormals import flush_subnormals, restore_subnormals
from minidl.engines.numba_engine.threads import DONE, STEP, add_atomically, take, wait_until_done
from minidl.engines.numba_engine.views import matrix, vector

MOST_ROWS = 64  # of a batch in one job: what its layers hand on stays in the cache
BLOCK = 8192  # entries of a W in one job, about: its gradient stays in the first cache until the optimizer has read it
TOTALS = -1  # in the place of an operation: the job that adds up loss and metrics

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
        rows = self.batch_size
        self.threads = threads.worth(3.0 * program.parameters.size * rows, -(-rows // 8))
        parts = -(-rows // (MOST_ROWS * self.threads)) * self.threads
        self.job_rows = -(-rows // (4 * parts)) * 4
        self.jobs = jobs_for(program)
        # Planned once: nothing is allocated while batches run. All but ``own`` hold the whole batch.
        self.places, size = places_for(program, rows)
        self.slope_places, slopes = slope_places_for(program, rows)
        self.turned_places, turned = turned_places_for(program)
        self.x, self.goal = np.empty(rows * program.inputs, X.dtype), np.empty(rows * program.outputs, X.dtype)
        self.work, self.slopes = np.empty(size, X.dtype), np.empty(slopes, X.dtype)
        self.turned, self.row_values = np.empty(turned, X.dtype), np.empty(rows, X.dtype)
        widths = program.table[:, [c.INPUTS, c.OUTPUTS]]
        self.zeros = np.zeros(int(widths.max()), X.dtype)
        own = max([int((last - first) * widths[p, 1]) for p, first, last in self.jobs if p != TOTALS], default=0)
        self.own = np.empty((self.threads, own + int(widths.max())), X.dtype)

    def run(self, order, start, stop):
        """Train on the rows ``order[start:stop]``, batch by batch; the sums (contract.py) of loss and metrics."""
        program, counters = self.program, threads.counters(self.threads)
        sums = np.zeros(program.sums_size)

        def work(thread, threads):
            run_batches(
                program.table, program.numbers, program.parameters, program.theta, program.slots, program.seed,
                program.step, program.first_trainable, program.loss, program.loss_at, program.classes, program.metrics,
                program.optimizer, program.optimizer_numbers, self.X, self.y, self.sample_weight, self.x, self.goal,
                self.row_values, self.work, self.places, self.slopes, self.slope_places, self.turned,
                self.turned_places, self.zeros, self.own[thread], self.jobs, self.job_rows, sums, order, start, stop,
                self.batch_size, counters, thread, threads,
            )  # fmt: skip

        turn_all(program.table, program.parameters, self.turned, self.turned_places)
        try:
            if self.threads == 1:
                work(0, 1)
            else:
                with threads.team(self.threads) as run:
                    run(work)
        finally:  # a thread that left by an exception has left its jobs to the others
            program.step = max(program.step, int(counters[threads.STEP]))
        return sums

    def pull(self):
        """Bring the parameters and slots back to the program: here they have never left it."""


# --- the plan of a step ---------------------------------------------------------------------------------------------


def jobs_for(program):
    """The jobs of a step's second part, int64 (jobs, 3): operation, first and last row of its W; the largest first.

    The first rows of a W bring its bias along.
    """
    jobs = [(TOTALS, 0, 0)]
    for p, row in enumerate(program.table):
        if row[c.KIND] == c.DENSE and row[c.FIRST] < program.trainable:
            inputs, outputs = int(row[c.INPUTS]), int(row[c.OUTPUTS])
            block = inputs if outputs == 1 else max(1, BLOCK // (ROWS * outputs)) * ROWS
            jobs += [(p, first, min(first + block, inputs)) for first in range(0, inputs, block)]
    return np.array(jobs, dtype=np.int64)


def slope_places_for(program, rows):
    """Where the gradient by each operation's output lies (by its input: the place before), and the buffer's size.

    What only passes a gradient on does so in place; a dense layer's is kept until its W has been moved.
    """
    places, end = np.zeros(len(program.table) + 1, np.int64), rows * program.outputs
    for p in range(program.loss_at - 1, -1, -1):
        places[p] = places[p + 1]
        if program.table[p, c.KIND] == c.DENSE and p > program.first_trainable:
            places[p], end = end, end + rows * int(program.table[p, c.INPUTS])
    return places, end


def turned_places_for(program):
    """Where the transposed W of each dense layer lies that a gradient is passed back through, and the buffer's size."""
    places, end = np.full(len(program.table), -1, np.int64), 0
    for p in range(program.first_trainable + 1, program.loss_at):
        if program.table[p, c.KIND] == c.DENSE:
            places[p], end = end, end + int(program.table[p, c.INPUTS] * program.table[p, c.OUTPUTS])
    return places, end


@njit(cache=True)
def turn_all(table, parameters, turned, turned_places):
    """Transpose every W that a gradient is passed back through."""
    for p in range(table.shape[0]):
        if turned_places[p] >= 0:
            inputs, outputs = table[p, INPUTS], table[p, OUTPUTS]
            W = matrix(parameters, table[p, FIRST], inputs, outputs)
            transpose(W, 0, inputs, matrix(turned, turned_places[p], outputs, inputs))


# --- the steps ------------------------------------------------------------------------------------------------------


@njit(cache=True)
def run_batches(
    table, numbers, parameters, theta, slots, seed, step, first_trainable, loss, loss_at, classes, chosen,
    optimizer, optimizer_numbers, X, y, sample_weight, x, goal, row_values, work, places, slopes, slope_places,
    turned, turned_places, zeros, own, jobs, job_rows, sums, order, start, stop, batch_size, counters, thread, threads,
):  # fmt: skip
    """Train on ``order[start:stop]``, and note the number of optimizer steps since the beginning.

    Each of the ``threads`` calls this, with ``own`` to itself. They share the jobs of a step's first part, wait until
    all are done, and then those of the second.
    """
    end, before = 0, flush_subnormals()
    for first in range(start, stop, batch_size):
        batch = order[first : min(first + batch_size, stop)]
        begin, end = end, end + (batch.size + job_rows - 1) // job_rows
        job = take(counters, begin, end, thread, threads)
        while job >= 0:
            if job == begin:
                sums[LOSS] += batch.size * penalty(table, numbers, parameters)
            from_row = (job - begin) * job_rows
            rows = batch[from_row : from_row + job_rows]
            forward_and_back(
                table, numbers, parameters, seed, step, first_trainable, loss, loss_at, classes, X, y, sample_weight,
                x, goal, work, places, slopes, slope_places, turned, turned_places, zeros, rows, from_row, batch.size,
            )  # fmt: skip
            if threads > 1:
                add_atomically(counters, DONE, 1)
            job = take(counters, begin, end, thread, threads)
        step += 1
        if threads > 1:
            wait_until_done(counters, end)
        begin, end = end, end + jobs.shape[0]
        job = take(counters, begin, end, thread, threads)
        while job >= 0:
            p, from_row, to_row = jobs[job - begin]
            if p == TOTALS:
                add_totals(
                    table, loss, loss_at, chosen, goal, work, places, sample_weight, batch, row_values, sums
                )  # fmt: skip
            else:
                move(
                    table, numbers, parameters, theta, slots, step, optimizer, optimizer_numbers, x, work, places,
                    slopes, slope_places, turned, turned_places, zeros, own, p, from_row, to_row, batch.size,
                )  # fmt: skip
            if threads > 1:
                add_atomically(counters, DONE, 1)
            job = take(counters, begin, end, thread, threads)
        if threads > 1:
            wait_until_done(counters, end)
    restore_subnormals(before)
    counters[STEP] = step


@njit(cache=True, inline="always")
def forward_and_back(
    table, numbers, parameters, seed, step, first_trainable, loss, loss_at, classes, X, y, sample_weight,
    x, goal, work, places, slopes, slope_places, turned, turned_places, zeros, rows, first, batch_size,
):  # fmt: skip
    """Some rows of a batch, which begin with its row ``first``: forward, and the loss's gradient back to each layer."""
    inputs, outputs = table[0, INPUTS], table[table.shape[0] - 1, OUTPUTS]
    x_rows = matrix(x, first * inputs, rows.size, inputs)
    goal_rows = matrix(goal, first * outputs, rows.size, outputs)
    gather(classes, X, y, rows, x_rows, goal_rows)
    forward(table, numbers, parameters, x_rows, work, places, True, seed, step, first)
    given = matrix(work, places[loss_at] + first * outputs, rows.size, outputs)
    dz = matrix(slopes, slope_places[loss_at] + first * outputs, rows.size, outputs)
    backward_loss(loss, goal_rows, given, dz)
    one = dz.dtype.type(1)
    for r in range(rows.size):
        weight = sample_weight[rows[r]] if sample_weight.size > 0 else one
        share = weight / dz.dtype.type(batch_size)
        for u in range(outputs):
            dz[r, u] *= share
    for p in range(loss_at - 1, first_trainable, -1):
        kind, i, o = table[p, KIND], table[p, INPUTS], table[p, OUTPUTS]
        dz = matrix(slopes, slope_places[p + 1] + first * o, rows.size, o)
        dx = matrix(slopes, slope_places[p] + first * i, rows.size, i)
        if kind == DENSE:
            W_turned = matrix(turned, turned_places[p], o, i)
            product(slopes, slope_places[p + 1] + first * o, o, ONE, W_turned, zeros, dx)
        elif kind == ACTIVATION:
            backward_activation(table[p, WHICH], dz, matrix(work, places[p + 1] + first * o, rows.size, o), dx)
        elif kind == NORMALIZATION:
            normalization_backward(dz, vector(parameters, table[p, SECOND], o), dx)
        else:
            dropout_backward(dz, numbers[p, RATE], seed, step, table[p, WHICH], first * o, dx)


@njit(cache=True, inline="always")
def gather(classes, X, y, rows, x_out, y_out):
    """Copy the chosen rows next to each other."""
    X_ = X.reshape(-1)
    for r in range(rows.size):
        x_r, out_r = vector(X_, rows[r] * x_out.shape[1], x_out.shape[1]), x_out[r]
        for k in range(out_r.size):
            out_r[k] = x_r[k]
        targets(classes, y[rows[r] : rows[r] + 1], y_out[r : r + 1])


@njit(cache=True, inline="always")
def add_totals(table, loss, loss_at, chosen, goal, work, places, sample_weight, batch, row_values, sums):
    """Add a batch's loss and metrics to the sums."""
    last = table.shape[0]
    outputs = table[last - 1, OUTPUTS]
    add_up(
        loss, chosen, matrix(goal, 0, batch.size, outputs), matrix(work, places[loss_at], batch.size, outputs),
        matrix(work, places[last], batch.size, outputs), sample_weight, batch, vector(row_values, 0, batch.size), sums,
    )  # fmt: skip


@njit(cache=True, inline="always")
def move(
    table, numbers, parameters, theta, slots, step, optimizer, optimizer_numbers, x, work, places,
    slopes, slope_places, turned, turned_places, zeros, own, p, first, last, batch_size,
):  # fmt: skip
    """The gradient by the rows ``first`` to ``last`` of a dense layer's W, and the optimizer's step there."""
    inputs, outputs, start = table[p, INPUTS], table[p, OUTPUTS], table[p, FIRST]
    dz = matrix(slopes, slope_places[p + 1], batch_size, outputs)
    x_p, x_start = (x, 0) if p == 0 else (work, places[p])
    rows_backward_W(x_p, x_start + first, inputs, dz, zeros, matrix(own, 0, last - first, outputs))
    begin, size = start + first * outputs, (last - first) * outputs
    if numbers[p, L1] != 0:
        l1_backward(vector(parameters, begin, size), numbers[p, L1], vector(own, 0, size))
    if numbers[p, L2] != 0:
        l2_backward(vector(parameters, begin, size), numbers[p, L2], vector(own, 0, size))
    update(optimizer, optimizer_numbers, theta, slots, step, vector(own, 0, size), begin)
    if turned_places[p] >= 0:
        W = matrix(parameters, start, inputs, outputs)
        transpose(W, first, last, matrix(turned, turned_places[p], outputs, inputs))
    if first == 0 and table[p, SECOND] < theta.size:
        db = vector(own, size, outputs)
        dense_backward_b(dz, db)
        update(optimizer, optimizer_numbers, theta, slots, step, db, table[p, SECOND])


@njit(cache=True, inline="always")
def update(optimizer, numbers, theta, slots, t, g, begin):
    """The optimizer's step where the gradient g belongs, from ``begin`` on."""
    theta = vector(theta, begin, g.size)
    rate, mu = numbers[LEARNING_RATE], numbers[MOMENTUM_RATE]
    beta_1, beta_2, epsilon = numbers[BETA_1], numbers[BETA_2], numbers[EPSILON]
    if optimizer == SGD:
        sgd(theta, g, rate)
        return
    first = vector(slots.reshape(-1), begin, g.size)
    if optimizer == MOMENTUM:
        momentum(theta, g, first, rate, mu)
    elif optimizer == NESTEROV:
        nesterov(theta, g, first, rate, mu)
    else:
        second = vector(slots.reshape(-1), slots.shape[1] + begin, g.size)
        if optimizer == ADAM:
            adam(theta, g, first, second, t, rate, beta_1, beta_2, epsilon)
        elif optimizer == ADAMW:
            adamw(theta, g, first, second, t, rate, beta_1, beta_2, epsilon, numbers[WEIGHT_DECAY])
