"""The plan of a training step: which jobs there are, whose they are, and where what is computed lies.

A step has two phases, between which the threads meet. In the first the batch is parted by rows: each job takes some
rows forward through all layers, and the gradient of the loss back through them. In the second the parameters are
parted: each job computes the gradient by some rows of one W from the whole batch, and takes the optimizer's step there
while it is still in the cache. So there is no vector of gradients.

Where a W is small beside the rows that go in and out of its layer, the gradient is taken in the first phase instead, by
each job from its own rows, which it has in the cache; the second adds up these parts. Then there are the same jobs for
any number of threads, and so the same parts.

What one thread has moved, the others have to fetch. So where the first W is larger than what goes in and out there, the
first phase is three: the batch is laid out, each thread takes all of its rows through some of the first layer's units,
which need but a part of W, and the rows go on from there.
"""

from __future__ import annotations

import itertools

import numpy as np

from minidl import aligned
from minidl import contract as c
from minidl.engines.numba_engine import threads as threads_
from minidl.engines.numba_engine.vectors import VECTOR_BYTES

# What a job does. Its numbers are: what, p, q, first, last.
PASS = 0  # the rows first to last of the batch through the operations p to q; after the last of all, the gradient back
UNITS = 1  # the whole batch through the units first to last of the dense layer p, and on to the operation q
MOVE = 2  # the rows first to last of the W of the dense layer p; the first ones bring the bias along
TOTALS = 3  # the loss and metrics of the batch

MOST_ROWS = 64  # of a batch in one job: what its layers hand on stays in the cache
BLOCK = 8192  # entries of a W in one job, about: its gradient stays in the first cache until the optimizer has read it
LOWEST, MANY = 48, 128  # rows of a W in one job at least, where a batch has many: each job reads the whole batch
LANES = 16  # rows of a W at a time: a block begins at a cache line, whatever the number of units
FEW = 32  # rows of an inference in which reading W takes a good part of the time
READ = 5  # multiply-adds that take as long as reading a weight
PAYS_TO_PART, PAYS_TO_MEET = 1.5e6, 3e5  # multiply-adds of all layers, and of one, that are worth it
LEAST = 65_536  # entries of a W that is worth two more meetings
NEARBY = 16_384  # numbers that stay in the first cache, about, and are read again as soon as a part of a gradient


