"""What is measured: networks with their data, initial weights and the order of the rows, the same for every rival."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from minidl import seeds

SEED = 0
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


@dataclass(frozen=True)
class Case:
    """A network with one output, how it is trained, and the number of rows that it is given."""

    inputs: int
    hidden: tuple[int, ...]
    activation: str  # of the hidden layers; the output's is a sigmoid
    rows: int
    optimizer: str = "adam"
    batch_size: int = 32
    epochs: int = 5  # in one call
    learning_rate: float = 0.001

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.inputs, *self.hidden, 1)

    @property
    def name(self) -> str:
        """The widths, as 784-256-128-1."""
        return "-".join(map(str, self.widths))

    @property
    def flops(self) -> float:
        """Multiplications and additions of all rows once forward; a training epoch has three times as many."""
        return 2.0 * self.rows * sum(i * o for i, o in zip(self.widths, self.widths[1:], strict=False))


@dataclass(frozen=True)
class Product:
    """One matrix product of a dense layer: the operation of the contract, and its sizes."""

    operation: str  # dense, dense_backward_W or dense_backward_x
    n: int
    i: int
    o: int

    @property
    def flops(self) -> float:
        return 2.0 * self.n * self.i * self.o


TRAINING = {
    "tiny": Case(10, (10,), "sigmoid", 100, "sgd", 10, 20, 0.01),
    "table": Case(30, (64, 64), "relu", 8_192),
    "mnist/32": Case(784, (256, 128), "relu", 8_192),
    "mnist/256": Case(784, (256, 128), "relu", 16_384, batch_size=256),
}
INFERENCE = {"tiny/1": Case(10, (10,), "sigmoid", 1)} | {
    f"mnist/{rows}": Case(784, (256, 128), "relu", rows) for rows in (1, 8, 64, 256, 1_024, 8_192)
}
INT8 = {f"int8/{rows}": Case(784, (256, 128), "relu", rows) for rows in (1, 64, 1_024, 8_192)}


def data(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Normal features (n, i), and labels of 0 and 1 (n, 1) that depend on them; float32."""
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((case.rows, case.inputs), np.float32)
    return X, (X @ rng.standard_normal((case.inputs, 1), np.float32) > 0).astype(np.float32)


def calibration(case: Case) -> np.ndarray:
    """Rows such as those of ``data``, for int8."""
    return data(replace(case, rows=1_000))[0]


def weights(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    """W (i, o) and b (o,) of each layer: uniform by Glorot and Bengio (2010), and zeros; float32."""
    rng = np.random.default_rng(SEED + 1)
    limits = [(6 / (i + o)) ** 0.5 for i, o in zip(case.widths, case.widths[1:], strict=False)]
    shapes = zip(limits, case.widths, case.widths[1:], strict=False)
    return [(rng.uniform(-a, a, (i, o)).astype(np.float32), np.zeros(o, np.float32)) for a, i, o in shapes]


def orders(case: Case) -> Iterator[np.ndarray]:
    """The order of the rows in each epoch: what a minidl model of this seed draws."""
    rng = seeds.stream(SEED, seeds.SHUFFLING)
    while True:
        yield rng.permutation(case.rows)


def factors(product: Product) -> tuple[np.ndarray, np.ndarray]:
    """The two matrices that the operation multiplies; float32."""
    rng = np.random.default_rng(SEED)
    n, i, o = product.n, product.i, product.o
    shapes = {"dense": ((n, i), (i, o)), "dense_backward_W": ((n, i), (n, o)), "dense_backward_x": ((n, o), (i, o))}
    first, second = shapes[product.operation]
    return rng.standard_normal(first, np.float32), rng.standard_normal(second, np.float32)
