"""Which kernels run in which order: a network forward, its loss, backward, and the optimizer's step."""

from __future__ import annotations

import numpy as np

from minidl import contract as c
from minidl.engines.cupy_engine import kernels as k
from minidl.engines.cupy_engine.layout import BLOCKS, Layout


class Network(Layout):
    """A program laid out on a device, and the launches over it. Nothing here computes or allocates anything.

    X, y, order and weight are memory of the device: the data, and the order in which the batches take their rows, or
    None for one after the other.
    """

    # --- a single kernel ----------------------------------------------------------------------------------------------

    def launch(self, kernel: k.Kernel, blocks, *arguments) -> None:
        """All kernels are told last where the run stands."""
        self.device.launch(kernel, blocks, *arguments, self.place)

    def for_each(self, kernel: k.Kernel, width: int, *arguments) -> None:
        """A kernel that treats each number of (rows, width) for itself."""
        self.launch(kernel, blocks(self.rows * width), *arguments)

    def product(self, kernel, rows: int, columns: int, parts: int, *arguments) -> None:
        """One that computes a matrix of (rows, columns), or so many of them, by tiles."""
        chosen = self.with_tile(kernel, rows, columns, parts)
        self.launch(chosen, (-(-columns // chosen.tile), -(-rows // chosen.tile), parts), *arguments)

    def with_tile(self, kernel, rows: int, columns: int, parts: int) -> k.Kernel:
        """With the largest tile that has room in shared memory, and gives every multiprocessor something to do."""
        for tile in (k.LARGE, k.MEDIUM):
            found, tiles = kernel(self.precision, tile), -(-rows // tile) * -(-columns // tile) * parts
            if tiles >= self.device.multiprocessors and found.shared <= self.device.shared_memory:
                return found
        return kernel(self.precision, k.SMALL)

    # --- forward ------------------------------------------------------------------------------------------------------

    def normalize(self, X) -> None:
        """The normalization in front, if there is one, in place."""
        if self.start == 1:
            width = self.program.inputs
            self.for_each(k.NORMALIZATION, width, X, self.first(0), self.second(0), X, width)

    def forward(self, X, order, stop: int):
        """From the rows X[order] through the operations up to ``stop``: what comes out, and the order if it is X."""
        p = self.start
        while p < stop:
            kind, which, inputs, units, _, _ = self.table[p]
            if kind == c.DENSE:
                p = self.dense(p, X, order)
            elif kind == c.DROPOUT and not self.training:
                p += 1
                continue
            else:
                if order is not None:
                    self.for_each(k.GATHER, inputs, X, order, self.output(p), inputs)
                    X = self.output(p)
                if kind == c.NORMALIZATION:
                    mean, variance = self.first(p), self.second(p)
                    self.for_each(k.NORMALIZATION, units, X, mean, variance, self.output(p + 1), units)
                elif kind == c.DROPOUT:
                    self.for_each(k.DROPOUT, units, X, self.output(p + 1), units, self.dropout(p))
                else:
                    self.activation(which, X, p + 1)
                p += 1
            X, order = self.output(p), None
        return X, order

    def dense(self, p: int, X, order) -> int:
        """The dense layer p with what is behind it; which operation is next."""
        _, _, inputs, units, _, _ = self.table[p]
        activation, q, dropout = self.behind(p)
        dropped = None if dropout is None else self.output(q + 1)
        self.product(
            k.forward, self.rows, units, 1, X, order, self.first(p), self.second(p), self.output(q), dropped, inputs,
            units, activation, self.dropout(dropout),
        )  # fmt: skip
        return q if dropout is None else q + 1

    def activation(self, which: int, z, p: int):
        """An activation by itself, into the output p, which is returned."""
        width = self.table[p - 1][c.OUTPUTS]
        if which == c.SOFTMAX:
            self.for_each(k.SOFTMAX, k.LANES, z, self.output(p), width)  # a warp for each row
        else:
            self.for_each(k.ACTIVATION, width, z, self.output(p), width, which)
        return self.output(p)

    def predict(self, X):
        """What the whole network puts out."""
        given, _ = self.forward(X, None, self.end)
        return given if self.end == self.last else self.activation(self.head_activation, given, self.last)

    # --- loss ---------------------------------------------------------------------------------------------------------

    def loss(self, X, y, order, weight) -> None:
        """Forward, loss and metrics; in training also the gradient as far as the head takes it."""
        goal = self.goal(y, order, weight)
        if self.narrow:
            x, x_order = self.forward(X, order, self.end - 1)
            self.launch(k.LAST_LAYER, self.head_blocks, self.last_layer(x, x_order), goal)
        else:
            given, _ = self.forward(X, order, self.end)
            if self.end < self.last and not self.from_logits:
                given = self.activation(self.head_activation, given, self.last)
            self.launch(k.HEAD, self.head_blocks, given, goal)

    def goal(self, y, order, weight) -> np.ndarray:
        """The struct: what the outputs are held against, and where what is found goes."""
        program, address = self.program, self.address
        return k.struct(
            "Goal", y=address(y), weight=address(weight), order=address(order), outputs=program.outputs,
            classes=program.classes, loss=program.loss, from_logits=self.from_logits, activation=self.head_activation,
            metrics=address(self.metrics), metric_count=len(program.metrics), p=address(self.output(self.last)),
            dz=address(self.slope(self.end)) if self.training else 0, partials=address(self.partials),
            sums=address(self.sums), sums_size=program.sums_size,
        )  # fmt: skip

    def last_layer(self, x, order) -> np.ndarray:
        """The struct of the narrow last layer."""
        p, address = self.end - 1, self.address
        activation, y, dropout, arrived = self.before(p)
        back = self.has_gradient(p)
        return k.struct(
            "LastLayer", x=address(x), order=address(order), W=address(self.first(p)), b=address(self.second(p)),
            z=address(self.output(self.end)), inputs=self.table[p][c.INPUTS], units=self.table[p][c.OUTPUTS],
            activated=0 if self.from_logits or self.end == self.last else address(self.output(self.last)),
            activation=activation, dropout=self.dropout(dropout), y=0 if y is None else address(self.output(y)),
            dx=address(self.slope(arrived)) if back else 0,
        )  # fmt: skip

    def totals(self, y, order, weight) -> None:
        """The penalties, whose slopes go to the gradients in training, and all that the batch adds to the sums."""
        for values, p in zip(self.penalties, self.penalized, strict=False):
            size = self.table[p][c.INPUTS] * self.table[p][c.OUTPUTS]
            dW = self.gradient[0][self.table[p][c.FIRST] :] if self.training and self.learns(p) else None
            self.launch(k.PENALIZE, blocks(size), self.first(p), dW, np.int64(size), self.penalty(p), values)
        count = len(self.penalized) * BLOCKS
        self.launch(k.TOTALS, 1, self.goal(y, order, weight), self.head_blocks, self.penalties, count)

    # --- backward -----------------------------------------------------------------------------------------------------

    def backward(self, X, order) -> None:
        """From the gradient at the head to the gradient by every parameter, in parts."""
        p = self.end - 1
        while p >= self.program.first_trainable:
            if self.learns(p):
                self.weights_gradient(p, X, order)
            p = self.gradient_before(p) - 1 if self.has_gradient(p) else -1

    def weights_gradient(self, p: int, X, order) -> None:
        """By W and b of the dense layer p, from the gradient by its output."""
        _, _, inputs, units, first, second = self.table[p]
        x, order = (X, order) if p == self.start else (self.output(p), None)
        db = self.gradient[0][second:] if second < self.program.trainable else None
        self.product(
            k.backward_W, inputs, units, self.parts, x, order, self.slope(p + 1), self.gradient[0][first:], db,
            np.int64(self.gradient.shape[1]), inputs, units,
        )  # fmt: skip

    def gradient_before(self, p: int) -> int:
        """From the gradient by the output of the operation p to that by its input; which output's that is."""
        kind, which, inputs, units, _, _ = self.table[p]
        dy, dx = self.slope(p + 1), self.slope(p)
        if kind == c.DENSE:
            activation, y, dropout, arrived = self.before(p)
            if not (self.narrow and p == self.end - 1):  # then the head has done it
                self.product(
                    k.backward_x, self.rows, inputs, 1, dy, self.first(p), None if y is None else self.output(y),
                    self.slope(arrived), inputs, units, activation, self.dropout(dropout),
                )  # fmt: skip
            return arrived
        if kind == c.NORMALIZATION:
            self.for_each(k.NORMALIZATION_BACKWARD, units, dy, self.second(p), dx, units)
        elif kind == c.DROPOUT:
            self.for_each(k.DROPOUT, units, dy, dx, units, self.dropout(p))
        elif which == c.SOFTMAX:
            self.for_each(k.SOFTMAX_BACKWARD, k.LANES, dy, self.output(p + 1), dx, units)
        else:
            self.for_each(k.ACTIVATION_BACKWARD, units, dy, self.output(p + 1), dx, units, which)
        return p

    # --- a whole step -------------------------------------------------------------------------------------------------

    def step(self, X, y, order, weight) -> None:
        """Forward, loss, backward, update, on the next batch. Without an order X is that batch, as the host has it."""
        program = self.program
        self.device.launch(k.BEGIN_BATCH, 1, self.place, int(program.optimizer), self.numbers)
        if order is None:
            self.normalize(X)
        self.loss(X, y, order, weight)
        self.backward(X, order)
        self.totals(y, order, weight)
        self.launch(
            k.update(int(program.optimizer)), blocks(program.trainable), self.parameters, self.slots, self.gradient,
            self.parts, np.int64(self.gradient.shape[1]), np.int64(program.trainable), self.numbers,
        )  # fmt: skip


def blocks(numbers: int) -> int:
    """For a kernel that treats each number for itself, so many of them."""
    return max(1, min(BLOCKS, -(-numbers // k.ELEMENTWISE)))
