"""What is done in a single launch: many training steps of a network, or one row forward."""

from __future__ import annotations

import numpy as np

from minidl import contract as c
from minidl.engines.cupy_engine import kernels as k

STEPS = 4096  # in one launch at most: well below a second, so that Ctrl-C is heard and no screen's watchdog objects


def chain(network) -> list[tuple] | None:
    """The dense layers, each with its activation, where its output belongs, and the dropout behind it.

    None where there is anything that a dense layer does not do along with its product. A normalization in front does
    not count: it is done beforehand.
    """
    found, p = [], network.start
    while p < network.end:
        if network.is_dropout(p) and not network.training:
            p += 1
            continue
        if network.table[p][c.KIND] != c.DENSE:
            return None
        activation, q, dropout = network.behind(p)
        found.append((p, activation, q, dropout))
        p = q if dropout is None else q + 1
    return found


def fits(network) -> bool:
    """Whether the persistent kernel can train this network."""
    return network.narrow and chain(network) is not None


def table_of(network) -> np.ndarray:
    """The layers as the kernels see them."""
    slopes = network.work.size // 2
    return np.concatenate([
        k.struct(
            "Layer", inputs=network.table[p][c.INPUTS], units=network.table[p][c.OUTPUTS], activation=activation,
            W=network.table[p][c.FIRST], b=network.table[p][c.SECOND], y=network.at[q],
            dropped=-1 if dropout is None else network.at[q + 1], dz=slopes + network.at[p + 1],
            dropout=network.dropout(dropout), penalty=network.penalty(p),
        )
        for p, activation, q, dropout in chain(network)
    ])  # fmt: skip


class Persistent:
    """The training steps of a network that ``fits``, many of them in one launch."""

    def __init__(self, network, X, y, order, weight):
        self.network, device, address = network, network.device, network.address
        self.kernel = k.train_steps(network.precision)
        self.blocks = device.room_for(self.kernel)
        table, program = table_of(network), network.program
        self.layers, self.arrived = device.upload(table.view(np.int64)), device.zeros(1, np.uint64)
        self.penalties = device.empty(self.blocks, np.float64)
        before = network.table[network.start : program.first_trainable]
        self.training = k.struct(
            "Training", layers=address(self.layers), layer_count=len(table),
            first_trained=sum(row[c.KIND] == c.DENSE for row in before), parameters=address(network.parameters),
            slots=address(network.slots), size=program.trainable, work=address(network.work), X=address(X),
            goal=network.goal(y, order, weight), optimizer=program.optimizer, numbers=address(network.numbers),
            penalties=address(self.penalties) if network.penalized else 0, place=address(network.place),
            arrived=address(self.arrived),
        )  # fmt: skip

    def launch(self, steps: int) -> None:
        """So many steps."""
        for first in range(0, steps, STEPS):
            self.network.device.launch(self.kernel, self.blocks, self.training, min(STEPS, steps - first))


class OneRow:
    """A network of dense layers forward for one row, in one launch.

    The row and what comes out lie in the host's memory, where the GPU reads and writes them: for so few numbers two
    copies would take longer than the network.
    """

    def __init__(self, network):
        self.network, device = network, network.device
        table = table_of(network)
        table["activation"][-1] = network.head_activation if network.end < network.last else table["activation"][-1]
        self.layers, self.count = device.upload(table.view(np.int64)), len(table)
        self.arrived = device.zeros(1, np.uint64)
        self.x, self.y = device.pinned(network.program.inputs), device.pinned(network.program.outputs)
        self.blocks = int(min(device.room_for(k.FORWARD_ROW), -(-table["units"].max() // k.LANES)))
        normalized = network.start == 1
        self.statistics = (network.first(0), network.second(0)) if normalized else (None, None)

    def predict(self, X: np.ndarray, out: np.ndarray) -> None:
        """Fill ``out`` (1, o) with the output for X (1, i)."""
        self.x[...] = X[0]
        self.network.device.launch(
            k.FORWARD_ROW, self.blocks, self.layers, self.count, self.network.parameters, self.x, *self.statistics,
            self.network.work, self.y, self.arrived,
        )  # fmt: skip
        self.network.device.synchronize()
        out[0] = self.y
