"""Training a whole model in Numba: one compiled call runs many batches over the flat vector of parameters."""

import numpy as np

from minidl.contract import (
    ACTIVATION,
    ADAM,
    ADAMW,
    BETA_1,
    BETA_2,
    DENSE,
    EPSILON,
    FIRST,
    INPUTS,
    KIND,
    L1,
    L2,
    LEARNING_RATE,
    MOMENTUM,
    MOMENTUM_RATE,
    NESTEROV,
    NORMALIZATION,
    OUTPUTS,
    RATE,
    SECOND,
    SGD,
    WEIGHT_DECAY,
    WHICH,
)
from minidl.engines.numba_engine import activations, losses, optimizers
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.dense import dense_backward_b, dense_backward_W, dense_backward_x
from minidl.engines.numba_engine.infer import add_up, forward, penalty, places_for, targets, view
from minidl.engines.numba_engine.normalization import normalization_backward
from minidl.engines.numba_engine.regularization import dropout_backward, l1_backward, l2_backward

backward_activation, backward_loss = activations.backward, losses.backward
sgd, momentum, nesterov, adam, adamw = (
    optimizers.sgd, optimizers.momentum, optimizers.nesterov, optimizers.adam, optimizers.adamw
)  # fmt: skip


class Trainer:
    """Trains a program on X (n, i) and y (n, o), or (n, 1) class indices; everything of the program's dtype."""

    def __init__(self, program, X, y, sample_weight=None, batch_size=32):
        self.program, self.batch_size = program, min(batch_size, len(X))
        self.X, self.y = X, y
        self.sample_weight = np.empty(0, X.dtype) if sample_weight is None else sample_weight
        rows = self.batch_size
        self.places, size = places_for(program, rows)
        widest = int(max(program.table[:, INPUTS].max(), program.table[:, OUTPUTS].max()))
        # Planned once: nothing is allocated while batches run.
        self.work = np.empty(size, X.dtype)
        self.x = np.empty((rows, program.inputs), X.dtype)
        self.goal = np.empty((rows, program.outputs), X.dtype)
        self.weight = np.empty(rows if sample_weight is not None else 0, X.dtype)
        self.row_values = np.empty(rows, X.dtype)
        self.deltas = np.empty((2, rows * widest), X.dtype)
        self.gradient = np.zeros_like(program.parameters)

    def run(self, order, start, stop):
        """Train on the rows ``order[start:stop]``, batch by batch; the sums (contract.py) of loss and metrics."""
        program, sums = self.program, np.zeros(self.program.sums_size)
        program.step = run_batches(
            program.table, program.numbers, program.parameters, program.theta.size, program.slots,
            program.step, program.seed, program.first_trainable,
            program.loss, program.loss_at, program.classes, program.metrics, program.optimizer,
            program.optimizer_numbers, self.X, self.y, self.sample_weight, order, start, stop, self.batch_size,
            self.x, self.goal, self.weight, self.work, self.places, self.row_values, self.deltas, self.gradient, sums,
        )  # fmt: skip
        return sums

    def pull(self):
        """Bring the parameters and slots back to the program: here they have never left it."""


@njit(cache=True)
def run_batches(
    table, numbers, parameters, trainable, slots, step, seed, first_trainable, loss, loss_at, classes, chosen,
    optimizer, optimizer_numbers, X, y, sample_weight, order, start, stop, batch_size,
    x, goal, weight, work, places, row_values, deltas, gradient, sums,
):  # fmt: skip
    """Train on ``order[start:stop]``; the number of optimizer steps done since the beginning."""
    last = table.shape[0]
    for first in range(start, stop, batch_size):
        rows = min(batch_size, stop - first)
        x_now, goal_now, weight_now = x[:rows], goal[:rows], weight[: min(rows, weight.size)]
        gather(classes, X, y, sample_weight, order[first : first + rows], x_now, goal_now, weight_now)

        forward(table, numbers, parameters, x_now, work, places, True, seed, step)
        given, p = view(work, places[loss_at], rows, goal.shape[1]), view(work, places[last], rows, goal.shape[1])
        penalty_now = penalty(table, numbers, parameters)
        add_up(loss, chosen, goal_now, given, p, weight_now, penalty_now, row_values, sums)

        dz = view(deltas[0], 0, rows, goal.shape[1])
        backward_loss(loss, goal_now, given, dz)
        for r in range(rows):
            share = dz.dtype.type((weight_now[r] if weight_now.size > 0 else dz.dtype.type(1)) / rows)
            for u in range(dz.shape[1]):
                dz[r, u] *= share
        backward(
            table, numbers, parameters, x_now, work, places, deltas, gradient, first_trainable, loss_at, seed, step
        )
        step += 1
        update(optimizer, optimizer_numbers, parameters[:trainable], gradient[:trainable], slots, step)
    return step


