"""How much of the machine's memory this process holds, now and at most so far, in bytes."""

from __future__ import annotations

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def now() -> int | None:
    """Resident memory; None where the system does not say."""
    return field("VmRSS")


def peak() -> int | None:
    """The largest resident memory so far; None where the system does not say."""
    found = field("VmHWM")  # getrusage would count what the parent had before it started this process
    if found is not None or sys.platform == "win32":
        return found
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def field(name: str) -> int | None:
    """A line of Linux's account of this process."""
    if not STATUS.exists():
        return None
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) * 1024 if name in lines else None
