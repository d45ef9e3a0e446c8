"""``minidl export``: a saved model as an ONNX file."""

from __future__ import annotations

import argparse

from minidl.cli import options
from minidl.cli.options import OK


def add(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "export",
        help="write a saved model as an ONNX file",
        description=(
            "Writes a saved model as an ONNX file, which ONNX Runtime and others run. The file also\n"
            "holds the names of the columns and of the classes, where the model knows them. A quantized\n"
            "model stays in whole numbers."
        ),
        epilog="example:  minidl export flowers.safetensors --out flowers.onnx",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("model", metavar="MODEL", help="a file that 'minidl train' or model.save has written")
    add("--out", required=True, metavar="FILE.onnx", help="the file to write")


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from minidl import load_model

    options.not_over(given.out, (given.model,))
    load_model(given.model, engine="numpy").export(given.out)  # nothing is computed, so any engine will do
    print(f"written: {given.out}")
    return OK
