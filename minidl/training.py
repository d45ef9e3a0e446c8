"""The loop of epochs behind ``fit``: ranges of batches, callbacks, validation, progress and Ctrl-C."""

from __future__ import annotations

import math
import warnings

import numpy as np

from minidl.callbacks import Callback, CallbackList, History
from minidl.interruption import Interruption
from minidl.progress import Progress

RANGE = 2e9  # floating-point operations trained in one call of the engine: a small part of a second

Rows = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # X (n, i), y (n, o) and sample_weight (n,) or None


def train(
    model, data: Rows, validation: Rows | None, batch_size: int, epochs: int, verbose: int,
    callbacks: list[Callback], shuffle: bool,
) -> History:  # fmt: skip
    """Train a built and compiled model on clean data; the history, which is ``model.history`` from the start."""
    program, engine, rows = model._program, model._engine, len(data[0])
    history = model.history = History()
    params = {"verbose": verbose, "epochs": epochs, "steps": math.ceil(rows / batch_size)}
    calls = CallbackList([*callbacks, history], model, params)
    trainer = engine.trainer(program, *data, batch_size)
    length = 1 if calls.every_batch else max(1, int(RANGE / (6 * batch_size * program.parameters.size)))
    model.stop_training, logs = False, {}
    with Interruption() as interruption, Progress(verbose, epochs, rows) as progress:
        try:
            calls.call("on_train_begin", {})
            for epoch in range(epochs):
                calls.call("on_epoch_begin", epoch, {})
                interruption.check()  # before the order is drawn, so that the next fit draws the same
                order = model._shuffle.permutation(rows) if shuffle else np.arange(rows)
                sums = np.zeros(program.sums_size)
                for done in ranges(model, trainer, order, batch_size, length, calls, sums):
                    progress.advance(epoch, done)
                    if done < rows:
                        interruption.check()
                trainer.pull()
                logs = by_name(model._logs(sums) | validate(model, validation, calls))
                calls.call("on_epoch_end", epoch, logs)
                progress.end_of_epoch(epoch, logs)
                if model.stop_training:
                    break
            calls.call("on_train_end", logs)
        finally:
            trainer.pull()
    if logs and not math.isfinite(logs["loss"]):
        warnings.warn(
            f"the loss has become {logs['loss']}: the training diverged; try a smaller learning rate or Normalization",
            RuntimeWarning,
            stacklevel=3,
        )
    return history


def ranges(model, trainer, order: np.ndarray, batch_size: int, length: int, calls: CallbackList, sums: np.ndarray):
    """One epoch, ``length`` batches at a time, added up in ``sums``: after each range the rows done."""
    for start in range(0, len(order), length * batch_size):
        stop = min(start + length * batch_size, len(order))
        model._program.optimizer_numbers = model.optimizer.numbers()  # a callback may have changed the learning rate
        if calls.every_batch:
            calls.call("on_train_batch_begin", start // batch_size, {})
        sums += trainer.run(order, start, stop)
        if calls.every_batch:
            trainer.pull()
            calls.call("on_train_batch_end", start // batch_size, by_name(model._logs(sums)))
        yield stop
        if model.stop_training:
            return


def validate(model, validation: Rows | None, calls: CallbackList) -> dict[str, float]:
    """The logs of the validation data, their names with "val_" in front; none where there are no such data."""
    if validation is None:
        return {}
    calls.call("on_test_begin", {})
    found = model._logs(model._engine.evaluate(model._program, *validation))
    calls.call("on_test_end", by_name(found))
    return {f"val_{name}": value for name, value in found.items()}


def by_name(logs: dict[str, float]) -> dict[str, float]:
    """In alphabetical order, in which Keras keeps its logs."""
    return dict(sorted(logs.items()))
