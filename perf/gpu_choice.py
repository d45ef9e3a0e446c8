"""Recorded steps or the persistent kernel: up to which batch the second is faster, for networks of several sizes."""

from __future__ import annotations

import json

from minidl import files
from minidl.bench import timing
from minidl.engines.cupy_engine import measured
from perf import cases, gpu_cases
from perf.rivals import gpu_minidl

NETWORKS = (30, (64, 64)), (784, (256, 128)), (1_024, (1_024, 1_024))
BATCHES = (32, 128, 512, 2_048)
SMALL_NETWORKS, SMALL_BATCHES = ((5, (8,)),), (8, 16)  # where the CPU stands in
SECONDS = 0.3


def measure(device: str) -> list[list[int]]:
    """[parameters, rows] of each network, as measured.json has them."""
    small = device == "cpu"
    return [
        [case_of(network, 1).parameters, largest(network, SMALL_BATCHES if small else BATCHES, device)]
        for network in (SMALL_NETWORKS if small else NETWORKS)
    ]


def case_of(network: tuple[int, tuple[int, ...]], batch_size: int) -> gpu_cases.GpuCase:
    return gpu_cases.GpuCase(*network, "relu", 8 * batch_size, batch_size=batch_size, epochs=2)


def largest(network: tuple[int, tuple[int, ...]], batches: tuple[int, ...], device: str) -> int:
    """The largest batch with which one launch is faster, 0 where there is none; beyond the first loss none is tried."""
    found = 0
    for batch_size in batches:
        case = case_of(network, batch_size)
        given = case, cases.weights(case), *cases.data(case)
        ways = {way: gpu_minidl.trainer(*given, device, way) for way in ("recorded", "in one launch")}
        ended = timing.compare(ways, validate=timing.close(1e-3), budget_seconds=SECONDS)
        if ended.speedups["in one launch"].value < 1:
            break
        found = batch_size
    return found


def keep(gpu: str, found: list[list[int]]) -> None:
    """Put it into measured.json, beside what is there of other GPUs."""
    table = measured.table() | {gpu: found}
    files.replace(measured.TABLE, (json.dumps(table, indent=1) + "\n").encode())
