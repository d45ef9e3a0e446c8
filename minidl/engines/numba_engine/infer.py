"""A whole model forward in Numba: one compiled call runs every operation on every row, and adds up loss and metrics."""

import numpy as np

from minidl import aligned
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
from minidl.engines.numba_engine.dense import dense_above
from minidl.engines.numba_engine.gemm import ROWS as ROWS_OF_TILE
from minidl.engines.numba_engine.gemm import ZERO
from minidl.engines.numba_engine.normalization import normalization
from minidl.engines.numba_engine.plan import fuses as fuses_by_table
from minidl.engines.numba_engine.plan import places_for
from minidl.engines.numba_engine.regularization import dropout, l1, l2
from minidl.engines.numba_engine.team import entry_of, packet_of, share, together
from minidl.engines.numba_engine.threads import take
from minidl.engines.numba_engine.views import matrix, vector

CHUNK = 240  # rows at a time: what a chunk's layers hand on stays in the cache, and its rows are whole tiles

UNUSED = np.zeros((1, 1), np.int64)  # in the place of shares and counters where one thread has all rows

# The compiled functions below run at every layer of every model from the same machine code: what differs is in the
# table. ``work`` holds what each operation puts out, ``places[p]`` is where the output of operation p - 1 begins.
fuses = njit(cache=True)(fuses_by_table)
forward_activation, forward_loss, forward_metric = activations.forward, losses.forward, metrics.forward


@njit(cache=True, inline="always")
def forward(table, numbers, parameters, x, work, places, begin, end, training, seed, step, first, rows):
    """Run the operations ``begin`` to ``end`` on ``rows`` rows from ``first`` on, each into its place in ``work``.

    x and ``work`` are flat and hold the whole batch.
    """
    fused = False
    for p in range(begin, end):
        if fused:  # the dense layer before has done it
            fused = False
            continue
        kind, start, second = table[p, KIND], table[p, FIRST], table[p, SECOND]
        inputs, outputs = table[p, INPUTS], table[p, OUTPUTS]
        if kind == DENSE:
            fused = fuses(table, places, p)
            dense_forward(table, parameters, x, work, places, p, first, rows, ZERO, outputs)
            continue
        source, at = (x, first * inputs) if p == 0 else (work, places[p] + first * inputs)
        x_p, y = matrix(source, at, rows, inputs), matrix(work, places[p + 1] + first * outputs, rows, outputs)
        if kind == ACTIVATION:
            forward_activation(table[p, WHICH], x_p, y)
        elif kind == NORMALIZATION:
            normalization(x_p, vector(parameters, start, inputs), vector(parameters, second, inputs), y)
        elif training:
            dropout(x_p, numbers[p, RATE], seed, step, table[p, WHICH], first * inputs, y)
        else:
            linear(x_p, y)


@njit(cache=True, inline="always")
def dense_forward(table, parameters, x, work, places, p, first, rows, left, right):
    """``rows`` rows from ``first`` on through the units ``left`` to ``right`` of the dense layer p, and its ReLU."""
    inputs, outputs, start = table[p, INPUTS], table[p, OUTPUTS], places[p + 1] + left
    source, at = (x, first * inputs) if p == 0 else (work, places[p] + first * inputs)
    floor = work.dtype.type(0) if fuses(table, places, p) else work.dtype.type(-np.inf)
    dense_above(
        rows, right - left, outputs, inputs, work, start + first * outputs, parameters, table[p, SECOND] + left, source,
        at, parameters, table[p, FIRST] + left, floor,
    )  # fmt: skip


@njit(cache=True, inline="always")
def penalty(table, numbers, parameters):
    """What the l1 and l2 regularizers add to the loss."""
    total = 0.0
    for p in range(table.shape[0]):
        W = vector(parameters, table[p, FIRST], table[p, INPUTS] * table[p, OUTPUTS])
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


