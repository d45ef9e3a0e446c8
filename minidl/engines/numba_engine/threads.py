"""Several threads on one batch: how they share its jobs, how they wait for each other, and when that pays.

The work between two barriers is cut into jobs, each with results of its own that do not depend on who does it: so the
bits are the same for any number of threads. Each thread has a share of the jobs, the same ones in every step, so that
what it works on stays in its own cache; when they are taken it helps the others. A thread that the operating system
keeps waiting takes none, and the others go on without it.
"""

from __future__ import annotations

import functools
import math
import time

import numba
import numpy as np

from minidl.engines.numba_engine.atomics import add_atomically, load_atomically, pause, swap_atomically, wait_a_moment
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.gemm import DEPTH, ROWS, VECTOR_BYTES, band
from minidl.engines.numba_engine.team import LINE, entry_of, packet_of, share, together

PAYS = 3e5  # multiply-adds in a training step below which one thread alone is sooner done
PAYS_TO_ASK = 5e7  # multiply-adds in an epoch below which finding out what is quicker takes longer than it saves
PAYS_AWAKE = 3e6  # multiply-adds in a call below which one thread alone is as soon done
PAYS_TO_WAKE = 3e7  # multiply-adds in a call below which waking the other threads takes longer than they save
SOON, ENOUGH = 2e-4, 10  # seconds from one call to the next that follows it; how many of these make a stream
AGAIN, RARELY, LATEST = 0.1, 30, 60  # until what is not chosen is tried again: seconds, runs as long, seconds at most
UPDATE = 20  # multiply-adds that take as long as the optimizer's step with one parameter
MEETINGS = 4  # of the threads in a training step, about
CLOSE, FAR = (5e-8, 1 / 17e9), (3e-7, 1 / 4.3e9)  # seconds until threads have met, and for a byte that they hand over
GAIN = 0.9  # of one thread's time that several may take, by the estimate, to be worth it
TRIES, CALLS, NEAR, WAKING = 5, 400, 2e-7, 4e-5  # how often they call each other, and the seconds that may take
PROMPT, PATIENCE = 1000, 30_000  # looks for an answer: at first without a pause
DONE, STEP, SHARES = 0, LINE, 2 * LINE  # places of counters; from SHARES on one for the share of each thread

_near = False, 0.0  # what was found out, and until when it holds


def available() -> int:
    """How many threads may be used: as Numba counts them, which honours NUMBA_NUM_THREADS."""
    return numba.config.NUMBA_NUM_THREADS


def for_call(operations: float) -> int:
    """How many threads are worth it for one call of so many multiply-adds, where they are awake."""
    return available() if operations >= PAYS_AWAKE else 1


def most_of(program) -> int:
    """How many threads a call of this program may use."""
    return min(available(), program.most_threads or available())


class Stream:
    """Calls that follow each other, so that the others stay awake from one to the next.

    over: when the last call was. Waking the others costs what they save in some ten calls; so they are woken only once
    that many have come one behind the other.
    """

    def __init__(self):
        self.over, self.calls = 0.0, 0

    def flows(self) -> bool:
        """Whether the call that begins now belongs to a stream that is worth waking the others for."""
        self.calls = self.calls + 1 if time.perf_counter() - self.over < SOON else 0
        return self.calls >= ENOUGH


class Choice:
    """Several threads or one, by what a step took with either: another program may be on the other processors.

    seconds: of a step, by the number of threads. until: when this is to be measured once more, which for what is not
    chosen is so seldom that it takes a small part of the time.
    """

    def __init__(self, several: int):
        self.several, self.seconds, self.until, self.warm = several, {}, {}, False

    def threads(self) -> int:
        now = time.perf_counter()
        for count in (self.several, 1):
            if now >= self.until.get(count, 0):
                return count
        return min(self.seconds, key=self.seconds.get)

    def note(self, count: int, seconds: float, steps: int) -> None:
        """So many steps have taken so long; the first ones, which may have been compiled before, do not count."""
        if self.warm:
            self.seconds[count] = seconds / max(steps, 1)
            then = time.perf_counter() + min(max(AGAIN, RARELY * seconds), LATEST)
            self.until[count] = then
            self.until.setdefault(1, then)
        self.warm = True


