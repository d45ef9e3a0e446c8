"""A contest: the rivals on one case, each checked first, then at its best setting, and timed in turns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict

from minidl.bench import timing
from minidl.words import duration
from perf import rivals
from perf.worker import Worker

TRIAL_SECONDS = 1.0  # for finding a rival's best setting
SAMPLE_NS = 2_000_000  # longer than within one process, since a worker that was stopped has to wake up
REPEAT = (5, 50)


def contest(
    what: str, case: object, names: list[str], budget_seconds: float, *, fixed: dict | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict:  # fmt: skip
    """The rivals' seconds per call, how many times faster the first one is (95% interval), and who was left out, why.

    ``what`` is the function of theirs that makes the calls: trainer, predictor or product. ``fixed`` is a setting for
    all instead of those worth trying; ``say`` is told how far it is. Raises ``timing.Disagreement`` where a rival
    computes something else than the first, and RuntimeError where the first cannot run.
    """
    workers: dict[str, Worker] = {}
    left_out: dict[str, str] = {}
    with ExitStack() as stack:
        for name in names:
            reason = rivals.load(name).why_not()
            if not reason:
                say(f"{rivals.LABELS[name]} ...")
                settings = rivals.load(name).settings(what) if fixed is None else [fixed]
                try:
                    workers[name] = best(what, case, name, settings, next(iter(workers.values()), None), stack)
                except RuntimeError as error:
                    reason = str(error)
            if reason and name == names[0]:
                raise RuntimeError(f"{name} is what the others are compared with, and cannot run: {reason}")
            if reason:
                left_out[name] = reason
                say(f"{name}: left out, {reason}")
        say("in turns ...")
        found = timing.compare(workers, repeat=REPEAT, budget_seconds=budget_seconds, sample_ns=SAMPLE_NS)
    entries = {
        name: {
            "seconds": found.timings[name].median,
            "quartiles": [found.timings[name].low, found.timings[name].high],
            "samples": found.timings[name].samples,
            "setting": in_words(worker.setting),
            "tried": worker.tried,
            "ratio": asdict(found.speedups[name].inverse()),
        }
        for name, worker in workers.items()
    }
    return {"entries": entries, "left_out": left_out}


def best(
    what: str, case: object, name: str, settings: list[dict], reference: Worker | None, stack: ExitStack
) -> Worker:
    """The worker with the rival's fastest setting; each is checked against the reference before it is timed.

    A setting that fails is passed over; RuntimeError where all of them do.
    """
    ready: dict[str, Worker] = {}
    for setting in settings:
        worker = stack.enter_context(Worker(name, setting))
        try:
            worker.set_up(what, case)
            result = worker.first_call()[1]
        except RuntimeError as error:
            problem = error
            worker.close()
            continue
        if reference is not None:
            agree(what, {reference.name: reference.first_call()[1], name: result})
        ready[in_words(setting)] = worker
    if not ready:
        raise problem
    if len(ready) == 1:
        return next(iter(ready.values()))
    trial = timing.compare(ready, repeat=(1, 20), budget_seconds=TRIAL_SECONDS, sample_ns=SAMPLE_NS)
    tried = {words: measured.median for words, measured in trial.timings.items()}
    fastest = min(tried, key=tried.get)
    for words, worker in ready.items():
        if words != fastest:
            worker.close()
    ready[fastest].tried = tried
    return ready[fastest]


def agree(what: str, results: dict[str, object]) -> None:
    """Raises ``timing.Disagreement`` where two differ in the loss of the first epoch, or in what they return.

    Later losses drift: in float32 hundreds of steps magnify the last bit.
    """
    if what == "trainer":
        timing.close(1e-3)({name: losses[:1] for name, losses in results.items()})
    else:
        timing.close(0.05 if what == "int8" else 1e-4)(results)  # in int8, some roundings of 1 in 255


def in_words(setting: dict) -> str:
    """A setting as it is shown: 1 thread, gather=batch."""
    words = []
    for name, value in setting.items():
        words.append(f"{value} thread{'s' * (value != 1)}" if name == "threads" else f"{name}={value}")
    return ", ".join(words)


def fastest_rival(entries: dict[str, dict]) -> str | None:
    """Who comes closest to minidl, or is before it."""
    others = [name for name in entries if name != "minidl"]
    return min(others, key=lambda name: entries[name]["seconds"], default=None)


def show(entries: dict[str, dict], unit: str) -> None:
    """A line for each rival: its time, how many times faster minidl is, and its setting."""
    for name, entry in entries.items():
        times = "" if name == "minidl" else f"minidl {timing.Ratio(**entry['ratio'])}"
        print(f"  {rivals.LABELS[name]:17} {duration(entry['seconds']):>9} {unit}   {times:32} {entry['setting']}")
