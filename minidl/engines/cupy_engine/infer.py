"""A whole model forward in CuPy: every operation in turn, and the loss and metrics of what comes out."""

import copy

import numpy as np

from minidl import contract as c
from minidl.engines.cupy_engine import activations, losses, metrics
from minidl.engines.cupy_engine.dense import dense
from minidl.engines.cupy_engine.device import to_device, to_host, xp
from minidl.engines.cupy_engine.normalization import normalization
from minidl.engines.cupy_engine.regularization import dropout, l1, l2

CHUNK = 16_384  # rows uploaded at a time, so that a prediction's memory on the GPU does not grow with the data


def on_device(program):
    """A copy of the program with its parameters on the GPU; its table and numbers stay on the host, which reads them.

    Made anew for each call of ``predict`` and ``evaluate``: between two calls anyone may write into the weights.
    """
    twin = copy.copy(program)
    twin.parameters = to_device(program.parameters)
    twin.table, twin.numbers = program.table.tolist(), program.numbers.tolist()  # a NumPy float64 would widen float32
    return twin


def forward(program, x, step=None):
    """What every operation puts out, the input first; dropout acts only where a training ``step`` is given."""
    outputs = [x]
    for row, numbers in zip(program.table, program.numbers, strict=True):
        if row[c.KIND] == c.DENSE:
            x = dense(x, program.weights(row), program.bias(row))
        elif row[c.KIND] == c.ACTIVATION:
            x = activations.FORWARD[row[c.WHICH]](x)
        elif row[c.KIND] == c.NORMALIZATION:
            x = normalization(x, program.mean(row), program.variance(row))
        elif step is not None:
            x = dropout(x, numbers[c.RATE], program.seed, step, row[c.WHICH])
        outputs.append(x)
    return outputs


def predict(program, X, out=None):
    """The model's output for each row of X: (n, i) -> (n, o), both NumPy arrays."""
    twin = on_device(program)
    out = np.empty((len(X), program.outputs), X.dtype) if out is None else out
    for start in range(0, len(X), CHUNK):
        out[start : start + CHUNK] = to_host(forward(twin, to_device(X[start : start + CHUNK]))[-1])
    return out


def evaluate(program, X, y, sample_weight=None):
    """The sums (contract.py) of loss and metrics over all rows; everything given and returned is on the host."""
    twin, sums = on_device(program), xp.zeros(program.sums_size)
    for start in range(0, len(X), CHUNK):
        rows = slice(start, start + CHUNK)
        weight = None if sample_weight is None else to_device(sample_weight[rows])
        add_up(twin, targets(twin, to_device(y[rows])), forward(twin, to_device(X[rows])), weight, sums)
    return to_host(sums)


def targets(program, y):
    """Class indices (n, 1) as rows of one 1 among zeros, where the loss is given indices; else y as it is."""
    return (y == xp.arange(program.classes, dtype=y.dtype)).astype(y.dtype) if program.classes else y


def add_up(program, y, outputs, weight, sums):
    """Add a batch's loss and metrics to the sums, which stay on the GPU."""
    loss = losses.FORWARD[program.loss](y, outputs[program.loss_at])
    loss = loss if weight is None else loss * weight
    sums[c.ROWS] += len(y)
    sums[c.LOSS] += xp.sum(loss, dtype=xp.float64) + len(y) * penalty(program)
    place = c.FIRST_METRIC
    for metric in program.metrics:
        if metric == c.AUC:
            counts = sums[place : place + 2 * c.AUC_BINS].reshape(2, c.AUC_BINS)
            metrics.auc_histograms(y, outputs[-1], counts)
            place += 2 * c.AUC_BINS
        else:
            sums[place] += xp.sum(metrics.FORWARD[metric](y, outputs[-1]), dtype=xp.float64)
            place += 1


def penalty(program):
    """What the l1 and l2 regularizers add to the loss."""
    total = 0.0
    for row, numbers in zip(program.table, program.numbers, strict=True):
        if numbers[c.L1]:
            total = total + l1(program.weights(row), numbers[c.L1])
        if numbers[c.L2]:
            total = total + l2(program.weights(row), numbers[c.L2])
    return total
