"""The threads that help with a call: how they are called, take part, stay awake for the next call, and go to sleep.

Waking a thread takes the operating system 40 to 80 microseconds, in which a core computes a layer for a hundred rows.
So a helper that has nothing to do looks out for the next call for a moment before it sleeps. All of that is compiled:
a helper that had to ask for Python's lock, be it to wake up, would keep the caller from running.

Linux may well wake a helper on the processor of the one who calls, where it gets its turn when the work is done. So the
helpers are kept away from that processor.

A call is announced by the address of a compiled function and of its arguments. A helper that sees it takes part; one
that comes too late finds that the call is over. So nobody waits for a thread that the operating system keeps waiting.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minidl.engines.numba_engine.atomics import (
    FUTEX,
    WAIT,
    WAKE,
    add_atomically,
    futex,
    load_atomically,
    processor_now,
    swap_atomically,
    wait_a_moment,
)
from minidl.engines.numba_engine.cache import njit

LINE = 16  # numbers between two that different threads write, so that they lie in different cache lines
# The bell: what the caller and the helpers tell each other. A call is open while its number stands at OPEN.
OPEN, ENTRY, PACKET, THREADS, LAST = range(5)  # the call's function, its arguments, how many threads, the last number
INSIDE, HELD = LINE, 2 * LINE  # how many helpers take part; whether they are to stay awake, or (LEAVE) to go home
ASLEEP = 3 * LINE  # from here on for each thread whether it sleeps
LEAVE = 2
LOOKS = 10_000  # for the next call before a helper sleeps: some hundred microseconds
LONG = 1_000  # times as many, where a call is about to come
MOST = 255  # helpers
SELDOM = 100  # times as long as it takes, until helpers are moved again

_running = threading.Lock()
_helpers: list[Helper] = []
_bell = np.zeros(ASLEEP + (MOST + 1) * LINE, np.int64)
_away, _moved = -1, 0.0  # the processor that helpers keep away from; from when on they may be moved again


class Helper(threading.Thread):
    """A thread that helps with calls, or sleeps until it is woken: in compiled code, or where that cannot be, here."""

    def __init__(self, thread: int):
        super().__init__(name=f"minidl-{thread}", daemon=True)
        self.thread, self.bell, self.asleep = thread, _bell, threading.Lock()
        self.processors: set[int] = set()  # those it may run on, if they are known
        if FUTEX:
            with contextlib.suppress(OSError):
                self.processors = os.sched_getaffinity(0)
        self.asleep.acquire()
        _bell[ASLEEP + thread * LINE] = 0  # it is about to be awake, so it needs no waking

    def run(self):
        while not serve(self.bell, self.thread):
            self.asleep.acquire()

    def wake(self):
        if self.asleep.locked():
            self.asleep.release()


def gather(helpers: int):
    """See to it that there are so many helpers; where the system has no more threads, fewer do all the work."""
    global _away
    while len(_helpers) < helpers:
        helper, _away = Helper(len(_helpers) + 1), -1  # this one keeps away from none yet
        _helpers.append(helper)  # before it starts, so that an interruption leaves no two of one number
        try:
            helper.start()
        except RuntimeError:
            _helpers.pop()
            return


def keep_away(processor: int):
    """Let the helpers run on every processor but this one, the caller's."""
    global _away, _moved
    begin = time.monotonic()
    if begin < _moved:  # the caller is moved about itself, and following it would take long
        return
    for helper in _helpers:
        others = helper.processors - {processor}
        if others and helper.native_id is not None:
            with contextlib.suppress(OSError):  # they may have been taken from this process meanwhile
                os.sched_setaffinity(helper.native_id, others)
    _away, end = processor, time.monotonic()
    _moved = end + SELDOM * (end - begin)


def dismiss():
    """Send the helpers home and wait until they have gone: compiled code must not run on while the process ends."""
    if _helpers:
        _bell[HELD] = LEAVE
        hold(_bell, len(_helpers) + 1)
        for helper in _helpers:
            helper.wake()
            if helper.ident is not None:  # it has been started
                helper.join()
        _helpers.clear()
        _bell[HELD] = 0


def begin_anew():
    """A forked process has none of its parent's threads."""
    global _running, _bell, _away
    _running, _bell, _away = threading.Lock(), np.zeros_like(_bell), -1
    _helpers.clear()


atexit.register(dismiss)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=begin_anew)


def together(call, arguments: tuple, threads: int):
    """What ``call(bell, threads, *arguments)`` returns; the helpers are called up and take part as soon as they can.

    Two teams at once would only get in each other's way: where one is running, the other call has one thread.
    """
    if threads == 1 or not _running.acquire(blocking=False):
        return call(_bell, 1, *arguments)
    threads = min(threads, MOST + 1)
    try:
        gather(threads - 1)
        asleep, processor = hold(_bell, threads)
        if processor != _away:
            keep_away(processor)
        if asleep:
            for helper in _helpers[: threads - 1]:
                helper.wake()
        return call(_bell, threads, *arguments)
    finally:
        _running.release()


