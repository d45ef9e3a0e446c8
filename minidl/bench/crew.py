"""Several threads that begin together: for work that is measured on all cores at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Work = Callable[[int], object]  # given the number of its thread


class Crew:
    """So many threads, this one among them. The work must release the GIL for them to run at once."""

    def __init__(self, threads: int):
        self.threads = threads
        self.others = ThreadPoolExecutor(threads - 1, thread_name_prefix="minidl-bench") if threads > 1 else None
        self.gate = threading.Barrier(threads)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        if self.others:
            self.others.shutdown()

    def run(self, work: Work) -> list[object]:
        """What ``work(thread)`` returns, of every thread; all are waited for."""
        others = [self.others.submit(work, thread) for thread in range(1, self.threads)]
        return [work(0), *(other.result() for other in others)]

    def seconds(self, work: Work) -> float:
        """The seconds from when the first of them begins its work until the last has done it."""

        def timed(thread: int) -> tuple[float, float]:
            self.gate.wait()
            begin = time.perf_counter()
            work(thread)
            return begin, time.perf_counter()

        begins, ends = zip(*self.run(timed), strict=True)
        return max(ends) - min(begins)
