"""What is behind ``evaluate``, ``predict`` and the validation in ``fit``: in one go, or by batches for callbacks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minidl.callbacks import Callback, CallbackList
from minidl.rows import Rows


def callback_list(model, callbacks: list[Callback], verbose: int, rows: int, batch_size: int) -> CallbackList:
    """The callbacks of one ``evaluate`` or ``predict``."""
    return CallbackList(callbacks, model, {"verbose": verbose, "epochs": 1, "steps": math.ceil(rows / batch_size)})


def evaluate(model, data: Rows, batch_size: int, calls: CallbackList) -> np.ndarray:
    """The sums (contract.py) of loss and metrics over clean data."""
    model.stop_evaluating = False
    calls.call("on_test_begin")
    if calls.every_batch["test"]:
        sums = np.zeros(model._program.sums_size)
        for batch, rows in batches(len(data.X), batch_size):
            calls.call("on_test_batch_begin", batch)
            sums += model._sums(*data.part(rows))
            calls.call("on_test_batch_end", batch, logs=model._logs(sums))
            if model.stop_evaluating:
                break
    else:
        sums = model._sums(*data)
    calls.call("on_test_end", logs=model._logs(sums))
    return sums


def predict(model, X: np.ndarray, batch_size: int, calls: CallbackList) -> np.ndarray:
    """The output for each row of X (n, i): (n, o), or for the rows before a callback stopped it."""
    model.stop_predicting = False
    calls.call("on_predict_begin")
    if calls.every_batch["predict"]:
        parts = []
        for batch, rows in batches(len(X), batch_size):
            calls.call("on_predict_batch_begin", batch)
            parts.append(model._forward(X[rows]))
            calls.call("on_predict_batch_end", batch, logs={"outputs": parts[-1]})
            if model.stop_predicting:
                break
        outputs = np.concatenate(parts)
    else:
        outputs = model._forward(X)
    calls.call("on_predict_end")
    return outputs


def batches(rows: int, batch_size: int) -> Iterator[tuple[int, slice]]:
    """The batches in turn: number and rows."""
    for start in range(0, rows, batch_size):
        yield start // batch_size, slice(start, start + batch_size)
