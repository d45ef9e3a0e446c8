"""Sequential: layers one after the other, with Keras's add, compile, fit, evaluate and predict."""

from __future__ import annotations

import warnings
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from minidl import aligned, checks, evaluation, losses, optimizers, rows, seeds, training
from minidl import callbacks as callbacks_
from minidl import contract as c
from minidl import metrics as metrics_
from minidl.data.schema import Schema, arrange
from minidl.data.tables import Table
from minidl.engines import Engine, get_engine, why_not
from minidl.layers import Dense, Layer, Normalization, fill
from minidl.metrics import Metric
from minidl.program import Program, bind, flatten
from minidl.progress import resolve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from minidl.inference.predictor import Predictor

PRECISIONS = ("highest", "high", "medium")

# What has an underscore behind its name, as ``callbacks_``, is a module whose name Keras gives an argument.


class Sequential:
    """A stack of layers.

    Parameters
    ----------
    layers: the first layers, in order; more come with ``add``.
    seed: makes weights, shuffling and dropout repeatable, bit by bit on each engine. Without one it is drawn from
        ``minidl.set_random_seed``'s generator.

    Where the first layer has an ``input_shape``, or a call or ``fit`` has shown the number of features, the model is
    built: its weights exist. It can predict from then on, and train once it is compiled.
    """

    def __init__(self, layers: list[Layer] | None = None, seed: int | None = None):
        self.seed = seeds.fresh_seed() if seed is None else checks.whole_number(seed, "seed", 0)
        self.layers: list[Layer] = []
        self.history: callbacks_.History | None = None
        self.schema: Schema | None = None  # the columns of the table that it was trained on, if it was one
        self.stop_training = self.stop_evaluating = self.stop_predicting = False
        self._draw_weights = seeds.stream(self.seed, seeds.WEIGHTS)
        self._shuffle = seeds.stream(self.seed, seeds.SHUFFLING)
        self._program: Program | None = None
        self._engine: Engine | None = None
        self._dtype: np.dtype = np.dtype(np.float32)
        self._matmul_precision = "highest"
        self._optimizer: optimizers.Optimizer | None = None
        self._loss: losses.Loss | None = None
        self._metrics: list[Metric] = []
        if not isinstance(layers, list | tuple | None):
            raise TypeError(f"layers must be a list of layers, not {checks.shown(layers)}")
        for layer in layers or []:
            self.add(layer)

    # --- structure ------------------------------------------------------------------------------------------------

    def add(self, layer: Layer) -> None:
        """Put a layer at the end. RuntimeError once the model is compiled; ValueError for a layer of another model."""
        if not isinstance(layer, Layer):
            raise TypeError(f"a model is made of layers such as minidl.Dense(10), not of {checks.shown(layer)}")
        if self._optimizer is not None:
            raise RuntimeError("the model is compiled; add all layers before compile")
        if layer.owner is not None:
            raise ValueError(f"the layer {layer.name!r} already belongs to a model; make a new one for each place")
        given, names = layer.name, {other.name for other in self.layers}
        if given in names:
            raise ValueError(f"two layers have the name {given!r}; give each its own")
        layer.name, layer.owner = given or free_name(layer, names), self
        self.layers.append(layer)
        try:
            if self.layers[0].inputs is not None:
                self._build(self.layers[0].inputs)
        except Exception:  # the model stays as it was, and the layer is free again
            self.layers.pop()
            layer.name, layer.owner = given, None
            raise

    @property
    def built(self) -> bool:
        """Whether the weights exist."""
        return self._program is not None

    @property
    def engine(self) -> str:
        """The name of the engine that this model runs on."""
        return self._running_engine().name

    @property
    def loss(self) -> losses.Loss | None:
        """The loss that ``compile`` was given."""
        return self._loss

    @property
    def optimizer(self) -> optimizers.Optimizer | None:
        """What ``compile`` was given; its ``learning_rate`` may be changed between epochs, or batches in a callback."""
        return self._optimizer

    @property
    def metrics(self) -> list[Metric]:
        """The metrics that ``compile`` was given."""
        return list(self._metrics)

    def _build(self, inputs: int) -> None:
        if not self.layers:
            raise RuntimeError("the model has no layers; add some first")
        widths = [inputs]
        for layer in self.layers:  # all are looked at before the first is built
            if layer.inputs not in (None, widths[-1]):
                raise ValueError(f"the layer {layer.name!r} takes {layer.inputs} features, but is given {widths[-1]}")
            widths.append(layer.outputs or widths[-1])
        for layer, width in zip(self.layers, widths, strict=False):
            if not layer.built:
                layer.build(width, self._draw_weights)
        self._flatten()

    def _flatten(self) -> None:
        """Make the program anew: after a change of layers, dtype, or of what is trainable."""
        program = self._program = flatten(self.layers, self._dtype, seeds.dropout_seed(self.seed))
        program.matmul_precision = self._matmul_precision
        if self._optimizer is not None:
            program.metrics = np.array([metric.code for metric in self._metrics], dtype=np.int64)
            program.loss, program.loss_at = self._loss.head(program.table)
            program.classes = program.outputs if self._loss.takes_indices else 0
            program.optimizer = self._optimizer.code
            program.slots = aligned.zeros((self._optimizer.slots, program.theta.size), self._dtype)

    def _check_outputs(self, loss: losses.Loss, chosen: list[Metric]) -> None:
        if isinstance(loss, losses.CategoricalCrossentropy) and self._outputs() < 2:
            raise ValueError(
                f"{loss.name} chooses between classes and needs 2 outputs or more, but the model has 1; for one "
                "output use 'binary_crossentropy'"
            )
        ends = getattr(self.layers[-1], "activation", None)
        if any(metric.code == c.AUC for metric in chosen) and ends not in ("sigmoid", "softmax"):
            raise ValueError("the metric 'auc' needs outputs in [0, 1]: end the model in a sigmoid or softmax")

    def _running_engine(self) -> Engine:
        if self._engine is None:
            self._engine = choose_engine("auto")
        return self._engine

    # --- training -------------------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | optimizers.Optimizer,
        loss: str | losses.Loss,
        *,
        metrics: object = None,
        engine: str = "auto",
        dtype: str = "float32",
        matmul_precision: str = "highest",
    ) -> None:
        """Choose how to train: an optimizer, a loss, metrics to watch, the engine, and float32 or float64.

        A metric that is named twice, as in ``["mae", "mae"]``, is counted once. ``matmul_precision``, in PyTorch's
        words, is what the matrix products of float32 may be rounded to where that is faster: "highest" is float32's own
        accuracy, "high" is TF32 (inputs of 11 significant bits, sums in float32), "medium" is bfloat16 (8 bits). Only
        the fast version of the engine "cupy" makes use of it; all else computes at the highest. No file keeps it.

        Weights stay; what an optimizer remembered is forgotten; changes of ``layer.trainable`` take effect. Raises
        ValueError for unknown names, RuntimeError for an engine that cannot run here; the model is then as before.
        """
        optimizer, loss, given = optimizers.get(optimizer), losses.get(loss), metrics_.check(metrics)
        precision = checks.one_of(matmul_precision, "matmul_precision", PRECISIONS)
        real, running = checks.float_type(dtype), choose_engine(engine)
        if not self.layers:
            raise RuntimeError("the model has no layers; add some before compile")
        chosen = metrics_.resolve(given, self._outputs())
        self._check_outputs(loss, chosen)
        self._optimizer, self._loss, self._metrics = optimizer, loss, chosen
        self._dtype, self._engine, self._matmul_precision = real, running, precision
        if self.built:
            self._flatten()

    def fit(
        self,
        x: object,
        y: object = None,
        batch_size: int | None = 32,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: list[callbacks_.Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: tuple | list | Table | None = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: object = None,
    ) -> callbacks_.History:
        """Train on x (n, i) and y (n, o) or, for one output or class indices, (n,); or on a ``minidl.data.Table``.

        The model keeps the names of the columns of a Table, or of a pandas table, as its ``schema``, and looks for them
        in what it is given later. ``class_weight`` maps the index of a class to what its rows weigh, 1 where it is
        left out; it cannot be used together with ``sample_weight``.

        ``validation_split`` keeps the last rows for validation, before shuffling; ``validation_data`` is (x, y) or
        (x, y, sample_weight). The loss is sum(w l) / n over each batch plus the layers' penalties; metrics do not
        see the weights. Ctrl-C leaves the model as it was after the last finished range of batches, with its history,
        and raises KeyboardInterrupt. Raises ValueError or TypeError for data that do not fit, RuntimeError before
        ``compile``.
        """
        self._require_compiled("fit")
        batch_size = 32 if batch_size is None else checks.whole_number(batch_size, "batch_size", 1)
        epochs = checks.whole_number(epochs, "epochs", 0)
        split = checks.number(validation_split, "validation_split", 0, 1, below_high=True)
        shuffle, verbose, callbacks = checks.truth(shuffle, "shuffle"), resolve(verbose), callbacks_.check(callbacks)
        train, schema = rows.taken(self, x, y, sample_weight)
        validation = None
        if validation_data is not None:
            validation = rows.validation(self, validation_data, schema, train.X.shape[1])
        elif split:
            train, validation = rows.parted(train, split)
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError("give class_weight or sample_weight, not both: put the product into sample_weight")
            weight = checks.class_weights(class_weight, train.y, self._outputs(), self._loss)
            train = train._replace(weight=weight)
        self._prepare(train.X)
        self.schema = schema
        return training.train(self, train, validation, batch_size, epochs, verbose, callbacks, shuffle)

    def _outputs(self) -> int:
        """The model's number of outputs, which needs no weights to be known."""
        units = [layer.units for layer in self.layers if isinstance(layer, Dense)]
        if not units:
            raise RuntimeError("the model has no Dense layer, so there is nothing to train; add one before compile")
        return units[-1]

    def _prepare(self, X: np.ndarray) -> None:
        """Build the model for these training rows, and let a fresh normalization see them."""
        fresh = [
            layer
            for layer in self.layers
            if isinstance(layer, Normalization) and layer.trainable and not layer.adapted
        ]
        for layer in fresh:
            if layer is not self.layers[0]:
                raise RuntimeError(f"the layer {layer.name!r} is not the first one; call its adapt before fit")
        found = [layer.statistics(X, self._dtype) for layer in fresh]  # refused before anything is changed
        if not self.built:
            self._build(X.shape[1])
        for layer, statistics in zip(fresh, found, strict=True):
            layer.take(statistics)

    def train_on_batch(self, x: object, y: object = None, sample_weight: object = None) -> float | list[float]:
        """One step on these rows as one batch: the loss before it, or [loss, *metrics]."""
        self._require_compiled("train_on_batch")
        batch, _ = rows.taken(self, x, y, sample_weight)
        self._prepare(batch.X)
        self._program.optimizer_numbers = self._optimizer.numbers()
        trainer = self._engine.trainer(self._program, *batch, len(batch.X))
        sums = trainer.run(np.arange(len(batch.X))[None], 0, len(batch.X))
        trainer.pull()
        return self._as_list(sums[0])

    # --- use ------------------------------------------------------------------------------------------------------

    def evaluate(
        self,
        x: object,
        y: object = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: object = None,
        callbacks: list[callbacks_.Callback] | None = None,
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """The loss on these rows, or [loss, *metrics], or both by name.

        ``batch_size`` (None is 32) does not change the result; it is what callbacks see as a batch.
        """
        self._require_compiled("evaluate")
        batch_size = 32 if batch_size is None else checks.whole_number(batch_size, "batch_size", 1)
        verbose, callbacks = resolve(verbose), callbacks_.check(callbacks)
        data, _ = rows.taken(self, x, y, sample_weight)
        if not self.built:
            self._build(data.X.shape[1])
        with evaluation.callback_list(self, callbacks, verbose, len(data.X), batch_size) as calls:
            sums = evaluation.evaluate(self, data, batch_size, calls)
        return callbacks_.by_name(self._logs(sums)) if return_dict else self._as_list(sums)

    def predict(
        self,
        x: object,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        callbacks: list[callbacks_.Callback] | None = None,
    ) -> np.ndarray:
        """The output for each row of x (n, i): (n, o).

        ``batch_size`` (None is 32) changes nothing in the result; it is what callbacks see as a batch. Raises
        ValueError where x holds NaN or infinity; ``model(x)`` lets them pass.
        """
        batch_size = 32 if batch_size is None else checks.whole_number(batch_size, "batch_size", 1)
        verbose, callbacks = resolve(verbose), callbacks_.check(callbacks)
        X = self._features(x)
        if not callbacks:
            return self._forward(X)
        with evaluation.callback_list(self, callbacks, verbose, len(X), batch_size) as calls:
            return evaluation.predict(self, X, batch_size, calls)

    def __call__(self, x: object) -> np.ndarray:
        """The output for each row of x (n, i): (n, o), directly; NaN and infinity pass through the formulas."""
        program = self._program
        if type(x) is np.ndarray and program is not None and self._engine is not None:
            # What needs no looking at twice goes straight through: one row should cost its arithmetic.
            shape, right = x.shape, x.dtype == self._dtype and x.flags.carray
            if right and len(shape) == 2 and shape[1] == program.inputs and shape[0] > 0:
                return self._engine.predict(program, x)
        return self._forward(self._features(x, finite=False))

    def _features(
        self, x: object, schema: Schema | None = None, name: str = "X", *, inputs: int | None = None,
        finite: bool = True,
    ) -> np.ndarray:  # fmt: skip
        """X as (rows, features), its columns in the model's order where both have names.

        ``inputs``: how many features the model will take, where it is not built yet.
        """
        if type(x) is not np.ndarray:
            x = arrange(x, schema or self.schema, finite=finite)
        inputs = self.layers[0].inputs or inputs if self.layers else None
        return checks.features(x, self._dtype, inputs, name, finite=finite)

    def _forward(self, X: np.ndarray) -> np.ndarray:
        if not self.built:
            self._build(X.shape[1])
        return self._running_engine().predict(self._program, X)

    # --- weights --------------------------------------------------------------------------------------------------

    @property
    def weights(self) -> list[np.ndarray]:
        """All weight arrays in the order of the layers: views, so that writing into them changes the model."""
        return [array for layer in self.layers for array in layer.weights]

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weight arrays, layer by layer: W, b of a Dense; mean, variance of a Normalization."""
        return [array.copy() for array in self.weights]

    def set_weights(self, weights: list) -> None:
        """Put in these arrays; ValueError where their number or a shape differs, and then nothing is changed."""
        self._require_built()
        fill(self.weights, weights, "the model")
        for layer in self.layers:
            if isinstance(layer, Normalization):
                layer.adapted = True

    def predictor(
        self,
        dtype: str | None = None,
        max_batch: int = 1024,
        threads: int | None = None,
        calibration_data: object = None,
    ) -> Predictor:
        """A frozen copy that does nothing but predict, as fast as can be; see ``minidl.inference.predictor``.

        NaN and infinity pass through it as through ``model(x)``, but "int8" refuses them.

        dtype: "float32" or "float64", by default the model's own; or "int8", for which ``calibration_data`` are rows
        such as will come, see ``minidl.quantize``. max_batch: rows for which buffers are laid out; more are taken in
        pieces of so many. threads: the most that a call may use; None is as many as pay.

        Raises RuntimeError for a model that is not built, ValueError for one without a Dense layer and another dtype.
        """
        from minidl.inference.predictor import Predictor, dtype_of

        dtype = None if dtype is None else dtype_of(dtype)
        if dtype == "int8":
            from minidl.inference.quantize import quantize

            if calibration_data is None:
                raise TypeError(
                    "dtype='int8' needs calibration_data, some hundred rows like those to be predicted; without any, "
                    "use minidl.quantize(model, dynamic=True).predictor()"
                )
            return quantize(self, calibration_data).predictor(max_batch, threads)
        if calibration_data is not None:
            raise ValueError("calibration_data are for dtype='int8' alone; leave them out")
        return Predictor.of_model(self, dtype, max_batch, threads)

    def save(self, path: str | PathLike, *, include_optimizer: bool = False) -> None:
        """Write the model to a file that ``minidl.load_model`` reads; see ``minidl.storage.save_model``."""
        from minidl import storage

        storage.save_model(self, path, include_optimizer=include_optimizer)

    def export(self, path: str | PathLike) -> None:
        """Write the model to an ONNX file, for inference elsewhere; see ``minidl.interop.export_onnx``."""
        from minidl import interop

        interop.export_onnx(self, path)

    def save_weights(self, path: str | PathLike) -> None:
        """Write the weight arrays alone to a file; see ``minidl.storage.save_weights``."""
        from minidl import storage

        storage.save_weights(self, path)

    def load_weights(self, path: str | PathLike) -> None:
        """Put in a file's weight arrays, all or none; see ``minidl.storage.load_weights``."""
        from minidl import storage

        storage.load_weights(self, path)

    def count_params(self) -> int:
        """How many numbers the weights are; RuntimeError before they exist."""
        self._require_built()
        return sum(array.size for array in self.weights)

    def summary(self) -> None:
        """Print the layers, their shapes, parameters and settings, and how it is trained; a table in Jupyter."""
        from minidl import display, summary

        display.show(summary.Summary(self))

    def plot(self, path: str | PathLike | None = None) -> Figure:
        """A figure of the layers, their parameters and multiply-adds; with ``path`` (.png, .svg, .pdf) also written."""
        from minidl import plots

        return plots.network(self, path)

    def _repr_html_(self) -> str:
        from minidl import summary

        return summary.Summary(self)._repr_html_()

    # --- helpers --------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict:
        """For copy.deepcopy and pickle: the engine by its name, since it is not the model's own."""
        return vars(self) | {"_engine": self._engine and self._engine.name}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._engine = state["_engine"] and get_engine(state["_engine"])
        if self.built:
            bind(self.layers, self._program)  # a copied view is an array of its own

    def _require_built(self) -> None:
        if not self.built:
            raise RuntimeError("the model has no weights yet: give its first layer an input_shape, or call it once")

    def _require_compiled(self, what: str) -> None:
        if self._optimizer is None:
            raise RuntimeError(f"the model is not compiled: call compile(optimizer, loss) before {what}")

    def _sums(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        """The sums (contract.py) of loss and metrics over clean data."""
        return self._engine.evaluate(self._program, X, y, weight)

    def _logs(self, sums: np.ndarray) -> dict[str, float]:
        return {name: values[0] for name, values in self._logs_by_epoch(sums[None]).items()}

    def _logs_by_epoch(self, sums: np.ndarray) -> dict[str, list[float]]:
        """The loss and metrics of several epochs, from the sums (contract.py) of each."""
        rows = sums[:, c.ROWS]
        logs, place = {"loss": (sums[:, c.LOSS] / rows).tolist()}, c.FIRST_METRIC
        for metric in self._metrics:
            own = sums[:, place : place + metric.width]
            logs[metric.name] = [metric.result(of_epoch, count) for of_epoch, count in zip(own, rows, strict=True)]
            place += metric.width
        return logs

    def _as_list(self, sums: np.ndarray) -> float | list[float]:
        values = list(self._logs(sums).values())
        return values if len(values) > 1 else values[0]

    def __repr__(self) -> str:
        return f"<Sequential {' -> '.join(repr(layer.name) for layer in self.layers)}>"


def free_name(layer: Layer, taken: set[str]) -> str:
    """The layer's kind, with the first number that makes it a name of its own: dense, dense_1, dense_2."""
    kind = type(layer).__name__.lower()
    return next(name for name in (kind, *(f"{kind}_{n}" for n in range(1, len(taken) + 1))) if name not in taken)


def choose_engine(name: str) -> Engine:
    """``get_engine``, with a warning where "auto" has to do without Numba."""
    engine = get_engine(name)
    if name == "auto" and engine.name == "numpy":
        warnings.warn(f"engine='auto' uses NumPy here: {why_not('numba')}", stacklevel=3)
    return engine
