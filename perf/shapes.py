"""Other shapes: training and inference on random networks and batches that nothing was tuned for, odd numbers all."""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from minidl.bench import timing
from minidl.words import duration
from perf import cases, options, results_file, rivals, training
from perf.ceilings import warn_if_busy
from perf.contest import contest, fastest_rival

FLOPS = 1e9  # about so many in an epoch
USUAL = ["numpy", "pytorch", "jax", "onnxruntime"]  # the others are never the fastest, or take long to set up


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add(parser, seconds=5)
    parser.add_argument("--shapes", type=int, default=12, metavar="N", help="how many networks (default: 12)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="that they are drawn with (default: 0)")


def draw(rng: np.random.Generator) -> cases.Case:
    """1 to 6 layers, 3 to 1,499 units in each, batches of 1 to 4,095 rows, the last one ragged."""
    # A small rate, since it changes no time, and large networks would magnify the last bits. Sigmoids go without Adam:
    # its epsilon stands at another place in PyTorch, which shows where the gradients of many sigmoids vanish.
    units = [odd(rng, 3, 1_499) for _ in range(rng.integers(1, 7))]
    batch_size = odd(rng, 1, 4_095)
    activation, optimizer = (("relu", "adam"), ("relu", "sgd"), ("sigmoid", "sgd"))[rng.integers(3)]
    one = cases.Case(units[0], tuple(units[1:]), activation, batch_size, optimizer, batch_size, 3, 1e-4)
    batches = int(np.clip(FLOPS / (3 * one.flops), 2, 100))
    ragged = (1 + int(rng.integers(max(1, batch_size - 1)))) % batch_size  # 1 to batch_size - 1; 0 where that is 1
    return replace(one, rows=batches * batch_size + ragged)


def odd(rng: np.random.Generator, low: int, high: int) -> int:
    """An odd number between two odd ones, small ones as likely as large ones."""
    return min(int(np.exp(rng.uniform(np.log(low), np.log(high + 1)))) | 1, high)


def main(names: list[str] | None, seconds: float, shapes: int, seed: int) -> None:
    warn_if_busy()
    rng, lost, count, missing = np.random.default_rng(seed), [], 0, set()
    for _ in range(shapes):
        case = draw(rng)
        once = replace(case, rows=case.batch_size)
        network = f"{case.name}, {case.activation}"
        titles = {
            "trainer": f"{network}, batch {case.batch_size:,}, {case.optimizer}, {case.rows:,} rows",
            "predictor": f"{network}, inference of {once.rows:,} row{'s' * (once.rows > 1)}",
        }
        for what, title in titles.items():
            contestants = rivals.those_who(what, names or USUAL)
            count += 1
            try:
                if what == "trainer":
                    found = training.measure(case, contestants, seconds)
                else:
                    found = contest(what, once, contestants, seconds)
            except timing.Disagreement as error:
                print(f"{title}: {error}")
                lost.append(title)
                continue
            for name in sorted(found["left_out"].keys() - missing):  # each is said once
                print(f"{rivals.LABELS[name]}: left out, {found['left_out'][name]}")
            missing |= found["left_out"].keys()
            line, slower = judged(found["entries"])
            print(f"{title}: {line}", flush=True)
            lost += [title] * slower
            if names is None:
                results_file.add("shapes", title, found)
    print(f"slower than the fastest rival in {len(lost)} of {count}" + "".join(f"\n  {title}" for title in lost))


def judged(entries: dict[str, dict]) -> tuple[str, bool]:
    """Minidl's time and its ratio to the fastest rival, in words, and whether it is slower, beyond doubt."""
    rival = fastest_rival(entries)
    if rival is None or "minidl" not in entries:
        return "nobody to compare", False
    ratio, seconds = entries[rival]["ratio"], entries["minidl"]["seconds"]
    slower = ratio["high"] < 1
    words = f"{ratio['value']:.2f}x {rival} ({ratio['low']:.2f} to {ratio['high']:.2f}), {entries[rival]['setting']}"
    return f"{duration(seconds)}, {words}{'   SLOWER' * slower}", slower
