"""Metrics in NumPy: what each row scores, and for the area under the ROC curve the counts it is made from."""

import numpy as np

from minidl.contract import AUC_BINS
from minidl.engines.numpy_engine.losses import mean_absolute_error, mean_squared_error


def binary_accuracy(y, p, out=None):
    return np.mean((p > 0.5) == y, axis=1, dtype=p.dtype, out=out)


def categorical_accuracy(y, p, out=None):
    return np.multiply(np.argmax(y, axis=1) == np.argmax(p, axis=1), p.dtype.type(1), out=out)


def auc_histograms(y, p, counts):
    scores = np.nan_to_num(p)  # a model that has diverged scores NaN: its loss says so, and the counts take it for 0
    bins = np.clip(np.ceil(scores * p.dtype.type(AUC_BINS)) - 1, 0, AUC_BINS - 1).astype(np.int64)
    np.add.at(counts, (y.astype(np.int64), bins), 1)


# In the order of contract.METRICS, so that a code is a place. The last there, auc_histograms, is called by itself.
FORWARD = (binary_accuracy, categorical_accuracy, mean_absolute_error, mean_squared_error)
