"""Several threads on one batch: how it is parted among them, how they wait for each other, and when that pays.

A batch is parted by its size alone, never by the number of threads, so the result has the same bits for any number.
"""

from __future__ import annotations

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.engines.numba_engine.cache import njit

CHUNK = 64  # rows that one thread takes at a time, or more where a batch would have more than MOST chunks
MOST = 16
PAYS = 4e6  # floating-point operations below which waking other threads costs more than it brings
ABANDONED = 2**62  # what a counter is set to when there is nobody left to wait for
SPINS = 2000  # looks at the counter before a waiting thread offers its processor to others

_running = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def begin_anew():
    """A forked process has none of its parent's threads: waiting for them would never end."""
    global _running, _pool
    _running, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=begin_anew)


def chunk_rows(rows: int) -> int:
    """How many rows a chunk of a batch of so many rows has."""
    return min(rows, max(CHUNK, -(-rows // MOST)))


def available() -> int:
    """How many threads may be used: as Numba counts them, which honours NUMBA_NUM_THREADS."""
    return numba.config.NUMBA_NUM_THREADS


def worth(parameters: int, rows: int, chunks: int) -> int:
    """How many threads are worth it for so many rows through so many parameters, forward and backward."""
    return min(available(), chunks) if 6 * parameters * rows >= PAYS else 1


@contextlib.contextmanager
def team(threads: int):
    """A function that runs ``work(thread, threads)`` on that many threads at once and waits for all of them.

    It is given ``work`` and the counter by which the threads wait for each other: where one of them leaves by an
    exception, the others are let go.

    Two teams at once would only get in each other's way: where one is running, the other makes do with one thread.
    """
    if threads == 1 or not _running.acquire(blocking=False):
        yield lambda work, counter: work(0, 1)
        return
    try:
        yield lambda work, counter: run_team(work, threads, counter)
    finally:
        _running.release()


def run_team(work, threads: int, counter: np.ndarray):
    global _pool

    def member(thread):
        try:
            return work(thread, threads)
        except BaseException:
            counter[0] = ABANDONED
            raise

    if _pool is None or _pool._max_workers < threads - 1:
        _pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="minidl")
    try:
        others = [_pool.submit(member, thread) for thread in range(1, threads)]
        result = member(0)
        for other in others:
            other.result()
        return result
    except BaseException:  # Ctrl-C, or no further thread could be started: those that were may wait for it
        counter[0] = ABANDONED
        _pool.shutdown(cancel_futures=True)
        _pool = None
        raise


@intrinsic
def add_atomically(typing_context, counter, value):
    """counter[0] += value, as one step that no other thread can come between."""

    def emit(context, builder, signature, arguments):
        pointer = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        builder.atomic_rmw("add", pointer, arguments[1], ordering="seq_cst")
        return context.get_dummy_value()

    return types.none(counter, types.int64), emit


@intrinsic
def load_atomically(typing_context, counter):
    """counter[0], as the other threads have left it just now."""

    def emit(context, builder, signature, arguments):
        pointer = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load_atomic(pointer, ordering="seq_cst", align=8)

    return types.int64(counter), emit


@intrinsic
def offer_processor(typing_context):
    """Let another thread run on this processor, where the operating system has a call for that."""

    def emit(context, builder, signature, arguments):
        if os.name == "posix":
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.none(), emit


@njit(cache=True)
def wait_for_all(counter, arrivals):
    """Count this thread in, and return once ``arrivals`` have been counted since the beginning: whether they have.

    False means that a thread has left for good, and what it should have done is not done.
    """
    add_atomically(counter, 1)
    looks = 0
    while load_atomically(counter) < arrivals:
        looks += 1
        if looks > SPINS:
            offer_processor()
    return load_atomically(counter) < ABANDONED