class Plan:
    """The jobs of a step for batches of up to ``rows`` rows, and the places of what it computes.

    jobs: int64 (jobs, 5). shares: int64 (phases, threads + 1): thread t's jobs of a phase are shares[phase, t] to
    shares[phase, t + 1].
    places, slope_places, turned_places: where each operation's output, the gradient by it, and the transposed W of each
    dense layer lie in their buffers.
    part_places: where in what a job of the first phase leaves each layer's gradient lies, by W, then by b; -1 where it
    leaves none. part_rows, part_size: rows of such a job, and the size of what it leaves.
    sizes: of the buffers, as ``Trainer`` names them. choice: of as many threads, or of one, which then does all jobs.
    """

    def __init__(self, program, rows: int, threads: int):
        self.threads, self.choice = threads, threads_.Choice(threads)
        self.places, work = places_for(program, rows)
        self.slope_places, slopes = slope_places_for(program, rows)
        self.turned_places, turned = turned_places_for(program, rows)
        self.part_places, self.part_size = part_places_for(program, rows)
        self.part_rows = part_rows(rows, 2)
        phases = [*self.passes(program, rows), moves(program, rows, threads)]
        self.jobs, self.shares = table_of(phases, threads)
        _, p, _, first, last = self.jobs[self.jobs[:, 0] == MOVE].T
        largest_block = int(((last - first) * program.table[p, c.OUTPUTS]).max(initial=0))
        widest = int(program.table[:, [c.INPUTS, c.OUTPUTS]].max())
        self.sizes = {
            "x": rows * program.inputs, "goal": rows * program.outputs, "row_values": rows, "zeros": widest,
            "own": threads * whole(program, largest_block + widest),
            "parts": -(-rows // self.part_rows) * self.part_size, "work": work, "slopes": slopes, "turned": turned,
        }  # fmt: skip

    def passes(self, program, rows: int):
        """The phases in which the batch goes through the operations."""
        dense, last = program.table[:, c.KIND] == c.DENSE, len(program.table)
        step = self.part_rows if self.part_size else part_rows(rows, self.threads)
        p = int(np.argmax(dense)) if dense.any() else last
        inputs, outputs = (int(size) for size in program.table[p, [c.INPUTS, c.OUTPUTS]]) if p < last else (0, 0)
        if self.threads > 1 and inputs * outputs > max(LEAST, 2 * rows * (inputs + outputs)):
            yield rows_through(0, p, rows, step, self.threads)
            yield units_of(program, p, p + 1, 2 * self.threads, self.threads)
            yield rows_through(p + 2 if fuses(program.table, self.places, p) else p + 1, last, rows, step, self.threads)
        else:
            yield rows_through(0, last, rows, step, self.threads)


def rows_through(p: int, q: int, rows: int, step: int, threads: int) -> list[list[tuple]]:
    """The batch in jobs of so many rows."""
    return dealt([(PASS, p, q, first, first + step) for first in range(0, rows, step)], threads)


def part_rows(rows: int, threads: int) -> int:
    """Rows of a job where each of so many threads has as many: whole fours."""
    parts = -(-rows // (MOST_ROWS * threads)) * threads
    return -(-rows // (4 * parts)) * 4


def units_of(program, p: int, q: int, jobs: int, threads: int) -> list[list[tuple]]:
    """The units of the dense layer p in so many jobs, or fewer, of whole panels, as wide as a tile."""
    units, panel = int(program.table[p, c.OUTPUTS]), panel_of(program)
    step = -(-units // (jobs * panel)) * panel
    return dealt([(UNITS, p, q, first, min(first + step, units)) for first in range(0, units, step)], threads)


def panel_of(program) -> int:
    """Columns of a tile."""
    return 2 * VECTOR_BYTES // program.parameters.itemsize


def parted_by_units(program, rows: int, threads: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Jobs and shares, as in ``Plan``, of an inference of a few rows: the units of a large layer are parted, and what
    lies between two is one job. None where no layer is worth it."""
    table, phases, p = program.table, [], 0
    work = np.where(table[:, c.KIND] == c.DENSE, table[:, c.INPUTS] * table[:, c.OUTPUTS] * max(rows, READ), 0)
    if threads == 1 or rows > FEW or work.sum() < PAYS_TO_PART or work.max() < PAYS_TO_MEET:
        return None
    large = np.flatnonzero(work >= PAYS_TO_MEET)
    threads = min(threads, -(-int(table[large, c.OUTPUTS].max()) // panel_of(program)))
    if threads == 1:
        return None
    for layer in large.tolist():
        phases += [[[(PASS, p, layer, 0, 0)]]] if p < layer else []
        p = layer + 2 if by_entry(table, layer + 1) else layer + 1
        phases.append(units_of(program, layer, p, threads, threads))
    phases += [[[(PASS, p, len(table), 0, 0)]]] if p < len(table) else []
    return table_of(phases, threads)


def by_entry(table: np.ndarray, p: int) -> bool:
    """Whether the operation p is an activation of each entry by itself."""
    return p < len(table) and table[p, c.KIND] == c.ACTIVATION and table[p, c.WHICH] != c.SOFTMAX


def table_of(phases: list[list[list[tuple]]], threads: int) -> tuple[np.ndarray, np.ndarray]:
    """The jobs of all phases, one behind the other, and where each thread's share of a phase begins and ends."""
    phases = [[*phase, *[[]] * (threads - len(phase))] for phase in phases]
    jobs = np.array([job for phase in phases for share in phase for job in share], dtype=np.int64)
    ends = np.cumsum([0, *(len(share) for phase in phases for share in phase)])
    return jobs, np.array([ends[at : at + threads + 1] for at in range(0, len(ends) - 1, threads)])


def fuses(table: np.ndarray, places: np.ndarray, p: int) -> bool:
    """Whether the dense layer p does the ReLU behind it as well: only an activation writes where it reads."""
    return bool(p + 1 < len(table) and table[p + 1, c.WHICH] == c.RELU and places[p + 2] == places[p + 1])


def moves(program, rows: int, threads: int) -> list[list[tuple]]:
    """Each thread's blocks of every W, for batches of so many rows."""
    shares: list[list[tuple]] = [[] for _ in range(threads)]
    for p, row in enumerate(program.table):
        if row[c.KIND] == c.DENSE and row[c.FIRST] < program.trainable:
            blocks = blocks_of(p, int(row[c.INPUTS]), int(row[c.OUTPUTS]), rows, threads)
            for share, jobs in zip(shares, dealt(blocks, threads), strict=True):
                share += jobs
    shares[-1].append((TOTALS, 0, 0, 0, 0))
    return shares


def blocks_of(p: int, inputs: int, outputs: int, rows: int, threads: int) -> list[tuple]:
    """The rows of the W of the dense layer p in blocks, as many for each thread."""
    share = -(-inputs // threads)
    least = LANES if share >= LANES else -(-share // 4) * 4
    lowest = LOWEST // least if rows >= MANY else 1
    high = min(max(lowest, BLOCK // (least * outputs)), -(-share // least)) * least
    if rows >= MANY:  # somewhat higher ones, where a share is then parted more evenly
        high = min(range(high, 2 * high, least), key=lambda height: -(-share // height) * height)
    return [(MOVE, p, 0, first, min(first + high, inputs)) for first in range(0, inputs, high)]


def dealt(jobs: list, threads: int) -> list[list]:
    """The jobs in shares of as many for each thread, neighbours together."""
    return [jobs[len(jobs) * t // threads : len(jobs) * (t + 1) // threads] for t in range(threads)]


def plan_for(program, rows: int, epoch_rows: int) -> Plan:
    """The plan of this program for an epoch in batches of ``rows`` rows, made anew only where it has to be."""
    key = rows, program.loss_at
    known = program.plans.get("train")  # looked at once: another thread may put its own there
    if known is None or known[0] != key:
        known = program.plans["train"] = key, (products_of(program), handed_on(program, rows)), {}
    _, (products, handed), plans = known
    count = threads_.for_training(
        program.parameters.size, products, rows, handed, epoch_rows, program.parameters.itemsize
    )  # fmt: skip
    if count not in plans:
        plans[count] = Plan(program, rows, count)
    return plans[count]


def products_of(program) -> int:
    """Multiply-adds of one row going forward, layers of few units counted for the time that they take.

    Measured: a tile of two vectors takes four times as long as one of gemm_narrow.py that holds four steps.
    """
    inputs, units = program.table[program.table[:, c.KIND] == c.DENSE][:, [c.INPUTS, c.OUTPUTS]].T
    lanes = VECTOR_BYTES // program.parameters.itemsize
    few = [units <= lanes * share for share in (0.25, 0.5, 1)]
    return int(inputs @ np.maximum(units, np.select(few, [lanes * cost for cost in (0.5, 0.75, 1.25)], 2 * lanes)))


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


def inference_places_for(program, rows: int):
    """The same where nothing is kept: as large as the two largest neighbours, since a layer writes where the one before
    the last has written, at the other end of the buffer."""
    sizes, which = [], [0]
    for place, row in enumerate(program.table):
        if row[c.KIND] != c.ACTIVATION or place == 0:
            sizes.append(whole(program, rows * int(row[c.OUTPUTS])))
        which.append(len(sizes) - 1)
    end = max(map(sum, itertools.pairwise(sizes)), default=sizes[0])
    places = [0 if at % 2 == 0 else end - size for at, size in enumerate(sizes)]
    return np.array([places[at] for at in which], dtype=np.int64), end


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


def turned_places_for(program, rows: int):
    """Where the transposed W of each dense layer lies that a gradient is passed back through, and the buffer's size.

    A batch of one row reads W but once, so that transposing it is not worth it: -1.
    """
    places, end = np.full(len(program.table), -1, np.int64), 0
    for p in range(program.first_trainable + 1, program.loss_at):
        if program.table[p, c.KIND] == c.DENSE and rows > 1:
            size = int(program.table[p, c.INPUTS] * program.table[p, c.OUTPUTS])
            places[p], end = end, end + whole(program, size)
    return places, end


def part_places_for(program, rows: int):
    """Where in a part of the gradient that by each layer's W begins, that by its b behind, and the size of a part.

    -1 for a layer whose gradient is not taken in parts: writing and reading the parts would take longer than reading
    the batch once more, or most of the work is in layers of which that is so.
    """
    table = program.table
    inputs, outputs = table[:, c.INPUTS], table[:, c.OUTPUTS]
    trained = (table[:, c.KIND] == c.DENSE) & (table[:, c.FIRST] < program.trainable)
    handed, entries = rows * (inputs + outputs), np.where(trained, inputs * outputs, 0)
    parted = trained & (handed > NEARBY) & (8 * rows * entries <= MOST_ROWS * handed)
    places, end = np.full(len(table), -1, np.int64), 0
    if 2 * entries[parted].sum() > entries.sum():
        for p in np.flatnonzero(parted):
            places[p], end = end, end + whole(program, int(entries[p])) + whole(program, int(outputs[p]))
    return places, end


def handed_on(program, rows: int) -> int:
    """Numbers of a row that one phase of a step leaves to the next: what goes into a layer and the gradient there."""
    table, (places, _) = program.table, part_places_for(program, rows)
    later = (table[:, c.KIND] == c.DENSE) & (places < 0)
    return int(table[later][:, [c.INPUTS, c.OUTPUTS]].sum())


def whole(program, size: int) -> int:
    return aligned.whole_lines(size, program.parameters.dtype)
