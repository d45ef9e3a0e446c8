"""Matrix products: the three that a dense layer needs, by minidl's operations and by the rivals' BLAS libraries."""

from __future__ import annotations

import argparse

from minidl.bench import timing
from minidl.words import times
from perf import cases, options, results_file, rivals
from perf.ceilings import warn_if_busy
from perf.contest import contest, fastest_rival, in_words

SIZES = ("256x784x256", "32x784x256", "256x256x128", "32x64x64", "1024x784x256", "2048x2048x2048")  # n, i, o
OPERATIONS = {"dense": "x W", "dense_backward_W": "x' dz", "dense_backward_x": "dz W'"}


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add(parser, SIZES, seconds=3)


def main(names: list[str] | None, only: list[str], seconds: float) -> None:
    warn_if_busy()
    absent = {name: rivals.load(name).why_not() for name in rivals.those_who("product", names)}
    for name, reason in absent.items():
        if reason:
            print(f"{name}: left out, {reason}")
    contestants = [name for name, reason in absent.items() if not reason]
    print(f"GFLOP/s, and how many times faster minidl is than the fastest rival\n{'':42}"
          + "".join(f"{rivals.LABELS[name]:>14}" for name in contestants))  # fmt: skip
    for size in only:
        for operation, formula in OPERATIONS.items():
            for setting in rivals.thread_counts():
                case = cases.Product(operation, *map(int, size.split("x")))
                line, found = measure(case, setting, contestants, seconds)
                print(f"{size:15} {formula:6} {in_words(setting):11}        {line}", flush=True)
                if found and names is None:
                    results_file.add("ops", f"{size} {operation}, {in_words(setting)}", found)


def measure(
    case: cases.Product, setting: dict, contestants: list[str], seconds: float
) -> tuple[str, dict | None]:
    """One product with a setting for all: the speeds as a line, and what ``contest`` found, with ``gflops``."""
    try:
        found = contest("product", case, contestants, seconds, fixed=setting)
    except timing.Disagreement as error:
        return str(error), None
    entries = found["entries"]
    for entry in entries.values():
        entry["gflops"] = case.flops / entry["seconds"] / 1e9
    speeds = [f"{entries[name]['gflops']:14.1f}" if name in entries else f"{'-':>14}" for name in contestants]
    rival = fastest_rival(entries)
    return "".join(speeds) + (f"   {times(entries[rival]['ratio']['value'])} {rival}" if rival else ""), found
