"""The machine's ceilings: how many operations a second its cores can do, and how many bytes they can move.

A ceiling is a maximum, so each is the best of many short runs: whatever disturbs a run makes it slower, nothing makes
it faster than the machine is. And all cores can do at least what one can, whoever else keeps them busy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from minidl import display
from minidl.bench import caches, machine
from minidl.bench.crew import Crew
from minidl.checks import number

SECONDS = 5.0
LEAST_RUNS = 5
LEAST_MEMORY, MOST_MEMORY = 64 * 2**20, 512 * 2**20  # bytes that are gone through to measure the memory
UNITS = {"float32": "GFLOP/s", "float64": "GFLOP/s", "int8": "GOP/s"}
KINDS = {"read": 1, "write": 1, "copy": 2, "triad": 3, "update": 1}  # of traffic, and how many arrays each goes through
UPDATE = "update"  # the kind whose array is read and written in place: its bytes go both ways at once
ONE, ALL = "one", "all"  # cores
RUN_SECONDS = {ONE: 0.001, ALL: 0.008}  # of one run at least; threads need some time to begin together


class Timed:
    """Work that was timed, for a roofline: its operations, the bytes it has to move at least, and its seconds."""

    operations: float
    bytes: float
    seconds: float

    @property
    def intensity(self) -> float:
        """Operations for each byte that has to be moved at least."""
        return self.operations / self.bytes

    @property
    def gflops(self) -> float:
        """1e9 operations a second."""
        return self.operations / self.seconds / 1e9


@dataclass(frozen=True)
class Level:
    """A cache or the memory, and its bandwidths in GB/s (1e9 bytes): of "one" core and of "all", by kind.

    The bytes counted are those that the kernel names, as in the STREAM benchmark: "read" a = x, "write" out = a,
    "copy" out = x, "triad" out = x + a y; of "update" out = out + a both those read and those written. ``footprint`` is
    how many bytes one core went through, and ``size`` how many fit (0: the memory). In the memory stores may go past
    the caches, where that is faster.
    """

    name: str
    size: int
    shared_by: int
    footprint: dict[str, int]
    bandwidth: dict[str, dict[str, float]]


@dataclass(frozen=True, repr=False)
class Ceilings(display.Tabled):
    """What this machine can do at most. It shows itself as two tables.

    peaks: 1e9 operations a second by dtype, of "one" core and of "all"; a multiply-add counts as two. int8 is None
    where the processor has no instruction for it (``int8_instruction`` is then ""). cores: how many "all" are.
    """

    processor: str
    cores: int
    vector_bytes: int
    fused: bool
    int8_instruction: str
    peaks: dict[str, dict[str, float] | None]
    levels: list[Level]
    seconds: float

    def peak(self, dtype: str = "float32", cores: str = "one") -> float:
        """1e9 operations a second; ValueError where it could not be measured."""
        if self.peaks.get(dtype) is None:
            raise ValueError(f"the peak of {dtype} was not measured: this processor has no instruction for it")
        return self.peaks[dtype][cores]

    def bandwidth(self, level: str, kind: str | None = None, cores: str = "one") -> float:
        """GB/s of "L1", "L2", ... or "memory": of this kind of traffic, or the highest of all but updates in place."""
        found = self.level(level).bandwidth[cores]
        return max(rate for name, rate in found.items() if name != UPDATE) if kind is None else found[kind]

    def level(self, name: str) -> Level:
        found = {level.name: level for level in self.levels}
        if name not in found:
            raise ValueError(f"there is no level {name!r} in this machine's memory, only {', '.join(found)}")
        return found[name]

    def holding(self, size: float) -> str:
        """The name of the smallest level that so many bytes fit into, of one core."""
        return next((level.name for level in self.levels if level.size >= size), "memory")

    def limits(
        self, operations: float, moved: float, dtype: str = "float32", cores: str = "one", held: float | None = None
    ) -> dict[str, float]:
        """The least seconds that so many operations take, as "arithmetic", and that so many bytes take to be moved
        between the core and the smallest level that holds them, by that level's name. The larger one is the limit.

        held: the bytes of all arrays, where some are read and written in place, so that more are moved. Those twice
        ``moved - held`` count as "update", the others as the fastest of the other kinds.
        """
        held = moved if held is None else held
        level, updated = self.holding(held), 2 * (moved - held)
        seconds = (moved - updated) / self.bandwidth(level, cores=cores)
        if updated:
            seconds += updated / self.bandwidth(level, UPDATE, cores)
        return {"arithmetic": operations / self.peak(dtype, cores) / 1e9, level: seconds / 1e9}

    def roof(self, intensity: float, level: str = "memory", dtype: str = "float32", cores: str = "one") -> float:
        """The roofline: what ``intensity`` (operations for each byte of this level) allows, in 1e9 a second.

        min(peak, intensity x bandwidth), after Williams, Waterman and Patterson, "Roofline: an insightful visual
        performance model", 2009.
        """
        return min(self.peak(dtype, cores), intensity * self.bandwidth(level, cores=cores))

    def to_dict(self) -> dict:
        """Everything as JSON has it."""
        return asdict(self)

    def _title(self) -> str:
        return self.processor

    def _tables(self) -> Iterator[display.Grid]:
        """The arithmetic, and the bandwidths of one core and of all."""
        who = {ONE: "one core", ALL: f"all {self.cores} cores"}
        peaks = {dtype: peak for dtype, peak in self.peaks.items() if peak}
        lines = [[dtype, UNITS[dtype], *(f"{peak[cores]:,.0f}" for cores in who)] for dtype, peak in peaks.items()]
        yield display.Grid(["arithmetic", "unit", *who.values()], lines, (0, 1))
        lines = [
            [level.name, words, *(f"{level.bandwidth[cores][kind]:,.0f}" for kind in KINDS)]
            for level in self.levels
            for cores, words in who.items()
        ]
        yield display.Grid(["GB/s", "by", *KINDS], lines, (0, 1))


_measured: Ceilings | None = None


def measure(
    seconds: float = SECONDS, progress: Callable[[str], None] | None = None, *, again: bool = False
) -> Ceilings:
    """The ceilings of this machine, measured once in a process: what was measured is returned until ``again``.

    seconds: about how long it may take, without compiling; progress: called with a line for each ceiling. ValueError
    for ``seconds`` that are no positive number, RuntimeError where Numba cannot run.
    """
    global _measured
    seconds = number(seconds, "seconds", 0)
    if _measured is None or again:
        from minidl.engines import get_engine

        get_engine("numba")  # says what is missing
        _measured = measure_now(seconds, progress or (lambda line: None))
    return _measured


def known() -> Ceilings | None:
    """What has been measured in this process."""
    return _measured


def measure_now(seconds: float, progress: Callable[[str], None]) -> Ceilings:
    from minidl.bench import kernels

    began, cores = time.perf_counter(), machine.cores() or 1
    target = kernels.TARGET
    dtypes = [name for name in UNITS if name != "int8" or target.int8]
    crews = {ONE: 1, ALL: cores}
    found = caches.find(lambda size: reading([size], 0.02)[0])
    budget = seconds / (len(crews) * (len(dtypes) + len(KINDS) * (len(found) + 1)))
    peaks: dict[str, dict[str, float] | None] = {name: {} if name in dtypes else None for name in UNITS}
    rates: dict[str, dict[str, dict[str, float]]] = {}
    footprints: dict[str, dict[str, int]] = {}
    for who, threads in crews.items():
        words = "one core" if who == ONE else f"all {cores} cores"
        with Crew(threads) as crew:
            for dtype in dtypes:
                rate = best(crew, *arithmetic(dtype, threads), budget) / 1e9
                peaks[dtype][who] = max(rate, peaks[dtype].get(ONE, 0))
                progress(f"{dtype}, {words}: {peaks[dtype][who]:.0f} {UNITS[dtype]}")
            sizes = footprint_of(found, threads)
            largest = max(sizes.values())
            parts = crew.run(lambda thread, largest=largest: block(largest))  # each touches its own first
            for name, size in sizes.items():
                footprints.setdefault(name, {})[who] = size
                here = rates.setdefault(name, {}).setdefault(who, {})
                for kind in KINDS:
                    rate = bandwidth(crew, kind, [part[: size // 4] for part in parts], name == "memory", budget)
                    here[kind] = max(rate, rates[name][ONE].get(kind, 0))
                progress(f"{name}, {words}: {', '.join(f'{kind} {rate:.0f}' for kind, rate in here.items())} GB/s")
            del parts
    known = {cache.name: cache for cache in found}
    levels = [
        Level(name, known[name].size if name in known else 0, known[name].shared_by if name in known else cores,
              footprints[name], rates[name])
        for name in rates
    ]  # fmt: skip
    return Ceilings(machine.processor(), cores, target.vector_bytes, target.fused, target.int8, peaks, levels,
                    time.perf_counter() - began)  # fmt: skip


def footprint_of(found: Iterable[caches.Cache], threads: int) -> dict[str, int]:
    """How many bytes one of the threads goes through: half of its share of a cache, several times all in the memory."""
    found = list(found)
    sizes = {cache.name: cache.size // 2 // max(1, min(cache.shared_by, threads)) for cache in found}
    largest = max((cache.size for cache in found), default=0)
    sizes["memory"] = min(max(LEAST_MEMORY, 4 * largest), MOST_MEMORY) // threads
    return {name: size // 4096 * 4096 for name, size in sizes.items()}


def block(size: int) -> np.ndarray:
    """float32 ones of so many bytes that begin where a vector and a page do."""
    raw = np.ones((size + 4096) // 4, np.float32)
    start = -raw.ctypes.data % 4096 // 4
    return raw[start : start + size // 4]


# --- what is run ------------------------------------------------------------------------------------------------------


def arithmetic(dtype: str, threads: int) -> tuple[Callable[[int, int], None], float]:
    """Multiply-adds: ``run(thread, times)`` for so many threads, and how many operations one of the times is."""
    from minidl.bench import kernels

    size = kernels.CHAINS * kernels.TARGET.vector_bytes
    if dtype == "int8":
        ones = np.ones(kernels.TARGET.vector_bytes, np.int8)
        sums = [np.zeros(size // 4, np.int32) for _ in range(threads)]
        return lambda thread, times: kernels.int8_products(sums[thread], ones, ones, times), 2 * size
    kind = np.dtype(dtype).type
    x = [np.zeros(size // kind(0).itemsize, dtype) for _ in range(threads)]
    half, one = kind(0.5), kind(1)  # x goes to 2: no number of it is large or subnormal
    return lambda thread, times: kernels.multiply_adds(x[thread], half, one, times), 2 * x[0].size


def bandwidth(crew: Crew, kind: str, parts: list[np.ndarray], memory: bool, budget: float) -> float:
    """GB/s of one kind of traffic through the parts, one for each thread."""
    ways = [False, True] if memory and kind not in ("read", UPDATE) else [False]
    moved = parts[0].size // KINDS[kind] // step_size() * step_size() * 4 * (KINDS[kind] + (kind == UPDATE))
    rates = [best(crew, streaming(kind, parts, beside), moved, budget / len(ways)) for beside in ways]
    return max(rates) / 1e9


def reading(sizes: Iterable[int], seconds: float = 1.0) -> list[float]:
    """GB/s at which one core reads so many bytes over and over, for each of the sizes; ``seconds`` for all of them.

    Where the rate falls, a cache ends. RuntimeError where Numba cannot run.
    """
    from minidl.engines import get_engine

    get_engine("numba")  # says what is missing
    sizes = list(sizes)
    return [bandwidth(Crew(1), "read", [block(size)], False, seconds / len(sizes)) for size in sizes]


def step_size() -> int:
    from minidl.bench import kernels

    return kernels.STEP


def streaming(kind: str, parts: list[np.ndarray], beside: bool = False) -> Callable[[int, int], None]:
    """Traffic: ``run(thread, times)`` goes through the thread's part so many times."""
    from minidl.bench import kernels

    each = parts[0].size // KINDS[kind] // kernels.STEP * kernels.STEP
    if kind == "read":
        found = [np.zeros(kernels.STEP, np.int32) for _ in parts]
        return lambda thread, times: kernels.read(parts[thread][:each], times, found[thread])
    kernel, factor = kernels.STREAMS[kind][beside], np.float32(1)
    arrays = [[part[at * each : (at + 1) * each] for at in (0, *range(1, KINDS[kind]), 0, 0)][:3] for part in parts]
    return lambda thread, times: kernel(*arrays[thread], factor, times)


def best(crew: Crew, run: Callable[[int, int], None], work: float, budget: float) -> float:
    """The most that all threads did in a second, ``work`` being what one of them does in one of its times."""

    def seconds(times: int) -> float:
        return crew.seconds(lambda thread: run(thread, times))

    seconds(1)  # compiles
    least, times = RUN_SECONDS[ONE if crew.threads == 1 else ALL], 1
    while seconds(times) < least:
        times *= 2
    end, runs, shortest = time.perf_counter() + budget, 0, float("inf")
    while runs < LEAST_RUNS or time.perf_counter() < end:
        shortest = min(shortest, seconds(times))
        runs += 1
    return crew.threads * times * work / shortest
