"""A rival in a process of its own: set up and timed there, and stopped while others have their turn.

In one process rivals slow each other down, since the threads of a library go on spinning for a while when its call is
over. Measured with 1,024 rows through 784-256-128-1 on two cores: NumPy takes 2.6 ms alone and PyTorch 2.5; in turns in
one process they take 5.2 and 6.1. In processes of their own the same happens: with another program on one of the cores,
NumPy takes 16.0 ms alone, 27 in turns with three others that are left to spin, and 16.0 where they are stopped.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import numpy as np

from minidl.bench import timing
from perf import cases, resident, rivals

SHORT_NS = 20_000_000  # a shorter sample is preceded by one that does not count, which brings caches and threads back
THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "PJRT_NPROC",
    "TF_NUM_INTRAOP_THREADS",
)  # fmt: skip


class Worker:
    """The parent's side. What fails in the worker is raised here as a RuntimeError."""

    def __init__(self, name: str, setting: dict):
        self.name, self.setting, self.first = name, setting, None
        self.tried: dict[str, float] = {}  # seconds with each of the settings, where this one was chosen among several
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, name, setting), daemon=True)
        with environment(setting):
            self.process.start()
        theirs.close()

    def ask(self, what: str, *arguments: object) -> object:
        """Let it go on, have it do this, and stop it again."""
        try:
            self.go_on()
            self.connection.send((what, arguments))
            error, answer = self.connection.recv()
            self.stop()
        except (EOFError, OSError):
            self.process.join(1)
            raise RuntimeError(f"{self.name} died (exit code {self.process.exitcode})") from None
        if error:
            raise RuntimeError(f"{self.name} failed: {error}")
        return answer

    def go_on(self) -> None:
        if hasattr(signal, "SIGCONT"):
            os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Stop all of its threads, and wait until they stand still; where a system cannot, they go on spinning."""
        if hasattr(signal, "SIGSTOP"):
            os.kill(self.process.pid, signal.SIGSTOP)
            os.waitpid(self.process.pid, os.WUNTRACED)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def set_up(self, what: str, case: object) -> None:
        """Make the function that is to be timed: the rival's trainer, predictor or product for this case."""
        self.first = None
        self.ask("set_up", what, case)

    def first_call(self) -> tuple[float, object]:
        """The seconds of the first call, and what it returned: asked again, it remembers."""
        if self.first is None:
            self.first = self.ask("first_call")
        return self.first

    def sample(self, loops: int) -> int:
        """The nanoseconds of so many calls."""
        return self.ask("sample", loops)

    def memory(self) -> tuple[int | None, int | None]:
        """Bytes in the memory now, and at most so far."""
        return self.ask("memory")

    def close(self) -> None:
        """End the process, once or again."""
        self.process.kill()  # reaches a stopped process too
        self.process.join()
        self.connection.close()


@contextlib.contextmanager
def environment(setting: dict) -> Iterator[None]:
    """What must be known before a library is loaded: the threads and the device, where the setting has them."""
    found = dict(os.environ)
    if "threads" in setting:
        os.environ.update(dict.fromkeys(THREADS, str(setting["threads"])))
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3")
    if setting.get("device") == "gpu":
        os.environ.update(XLA_PYTHON_CLIENT_PREALLOCATE="false")  # or JAX would take most of the memory for itself
    else:
        os.environ.update(CUDA_VISIBLE_DEVICES="", JAX_PLATFORMS="cpu")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(found)


# --- in the worker --------------------------------------------------------------------------------------------------


def serve(connection: Connection, name: str, setting: dict) -> None:
    """Do what is asked until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    bench = Bench(name, setting)
    while True:
        try:
            what, arguments = connection.recv()
        except EOFError:
            return
        try:
            answer = None, getattr(bench, what)(*arguments)
        except Exception as error:
            answer = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", None
        connection.send(answer)


class Bench:
    """One rival, and the function that is timed."""

    def __init__(self, name: str, setting: dict):
        self.name, self.setting, self.last = name, setting, 0
        self.call = None

    def set_up(self, what: str, case: object) -> None:
        given = cases.factors(case) if what == "product" else (cases.weights(case), *cases.data(case))
        case = case.operation if what == "product" else case
        given = given[:2] if what in ("predictor", "int8") else given
        self.call, self.last = getattr(rivals.load(self.name), what)(case, *given, **self.setting), 0

    def first_call(self) -> tuple[float, object]:
        seconds, result = timing.first_call(self.call)
        self.last = seconds * 1e9
        return seconds, result if isinstance(result, list) else np.array(result)

    def sample(self, loops: int) -> int:
        with timing.collector_off():
            if self.last < SHORT_NS:
                timing.sample(self.call, loops, time.perf_counter_ns)
            self.last = timing.sample(self.call, loops, time.perf_counter_ns)
        return self.last

    def memory(self) -> tuple[int | None, int | None]:
        return resident.now(), resident.peak()
