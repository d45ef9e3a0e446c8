"""Behind ``minidl compare``: one network trained by every engine, every formula checked, and all of it timed."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from minidl import Adam, Callback, Dense, Normalization, Sequential, checks, data
from minidl.bench import machine, operations, timing
from minidl.contract import OPERATIONS
from minidl.engines import ENGINES, get_engine, why_not

if TYPE_CHECKING:
    import pandas as pd

CURVE_TOLERANCE = 1e-4
TEST_SIZE = 0.25
LEAST_ROWS = 10
BUDGETS = {"epoch": 2.0, "one_row": 1.0, "test_set": 1.0, "operation": 0.2}  # seconds of timing, all engines together
# What is timed of the whole network, and the engine's entry that gets its median.
SUMMARIES = {"epoch": "epoch_seconds", "one_row": "predict_seconds", "test_set": "predict_test_set_seconds"}
UNITS = {"ulp": "ulp", "product": "u |A||B|", "relative": "u max|C|"}


class Stages(Protocol):
    """Shows what is being done: ``with stages(text, total) as advance``, and ``advance()`` after each of the parts."""

    def __call__(self, text: str, total: int) -> AbstractContextManager[Callable[[], None]]: ...


@dataclass(frozen=True)
class Settings:
    """What to compare. ``engines`` None takes all that can run here; ``data`` None the shipped data."""

    data: str | None = None
    target: str | None = None
    hidden: tuple[int, ...] = (64, 64)
    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 0.001
    engines: tuple[str, ...] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Data:
    """A task of two classes: X float32 (rows, features) and y float32 (rows, 1), parted for training and testing."""

    name: str
    target: str
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


# --- what to compare ------------------------------------------------------------------------------------------------


def load(settings: Settings) -> Data:
    """The shipped data or the user's CSV. ValueError or OSError, in one sentence, where it cannot be used."""
    if settings.data is None:
        name, target, (X, y) = "breast cancer (Wisconsin diagnostic)", "benign", data.load_breast_cancer()
    else:
        name, (target, X, y) = Path(settings.data).name, read_csv(settings.data, settings.target)
    X, X_test, y, y_test = data.train_test_split(X, y, TEST_SIZE, seed=settings.seed)
    return Data(name, target, X, y, X_test, y_test)


def read_csv(path: str, target: str | None) -> tuple[str, np.ndarray, np.ndarray]:
    """The target's name, X and y of a CSV with a header, numeric columns and a target of 0 and 1."""
    import pandas as pd

    if not Path(path).is_file():
        raise OSError(f"{path!r} is not a file" if Path(path).exists() else f"there is no file {path!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, index_col=False, low_memory=False, skipinitialspace=True)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path!r} is empty") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning):
        raise ValueError(
            f"{path!r} cannot be read as a table: a row has more fields than the header, or a quote is not closed"
        ) from None
    except UnicodeDecodeError:
        raise ValueError(f"{path!r} is no CSV in UTF-8; save it as that") from None
    columns = [str(column) for column in table.columns]
    table.columns = columns
    if len(columns) == 1:
        raise ValueError(f"{path!r} has a single column, {shorten(columns[0])!r}; fields are separated by commas here")
    if target is None:
        raise ValueError(f"say with --target which column of {path!r} to predict: {listed(columns)}")
    if target not in columns:
        hint = checks.did_you_mean(target, columns) if len(columns) <= 20 else f"it has {listed(columns)}"
        raise ValueError(f"{path!r} has no column {target!r}; {hint}")
    if len(table) < LEAST_ROWS:
        raise ValueError(f"{path!r} has {len(table)} rows of data; at least {LEAST_ROWS} are needed")
    values = {column: numbers(table[column], path) for column in columns}
    y = values.pop(target)
    for value in np.unique(y):
        if value not in (0, 1):
            raise ValueError(f"the target {target!r} of {path!r} holds {value:g}; for now it must be 0 or 1")
    if y.min() == y.max():
        raise ValueError(f"the target {target!r} of {path!r} is {y[0]:g} in every row; both 0 and 1 must occur")
    X = np.stack(list(values.values()), axis=1).astype(np.float32)
    return target, X, y.astype(np.float32).reshape(-1, 1)


