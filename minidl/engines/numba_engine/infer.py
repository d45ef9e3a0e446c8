"""A whole model forward in Numba: one compiled call runs every operation on every row, and adds up loss and metrics.

Many rows are parted among the threads, and each takes its own through all layers. Of a few rows, a layer's W takes
longer to read than to multiply: so its units are parted, each thread reads but its part of W, and they meet behind it.
"""

import time

import numpy as np

from minidl import aligned
from minidl.contract import (
    ACTIVATION,
    KIND,
    LOSS,
    OUTPUTS,
    RATE,
    SECOND,
    WHICH,
)
from minidl.engines.numba_engine import threads
from minidl.engines.numba_engine.activations import forward as forward_activation
from minidl.engines.numba_engine.activations import linear
from minidl.engines.numba_engine.atomics import add_atomically
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.forward import add_up, dense_forward, forward, fuses, penalty, target
from minidl.engines.numba_engine.plan import UNITS, inference_places_for, parted_by_units, places_for, products_of
from minidl.engines.numba_engine.team import entry_of, packet_of, share, together
from minidl.engines.numba_engine.threads import DONE, shares_of, take, wait_until_done
from minidl.engines.numba_engine.vectors import ZERO
from minidl.engines.numba_engine.views import flat, matrix, matrix_at, vector, vector_at

CHUNK = 240  # rows at a time: what a chunk's layers hand on stays in the cache, and its rows are whole tiles
MOST_PLANS = 16  # numbers of rows for which a program keeps how they go through it

# Places in the packet of an inference.
(
    TABLE, OPERATIONS, NUMBERS, PARAMETERS, PARAMETERS_SIZE, PLACES, WORK, WORK_SIZE, CHUNK_ROWS, SHARES, COUNTERS,
    COUNTERS_SIZE, THREADS, JOBS, PHASES, PACKET_SIZE,
) = range(16)  # fmt: skip


@njit(cache=True, counts=False)
def predict_rows(packet, X, out, thread, threads):
    """The output for each row of X, in the parts that the packet of an ``Inference`` says."""
    last, inputs, outputs, dtype = packet[OPERATIONS], X.shape[1], out.shape[1], X.dtype
    table = matrix_at(np.int64, packet[TABLE], last, SECOND + 1)
    numbers = matrix_at(np.float64, packet[NUMBERS], last, RATE + 1)
    places = vector_at(np.int64, packet[PLACES], last + 1)
    parameters = vector_at(dtype, packet[PARAMETERS], packet[PARAMETERS_SIZE])
    work = vector_at(dtype, packet[WORK] + thread * packet[WORK_SIZE] * X.itemsize, packet[WORK_SIZE])
    shares = matrix_at(np.int64, packet[SHARES], 1, packet[THREADS] + 1)
    counters = vector_at(np.int64, packet[COUNTERS], packet[COUNTERS_SIZE])
    X_, out_ = vector_at(dtype, X.ctypes.data, X.size), vector(out, 0, out.size)
    job = 0 if threads == 1 else take(counters, 0, shares, 0, thread, threads)
    while job >= 0:
        start = job * packet[CHUNK_ROWS]
        rows = min(packet[CHUNK_ROWS], X.shape[0] - start)
        x = vector(X_, start * inputs, rows * inputs)
        forward(table, numbers, parameters, x, work, places, 0, last, False, 0, 0, 0, rows)
        linear(matrix(work, places[last], rows, outputs), matrix(out_, start * outputs, rows, outputs))
        if threads == 1:
            job = job + 1 if start + rows < X.shape[0] else -1
        else:
            job = take(counters, 0, shares, 0, thread, threads)


@njit(cache=True)
def predict_together(bell, threads, packet, X, out):
    counters = vector_at(np.int64, packet[COUNTERS], packet[COUNTERS_SIZE])
    for place in range(counters.size):
        counters[place] = 0
    arguments = packet, X, out
    share(bell, threads, entry_of(predict_rows, arguments), packet_of(arguments))


