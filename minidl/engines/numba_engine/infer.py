"""A whole model forward in Numba: one compiled call runs every operation on every row, and adds up loss and metrics."""

import numpy as np

from minidl import contract as c
from minidl.contract import (
    ACTIVATION,
    AUC,
    AUC_BINS,
    DENSE,
    FIRST,
    FIRST_METRIC,
    INPUTS,
    KIND,
    L1,
    L2,
    LOSS,
    NORMALIZATION,
    OUTPUTS,
    RATE,
    ROWS,
    SECOND,
    WHICH,
)
from minidl.engines.numba_engine import activations, losses, metrics, threads
from minidl.engines.numba_engine.activations import linear
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.dense import dense
from minidl.engines.numba_engine.normalization import normalization
from minidl.engines.numba_engine.regularization import dropout, l1, l2

CHUNK = 256  # rows at a time: what a chunk's layers hand on stays in the cache

# The compiled functions below run at every layer of every model from the same machine code: what differs is in the
# table. ``work`` holds what each operation puts out, ``places[p]`` is where the output of operation p - 1 begins.
forward_activation, forward_loss, forward_metric = activations.forward, losses.forward, metrics.forward


def places_for(program, rows):
    """Where in one flat buffer each operation's output lies, and the buffer's size, for batches of up to ``rows`` rows.

    An activation overwrites what it reads, unless the loss will be taken from that; so the buffer is smaller.
    """
    places, end = [0], 0
    for place, row in enumerate(program.table):
        if row[c.KIND] != c.ACTIVATION or place in (0, program.loss_at):
            places.append(end)
            end += rows * int(row[c.OUTPUTS])
        else:
            places.append(places[-1])
    return np.array(places, dtype=np.int64), end


@njit(cache=True)
def view(buffer, start, rows, columns):
    return buffer[start : start + rows * columns].reshape(rows, columns)


@njit(cache=True, inline="always")
def forward(table, numbers, parameters, x, work, places, training, seed, step, first):
    """Run every operation on x (n, i), each into its place in ``work``; ``first`` is x's first row in its batch."""
    rows = x.shape[0]
    for p in range(table.shape[0]):
        if p > 0:
            x = view(work, places[p], rows, table[p, INPUTS])
        y = view(work, places[p + 1], rows, table[p, OUTPUTS])
        kind, start, second = table[p, KIND], table[p, FIRST], table[p, SECOND]
        if kind == DENSE:
            W = view(parameters, start, table[p, INPUTS], table[p, OUTPUTS])
            dense(x, W, parameters[second : second + table[p, OUTPUTS]], y)
        elif kind == ACTIVATION:
            forward_activation(table[p, WHICH], x, y)
        elif kind == NORMALIZATION:
            mean, variance = parameters[start : start + x.shape[1]], parameters[second : second + x.shape[1]]
            normalization(x, mean, variance, y)
        elif training:
            dropout(x, numbers[p, RATE], seed, step, table[p, WHICH], first * table[p, INPUTS], y)
        else:
            linear(x, y)


@njit(cache=True, inline="always")
def penalty(table, numbers, parameters):
    """What the l1 and l2 regularizers add to the loss."""
    total = 0.0
    for p in range(table.shape[0]):
        W = parameters[table[p, FIRST] : table[p, FIRST] + table[p, INPUTS] * table[p, OUTPUTS]]
        if numbers[p, L1] != 0:
            total += l1(W, numbers[p, L1])
        if numbers[p, L2] != 0:
            total += l2(W, numbers[p, L2])
    return total


