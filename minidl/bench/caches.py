"""The processor's caches: asked of the operating system, or found by reading more and more until it gets slower."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LINUX = Path("/sys/devices/system/cpu/cpu0/cache")
MACOS = {"L1": ("hw.perflevel0.l1dcachesize", "hw.l1dcachesize"), "L2": ("hw.perflevel0.l2cachesize", "hw.l2cachesize"),
         "L3": ("hw.perflevel0.l3cachesize", "hw.l3cachesize")}  # fmt: skip
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
SLOWER = 0.85  # of a level's speed: below it the next level begins
SWEEP = tuple(2**power for power in range(13, 29))  # 8 KiB to 256 MiB


@dataclass(frozen=True)
class Cache:
    """A level of the memory: its size in bytes, and how many of this process's cores share it."""

    name: str
    size: int
    shared_by: int


def find(read_rate: Callable[[int], float]) -> list[Cache]:
    """The caches from the first level on. ``read_rate(size)`` is asked only where the operating system does not say."""
    return of_linux() or of_macos() or of_sweep(SWEEP, [read_rate(size) for size in SWEEP])


def of_linux(folder: Path = LINUX) -> list[Cache]:
    """As the kernel lists them; empty where it does not (containers and virtual machines may hide them)."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    found = {}
    for index in folder.glob("index*"):
        try:
            level, kind, size, shared = (
                (index / name).read_text().strip() for name in ("level", "type", "size", "shared_cpu_list")
            )
            number, unit = re.fullmatch(r"(\d+)([KMG]?)", size).groups()
            if kind != "Instruction":
                sharers = len(cpus(shared) & usable) or 1
                found[int(level)] = Cache(f"L{level}", int(number) * UNITS[unit], sharers)
        except (OSError, ValueError, AttributeError):  # a level that is listed without its size
            continue
    return [found[level] for level in sorted(found) if found[level].size]


def cpus(ranges: str) -> set[int]:
    """The numbers in a list such as "0-3,8"."""
    found: set[int] = set()
    for part in filter(None, ranges.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def of_macos() -> list[Cache]:
    """As sysctl says; its second level is shared by the fast cores."""
    if sys.platform != "darwin":
        return []
    found = []
    for name, keys in MACOS.items():
        sizes = [sysctl(key) for key in keys]
        size = next(filter(None, sizes), 0)
        if size:
            found.append(Cache(name, size, 1 if name == "L1" else max(1, sysctl("hw.perflevel0.logicalcpu"))))
    return found


def sysctl(key: str) -> int:
    try:
        command = ["sysctl", "-n", key]
        return int(subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def of_sweep(sizes: tuple[int, ...], rates: list[float]) -> list[Cache]:
    """Levels by the speed at which so many bytes are read over and over: while it holds, they fit.

    A level is two sizes or more at nearly one speed; one size by itself lies between two levels. The last level is the
    memory, which is left out. Who shares a cache cannot be seen: the last one is taken to be shared by all.
    """
    levels: list[list[int]] = []
    fastest = 0.0
    for size, rate in zip(sizes, rates, strict=True):
        if levels and rate >= SLOWER * fastest:
            levels[-1].append(size)
            fastest = max(fastest, rate)
        else:
            levels.append([size])
            fastest = rate
    ends = [level[-1] for level in levels[:-1] if len(level) > 1]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    last = len(ends)
    return [Cache(f"L{at}", size, cores if at == last > 1 else 1) for at, size in enumerate(ends, 1)]
