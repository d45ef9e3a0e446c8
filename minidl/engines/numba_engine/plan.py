"""The plan of a training step: which jobs there are, in which order, whose they are, and where everything lies.

A batch can be parted in two ways. By rows, each thread takes some rows through several layers and needs all of W; by
units, each takes all rows through some columns of one W, which nobody else needs, and the threads meet after each
layer. Where W is larger than what the rows hold, to part it is cheaper: else it would travel between the processors at
every step. The parameters are always parted: each job moves a block of one W, and its part of b.
"""

from __future__ import annotations

import numpy as np

from minidl import aligned
from minidl import contract as c
from minidl.engines.numba_engine.gemm import VECTOR_BYTES

# What a job does. Its numbers are: what, p, q, first, last, left, right.
PASS = 0  # rows first to last through the operations p to q, and after the last of all the loss and back down to left
BACK = 1  # rows first to last back through the operations p - 1 down to q
UNITS = 2  # all rows forward through the units left to right of the dense layer p
INPUTS = 3  # all rows back to the inputs left to right of the dense layer p
MOVE = 4  # the rows first to last of the W of the dense layer p: its gradient, and the optimizer's step
TOTALS = 5  # the loss and metrics of the batch

MOST_ROWS = 64  # of a batch in one job: what its layers hand on stays in the cache
BLOCK = 8192  # entries of a W in one job, about: its gradient stays in the first cache until the optimizer has read it
LANES = 16  # rows of a W at a time: a block begins at a cache line, whatever the number of units
LEAST = 65_536  # entries of a W that is worth parting by units


