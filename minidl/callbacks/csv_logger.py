"""CSVLogger: the logs of every epoch as a row of a CSV file."""

from __future__ import annotations

import csv
import os

from minidl import checks
from minidl.callbacks.base import Callback


class CSVLogger(Callback):
    """Writes one row an epoch: its number, counted from 0, and the logs in alphabetical order.

    filename: the file; opened when training begins, and complete on the disk after each epoch, whatever happens then.
    separator: one character between the columns.
    append: go on after what the file holds, in the columns of its first row; otherwise it is written anew.

    As in Keras, a training without validation has "val_" columns too, with NA. Raises OSError before the training where
    the file cannot be written, ValueError where the file to append to is no such log or has other columns.
    """

    def __init__(self, filename: str | os.PathLike, separator: str = ",", append: bool = False):
        if not isinstance(filename, str | os.PathLike):
            raise TypeError(f"filename must be a path, not {checks.shown(filename)}")
        if not isinstance(separator, str) or len(separator) != 1 or separator in '"\r\n':
            raise ValueError(f"separator must be one character such as ',', not {checks.shown(separator)}")
        self.filename, self.sep, self.append = os.fspath(filename), separator, checks.truth(append, "append")
        self.keys: list[str] | None = None
        self.csv_file = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._release()
        try:
            self.keys = self._columns() if self.append and os.path.exists(self.filename) else None
            mode = "a" if self.append else "w"
            self.csv_file = open(self.filename, mode, newline="", encoding="utf-8")  # noqa: SIM115 (closed by _release)
        except OSError as error:
            raise type(error)(f"CSVLogger cannot write {self.filename!r}: {error.strerror}") from None

    def _columns(self) -> list[str] | None:
        """The names in the first row of the file to append to; None where it is empty."""
        try:
            with open(self.filename, newline="", encoding="utf-8") as file:
                first = next(csv.reader(file, delimiter=self.sep), None)
        except (UnicodeDecodeError, csv.Error):
            first = ["?"]
        if first is None:
            return None
        if first[:1] != ["epoch"]:
            raise ValueError(
                f"CSVLogger cannot append to {self.filename!r}: its first row does not begin with the column 'epoch' "
                f"and the separator {self.sep!r}"
            )
        return first[1:]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs, writer = logs or {}, csv.writer(self.csv_file, delimiter=self.sep)
        if self.keys is None:
            self.keys = sorted(logs)
            if not any(key.startswith("val_") for key in self.keys):
                self.keys += [f"val_{key}" for key in self.keys]
            writer.writerow(["epoch", *self.keys])
        if unknown := [key for key in logs if key not in self.keys]:
            raise ValueError(
                f"{self.filename!r} has no column for {', '.join(unknown)}: log into another file, or with append=False"
            )
        writer.writerow([epoch, *(logs.get(key, "NA") for key in self.keys)])
        self.csv_file.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        self._release()

    def _release(self) -> None:
        if self.csv_file is not None:
            self.csv_file.close()
            self.csv_file = None