@njit(cache=True, inline="always")
def target(classes, y, row, out):
    """Copy a row's targets to ``out``; a class index (n, 1) as one 1 among zeros."""
    for u in range(out.size):
        if classes > 0:
            out[u] = 1 if u == int(y[row, 0]) else 0
        else:
            out[u] = y[row, u]


@njit(cache=True)
def predict_rows(table, numbers, parameters, X, work, places, out, chunk, shares, counters, thread, threads):
    """The output for each row of X, ``chunk`` rows at a time; each thread has a row of ``work`` to itself."""
    last, inputs, outputs = table.shape[0], X.shape[1], out.shape[1]
    X_, out_, work_ = X.reshape(-1), out.reshape(-1), work[thread]
    job = 0 if threads == 1 else take(counters, 0, shares, 0, thread, threads)
    while job >= 0:
        start = job * chunk
        rows = min(chunk, X.shape[0] - start)
        x = vector(X_, start * inputs, rows * inputs)
        forward(table, numbers, parameters, x, work_, places, 0, last, False, 0, 0, 0, rows)
        linear(matrix(work_, places[last], rows, outputs), matrix(out_, start * outputs, rows, outputs))
        if threads == 1:
            job = job + 1 if start + rows < X.shape[0] else -1
        else:
            job = take(counters, 0, shares, 0, thread, threads)


@njit(cache=True)
def predict_together(bell, threads, *arguments):
    share(bell, threads, entry_of(predict_rows, arguments), packet_of(arguments))


@njit(cache=True)
def evaluate_rows(
    table, numbers, parameters, loss, loss_at, classes, chosen, X, y, sample_weight,
    work, places, goal, row_values, sums,
):  # fmt: skip
    last, inputs, outputs = table.shape[0], X.shape[1], goal.shape[1]
    X_ = X.reshape(-1)
    for start in range(0, X.shape[0], goal.shape[0]):
        rows = np.arange(start, min(start + goal.shape[0], X.shape[0]))
        goal_now = goal[: rows.size]
        for r in range(rows.size):
            target(classes, y, rows[r], goal_now[r])
        x = vector(X_, start * inputs, rows.size * inputs)
        forward(table, numbers, parameters, x, work, places, 0, last, False, 0, 0, 0, rows.size)
        given = matrix(work, places[loss_at], rows.size, outputs)
        p = matrix(work, places[last], rows.size, outputs)
        add_up(loss, chosen, goal_now, given, p, sample_weight, rows, row_values[: rows.size], sums)
    sums[LOSS] += X.shape[0] * penalty(table, numbers, parameters)


def predict(program, X, out=None):
    """The model's output for each row of X: (n, i) -> (n, o)."""
    rows = X.shape[0]
    out = np.empty((rows, program.outputs), X.dtype) if out is None else out
    plan = program.plans.get(rows)  # one row is not to wait for what only many rows need
    if plan is None:
        workers = min(threads.for_call(program.parameters.size * rows), rows)
        parts = -(-rows // (CHUNK * workers)) * workers  # as many for each thread
        whole = ROWS_OF_TILE if rows >= 8 * parts * ROWS_OF_TILE else 1  # few rows are dealt out evenly
        chunk = -(-rows // (parts * whole)) * whole
        plan = workers, chunk, -(-rows // chunk), *places_for(program, chunk)
        if rows <= CHUNK:
            program.plans[rows] = plan
    workers, chunk, chunks, places, size = plan
    table, numbers, parameters = program.table, program.numbers, program.parameters
    if workers == 1:
        work = np.empty((1, size), X.dtype)
        predict_rows(table, numbers, parameters, X, work, places, out, chunk, UNUSED, UNUSED[0], 0, 1)
        return out
    work, counters = aligned.zeros((workers, size), X.dtype), threads.counters(workers)
    shares = np.array([[chunks * t // workers for t in range(workers + 1)]])
    arguments = table, numbers, parameters, X, work, places, out, chunk, shares, counters
    together(predict_together, arguments, workers)
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
