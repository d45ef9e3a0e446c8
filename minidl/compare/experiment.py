"""Behind ``minidl compare``: one network trained by every engine, every formula checked, and all of it timed."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from minidl import Adam, Callback, Sequential, data, task
from minidl.bench import machine, operations, timing
from minidl.checks import listed
from minidl.compare import MODEL_TIMES
from minidl.contract import OPERATIONS, UNITS
from minidl.data import Table, Target
from minidl.data.text import Source
from minidl.engines import ENGINES, get_engine, why_not

CURVE_TOLERANCE = 1e-4
TEST_SIZE = 0.25
BUDGETS = {"epoch": 2.0, "one_row": 1.0, "test_set": 1.0, "operation": 0.2}  # seconds of timing, all engines together
SUMMARIES = {what: summary for what, _, summary in MODEL_TIMES}


class Stages(Protocol):
    """Shows what is being done: ``with stages(text, total) as advance``, and ``advance()`` after each of the parts."""

    def __call__(self, text: str, total: int) -> AbstractContextManager[Callable[[], None]]: ...


@dataclass(frozen=True)
class Settings:
    """What to compare. ``engines`` None takes all that can run here; ``data`` None the shipped data.

    ``target``, ``labels``, ``missing``, ``categorical``, ``drop`` and ``task`` are those of ``minidl.data.read_csv``.
    """

    data: str | None = None
    target: str | None = None
    labels: str | None = None
    missing: str = "error"
    categorical: str = "error"
    drop: tuple[str, ...] = ()
    task: str | None = None
    hidden: tuple[int, ...] = (64, 64)
    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 0.001
    engines: tuple[str, ...] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Data:
    """A table parted for training and testing, in float32, so that no engine has to convert it."""

    name: str
    rows: Table
    held_out: Table

    @property
    def weights(self) -> np.ndarray | None:
        """What each row weighs in the training."""
        return task.weights(self.rows, self.rows)

    @property
    def target(self) -> Target:
        return self.rows.schema.target

    @property
    def metric(self) -> str:
        """The metric that tells how good a network is."""
        return task.METRICS[self.target.task]


# --- what to compare ------------------------------------------------------------------------------------------------


def load(settings: Settings) -> Data:
    """The shipped data or the user's CSV. ValueError or OSError, in one sentence, where it cannot be used."""
    path, target = settings.data, settings.target
    name = Path(path).name if path else "breast cancer (Wisconsin diagnostic)"
    if path is None:
        path, target = data.BREAST_CANCER, "benign"
    elif target is None and settings.labels is None:
        raise ValueError(f"say with --target which column of {path!r} to predict: {listed(Source(path).columns)}")
    table = data.read_csv(
        path, target, settings.labels, settings.missing, settings.categorical, drop=settings.drop, task=settings.task
    )
    task.check(table, repr(path))
    rows, held_out = table.split(TEST_SIZE, settings.seed)
    return Data(name, rows.astype(np.float32), held_out.astype(np.float32))


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


def compare(settings: Settings, given: Data, engines: list[str], reasons: dict[str, str], stages: Stages) -> dict:
    """The report, as it is written to report.json. Ctrl-C ends the comparison; what is finished by then is in it."""
    report = outline(settings, given, engines, reasons)
    models: dict[str, Sequential] = {}
    try:
        for name in engines:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a training that diverges is an error here
                models[name] = train(settings, given, name, report, stages)
        time_models(settings, given, models, report, stages)
        check_formulas(engines, report, stages)
    except KeyboardInterrupt:
        report["interrupted"] = True
        for name in engines:
            entry = report["engines"][name]
            if not entry["finished"]:
                done = len(entry["history"].get("loss", []))
                when = f"after {done} of {settings.epochs} epochs" if done else "before its training had finished"
                entry["reason"] = f"interrupted {when}"
    return report


