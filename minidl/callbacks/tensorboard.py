"""TensorBoard: losses, metrics and weights as files that the program of this name shows."""

from __future__ import annotations

import importlib.util
import itertools
import os
import time

import numpy as np

from minidl import checks
from minidl.callbacks.base import Callback

_files = itertools.count()  # tensorboardX names its files by the second; this tells them apart


class TensorBoard(Callback):
    """Writes event files below ``log_dir``: see them with ``tensorboard --logdir logs``.

    log_dir: the folder, made where it is missing. Its sub-folders "train" and "validation" hold the scalars
        "epoch_loss" and so on by epoch, counted from 0, with "epoch_learning_rate"; "validation" also
        "evaluation_loss_vs_iterations" and so on by the steps of the optimizer.
    histogram_freq: after every so many epochs, histograms of all weights ("dense/W/histogram"); 0 for none.
    write_steps_per_second: also how many batches a second were trained.
    update_freq: "epoch"; or after how many batches also to write the means over the epoch so far ("batch_loss"), by
        batches counted from 1 through the epochs; "batch" is 1.

    The rest of Keras's arguments ask for what minidl has not, and must be left as they are. ``write_graph`` is False
    here and True in Keras. Raises ValueError or TypeError for arguments out of range, RuntimeError where tensorboardX
    is not installed (``pip install "minidl[tensorboard]"``), and OSError before the training where nothing can be
    written.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike = "logs",
        histogram_freq: int = 0,
        write_graph: bool = False,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: int | tuple = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: object = None,
    ):
        if not isinstance(log_dir, str | os.PathLike):
            raise TypeError(f"log_dir must be a path, not {checks.shown(log_dir)}")
        refuse("write_graph", write_graph, "minidl has no graph to draw; model.summary() shows the layers")
        refuse("write_images", write_images, "minidl does not draw weights as images; histogram_freq=1 shows them")
        refuse("profile_batch", profile_batch, "minidl has no profiler for TensorBoard")
        refuse("embeddings_freq", embeddings_freq, "minidl has no embeddings")
        refuse("embeddings_metadata", embeddings_metadata, "minidl has no embeddings")
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = checks.whole_number(histogram_freq, "histogram_freq", 0)
        self.write_steps_per_second = checks.truth(write_steps_per_second, "write_steps_per_second")
        self.update_freq = update_freq
        if update_freq != "epoch":
            self.update_freq = 1 if update_freq == "batch" else checks.whole_number(update_freq, "update_freq", 1)
        else:
            self._idle = (TensorBoard.on_train_batch_begin, TensorBoard.on_train_batch_end)
        if importlib.util.find_spec("tensorboardX") is None:
            raise RuntimeError('TensorBoard needs tensorboardX; install it with: pip install "minidl[tensorboard]"')
        self._writers: dict[str, object] = {}
        self._batches = 0

    def _writer(self, part: str):
        """The writer of "train" or "validation", opened when it is first needed."""
        if part not in self._writers:
            from tensorboardX import SummaryWriter

            folder, suffix = os.path.join(self.log_dir, part), f".{os.getpid()}.{next(_files)}"
            try:
                self._writers[part] = SummaryWriter(folder, flush_secs=10, filename_suffix=suffix)
            except OSError as error:
                raise type(error)(f"TensorBoard cannot write into {folder!r}: {error.strerror}") from None
        return self._writers[part]

    def _scalars(self, part: str, tag: str, logs: dict, step: int) -> None:
        for name, value in logs.items():
            self._writer(part).add_scalar(tag.format(name), value, step)

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._release()
        self._batches = 0
        self._writer("train")

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch_began, self._steps_before = time.perf_counter(), self.model._program.step

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._batch_began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._batches += 1
        if self.update_freq != "epoch" and self._batches % self.update_freq == 0:
            self._scalars("train", "batch_{}", logs or {}, self._batches)
            if self.write_steps_per_second:
                rate = 1 / (time.perf_counter() - self._batch_began)
                self._scalars("train", "batch_{}", {"steps_per_second": rate}, self._batches)

    def on_test_end(self, logs: dict | None = None) -> None:
        self._scalars("validation", "evaluation_{}_vs_iterations", logs or {}, self.model._program.step)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        validation = {name.removeprefix("val_"): value for name, value in logs.items() if name.startswith("val_")}
        training = {name: value for name, value in logs.items() if not name.startswith("val_")}
        training["learning_rate"] = self.model.optimizer.learning_rate
        if self.write_steps_per_second:
            steps = self.model._program.step - self._steps_before
            training["steps_per_second"] = steps / (time.perf_counter() - self._epoch_began)
        self._scalars("train", "epoch_{}", training, epoch)
        self._scalars("validation", "epoch_{}", validation, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._histograms(epoch)

    def _histograms(self, epoch: int) -> None:
        for layer in self.model.layers:
            for name, weights in zip(layer.arrays, layer.weights, strict=False):
                if np.isfinite(weights).all():  # a histogram has no place for the others
                    self._writer("train").add_histogram(f"{layer.name}/{name}/histogram", weights, epoch)

    def on_train_end(self, logs: dict | None = None) -> None:
        self._release()

    def _release(self) -> None:
        while self._writers:
            self._writers.popitem()[1].close()


def refuse(name: str, value: object, reason: str) -> None:
    """ValueError for an argument of Keras's that is not left at "none of it"."""
    if value not in (None, False, 0):
        raise ValueError(f"TensorBoard cannot do {name}={checks.shown(value)}: {reason}")
