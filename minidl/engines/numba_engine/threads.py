"""Several threads on one batch: how they share its jobs, how they wait for each other, and when that pays.

The work between two barriers is cut into jobs, each with results of its own that do not depend on who does it: so the
bits are the same for any number of threads. Each thread has a share of the jobs, the same ones in every step, so that
what it works on stays in its own cache; when they are taken it helps the others. A thread that the operating system
keeps waiting takes none, and the others go on without it.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.engines.numba_engine.cache import njit

PAYS = 1e6  # multiply-adds in a training step below which one thread alone is sooner done
PAYS_TO_WAKE = 8e6  # multiply-adds in a call below which waking the other threads takes longer than they save
NEAR_ROWS, FAR_ROWS = 8, 24  # of a batch, from which on the threads are worth it where they are near, and in any case
CALLS, NEAR, WAKING = 400, 2e-7, 4e-5  # how often they call each other, and what that may take in seconds
PATIENCE = 1_000_000  # looks for an answer
SPINS = 2000  # looks at the counter before a waiting thread offers its processor to others
HAS_PAUSE = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
LINE = 16  # numbers between two counters, so that they lie in different cache lines
DONE, STEP, SHARES = 0, LINE, 2 * LINE  # places of counters; from SHARES on one for the share of each thread

_running = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_near = False, 0.0  # what was found out, and until when it holds


def begin_anew():
    """A forked process has none of its parent's threads: waiting for them would never end."""
    global _running, _pool
    _running, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=begin_anew)


def available() -> int:
    """How many threads may be used: as Numba counts them, which honours NUMBA_NUM_THREADS."""
    return numba.config.NUMBA_NUM_THREADS


def for_call(operations: float) -> int:
    """How many threads are worth it for one call of so many multiply-adds."""
    return available() if operations >= PAYS_TO_WAKE else 1


def for_training(step: float, rows: int, epoch: float) -> int:
    """How many threads are worth it for so many multiply-adds in a step of so many rows, and in an epoch.

    At each step the threads hand each other the weights that they have moved. That takes as long for few rows as for
    many, and several times longer where the processors share no cache, or are busy with something else.
    """
    if available() == 1 or epoch < PAYS_TO_WAKE or step < PAYS or rows < NEAR_ROWS:
        return 1
    return available() if rows >= FAR_ROWS or near() else 1


def near() -> bool:
    """Whether two threads are quick to answer each other; found out again where that is a second ago.

    On a virtual machine the processors may be others by then.
    """
    global _near
    if time.monotonic() > _near[1]:
        best = math.inf
        with team(2) as run:
            for _ in range(3):  # the first time the other thread may have to be started, or the code to be loaded
                answers, begin = np.zeros(2 * LINE, np.int64), time.perf_counter()
                run(lambda thread, threads, answers=answers: exchange(answers, thread, CALLS if threads > 1 else 0))
                if answers[0] == CALLS:
                    best = min(best, time.perf_counter() - begin)
        _near = best < CALLS * NEAR + WAKING, time.monotonic() + 1
    return _near[0]


def counters(threads: int) -> np.ndarray:
    """For one run: how many jobs are done, the steps at its end, and the next job of each thread's share."""
    return np.zeros(SHARES + threads * LINE, np.int64)


@contextlib.contextmanager
def team(threads: int):
    """A function that runs ``work(thread, threads)`` on that many threads at once and waits for all of them.

    Two teams at once would only get in each other's way: where one is running, the other makes do with one thread.
    """
    if threads == 1 or not _running.acquire(blocking=False):
        yield lambda work: work(0, 1)
        return
    try:
        yield lambda work: run_team(work, threads)
    finally:
        _running.release()


def run_team(work, threads: int):
    global _pool
    if _pool is None or _pool._max_workers < threads - 1:
        _pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="minidl")
    others = []
    try:
        for thread in range(1, threads):
            others.append(_pool.submit(work, thread, threads))
        return work(0, threads)
    finally:  # also after Ctrl-C, or where no further thread can be started: those that were do all the jobs
        for other in others:
            other.result()


@intrinsic
def add_atomically(typing_context, counters, place, value):
    """counters[place] += value, as one step that no other thread can come between."""

    def emit(context, builder, signature, arguments):
        counters, place, value = arguments
        pointer = builder.gep(context.make_array(signature.args[0])(context, builder, counters).data, [place])
        builder.atomic_rmw("add", pointer, value, ordering="seq_cst")
        return context.get_dummy_value()

    return types.none(counters, types.int64, types.int64), emit


@intrinsic
def load_atomically(typing_context, counters, place):
    """counters[place], as the other threads have left it just now."""

    def emit(context, builder, signature, arguments):
        counters, place = arguments
        pointer = builder.gep(context.make_array(signature.args[0])(context, builder, counters).data, [place])
        return builder.load_atomic(pointer, ordering="seq_cst", align=8)

    return types.int64(counters, types.int64), emit


@intrinsic
def swap_atomically(typing_context, counters, place, expected, value):
    """Put the value into counters[place] if the expected one is there: whether it was."""

    def emit(context, builder, signature, arguments):
        counters, place, expected, value = arguments
        pointer = builder.gep(context.make_array(signature.args[0])(context, builder, counters).data, [place])
        pair = builder.cmpxchg(pointer, expected, value, ordering="seq_cst", failordering="seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(counters, types.int64, types.int64, types.int64), emit


@intrinsic
def offer_processor(typing_context):
    """Let another thread run on this processor, where the operating system has a call for that."""

    def emit(context, builder, signature, arguments):
        if os.name == "posix":
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.none(), emit


@intrinsic
def pause(typing_context):
    """Let a moment pass: a processor that looks without pause takes from the one it shares a core with."""

    def emit(context, builder, signature, arguments):
        if HAS_PAUSE:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.none(), emit


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
def exchange(answers, thread, calls):
    """Two threads call and answer each other so many times, unless one has to wait too long for the other."""
    mine, other = thread * LINE, LINE - thread * LINE
    for call in range(1, calls + 1):
        if thread == 0:
            add_atomically(answers, mine, 1)
        looks = 0
        while load_atomically(answers, other) < call:
            looks += 1
            if looks > PATIENCE:
                add_atomically(answers, mine, 2 * calls)  # so that the other does not wait either
                return
        if thread > 0:
            add_atomically(answers, mine, 1)


@njit(cache=True)
def wait_until_done(counters, end):
    """Return once all jobs before ``end`` are done."""
    looks = 0
    while load_atomically(counters, DONE) < end:
        looks += 1
        if looks < SPINS:
            pause()
        else:
            offer_processor()
