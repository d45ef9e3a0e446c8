"""``minidl train``: a network for a CSV, trained and saved."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, cast

from minidl.cli import options
from minidl.cli.options import INTERRUPTED, OK

if TYPE_CHECKING:
    from minidl.data import Table

ACTIVATIONS, OPTIMIZERS = ("relu", "tanh", "sigmoid", "linear"), ("adam", "adamw", "sgd")


def add(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "train",
        help="train a network on a CSV and save it",
        description=(
            "Trains a network on a CSV with a header and saves it, with the names of the columns and\n"
            "of the classes, so that 'minidl predict' can be given another CSV. Whether to choose\n"
            "between classes or to predict a number is read off the target. Some rows are held out to\n"
            "tell how good it is on rows that it has not seen."
        ),
        epilog=(
            "examples:  minidl train flowers.csv --target species --out flowers.safetensors\n"
            "           minidl train houses.csv --target price --task regression --categorical onehot \\\n"
            "                  --missing mean --out houses.safetensors"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("data", metavar="DATA.csv", help="a CSV with a header")
    add("--target", metavar="COLUMN", help="the column to predict")
    add("--out", required=True, metavar="MODEL", help="the file to save the model in")
    options.add_reading(add)
    options.add_network(add, epochs=50)
    add("--activation", type=options.one_of(ACTIVATIONS), default="relu", metavar="|".join(ACTIVATIONS),
        help="of the hidden layers (default: relu)")  # fmt: skip
    add("--optimizer", type=options.one_of(OPTIMIZERS), default="adam", metavar="|".join(OPTIMIZERS),
        help="how the weights are moved (default: adam)")  # fmt: skip
    add("--learning-rate", type=options.positive, metavar="R", help="the step size (default: the optimizer's own)")
    add("--validation-split", type=options.share, default=0.2, metavar="F",
        help="share of the rows held out (default: 0.2; 0 trains on all)")  # fmt: skip
    add("--patience", type=options.whole_number(1), metavar="N",
        help="end once the held-out rows' loss has not become better for N epochs, and keep the best")  # fmt: skip
    add("--quiet", action="store_true", help="no line for each epoch")
    add("--engine", type=options.engine_name, default="auto", metavar="NAME", help="default: auto, the fastest here")


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if given.target is None and given.labels is None:
        parser.error("say which column to predict with --target COLUMN, or give the labels with --labels FILE")
    if given.patience is not None and not given.validation_split:
        parser.error("--patience looks at the rows held out; hold some out with --validation-split")
    from minidl import optimizers, storage, task
    from minidl.callbacks import EarlyStopping
    from minidl.data import read_csv
    from minidl.engines import get_engine

    options.not_over(given.out, (given.data, given.labels))
    storage.check_ending(given.out)
    engine = get_engine(given.engine).name
    table = read_csv(
        given.data, given.target, given.labels, given.missing, given.categorical, drop=given.drop, task=given.task
    )
    task.check(table, repr(given.data))
    rows, held_out = table.split(given.validation_split, given.seed) if given.validation_split else (table, None)
    print(said(table, rows, held_out, given.hidden, engine), flush=True)
    model = task.network(rows, given.hidden, given.activation, given.seed)
    optimizer = optimizers.get(given.optimizer)
    name = table.schema.target.task
    optimizer.learning_rate = given.learning_rate or optimizer.learning_rate
    model.compile(optimizer, task.LOSSES[name], metrics=[task.METRICS[name]], engine=engine)
    watched = []
    if given.patience:
        watched = [EarlyStopping(patience=given.patience, restore_best_weights=True, verbose=1)]
    code = OK
    try:
        model.fit(
            rows, batch_size=given.batch_size, epochs=given.epochs, sample_weight=task.weights(rows, rows),
            verbose=0 if given.quiet else "auto", callbacks=watched,
            validation_data=None if held_out is None else (held_out, None, task.weights(rows, held_out)),
        )  # fmt: skip
    except KeyboardInterrupt:
        if model.history is None or not model.history.epoch:
            raise
        print(f"interrupted after {len(model.history.epoch)} of {given.epochs} epochs; the model is saved as it is now")
        code = INTERRUPTED
    model.save(given.out)
    if held_out is not None:
        loss, metric = cast("list[float]", model.evaluate(held_out, sample_weight=task.weights(rows, held_out)))
        found = f"loss {loss:.4g}, {task.METRICS[name]} {metric:.4g} ({without(rows, held_out)})"
        print(f"on the {len(held_out)} rows held out: {found}")
    print(f"saved: {given.out}")
    return code


def said(table: Table, rows: Table, held_out: Table | None, hidden: tuple[int, ...], engine: str) -> str:
    """What was read and what is made of it, in two lines."""
    import numpy as np

    from minidl import task
    from minidl.checks import listed
    from minidl.words import as_written

    target = table.schema.target
    if target.task == "regression":
        what = f"a number from {as_written(table.y.min())} to {as_written(table.y.max())}"
        more = ""
    else:
        shares = np.bincount(table.y[:, 0].astype(int), minlength=len(target.classes)) / len(table)
        named = ", ".join(f"{label} ({part:.0%})" for label, part in zip(target.classes, shares, strict=True))
        what = f"{len(target.classes)} classes: {named if len(shares) <= 10 else listed(target.classes)}"
        more = "" if target.is_text or len(shares) == 2 else " (--task regression predicts it as a number)"
    constant = [f for f, same in zip(table.schema.features, np.ptp(rows.X, axis=0) == 0, strict=True) if same]
    nothing = f"\nthe same in every row, so nothing can be learnt from: {listed(constant)}" if constant else ""
    widths = "-".join(map(str, (table.X.shape[1], *hidden, task.outputs(target))))
    held = "" if held_out is None else f", {len(held_out)} held out"
    return (
        f"{len(table)} rows of {table.X.shape[1]} features; target {target.name!r}, {what}{more}{nothing}\n"
        f"training a network {widths} on {len(rows)} rows{held}, engine {engine}"
    )


def without(rows: Table, held_out: Table) -> str:
    """How good it would be to know nothing."""
    from minidl import task

    always = "the mean" if rows.schema.target.task == "regression" else "the commonest class"
    return f"always saying {always}: {task.guess(rows, held_out):.4g}"
