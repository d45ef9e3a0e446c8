"""A search for the best network whose calls are fast enough: what would be too slow is not even trained."""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from minidl import checks, progress
from minidl import task as task_
from minidl.callbacks import EarlyStopping, LambdaCallback
from minidl.data import Column, Schema, Table
from minidl.data.schema import TASKS
from minidl.data.tables import target_of_numbers
from minidl.engines import get_engine
from minidl.inference.tune.asked import pair, positive
from minidl.inference.tune.latency import LatencyModel, medians
from minidl.inference.tune.trials import Structure, Trial, worth
from minidl.layers import Dense
from minidl.model import Sequential

HELD_OUT = 0.2  # of the rows, where no others are given to choose by
PATIENCE = 3  # epochs without a better loss on the rows held out
LEARNT_FROM = 14  # networks, measured at the start
TIMING = 2.0  # seconds, at most, to measure the first networks, and to measure those that were trained

Hidden = tuple[int, ...]


def structure(
    data: Table | tuple,
    latency_ms: float,
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
    *,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Structure:
    """Search for the numbers of hidden layers and units that are best on rows held out, within a bound on the time.

    data: (X, y) or a ``minidl.data.Table``, of which a fifth of the rows, drawn at random, is held out to choose by; or
        (X, y, X_val, y_val) with those. y: numbers, or class indices from 0 on; (rows,) or (rows, 1).
    latency_ms: the bound in milliseconds of a call of so many ``rows``, by the median.
    trials: candidates, with those that are not trained. seconds: for all; where they are over, training ends.
    widths, depths: the least and the largest number of units in a hidden layer, and of hidden layers.
    task: "binary", "multiclass" or "regression"; left out, it is read off y as by ``read_csv``. The best is the one
        with the highest accuracy or the least mean absolute error; of equal ones that with the fewest weights.
    epochs: at most, of each candidate; it ends after 3 without a better loss on the rows held out, and keeps the best.
    engine: that the networks run on. seed: of the search, of all networks, and of the rows held out. clock:
        nanoseconds.

    A ``LatencyModel`` learns at the start from a few networks that are measured, and predicts the time of each
    candidate. What would be beyond the bound is not trained. The others are trained (Adam; task.py says how they begin
    and end), and in the end all of them are measured in turns. Candidates are drawn by Optuna's TPE sampler, the first
    is the smallest. With one seed they are the same again, as far as times do not decide: near the bound, or when
    ``seconds`` are over.

    Raises RuntimeError where Optuna is not installed (``pip install "minidl[tune]"``), TypeError or ValueError for
    arguments out of range and data that cannot be learnt.
    """
    latency_ms, seconds = positive(latency_ms, "latency_ms"), positive(seconds, "seconds")
    rows, trials = checks.whole_number(rows, "rows", 1), checks.whole_number(trials, "trials", 1)
    widths, depths = pair(widths, "widths", 1), pair(depths, "depths", 1)
    epochs, seed = checks.whole_number(epochs, "epochs", 1), checks.whole_number(seed, "seed", 0)
    verbose, engine = progress.resolve(verbose), get_engine(engine).name
    train, held_out = parted(data, task, seed)
    if importlib.util.find_spec("optuna") is None:
        raise RuntimeError('structure needs Optuna; install it with: pip install "minidl[tune]"')
    end, spent = clock() + seconds * 1e9, min(TIMING, seconds / 10)
    kind, x = train.schema.target.task, np.resize(train.X, (rows, train.X.shape[1]))
    loss, metric = task_.LOSSES[kind], task_.METRICS[kind]

    def network(hidden: Hidden) -> Sequential:
        model = task_.network(train, hidden, seed=seed)
        model.compile("adam", loss, metrics=[metric], engine=engine)
        return model

    first = {chain_of(model): partial(model, x) for model in map(network, drawn(widths, depths, seed))}
    times = LatencyModel(engine).learn([(chain, rows, taken) for chain, taken in medians(first, spent, clock).items()])
    found: dict[Hidden, Trial] = {}
    models: dict[Hidden, Sequential] = {}
    remarks = []
    with progress.bar(verbose, f"{trials} networks, at most about {seconds:g} s", trials) as done:
        for number, (hidden, tell) in enumerate(candidates(trials, widths, depths, seed, metric == "accuracy")):
            if number and clock() >= end:
                remarks.append(f"The time was over after {number} of {trials} trials.")
                break
            if hidden not in found:
                model = network(hidden)
                trial = Trial(hidden, model.count_params(), times.predict(chain_of(model), rows))
                if trial.predicted * 1e3 <= latency_ms:
                    models[hidden] = model
                    value, epochs_ = trained(model, train, held_out, epochs, lambda: clock() >= end)
                    trial = replace(trial, value=value, epochs=epochs_)
                found[hidden] = trial
            tell(found[hidden])
            done(number + 1)
    calls = {hidden: partial(models[hidden], x) for hidden, trial in found.items() if trial.value is not None}
    for hidden, taken in medians(calls, spent, clock).items():
        found[hidden] = replace(found[hidden], measured=taken)
    within = [trial for trial in found.values() if trial.measured is not None and trial.measured * 1e3 <= latency_ms]
    chosen = min(within, key=partial(worth, metric=metric), default=None)
    best = models[chosen.hidden] if chosen else None
    return Structure(latency_ms, rows, metric, tuple(found.values()), chosen, best, tuple(remarks))


# --- data -----------------------------------------------------------------------------------------------------------


def parted(data: object, task: str | None, seed: int) -> tuple[Table, Table]:
    """The rows to train on and the rows held out, in float32."""
    if task is not None:
        checks.one_of(task, "task", TASKS)
    if isinstance(data, Table):
        if data.y is None:
            raise ValueError("the table has no target: read it with read_csv(path, target=...)")
        task, data = task or data.schema.target.task, tuple(data)
    if not isinstance(data, tuple | list) or len(data) not in (2, 4):
        raise TypeError(f"data must be (X, y), (X, y, X_val, y_val) or a Table, not {checks.shown(data)}")
    X, y = arrays(*data[:2])
    X_val, y_val = arrays(*data[2:], "X_val", "y_val", X.shape[1]) if len(data) == 4 else (X[:0], y[:0])
    numbers = np.unique(np.concatenate([y, y_val]))
    target = target_of_numbers("y", set(numbers.tolist()), task, "y")
    table = Table(X, y, Schema(tuple(Column(f"x{place}") for place in range(X.shape[1])), target))
    task_.check(table, "the data")
    if target.classes and not np.array_equal(numbers, np.arange(len(numbers))):
        raise ValueError(
            f"y holds the classes {checks.listed(target.classes)}, but they must be numbered from 0 on without a gap: "
            "give np.unique(y, return_inverse=True)[1], or task='regression' to predict numbers"
        )
    return (table, Table(X_val, y_val, table.schema)) if len(data) == 4 else table.split(HELD_OUT, seed)


def arrays(X: object, y: object, name: str = "X", of_y: str = "y", inputs: int | None = None) -> tuple:
    """X float32 (rows, features) and y float32 (rows, 1)."""
    X, y = checks.features(X, np.dtype(np.float32), inputs, name), checks.numeric(y, of_y)
    if y.shape not in ((len(X),), (len(X), 1)):
        raise ValueError(f"{of_y} has the shape {y.shape}, but {name} has {len(X)} rows: it must be ({len(X)},)")
    return X, checks.clean(y.reshape(-1, 1), of_y, np.dtype(np.float32))


# --- candidates -----------------------------------------------------------------------------------------------------


def drawn(widths: tuple[int, int], depths: tuple[int, int], seed: int) -> list[Hidden]:
    """Hidden layers to learn times from: the smallest, the largest, and others drawn as the search draws its own."""
    rng, found = np.random.default_rng(seed), [(widths[0],) * depths[0], (widths[1],) * depths[1]]
    for _ in range(LEARNT_FROM - len(found)):
        sizes = np.exp(rng.uniform(*np.log(widths), rng.integers(*depths, endpoint=True)))
        found.append(tuple(np.rint(sizes).astype(int).tolist()))
    return found


def chain_of(model: Sequential) -> tuple[int, ...]:
    """The inputs and each Dense layer's units."""
    return (model.layers[0].inputs, *(layer.units for layer in model.layers if isinstance(layer, Dense)))


def candidates(
    trials: int, widths: tuple[int, int], depths: tuple[int, int], seed: int, larger_is_better: bool
) -> Iterator[tuple[Hidden, Callable[[Trial], None]]]:
    """Hidden layers as Optuna proposes them, each with a function that is told what became of it."""
    import optuna
    from optuna.trial import TrialState

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it says that there is a study
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(5, trials // 4))
    study = optuna.create_study(sampler=sampler, direction="maximize" if larger_is_better else "minimize")
    optuna.logging.set_verbosity(before)
    study.enqueue_trial({"layers": depths[0]} | {f"units_{n}": widths[0] for n in range(1, depths[0] + 1)})
    for _ in range(trials):
        asked = study.ask()
        layers = asked.suggest_int("layers", *depths)
        hidden = tuple(asked.suggest_int(f"units_{n}", *widths, log=True) for n in range(1, layers + 1))

        def tell(trial: Trial, asked: optuna.trial.Trial = asked) -> None:
            without = TrialState.FAIL if trial.epochs else TrialState.PRUNED
            study.tell(asked, trial.value, without if trial.value is None else TrialState.COMPLETE)

        yield hidden, tell


def trained(
    model: Sequential, train: Table, held_out: Table, epochs: int, over: Callable[[], bool]
) -> tuple[float | None, int]:
    """Train a candidate: its metric on the rows held out, None where it has diverged, and for how many epochs."""

    def stop(epoch: int, logs: dict | None = None) -> None:
        model.stop_training = model.stop_training or over()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what has diverged is among the trials as such
        history = model.fit(
            train.X, train.y, epochs=epochs, verbose=0, sample_weight=task_.weights(train, train),
            validation_data=(held_out.X, held_out.y, task_.weights(train, held_out)),
            callbacks=[EarlyStopping(patience=PATIENCE, restore_best_weights=True), LambdaCallback(on_epoch_end=stop)],
        )  # fmt: skip
    loss, value = model.evaluate(held_out.X, held_out.y)
    return (value if np.isfinite([loss, value]).all() else None), len(history.epoch)
