"""A whole model forward in Numba: one compiled call runs every operation on every row, and adds up loss and metrics."""

import time

import numpy as np

from minidl import aligned
from minidl.contract import (
    ACTIVATION,
    AUC,
    AUC_BINS,
    DENSE,
    FIRST,
    FIRST_METRIC,
    INPUTS,
    KIND,
    L1,
    L2,
    LOSS,
    NORMALIZATION,
    OUTPUTS,
    RATE,
    ROWS,
    SECOND,
    WHICH,
)
from minidl.engines.numba_engine import threads
from minidl.engines.numba_engine.activations import forward as forward_activation
from minidl.engines.numba_engine.activations import linear
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.dense import dense_with_floor
from minidl.engines.numba_engine.gemm import ZERO
from minidl.engines.numba_engine.losses import forward as forward_loss
from minidl.engines.numba_engine.metrics import auc_histograms
from minidl.engines.numba_engine.metrics import forward as forward_metric
from minidl.engines.numba_engine.normalization import normalization
from minidl.engines.numba_engine.plan import fuses as fuses_by_table
from minidl.engines.numba_engine.plan import inference_places_for, places_for
from minidl.engines.numba_engine.regularization import dropout, l1, l2
from minidl.engines.numba_engine.team import entry_of, packet_of, share, together
from minidl.engines.numba_engine.threads import shares_of, take
from minidl.engines.numba_engine.views import flat, matrix, matrix_at, vector, vector_at

CHUNK = 240  # rows at a time: what a chunk's layers hand on stays in the cache, and its rows are whole tiles

NARROW = 32  # units; a layer of fewer takes as long as one of so many
MOST_PLANS = 16  # numbers of rows for which a program keeps how they go through it

# Places in the packet of an inference.
(
    TABLE, OPERATIONS, NUMBERS, PARAMETERS, PARAMETERS_SIZE, PLACES, WORK, WORK_SIZE, CHUNK_ROWS, SHARES, COUNTERS,
    COUNTERS_SIZE, THREADS, PACKET_SIZE,
) = range(14)  # fmt: skip

# The compiled functions below run at every layer of every model from the same machine code: what differs is in the
# table. ``work`` holds what each operation puts out, ``places[p]`` is where the output of operation p - 1 begins.
fuses = njit(cache=True)(fuses_by_table)


@njit(cache=True, inline="always")
def forward(table, numbers, parameters, x, work, places, begin, end, training, seed, step, first, rows):
    """Run the operations ``begin`` to ``end`` on ``rows`` rows from ``first`` on, each into its place in ``work``.

    x and ``work`` are flat and hold the whole batch.
    """
    fused = False
    for p in range(begin, end):
        if fused:  # the dense layer before has done it
            fused = False
            continue
        kind, start, second = table[p, KIND], table[p, FIRST], table[p, SECOND]
        inputs, outputs = table[p, INPUTS], table[p, OUTPUTS]
        if kind == DENSE:
            fused = fuses(table, places, p)
            dense_forward(table, parameters, x, work, places, p, first, rows, ZERO, outputs)
            continue
        source, at = (x, first * inputs) if p == 0 else (work, places[p] + first * inputs)
        x_p, y = matrix(source, at, rows, inputs), matrix(work, places[p + 1] + first * outputs, rows, outputs)
        if kind == ACTIVATION:
            forward_activation(table[p, WHICH], x_p, y)
        elif kind == NORMALIZATION:
            normalization(x_p, vector(parameters, start, inputs), vector(parameters, second, inputs), y)
        elif training:
            dropout(x_p, numbers[p, RATE], seed, step, table[p, WHICH], first * inputs, y)
        else:
            linear(x_p, y)


@njit(cache=True, inline="always")
def dense_forward(table, parameters, x, work, places, p, first, rows, left, right):
    """``rows`` rows from ``first`` on through the units ``left`` to ``right`` of the dense layer p, and its ReLU."""
    inputs, outputs, start = table[p, INPUTS], table[p, OUTPUTS], places[p + 1] + left
    source, at = (x, first * inputs) if p == 0 else (work, places[p] + first * inputs)
    floor = work.dtype.type(0) if fuses(table, places, p) else work.dtype.type(-np.inf)
    dense_with_floor(
        rows, right - left, outputs, inputs, work, start + first * outputs, parameters, table[p, SECOND] + left, source,
        at, parameters, table[p, FIRST] + left, floor,
    )  # fmt: skip


@njit(cache=True, inline="always")
def penalty(table, numbers, parameters):
    """What the l1 and l2 regularizers add to the loss."""
    total = 0.0
    for p in range(table.shape[0]):
        W = vector(parameters, table[p, FIRST], table[p, INPUTS] * table[p, OUTPUTS])
        if numbers[p, L1] != 0:
            total += l1(W, numbers[p, L1])
        if numbers[p, L2] != 0:
            total += l2(W, numbers[p, L2])
    return total


