"""QuantizedModel: a network in whole numbers that predicts, tells what it clips, and is kept in files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl import checks, display
from minidl.data.schema import Schema, arrange
from minidl.engines import Engine, get_engine
from minidl.inference.int8 import Int8Layer, Int8Program
from minidl.inference.quantize.report import Report
from minidl.words import in_bytes

if TYPE_CHECKING:
    from minidl.callbacks import Callback
    from minidl.inference.predictor import Predictor
    from minidl.losses import Loss
    from minidl.metrics import Metric

MANY = 0.01  # of the inputs beyond the range, more than of the calibration data: then a warning is due


class QuantizedModel:
    """What ``minidl.quantize`` returns, and ``minidl.load_model`` of a file that ``save`` wrote. It cannot be trained.

    loss, metrics: of the model that it was made of, None and [] where that was not compiled.
    report: what quantization costs, layer by layer, on the calibration data. It shows itself.
    schema: the columns of the table that the model was trained on, if it was one; they are found by name.
    clipped: how many entries of the inputs so far lay outside of the range of the calibration data, and so counted as
        its nearest end; ``seen``: of how many. A UserWarning comes once, when clipped is more than a hundredth of seen
        (and of what is clipped of the calibration data).
    """

    def __init__(
        self,
        program: Int8Program,
        report: Report,
        schema: Schema | None,
        engine: Engine,
        loss: Loss | None = None,
        metrics: Sequence[Metric] = (),
    ):
        self.report, self.schema, self.clipped, self.seen = report, schema, 0, 0
        self.loss, self.metrics = loss, list(metrics)
        self._program, self._engine, self._warned = program, engine, False

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def layers(self) -> tuple[Int8Layer, ...]:
        """The dense layers, each with the normalization before it, in whole numbers."""
        return self._program.layers

    @property
    def input_shape(self) -> tuple[int]:
        """(features,) of a row."""
        return (self._program.inputs,)

    @property
    def output_shape(self) -> tuple[int]:
        """(outputs,) of a row."""
        return (self._program.outputs,)

    @property
    def dynamic(self) -> bool:
        """Whether each row has its own range before each layer."""
        return self._program.dynamic

    @property
    def engine(self) -> str:
        """The name of the engine that it runs on."""
        return self._engine.name

    @property
    def nbytes(self) -> int:
        """The bytes of weights, their scales, biases and normalizations; ``float32_nbytes`` is the same in float32."""
        return sum(array.nbytes for array in self._arrays())

    @property
    def float32_nbytes(self) -> int:
        scales = sum(layer.scale.size for layer in self.layers)
        return 4 * (sum(array.size for array in self._arrays()) - scales)

    def _arrays(self) -> list[np.ndarray]:
        owners = [*self.layers, self._program]
        names = ("W", "scale", "bias", "mean", "deviation")
        return [getattr(owner, name) for owner in owners for name in names if hasattr(owner, name)]

    # --- use --------------------------------------------------------------------------------------------------------

    def predict(self, x: object) -> np.ndarray:
        """The output for each row of x (n, i): (n, o), float32.

        Raises TypeError or ValueError as ``Sequential.predict`` does: for other features, text, NaN and infinity.
        """
        return self._forward(self._features(x))

    def evaluate(
        self,
        x: object,
        y: object = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: object = None,
        callbacks: list[Callback] | None = None,
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """The loss on these rows, or [loss, *metrics], or both by name, as ``Sequential.evaluate`` gives them.

        They are those that the model it was made of was compiled with, but for penalties on weights, which only
        training needs. Raises TypeError or ValueError for data that do not fit, RuntimeError where that model was not
        compiled.
        """
        if self.loss is None:
            raise RuntimeError(
                "there is no loss to evaluate: the model was quantized before it was compiled; compile it, and "
                "quantize it again"
            )
        from minidl.inference.quantize.evaluated import Evaluated

        return Evaluated(self).evaluate(x, y, batch_size, verbose, sample_weight, callbacks, return_dict)

    def __call__(self, x: object) -> np.ndarray:
        """As ``predict``; float32 rows in one piece of memory go straight through."""
        if (
            type(x) is np.ndarray and x.dtype == np.float32 and x.flags.carray and not self._program.dynamic
            and x.ndim == 2 and x.shape[1] == self._program.inputs and len(x) > 0
        ):  # fmt: skip
            return self._forward(x)
        return self._forward(self._features(x))

    def _features(self, x: object, finite: bool = True) -> np.ndarray:
        if type(x) is not np.ndarray:
            x = arrange(x, self.schema, finite=finite)
        return checks.features(x, np.dtype(np.float32), self._program.inputs, finite=finite)

    def _forward(self, X: np.ndarray, program: Int8Program | None = None) -> np.ndarray:
        out = np.empty((len(X), self._program.outputs), np.float32)
        outside = self._engine.predict_int8(program or self._program, X, out)
        if outside:  # NaN and infinity are always outside: so it is enough to look for them now
            checks.clean(X, "X", X.dtype)
        self.seen += X.size
        if outside:
            self._count(outside)
        return out

    def _count(self, outside: int) -> None:
        self.clipped += outside
        share = self.clipped / self.seen
        if not self._warned and share > MANY + self.report.layers[0].clipped:
            self._warned = True
            warnings.warn(
                f"{share:.1%} of the inputs so far lie outside of the range of the calibration data and count as its "
                "ends; quantize the model again with rows like these",
                stacklevel=4,
            )

    def predictor(self, max_batch: int = 1024, threads: int | None = None) -> Predictor:
        """A frozen copy that does nothing but predict; see ``Sequential.predictor``."""
        from minidl.inference.predictor import Predictor

        return Predictor.of_quantized(self, max_batch, threads)

    def copy(self, program: Int8Program) -> QuantizedModel:
        """The same with another program."""
        return QuantizedModel(program, self.report, self.schema, self._engine, self.loss, self.metrics)

    # --- how it shows and keeps itself ------------------------------------------------------------------------------

    def summary(self) -> None:
        """Print the report, the size, and what was clipped so far; a table in Jupyter."""
        display.show(Summary(self))

    def _remarks(self) -> list[str]:
        small, large = in_bytes(self.nbytes), in_bytes(self.float32_nbytes)
        found = [f"{small} instead of {large} in float32, engine {self.engine}"]
        if self.clipped:
            share = self.clipped / self.seen
            found.append(f"{self.clipped:,} of {self.seen:,} inputs so far ({share:.2%}) lay outside of the range")
        return found

    def _repr_html_(self) -> str:
        return Summary(self)._repr_html_()

    def __repr__(self) -> str:
        widths = [*self.input_shape, *(layer.W.shape[1] for layer in self.layers)]
        return f"<QuantizedModel {'-'.join(map(str, widths))}>"

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw a histogram of each layer's inputs with its range; the figure, which shows itself in Jupyter.

        path: a .png, .svg or .pdf that is written, too. ValueError for another, OSError where it cannot be written,
        RuntimeError for a dynamic model, whose rows have ranges of their own.
        """
        from minidl.inference.quantize import picture

        return picture.of_ranges(self, path)

    def save(self, path: str | PathLike) -> None:
        """Write it to a file that ``minidl.load_model`` reads.

        ValueError for a loss or a metric that is a class of your own, OSError where it cannot be written.
        """
        from minidl import storage
        from minidl.inference.quantize import stored

        with storage.explained("the model cannot be saved", ValueError, TypeError):
            said, arrays = stored.describe(self)
        storage.write(path, "quantized", said, arrays)

    def export(self, path: str | PathLike, weights: str = "uint8") -> None:
        """Write it to an ONNX file, for inference elsewhere; see ``minidl.interop.export_quantized``.

        weights: "uint8" is right everywhere; "int8" is twice as fast in ONNX Runtime where the processor has VNNI, and
        wrong on x86-64 processors that have none. RuntimeError for a dynamic model.
        """
        from minidl import interop

        interop.export_quantized(self, path, weights)

    def __getstate__(self) -> dict:
        """For copy.deepcopy and pickle: the engine by its name, since it is not the model's own."""
        return vars(self) | {"_engine": self._engine.name}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._engine = get_engine(state["_engine"])


class Summary(display.Tabled):
    """The report of a quantized model, and below it its size and what was clipped so far."""

    def __init__(self, model: QuantizedModel):
        self.model = model

    def _tables(self) -> list[display.Grid]:
        return self.model.report._tables()

    def _notes(self) -> list[str]:
        return [*self.model.report._notes(), *self.model._remarks()]
