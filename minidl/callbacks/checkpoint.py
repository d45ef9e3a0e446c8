"""ModelCheckpoint: saves the model while it trains."""

from __future__ import annotations

import math
import os
import string
from pathlib import Path

from minidl import checks, files
from minidl.callbacks.monitor import Monitor


class ModelCheckpoint(Monitor):
    """Saves the model after epochs or batches: all of them, or those that made it better.

    filepath: where to, with any ending but .onnx; the file is minidl's own (safetensors), and ``minidl.load_model``
        reads it. It may hold names from the logs and ``{epoch}`` and, where batches are counted, ``{batch}``, both
        counted from 1: "model-{epoch:02d}-{val_loss:.2f}.safetensors".
    monitor, mode: with ``save_best_only``, the value watched and what is better (see ``Monitor``). A value that is not
        in the logs is warned of, and the model saved.
    verbose: 1 prints what is saved and why.
    save_best_only: save where ``monitor`` is better than ever before (in earlier calls of ``fit`` too).
    save_weights_only: ``model.save_weights`` in the place of ``model.save``, which also keeps what the optimizer
        remembers, so that a training can go on from there.
    save_freq: "epoch", or a number of batches, counted through the epochs.
    initial_value_threshold: what ``monitor`` must be better than from the start.

    The folder must be there; only folders with a name in braces are made. Before the training, raises OSError where
    nothing can be written there. Raises ValueError or TypeError for arguments out of range, and ValueError where the
    logs do not hold a name in the braces.
    """

    def __init__(
        self,
        filepath: str | os.PathLike,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ):
        from minidl import storage  # which knows models, as these know callbacks

        super().__init__(monitor, mode)
        if not isinstance(filepath, str | os.PathLike):
            raise TypeError(f"filepath must be a path, not {checks.shown(filepath)}")
        storage.check_ending(filepath)
        self.filepath, self.verbose = os.fspath(filepath), verbose
        self.save_best_only = checks.truth(save_best_only, "save_best_only")
        self.save_weights_only = checks.truth(save_weights_only, "save_weights_only")
        self.save_freq = save_freq if save_freq == "epoch" else checks.whole_number(save_freq, "save_freq", 1)
        if initial_value_threshold is not None:
            self.best = checks.number(initial_value_threshold, "initial_value_threshold", -math.inf)
        if save_freq == "epoch":
            self._idle = (ModelCheckpoint.on_train_batch_end,)
        self._epoch = self._batches = 0
        self._names = check_pattern(self.filepath, counts_batches=save_freq != "epoch")

    def on_train_begin(self, logs: dict | None = None) -> None:
        if self.save_best_only:
            self.larger_is_better()  # what it does not know is told before the training
        check_writable(self.filepath)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if isinstance(self.save_freq, str):
            return
        self._batches += 1
        if self._batches >= self.save_freq:
            self._batches = 0
            self._save(self._epoch, logs, batch=batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, logs)

    def _save(self, epoch: int, logs: dict | None, **batch: int) -> None:
        values = {**(logs or {}), **batch, "epoch": epoch + 1}
        if missing := self._names - set(values):
            raise ValueError(
                f"the path {self.filepath!r} holds {{{min(missing)}}}, but there are only {', '.join(sorted(values))}"
            )
        path = self.filepath.format(**values)
        if not self._should_save(epoch, logs, path):
            return
        if "{" in os.path.dirname(self.filepath):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path, include_optimizer=True)

    def _should_save(self, epoch: int, logs: dict | None, path: str) -> bool:
        """Whether it is to be saved; with a line that says so, where asked for."""
        save, why = True, ""
        if self.save_best_only and (value := self.value_in(logs, "the model is saved all the same")) is not None:
            save = self.improves(value, self.best)
            before = "" if self.best is None else f", {'after' if save else 'not better than'} {self.best:.5f}"
            why = f"{self.monitor} is {value:.5f}{before}; "
            self.best = value if save else self.best
        if self.verbose:
            print(f"epoch {epoch + 1}: {why}{f'saving {path}' if save else 'not saved'}")
        return save


def check_pattern(filepath: str, counts_batches: bool) -> set[str]:
    """The names in the braces of a path; ValueError where it cannot be filled in."""
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(filepath) if name is not None}
        counted = {"epoch", "batch"} if counts_batches else {"epoch"}
        filepath.format(**{name: 1 if name in counted else 1.0 for name in names})
    except (ValueError, IndexError, KeyError, AttributeError) as error:
        raise ValueError(f"the path {filepath!r} cannot be filled in: {error}") from None
    if "batch" in names and not counts_batches:
        raise ValueError(f"the path {filepath!r} holds {{batch}}, which needs save_freq to be a number of batches")
    return names


def check_writable(filepath: str) -> None:
    """OSError where nothing can be written at the path, or in the first folder above a name in braces."""
    path = Path(filepath)
    while "{" in str(path.parent):
        path = path.parent
    try:
        files.writable(path)
    except OSError as error:
        raise type(error)(f"ModelCheckpoint {error}") from None