class Plan:
    """The jobs of a step for batches of up to ``rows`` rows, and the places of what it computes.

    jobs: int64 (jobs, 7). shares: int64 (phases, threads + 1): thread t's jobs of a phase are shares[phase, t] to
    shares[phase, t + 1]. Between two phases the threads meet.
    places, slope_places, turned_places: where each operation's output, the gradient by it, and the transposed W of each
    dense layer lie, in buffers of the three ``sizes``. largest_block: entries of the largest part of a W in one job.
    """

    def __init__(self, program, rows: int, threads: int):
        self.program, self.rows, self.threads = program, rows, threads
        self.places, work = places_for(program, rows)
        self.slope_places, slopes = slope_places_for(program, rows)
        self.turned_places, turned = turned_places_for(program)
        self.sizes = work, slopes, turned
        self.panel = 2 * VECTOR_BYTES // program.parameters.itemsize  # columns of a tile
        self.operations = len(program.table)
        phases = [*self.forward(), *self.backward(), self.parameters()]
        self.jobs = np.array([job for phase in phases for share in phase for job in share], dtype=np.int64)
        ends = np.cumsum([0, *(len(share) for phase in phases for share in phase)])
        self.shares = np.array([ends[t * threads : (t + 1) * threads + 1] for t in range(len(phases))], dtype=np.int64)
        moves = self.jobs[self.jobs[:, 0] == MOVE]
        self.largest_block = int(((moves[:, 4] - moves[:, 3]) * program.table[moves[:, 1], c.OUTPUTS]).max(initial=0))

    def by_units(self, p: int) -> bool:
        """Whether the operation p is a dense layer that is parted by units."""
        row = self.program.table[p]
        inputs, outputs = int(row[c.INPUTS]), int(row[c.OUTPUTS])
        held = 2 * self.rows * (inputs + outputs)
        large = inputs * outputs > max(LEAST, held) and outputs >= 2 * self.panel
        return self.threads > 1 and row[c.KIND] == c.DENSE and large

    def forward(self):
        """Each layer by units is a phase; so are the rows through what lies between two of them, and the end."""
        start = 0
        for p in filter(self.by_units, range(self.operations)):
            if p > start or p == 0:
                yield self.by_rows(PASS, start, p)
            yield self.by_columns(UNITS, p, int(self.program.table[p, c.OUTPUTS]))
            start = p + 2 if fuses(self.program.table, self.places, p) else p + 1
        yield self.by_rows(PASS, start, self.operations, self.below(self.program.loss_at))

    def below(self, p: int) -> int:
        """How far down rows can go back from p: to a dense layer by units, or to the first one that learns."""
        lowest = self.program.first_trainable + 1
        return next((at + 1 for at in range(p - 1, lowest - 1, -1) if self.by_units(at)), min(lowest, p))

    def backward(self):
        p = self.below(self.program.loss_at)
        while p > self.program.first_trainable + 1:
            yield self.by_columns(INPUTS, p - 1, int(self.program.table[p - 1, c.INPUTS]))
            p -= 1
            to = self.below(p)
            if to < p:
                yield self.by_rows(BACK, p, to)
                p = to

    def by_rows(self, what: int, p: int, q: int, down_to: int = 0):
        """The batch in jobs of as many rows each, whole fours."""
        parts = -(-self.rows // (MOST_ROWS * self.threads)) * self.threads
        step = -(-self.rows // (4 * parts)) * 4
        return dealt([(what, p, q, r, r + step, down_to, 0) for r in range(0, self.rows, step)], self.threads)

    def by_columns(self, what: int, p: int, columns: int):
        """Two jobs for each thread, of whole panels; one where there are but few rows, which wide tiles serve best."""
        jobs = self.threads if self.rows < 4 else 2 * self.threads
        step = -(-columns // (jobs * self.panel)) * self.panel
        jobs = [(what, p, 0, 0, 0, left, min(left + step, columns)) for left in range(0, columns, step)]
        return dealt(jobs, self.threads)

    def parameters(self):
        """Each thread's blocks of every W: the units that it passes forward, or as many rows for each."""
        shares: list[list[tuple]] = [[] for _ in range(self.threads)]
        for p in range(self.operations):
            row = self.program.table[p]
            if row[c.KIND] == c.DENSE and row[c.FIRST] < self.program.trainable:
                for share, jobs in zip(shares, dealt(self.blocks(p), self.threads), strict=True):
                    share += jobs
        shares[-1].append((TOTALS, 0, 0, 0, 0, 0, 0))
        return shares

    def blocks(self, p: int) -> list[tuple]:
        """The blocks of rows of the W of the dense layer p, as many for each thread. The first has the bias."""
        inputs, outputs = (int(size) for size in self.program.table[p, [c.INPUTS, c.OUTPUTS]])
        share = -(-inputs // self.threads)
        least = LANES if share >= LANES else -(-share // 4) * 4
        high = min(max(1, BLOCK // (least * outputs)), -(-share // least)) * least
        return [(MOVE, p, 0, k, min(k + high, inputs), 0, 0) for k in range(0, inputs, high)]


def plan(program, rows: int, threads: int) -> Plan:
    """The plan of this program, which is made anew only where it differs from the last one."""
    key = rows, threads, program.loss_at
    if program.plans.get("train", (None,))[0] != key:
        program.plans["train"] = key, Plan(program, rows, threads)
    return program.plans["train"][1]


def dealt(jobs: list, threads: int) -> list[list]:
    """The jobs in shares of as many for each thread, neighbours together."""
    return [jobs[len(jobs) * t // threads : len(jobs) * (t + 1) // threads] for t in range(threads)]


def fuses(table: np.ndarray, places: np.ndarray, p: int) -> bool:
    """Whether the dense layer p does the ReLU behind it as well."""
    after = p + 1
    return bool(
        after < len(table)
        and table[after, c.KIND] == c.ACTIVATION
        and table[after, c.WHICH] == c.RELU
        and places[after + 1] == places[after]
    )


def places_for(program, rows: int):
    """Where in one flat buffer each operation's output lies, and the buffer's size, for batches of up to ``rows`` rows.

    An activation overwrites what it reads, unless the loss will be taken from that; so the buffer is smaller.
    """
    places, end = [0], 0
    for place, row in enumerate(program.table):
        if row[c.KIND] != c.ACTIVATION or place in (0, program.loss_at):
            places.append(end)
            end += whole(program, rows * int(row[c.OUTPUTS]))
        else:
            places.append(places[-1])
    return np.array(places, dtype=np.int64), end


def slope_places_for(program, rows: int):
    """Where the gradient by each operation's output lies (by its input: the place before), and the buffer's size.

    What only passes a gradient on does so in place; a dense layer's is kept until its W has been moved.
    """
    places, end = np.zeros(len(program.table) + 1, np.int64), whole(program, rows * program.outputs)
    for p in range(program.loss_at - 1, -1, -1):
        places[p] = places[p + 1]
        if program.table[p, c.KIND] == c.DENSE and p > program.first_trainable:
            places[p], end = end, end + whole(program, rows * int(program.table[p, c.INPUTS]))
    return places, end


def turned_places_for(program):
    """Where the transposed W of each dense layer lies that a gradient is passed back through, and the buffer's size."""
    places, end = np.full(len(program.table), -1, np.int64), 0
    for p in range(program.first_trainable + 1, program.loss_at):
        if program.table[p, c.KIND] == c.DENSE:
            size = int(program.table[p, c.INPUTS] * program.table[p, c.OUTPUTS])
            places[p], end = end, end + whole(program, size)
    return places, end


def whole(program, size: int) -> int:
    return aligned.whole_lines(size, program.parameters.dtype)