@njit(cache=True, counts=False)
def predict_units(packet, X, out, thread, threads):
    """The same for a few rows, in the jobs that the packet says."""
    last, outputs, rows, dtype = packet[OPERATIONS], out.shape[1], X.shape[0], X.dtype
    table = matrix_at(np.int64, packet[TABLE], last, SECOND + 1)
    numbers = matrix_at(np.float64, packet[NUMBERS], last, RATE + 1)
    places = vector_at(np.int64, packet[PLACES], last + 1)
    parameters = vector_at(dtype, packet[PARAMETERS], packet[PARAMETERS_SIZE])
    work = vector_at(dtype, packet[WORK], packet[WORK_SIZE])
    phases, owners = packet[PHASES], packet[THREADS]
    shares = matrix_at(np.int64, packet[SHARES], phases, owners + 1)
    jobs = matrix_at(np.int64, packet[JOBS], shares[phases - 1, owners], 5)
    counters = vector_at(np.int64, packet[COUNTERS], packet[COUNTERS_SIZE])
    x, out_ = vector_at(dtype, X.ctypes.data, X.size), vector(out, 0, out.size)
    for phase in range(phases):
        job = take(counters, 0, shares, phase, thread, threads)
        while job >= 0:
            what, p, q, left, right = jobs[job, 0], jobs[job, 1], jobs[job, 2], jobs[job, 3], jobs[job, 4]
            if what == UNITS:
                dense_forward(table, parameters, x, work, places, p, ZERO, rows, left, right)
                if q > p + 1 and not fuses(table, places, p):
                    for r in range(rows):
                        z = matrix(work, places[p + 1] + r * table[p, OUTPUTS] + left, 1, right - left)
                        forward_activation(table[p + 1, WHICH], z, z)
            else:
                forward(table, numbers, parameters, x, work, places, p, q, False, 0, 0, 0, rows)
            if threads > 1:
                add_atomically(counters, DONE, 1)
            job = take(counters, 0, shares, phase, thread, threads)
        if threads > 1:
            wait_until_done(counters, shares[phase, owners])
    if thread == 0:
        linear(matrix(work, places[last], rows, outputs), matrix(out_, 0, rows, outputs))


@njit(cache=True)
def units_together(bell, threads, packet, X, out):
    counters = vector_at(np.int64, packet[COUNTERS], packet[COUNTERS_SIZE])
    for place in range(counters.size):
        counters[place] = 0
    arguments = packet, X, out
    share(bell, threads, entry_of(predict_units, arguments), packet_of(arguments))


@njit(cache=True)
def evaluate_rows(
    table, numbers, parameters, loss, loss_at, classes, chosen, X, y, sample_weight,
    work, places, goal, row_values, sums,
):  # fmt: skip
    last, inputs, outputs = table.shape[0], X.shape[1], goal.shape[1]
    X_ = flat(X)
    for start in range(0, X.shape[0], goal.shape[0]):
        rows = np.arange(start, min(start + goal.shape[0], X.shape[0]))
        goal_now = goal[: rows.size]
        for r in range(rows.size):
            target(classes, y, rows[r], goal_now[r])
        x = vector(X_, start * inputs, rows.size * inputs)
        forward(table, numbers, parameters, x, work, places, 0, last, False, 0, 0, 0, rows.size)
        given = matrix(work, places[loss_at], rows.size, outputs)
        p = matrix(work, places[last], rows.size, outputs)
        add_up(loss, chosen, goal_now, given, p, sample_weight, rows, row_values[: rows.size], sums)
    sums[LOSS] += X.shape[0] * penalty(table, numbers, parameters)


