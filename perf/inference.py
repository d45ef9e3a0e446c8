"""Inference: rows through a trained network, by model(x) and by each rival's fastest way, from one row to thousands."""

from __future__ import annotations

import argparse

from minidl.bench import timing
from perf import cases, options, pictures, results_file, rivals
from perf.ceilings import warn_if_busy
from perf.contest import contest, show


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add(parser, cases.INFERENCE, seconds=10)


def main(names: list[str] | None, only: list[str], seconds: float) -> None:
    warn_if_busy()
    contestants = rivals.those_who("predictor", names)
    for name in only:
        case = cases.INFERENCE[name]
        print(f"{name}: {case.name}, {case.rows:,} {'row' if case.rows == 1 else 'rows'}", flush=True)
        say = lambda text: print(f"  {text}", flush=True)  # noqa: E731
        try:
            found = contest("predictor", case, contestants, seconds, say=say)
        except timing.Disagreement as error:
            print(f"  {error}")
            continue
        show(found["entries"], "a call")
        if names is None:
            results_file.add("inference", name, found)
    if names is None:
        pictures.draw("inference")