@njit(cache=True, inline="always")
def gather(classes, X, y, sample_weight, rows, x_out, y_out, weight_out):
    """Copy the batch's rows next to each other."""
    for r in range(rows.size):
        x_r, out_r = X[rows[r]], x_out[r]
        for k in range(out_r.size):
            out_r[k] = x_r[k]
        targets(classes, y[rows[r] : rows[r] + 1], y_out[r : r + 1])
        if weight_out.size > 0:
            weight_out[r] = sample_weight[rows[r]]


@njit(cache=True, inline="always")
def backward(table, numbers, parameters, x, work, places, deltas, gradient, first_trainable, loss_at, seed, step):
    """From the gradient in ``deltas[0]`` by what the loss was given, back to the gradient by every parameter.

    The two rows of ``deltas`` take turns: one is read, the other written.
    """
    rows, here = x.shape[0], 0
    for p in range(loss_at - 1, first_trainable - 1, -1):
        kind, start, second = table[p, KIND], table[p, FIRST], table[p, SECOND]
        inputs, outputs = table[p, INPUTS], table[p, OUTPUTS]
        dz, dx = view(deltas[here], 0, rows, outputs), view(deltas[1 - here], 0, rows, inputs)
        if kind == DENSE:
            x_p = x if p == 0 else view(work, places[p], rows, inputs)
            W, dW = view(parameters, start, inputs, outputs), view(gradient, start, inputs, outputs)
            dense_backward_W(x_p, dz, dW)
            dense_backward_b(dz, gradient[second : second + outputs])
            if numbers[p, L1] != 0:
                l1_backward(W, numbers[p, L1], dW)
            if numbers[p, L2] != 0:
                l2_backward(W, numbers[p, L2], dW)
            if p > first_trainable:
                dense_backward_x(dz, W, dx)
        elif kind == ACTIVATION:
            backward_activation(table[p, WHICH], dz, view(work, places[p + 1], rows, outputs), dx)
        elif kind == NORMALIZATION:
            normalization_backward(dz, parameters[second : second + outputs], dx)
        else:
            dropout_backward(dz, numbers[p, RATE], seed, step, table[p, WHICH], dx)
        here = 1 - here


@njit(cache=True, inline="always")
def update(optimizer, numbers, theta, g, slots, t):
    """One step of the optimizer over the whole vector theta."""
    rate, mu = numbers[LEARNING_RATE], numbers[MOMENTUM_RATE]
    beta_1, beta_2, epsilon = numbers[BETA_1], numbers[BETA_2], numbers[EPSILON]
    if optimizer == SGD:
        sgd(theta, g, rate)
    elif optimizer == MOMENTUM:
        momentum(theta, g, slots[0], rate, mu)
    elif optimizer == NESTEROV:
        nesterov(theta, g, slots[0], rate, mu)
    elif optimizer == ADAM:
        adam(theta, g, slots[0], slots[1], t, rate, beta_1, beta_2, epsilon)
    elif optimizer == ADAMW:
        adamw(theta, g, slots[0], slots[1], t, rate, beta_1, beta_2, epsilon, numbers[WEIGHT_DECAY])
