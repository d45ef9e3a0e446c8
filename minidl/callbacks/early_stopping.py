"""EarlyStopping: ends a training that no longer gets better."""

from __future__ import annotations

import math

from minidl import checks
from minidl.callbacks.monitor import Monitor


class EarlyStopping(Monitor):
    """Ends the training once ``monitor`` has not become better for ``patience`` epochs; never in the first epoch.

    monitor, min_delta, mode: the value watched and what is better (see ``Monitor``).
    patience: how many epochs without a better value are borne.
    verbose: 1 says when the training was ended and which epoch's weights are put back.
    baseline: a value that must be surpassed too before the patience begins anew.
    restore_best_weights: at the end of training, stopped or not, the weights of the best epoch are put back; not after
        an error or Ctrl-C, as in Keras. None are where the value was NaN or infinite from the first epoch on.
    start_from_epoch: the first epoch, counted from 0, that is looked at.

    After a training, ``stopped_epoch`` (0 where it was not stopped), ``best``, ``best_epoch`` and ``best_weights`` tell
    what happened. A watched value that is not in the logs is warned of. Raises ValueError or TypeError for arguments
    out of range, and ValueError before the training where mode="auto" does not know the metric.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.patience = checks.whole_number(patience, "patience", 0)
        self.verbose = verbose
        self.baseline = None if baseline is None else checks.number(baseline, "baseline", -math.inf)
        self.restore_best_weights = checks.truth(restore_best_weights, "restore_best_weights")
        self.start_from_epoch = checks.whole_number(start_from_epoch, "start_from_epoch", 0)
        self._begin()

    def _begin(self) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best, self.best_weights = None, None

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.larger_is_better()  # what it does not know is told before the training
        self._begin()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        value = self.value_in(logs, "it will not stop the training")
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.improves(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.improves(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: dict | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"epoch {self.stopped_epoch + 1}: stopped early")
        if self.best_weights is not None:
            if self.verbose:
                print(f"the weights of epoch {self.best_epoch + 1}, the best, are put back")
            self.model.set_weights(self.best_weights)
