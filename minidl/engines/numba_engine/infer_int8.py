"""A whole network forward in whole numbers: one compiled call takes rows through all layers, as in infer.py.

Between two layers whose activation is a ReLU or none the rows stay whole numbers; other activations, a normalization,
and rows that each get a scale of their own (dynamic) are computed in float32.
"""

import time

import numpy as np

from minidl import aligned
from minidl.contract import LINEAR, RELU, SMALLEST_SCALE
from minidl.engines.numba_engine import activations, threads
from minidl.engines.numba_engine.atomics import add_atomically
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.gemm_int8 import (
    FOUR,
    LANES,
    multiply_int8,
    pack,
    quantize_vectors,
    steps_of,
    whole_panels,
)
from minidl.engines.numba_engine.infer import MOST_PLANS, parts_of, run_each_way
from minidl.engines.numba_engine.team import entry_of, packet_of, share, together
from minidl.engines.numba_engine.threads import DONE, take
from minidl.engines.numba_engine.views import flat, matrix, matrix_at, vector, vector_at

WORTH = 4  # products in the time of one in float32

# Columns of the table: one row per layer.
#   INPUTS, OUTPUTS   widths; STEPS, UNITS   the same in int32 of four inputs, and filled up to whole panels
#   WHOLE   1 where the next layer takes what this one puts out as whole numbers, else 0
#   W, OFFSETS, FACTORS, BIAS, TOTALS, MEAN, DEVIATION   addresses (minidl/inference/int8.py); of MEAN and DEVIATION 0
#           where there is no normalization. FACTORS are for the next layer's whole numbers where WHOLE is 1.
INPUTS, OUTPUTS, STEPS, UNITS, WHOLE, ACTIVATION, W, OFFSETS, FACTORS, BIAS, TOTALS, MEAN, DEVIATION = range(13)
# Columns of the numbers, float32: what x is multiplied by and moved by to become a whole number; the same move of the
# next layer, and the lowest whole number that it may be given.
INVERSE, ZERO, NEXT_ZERO, LOW = range(4)

# Places in a packet. Four buffers of each thread: two of bytes, sums in int32 and floats, each for a chunk of rows.
(
    TABLE, LAYERS, NUMBERS, DYNAMIC, OUT_MEAN, OUT_DEVIATION, CHUNK_ROWS, BYTES, BYTES_SIZE, SUMS, SUMS_SIZE, FLOATS,
    FLOATS_SIZE, SHARES, COUNTERS, COUNTERS_SIZE, THREADS, PACKET_SIZE,
) = range(18)  # fmt: skip

forward_activation = activations.forward


@njit(cache=True)
def quantize_rows(x, inverse, zero, q, q_row):
    """round(x * inverse) + zero, clipped to [0, 255], row by row; how many had to be clipped. NaN counts, and is 0."""
    inputs, x_, clipped, low, high = x.shape[1], flat(x), 0, np.float32(0), np.float32(255)
    whole = inputs - inputs % LANES
    for r in range(x.shape[0]):
        clipped += quantize_vectors(x_, r * inputs, q, r * q_row, whole, inverse, zero)
        for k in range(whole, inputs):
            value = np.rint(x_[r * inputs + k] * inverse) + zero
            at_least = value if value > low else low
            within = at_least if at_least < high else high
            clipped += value != within
            q[r * q_row + k] = np.int32(within)
    return clipped


@njit(cache=True)
def quantize_each(x, q, q_row, scales, zeros):
    """The same with a scale and a zero for each row, from its least and largest value."""
    for r in range(x.shape[0]):
        least = largest = np.float32(0)
        for k in range(x.shape[1]):
            value = x[r, k]
            least, largest = min(least, value), max(largest, value)
        scale = max((largest - least) / np.float32(255), np.float32(SMALLEST_SCALE))
        zero = np.rint(-least / scale)
        scales[r], zeros[r] = scale, zero
        quantize_rows(x[r : r + 1], np.float32(1) / scale, zero, vector(q, r * q_row, q_row), q_row)


