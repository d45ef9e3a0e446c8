"""What is to be chosen by size: recorded steps or the persistent kernel, and the engine's products or cuBLASLt's."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable

import numpy as np

from minidl import files
from minidl.bench import timing
from minidl.engines.cupy_engine import kernels as k
from minidl.engines.cupy_engine import launches_cublaslt, measured
from perf import cases, gpu_cases
from perf.rivals import gpu_minidl

NETWORKS = (30, (64, 64)), (784, (256, 128)), (1_024, (1_024, 1_024))
BATCHES = (32, 128, 512, 2_048)
PRODUCT_BATCHES = (128, 2_048, 65_536)
SMALL_NETWORKS, SMALL_BATCHES = ((5, (8,)),), (8, 16)  # where the CPU stands in
SECONDS, PRODUCT_SECONDS = 0.3, 0.03
REPEAT = 8  # of a product in a recorded graph, so that its start weighs less


def measure(device: str, deadline: float) -> dict[str, list[list]]:
    """As measured.json has it. No more products are measured once time.monotonic() is beyond the ``deadline``, and none
    where there is no cuBLASLt."""
    small = device == "cpu"
    networks = SMALL_NETWORKS if small else NETWORKS
    return {
        "one launch": [
            [case_of(network, 1).parameters, largest(network, SMALL_BATCHES if small else BATCHES, device)]
            for network in networks
        ],
        "cublaslt": all_products(networks, SMALL_BATCHES if small else PRODUCT_BATCHES, device, deadline),
    }


def case_of(
    network: tuple[int, tuple[int, ...]], batch_size: int, steps: int = 8, precision: str = "highest"
) -> gpu_cases.GpuCase:
    rows = steps * batch_size
    return gpu_cases.GpuCase(*network, "relu", rows, batch_size=batch_size, epochs=2, precision=precision)


# --- one launch for many steps ----------------------------------------------------------------------------------------


def largest(network: tuple[int, tuple[int, ...]], batches: tuple[int, ...], device: str) -> int:
    """The largest batch with which one launch is faster, 0 where there is none; beyond the first loss none is tried."""
    found = 0
    for batch_size in batches:
        case = case_of(network, batch_size)
        given = case, cases.weights(case), *cases.data(case)
        ways = {way: gpu_minidl.trainer(*given, device, way) for way in ("in one launch", *recorded_ways(device))}
        ended = timing.compare(ways, validate=timing.close(1e-3), budget_seconds=SECONDS)
        if min(ended.timings, key=lambda way: ended.timings[way].median) != "in one launch":
            break
        found = batch_size
    return found


def recorded_ways(device: str) -> list[str]:
    """That there are on this machine."""
    missing = gpu_minidl.no_cublaslt(gpu_minidl.device_of(device))
    return [way for way in gpu_minidl.WAYS["trainer"] if way.startswith("recorded") and not ("," in way and missing)]


# --- products ---------------------------------------------------------------------------------------------------------


def all_products(networks, batches: tuple[int, ...], device: str, deadline: float) -> list[list]:
    on, found = gpu_minidl.device_of(device), []
    missing = gpu_minidl.no_cublaslt(on)
    if missing:
        print(f"no products by cuBLASLt: {missing}")
        return []
    for network, batch_size in itertools.product(networks, batches):
        X, y = cases.data(case_of(network, batch_size, 1))
        for precision in ("highest", "high", "medium"):
            if time.monotonic() < deadline:
                found += products(case_of(network, batch_size, 1, precision), X, y, on)
    return found


def products(case: gpu_cases.GpuCase, X: np.ndarray, y: np.ndarray, on) -> list[list]:
    """[precision, product, rows, inputs, units, ratio] of each in a training step, the head's aside; with what goes
    along: the ReLU, and before the first layer the gathering of its rows."""
    ways = {own: Step(case, X, y, on, with_cublaslt=not own) for own in (True, False)}
    precision, found = k.PRECISION_NAMES[ways[True].network.precision], []
    for p, which in ways[True].places():
        timed = {own: step.recorded(which, p) for own, step in ways.items()}
        ended = timing.compare(timed, budget_seconds=PRODUCT_SECONDS)
        ratio = ended.timings[True].median / ended.timings[False].median
        _, _, inputs, units, _, _ = ways[True].network.table[p]
        found.append([precision, which, case.batch_size, inputs, units, round(ratio, 3)])
    return found


class Step:
    """A network in the middle of a training step on its first batch, whose products can be done over and over."""

    def __init__(self, case: gpu_cases.GpuCase, X: np.ndarray, y: np.ndarray, on, with_cublaslt: bool):
        from minidl.engines.cupy_engine import chosen

        program = gpu_minidl.program_of(case, cases.weights(case))
        self.network = launches_cublaslt.network(
            on, program, case.batch_size, chosen.precision_of(program, on), training=True, with_cublaslt=with_cublaslt
        )
        order = np.random.default_rng(0).permutation(case.batch_size).astype(np.int32)
        self.data = on.upload(X), on.upload(y), on.upload(order), None
        at = k.struct("Place", epochs=1, rows=case.batch_size, batch_size=case.batch_size, first=-case.batch_size)
        on.write(self.network.place, at.view(np.int64))
        self.network.step(*self.data)
        at["first"] = 0  # it is over; once more to where it was
        on.write(self.network.place, at.view(np.int64))

    def places(self) -> list[tuple[int, str]]:
        """Layer and product."""
        network, (forward, backward_x, backward_W) = self.network, launches_cublaslt.PRODUCTS
        found = []
        for p in filter(network.learns, range(network.start, network.end)):
            by_head = network.narrow and p == network.end - 1
            found += [(p, backward_W)] if by_head else [(p, forward), (p, backward_W)]
            found += [(p, backward_x)] if network.has_gradient(p) and not by_head else []
        return found

    def recorded(self, which: str, p: int) -> Callable[[], None]:
        network, (X, _, order, _) = self.network, self.data
        first = p == network.start
        do = {
            "forward": lambda: network.dense(p, X if first else network.output(p), order if first else None),
            "backward_x": lambda: network.gradient_before(p),
            "backward_W": lambda: network.weights_gradient(p, X, order),
        }[which]
        graph = network.device.record(lambda: [do() for _ in range(REPEAT)])

        def run():
            graph.replay()
            network.device.synchronize()

        return run


def keep(gpu: str, found: dict[str, list[list]]) -> None:
    """Put it into measured.json, beside what is there of other GPUs."""
    table = measured.table() | {gpu: found}
    files.replace(measured.TABLE, (json.dumps(table, indent=1) + "\n").encode())
    measured.table.cache_clear()  # so that what comes next in this process is chosen by it
