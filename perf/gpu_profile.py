"""Where a recorded training step spends its time: each of its launches, by itself."""

from __future__ import annotations

import time

import numpy as np

from perf import cases, gpu_cases
from perf.rivals import gpu_minidl

REPEAT = 20


def profile(case: gpu_cases.GpuCase, device: str) -> list[tuple[str, float]]:
    """Kernel and seconds of each launch of a step, in their order: the median of some steps. Of a GPU by its own clock,
    whose ticks and the gaps between launches make very short ones look longer than in a graph."""
    from minidl.engines.cupy_engine import captured, chosen

    on, program = gpu_minidl.device_of(device), gpu_minidl.program_of(case, cases.weights(case))
    trainer = captured.CapturedTrainer(
        program, *cases.data(case), None, case.batch_size, device=on, precision=chosen.precision_of(program, on),
        in_one_launch=False,
    )  # fmt: skip
    orders = np.concatenate([gpu_cases.orders(case)] * (1 + REPEAT // case.steps))
    trainer.run(orders, 0, case.rows)
    network, marks = trainer.network, []

    def timed(plain):
        def launch(what, *arguments):
            before = mark(on)
            plain(what, *arguments)
            marks.append((what.name, before, mark(on)))

        return launch

    place = on.download(network.place)
    place[4:6] = 0, -case.batch_size  # once more from the first epoch's first batch (batch.cuh)
    on.write(network.place, place)
    on.launch, on.multiply = timed(on.launch), timed(on.multiply)
    steps = []
    for _ in range(REPEAT):
        marks.clear()
        network.step(trainer.X, trainer.y, trainer.order, trainer.weight)
        on.synchronize()
        steps.append([(name, between(before, after)) for name, before, after in marks])
    times = np.median([[seconds for _, seconds in launches] for launches in steps], axis=0).tolist()
    return [(name, seconds) for (name, _), seconds in zip(steps[0], times, strict=True)]


def mark(on):
    """The time at which the device has come here."""
    return on.stream.record() if hasattr(on, "stream") else time.perf_counter()


def between(before, after) -> float:
    if isinstance(before, float):
        return after - before
    import cupy

    return cupy.cuda.get_elapsed_time(before, after) / 1e3