@njit(cache=True)
def normalize_rows(x, means, deviations, out):
    """(x - mean) / deviation, from the addresses of the means and deviations."""
    mean, deviation = vector_at(x.dtype, means, x.shape[1]), vector_at(x.dtype, deviations, x.shape[1])
    for r in range(x.shape[0]):
        for k in range(x.shape[1]):
            out[r, k] = (x[r, k] - mean[k]) / deviation[k]


@njit(cache=True)
def reals_of(sums, units, factors, out):
    """sums * factors, as floats."""
    for r in range(out.shape[0]):
        sums_r = vector(sums, r * units, out.shape[1])
        for u in range(out.shape[1]):
            out[r, u] = np.float32(sums_r[u]) * factors[u]


@njit(cache=True)
def reals_of_each(sums, units, scale, totals, bias, scales, zeros, out):
    """The same with a scale and a zero of each row's own."""
    for r in range(out.shape[0]):
        sums_r, zero = vector(sums, r * units, out.shape[1]), np.int32(zeros[r])
        for u in range(out.shape[1]):
            out[r, u] = np.float32(sums_r[u] - zero * totals[u]) * (scales[r] * scale[u]) + bias[u]


@njit(cache=True)
def predict_rows_int8(packet, X, out, thread, threads):
    """The output for each row of X, in the parts that the packet says; what was clipped is added to the counters."""
    real, layers, dynamic, chunk = np.float32, packet[LAYERS], packet[DYNAMIC] == 1, packet[CHUNK_ROWS]
    table, numbers = matrix_at(np.int64, packet[TABLE], layers, 13), matrix_at(real, packet[NUMBERS], layers, 4)
    bytes_, sums, floats = packet[BYTES_SIZE], packet[SUMS_SIZE], packet[FLOATS_SIZE]
    given, taken = packet[BYTES] + 2 * thread * bytes_, packet[BYTES] + (2 * thread + 1) * bytes_
    sums_ = vector_at(np.int32, packet[SUMS] + thread * sums * 4, sums)
    floats_ = vector_at(real, packet[FLOATS] + thread * floats * 4, floats)
    scales, zeros = vector(floats_, floats - 2 * chunk, chunk), vector(floats_, floats - chunk, chunk)
    shares = matrix_at(np.int64, packet[SHARES], 1, packet[THREADS] + 1)
    counters = vector_at(np.int64, packet[COUNTERS], packet[COUNTERS_SIZE])
    clipped = 0
    X_, out_ = vector(X, 0, X.size), vector(out, 0, out.size)
    job = 0 if threads == 1 else take(counters, 0, shares, 0, thread, threads)
    while job >= 0:
        start = job * chunk
        rows = min(chunk, X.shape[0] - start)
        x, whole = matrix(X_, start * X.shape[1], rows, X.shape[1]), False
        for p in range(layers):
            inputs, outputs, steps, units = table[p, INPUTS], table[p, OUTPUTS], table[p, STEPS], table[p, UNITS]
            row = table[p - 1, UNITS] // FOUR if whole else steps
            q = vector_at(np.uint8, given, bytes_)
            if not whole:
                if table[p, MEAN] != 0:
                    y = matrix(floats_, 0, rows, inputs)
                    normalize_rows(x, table[p, MEAN], table[p, DEVIATION], y)
                    x = y
                if dynamic:
                    quantize_each(x, q, steps * FOUR, scales, zeros)
                else:
                    found = quantize_rows(x, numbers[p, INVERSE], numbers[p, ZERO], q, steps * FOUR)
                    if p == 0:
                        clipped += found
            A = vector_at(np.int32, given, bytes_ // FOUR)
            weights = vector_at(np.int32, table[p, W], steps * units)
            offsets = vector_at(np.int32, table[p, OFFSETS], units)
            factors = vector_at(real, table[p, FACTORS], units)
            whole = table[p, WHOLE] == 1
            zero, low = numbers[p, NEXT_ZERO], numbers[p, LOW]
            if whole:
                C = vector_at(np.uint8, taken, bytes_)
                multiply_int8(rows, units, steps, C, units, offsets, factors, A, row, weights, zero, low)
                given, taken = taken, given
                continue
            multiply_int8(rows, units, steps, sums_, units, offsets, factors, A, row, weights, zero, low)
            last = p == layers - 1
            y = matrix(out_, start * outputs, rows, outputs) if last else matrix(floats_, 0, rows, outputs)
            if dynamic:
                bias, totals = vector_at(real, table[p, BIAS], outputs), vector_at(np.int32, table[p, TOTALS], outputs)
                reals_of_each(sums_, units, factors, totals, bias, scales, zeros, y)
            else:
                reals_of(sums_, units, factors, y)
            forward_activation(table[p, ACTIVATION], y, y)
            if last and packet[OUT_MEAN] != 0:
                normalize_rows(y, packet[OUT_MEAN], packet[OUT_DEVIATION], y)
            x = y
        if threads == 1:
            job = job + 1 if start + rows < X.shape[0] else -1
        else:
            job = take(counters, 0, shares, 0, thread, threads)
    add_atomically(counters, DONE, clipped)


@njit(cache=True)
def predict_together_int8(bell, threads, packet, X, out):
    counters = vector_at(np.int64, packet[COUNTERS], packet[COUNTERS_SIZE])
    for place in range(counters.size):
        counters[place] = 0
    arguments = packet, X, out
    share(bell, threads, entry_of(predict_rows_int8, arguments), packet_of(arguments))
    return counters[DONE]


class Network:
    """An ``Int8Program`` as the compiled code reads it: W packed once, a table with the addresses of all it needs."""

    def __init__(self, program):
        self.layers, self.arrays = program.layers, []
        self.table = np.zeros((len(self.layers), 13), np.int64)
        self.numbers = np.zeros((len(self.layers), 4), np.float32)
        for p, layer in enumerate(self.layers):
            self.describe(p, layer, program.dynamic)
        self.out = self.keep(program.mean), self.keep(program.deviation)
        self.products = int(self.table[:, INPUTS] @ self.table[:, UNITS])
        self.row_bytes = max(int(self.table[:, UNITS].max()), FOUR * int(self.table[:, STEPS].max()))
        real = self.table[self.table[:, WHOLE] == 0]  # the layers that put out floats
        normalized = self.table[self.table[:, MEAN] != 0, INPUTS]
        self.row_units = int(real[:, UNITS].max())
        self.row_floats = max([*real[:-1, OUTPUTS].tolist(), *normalized.tolist()], default=0)

    def describe(self, p: int, layer, dynamic: bool):
        """The row of this layer."""
        row, numbers, (inputs, outputs) = self.table[p], self.numbers[p], layer.W.shape
        following = self.layers[p + 1] if p + 1 < len(self.layers) else None
        whole = not dynamic and following is not None and not following.mean.size
        whole = whole and layer.activation in (RELU, LINEAR)
        units = whole_panels(outputs)
        row[[INPUTS, OUTPUTS, STEPS, UNITS]] = inputs, outputs, steps_of(inputs), units
        row[WHOLE], row[ACTIVATION], row[W] = whole, layer.activation, self.keep(pack(layer.W))
        row[MEAN], row[DEVIATION] = self.keep(layer.mean), self.keep(layer.deviation)
        if dynamic:
            row[OFFSETS], row[FACTORS] = self.keep(np.zeros(units, np.int32)), self.keep(filled(layer.scale, units))
            row[BIAS], row[TOTALS] = self.keep(layer.bias), self.keep(layer.totals)
            return
        row[OFFSETS] = self.keep(filled(layer.offset, units))
        row[FACTORS] = self.keep(filled(layer.factor / following.x_scale if whole else layer.factor, units))
        numbers[[INVERSE, ZERO]] = np.float32(1) / layer.x_scale, layer.x_zero
        if whole:
            numbers[NEXT_ZERO] = following.x_zero
            numbers[LOW] = following.x_zero if layer.activation == RELU else 0

    def keep(self, array: np.ndarray) -> int:
        """The address of a copy that begins at a cache line; 0 of an empty array."""
        if not array.size:
            return 0
        self.arrays.append(aligned.copy(array))
        return self.arrays[-1].ctypes.data


def filled(values: np.ndarray, units: int) -> np.ndarray:
    """The values and zeros behind them, ``units`` in all."""
    return np.concatenate([values, np.zeros(units - values.size, values.dtype)])


class Int8Inference:
    """How so many rows go through a network: as infer.Inference says it of one in floats."""

    def __init__(self, program, network: Network, rows: int, most: int):
        operations = network.products * rows / WORTH
        self.network, self.dynamic, self.stream = network, program.dynamic, threads.Stream()
        self.threads = min(threads.for_call(operations), rows, most)
        small = self.threads > 1 and operations < threads.PAYS_TO_WAKE
        self.alone = Int8Inference(program, network, rows, 1) if small else None
        self.chunk, self.shares = parts_of(rows, self.threads)
        chunk = self.chunk
        self.bytes = aligned.whole_lines(chunk * network.row_bytes, np.uint8)
        self.sums = aligned.whole_lines(chunk * network.row_units, np.int32)
        self.floats = aligned.whole_lines(chunk * (network.row_floats + 2), np.float32)
        self.buffer_bytes = self.threads * (2 * self.bytes + 4 * self.sums + 4 * self.floats)
        widths = network.table[:, [INPUTS, OUTPUTS]].sum(axis=0)
        self.unplanned_bytes = rows * int(widths @ [1, 4 + 4])  # bytes before each layer, sums and floats behind it
        self.free: list[tuple] = []

    def new_packet(self) -> tuple:
        """A packet, and the buffers that it holds the addresses of."""
        network, packet = self.network, np.zeros(PACKET_SIZE, np.int64)
        counters = threads.counters(self.threads)
        buffers = (
            aligned.zeros(2 * self.threads * self.bytes, np.uint8), aligned.zeros(self.threads * self.sums, np.int32),
            aligned.zeros(self.threads * self.floats, np.float32),
        )  # fmt: skip
        for place, array in (
            (TABLE, network.table), (NUMBERS, network.numbers), (BYTES, buffers[0]), (SUMS, buffers[1]),
            (FLOATS, buffers[2]), (SHARES, self.shares), (COUNTERS, counters),
        ):  # fmt: skip
            packet[place] = array.ctypes.data
        for place, number in (
            (LAYERS, len(network.layers)), (DYNAMIC, self.dynamic), (CHUNK_ROWS, self.chunk), (BYTES_SIZE, self.bytes),
            (SUMS_SIZE, self.sums), (FLOATS_SIZE, self.floats), (COUNTERS_SIZE, counters.size), (THREADS, self.threads),
            (OUT_MEAN, network.out[0]), (OUT_DEVIATION, network.out[1]),
        ):  # fmt: skip
            packet[place] = number
        return packet, counters, buffers

    def run(self, X, out):
        """Fill ``out``; how many entries lay outside."""
        try:
            room = self.free.pop()
        except IndexError:
            room = self.new_packet()
        found = together(predict_together_int8, (room[0], X, out), self.threads)
        self.free.append(room)
        return found


def predict_int8(program, X, out):
    """Fill ``out`` (n, o) with the program's output for each row of X; returns how many entries lay outside."""
    plan = plan_of(program, len(X))
    if plan.alone is None:
        return plan.run(X, out)
    found = (plan if plan.stream.flows() else plan.alone).run(X, out)
    plan.stream.over = time.perf_counter()
    return found


def plan_of(program, rows: int) -> Int8Inference:
    """How so many rows go through the program, made where it is not known yet."""
    plans = program.plans
    network = plans.get("network")
    if network is None:
        network = plans["network"] = Network(program)
    plan = plans.get(rows)
    if plan is None:
        if len(plans) > MOST_PLANS:
            plans.clear()
        plan = plans[rows] = Int8Inference(program, network, rows, threads.most_of(program))
    return plan


def lay_out_int8(program, rows: int) -> None:
    """As ``infer.lay_out``."""
    run_each_way(plan_of(program, rows), program, rows, np.float32)
