"""A network on a device: where everything lies, and what a dense layer does along with its product.

All memory is taken when the network is laid out, none later; so launches over it can be recorded and replayed.
"""

from __future__ import annotations

import numpy as np

from minidl import aligned
from minidl import contract as c
from minidl.engines.cupy_engine import kernels as k

NARROW = 32  # outputs of a last layer that a warp computes along with the loss of its row
MOST_PARTS = 32  # into which the gradient is parted
MOST_NUMBERS = 2**26  # in all parts together: 256 MB
PART_ROWS = 256  # of the batch that are worth a part
BLOCKS = 1024  # at most, of a kernel that treats each number, or each row, for itself
NOTHING_DROPPED = k.struct("Dropout", layer=-1)


class Layout:
    """A program on a device, for batches of up to ``rows`` rows.

    parameters, slots, numbers (the optimizer's): what the device has of the program; place (the struct): which rows are
    the batch; sums (epochs, sums_size): what loss and metrics are added to.
    work: what every operation puts out and, in training, as much again for the gradients by it.
    gradient (parts, parameters): by the parameters, in parts that blocks with their share of the batch have filled.

    The operations ``start`` to ``end`` are done one after the other: a normalization in front is done to all rows
    beforehand, and the last activation belongs to the head, which knows what the loss is given. ``narrow``: whether the
    head also does the dense layer before it.
    """

    def __init__(self, device, program, rows: int, precision: int, *, training: bool, epochs: int = 1):
        self.device, self.program, self.rows = device, program, rows
        self.precision, self.training = precision, training
        self.table, self.numbers_of = program.table.tolist(), program.numbers.tolist()
        self.last = len(self.table)
        ends = self.table[-1][c.KIND] == c.ACTIVATION
        self.head_activation = self.table[-1][c.WHICH] if ends else c.LINEAR
        self.start = 1 if self.table[0][c.KIND] == c.NORMALIZATION else 0
        self.end = self.last - 1 if ends else self.last
        self.from_logits = program.loss_at < self.last
        before = self.table[self.end - 1]
        self.narrow = before[c.KIND] == c.DENSE and before[c.OUTPUTS] <= NARROW
        self.penalized = [p for p, numbers in enumerate(self.numbers_of) if numbers[c.L1] or numbers[c.L2]]

        self.parameters, self.numbers = device.upload(program.parameters), device.upload(program.optimizer_numbers)
        self.place = device.zeros(k.STRUCTS["Place"].itemsize // 8, np.int64)
        self.metrics = device.upload(np.asarray([*program.metrics, -1], np.int32))
        self.sums = device.zeros((epochs, program.sums_size), np.float64)
        self.head_blocks = min(BLOCKS, -(-rows // k.HEAD_WARPS))
        most_blocks = max(self.head_blocks, device.room_for(k.train_steps(precision)))
        self.partials = device.empty((most_blocks, 1 + len(program.metrics)), np.float64)
        self.penalties = device.zeros((max(len(self.penalized), 1), BLOCKS), np.float64)
        widths = [self.table[0][c.INPUTS], *(row[c.OUTPUTS] for row in self.table)]
        ends = np.cumsum([0, *(aligned.whole_lines(rows * width, program.parameters.dtype) for width in widths)])
        *self.at, size = ends.tolist()
        self.work = device.empty(2 * size if training else size)
        if training:
            self.slots, self.slopes = device.upload(program.slots), self.work[size:]
            self.parts = self.most_parts()
            self.gradient = device.zeros((self.parts, program.parameters.size))

    def most_parts(self) -> int:
        """Into how many parts blocks with their shares of the batch fill the gradient."""
        return max(1, min(MOST_PARTS, self.rows // PART_ROWS, MOST_NUMBERS // self.program.parameters.size))

    # --- where things lie ---------------------------------------------------------------------------------------------

    def output(self, p: int):
        """What the operation p - 1 puts out, or for 0 the batch itself: (rows, width)."""
        return self.work[self.at[p] :]

    def slope(self, p: int):
        """The gradient by that."""
        return self.slopes[self.at[p] :]

    def first(self, p: int):
        """W of the dense layer p, or the mean of a normalization, among the parameters."""
        return self.parameters[self.table[p][c.FIRST] :]

    def second(self, p: int):
        """Its b, or the variance."""
        return self.parameters[self.table[p][c.SECOND] :]

    def address(self, memory) -> int:
        return 0 if memory is None else self.device.address(memory)

    def dropout(self, p: int | None) -> np.ndarray:
        """The struct of the dropout p."""
        if p is None:
            return NOTHING_DROPPED
        rate = self.numbers_of[p][c.RATE]
        return k.struct(
            "Dropout", seed=np.uint64(self.program.seed), layer=self.table[p][c.WHICH],
            threshold=int(np.ceil(rate * 2**24)), scale=1 / (1 - rate),
        )  # fmt: skip

    def penalty(self, p: int) -> np.ndarray:
        """The struct of what the regularizers of the dense layer p ask for."""
        return k.struct("Penalty", l1=self.numbers_of[p][c.L1], l2=self.numbers_of[p][c.L2])

    # --- what goes together -------------------------------------------------------------------------------------------

    def is_dropout(self, p: int) -> bool:
        return self.start <= p < self.end and self.table[p][c.KIND] == c.DROPOUT

    def is_elementwise(self, p: int) -> bool:
        """Whether this is an activation that a dense layer can do along with its product."""
        inside = self.start <= p < self.end
        return inside and self.table[p][c.KIND] == c.ACTIVATION and self.table[p][c.WHICH] != c.SOFTMAX

    def behind(self, p: int) -> tuple[int, int, int | None]:
        """What the dense layer p does along with its product: its activation, where the output of that belongs, and
        the dropout that follows."""
        q, activation = p + 1, c.LINEAR
        if self.is_elementwise(q):
            q, activation = q + 1, self.table[q][c.WHICH]
        return activation, q, q if self.training and self.is_dropout(q) else None

    def before(self, p: int) -> tuple[int, int | None, int | None, int]:
        """What the dense layer p takes its gradient back through: the activation before it, where the output of that
        lies, the dropout between the two, and where the gradient has then arrived."""
        q = p - 1 if self.is_dropout(p - 1) else p
        dropout = None if q == p else q
        if self.is_elementwise(q - 1):
            return self.table[q - 1][c.WHICH], q, dropout, q - 1
        return c.LINEAR, None, dropout, q

    def learns(self, p: int) -> bool:
        return self.table[p][c.KIND] == c.DENSE and self.table[p][c.FIRST] < self.program.trainable

    def has_gradient(self, p: int) -> bool:
        """Whether the gradient by what the operation p is given is asked for."""
        return self.training and p > self.program.first_trainable
