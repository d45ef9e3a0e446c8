"""The fast path: training and prediction in float32 by the engine's own kernels, recorded once and replayed."""

from __future__ import annotations

import numpy as np

from minidl.engines.cupy_engine import kernels as k
from minidl.engines.cupy_engine import measured, persistent, streamed
from minidl.engines.cupy_engine.launches import blocks
from minidl.engines.cupy_engine.launches_cublaslt import network

STEPS = 16  # of one recorded graph


class CapturedTrainer:
    """What ``train.Trainer`` is, with whole steps recorded as a graph, or run by the persistent kernel.

    The data lie on the device for as long as the trainer lives, or where they do not fit come to it batch by batch
    (streamed.py). ``precision`` is one of kernels.PRECISIONS; ``in_one_launch`` says whether the persistent kernel runs
    the steps: None is where it can and is known, or else expected, to be faster (measured.py). It cannot where the data
    are streamed. ``with_cublaslt`` says whose products recorded steps have (launches_cublaslt.py).
    """

    def __init__(
        self, program, X, y, sample_weight=None, batch_size=32, *, device, precision=k.FLOAT32, in_one_launch=None,
        with_cublaslt=None,
    ):  # fmt: skip
        self.program, self.device, self.batch_size = program, device, min(batch_size, len(X))
        self.precision = precision
        self.network = network(
            device, program, self.batch_size, precision, training=True, with_cublaslt=with_cublaslt
        )
        self.data: streamed.Arrays = [X, y, sample_weight]
        self.buffers: list[streamed.Buffer] = []
        if streamed.fits(device, self.data):
            self.X, self.y, self.weight = (None if array is None else device.upload(array) for array in self.data)
        else:
            shapes = [None if array is None else array.shape[1:] for array in self.data]
            self.buffers = [streamed.Buffer(device, shapes, self.batch_size) for _ in range(2)]
        self.order, self.epochs = device.empty(0, np.int32), 0
        if in_one_launch is None:
            in_one_launch = self.batch_size <= measured.most_rows(device.name, program.parameters.size)
        self.in_one_launch = in_one_launch and not self.buffers and persistent.fits(self.network)
        self.seen: dict[str, bytes] = {}  # what was the same on both sides when last looked at
        self.ahead = False  # whether the device has trained since the last pull

    def run(self, orders, start, stop):
        """Train on the rows ``order[start:stop]`` of each order, batch by batch; the sums (contract.py) for each."""
        epochs, rows = len(orders), stop - start
        self.push()
        self.lay_out(epochs, rows)
        network, device = self.network, self.device
        if not self.buffers:
            device.write(self.order[: epochs * rows], orders[:, start:stop].astype(np.int32).ravel())
        device.write(network.sums[:epochs], np.zeros((epochs, self.program.sums_size)))
        place = k.struct(
            "Place", epochs=epochs, rows=rows, batch_size=self.batch_size, step=self.program.step - 1,
            first=-self.batch_size,
        )  # fmt: skip
        device.write(network.place, place.view(np.int64))
        steps = epochs * -(-rows // self.batch_size)
        if self.buffers:
            firsts = range(start, stop, self.batch_size)
            batches = (order[first : min(first + self.batch_size, stop)] for order in orders for first in firsts)
            streamed.stream(self.buffers, self.data, batches, lambda which, rows: self.from_buffer[which].replay())
        elif self.in_one_launch:
            self.persistent.launch(steps)
        else:
            for _ in range(steps // STEPS):
                self.many.replay()
            for _ in range(steps % STEPS):
                self.one.replay()
        self.program.step += steps
        return device.download(network.sums[:epochs])

    def lay_out(self, epochs: int, rows: int) -> None:
        """Room for so many epochs; only where there is not enough, everything is recorded anew."""
        if (self.buffers or epochs * rows <= self.order.size) and epochs <= self.epochs:
            return
        device, network, self.epochs = self.device, self.network, epochs
        network.sums = device.empty((epochs, self.program.sums_size), np.float64)
        device.write(network.place, np.zeros(7, np.int64))  # no epochs: what is run before recording does nothing
        if self.buffers:
            memory = [buffer.memory for buffer in self.buffers]
            self.from_buffer = [self.recorded(x, y, None, weight) for x, y, weight in memory]
            return
        self.order = device.empty(max(epochs * rows, len(self.X)), np.int32)
        data = self.X, self.y, self.order, self.weight
        if self.in_one_launch:
            self.persistent = persistent.Persistent(network, *data)
        else:
            self.one, self.many = self.recorded(*data), self.recorded(*data, steps=STEPS)

    def recorded(self, *data, steps: int = 1):
        """So many steps as a graph; the first is run before, since what was never run cannot be recorded."""
        self.network.step(*data)
        return self.device.record(lambda: [self.network.step(*data) for _ in range(steps)])

    def push(self) -> None:
        """Bring what has changed on the host to the device: numbers always, arrays where a byte differs."""
        self.device.write(self.network.numbers, self.program.optimizer_numbers)
        for name in ("parameters", "slots"):
            array = getattr(self.program, name)
            found = array.tobytes()
            if found != self.seen.get(name):
                self.device.write(getattr(self.network, name), array)
                self.seen[name] = found
        self.normalize()
        self.ahead = True

    def normalize(self) -> None:
        """A normalization in front is done to all rows beforehand, since it stays as it is while the network trains."""
        if self.network.start == 0 or self.buffers:
            return
        row = self.program.table[0]
        statistics = self.program.mean(row), self.program.variance(row)
        found = b"".join(array.tobytes() for array in statistics)
        if found != self.seen.get("statistics"):
            if "statistics" in self.seen:
                self.device.write(self.X, self.data[0])
            normalize(self.device, self.X, *statistics)
            self.seen["statistics"] = found

    def pull(self) -> None:
        """Bring the parameters and slots back into the program's arrays, of which the layers hold views.

        Does nothing where the device has not trained since: what a callback has written meanwhile is not undone.
        """
        if not self.ahead:
            return
        for name in ("parameters", "slots"):
            array = getattr(self.program, name)
            array[...] = self.device.download(getattr(self.network, name))
            self.seen[name] = array.tobytes()
        self.ahead = False


class CapturedForward:
    """A program laid out on the device, to predict and to evaluate ``rows`` rows at a time.

    Two buffers take the rows in turns, where there are more; ``take`` brings changed parameters along.
    """

    def __init__(self, program, rows: int, *, device, precision=k.FLOAT32, with_cublaslt=None):
        self.program, self.device, self.rows = program, device, rows
        self.network = network(device, program, rows, precision, training=False, with_cublaslt=with_cublaslt)
        self.buffers: list[streamed.Buffer] = []
        self.graphs: dict[tuple[str, int], object] = {}  # what is done with the rows in which buffer
        self.made: dict[int, object] = {}  # where the predictions for the rows in a buffer are
        self.taken = b""
        self.one_row = None if persistent.chain(self.network) is None else persistent.OneRow(self.network)

    def take(self) -> None:
        """Bring the program's parameters to the device, where a byte of them has changed."""
        if self.program.frozen and self.taken:
            return
        found = self.program.parameters.tobytes()
        if found != self.taken:
            self.device.write(self.network.parameters, self.program.parameters)
            self.taken = found

    def predict(self, X: np.ndarray, out: np.ndarray) -> None:
        """Fill ``out`` (n, o) with the output for each row of X (n, i), both NumPy arrays."""
        if len(X) == 1 and self.one_row is not None:
            self.one_row.predict(X, out)
            return

        def collect(which, rows):
            part = out[rows]
            part[...] = self.device.download(self.made[which][: part.size]).reshape(part.shape)

        self.run("predict", [X, None, None], collect)

    def evaluate(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        """The sums (contract.py) of loss and metrics over all rows."""
        self.device.write(self.network.sums, np.zeros(self.network.sums.shape))
        self.run("evaluate", [X, y, np.ones(len(y), np.float32) if weight is None else weight])
        return self.device.download(self.network.sums)[0]

    def run(self, what: str, arrays: streamed.Arrays, collect=lambda which, rows: None) -> None:
        """Take the rows of X, y and weight through the network, so many at a time."""
        count = len(arrays[0])
        chunks = [slice(first, min(first + self.rows, count)) for first in range(0, count, self.rows)]
        for which in range(min(2, len(chunks))):
            self.prepare(what, which)

        def launch(which, rows):
            place = k.struct("Place", epochs=1, rows=rows.stop - rows.start, batch_size=self.rows)
            self.device.write(self.network.place, place.view(np.int64))
            self.graphs[what, which].replay()

        streamed.stream(self.buffers, arrays, chunks, launch, collect)

    def prepare(self, what: str, which: int) -> None:
        """Make the buffer, and record what is done with its rows, unless that has been."""
        if which == len(self.buffers):
            outputs = 1 if self.program.classes else self.program.outputs
            shapes = (self.program.inputs,), (outputs,), ()
            self.buffers.append(streamed.Buffer(self.device, shapes, self.rows))
        if (what, which) in self.graphs:
            return
        X, y, weight = self.buffers[which].memory

        def launches():
            self.network.normalize(X)
            if what == "predict":
                self.made[which] = self.network.predict(X)
            else:
                self.network.loss(X, y, None, weight)
                self.network.totals(y, None, weight)

        self.device.write(self.network.place, np.zeros(7, np.int64))  # no rows: nothing is done before recording
        launches()
        self.graphs[what, which] = self.device.record(launches)


def normalize(device, X, mean: np.ndarray, variance: np.ndarray) -> None:
    """All rows of X (n, i), which are on the device, in place."""
    place = device.upload(k.struct("Place", epochs=1, rows=len(X), batch_size=len(X)).view(np.int64))
    statistics = device.upload(mean), device.upload(variance)
    device.launch(k.NORMALIZATION, blocks(X.size), X, *statistics, X, X.shape[1], place)
