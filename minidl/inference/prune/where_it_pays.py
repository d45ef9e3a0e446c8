"""Where sparsity pays on this machine and where not: products that leave zeros out, measured beside dense ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl import aligned, checks, display
from minidl.bench import timing
from minidl.engines import get_engine
from minidl.inference.prune.copies import dense_layers
from minidl.inference.prune.weights import smaller_half
from minidl.model import Sequential
from minidl.words import times

DENSE, SPARSE, FEWER, TWO_OF_FOUR = "dense", "sparse", "fewer units", "two of four"
PAYS = 1.1  # times faster at least: chance alone can make a few percent
SAMPLE_NS = 500_000  # so that the first call, which finds other ways' weights in the caches, counts little


@dataclass(frozen=True)
class Measured:
    """One way to have this share of the weights zero, or gone, with so many rows.

    seconds: of all the layers' products, the least of the samples; speedup: over the dense product, timed in turns with
    it, with a 95% interval within this run.
    """

    way: str
    rows: int
    sparsity: float
    seconds: float
    speedup: timing.Ratio


@dataclass(frozen=True, repr=False)
class Payoff:
    """What ``payoff`` has measured: ``found``, for networks of these widths. It prints as a sentence; in
    Jupyter a table stands above it."""

    widths: tuple[int, ...]
    rows: tuple[int, ...]
    sparsities: tuple[float, ...]
    dtype: str
    found: tuple[Measured, ...]

    def of(self, way: str, rows: int) -> list[Measured]:
        """What was found of "sparse", "fewer units" or "two of four", from few zeros to many."""
        return [one for one in self.found if (one.way, one.rows) == (way, rows)]

    def crossover(self, rows: int, way: str = SPARSE) -> float | None:
        """The least of the shares measured from which on this way is at least 1.1 times as fast as dense; or None."""
        begins = None
        for one in reversed(self.of(way, rows)):
            if one.speedup.value < PAYS:
                break
            begins = one.sparsity
        return begins

    def __str__(self) -> str:
        fours = sorted(self.of(TWO_OF_FOUR, rows)[0].speedup.value for rows in self.rows)
        return (
            f"Leaving zeros out pays (is {PAYS:g} times as fast as dense, or more) {self.where(SPARSE)}; "
            f"fewer units with no more weights pay {self.where(FEWER)}; "
            f"two of four, computed as dense, is {fours[0]:.2f} to {fours[-1]:.2f} times as fast."
        )

    def where(self, way: str) -> str:
        """From which share on it pays, for each number of rows."""
        words = []
        for rows in self.rows:
            begins = self.crossover(rows, way)
            share = f"never (up to {percent(self.sparsities[-1])})" if begins is None else f"from {percent(begins)} on"
            words.append(f"at {in_words(rows)} {share}")
        return ", ".join(words)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        shares, lines = sorted({one.sparsity for one in self.found if one.sparsity}), []
        for rows, way in itertools.product(self.rows, (SPARSE, FEWER, TWO_OF_FOUR)):
            found = {one.sparsity: times(one.speedup.value) for one in self.of(way, rows)}
            lines.append([f"{rows:,}", way, *(found.get(share, "") for share in shares)])
        head = ["rows", "times as fast as dense", *(f"{percent(share)} zeros" for share in shares)]
        return display.fragment(display.Grid(head, lines, (0, 1)).html() + display.soft([str(self)]))

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw it, one panel for each number of rows; the figure, which shows itself in Jupyter.

        path: a .png, .svg or .pdf that is written, too. ValueError for another, OSError where it cannot be written.
        """
        from minidl.inference.prune import picture

        return picture.of_payoff(self, path)


def payoff(
    model: object,
    rows: Sequence[int] = (1, 64, 1024),
    sparsities: Sequence[float] = (0, 0.5, 0.75, 0.9, 0.95, 0.99),
    seconds: float = 0.1,
) -> Payoff:
    """Measure the products of a network's Dense layers with zeros among the weights; a few seconds.

    model: a built Sequential, or the widths of a network, as (784, 256, 128, 1); (784, 256) is one layer. The widths
        are what matters: weights and rows are drawn, and zeros lie anywhere.
    rows: of a call. sparsities: shares of zeros, in [0, 1).
    seconds: for the samples, as often as there are rows and sparsities.

    Timed on one core, all that have the same rows in turns, each checked against NumPy first; of its samples the least
    counts, so that what else the machine does makes no difference: the Numba engine's dense product; a sparse one that
    leaves zeros out (minidl.bench.sparse); a dense one with no more weights than those left, in fewer hidden units (of
    a single layer in fewer outputs); and two of four, computed as dense, since a CPU has no instruction for it. Biases
    are added, activations left out.

    Raises TypeError or ValueError for arguments out of range, RuntimeError where the model is not built or Numba cannot
    run, ``minidl.bench.timing.Disagreement`` where a product is wrong.
    """
    widths, dtype = widths_of(model)
    rows = tuple(checks.whole_number(n, "a number of rows", 1) for n in sequence(rows, "rows"))
    shares = tuple(checks.number(s, "a sparsity", 0, 1, below_high=True) for s in sequence(sparsities, "sparsities"))
    rows, shares = tuple(sorted(set(rows))), tuple(sorted(set(shares)))
    seconds = checks.number(seconds, "seconds", 0)
    get_engine("numba")  # says what is missing
    found = [one for n in rows for one in measured(n, products(widths, n, shares, dtype), seconds * (1 + len(shares)))]
    return Payoff(widths, rows, shares, str(dtype), tuple(found))


