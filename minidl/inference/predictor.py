"""A model compiled for inference: folded, its buffers made once, ready to be called from any number of threads."""

from __future__ import annotations

import numpy as np

from minidl import checks
from minidl.inference.fold import fold
from minidl.model import Sequential

DTYPES = ("float32", "float64", "int8")


def make(
    model: Sequential, dtype: str | None, max_batch: int, threads: int | None, calibration_data: object
) -> Predictor:
    """See ``minidl.Sequential.predictor``."""
    if dtype == "int8":
        import minidl

        return minidl.quantize(model, calibration_data).predictor(max_batch, threads)
    if calibration_data is not None:
        raise ValueError("calibration_data are for dtype='int8' alone; leave them out")
    return Predictor(model, max_batch, threads, checks.one_of(dtype or str(model._dtype), "dtype", DTYPES))


class Predictor:
    """A frozen copy of a model that does nothing but predict: ``predictor(x)``.

    x (n, i) -> (n, o) float32 or float64, as the model's; ``out`` may be given, and then nothing is allocated. NaN and
    infinity pass through the formulas. The model may be trained on; the predictor stays as it is. Made by
    ``model.predictor()``.

    max_batch: rows for which the buffers are laid out; more are taken in pieces of so many. threads: the most that a
    call may use; None is as many as pay. Raises RuntimeError for a model that is not built, ValueError for one without
    a Dense layer.
    """

    def __init__(
        self, model: Sequential, max_batch: int = 1024, threads: int | None = None, dtype: str = "float32"
    ):
        self.max_batch = checks.whole_number(max_batch, "max_batch", 1)
        threads = 0 if threads is None else checks.whole_number(threads, "threads", 1)
        self._model, self.folded = fold(model, dtype=np.dtype(dtype))
        self._program = self._model._program
        self._program.most_threads = threads
        self._predict, self._dtype = self._model._engine.predict, np.dtype(dtype)
        self.inputs, self.outputs = self._program.inputs, self._program.outputs
        for rows in {1, self.max_batch}:  # what has to be compiled or laid out is
            self(np.zeros((rows, self.inputs), self._dtype))

    def __call__(self, x: object, out: np.ndarray | None = None) -> np.ndarray:
        """The output for each row of x, which may be all that ``model.predict`` takes."""
        if not (type(x) is np.ndarray and x.dtype == self._dtype and x.ndim == 2 and x.flags.carray):
            x = self._model._features(x, finite=False)
        rows, inputs = x.shape
        if inputs != self.inputs or rows == 0:
            x = self._model._features(x, finite=False)  # says what is wrong
        if out is None:
            out = np.empty((rows, self.outputs), self._dtype)
        elif out.shape != (rows, self.outputs) or out.dtype != self._dtype or not out.flags.carray:
            wanted = f"a C-contiguous array of {self._dtype} with the shape {(rows, self.outputs)}"
            raise ValueError(f"out must be {wanted}, not {checks.shown(out)}")
        if rows <= self.max_batch:
            return self._predict(self._program, x, out)
        for start in range(0, rows, self.max_batch):
            piece = slice(start, start + self.max_batch)
            self._predict(self._program, x[piece], out[piece])
        return out
