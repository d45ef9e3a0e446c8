"""Training a whole model in Numba: one compiled call runs many batches over the flat vector of parameters.

A step is a table of jobs, made once: plan.py says which they are.
"""

import time

import numpy as np

from minidl import aligned
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
from minidl.engines.numba_engine import threads
from minidl.engines.numba_engine.activations import backward as backward_activation
from minidl.engines.numba_engine.anywhere import backward_W_anywhere, scalar_products_anywhere
from minidl.engines.numba_engine.atomics import add_atomically
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.dense import dense_backward_b, dense_with_floor, product, rows_backward_W
from minidl.engines.numba_engine.forward import add_up, dense_forward, forward, fuses, penalty, target
from minidl.engines.numba_engine.gemm import fetch_row, transpose
from minidl.engines.numba_engine.losses import backward as backward_loss
from minidl.engines.numba_engine.normalization import normalization_backward
from minidl.engines.numba_engine.one_row import sgd_by_one_row
from minidl.engines.numba_engine.optimizers import adam, adamw, momentum, nesterov, sgd
from minidl.engines.numba_engine.plan import MOVE, PASS, UNITS, plan_for
from minidl.engines.numba_engine.regularization import dropout_backward, l1_backward, l2_backward
from minidl.engines.numba_engine.subnormals import flush_subnormals, restore_subnormals
from minidl.engines.numba_engine.team import entry_of, packet_of, share, together
from minidl.engines.numba_engine.threads import DONE, STEP, take, wait_until_done
from minidl.engines.numba_engine.vectors import ONE, ZERO
from minidl.engines.numba_engine.views import flat, matrix, vector


class Trainer:
    """Trains a program on X (n, i) and y (n, o), or (n, 1) class indices; everything of the program's dtype.

    Its buffers, each made once and, but for ``own``, for a whole batch: ``x`` and ``goal``, the batch's rows next to
    each other, unless they are read where they lie (anywhere.py), and their targets; ``work``, what each operation puts
    out; ``slopes``, the gradient by that; ``turned``, each W transposed, through which a gradient goes back, unless a
    batch is one row; ``row_values``, the loss or a metric of each row; ``zeros``, where a product has no bias; ``own``,
    for each thread the gradient of the block of W that it is at; ``parts``, the gradients that some rows at a time have
    left.

    ``threads``: how many it may use, which may be set to fewer.
    """

    def __init__(self, program, X, y, sample_weight=None, batch_size=32):
        self.program, self.batch_size = program, min(batch_size, len(X))
        self.X, self.y = X, y
        self.sample_weight = np.empty(0, X.dtype) if sample_weight is None else sample_weight
        self.plan = plan_for(program, self.batch_size, len(X))
        vars(self).update(zip(self.plan.sizes, aligned.split([*self.plan.sizes.values()], X.dtype), strict=True))
        self.own, self.threads = self.own.reshape(self.plan.threads, -1), self.plan.threads

    def run(self, orders, start, stop):
        """Train on the rows ``order[start:stop]`` of each order, batch by batch; the sums (contract.py) for each."""
        program, counters = self.program, threads.counters(self.plan.threads)
        sums = np.zeros((len(orders), program.sums_size))
        turn_all(program.table, program.parameters, self.turned, self.plan.turned_places)
        arguments = (
            program.table, program.numbers, program.parameters, program.theta, program.slots, program.seed,
            program.step, program.first_trainable, program.loss, program.loss_at, program.classes, program.metrics,
            program.optimizer, program.optimizer_numbers, self.X, self.y, self.sample_weight, self.x, self.goal,
            self.row_values, self.work, self.plan.places, self.slopes, self.plan.slope_places, self.turned,
            self.plan.turned_places, self.zeros, self.own, self.parts, self.plan.part_places, self.plan.part_size,
            self.plan.part_rows, self.plan.jobs, self.plan.shares, sums, orders, start, stop, self.batch_size, counters,
        )  # fmt: skip
        count = min(self.threads, self.plan.choice.threads())
        before, began = program.step, time.perf_counter()
        try:
            together(run_together, arguments, count)
        finally:  # a thread that left by an exception has left its jobs to the others
            program.step = max(program.step, int(counters[STEP]))
        self.plan.choice.note(count, time.perf_counter() - began, program.step - before)
        return sums

    def pull(self):
        """Bring the parameters and slots back to the program: here they have never left it."""


