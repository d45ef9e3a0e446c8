"""Training, epoch against epoch: the same network from the same weights on the same batches with each engine."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

import minidl
from minidl.bench import machine, timing
from minidl.engines import ENGINES, why_not
from perf import results_file


@dataclass(frozen=True)
class Case:
    """A network and how it is trained."""

    rows: int
    inputs: int
    hidden: tuple[int, ...]
    activation: str
    optimizer: str
    batch_size: int
    epochs: int  # in one call of fit


CASES = {
    "tiny": Case(100, 10, (10,), "sigmoid", "sgd", 10, 20),
    "table": Case(8_192, 30, (64, 64), "relu", "adam", 32, 5),
    "mnist/32": Case(8_192, 784, (256, 128), "relu", "adam", 32, 5),
    "mnist/256": Case(16_384, 784, (256, 128), "relu", "adam", 256, 5),
}


def data(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Normal features, and a label that depends on them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(case.rows, case.inputs)).astype(np.float32)
    return X, (X @ rng.normal(size=(case.inputs, 1)) > 0).astype(np.float32)


def rival(case: Case, engine: str, X: np.ndarray, y: np.ndarray):
    """A function that trains for ``case.epochs`` epochs and returns their losses."""
    layers = [minidl.Dense(units, case.activation) for units in case.hidden]
    model = minidl.Sequential([*layers, minidl.Dense(1, "sigmoid")], seed=0)
    model.compile(case.optimizer, "binary_crossentropy", engine=engine)
    return lambda: model.fit(X, y, case.batch_size, case.epochs, verbose=0).history["loss"]


def validate(losses: dict[str, object]) -> None:
    """The losses of the first epoch agree. Later ones drift: in float32 hundreds of steps magnify the last bit."""
    timing.close(1e-3)({engine: found[:1] for engine, found in losses.items()})


def measure(case: Case, engines: list[str], budget_seconds: float) -> dict:
    X, y = data(case)
    rivals = {engine: rival(case, engine, X, y) for engine in engines}
    found = timing.compare(rivals, validate=validate, repeat=(5, 50), budget_seconds=budget_seconds)
    return {
        engine: {
            "epoch_seconds": found.timings[engine].median / case.epochs,
            "quartiles": [found.timings[engine].low / case.epochs, found.timings[engine].high / case.epochs],
            "samples": found.timings[engine].samples,
            "speedup_vs_numpy": asdict(found.speedups[engine]),
        }
        for engine in engines
    }


def main() -> None:
    engines = [name for name in ENGINES if not why_not(name)]
    for name in ENGINES:
        if name not in engines:
            print(f"{name}: left out, {why_not(name)}")
    cases = {}
    for name, case in CASES.items():
        print(f"{name} ...", end=" ", flush=True)
        cases[name] = {"case": asdict(case), "engines": measure(case, engines, budget_seconds=15)}
        for engine, found in cases[name]["engines"].items():
            speedup = found["speedup_vs_numpy"]
            print(
                f"{engine} {found['epoch_seconds'] * 1e3:.3f} ms "
                f"({speedup['value']:.2f}x, {speedup['low']:.2f} to {speedup['high']:.2f})",
                end="   ",
            )
        print()
    print(f"written to {results_file.write('training', {'machine': machine.facts(), 'cases': cases})}")
