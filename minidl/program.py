"""A model flattened for the engines: one vector of parameters and one table of operations."""

from __future__ import annotations

import numpy as np

from minidl import aligned
from minidl import contract as c


class Program:
    """What an engine runs. Everything in it is plain arrays and numbers.

    table: int64 (operations, 6) and numbers: float64 (operations, 3), the columns as named in contract.py.
    parameters: every weight in one vector of the dtype: ``theta`` (trainable) first, then the rest (frozen weights, the
        zero biases of layers without one, the statistics of normalizations). Each array begins at a cache line; what is
        left of the line before it belongs to none.
    slots: (slots of the optimizer, theta.size), what the optimizer remembers; ``step`` counts its steps.
    loss, optimizer, metrics: codes; optimizer_numbers: float64 (6,). ``loss_at`` operations are done before the loss is
        taken: all of them, or all but the last activation where the loss is computed from logits.
    classes: where targets are class indices, how many there are; else 0.
    seed: of the dropout masks.
    most_threads: how many a prediction may use; 0 is as many as pay.
    matmul_precision: of the products in float32: "highest", "high" or "medium", as ``Sequential.compile`` says.
    frozen: whether nobody writes into the parameters any more.
    plans: where an engine keeps what it has worked out from the table, by whatever it depends on besides.
    starts: where each array of each layer, in the layers' order, begins in the vector; sizes: its entries.
    """

    def __init__(self, rows: list[c.Row], parameters: np.ndarray, trainable: int, seed: int, spans: list[tuple]):
        columns = c.SECOND + 1
        self.table = np.array([row[:columns] for row in rows], dtype=np.int64).reshape(-1, columns)
        self.numbers = np.array([row[columns:] for row in rows], dtype=np.float64).reshape(-1, c.RATE + 1)
        self.parameters, self.trainable = parameters, trainable
        self.starts, self.sizes = [start for start, _ in spans], [size for _, size in spans]
        self.seed, self.step = seed, 0
        self.inputs, self.outputs = int(self.table[0, c.INPUTS]), int(self.table[-1, c.OUTPUTS])
        dense = (self.table[:, c.KIND] == c.DENSE) & (
            (self.table[:, c.FIRST] < trainable) | (self.table[:, c.SECOND] < trainable)
        )
        self.first_trainable = int(np.argmax(dense)) if dense.any() else len(self.table)
        self.loss, self.loss_at, self.classes = c.MEAN_SQUARED_ERROR, len(self.table), 0
        self.metrics = np.zeros(0, dtype=np.int64)
        self.optimizer, self.optimizer_numbers = c.SGD, np.zeros(len(c.OPTIMIZER_NUMBERS))
        self.slots = np.zeros((0, trainable), parameters.dtype)
        self.most_threads = 0
        self.matmul_precision, self.frozen = "highest", False
        self.plans: dict = {}

    def __getstate__(self) -> dict:
        """For copy.deepcopy and pickle: a plan holds addresses."""
        return vars(self) | {"plans": {}}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self.parameters, self.slots = aligned.copy(self.parameters), aligned.copy(self.slots)

    @property
    def theta(self) -> np.ndarray:
        """The trainable parameters."""
        return self.parameters[: self.trainable]

    @property
    def trained(self) -> int:
        """How many parameters are trainable."""
        return sum(stop - start for start, stop in self.learning())

    def learning(self) -> list[tuple[int, int]]:
        """From where to where the trainable arrays lie in theta, one after the other."""
        spans = sorted(zip(self.starts, self.sizes, strict=True))
        return [(start, start + size) for start, size in spans if start < self.trainable]

    def packed(self) -> np.ndarray:
        """The slots without the gaps between the arrays: (slots of the optimizer, trained)."""
        return np.concatenate([self.slots[:, start:stop] for start, stop in self.learning()], axis=1)

    def unpack(self, slots: np.ndarray) -> None:
        """Take the slots from what ``packed`` returned."""
        end = 0
        for start, stop in self.learning():
            end, begin = end + stop - start, end
            self.slots[:, start:stop] = slots[:, begin:end]

    @property
    def sums_size(self) -> int:
        """How many numbers a run adds up."""
        metrics = self.metrics.tolist()
        return c.FIRST_METRIC + len(metrics) + metrics.count(c.AUC) * (2 * c.AUC_BINS - 1)

    def weights(self, row: np.ndarray, vector: np.ndarray | None = None) -> np.ndarray:
        """W (inputs, units) of a dense row: a view of the parameters, or of another vector laid out like them."""
        return self.first(row, int(row[c.INPUTS] * row[c.OUTPUTS]), vector).reshape(row[c.INPUTS], row[c.OUTPUTS])

    def bias(self, row: np.ndarray, vector: np.ndarray | None = None) -> np.ndarray:
        """b (units,) of a dense row, likewise."""
        return self.second(row, vector)

    def mean(self, row: np.ndarray) -> np.ndarray:
        """The means (inputs,) of a normalization row."""
        return self.first(row, int(row[c.OUTPUTS]))

    def variance(self, row: np.ndarray) -> np.ndarray:
        """The variances (inputs,) of a normalization row."""
        return self.second(row)

    def first(self, row: np.ndarray, size: int, vector: np.ndarray | None = None) -> np.ndarray:
        vector = self.parameters if vector is None else vector
        return vector[row[c.FIRST] : row[c.FIRST] + size]

    def second(self, row: np.ndarray, vector: np.ndarray | None = None) -> np.ndarray:
        vector = self.parameters if vector is None else vector
        return vector[row[c.SECOND] : row[c.SECOND] + row[c.OUTPUTS]]


def flatten(layers: list, dtype: np.dtype, seed: int) -> Program:
    """The program of built layers. Their arrays become views of its one vector, the trainable ones in front."""
    owned = [(layer, array) for layer in layers for array in layer.arrays]
    owned.sort(key=lambda pair: not pair[0].learns(pair[1]))  # stable: otherwise in the order of the layers
    sizes = [getattr(layer, array).size for layer, array in owned]
    rooms = [aligned.whole_lines(size, dtype) for size in sizes]
    starts = np.cumsum([0, *rooms])
    parameters = aligned.zeros(int(starts[-1]), dtype)
    places: dict[tuple[int, str], int] = {}
    for (layer, array), start, size in zip(owned, starts.tolist(), sizes, strict=False):
        parameters[start : start + size] = getattr(layer, array).ravel()
        places[id(layer), array] = start
    trainable = sum(room for (layer, array), room in zip(owned, rooms, strict=True) if layer.learns(array))
    rows: list[c.Row] = []
    for layer in layers:
        dropouts = sum(row.kind == c.DROPOUT for row in rows)
        rows += layer.operations({array: places[id(layer), array] for array in layer.arrays}, dropouts)
    spans = [(places[id(layer), array], getattr(layer, array).size) for layer in layers for array in layer.arrays]
    program = Program(rows, parameters, trainable, seed, spans)
    bind(layers, program)
    return program


def bind(layers: list, program: Program) -> None:
    """Make the layers' arrays views of the program's one vector."""
    owned = [(layer, array) for layer in layers for array in layer.arrays]
    for (layer, array), start in zip(owned, program.starts, strict=True):
        old = getattr(layer, array)
        layer.bind(array, program.parameters[start : start + old.size].reshape(old.shape))