@njit(cache=True)
def turn_all(table, parameters, turned, turned_places):
    """Transpose every W that a gradient is passed back through."""
    for p in range(table.shape[0]):
        if turned_places[p] >= 0:
            inputs, outputs = table[p, INPUTS], table[p, OUTPUTS]
            transpose(inputs, outputs, parameters, table[p, FIRST], turned, turned_places[p], inputs)


@njit(cache=True, counts=False)
def run_batches(
    table, numbers, parameters, theta, slots, seed, step, first_trainable, loss, loss_at, classes, chosen,
    optimizer, optimizer_numbers, X, y, sample_weight, x, goal, row_values, work, places, slopes, slope_places,
    turned, turned_places, zeros, own, parts, part_places, part_size, part_rows, jobs, shares, sums, orders, start,
    stop, batch_size, counters, thread, threads,
):  # fmt: skip
    """Train on ``order[start:stop]`` of each order, and note the number of optimizer steps since the beginning.

    Each of the ``threads`` calls this, with ``own`` to itself. They share the jobs of a phase, and wait until all of
    them are done before they begin with the next.
    """
    base, before, own_ = 0, flush_subnormals(), own[thread]
    for epoch in range(orders.shape[0]):
        for begin in range(start, stop, batch_size):
            size = min(batch_size, stop - begin)
            batch = vector(orders, epoch * orders.shape[1] + begin, size)
            for phase in range(shares.shape[0]):
                job = take(counters, base, shares, phase, thread, threads)
                while job >= 0:
                    what, p, q, first, last = jobs[job, 0], jobs[job, 1], jobs[job, 2], jobs[job, 3], jobs[job, 4]
                    if what == MOVE:
                        move(
                            table, numbers, parameters, theta, slots, step + 1, optimizer, optimizer_numbers, x, work,
                            places, slopes, slope_places, turned, turned_places, zeros, own_, parts, part_places,
                            part_size, -(-size // part_rows), p, first, last, size,
                        )  # fmt: skip
                    elif what == PASS:
                        if first == 0 and p == 0:
                            sums[epoch, LOSS] += size * penalty(table, numbers, parameters)
                        if first < size:
                            forward_and_back(
                                table, numbers, parameters, seed, step, first_trainable, loss, loss_at, classes, X, y,
                                sample_weight, x, goal, work, places, slopes, slope_places, turned, turned_places,
                                zeros, parts, part_places, first // part_rows * part_size,
                                vector(batch, first, min(last, size) - first), p, q, first, size,
                            )  # fmt: skip
                    elif what == UNITS:
                        dense_forward(table, parameters, x, work, places, p, ZERO, size, first, last)
                    else:
                        add_totals(
                            table, loss, loss_at, chosen, goal, work, places, sample_weight, batch, row_values,
                            sums[epoch],
                        )  # fmt: skip
                    if threads > 1:
                        add_atomically(counters, DONE, 1)
                    job = take(counters, base, shares, phase, thread, threads)
                if threads > 1:
                    wait_until_done(counters, base + shares[phase, shares.shape[1] - 1])
            step += 1
            base += jobs.shape[0]
    restore_subnormals(before)
    counters[STEP] = step


@njit(cache=True)
def run_together(bell, threads, *arguments):
    share(bell, threads, entry_of(run_batches, arguments), packet_of(arguments))


@njit(cache=True, inline="always")
def forward_and_back(
    table, numbers, parameters, seed, step, first_trainable, loss, loss_at, classes, X, y, sample_weight, x, goal,
    work, places, slopes, slope_places, turned, turned_places, zeros, parts, part_places, part, rows, p, q, first,
    batch_size,
):  # fmt: skip
    """Some rows of a batch, which begin with its row ``first``, through the operations p to q.

    After the last operation the loss's gradient goes back to each layer.
    """
    outputs = table[table.shape[0] - 1, OUTPUTS]
    in_place = table[0, KIND] == DENSE and table[0, OUTPUTS] == 1 and part_places[0] >= 0
    if p == 0:
        for r in range(rows.size):
            target(classes, y, rows[r], vector(goal, (first + r) * outputs, outputs))
        if in_place:
            p = 2 if fuses(table, places, 0) else 1
            scalar_products_anywhere(
                flat(X), rows, table[0, INPUTS], work, places[1] + first, parameters, table[0, SECOND], parameters,
                table[0, FIRST], work.dtype.type(0 if p == 2 else -np.inf),
            )  # fmt: skip
        else:
            gather(X, rows, table[0, INPUTS], first, x)
    forward(table, numbers, parameters, x, work, places, p, q, True, seed, step, first, rows.size)
    if q < table.shape[0]:
        return
    given = matrix(work, places[loss_at] + first * outputs, rows.size, outputs)
    dz = matrix(slopes, slope_places[loss_at] + first * outputs, rows.size, outputs)
    backward_loss(loss, matrix(goal, first * outputs, rows.size, outputs), given, dz)
    weigh(dz, sample_weight, rows, dz.dtype.type(batch_size))
    for p in range(loss_at - 1, first_trainable, -1):
        kind, i, o = table[p, KIND], table[p, INPUTS], table[p, OUTPUTS]
        dz_start, dx_start = slope_places[p + 1] + first * o, slope_places[p] + first * i
        dz, dx = matrix(slopes, dz_start, rows.size, o), matrix(slopes, dx_start, rows.size, i)
        if kind == DENSE and turned_places[p] < 0:  # one row: the products of each row of W with dz
            dense_with_floor(
                i, ONE, ONE, o, slopes, dx_start, zeros, ZERO, parameters, table[p, FIRST], slopes, dz_start,
                dz.dtype.type(-np.inf),
            )  # fmt: skip
        elif kind == DENSE:
            product(
                rows.size, i, o, slopes, dx_start, zeros, slopes, dz_start, o, ONE, turned, turned_places[p], i
            )  # fmt: skip
        elif kind == ACTIVATION:
            backward_activation(table[p, WHICH], dz, matrix(work, places[p + 1] + first * o, rows.size, o), dx)
        elif kind == NORMALIZATION:
            normalization_backward(dz, vector(parameters, table[p, SECOND], o), dx)
        else:
            dropout_backward(dz, numbers[p, RATE], seed, step, table[p, WHICH], first * o, dx)
    for p in range(loss_at):
        if part_places[p] >= 0:
            i, o = table[p, INPUTS], table[p, OUTPUTS]
            dz_start, size, at = slope_places[p + 1] + first * o, i * o, part + part_places[p]
            if p == 0 and in_place:
                backward_W_anywhere(flat(X), rows, i, slopes, dz_start, zeros, vector(parts, at, size))
            else:
                x_p, x_start = (x, first * i) if p == 0 else (work, places[p] + first * i)
                rows_backward_W(
                    rows.size, i, o, x_p, x_start, i, slopes, dz_start, zeros, vector(parts, at, size)
                )  # fmt: skip
            dense_backward_b(matrix(slopes, dz_start, rows.size, o), vector(parts, at + size, o))


@njit(cache=True, inline="always")
def weigh(dz, sample_weight, rows, batch_size):
    """Each row's share of the mean over the batch, by its weight."""
    dz_, outputs = flat(dz), dz.shape[1]
    if sample_weight.size == 0:
        share = dz.dtype.type(1) / batch_size
        for e in range(dz_.size):
            dz_[e] *= share
        return
    for r in range(rows.size):
        share = sample_weight[rows[r]] / batch_size
        for u in range(outputs):
            dz[r, u] *= share


@njit(cache=True, inline="always")
def gather(X, rows, inputs, first, x):
    """Copy the chosen rows next to each other."""
    X_ = flat(X)
    for r in range(rows.size):
        if r + 2 < rows.size:
            fetch_row(X_, rows[r + 2], inputs)
        source, copy = vector(X_, rows[r] * inputs, inputs), vector(x, (first + r) * inputs, inputs)
        for k in range(inputs):
            copy[k] = source[k]


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
    slopes, slope_places, turned, turned_places, zeros, own, parts, part_places, part_size, part_count, p, first, last,
    batch_size,
):  # fmt: skip
    """The gradient by some rows of a dense layer's W, and the optimizer's step there."""
    inputs, outputs, rows = table[p, INPUTS], table[p, OUTPUTS], last - first
    begin, size, dz = table[p, FIRST] + first * outputs, rows * outputs, slope_places[p + 1]
    x_p, x_start = (x, 0) if p == 0 else (work, places[p])
    parted, no_penalty = part_places[p] >= 0, numbers[p, L1] == 0 and numbers[p, L2] == 0
    if batch_size == 1 and optimizer == SGD and no_penalty and not parted:
        sgd_by_one_row(
            rows, outputs, theta, begin, x_p, x_start + first, slopes, dz,
            theta.dtype.type(optimizer_numbers[LEARNING_RATE]),
        )  # fmt: skip
    else:
        if parted:
            add_parts(parts, part_places[p] + first * outputs, part_size, part_count, vector(own, 0, size))
        else:
            rows_backward_W(batch_size, rows, outputs, x_p, x_start + first, inputs, slopes, dz, zeros, own)
        if numbers[p, L1] != 0:
            l1_backward(vector(parameters, begin, size), numbers[p, L1], vector(own, 0, size))
        if numbers[p, L2] != 0:
            l2_backward(vector(parameters, begin, size), numbers[p, L2], vector(own, 0, size))
        update(optimizer, optimizer_numbers, theta, slots, step, vector(own, 0, size), begin)
    if turned_places[p] >= 0:
        transpose(rows, outputs, parameters, begin, turned, turned_places[p] + first, inputs)
    if first == 0 and table[p, SECOND] < theta.size:
        db = vector(own, own.size - zeros.size, outputs)
        if parted:
            add_parts(parts, part_places[p] + inputs * outputs, part_size, part_count, db)
        else:
            dense_backward_b(matrix(slopes, dz, batch_size, outputs), db)
        update(optimizer, optimizer_numbers, theta, slots, step, db, table[p, SECOND])


