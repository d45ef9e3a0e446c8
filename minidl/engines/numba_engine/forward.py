"""A model forward on some rows in Numba: every operation into its place, then loss and metrics; training uses it too.

The compiled functions run at every layer of every model from the same machine code: what differs is in the table.
``work`` holds what each operation puts out, ``places[p]`` is where the output of operation p - 1 begins.
"""

import numpy as np

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
from minidl.engines.numba_engine.activations import forward as forward_activation
from minidl.engines.numba_engine.activations import linear
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.dense import dense_with_floor
from minidl.engines.numba_engine.losses import forward as forward_loss
from minidl.engines.numba_engine.metrics import auc_histograms
from minidl.engines.numba_engine.metrics import forward as forward_metric
from minidl.engines.numba_engine.normalization import normalization
from minidl.engines.numba_engine.plan import fuses as fuses_by_table
from minidl.engines.numba_engine.regularization import dropout, l1, l2
from minidl.engines.numba_engine.vectors import ZERO
from minidl.engines.numba_engine.views import matrix, vector

fuses = njit(cache=True)(fuses_by_table)


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
    dense_with_floor(
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
    if sample_weight.size > 0:
        for r in range(rows.size):
            row_values[r] *= sample_weight[rows[r]]
    sums[ROWS] += rows.size
    sums[LOSS] += total_in_double(row_values)
    place = FIRST_METRIC
    for metric in chosen:
        if metric == AUC:
            auc_histograms(y, p, matrix(sums, place, 2, AUC_BINS))
            place += 2 * AUC_BINS
        else:
            forward_metric(metric, y, p, row_values)
            sums[place] += total_in_double(row_values)
            place += 1


@njit(cache=True, fastmath={"contract", "reassoc"})
def total_in_double(row_values):
    """Their sum; in float32 that of many rows would lose digits."""
    total = 0.0
    for r in range(row_values.size):
        total += row_values[r]
    return total


@njit(cache=True, inline="always")
def target(classes, y, row, out):
    """Copy a row's targets to ``out``; a class index (n, 1) as one 1 among zeros."""
    for u in range(out.size):
        if classes > 0:
            out[u] = 1 if u == int(y[row, 0]) else 0
        else:
            out[u] = y[row, u]
