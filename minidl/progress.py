"""Progress of a training on the screen: a bar where somebody watches, a line an epoch where not."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import numbers
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from minidl.checks import shown


def resolve(verbose: object) -> int:
    """0 silent, 1 a bar, 2 a line an epoch; "auto" is a bar in a terminal or notebook, else lines."""
    if isinstance(verbose, str) and verbose == "auto":
        return 1 if sys.stdout.isatty() or ("ipykernel" in sys.modules and has_widgets()) else 2
    if isinstance(verbose, numbers.Integral | np.bool_) and verbose in (0, 1, 2):
        return int(verbose)
    raise ValueError(f"verbose must be 'auto', 0, 1 or 2, not {shown(verbose)}")


@functools.cache  # looking takes longer than a prediction of one row
def has_widgets() -> bool:
    """Whether a notebook can show a bar."""
    return importlib.util.find_spec("ipywidgets") is not None


class Progress:
    """Shows epochs going by. Drawing happens at most ten times a second, so that training is not slowed."""

    def __init__(self, verbose: int, epochs: int, rows: int):
        self.verbose, self.epochs, self.rows = verbose, epochs, rows
        self.bar, self.drawn, self.began = None, 0.0, time.perf_counter()

    def __enter__(self) -> Progress:
        if self.verbose == 1 and self.epochs:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            columns = (
                TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[logs]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(compact=True),
            )
            self.bar = Progress(*columns, auto_refresh=False)
            self.task = self.bar.add_task("", total=self.epochs * self.rows, epoch=0, epochs=self.epochs, logs="")
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.refresh()
            self.bar.stop()

    def advance(self, epoch: int, rows: int) -> None:
        """So many rows of this epoch (from 0) are done."""
        if self.bar is not None:
            self.bar.update(self.task, completed=epoch * self.rows + rows, epoch=epoch + 1)
            self.draw()

    def end_of_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        if self.verbose == 0:
            return
        shown = "  ".join(f"{name} {in_short(value)}" for name, value in logs.items())
        if self.bar is not None:
            self.bar.update(self.task, logs=shown)
            self.draw()
        elif self.verbose == 2:
            now = time.perf_counter()
            print(f"epoch {epoch + 1}/{self.epochs}  {now - self.began:.3f} s  {shown}", flush=True)
            self.began = now

    def draw(self) -> None:
        now = time.perf_counter()
        if now - self.drawn >= 0.1:
            self.drawn = now
            self.bar.refresh()


def in_short(value: object) -> str:
    """A number with four digits; what else a callback has put into the logs as it is."""
    return f"{value:.4g}" if isinstance(value, numbers.Real) else str(value)


@contextlib.contextmanager
def bar(verbose: int, text: str, total: float) -> Iterator[Callable[[float], None]]:
    """For work that is no training: a bar, a line as it begins, or nothing; call what it gives with how much is done.

    The bar is drawn only then, and at most ten times a second: no thread takes its time from what is measured.
    """
    if verbose != 1:
        if verbose == 2:
            print(text, flush=True)
        yield lambda done: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    drawn = 0.0
    with Progress(*columns, auto_refresh=False) as shown:
        task = shown.add_task(text, total=total)
        shown.refresh()

        def advance(done: float) -> None:
            nonlocal drawn
            shown.update(task, completed=done)
            if time.perf_counter() - drawn >= 0.1:
                drawn = time.perf_counter()
                shown.refresh()

        yield advance
