"""``minidl evaluate`` and ``minidl predict``: a saved model, used on a CSV."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from minidl.cli import options
from minidl.cli.options import OK

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from minidl.data import Schema


def add_evaluate(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="tell how good a saved model is on a CSV with labels",
        description="Prints the loss and the metrics of a saved model on a CSV with the columns it was trained on.",
        epilog="example:  minidl evaluate flowers.safetensors new.csv --target species",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run_evaluate)
    add = parser.add_argument
    add("model", metavar="MODEL", help="a file that 'minidl train' or model.save has written")
    add("data", metavar="DATA.csv", help="a CSV with the model's columns, in any order")
    add("--target", metavar="COLUMN", help="the column with the labels (default: the one it was trained on)")
    add("--labels", metavar="FILE", help="a second CSV with the labels of DATA.csv, row by row")
    add("--missing", choices=("error", "drop"), default="error", metavar="error|drop",
        help="cells without a value: refuse them, or leave out their rows (default: error)")  # fmt: skip
    add("--engine", type=options.engine_name, metavar="NAME", help="default: the one it was trained with")


def run_evaluate(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from minidl import load_model
    from minidl.data import read_csv

    model = load_model(given.model, engine=given.engine)
    if model.schema is None:
        if given.target is None and given.labels is None:
            parser.error("say which column holds the labels with --target COLUMN, or give them with --labels FILE")
        warn_of_order()
        table = read_csv(given.data, given.target, given.labels, given.missing)
    else:
        table = read_csv(given.data, given.target, given.labels, given.missing, schema=model.schema)
    if table.y is None:
        raise ValueError(f"{given.data!r} has no column {model.schema.target.name!r} to compare the predictions with")
    found = model.evaluate(table.X, table.y, return_dict=True)
    print(f"{given.data}: {len(table)} rows")
    for name in sorted(found, key=lambda name: name != "loss"):
        print(f"{name} {found[name]:.6g}")
    return OK


def add_predict(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "predict",
        help="write a saved model's predictions for a CSV",
        description=(
            "Writes a CSV with one row for each row of DATA.csv: the prediction, and for classes the\n"
            "probability of each. The data are read in parts: a file larger than memory will do."
        ),
        epilog="example:  minidl predict flowers.safetensors new.csv --out predictions.csv",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run_predict)
    add = parser.add_argument
    add("model", metavar="MODEL", help="a file that 'minidl train' or model.save has written")
    add("data", metavar="DATA.csv", help="a CSV with the model's columns, in any order; the target may be missing")
    add("--out", required=True, metavar="FILE", help="the CSV to write")
    add("--engine", type=options.engine_name, metavar="NAME", help="default: the one it was trained with")


def run_predict(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from minidl import load_model
    from minidl.data import read_chunks
    from minidl.files import writable

    writable(given.out)
    model = load_model(given.model, engine=given.engine)
    schema = model.schema or columns_of(given.data, model.layers[0].inputs)
    partial, rows = Path(f"{given.out}.partial"), 0
    try:
        with open(partial, "w", encoding="utf-8", newline="") as file:
            for outputs in (model.predict(X) for X in read_chunks(given.data, schema)):
                table = predictions(schema, outputs)
                table.to_csv(file, index=False, header=rows == 0)
                rows += len(table)
                show(f"{rows:,} rows")
        show("")
        if rows == 0:
            raise ValueError(f"{given.data!r} has no rows below its header")
    except BaseException:
        show("")
        if rows:
            print(f"the predictions of the first {rows:,} rows are in {partial}", file=sys.stderr)
        else:
            partial.unlink(missing_ok=True)
        raise
    os.replace(partial, given.out)
    print(f"{rows:,} predictions written: {given.out}")
    return OK


def predictions(schema: Schema, outputs: np.ndarray) -> pd.DataFrame:
    """A pandas table of what the outputs (rows, o) mean."""
    import numpy as np
    import pandas as pd

    target = schema.target
    if target is None:
        return pd.DataFrame(outputs, columns=[f"output_{place}" for place in range(outputs.shape[1])])
    columns = {f"predicted_{target.name}": schema.decode(outputs)}
    if target.task == "binary":
        outputs = np.concatenate([1 - outputs, outputs], axis=1)
    if target.task != "regression":
        columns |= {f"probability_{label}": outputs[:, place] for place, label in enumerate(target.classes)}
    return pd.DataFrame(columns)


def columns_of(data: str, inputs: int) -> Schema:
    """For a model that was trained on arrays: the file's own columns in their order, as numbers."""
    from minidl.data import Column, Schema
    from minidl.data.text import Source

    columns = Source(data).columns
    if len(columns) != inputs:
        raise ValueError(
            f"the model takes {inputs} features and knows no names of columns, but {data!r} has {len(columns)} columns"
        )
    warn_of_order()
    return Schema(tuple(Column(column) for column in columns))


def warn_of_order() -> None:
    warnings.warn("the model knows no names of columns: it takes those of the file in their order", stacklevel=3)


def show(text: str) -> None:
    """Progress, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r{text:<24}\r", end="", file=sys.stderr, flush=True)
