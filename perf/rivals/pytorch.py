"""PyTorch as it comes: its fused optimizer, gradients set to None, slices of rows shuffled once an epoch."""

from __future__ import annotations

import numpy as np

from perf import cases, rivals


def why_not() -> str:
    return rivals.missing("PyTorch", "pip install torch", "torch")


def settings(what: str) -> list[dict]:
    return rivals.thread_counts()


def network(case, weights):
    """The layers up to the logits."""
    import torch

    layers = []
    for W, b in weights:
        linear = torch.nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, torch.nn.ReLU() if case.activation == "relu" else torch.nn.Sigmoid()]
    return torch.nn.Sequential(*layers[:-1])


def trainer(case, weights, X, y, threads):
    import torch

    torch.set_num_threads(threads)
    model, orders = network(case, weights), cases.orders(case)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    if case.optimizer == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), case.learning_rate, fused=True)
    else:
        betas = (cases.BETA_1, cases.BETA_2)
        optimizer = torch.optim.Adam(model.parameters(), case.learning_rate, betas, cases.EPSILON, fused=True)
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits

    def epoch():
        order = torch.from_numpy(next(orders))
        total = torch.zeros(())
        for x, goal in zip(X[order].split(case.batch_size), y[order].split(case.batch_size), strict=True):
            loss = loss_of(model(x), goal)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total.add_(loss.detach(), alpha=len(x))
        return total.item() / case.rows

    return lambda: [epoch() for _ in range(case.epochs)]


def predictor(case, weights, X, threads):
    import torch

    torch.set_num_threads(threads)
    model, x = torch.nn.Sequential(*network(case, weights), torch.nn.Sigmoid()).eval(), torch.from_numpy(X)

    def predict():
        with torch.inference_mode():
            return model(x)

    return predict


int8 = predictor  # in float32


def product(operation, a, b, threads):
    import torch

    torch.set_num_threads(threads)
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    a, b = {"dense": (a, b), "dense_backward_W": (a.T, b), "dense_backward_x": (a, b.T)}[operation]
    out = torch.from_numpy(np.empty((len(a), b.shape[1]), np.float32))

    def multiply():
        with torch.inference_mode():
            return torch.mm(a, b, out=out)

    return multiply
