"""PyTorch compiled: torch.compile of a whole step (rows, forward, loss, gradients, optimizer), and of inference."""

from __future__ import annotations

import itertools
import os
import shutil

from perf import cases, rivals
from perf.rivals.pytorch import network


def why_not() -> str:
    if not shutil.which(os.environ.get("CXX", "g++")):
        return "torch.compile needs a C++ compiler, and there is no g++; on Debian install it with: apt install g++"
    return rivals.missing("PyTorch", "pip install torch", "torch")


def settings(what: str) -> list[dict]:
    """``cpp_wrapper`` has the compiler write C++ where it would write Python around its kernels."""
    more = [{"cpp_wrapper": False}, {"cpp_wrapper": True}]
    return [first | second for first, second in itertools.product(rivals.thread_counts(), more)]


def trainer(case, weights, X, y, threads, cpp_wrapper):
    import torch
    from torch._inductor import config

    torch.set_num_threads(threads)
    config.cpp_wrapper = cpp_wrapper
    functional, orders = torch.nn.functional, cases.orders(case)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    theta = [torch.from_numpy(array.T.copy()) for layer in weights for array in layer]
    m, v = ([torch.zeros_like(p) for p in theta] for _ in range(2))
    rates = torch.full((2,), 1.0, dtype=torch.float64)  # the two powers of beta
    activation = torch.relu if case.activation == "relu" else torch.sigmoid

    def loss(theta, x, goal):
        *hidden, (W, b) = zip(theta[::2], theta[1::2], strict=True)
        for W_k, b_k in hidden:
            x = activation(functional.linear(x, W_k, b_k))
        return functional.binary_cross_entropy_with_logits(functional.linear(x, W, b), goal)

    gradients = torch.func.grad_and_value(loss)

    def step(rows, total):
        found, value = gradients(theta, X[rows], y[rows])
        if case.optimizer == "sgd":
            for p, g in zip(theta, found, strict=True):
                p.sub_(case.learning_rate * g)
        else:
            adam(found)
        total.add_(value, alpha=len(rows))

    def adam(found):
        rates[0] *= cases.BETA_1
        rates[1] *= cases.BETA_2
        rate = (case.learning_rate * torch.sqrt(1 - rates[1]) / (1 - rates[0])).float()
        for p, g, m_p, v_p in zip(theta, found, m, v, strict=True):
            m_p.mul_(cases.BETA_1).add_(g, alpha=1 - cases.BETA_1)
            v_p.mul_(cases.BETA_2).addcmul_(g, g, value=1 - cases.BETA_2)
            p.sub_(rate * m_p / (v_p.sqrt() + cases.EPSILON))

    compiled = torch.compile(step, dynamic=False)

    def epoch():
        total = torch.zeros(())
        for rows in torch.from_numpy(next(orders)).split(case.batch_size):
            compiled(rows, total)
        return total.item() / case.rows

    def train():
        with torch.no_grad():
            return [epoch() for _ in range(case.epochs)]

    return train



def predictor(case, weights, X, threads, cpp_wrapper):
    import torch
    from torch._inductor import config

    torch.set_num_threads(threads)
    config.cpp_wrapper, config.freezing = cpp_wrapper, True  # the weights become constants, packed as the products like
    model, x = torch.nn.Sequential(*network(case, weights), torch.nn.Sigmoid()).eval(), torch.from_numpy(X)
    compiled = torch.compile(model, dynamic=False)

    def predict():
        with torch.no_grad():  # inference_mode would keep the weights from being frozen
            return compiled(x)

    return predict
