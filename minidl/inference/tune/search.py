"""A search for the best network whose calls are fast enough: what would be too slow is not even trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns as clock
from typing import Any, cast

import numpy as np

from minidl import checks, losses, progress
from minidl import task as task_
from minidl.callbacks import EarlyStopping, LambdaCallback
from minidl.data import Column, Schema, Table
from minidl.data.tables import target_of_numbers, y_of
from minidl.engines import get_engine
from minidl.inference.tune.latency import LatencyModel, medians
from minidl.inference.tune.shown import Found
from minidl.metrics import larger_is_better
from minidl.model import Sequential

Hidden = tuple[int, ...]  # the units of each hidden layer
TIMING = 2.0  # seconds, at most, to measure what times are predicted from, and to measure those that were trained


@dataclass(frozen=True, repr=False, eq=False)
class Structure(Found):
    """What ``structure`` has found. ``found``: a pandas table of all different candidates, the best first: the units of
    their hidden layers, how many weights, the predicted and the measured time of a call, and the metric, "accuracy" or
    "mae". prediction_error: the median of |predicted - measured| / measured, NaN where none was measured. best: the
    trained model, None where no candidate is within the bound."""

    latency_ms: float
    rows: int
    metric: str
    prediction_error: float
    best: Sequential | None


def structure(
    data: tuple | list | Table,
    latency_ms: float,
    *,
    rows: int = 1,
    trials: int = 20,
    seconds: float = 60.0,
    widths: tuple[int, int] = (8, 512),
    depths: tuple[int, int] = (1, 4),
    task: str | None = None,
    epochs: int = 20,
    engine: str = "auto",
    seed: int = 0,
    verbose: str | int = "auto",
) -> Structure:
    """Search for the numbers of hidden layers and units that are best on rows held out, within a bound on the time.

    data: (X, y), where y are numbers, or class indices from 0 on, (rows,) or (rows, 1); or a ``minidl.data.Table``,
        whose schema the best then has. A fifth of the rows, drawn at random, is held out to choose by.
    latency_ms: the bound in milliseconds on the median of calls of so many ``rows`` of a network's ``predictor()``.
    trials: candidates, with those that are not trained. seconds: for all; where they are over, training ends.
    widths, depths: the least and the largest number of units in a hidden layer, and of hidden layers.
    task: "binary", "multiclass" or "regression"; left out, it is read off y as by ``read_csv``. The best has the most
        accuracy or the least mean absolute error; of equal ones the fewest weights.
    epochs: at most, of each candidate; it ends after 3 without a better loss on the rows held out, and keeps the best.
    engine: that the networks run on. seed: of the search, of all networks, and of the rows held out.

    Optuna's TPE sampler proposes candidates, first the smallest. What would be beyond the bound, as predicted by a
    ``LatencyModel`` fitted to networks of such widths and depths, is not trained. The others are (by Adam; task.py says
    how they begin and end), and in the end measured in turns. With one seed they are the same again, as far as times do
    not decide. Raises RuntimeError where Optuna is not installed (``pip install "minidl[tune]"``), TypeError or
    ValueError for arguments out of range and data that cannot be learnt.
    """
    latency_ms, seconds = checks.number(latency_ms, "latency_ms", 1e-6), checks.number(seconds, "seconds", 0)
    rows, trials = checks.whole_number(rows, "rows", 1), checks.whole_number(trials, "trials", 1)
    widths, depths = pair(widths, "widths"), pair(depths, "depths")
    epochs, seed = checks.whole_number(epochs, "epochs", 1), checks.whole_number(seed, "seed", 0)
    verbose, engine, table = progress.resolve(verbose), get_engine(engine).name, table_of(data, task)
    (train, held_out), target = table.split(0.2, seed), table.schema.target
    task_.check_held_out(held_out)
    metric, inputs, outputs = task_.METRICS[target.task], table.X.shape[1], task_.outputs(target)
    study, sign = study_of(trials, seed), -1 if larger_is_better(metric) else 1  # the study looks for the least
    study.enqueue_trial({"layers": depths[0]} | {f"units_{n}": widths[0] for n in range(depths[0])})
    end, spent, x = clock() + seconds * 1e9, min(TIMING, seconds / 10), np.resize(table.X, (rows, inputs))

    def network(hidden: Hidden) -> Sequential:
        model = task_.network(train, hidden, seed=seed)
        model.schema = table.schema if isinstance(data, Table) else None
        model.compile("adam", task_.LOSSES[target.task], metrics=[metric], engine=engine)
        return model

    first = {((inputs, *one, outputs), rows): call(network(one), x) for one in drawn(widths, depths, seed)}
    times = LatencyModel(engine).learn(medians(first, spent))
    lines: dict[Hidden, list[Any]] = {}
    models: dict[Hidden, Sequential] = {}  # that were trained and have not diverged
    with progress.bar(verbose, f"{trials} networks, at most about {seconds:g} s", trials) as done:
        for number in range(trials):
            if number and clock() >= end:
                break
            asked = study.ask()
            layers = range(asked.suggest_int("layers", *depths))
            hidden = tuple(asked.suggest_int(f"units_{n}", *widths, log=True) for n in layers)
            if hidden not in lines:
                model = network(hidden)
                predicted_ms, value = 1e3 * times.predict((inputs, *hidden, outputs), rows), np.nan
                if predicted_ms <= latency_ms:
                    value = value_of(model, train, held_out, epochs, end)
                if np.isfinite(value):
                    models[hidden] = model
                lines[hidden] = [hidden, model.count_params(), predicted_ms, np.nan, value]
            study.tell(asked, sign * lines[hidden][-1] if hidden in models else np.inf)
            done(number + 1)
    for hidden, taken in medians({hidden: call(model, x) for hidden, model in models.items()}, spent).items():
        lines[hidden][-2] = 1e3 * taken
    return concluded(list(lines.values()), models, metric, rows, latency_ms)


def concluded(lines: list[list], models: dict, metric: str, rows: int, latency_ms: float) -> Structure:
    """The candidates as a table, the best first, and what is to say of them."""
    import pandas as pd

    found = pd.DataFrame(lines, columns=["hidden", "weights", "predicted_ms", "measured_ms", metric])
    found = found.sort_values([metric, "weights"], ascending=[not larger_is_better(metric), True], ignore_index=True)
    why = [found.predicted_ms > latency_ms, found[metric].isna(), found.measured_ms > latency_ms]
    found["remark"] = np.select(why, ["untrained", "diverged", "too slow"], "")
    within = found.index[found.remark == ""]
    best = found.hidden[within[0]] if len(within) else None
    found.loc[within[:1], "remark"] = "best"
    error = float((found.predicted_ms / found.measured_ms - 1).abs().median())
    note = f"Best: {best}." if best else "No network that could be trained is fast enough."
    note += f" Predicted times were {error:.0%} off (median of {len(models)})." if models else ""
    title = f"Networks by {metric} of which a batch of {rows:,} takes {latency_ms:g} ms at most"
    return Structure(title, found, note, latency_ms, rows, metric, error, models.get(best))


def call(model: Sequential, x: np.ndarray) -> Callable[[], np.ndarray]:
    """What is timed."""
    return partial(model.predictor(), x)


def drawn(widths: tuple[int, int], depths: tuple[int, int], seed: int) -> list[Hidden]:
    """Hidden layers of networks to learn times from, drawn as the search draws its own."""
    rng, layers = np.random.default_rng(seed), np.rint(np.linspace(*depths, 15)).astype(int).tolist()
    low, high = np.log(widths).tolist()
    return [tuple(np.rint(np.exp(rng.uniform(low, high, n))).astype(int).tolist()) for n in layers]


def pair(value: object, name: str) -> tuple[int, int]:
    """The least and the largest of something."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{name} must be two whole numbers, the least and the largest, not {checks.shown(value)}")
    least = checks.whole_number(value[0], f"the least of {name}", 1)
    return least, checks.whole_number(value[1], f"the largest of {name}", least)