@njit(cache=True)
def add_parts(parts, start, distance, count, total):
    """The sum of so many vectors, which begin so far from each other, the first one added first."""
    first = vector(parts, start, total.size)
    for e in range(total.size):
        total[e] = first[e]
    for part in range(1, count):
        more = vector(parts, start + part * distance, total.size)
        for e in range(total.size):
            total[e] += more[e]


@njit(cache=True, inline="always")
def update(optimizer, numbers, theta, slots, t, g, begin):
    """The optimizer's step where the gradient g belongs, from ``begin`` on."""
    theta = vector(theta, begin, g.size)
    rate, mu = numbers[LEARNING_RATE], numbers[MOMENTUM_RATE]
    beta_1, beta_2, epsilon = numbers[BETA_1], numbers[BETA_2], numbers[EPSILON]
    if optimizer == SGD:
        sgd(theta, g, rate)
        return
    first = vector(slots, begin, g.size)
    if optimizer == MOMENTUM:
        momentum(theta, g, first, rate, mu)
    elif optimizer == NESTEROV:
        nesterov(theta, g, first, rate, mu)
    else:
        second = vector(slots, slots.shape[1] + begin, g.size)
        if optimizer == ADAM:
            adam(theta, g, first, second, t, rate, beta_1, beta_2, epsilon)
        elif optimizer == ADAMW:
            adamw(theta, g, first, second, t, rate, beta_1, beta_2, epsilon, numbers[WEIGHT_DECAY])
