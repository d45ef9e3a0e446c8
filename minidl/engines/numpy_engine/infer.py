"""A whole model forward in NumPy: every operation in turn, and the loss and metrics of what comes out."""

import numpy as np

from minidl import contract as c
from minidl.engines.numpy_engine import activations, losses, metrics
from minidl.engines.numpy_engine.dense import dense
from minidl.engines.numpy_engine.normalization import normalization
from minidl.engines.numpy_engine.regularization import dropout, l1, l2

CHUNK = 8192  # rows at a time, so that a prediction's memory does not grow with the data


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


# NaN and infinity pass through without a warning, as in the other engines: fit says it when a training has diverged.
silently = np.errstate(all="ignore")


@silently
def predict(program, X, out=None):
    """The model's output for each row of X: (n, i) -> (n, o)."""
    out = np.empty((len(X), program.outputs), X.dtype) if out is None else out
    for start in range(0, len(X), CHUNK):
        out[start : start + CHUNK] = forward(program, X[start : start + CHUNK])[-1]
    return out


@silently
def evaluate(program, X, y, sample_weight=None):
    """The sums (contract.py) of loss and metrics over all rows."""
    sums = np.zeros(program.sums_size)
    for start in range(0, len(X), CHUNK):
        rows = slice(start, start + CHUNK)
        weight = None if sample_weight is None else sample_weight[rows]
        add_up(program, targets(program, y[rows]), forward(program, X[rows]), weight, sums)
    return sums


def targets(program, y):
    """Class indices (n, 1) as rows of one 1 among zeros, where the loss is given indices; else y as it is."""
    return np.eye(program.classes, dtype=y.dtype)[y[:, 0].astype(np.int64)] if program.classes else y


def add_up(program, y, outputs, weight, sums):
    """Add a batch's loss and metrics to the sums."""
    loss = losses.FORWARD[program.loss](y, outputs[program.loss_at])
    loss = loss if weight is None else loss * weight
    sums[c.ROWS] += len(y)
    sums[c.LOSS] += np.sum(loss, dtype=np.float64) + len(y) * penalty(program)
    place = c.FIRST_METRIC
    for metric in program.metrics:
        if metric == c.AUC:
            counts = sums[place : place + 2 * c.AUC_BINS].reshape(2, c.AUC_BINS)
            metrics.auc_histograms(y, outputs[-1], counts)
            place += 2 * c.AUC_BINS
        else:
            sums[place] += np.sum(metrics.FORWARD[metric](y, outputs[-1]), dtype=np.float64)
            place += 1


def penalty(program):
    """What the l1 and l2 regularizers add to the loss."""
    total = 0.0
    for row, numbers in zip(program.table, program.numbers, strict=True):
        if numbers[c.L1]:
            total += l1(program.weights(row), numbers[c.L1])
        if numbers[c.L2]:
            total += l2(program.weights(row), numbers[c.L2])
    return total
