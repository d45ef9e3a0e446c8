"""Inference: rows through a trained network, by model(x) and by each rival's fastest way, from one row to thousands.

Then in int8: minidl's predictor and ONNX Runtime's static quantisation per channel, beside float32.
"""

from __future__ import annotations

import argparse

from minidl.bench import timing
from perf import cases, options, pictures, results_file, rivals
from perf.ceilings import warn_if_busy
from perf.contest import contest, show


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add(parser, cases.INFERENCE | cases.INT8, seconds=10)


def main(names: list[str] | None, only: list[str], seconds: float) -> None:
    warn_if_busy()
    for name in only:
        what, case = ("int8", cases.INT8[name]) if name in cases.INT8 else ("predictor", cases.INFERENCE[name])
        contestants = rivals.those_who(what, names)
        print(f"{name}: {case.name}, {case.rows:,} {'row' if case.rows == 1 else 'rows'}", flush=True)
        say = lambda text: print(f"  {text}", flush=True)  # noqa: E731
        try:
            found = contest(what, case, contestants, seconds, say=say)
        except timing.Disagreement as error:
            print(f"  {error}")
            continue
        show(found["entries"], "a call")
        if names is None:
            results_file.add("int8" if what == "int8" else "inference", name, found)
    if names is None:
        pictures.draw("inference")
        pictures.draw("int8")
