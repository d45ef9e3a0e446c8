"""Matrix products: the three that a dense layer needs, by minidl's operations and by the rivals' BLAS libraries."""

from __future__ import annotations

import argparse

from minidl.bench import timing
from perf import cases, options, results_file, rivals
from perf.contest import contest, fastest_rival

SIZES = ("256x784x256", "32x784x256", "256x256x128", "32x64x64", "1024x784x256", "2048x2048x2048")  # n, i, o
OPERATIONS = {"dense": "x W", "dense_backward_W": "x' dz", "dense_backward_x": "dz W'"}


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add(parser, SIZES, seconds=3)


def main(chosen: argparse.Namespace) -> None:
    names = rivals.those_who("product", chosen.rivals)
    absent = {name: rivals.load(name).why_not() for name in names}
    for name in [name for name in names if absent[name]]:
        print(f"{name}: left out, {absent[name]}")
    names = [name for name in names if not absent[name]]
    print(f"GFLOP/s, and how many times faster minidl is than the fastest rival\n{'':42}"
          + "".join(f"{rivals.LABELS[name]:>14}" for name in names))  # fmt: skip
    for size in chosen.only:
        for operation, formula in OPERATIONS.items():
            for setting in rivals.thread_counts():
                case = cases.Product(operation, *map(int, size.split("x")))
                measure(case, size, formula, setting["threads"], names, chosen)


def measure(
    case: cases.Product, size: str, formula: str, threads: int, names: list[str], chosen: argparse.Namespace
) -> None:
    """One product on so many threads: a line, and an entry in the results."""
    place = f"{size:15} {formula:6} {threads} thread{'s' * (threads != 1):1}"
    try:
        found = contest("product", case, names, chosen.seconds, fixed={"threads": threads})
    except timing.Disagreement as error:
        print(f"{place:42} {error}")
        return
    for entry in found["entries"].values():
        entry["gflops"] = case.flops / entry["seconds"] / 1e9
    speeds = (found["entries"].get(name, {}).get("gflops") for name in names)
    rival = fastest_rival(found["entries"])
    times = f"   {found['entries'][rival]['ratio']['value']:.2f}x {rival}" if rival else ""
    print(f"{place:42}" + "".join(f"{speed:14.1f}" if speed else f"{'-':>14}" for speed in speeds) + times, flush=True)
    if chosen.rivals is None:
        results_file.add("ops", f"{size} {case.operation} {threads}", found)
