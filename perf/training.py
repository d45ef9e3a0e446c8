"""Training: one network from the same weights on the same batches, by minidl's fit and each rival's best loop."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from minidl.bench import timing
from perf import cases, options, pictures, results_file, rivals
from perf.ceilings import warn_if_busy
from perf.contest import contest, show


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add(parser, cases.TRAINING, seconds=40)


def main(names: list[str] | None, only: list[str], seconds: float) -> None:
    warn_if_busy()
    contestants = rivals.those_who("trainer", names)
    for name in only:
        case = cases.TRAINING[name]
        print(f"{name}: {case.name}, batch {case.batch_size}, {case.optimizer}, {case.rows:,} rows", flush=True)
        try:
            found = measure(case, contestants, seconds, say=lambda text: print(f"  {text}", flush=True))
        except timing.Disagreement as error:
            print(f"  {error}")
            continue
        show(found["entries"], "an epoch")
        if names is None:
            results_file.add("training", name, found)
    if names is None:
        pictures.draw("training")


def measure(
    case: cases.Case, names: list[str], seconds: float, say: Callable[[str], None] = lambda text: None
) -> dict:
    """What ``contest`` found, its times those of an epoch."""
    found = contest("trainer", case, names, seconds, say=say)
    for entry in found["entries"].values():
        entry["seconds"] /= case.epochs
        entry["quartiles"] = [quartile / case.epochs for quartile in entry["quartiles"]]
        entry["tried"] = {setting: time / case.epochs for setting, time in entry["tried"].items()}
    return found
