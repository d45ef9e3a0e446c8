"""NumPy as one writes it by hand: every array allocated once, every operation with out=, its BLAS for the products."""

from __future__ import annotations

import math

import numpy as np

from perf import cases, rivals


def why_not() -> str:
    return ""


def settings(what: str) -> list[dict]:
    return rivals.thread_counts()


def sigmoid(z, out):
    """(1 + tanh(z / 2)) / 2: the fewest passes, and exact enough for training, though not to the last bits near 0."""
    np.multiply(z, 0.5, out=out)
    np.tanh(out, out=out)
    out += 1
    out *= 0.5


class Network:
    """Parameters in one vector, W and b its views, and the same for the gradient, so that an optimizer is a few calls.

    What a layer puts out lies in a buffer that is made at the first batch of its size.
    """

    def __init__(self, case, weights):
        self.case, self.buffers = case, {}
        self.theta = np.concatenate([array.ravel() for layer in weights for array in layer])
        self.gradient = np.zeros_like(self.theta)
        self.m, self.v, self.scratch = (np.zeros_like(self.theta) for _ in range(3))
        self.step = 0
        self.layers, self.gradients = self.views(self.theta), self.views(self.gradient)

    def views(self, vector):
        found, start = [], 0
        for i, o in zip(self.case.widths, self.case.widths[1:], strict=False):
            end = start + i * o
            found.append((vector[start:end].reshape(i, o), vector[end : end + o]))
            start = end + o
        return found

    def outputs(self, rows):
        """One array for each layer's output, and one for its gradient."""
        if rows not in self.buffers:
            shapes = [(rows, units) for units in self.case.widths[1:]]
            self.buffers[rows] = [np.empty(s, np.float32) for s in shapes], [np.empty(s, np.float32) for s in shapes]
        return self.buffers[rows]

    def forward(self, x):
        """Every layer's output; the last is the logits."""
        outputs, _ = self.outputs(len(x))
        for (W, b), a in zip(self.layers, outputs, strict=True):
            np.matmul(x, W, out=a)
            a += b
            if a is not outputs[-1]:
                np.maximum(a, 0, out=a) if self.case.activation == "relu" else sigmoid(a, out=a)
            x = a
        return outputs

    def train(self, x, y):
        """One step; the sum of the losses of the batch."""
        outputs, (_, deltas) = self.forward(x), self.outputs(len(x))
        z, dz = outputs[-1], deltas[-1]
        loss = float(np.sum(np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z)))))
        sigmoid(z, out=dz)
        dz -= y
        dz /= len(x)
        for layer in reversed(range(len(outputs))):
            (W, _), (dW, db) = self.layers[layer], self.gradients[layer]
            np.matmul((outputs[layer - 1] if layer else x).T, deltas[layer], out=dW)
            np.sum(deltas[layer], axis=0, out=db)
            if layer:
                a, da = outputs[layer - 1], deltas[layer - 1]
                np.matmul(deltas[layer], W.T, out=da)
                da *= a > 0 if self.case.activation == "relu" else a * (1 - a)
        self.update()
        return loss

    def update(self):
        g, rate, scratch = self.gradient, self.case.learning_rate, self.scratch
        self.step += 1
        if self.case.optimizer == "sgd":
            g *= rate
            self.theta -= g
            return
        self.m *= cases.BETA_1
        self.m += np.multiply(g, 1 - cases.BETA_1, out=scratch)
        self.v *= cases.BETA_2
        g *= g
        self.v += np.multiply(g, 1 - cases.BETA_2, out=scratch)
        np.sqrt(self.v, out=scratch)
        scratch += cases.EPSILON
        np.divide(self.m, scratch, out=scratch)
        scratch *= rate * math.sqrt(1 - cases.BETA_2**self.step) / (1 - cases.BETA_1**self.step)
        self.theta -= scratch


def trainer(case, weights, X, y, threads=None):
    network, orders = Network(case, weights), cases.orders(case)

    def epoch():
        order = next(orders)
        batches = (order[start : start + case.batch_size] for start in range(0, case.rows, case.batch_size))
        return sum(network.train(X[rows], y[rows]) for rows in batches) / case.rows

    return lambda: [epoch() for _ in range(case.epochs)]


def predictor(case, weights, X, threads=None):
    network, out = Network(case, weights), np.empty((len(X), 1), np.float32)

    def predict():
        sigmoid(network.forward(X)[-1], out=out)
        return out

    return predict


def product(operation, a, b, threads=None):
    a, b = {"dense": (a, b), "dense_backward_W": (a.T, b), "dense_backward_x": (a, b.T)}[operation]
    out = np.empty((len(a), b.shape[1]), np.float32)
    return lambda: np.matmul(a, b, out=out)
