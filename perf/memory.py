"""Memory: the most that each rival holds while it trains, in a fresh process, and whether minidl grows over epochs."""

from __future__ import annotations

import argparse

from perf import cases, options, results_file, rivals
from perf.contest import in_words
from perf.worker import Worker

GROWTH = cases.Case(30, (64, 64), "relu", 1_024, epochs=20)
EPOCHS = 1_000


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add(parser, cases.TRAINING)


def main(names: list[str] | None, only: list[str]) -> None:
    contestants = rivals.those_who("trainer", names)
    for name in only:
        print(f"{name}: MB before training (with the data), and at most", flush=True)
        entries = {}
        for rival in contestants:
            reason = rivals.load(rival).why_not()
            try:
                if not reason:
                    entries[rival] = train(rival, cases.TRAINING[name])
            except RuntimeError as error:
                reason = str(error)
            if reason:
                print(f"  {rival}: left out, {reason}", flush=True)
                continue
            found = entries[rival]
            before, peak = (f"{found[key] / 1e6:8.0f}" for key in ("before", "peak"))
            print(f"  {rivals.LABELS[rival]:17}{before}{peak}   {found['setting']}", flush=True)
        if names is None:
            results_file.add("memory", name, {"entries": entries})
    grown = growth()
    print(f"minidl over {EPOCHS:,} epochs of {GROWTH.name}: grown by {grown / 1e6:.2f} MB")
    if names is None:
        results_file.add("memory", "growth", {"epochs": EPOCHS, "bytes": grown})


def train(rival: str, case: cases.Case) -> dict:
    """Bytes before and at most, of two calls with the setting that is tried first."""
    setting = rivals.load(rival).settings("trainer")[0]
    with Worker(rival, setting) as worker:
        worker.set_up("trainer", case)
        before, _ = worker.memory()
        worker.first_call()
        worker.sample(1)
        _, peak = worker.memory()
    if peak is None:
        raise RuntimeError("this system does not say how much memory a process holds")
    return {"before": before or 0, "peak": peak, "setting": in_words(setting)}


def growth() -> int:
    """By how many bytes minidl's process grows over the epochs, after a tenth of them has warmed it up."""
    with Worker("minidl", {}) as worker:
        worker.set_up("trainer", GROWTH)
        worker.first_call()
        worker.sample(EPOCHS // GROWTH.epochs // 10)
        before, _ = worker.memory()
        worker.sample(EPOCHS // GROWTH.epochs)
        after, _ = worker.memory()
    if before is None:
        raise RuntimeError("this system does not say how much memory a process holds")
    return after - before
