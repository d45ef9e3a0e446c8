"""The machine's ceilings: how many operations a second its cores can do, and how many bytes they can move."""

from __future__ import annotations

from minidl.bench import ceilings, machine
from perf import results_file

SECONDS = 15.0  # for all measurements together


def warn_if_busy() -> None:
    """Say so where others are at work: ceilings and rungs then come out too low, those of all cores above all."""
    load, cores = machine.load(), machine.cores() or 1
    if load is not None and load > 0.3 * cores:
        print(f"note: the machine is busy (load {load:g} on {cores} cores); what is measured now may be too low")


def main() -> None:
    from minidl.bench import pictures
    from minidl.plots import png

    warn_if_busy()
    print("measuring the most this machine can do, each the best of many short runs")
    found = ceilings.measure(SECONDS, progress=lambda line: print(line, flush=True), again=True)
    if not found.int8_instruction:
        print("int8: not measured, this processor has no instruction for it")
    content = {"machine": machine.facts(), "ceilings": found.to_dict()}
    print(f"written to {results_file.write('ceilings', content)}")
    print(f"and {results_file.picture('ceilings', png(pictures.of_ceilings(found)))}")
