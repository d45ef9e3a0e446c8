"""A model compiled for inference: folded, its buffers made once, ready to be called from any number of threads."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from minidl import checks
from minidl.inference.fold import fold
from minidl.model import Sequential

if TYPE_CHECKING:
    from minidl.data.schema import Schema
    from minidl.inference.predictor_summary import Summary
    from minidl.inference.quantize.quantized_model import QuantizedModel

DTYPES = ("float32", "float64", "int8")


class Predictor:
    """A frozen copy of a model that does nothing but predict: ``predictor(x)``, with x (n, i) -> (n, o).

    It is made by ``model.predictor()``: "float32" or "float64" computes and returns that; "int8" takes and returns
    float32. The model may be trained on; the predictor stays as it is. NaN and infinity pass through the formulas,
    but not through whole numbers: "int8" refuses them.

    folded: what was done to the model, in sentences. clipped: how many entries of the inputs so far lay outside of the
    range that "int8" was calibrated for; a QuantizedModel warns of many, a predictor only counts.
    """

    def __init__(self, network: Sequential | QuantizedModel, dtype: str, max_batch: int, folded: list[str]):
        self.dtype, self.max_batch, self.folded, self.clipped = dtype, max_batch, folded, 0
        self._network, self._program, self._engine = network, network._program, network._engine
        self._real, self._counting = np.dtype("float32" if dtype == "int8" else dtype), threading.Lock()
        self._shape = self._program.inputs, self._program.outputs
        self._choose()
        lay_out = self._engine.lay_out_int8 if dtype == "int8" else self._engine.lay_out
        for rows in (1, max_batch):
            lay_out(self._program, rows)

    def _choose(self):
        self._run = self._run_int8 if self.dtype == "int8" else self._engine.predict

    def __getstate__(self) -> dict:
        """For copy.deepcopy and pickle: the engine is its network's, which keeps it by name."""
        return {name: value for name, value in vars(self).items() if name not in ("_engine", "_run", "_counting")}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._engine, self._counting = self._network._engine, threading.Lock()
        self._choose()

    @classmethod
    def of_model(cls, model: Sequential, dtype: str | None, max_batch: int, threads: int | None) -> Predictor:
        """See ``minidl.Sequential.predictor``."""
        max_batch, threads = limits(max_batch, threads)
        dtype = str(model._dtype) if dtype is None else dtype
        folded, done = fold(model, dtype=np.dtype(dtype))
        program = folded._program
        program.most_threads, program.frozen = threads, True
        program.matmul_precision = model._matmul_precision
        return cls(folded, dtype, max_batch, done)

    @classmethod
    def of_quantized(cls, model: QuantizedModel, max_batch: int, threads: int | None) -> Predictor:
        """See ``QuantizedModel.predictor``."""
        max_batch, threads = limits(max_batch, threads)
        return cls(model.copy(dataclasses.replace(model._program, most_threads=threads)), "int8", max_batch, [])

    def __call__(self, x: object, out: np.ndarray | None = None) -> np.ndarray:
        """The output for each row of x, which may be all that ``model.predict`` takes.

        With ``out`` (n, o) nothing is allocated, and it is what is returned. More rows than ``max_batch`` are taken in
        pieces of so many. Raises ValueError for what does not fit.
        """
        inputs, outputs = self._shape
        if not (type(x) is np.ndarray and x.dtype == self._real and x.ndim == 2 and x.flags.carray):
            x = self._network._features(x, finite=False)
        rows = len(x)
        if x.shape[1] != inputs or rows == 0:
            x = self._network._features(x, finite=False)  # says what is wrong
        if out is None:
            out = np.empty((rows, outputs), self._real)
        elif not (type(out) is np.ndarray and out.shape == (rows, outputs) and out.dtype == self._real):
            raise ValueError(f"out must be an array of {self._real} with the shape {(rows, outputs)}")
        elif not out.flags.carray:
            raise ValueError("out must be C-contiguous and writable")
        if rows <= self.max_batch:
            self._run(self._program, x, out)
            return out
        for start in range(0, rows, self.max_batch):
            piece = slice(start, start + self.max_batch)
            self._run(self._program, x[piece], out[piece])
        return out

    def predict(self, x: object) -> np.ndarray:
        """The same, but NaN and infinity are refused, as ``model.predict`` refuses them."""
        return self(self._network._features(x))

    def save(self, path: object) -> NoReturn:
        """There is no file of a predictor: RuntimeError says what to save."""
        raise RuntimeError(
            "a predictor is laid out for this machine and is not saved: save the model (or, for int8, what "
            "minidl.quantize made of it) and call predictor() when it is loaded"
        )

    def _run_int8(self, program, x, out):
        if program.dynamic:
            checks.clean(x, "X", x.dtype)
        outside = self._engine.predict_int8(program, x, out)
        if outside:
            checks.clean(x, "X", x.dtype)  # NaN and infinity are always outside: so they need only be looked for now
            with self._counting:
                self.clipped += outside

    @property
    def schema(self) -> Schema | None:
        """The columns of the table that its model was trained on, if it was one; they are found by name."""
        return self._network.schema

    @property
    def nbytes(self) -> int:
        """The bytes of its weights."""
        if isinstance(self._network, Sequential):
            return sum(array.nbytes for array in self._network.weights)
        return self._network.nbytes

    def summary(self) -> Summary:
        """What was folded, its layers, bytes and operations, and how long it takes beside what the machine allows.

        It is measured when this is called, in two or three seconds; the result shows itself as text and in Jupyter.
        """
        from minidl.inference import predictor_summary

        return predictor_summary.summary(self)

    def __repr__(self) -> str:
        return f"<Predictor {'-'.join(map(str, self.widths))}, {self.dtype}, engine {self._engine.name}>"

    @property
    def widths(self) -> list[int]:
        """Its inputs, and the units of each dense layer."""
        return [self._shape[0], *(layer.W.shape[1] for layer in self._network.layers if hasattr(layer, "W"))]


def dtype_of(dtype: Any) -> str:
    """The name of one of ``DTYPES``, given in any way NumPy knows; ValueError for others."""
    try:
        found = str(np.dtype(dtype))
    except (TypeError, ValueError, SyntaxError):  # NumPy reads texts such as "f4,f4" too
        found = ""
    if found not in DTYPES:
        raise ValueError(f"dtype must be 'float32', 'float64' or 'int8', not {checks.shown(dtype)}")
    return found


def limits(max_batch: object, threads: object) -> tuple[int, int]:
    """Both checked; 0 threads are as many as pay."""
    return checks.whole_number(max_batch, "max_batch", 1), (
        0 if threads is None else checks.whole_number(threads, "threads", 1)
    )