def outline(settings: Settings, given: Data, engines: list[str], reasons: dict[str, str]) -> dict:
    """The report with everything still to be found out."""
    numbers = ("first_call_seconds", *SUMMARIES.values(), "loss", "speedup_vs_numpy")
    return {
        "interrupted": False,
        "problems": [],
        "settings": dataclasses.asdict(settings) | {"data": given.name, "engines": engines},
        "machine": machine.facts(),
        "data": {
            "name": given.name,
            "target": given.target.name,
            "features": given.rows.X.shape[1],
            "task": given.target.task,
            "outputs": task.outputs(given.target),
            "metric": given.metric,
            "train_rows": len(given.rows.X),
            "test_rows": len(given.held_out.X),
            "without_a_network": task.guess(given.rows, given.held_out),
        },
        "engines": {
            name: {
                "available": not reasons[name],
                "reason": reasons[name] or ("" if name in engines else "not asked for"),
                "finished": False,
                **dict.fromkeys(numbers),
                "metrics": {given.metric: None},
                "history": {},
                "timings": {},
            }
            for name in ENGINES
        },
        "loss_curves_differ_by": None,
        "formulas": {},
    }


def build(settings: Settings, given: Data, engine: str) -> Sequential:
    """The network, untrained: the seed gives it the same weights and the same batches on every engine."""
    model = task.network(given.rows, settings.hidden, seed=settings.seed)
    model.layers[0].adapt(given.rows.X)
    loss = task.LOSSES[given.target.task]
    model.compile(Adam(settings.learning_rate), loss, metrics=[given.metric], engine=engine)
    return model


def train(settings: Settings, given: Data, name: str, report: dict, stages: Stages) -> Sequential:
    """Train and test on one engine; its first call, which compiles, is made and timed on a model of its own.

    Where Ctrl-C ends the training, the epochs done and the test of the network as it is then are in the report.
    """
    entry = report["engines"][name]

    def first_call() -> None:
        model, rows = build(settings, given, name), slice(0, settings.batch_size)
        weights = None if given.weights is None else given.weights[rows]
        model.fit(given.rows.X[rows], given.rows.y[rows], settings.batch_size, verbose=0, sample_weight=weights)
        model.evaluate(given.held_out.X, given.held_out.y)
        model(given.held_out.X)

    with stages(f"{name}: first call, which compiles what is not compiled yet", 1) as advance:
        entry["first_call_seconds"], _ = timing.first_call(first_call)
        advance()
    model = build(settings, given, name)
    with stages(f"{name}: training", settings.epochs) as advance:
        calls = [AfterEpoch(advance)]
        try:
            model.fit(
                given.rows.X, given.rows.y, settings.batch_size, settings.epochs, verbose=0, callbacks=calls,
                sample_weight=given.weights,
            )  # fmt: skip
        except KeyboardInterrupt:
            if model.history is not None and model.history.epoch:
                put_in(entry, model, given)
            raise
    finite = np.isfinite(model.history.history["loss"])
    if not finite.all():
        raise ValueError(
            f"the training diverged: the loss of {name} is no finite number in epoch {finite.argmin() + 1}; "
            "try a smaller --learning-rate"
        )
    put_in(entry, model, given)
    entry["finished"] = True
    return model


def put_in(entry: dict, model: Sequential, given: Data) -> None:
    """Put the history of a model and how good it is on the rows held out into an engine's entry."""
    entry["loss"], entry["metrics"][given.metric] = model.evaluate(given.held_out.X, given.held_out.y)
    entry["history"] = model.history.history


class AfterEpoch(Callback):
    def __init__(self, advance: Callable[[], None]):
        self.advance = advance

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.advance()


# --- timing the models ----------------------------------------------------------------------------------------------


def time_models(settings: Settings, given: Data, models: dict[str, Sequential], report: dict, stages: Stages) -> None:
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
        fresh[name] = build(settings, given, name)

    def epoch(name: str) -> float:
        return fresh[name].fit(given.rows.X, given.rows.y, settings.batch_size, verbose=0).history["loss"][0]

    equal = equal_models(settings, given, models)
    rivals = {
        "epoch": {name: partial(epoch, name) for name in models},
        "one_row": {name: partial(model, given.held_out.X[:1]) for name, model in equal.items()},
        "test_set": {name: partial(model, given.held_out.X) for name, model in equal.items()},
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


def equal_models(settings: Settings, given: Data, models: dict[str, Sequential]) -> dict[str, Sequential]:
    """A model on each engine with the weights that the first of ``models`` has learnt."""
    weights = next(iter(models.values())).get_weights()
    equal = {name: build(settings, given, name) for name in models}
    for model in equal.values():
        model(given.held_out.X[:1])  # now it has weights
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
