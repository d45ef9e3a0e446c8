"""``minidl evaluate`` and ``minidl predict``: a saved model, used on a CSV."""

from __future__ import annotations

import argparse
import sys
import warnings
from typing import TYPE_CHECKING, cast

from minidl.cli import options
from minidl.cli.options import OK

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from minidl import Sequential
    from minidl.data import Schema
    from minidl.data.text import Source
    from minidl.inference.quantize import QuantizedModel


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
        missing = "" if model.schema.target is None else f" {model.schema.target.name!r}"
        raise ValueError(f"{given.data!r} has no column{missing} to compare the predictions with; name it by --target")
    found = cast("dict[str, float]", model.evaluate(table.X, table.y, return_dict=True))
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
    from minidl import files, load_model
    from minidl.data import read_chunks
    from minidl.data.text import Source

    target = options.not_over(given.out, (given.data, given.model))
    model = load_model(given.model, engine=given.engine)
    source = Source(given.data)
    schema = model.schema or columns_of(source, model)
    partial, rows = f"{target}.partial", 0
    try:
        with files.replacing(given.out, keep_as=partial) as file:
            for X in read_chunks(source, schema):
                table = predictions(schema, as_probabilities(model, model.predict(X)))
                table.to_csv(file, index=False, header=rows == 0)
                rows += len(table)
                show(f"{rows:,} rows")
            if rows == 0:
                raise ValueError(f"{given.data!r} has no rows below its header")
    except BaseException:
        if rows:
            print(f"the predictions of the first {rows:,} rows are in {given.out}.partial", file=sys.stderr)
        raise
    finally:
        show("")
    print(f"{rows:,} predictions written: {given.out}")
    return OK


def predictions(schema: Schema, outputs: np.ndarray) -> pd.DataFrame:
    """A pandas table of what the outputs (rows, o) mean."""
    import pandas as pd

    target = schema.target
    if target is None:
        return pd.DataFrame(outputs, columns=[f"output_{place}" for place in range(outputs.shape[1])])
    columns = {f"predicted_{target.name}": schema.decode(outputs)}
    if target.classes:
        probabilities = schema.probabilities(outputs)
        columns |= {f"probability_{label}": probabilities[:, place] for place, label in enumerate(target.classes)}
    return pd.DataFrame(columns)


def as_probabilities(model: Sequential | QuantizedModel, outputs: np.ndarray) -> np.ndarray:
    """The outputs, put through sigmoid or softmax where the model gives logits and its loss does that."""
    from minidl import get_engine
    from minidl.losses import BinaryCrossentropy

    if model.loss is None or not model.loss.from_logits:
        return outputs
    engine = get_engine("numpy")
    return engine.sigmoid(outputs) if isinstance(model.loss, BinaryCrossentropy) else engine.softmax(outputs)


def columns_of(source: Source, model: Sequential | QuantizedModel) -> Schema:
    """For a model that was trained on arrays: the file's own columns in their order, as numbers."""
    from minidl import Sequential
    from minidl.data import Column, Schema

    if isinstance(model, Sequential):
        model._require_built()
    inputs, columns = model._program.inputs, source.columns
    if len(columns) != inputs:
        raise ValueError(
            f"the model takes {inputs} features and knows no names of columns, but {source.name} has {len(columns)} "
            "columns"
        )
    warn_of_order()
    return Schema(tuple(Column(column) for column in columns))


def warn_of_order() -> None:
    warnings.warn("the model knows no names of columns: it takes those of the file in their order", stacklevel=3)


def show(text: str) -> None:
    """Progress, where somebody watches."""
    if sys.stderr.isatty():
        print(f"\r{text:<24}\r", end="", file=sys.stderr, flush=True)
