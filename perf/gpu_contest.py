"""A contest on a GPU: a worker for every way of minidl and of each rival, checked first and then timed in turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict

from minidl.bench import timing
from perf import rivals
from perf.contest import REPEAT, SAMPLE_NS, agree
from perf.worker import Worker

RIVALS = ("gpu_minidl", "gpu_pytorch", "gpu_jax")


def contest(
    what: str, case, device: str, budget_seconds: float, deadline: float, say: Callable[[str], None], calls: int = 1
) -> dict:
    """Each way's seconds, how many times as long it takes as minidl's fastest, and who was left out, why.

    ``what`` is "trainer" or "predictor"; times are divided by ``calls``, the steps in a call. Nobody new takes part
    once time.monotonic() is beyond the ``deadline``. RuntimeError where minidl cannot take part.
    """
    workers: dict[str, Worker] = {}
    left_out: dict[str, str] = {}
    with ExitStack() as stack:
        for file in RIVALS:
            rival = rivals.load(file)
            missing = rival.why_not(device)
            if missing:
                left_out[rival.LABEL] = missing
            for way in [] if missing else rival.WAYS[what]:
                name = f"{rival.LABEL}, {way}"
                try:
                    if time.monotonic() > deadline:
                        raise RuntimeError("there was no time left")
                    workers[name] = checked(what, case, file, {"device": device, "way": way}, workers, stack)
                except (RuntimeError, timing.Disagreement) as error:
                    left_out[name] = str(error)
            if not workers:
                raise RuntimeError(f"minidl itself cannot run: {next(iter(left_out.values()))}")
        for name, reason in left_out.items():
            say(f"{name}: left out, {reason}")
        say("in turns ...")
        found = timing.compare(workers, repeat=REPEAT, budget_seconds=budget_seconds, sample_ns=SAMPLE_NS)
    ours = min((name for name in workers if name.startswith("minidl")), key=lambda name: found.timings[name].median)
    entries = {
        name: {
            "seconds": measured.median / calls,
            "quartiles": [measured.low / calls, measured.high / calls],
            "samples": measured.samples,
            "ratio": asdict(timing.ratio(found.samples[name], found.samples[ours])),
        }
        for name, measured in found.timings.items()
    }
    return {"entries": entries, "left_out": left_out, "fastest": ours}


def checked(what: str, case, file: str, setting: dict, others: dict[str, Worker], stack: ExitStack) -> Worker:
    """A worker that has made its first call, with the same result as the first one's."""
    worker = Worker(file, setting)
    stack.callback(worker.close)
    worker.set_up(what, case)
    result = worker.first_call()[1]
    if others:
        name, other = next(iter(others.items()))
        results = {name: other.first_call()[1], setting["way"]: result}
        if what == "trainer" or case.precision == "highest":
            agree(what, results)
        else:
            timing.close(1e-2)(results)
    return worker
