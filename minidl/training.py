"""The loop of epochs behind ``fit``: ranges of batches, callbacks, validation, progress and Ctrl-C."""

from __future__ import annotations

import math
import warnings

import numpy as np

from minidl.callbacks import Callback, CallbackList, History
from minidl.evaluation import Rows, evaluate
from minidl.interruption import Interruption
from minidl.progress import Progress

RANGE = 2e9  # floating-point operations trained in one call of the engine: a small part of a second


def train(
    model, data: Rows, validation: Rows | None, batch_size: int, epochs: int, verbose: int,
    callbacks: list[Callback], shuffle: bool,
) -> History:  # fmt: skip
    """Train a built and compiled model on clean data; the history, which is ``model.history`` from the start."""
    program, engine, rows = model._program, model._engine, len(data[0])
    given = [callback for callback in callbacks if isinstance(callback, History)]
    history = model.history = given[-1] if given else History()
    params = {"verbose": verbose, "epochs": epochs, "steps": math.ceil(rows / batch_size)}
    calls = CallbackList(callbacks if given else [*callbacks, history], model, params)
    trainer = engine.trainer(program, *data, batch_size)
    length = 1 if calls.every_batch["train"] else max(1, int(RANGE / (6 * batch_size * program.parameters.size)))
    model.stop_training, logs = False, {}
    interruption = Interruption("after this range of batches")
    with interruption, Progress(verbose, epochs, rows) as progress, calls:
        try:
            calls.call("on_train_begin")
            for epoch in range(epochs):
                calls.call("on_epoch_begin", epoch)
                interruption.check()  # before the order is drawn, so that the next fit draws the same
                order = model._shuffle.permutation(rows) if shuffle else np.arange(rows)
                sums = np.zeros(program.sums_size)
                for done in ranges(model, trainer, order, batch_size, length, calls, sums):
                    progress.advance(epoch, done)
                    if done < rows:
                        interruption.check()
                trainer.pull()
                logs = model._logs(sums)
                if validation is not None:
                    found = model._logs(evaluate(model, validation, batch_size, calls))
                    logs |= {f"val_{name}": value for name, value in found.items()}
                shown = calls.call("on_epoch_end", epoch, logs=logs)
                progress.end_of_epoch(epoch, shown)
                if model.stop_training:
                    break
        finally:
            trainer.pull()
        calls.call("on_train_end", logs=logs)  # after the last pull, which would undo what is put into the weights here
    if logs and not math.isfinite(logs["loss"]):
        warnings.warn(
            f"the loss has become {logs['loss']}: the training diverged; try a smaller learning rate or Normalization",
            RuntimeWarning,
            stacklevel=3,
        )
    return history


def ranges(model, trainer, order: np.ndarray, batch_size: int, length: int, calls: CallbackList, sums: np.ndarray):
    """One epoch, ``length`` batches at a time, added up in ``sums``: after each range the rows done."""
    watched = calls.every_batch["train"]
    if model.stop_training:  # set before the epoch: as in Keras, one batch is trained before it is looked at
        length = 1
    for start in range(0, len(order), length * batch_size):
        stop = min(start + length * batch_size, len(order))
        if watched:
            calls.call("on_train_batch_begin", start // batch_size)
        model._program.optimizer_numbers = model.optimizer.numbers()  # a callback may have changed the learning rate
        sums += trainer.run(order, start, stop)
        if watched:
            trainer.pull()
            calls.call("on_train_batch_end", start // batch_size, logs=model._logs(sums))
        yield stop
        if model.stop_training:
            return