def for_training(parameters: int, products: int, rows: int, handed: int, epoch_rows: int, item: int) -> int:
    """How many threads are worth it for training steps of so many rows.

    parameters: of the network; products: multiply-adds of a row going forward, layers of few units counted for the
    time they take; handed: numbers of a row that one part of a step leaves to the next (its inputs,
    activations and gradients); item: bytes of a number.

    At each step the threads hand each other the weights that they have moved and the rows that they have passed on.
    That takes four times as long where the processors share no cache, or are busy with something else.
    """
    threads, operations = available(), 3 * rows * products + UPDATE * parameters
    if threads == 1 or operations < PAYS or operations * epoch_rows / rows < PAYS_TO_ASK:
        return 1
    meeting, byte = CLOSE if near() else FAR
    alone, moved = operations * pace(), item * (parameters + rows * handed)
    several = alone / threads + MEETINGS * meeting + moved * byte * (threads - 1) / threads
    return threads if several < GAIN * alone else 1


@functools.cache
def pace() -> float:
    """Seconds of a multiply-add on one core, in a tile of a matrix product whose factors lie in the first cache."""
    columns, times, best = 2 * VECTOR_BYTES // 4, 20, math.inf
    C, A, B = (np.zeros(size, np.float32) for size in (ROWS * columns, ROWS * DEPTH, DEPTH * columns))
    for _ in range(5):
        begin = time.perf_counter()
        multiply_tile(C, A, B, columns, times)
        best = min(best, time.perf_counter() - begin)
    return best / (times * C.size * DEPTH)


@njit(cache=True)
def multiply_tile(C, A, B, columns, times):
    for _ in range(times):
        band(ROWS, C, 0, columns, C, 0, columns, A, 0, DEPTH, 1, B, 0, columns, 1, DEPTH, columns, C[0])


def near() -> bool:
    """Whether two threads are quick to answer each other; found out again where that is a second ago.

    On a virtual machine the processors may be others by then.
    """
    global _near
    if time.monotonic() > _near[1]:
        best = math.inf
        for _ in range(TRIES):  # the first time the other thread may have to be started, or the code to be loaded
            answers, begin = np.zeros(2 * LINE, np.int64), time.perf_counter()
            together(exchange_together, (answers, CALLS), 2)
            if answers[0] == CALLS:
                best = min(best, time.perf_counter() - begin)
        _near = best < CALLS * NEAR + WAKING, time.monotonic() + 1
    return _near[0]


def shares_of(jobs: int, threads: int) -> np.ndarray:
    """Where each thread's share of so many jobs begins, as many for each, and where the last one ends."""
    return np.array([jobs * thread // threads for thread in range(threads + 1)])


def counters(threads: int) -> np.ndarray:
    """For one run: how many jobs are done, the steps at its end, and the next job of each thread's share."""
    return np.zeros(SHARES + threads * LINE, np.int64)


@njit(cache=True)
def take(counters, base, shares, phase, thread, threads):
    """A job of this phase that nobody has taken yet, now this thread's; -1 where none is left.

    The jobs ``shares[phase, t]`` to ``shares[phase, t + 1]`` are the share of thread t. What is counted goes on from
    step to step, by ``base``: so a counter that still stands at an earlier step is behind, and one that another thread
    has moved to a later step leaves nothing to take.
    """
    owners = shares.shape[1] - 1  # where no other team could run, one thread does all of their jobs
    for turn in range(owners):
        owner = (thread + turn) % owners
        place = SHARES + owner * LINE
        first, last = base + shares[phase, owner], base + shares[phase, owner + 1]
        while True:
            at = load_atomically(counters, place)
            job = max(at, first)
            if job >= last:
                break
            if threads == 1:
                counters[place] = job + 1
                return job - base
            if swap_atomically(counters, place, at, job + 1):
                return job - base
    return -1


@njit(cache=True)
def exchange(answers, calls, thread, threads):
    """Two threads call and answer each other so many times, unless one has to wait too long for the other."""
    mine, other = thread * LINE, LINE - thread * LINE
    for call in range(1, calls + 1 if threads > 1 else 1):
        if thread == 0:
            add_atomically(answers, mine, 1)
        looks = 0
        while load_atomically(answers, other) < call:
            looks += 1
            if looks > PROMPT:
                pause()
            if looks > PATIENCE:
                add_atomically(answers, mine, 2 * calls)  # so that the other does not wait either
                return
        if thread > 0:
            add_atomically(answers, mine, 1)


@njit(cache=True)
def exchange_together(bell, threads, *arguments):
    share(bell, threads, entry_of(exchange, arguments), packet_of(arguments))


@njit(cache=True)
def wait_until_done(counters, end):
    """Return once all jobs before ``end`` are done."""
    looks = 0
    while load_atomically(counters, DONE) < end:
        looks += 1
        wait_a_moment(looks)