@njit(cache=True, inline="always")
def add_up(loss, chosen, y, given, p, sample_weight, rows, row_values, sums):
    """Add the loss (from what it is ``given``) and metrics (from the predictions p) to the sums.

    ``rows`` are the places of these rows in ``sample_weight``, which is empty where all weigh the same.
    """
    forward_loss(loss, y, given, row_values)
    total = 0.0
    for r in range(rows.size):
        total += row_values[r] * sample_weight[rows[r]] if sample_weight.size > 0 else row_values[r]
    sums[ROWS] += rows.size
    sums[LOSS] += total
    place = FIRST_METRIC
    for metric in chosen:
        if metric == AUC:
            metrics_auc(y, p, sums[place : place + 2 * AUC_BINS].reshape(2, AUC_BINS))
            place += 2 * AUC_BINS
        else:
            forward_metric(metric, y, p, row_values)
            for r in range(rows.size):
                sums[place] += row_values[r]
            place += 1


metrics_auc = metrics.auc_histograms


@njit(cache=True)
def targets(classes, y, out):
    """Copy the targets to ``out``; class indices (n, 1) as rows of one 1 among zeros."""
    for r in range(out.shape[0]):
        for u in range(out.shape[1]):
            if classes > 0:
                out[r, u] = 1 if u == int(y[r, 0]) else 0
            else:
                out[r, u] = y[r, u]


@njit(cache=True)
def predict_rows(table, numbers, parameters, X, work, places, out, thread, threads):
    """Each thread takes every so-manieth chunk of rows, and has a row of ``work`` to itself."""
    last = table.shape[0]
    for start in range(thread * CHUNK, X.shape[0], threads * CHUNK):
        x = X[start : min(start + CHUNK, X.shape[0])]
        forward(table, numbers, parameters, x, work[thread], places, False, 0, 0, 0)
        linear(view(work[thread], places[last], x.shape[0], out.shape[1]), out[start : start + x.shape[0]])


@njit(cache=True)
def evaluate_rows(
    table, numbers, parameters, loss, loss_at, classes, chosen, X, y, sample_weight,
    work, places, goal, row_values, sums,
):  # fmt: skip
    last, outputs = table.shape[0], goal.shape[1]
    for start in range(0, X.shape[0], goal.shape[0]):
        rows = np.arange(start, min(start + goal.shape[0], X.shape[0]))
        goal_now = goal[: rows.size]
        targets(classes, y[start : start + rows.size], goal_now)
        forward(table, numbers, parameters, X[start : start + rows.size], work, places, False, 0, 0, 0)
        given, p = view(work, places[loss_at], rows.size, outputs), view(work, places[last], rows.size, outputs)
        add_up(loss, chosen, goal_now, given, p, sample_weight, rows, row_values[: rows.size], sums)
    sums[LOSS] += X.shape[0] * penalty(table, numbers, parameters)


def predict(program, X, out=None):
    """The model's output for each row of X: (n, i) -> (n, o)."""
    out = np.empty((len(X), program.outputs), X.dtype) if out is None else out
    rows = min(len(X), CHUNK)
    places, size = places_for(program, rows)
    workers = threads.worth(program.parameters.size, len(X) // 3, -(-len(X) // rows))  # forward is a third of training
    work = np.empty((workers, size), X.dtype)

    def share(thread, threads):
        table, numbers, parameters = program.table, program.numbers, program.parameters
        predict_rows(table, numbers, parameters, X, work, places, out, thread, threads)

    with threads.team(workers) as run:
        run(share, np.zeros(1, np.int64))
    return out


def evaluate(program, X, y, sample_weight=None):
    """The sums (contract.py) of loss and metrics over all rows."""
    sums = np.zeros(program.sums_size)
    rows = min(len(X), CHUNK)
    places, size = places_for(program, rows)
    work, row_values = np.empty(size, X.dtype), np.empty(rows, X.dtype)
    goal = np.empty((rows, program.outputs), X.dtype)
    sample_weight = np.empty(0, X.dtype) if sample_weight is None else sample_weight
    evaluate_rows(
        program.table, program.numbers, program.parameters, program.loss, program.loss_at, program.classes,
        program.metrics, X, y, sample_weight, work, places, goal, row_values, sums,
    )  # fmt: skip
    return sums
