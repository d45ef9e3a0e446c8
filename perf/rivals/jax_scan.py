"""JAX: a jitted lax.scan over the batches of an epoch, or of all epochs of a call; its state is donated."""

from __future__ import annotations

import itertools

import numpy as np

from perf import cases, rivals


def why_not() -> str:
    return rivals.missing("JAX", "pip install jax", "jax")


def settings(what: str) -> list[dict]:
    """``gather``: rows are put in order batch by batch, or once an epoch; ``scan``: over an epoch, or all of a call."""
    if what != "trainer":
        return rivals.thread_counts()
    ways = [{"gather": gather, "scan": scan} for gather in ("batch", "epoch") for scan in ("epoch", "call")]
    return [first | second for first, second in itertools.product(rivals.thread_counts(), ways)]


def logits(case, theta, x):
    import jax

    activation = jax.nn.relu if case.activation == "relu" else jax.nn.sigmoid
    for W, b in theta[:-1]:
        x = activation(x @ W + b)
    return x @ theta[-1][0] + theta[-1][1]


def training(case, weights, gather, scan):
    """The jitted function (state, order or orders, X, y) -> (state, loss or losses), and the state to begin with."""
    import jax
    import jax.numpy as jnp

    def loss(theta, x, goal):
        z = logits(case, theta, x)
        return jnp.mean(jnp.maximum(z, 0) - goal * z + jnp.log1p(jnp.exp(-jnp.abs(z))))

    def step(state, batch):
        theta, m, v, t = state
        value, g = jax.value_and_grad(loss)(theta, *batch)
        t = t + 1
        if case.optimizer == "sgd":
            theta = jax.tree.map(lambda p, g: p - case.learning_rate * g, theta, g)
        else:
            m = jax.tree.map(lambda m, g: cases.BETA_1 * m + (1 - cases.BETA_1) * g, m, g)
            v = jax.tree.map(lambda v, g: cases.BETA_2 * v + (1 - cases.BETA_2) * g * g, v, g)
            a = case.learning_rate * jnp.sqrt(1 - cases.BETA_2**t) / (1 - cases.BETA_1**t)
            theta = jax.tree.map(lambda p, m, v: p - a * m / (jnp.sqrt(v) + cases.EPSILON), theta, m, v)
        return (theta, m, v, t), value * len(batch[0])

    whole = case.rows // case.batch_size * case.batch_size  # the rows of whole batches; the rest is a batch of its own

    def epoch(state, order, X, y):
        rows = order[:whole].reshape(-1, case.batch_size)
        if gather == "epoch":
            state, values = jax.lax.scan(step, state, (X[rows], y[rows]))
        else:
            state, values = jax.lax.scan(lambda state, rows: step(state, (X[rows], y[rows])), state, rows)
        total = values.sum()
        if whole < case.rows:
            state, value = step(state, (X[order[whole:]], y[order[whole:]]))
            total += value
        return state, total / case.rows

    def epochs(state, orders, X, y):
        return jax.lax.scan(lambda state, order: epoch(state, order, X, y), state, orders)

    theta = jax.tree.map(jnp.asarray, weights)
    state = (theta, *(jax.tree.map(jnp.zeros_like, theta) for _ in range(2)), jnp.float32(0))
    return jax.jit(epochs if scan == "call" else epoch, donate_argnums=0), state


def trainer(case, weights, X, y, threads, gather, scan):
    import jax.numpy as jnp

    run, state = training(case, weights, gather, scan)
    X, y, orders = jnp.asarray(X), jnp.asarray(y), cases.orders(case)

    def train():
        nonlocal state
        drawn = (next(orders).astype(np.int32) for _ in range(case.epochs))
        if scan == "call":
            state, losses = run(state, np.stack(list(drawn)), X, y)
            return np.asarray(losses).tolist()
        losses = []
        for order in drawn:
            state, value = run(state, order, X, y)
            losses.append(value)
        return [float(value) for value in losses]  # waits for what is still being computed

    return train


def predictor(case, weights, X, threads):
    import jax
    import jax.numpy as jnp

    theta, x = jax.tree.map(jnp.asarray, weights), jnp.asarray(X)
    run = jax.jit(lambda x: jax.nn.sigmoid(logits(case, theta, x)))
    return lambda: run(x).block_until_ready()


def product(operation, a, b, threads):
    import jax
    import jax.numpy as jnp

    forms = {
        "dense": lambda a, b: a @ b,
        "dense_backward_W": lambda a, b: a.T @ b,
        "dense_backward_x": lambda a, b: a @ b.T,
    }
    run, a, b = jax.jit(forms[operation]), jnp.asarray(a), jnp.asarray(b)
    return lambda: run(a, b).block_until_ready()