def numbers(column: pd.Series, path: str) -> np.ndarray:
    """A column of a table as float64; ValueError naming the first cell that float32 cannot hold as a number."""
    import pandas as pd

    place = f"column {column.name!r} of {path!r}"
    missing = np.flatnonzero(column.isna())
    if missing.size:
        raise ValueError(f"{place} has no value in row {missing[0] + 1} below the header; fill it in or drop the row")
    found = pd.to_numeric(column, errors="coerce")
    text = np.flatnonzero(found.isna())
    if text.size:
        value = shorten(str(column.iloc[text[0]]))
        raise ValueError(
            f"{place} holds text, {value!r} in row {text[0] + 1} below the header; for now only numbers can be used"
        )
    values = found.to_numpy(np.float64)
    large = np.flatnonzero(~(np.abs(values) <= np.finfo(np.float32).max))
    if large.size:
        raise ValueError(
            f"{place} holds {values[large[0]]:g} in row {large[0] + 1} below the header; float32 cannot hold that"
        )
    return values


def shorten(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def listed(columns: list[str]) -> str:
    more = f" and {len(columns) - 10} more" if len(columns) > 10 else ""
    return ", ".join(repr(shorten(column)) for column in columns[:10]) + more


def choose_engines(wanted: tuple[str, ...] | None) -> tuple[list[str], dict[str, str]]:
    """The engines to compare, NumPy first as the yardstick, and for every engine why it cannot run ("" if it can).

    RuntimeError where one that was asked for cannot run.
    """
    reasons = {name: why_not(name) for name in ENGINES}
    for name in wanted or ():
        if reasons[name]:
            raise RuntimeError(f"the engine {name!r} cannot run here: {reasons[name]}")
    return [name for name in ENGINES if (name in wanted if wanted else not reasons[name])], reasons


# --- the comparison -------------------------------------------------------------------------------------------------


def compare(settings: Settings, task: Data, engines: list[str], reasons: dict[str, str], stages: Stages) -> dict:
    """The report, as it is written to report.json. Ctrl-C ends the comparison; what is finished by then is in it."""
    report = outline(settings, task, engines, reasons)
    models: dict[str, Sequential] = {}
    try:
        for name in engines:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a training that diverges is an error here
                models[name] = train(settings, task, name, report, stages)
        time_models(settings, task, models, report, stages)
        check_formulas(engines, report, stages)
    except KeyboardInterrupt:
        report["interrupted"] = True
        for name in engines:
            if name not in models:
                report["engines"][name]["reason"] = "interrupted before its training had finished"
    return report


def outline(settings: Settings, task: Data, engines: list[str], reasons: dict[str, str]) -> dict:
    """The report with everything still to be found out."""
    numbers = ("first_call_seconds", *SUMMARIES.values(), "loss", "speedup_vs_numpy")
    return {
        "interrupted": False,
        "problems": [],
        "settings": dataclasses.asdict(settings) | {"data": task.name, "engines": engines},
        "machine": machine.facts(),
        "data": {
            "name": task.name,
            "target": task.target,
            "features": task.X.shape[1],
            "train_rows": len(task.X),
            "test_rows": len(task.X_test),
            "test_share_of_1": float(task.y_test.mean()),
        },
        "engines": {
            name: {
                "available": not reasons[name],
                "reason": reasons[name] or ("" if name in engines else "not asked for"),
                **dict.fromkeys(numbers),
                "metrics": {"accuracy": None},
                "history": {},
                "timings": {},
            }
            for name in ENGINES
        },
        "loss_curves_differ_by": None,
        "formulas": {},
    }


def build(settings: Settings, task: Data, engine: str) -> Sequential:
    """The network, untrained: the seed gives it the same weights and the same batches on every engine."""
    hidden = [Dense(units, "relu") for units in settings.hidden]
    model = Sequential([Normalization(), *hidden, Dense(1, "sigmoid")], seed=settings.seed)
    model.layers[0].adapt(task.X)
    optimizer = Adam(settings.learning_rate)
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"], engine=engine)
    return model


def train(settings: Settings, task: Data, name: str, report: dict, stages: Stages) -> Sequential:
    """Train and test on one engine; its first call, which compiles, is made and timed on a model of its own."""
    entry = report["engines"][name]

    def first_call() -> None:
        model, rows = build(settings, task, name), slice(0, settings.batch_size)
        model.fit(task.X[rows], task.y[rows], settings.batch_size, verbose=0)
        model.evaluate(task.X_test, task.y_test)
        model(task.X_test)

    with stages(f"{name}: first call, which compiles what is not compiled yet", 1) as advance:
        entry["first_call_seconds"], _ = timing.first_call(first_call)
        advance()
    model = build(settings, task, name)
    with stages(f"{name}: training", settings.epochs) as advance:
        model.fit(task.X, task.y, settings.batch_size, settings.epochs, verbose=0, callbacks=[AfterEpoch(advance)])
    finite = np.isfinite(model.history.history["loss"])
    if not finite.all():
        raise ValueError(
            f"the training diverged: the loss of {name} is no finite number in epoch {finite.argmin() + 1}; "
            "try a smaller --learning-rate"
        )
    entry["history"] = model.history.history
    entry["loss"], entry["metrics"]["accuracy"] = model.evaluate(task.X_test, task.y_test)
    return model


class AfterEpoch(Callback):
    def __init__(self, advance: Callable[[], None]):
        self.advance = advance

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.advance()


# --- timing the models ----------------------------------------------------------------------------------------------


def time_models(settings: Settings, task: Data, models: dict[str, Sequential], report: dict, stages: Stages) -> None:
    """Time an epoch and predictions of one row and of the whole test set, the engines in turns, on models of their own.

    An epoch is one call of ``fit``, always the first from the same weights. What the engines do not agree on is not
    timed, and is among the report's problems.
    """
    curves = {name: np.array(report["engines"][name]["history"]["loss"]) for name in models}
    if len(models) > 1:
        reference = next(iter(curves.values()))
        report["loss_curves_differ_by"] = max(curve_difference(reference, curve) for curve in curves.values())
    fresh: dict[str, Sequential] = {}

    def prepare(name: str) -> None:
        fresh[name] = build(settings, task, name)

    def epoch(name: str) -> float:
        return fresh[name].fit(task.X, task.y, settings.batch_size, verbose=0).history["loss"][0]

    equal = equal_models(settings, task, models)
    rivals = {
        "epoch": {name: partial(epoch, name) for name in models},
        "one_row": {name: partial(model, task.X_test[:1]) for name, model in equal.items()},
        "test_set": {name: partial(model, task.X_test) for name, model in equal.items()},
    }
    with stages("timing training and prediction", len(rivals)) as advance:
        for what, calls in rivals.items():
            try:
                if what == "epoch":
                    check_curves(curves)
                found = timing.compare(
                    calls,
                    validate=timing.close(CURVE_TOLERANCE),
                    prepare=prepare if what == "epoch" else None,
                    budget_seconds=BUDGETS[what],
                )
            except timing.Disagreement as error:
                report["problems"].append(f"{what.replace('_', ' ')}: {error}")
            else:
                record(what, found, report)
            advance()


def equal_models(settings: Settings, task: Data, models: dict[str, Sequential]) -> dict[str, Sequential]:
    """A model on each engine with the weights that the first of ``models`` has learnt."""
    weights = next(iter(models.values())).get_weights()
    equal = {name: build(settings, task, name) for name in models}
    for model in equal.values():
        model(task.X_test[:1])  # now it has weights
        model.set_weights(weights)
    return equal


def curve_difference(reference: np.ndarray, curve: np.ndarray) -> float:
    """The largest relative difference of two loss curves, (epochs,) each.

    Once a loss is below a hundredth of where it began, that hundredth is the yardstick: a long training ends in
    numbers whose first digits are rounding that has grown.
    """
    return float(np.max(np.abs(curve - reference) / np.maximum(np.abs(reference), np.abs(reference[0]) / 100)))


def check_curves(curves: dict[str, np.ndarray]) -> None:
    """Raise ``Disagreement`` where an engine's training went another way than the first one's."""
    (reference, expected), *others = curves.items()
    for name, curve in others:
        error = curve_difference(expected, curve)
        if error > CURVE_TOLERANCE:
            raise timing.Disagreement(
                f"the loss curves of {reference} and {name} differ by {error:.2g}, more than {CURVE_TOLERANCE:g}, so "
                "their times are not compared; a smaller --learning-rate or fewer --epochs keep rounding from growing"
            )


def record(what: str, found: timing.Comparison, report: dict) -> None:
    """Put the times of ``what`` into the engines' entries."""
    for name, measured in found.timings.items():
        entry = report["engines"][name]
        entry["timings"][what] = timed(found, name)
        entry[SUMMARIES[what]] = measured.median
        if what == "epoch":
            entry["speedup_vs_numpy"] = entry["timings"][what]["speedup_vs_numpy"]


def timed(found: timing.Comparison, name: str) -> dict:
    """One rival's seconds with their spread, and its speedup over NumPy with the interval, where NumPy took part."""
    measured, speedup = found.timings[name], found.speedups[name]
    by_numpy = found.baseline == "numpy"
    return {
        "seconds": measured.median,
        "quartiles": [measured.low, measured.high],
        "least": measured.least,
        "samples": measured.samples,
        "loops": measured.loops,
        "speedup_vs_numpy": speedup.value if by_numpy else None,
        "speedup_interval": [speedup.low, speedup.high] if by_numpy else None,
    }


# --- the formulas ---------------------------------------------------------------------------------------------------


def check_formulas(engines: list[str], report: dict, stages: Stages) -> None:
    """Each operation's error against the oracle and, on larger arrays, its time, in every engine."""
    names = [name for name, operation in OPERATIONS.items() if operation.formula]
    with stages("checking and timing formulas", len(names)) as advance:
        for name in names:
            report["formulas"][name] = check_formula(name, engines, report["problems"])
            advance()


def check_formula(name: str, engines: list[str], problems: list[str]) -> dict[str, dict]:
    """For each engine the operation's error, bound, unit and times; what is wrong is added to ``problems``."""
    operation, entries = OPERATIONS[name], {}
    for engine in engines:
        error, bound = operations.error(get_engine(engine), name), operation.bound_of(engine)
        entries[engine] = {
            "max_ulp" if operation.measure == "ulp" else "max_error": error,
            "unit": UNITS[operation.measure],
            "bound": bound,
            "seconds": None,
        }
        if not error <= bound:
            off = f"{error:.3g} {UNITS[operation.measure]}"
            problems.append(f"{name} in {engine} is off by {off}, more than its bound of {bound:g}")
    arguments = operations.sample(name, large=True)
    rivals = {engine: operations.rival(get_engine(engine), name, arguments) for engine in engines}

    def agree(_: dict[str, object]) -> None:
        timing.close()({engine: operations.call(get_engine(engine), name, arguments) for engine in engines})

    try:
        found = timing.compare(rivals, validate=agree, budget_seconds=BUDGETS["operation"])
    except timing.Disagreement as error:
        problems.append(f"{name}: {error}")
        return entries
    for engine in engines:
        entries[engine] |= timed(found, engine) | {"timed_on": sizes(arguments)}
    return entries


def sizes(arguments: tuple) -> str:
    """The shapes of the arrays among the arguments, in words."""
    shapes = [argument.shape for argument in arguments if isinstance(argument, np.ndarray)]
    return ", ".join("x".join(map(str, shape)) for shape in shapes)