@intrinsic
def packet_of(typing_context, arguments):
    """The address of the arguments, which lie on the stack of the function that asks for it until that returns.

    Arrays are lent: nobody counts references to them. Counting takes an atomic step each time an array is handed to a
    function, in a network of ten units longer than the arithmetic, and several threads would get in each other's way.
    """

    def emit(context, builder, signature, values):
        lent = values[0]
        for place, kind in enumerate(arguments.types):
            if isinstance(kind, types.Array):
                array = context.make_array(kind)(context, builder, builder.extract_value(lent, place))
                array.meminfo = cgutils.get_null_value(array.meminfo.type)
                array.parent = cgutils.get_null_value(array.parent.type)
                lent = builder.insert_value(lent, array._getvalue(), place)
        return builder.ptrtoint(cgutils.alloca_once_value(builder, lent), ir.IntType(64))

    return types.int64(arguments), emit


@intrinsic
def entry_of(typing_context, function, arguments):
    """The address of code that takes a packet of such arguments, a thread and the number of threads, and calls
    ``function(*arguments, thread, threads)``."""
    call = typing_context.resolve_function_type(function, (*arguments.types, types.int64, types.int64), {})

    def emit(context, builder, signature, values):
        compiled = function.dispatcher.overloads[call.args]
        context.add_linking_libs([compiled.library])
        name = f"entry.{compiled.fndesc.mangled_name}"
        entry = cgutils.get_or_insert_function(builder.module, ENTRY_TYPE, name)
        if entry.is_declaration:
            entry.linkage = "internal"
            within = ir.IRBuilder(entry.append_basic_block())
            packet, *numbers = entry.args
            kind = context.get_value_type(arguments).as_pointer()
            given = within.load(within.inttoptr(packet, kind))
            parts = [within.extract_value(given, part) for part in range(len(arguments.types))]
            context.call_internal_no_propagate(within, compiled.fndesc, call, [*parts, *numbers])
            within.ret_void()
        return builder.ptrtoint(entry, ir.IntType(64))

    return types.int64(function, arguments), emit


ENTRY_TYPE = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 3)


@intrinsic
def enter(typing_context, entry, packet, thread, threads):
    """Call the code that ``entry_of`` gave the address of."""

    def emit(context, builder, signature, values):
        builder.call(builder.inttoptr(values[0], ENTRY_TYPE.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.none(*[types.int64] * 4), emit


@njit(cache=True)
def share(bell, threads, entry, packet):
    """Announce a call, take part as the first thread, and wait for those who take part when all is done."""
    if threads > 1:
        bell[ENTRY], bell[PACKET], bell[THREADS], bell[LAST] = entry, packet, threads, bell[LAST] + 1
        add_atomically(bell, OPEN, bell[LAST])
    enter(entry, packet, 0, threads)
    if threads > 1:
        add_atomically(bell, OPEN, -bell[LAST])
        swap_atomically(bell, HELD, 1, 0)
        looks = 0
        while load_atomically(bell, INSIDE) > 0:
            looks += 1
            wait_a_moment(looks)


@njit(cache=True)
def hold(bell, threads):
    """Ask the helpers to stay awake for the call that comes now, and wake them.

    Whether Python is to wake some, and the number of the caller's processor.
    """
    swap_atomically(bell, HELD, 0, 1)
    asleep = False
    for thread in range(1, threads):
        if FUTEX == 0:
            asleep |= load_atomically(bell, ASLEEP + thread * LINE) == 1
        elif swap_atomically(bell, ASLEEP + thread * LINE, 1, 0):
            futex(bell, ASLEEP + thread * LINE, WAKE, 1)
    return asleep, processor_now()


@njit(cache=True)
def serve(bell, thread):
    """Take part in each call, and sleep where there has been none for a while; True when it is time to go home.

    False where Python is to put the thread to sleep.
    """
    sleeps, looks, seen = ASLEEP + thread * LINE, 0, 0
    swap_atomically(bell, sleeps, 1, 0)
    while load_atomically(bell, HELD) != LEAVE:
        call = load_atomically(bell, OPEN)
        if call != 0 and call != seen:
            add_atomically(bell, INSIDE, 1)
            if load_atomically(bell, OPEN) == call:  # else it is over, and its arguments may be gone
                if thread < bell[THREADS]:
                    enter(bell[ENTRY], bell[PACKET], thread, bell[THREADS])
                seen = call
            add_atomically(bell, INSIDE, -1)
            looks = 0
        looks += 1
        wait_a_moment(looks)
        if looks > LOOKS:
            swap_atomically(bell, sleeps, 0, 1)
            held = load_atomically(bell, HELD)  # asked after having said that it sleeps
            if held == 0 or (held == 1 and looks > LONG * LOOKS):
                if FUTEX == 0:
                    return False
                futex(bell, sleeps, WAIT, 1)
                looks = 0
            swap_atomically(bell, sleeps, 1, 0)
    return True
