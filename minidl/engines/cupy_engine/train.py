"""Training a whole model in CuPy: forward, loss, backward, update, batch after batch, on what the GPU holds."""

from minidl import contract as c
from minidl.engines.cupy_engine import activations, losses, optimizers
from minidl.engines.cupy_engine.dense import dense_backward_b, dense_backward_W, dense_backward_x
from minidl.engines.cupy_engine.device import to_device, to_host, xp
from minidl.engines.cupy_engine.infer import add_up, forward, on_device, targets
from minidl.engines.cupy_engine.normalization import normalization_backward
from minidl.engines.cupy_engine.regularization import dropout_backward, l1_backward, l2_backward

HELD = ("parameters", "slots")  # what the program and its twin on the GPU both hold


class Trainer:
    """Trains a program on X (n, i) and y (n, o), or (n, 1) class indices; everything of the program's dtype.

    The data are uploaded once. The parameters and slots are the GPU's while it trains and the program's after ``pull``:
    then a callback, or anyone who holds a layer's array, may read them and write into them, and the next ``run``
    uploads what it finds changed.
    """

    def __init__(self, program, X, y, sample_weight=None, batch_size=32):
        self.program, self.twin, self.batch_size = program, on_device(program), batch_size
        self.X, self.y = to_device(X), to_device(y)
        self.sample_weight = None if sample_weight is None else to_device(sample_weight)
        self.gradient = xp.zeros_like(self.twin.parameters)
        self.seen = {"parameters": program.parameters.tobytes()}  # what was the same on both sides when last looked at
        self.ahead = False  # whether the GPU has trained since the last pull

    def run(self, orders, start, stop):
        """Train on the rows ``order[start:stop]`` of each order, batch by batch; the sums (contract.py) for each."""
        self.push()
        sums, orders = xp.zeros((len(orders), self.program.sums_size)), to_device(orders[:, start:stop])
        for epoch in range(len(orders)):  # to walk through an array itself would wait for the GPU
            for first in range(0, stop - start, self.batch_size):
                rows = orders[epoch, first : first + self.batch_size]
                weight = None if self.sample_weight is None else self.sample_weight[rows]
                self.step(self.X[rows], targets(self.twin, self.y[rows]), weight, sums[epoch])
        self.program.step = self.twin.step
        return to_host(sums)

    def push(self):
        """Bring what has changed on the host to the GPU: numbers always, arrays where a byte differs."""
        self.twin.step, self.twin.optimizer_numbers = self.program.step, self.program.optimizer_numbers
        for name in HELD:
            array = getattr(self.program, name)
            found = array.tobytes()
            if found != self.seen.get(name):
                setattr(self.twin, name, to_device(array))
                self.seen[name] = found
        self.ahead = True

    def pull(self):
        """Bring the parameters and slots back into the program's arrays, of which the layers hold views.

        Does nothing where the GPU has not trained since: what a callback has written meanwhile is not undone.
        """
        if not self.ahead:
            return
        for name in HELD:
            array = getattr(self.program, name)
            array[...] = to_host(getattr(self.twin, name))
            self.seen[name] = array.tobytes()
        self.ahead = False

    def step(self, x, y, weight, sums):
        outputs = forward(self.twin, x, self.twin.step)
        add_up(self.twin, y, outputs, weight, sums)
        dz = losses.BACKWARD[self.twin.loss](y, outputs[self.twin.loss_at])
        dz *= (1 if weight is None else weight[:, None]) / len(y)
        backward(self.twin, outputs, dz, self.gradient)
        update(self.twin, self.gradient)


def backward(program, outputs, dz, gradient):
    """From the gradient ``dz`` by what the loss was given, back to the gradient by every parameter."""
    for place in reversed(range(program.first_trainable, program.loss_at)):
        row, numbers = program.table[place], program.numbers[place]
        if row[c.KIND] == c.DENSE:
            W, dW, db = program.weights(row), program.weights(row, gradient), program.bias(row, gradient)
            dense_backward_W(outputs[place], dz, out=dW)
            dense_backward_b(dz, out=db)
            if numbers[c.L1]:
                l1_backward(W, numbers[c.L1], out=dW)
            if numbers[c.L2]:
                l2_backward(W, numbers[c.L2], out=dW)
            if place > program.first_trainable:
                dz = dense_backward_x(dz, W)
        elif row[c.KIND] == c.ACTIVATION:
            dz = activations.BACKWARD[row[c.WHICH]](dz, outputs[place + 1])
        elif row[c.KIND] == c.NORMALIZATION:
            dz = normalization_backward(dz, program.variance(row))
        else:
            dz = dropout_backward(dz, numbers[c.RATE], program.seed, program.step, row[c.WHICH])


def update(program, gradient):
    """One step of the optimizer over the whole vector theta."""
    program.step += 1
    theta, g, slots = program.theta, gradient[: program.theta.size], program.slots
    rate, momentum, beta_1, beta_2, epsilon, weight_decay = program.optimizer_numbers.tolist()
    if program.optimizer == c.SGD:
        optimizers.sgd(theta, g, rate)
    elif program.optimizer == c.MOMENTUM:
        optimizers.momentum(theta, g, slots[0], rate, momentum)
    elif program.optimizer == c.NESTEROV:
        optimizers.nesterov(theta, g, slots[0], rate, momentum)
    elif program.optimizer == c.ADAM:
        optimizers.adam(theta, g, slots[0], slots[1], program.step, rate, beta_1, beta_2, epsilon)
    else:
        optimizers.adamw(theta, g, slots[0], slots[1], program.step, rate, beta_1, beta_2, epsilon, weight_decay)
