"""Training a whole model in NumPy: forward, loss, backward, update, batch after batch."""

import numpy as np

from minidl import contract as c
from minidl.engines.numpy_engine import activations, losses, optimizers
from minidl.engines.numpy_engine.dense import dense_backward_b, dense_backward_W, dense_backward_x
from minidl.engines.numpy_engine.infer import add_up, forward, silently, targets
from minidl.engines.numpy_engine.normalization import normalization_backward
from minidl.engines.numpy_engine.regularization import dropout_backward, l1_backward, l2_backward


class Trainer:
    """Trains a program on X (n, i) and y (n, o), or (n, 1) class indices; everything of the program's dtype."""

    def __init__(self, program, X, y, sample_weight=None, batch_size=32):
        self.program, self.batch_size = program, batch_size
        self.X, self.y, self.sample_weight = X, y, sample_weight
        self.gradient = np.zeros_like(program.parameters)

    @silently
    def run(self, orders, start, stop):
        """Train on the rows ``order[start:stop]`` of each order, batch by batch; the sums (contract.py) for each."""
        sums = np.zeros((len(orders), self.program.sums_size))
        for order, sums_of_epoch in zip(orders, sums, strict=True):
            for first in range(start, stop, self.batch_size):
                rows = order[first : min(first + self.batch_size, stop)]
                weight = None if self.sample_weight is None else self.sample_weight[rows]
                self.step(self.X[rows], targets(self.program, self.y[rows]), weight, sums_of_epoch)
        return sums

    def pull(self):
        """Bring the parameters and slots back to the program: here they have never left it."""

    def step(self, x, y, weight, sums):
        """Train on one batch, and add its loss and metrics, from before the update, to the sums."""
        outputs = forward(self.program, x, self.program.step)
        add_up(self.program, y, outputs, weight, sums)
        dz = losses.BACKWARD[self.program.loss](y, outputs[self.program.loss_at])
        dz *= (1 if weight is None else weight[:, None]) / len(y)
        backward(self.program, outputs, dz, self.gradient)
        update(self.program, self.gradient)


def backward(program, outputs, dz, gradient):
    """From the gradient ``dz`` by what the loss was given, back to the gradient by every parameter.

    ``outputs`` has the input first: the operation at ``place`` has read ``outputs[place]``. The way back ends at the
    first layer that learns, since what lies before it has no use for a gradient.
    """
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