def parts_of(rows: int, threads: int) -> tuple[int, np.ndarray]:
    """How many rows are taken at a time, and the shares of the parts, as many for each thread."""
    parts = -(-rows // (CHUNK * threads)) * threads
    whole = 4 if rows >= 32 * parts else 1  # rows of a tile; few rows are dealt out evenly
    chunk = -(-rows // (parts * whole)) * whole
    return chunk, shares_of(-(-rows // chunk), threads)


class Inference:
    """How so many rows go through a program: on how many threads, in which parts, and through which buffers.

    alone: the same for one thread, where there is too little work to wake others for, unless calls follow each other in
    a ``stream``.
    buffers: how many, one for each thread that takes rows of its own.
    free: packets of calls that are over. A call takes one and gives it back, so that several at once have buffers of
    their own, and none is made anew for each. A packet is what the compiled code needs to know in one array of numbers
    and addresses, since each argument of a call costs as much as a hundred multiply-adds.
    """

    def __init__(self, program, rows: int, most: int):
        operations, item = rows * products_of(program), program.parameters.itemsize
        self.program, self.stream = program, threads.Stream()
        by_units = parted_by_units(program, rows, most)
        if by_units:
            self.jobs, self.shares = by_units
            self.call, self.threads, self.chunk = units_together, self.shares.shape[1] - 1, rows
        else:
            self.call, self.threads = predict_together, min(threads.for_call(operations), rows, most)
            self.chunk, self.shares = parts_of(rows, self.threads)
            self.jobs = np.zeros((0, 0), np.int64)
        small = self.threads > 1 and operations < threads.PAYS_TO_WAKE
        self.alone = Inference(program, rows, 1) if small else None
        self.places, self.size = inference_places_for(program, self.chunk)
        parted = program.table[:, KIND] != ACTIVATION
        self.buffers = 1 if by_units else self.threads
        self.buffer_bytes = self.buffers * self.size * item
        self.unplanned_bytes = rows * int(program.table[parted, OUTPUTS].sum()) * item
        self.free: list[tuple] = []

    def new_packet(self) -> tuple:
        """A packet, and the buffers that it holds the addresses of."""
        program = self.program
        work = aligned.zeros((self.buffers, self.size), program.parameters.dtype)
        counters, packet = threads.counters(self.threads), np.zeros(PACKET_SIZE, np.int64)
        for place, array in (
            (TABLE, program.table), (NUMBERS, program.numbers), (PARAMETERS, program.parameters),
            (PLACES, self.places), (WORK, work), (SHARES, self.shares), (COUNTERS, counters), (JOBS, self.jobs),
        ):  # fmt: skip
            packet[place] = array.ctypes.data
        for place, number in (
            (OPERATIONS, len(program.table)), (PARAMETERS_SIZE, program.parameters.size), (WORK_SIZE, self.size),
            (CHUNK_ROWS, self.chunk), (THREADS, self.threads), (COUNTERS_SIZE, counters.size),
            (PHASES, len(self.shares)),
        ):  # fmt: skip
            packet[place] = number
        return packet, work, counters

    def run(self, X, out):
        """Fill ``out`` with the output for each row of X."""
        try:
            room = self.free.pop()
        except IndexError:
            room = self.new_packet()
        if self.threads == 1:
            predict_rows(room[0], X, out, 0, 1)
        else:
            together(self.call, (room[0], X, out), self.threads)
        self.free.append(room)


def predict(program, X, out=None):
    """The model's output for each row of X: (n, i) -> (n, o)."""
    out = np.empty((X.shape[0], program.outputs), X.dtype) if out is None else out
    plan = plan_of(program, X.shape[0])
    if plan.alone is None:
        plan.run(X, out)
        return out
    chosen = plan if plan.stream.flows() else plan.alone
    chosen.run(X, out)
    plan.stream.over = time.perf_counter()
    return out


def plan_of(program, rows: int) -> Inference:
    """How so many rows go through the program, made where it is not known yet."""
    plan = program.plans.get(rows)
    if plan is None:
        if len(program.plans) > MOST_PLANS:
            program.plans.clear()
        plan = program.plans[rows] = Inference(program, rows, threads.most_of(program))
    return plan


def lay_out(program, rows: int) -> None:
    """See to it that no later call with so many rows has to compile or to allocate anything, whichever way it goes."""
    run_each_way(plan_of(program, rows), program, rows, program.parameters.dtype)


def run_each_way(plan, program, rows: int, dtype) -> None:
    for way in filter(None, (plan, plan.alone)):
        way.run(np.zeros((rows, program.inputs), dtype), np.empty((rows, program.outputs), dtype))


def evaluate(program, X, y, sample_weight=None):
    """The sums (contract.py) of loss and metrics over all rows."""
    sums = np.zeros(program.sums_size)
    rows = min(len(X), CHUNK)
    places, size = places_for(program, rows)
    work, row_values = np.empty(size, X.dtype), np.empty(rows, X.dtype)
    goal = np.empty((rows, program.outputs), X.dtype)
    sample_weight = np.empty(0, X.dtype) if sample_weight is None else sample_weight
    evaluate_rows(
        program.table, program.numbers, program.parameters, program.loss, program.loss_at, program.classes,
        program.metrics, X, y, sample_weight, work, places, goal, row_values, sums,
    )  # fmt: skip
    return sums