def table_of(data: object, task: str | None) -> Table:
    """The rows in float32, and what y asks of a network."""
    task, float32 = task and checks.one_of(task, "task", task_.METRICS), np.dtype(np.float32)
    if isinstance(data, Table):
        y_of(data, None)
        if task not in (None, data.schema.target.task):
            raise ValueError(f"the table's target is {data.schema.target.said}; read it with task={task!r} instead")
        task_.check(data, "the table")
        return data.astype(float32)
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"data must be (X, y), as in structure((X, y), 1), or a Table, not {checks.shown(data)}")
    X, y = checks.features(data[0], float32), checks.clean(checks.numeric(data[1], "y"), "y", float32)
    target = target_of_numbers("y", set(y.ravel().tolist()), task, "y")
    loss = losses.get("sparse_categorical_crossentropy" if target.classes else "mse")
    y = checks.targets(y, float32, len(X), len(target.classes) or 1, loss)
    table = Table(X, y, Schema(tuple(Column(f"x{place}") for place in range(X.shape[1])), target))
    task_.check(table, "the data")
    return table


def study_of(trials: int, seed: int) -> Any:
    """Optuna's study, which proposes the candidates."""
    try:
        import optuna
    except ImportError:
        raise RuntimeError('structure needs Optuna; install it with: pip install "minidl[tune]"') from None
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it says that there is a study
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(5, trials // 4)))
    optuna.logging.set_verbosity(before)
    return study


def value_of(model: Sequential, train: Table, held_out: Table, epochs: int, end: float) -> float:
    """Train a candidate until ``end`` at most: its metric on the rows held out, NaN where it has diverged."""

    def stop(epoch: int, logs: dict | None = None) -> None:
        model.stop_training = model.stop_training or clock() >= end

    best = EarlyStopping(patience=3, restore_best_weights=True)
    model.fit(
        train.X, train.y, epochs=epochs, verbose=0, sample_weight=task_.weights(train, train),
        validation_data=(held_out.X, held_out.y, task_.weights(train, held_out)),
        callbacks=[best, LambdaCallback(on_epoch_end=stop)],
    )  # fmt: skip
    loss, value = cast("list[float]", model.evaluate(held_out.X, held_out.y))
    return value if np.isfinite([loss, value]).all() else np.nan