def widths_of(model: object) -> tuple[tuple[int, ...], np.dtype]:
    """The widths of a network from its inputs to its outputs, and its dtype."""
    if isinstance(model, tuple | list):
        if len(model) < 2:
            raise ValueError(f"a network's widths are its inputs and each layer's units, not {checks.shown(model)}")
        return tuple(checks.whole_number(width, "a width", 1) for width in model), np.dtype(np.float32)
    if not isinstance(model, Sequential):
        raise TypeError(f"give a Sequential, or a network's widths such as (784, 256, 1), not {checks.shown(model)}")
    layers = dense_layers(model)
    return (layers[0].inputs, *(layer.units for layer in layers)), layers[0].W.dtype


def percent(share: float) -> str:
    """With four digits, since 99.95% of zeros are not 100%."""
    return f"{100 * share:.4g}%"


def in_words(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows:,} rows"


def sequence(values: object, name: str) -> list:
    if not isinstance(values, tuple | list | np.ndarray) or not len(values):
        raise TypeError(f"{name} must be a tuple of numbers, not {checks.shown(values)}")
    return list(values)


# --- what is multiplied ---------------------------------------------------------------------------------------------

Layers = list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # x (rows, inputs), W (inputs, units), b (units,) of each
Products = tuple[Callable[[], list[np.ndarray]], list[np.ndarray]]  # a call of all layers, and what NumPy finds


def drawn(widths: Sequence[int], rows: int, dtype: np.dtype, rng: np.random.Generator) -> Layers:
    def normal(*shape: int) -> np.ndarray:
        return placed(rng.normal(size=shape), dtype)

    return [(normal(rows, i), normal(i, o), normal(o)) for i, o in itertools.pairwise(widths)]


def placed(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The values in an array that begins at a cache line: where one lies must not tell one way from another."""
    array = aligned.zeros(values.shape, dtype)
    array[:] = values
    return array


def with_zeros(W: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    W = placed(W, W.dtype)
    W.reshape(-1)[rng.permutation(W.size)[: round(share * W.size)]] = 0
    return W


def narrowed(widths: Sequence[int], share: float) -> list[int]:
    """The widths where all hidden layers, or the outputs of a single one, have lost the same share of units.

    It is the least, in steps of 0.1%, that leaves no more weights than ``share`` of zeros does, or one unit each.
    """
    first, last = (widths[:1], widths[-1:]) if len(widths) > 2 else (widths[:1], ())
    inner = widths[1 : len(widths) - len(last)]
    for kept in np.linspace(1, 0, 1001):
        chain = [*first, *(max(1, round(kept * width)) for width in inner), *last]
        if weights(chain) <= (1 - share) * weights(widths):
            break
    return chain


def weights(widths: Sequence[int]) -> int:
    return sum(i * o for i, o in itertools.pairwise(widths))


def dense(layers: Layers) -> Products:
    from minidl.engines.numba_engine.dense import dense_alone  # on one core, as the sparse product is

    return lambda: [dense_alone(*layer) for layer in layers], expected(layers)


def sparse(layers: Layers) -> Products:
    from minidl.bench.sparse import compressed, product

    packed = [(x, *compressed(W), b) for x, W, b in layers]
    return lambda: [product(*layer) for layer in packed], expected(layers)


def expected(layers: Layers) -> list[np.ndarray]:
    return [x @ W + b for x, W, b in layers]


def products(widths: Sequence[int], rows: int, shares: Sequence[float], dtype: np.dtype) -> dict[tuple, Products]:
    """All that is measured with so many rows, by way and share, the dense product first."""
    rng = np.random.default_rng(0)
    layers = drawn(widths, rows, dtype, rng)
    found = {(DENSE, 0.0): dense(layers)}
    found[TWO_OF_FOUR, 0.5] = dense([(x, placed(np.where(smaller_half(W), 0, W), dtype), b) for x, W, b in layers])
    for share in shares:
        found[SPARSE, share] = sparse([(x, with_zeros(W, share, rng), b) for x, W, b in layers])
        if share:
            found[FEWER, share] = dense(drawn(narrowed(widths, share), rows, dtype, rng))
    return found


def measured(rows: int, ways: dict[tuple, Products], seconds: float) -> list[Measured]:
    """All ways but the dense one, which they are held against, timed in turns by the least of their samples."""

    def validate(results: dict[Any, object]) -> None:
        for way, result in results.items():
            timing.close()({"NumPy": ways[way][1], way[0]: result})

    calls = {way: call for way, (call, _) in ways.items()}
    found = timing.compare(
        calls, validate=validate, repeat=(5, 200), budget_seconds=seconds, sample_ns=SAMPLE_NS, by=np.min
    )
    return [
        Measured(name, rows, share, found.timings[name, share].least, found.speedups[name, share])
        for name, share in ways
        if name != DENSE
    ]