@njit(cache=True, inline="always")
def add_up(loss, chosen, y, given, p, sample_weight, rows, row_values, sums):
    """Add the loss (from what it is ``given``) and metrics (from the predictions p) to the sums.

    ``rows`` are the places of these rows in ``sample_weight``, which is empty where all weigh the same.
    """
    forward_loss(loss, y, given, row_values)
    total = 0.0
    for r in range(rows.size):
        total += row_values[r] * sample_weight[rows[r]] if sample_weight.size > 0 else row_values[r]
    sums[ROWS] += rows.size
    sums[LOSS] += total
    place = FIRST_METRIC
    for metric in chosen:
        if metric == AUC:
            auc_histograms(y, p, matrix(sums, place, 2, AUC_BINS))
            place += 2 * AUC_BINS
        else:
            forward_metric(metric, y, p, row_values)
            for r in range(rows.size):
                sums[place] += row_values[r]
            place += 1


@njit(cache=True, inline="always")
def target(classes, y, row, out):
    """Copy a row's targets to ``out``; a class index (n, 1) as one 1 among zeros."""
    for u in range(out.size):
        if classes > 0:
            out[u] = 1 if u == int(y[row, 0]) else 0
        else:
            out[u] = y[row, u]


@njit(cache=True)
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


def products_of(program) -> int:
    """Multiply-adds of one row going forward, layers of few units counted for the time they take."""
    inputs, units = program.table[program.table[:, KIND] == DENSE][:, [INPUTS, OUTPUTS]].T
    return int(inputs @ np.maximum(units, NARROW))


class Inference:
    """How so many rows go through a program: on how many threads, in which parts, and through which buffers.

    alone: the same for one thread, where there is too little work to wake others for; over: when the last call was.
    free: packets of calls that are over. A call takes one and gives it back, so that several at once have buffers of
    their own, and none is made anew for each. A packet is what the compiled code needs to know in one array of numbers
    and addresses, since each argument of a call costs as much as a hundred multiply-adds.
    """

    def __init__(self, program, rows: int, most: int):
        operations, item = rows * products_of(program), program.parameters.itemsize
        self.program, self.over = program, 0.0
        self.threads = min(threads.for_call(operations), rows, most)
        self.chunk, self.shares = parts_of(rows, self.threads)
        small = self.threads > 1 and operations < threads.PAYS_TO_WAKE
        self.alone = Inference(program, rows, 1) if small else None
        self.places, self.size = inference_places_for(program, self.chunk)
        parted = program.table[:, KIND] != ACTIVATION
        self.buffer_bytes = self.threads * self.size * item
        self.unplanned_bytes = rows * int(program.table[parted, OUTPUTS].sum()) * item
        self.free: list[tuple] = []

    def new_packet(self) -> tuple:
        """A packet, and the buffers that it holds the addresses of."""
        program = self.program
        work = aligned.zeros((self.threads, self.size), program.parameters.dtype)
        counters, packet = threads.counters(self.threads), np.zeros(PACKET_SIZE, np.int64)
        for place, array in (
            (TABLE, program.table), (NUMBERS, program.numbers), (PARAMETERS, program.parameters),
            (PLACES, self.places), (WORK, work), (SHARES, self.shares), (COUNTERS, counters),
        ):  # fmt: skip
            packet[place] = array.ctypes.data
        for place, number in (
            (OPERATIONS, len(program.table)), (PARAMETERS_SIZE, program.parameters.size), (WORK_SIZE, self.size),
            (CHUNK_ROWS, self.chunk), (THREADS, self.threads), (COUNTERS_SIZE, counters.size),
        ):  # fmt: skip
            packet[place] = number
        return packet, work, counters


def predict(program, X, out=None):
    """The model's output for each row of X: (n, i) -> (n, o)."""
    rows, plans = X.shape[0], program.plans
    out = np.empty((rows, program.outputs), X.dtype) if out is None else out
    plan = plans.get(rows)
    if plan is None:
        if len(plans) > MOST_PLANS:
            plans.clear()
        plan = plans[rows] = Inference(program, rows, threads.most_of(program))
    chosen = plan if plan.alone is None or threads.follows(plan) else plan.alone
    try:
        room = chosen.free.pop()
    except IndexError:
        room = chosen.new_packet()
    if chosen.threads == 1:
        predict_rows(room[0], X, out, 0, 1)
    else:
        together(predict_together, (room[0], X, out), chosen.threads)
    chosen.free.append(room)
    if plan.alone is not None:
        plan.over = time.perf_counter()
    return out


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
