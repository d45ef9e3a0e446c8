"""The loop of epochs behind ``fit``: ranges of batches, callbacks, validation, progress and Ctrl-C."""

from __future__ import annotations

import math
import warnings

import numpy as np

from minidl.callbacks import Callback, CallbackList, History, by_name
from minidl.evaluation import evaluate
from minidl.interruption import Interruption
from minidl.progress import Progress
from minidl.rows import Rows

AROUND = 3e6  # floating-point operations in the time of what surrounds the arithmetic of a step
RANGE = 2e9  # floating-point operations trained in one call of the engine: a small part of a second


def train(
    model, data: Rows, validation: Rows | None, batch_size: int, epochs: int, verbose: int,
    callbacks: list[Callback], shuffle: bool,
) -> History:  # fmt: skip
    """Train a built and compiled model on clean data; the history, which is ``model.history`` from the start.

    An engine is the faster the more it is given at once. So it is given ranges of many batches, between which there is
    time for the progress and Ctrl-C, and several epochs where nobody looks at the model in between.
    """
    program, rows = model._program, len(data.X)
    given = [callback for callback in callbacks if isinstance(callback, History)]
    history = model.history = given[-1] if given else History()
    params = {"verbose": verbose, "epochs": epochs, "steps": math.ceil(rows / batch_size)}
    calls = CallbackList(callbacks if given else [*callbacks, history], model, params)
    trainer = model._engine.trainer(program, *data, batch_size)
    step = 6 * batch_size * program.parameters.size + AROUND  # forward, and back twice: 2 for each weight and row
    length = 1 if calls.every_batch["train"] else max(1, int(RANGE / step))
    looked_at = verbose or validation is not None or any(type(callback) is not History for callback in callbacks)
    together = 1 if looked_at else max(1, length // params["steps"])
    model.stop_training, logs = False, {}
    interruption = Interruption("after this range of batches")
    with interruption, Progress(verbose, epochs, rows) as progress, calls:
        try:
            calls.call("on_train_begin")
            for first in range(0, epochs, together):
                group = range(first, min(first + together, epochs))
                if looked_at:
                    calls.call("on_epoch_begin", first)
                interruption.check()  # before the orders are drawn, so that the next fit draws the same
                orders, sums = orders_of(model, rows, len(group), shuffle), np.zeros((len(group), program.sums_size))
                for done in ranges(model, trainer, orders, batch_size, length, calls, sums):
                    progress.advance(first, done)
                    if done < rows:
                        interruption.check()
                trainer.pull()
                if looked_at:  # then an epoch is alone in its group
                    logs = model._logs(sums[0])
                    if validation is not None:
                        found = model._logs(evaluate(model, validation, batch_size, calls))
                        logs |= {f"val_{name}": value for name, value in found.items()}
                    progress.end_of_epoch(first, calls.call("on_epoch_end", first, logs=logs))
                else:  # every callback is a History
                    values = by_name(model._logs_by_epoch(sums))
                    for each in calls.callbacks:
                        each.extend(group, values)
                    logs = {name: of_epochs[-1] for name, of_epochs in values.items()}
                if model.stop_training:
                    break
        finally:
            trainer.pull()
        calls.call("on_train_end", logs=logs)  # after the last pull, which would undo what is put into the weights here
    warn_where_diverged(logs)
    return history


def orders_of(model, rows: int, epochs: int, shuffle: bool) -> np.ndarray:
    """The order in which each epoch takes the rows (epochs, rows), drawn here, so that engines see equal batches."""
    orders = np.tile(np.arange(rows), (epochs, 1))
    if shuffle:
        model._shuffle.permuted(orders, axis=1, out=orders)
    return orders


def ranges(model, trainer, orders: np.ndarray, batch_size: int, length: int, calls: CallbackList, sums: np.ndarray):
    """One epoch, or several in one, ``length`` batches at a time, added up in ``sums``; the rows done after each."""
    watched = calls.every_batch["train"]
    if model.stop_training:  # set before the epoch: as in Keras, one batch is trained before it is looked at
        length = 1
    rows = orders.shape[1]
    for start in range(0, rows, length * batch_size):
        stop = min(start + length * batch_size, rows)
        if watched:
            calls.call("on_train_batch_begin", start // batch_size)
        model._program.optimizer_numbers = model.optimizer.numbers()  # a callback may have changed the learning rate
        sums += trainer.run(orders, start, stop)
        if watched:
            trainer.pull()
            calls.call("on_train_batch_end", start // batch_size, logs=model._logs(sums[0]))
        yield stop
        if model.stop_training:
            return


def warn_where_diverged(logs: dict[str, float]) -> None:
    if logs and not math.isfinite(logs["loss"]):
        warnings.warn(
            f"the loss has become {logs['loss']}: the training diverged; try a smaller learning rate or Normalization",
            RuntimeWarning,
            stacklevel=4,  # the line that calls fit
        )
