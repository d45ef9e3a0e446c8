"""JAX on a GPU: the jitted scan over all epochs of a call, and the jitted network; everything is resident."""

from __future__ import annotations

from perf import gpu_cases, rivals
from perf.rivals import jax_scan

LABEL = "JAX"
WAYS = {"trainer": ("scan, rows by batch", "scan, rows by epoch"), "predictor": ("jit",)}
PRECISIONS = {"highest": "float32", "high": "tensorfloat32", "medium": "bfloat16"}


def why_not(device: str) -> str:
    return rivals.missing("JAX", 'pip install "jax[cuda13]"', "jax")


def ready(case, device: str):
    """JAX, set to the case's precision; RuntimeError where it has no GPU though one is asked for."""
    import jax

    found = jax.devices()[0].platform
    if device == "gpu" and found != "gpu":
        raise RuntimeError(f'this JAX computes on the {found}; pip install "jax[cuda13]" brings one for the GPU')
    jax.config.update("jax_default_matmul_precision", PRECISIONS[case.precision])
    return jax


def trainer(case, weights, X, y, device, way):
    jax = ready(case, device)
    run, state = jax_scan.training(case, weights, way.rpartition(" ")[2], "call")
    X, y, orders = (jax.device_put(array) for array in (X, y, gpu_cases.orders(case)))

    def train():
        nonlocal state
        state, losses = run(state, orders, X, y)
        return losses.tolist()

    return train


def predictor(case, weights, X, device, way):
    jax = ready(case, device)
    theta = jax.device_put(weights)
    run = jax.jit(lambda theta, x: jax.nn.sigmoid(jax_scan.logits(case, theta, x)))
    if case.rows == 1:
        return lambda: float(run(theta, X)[0, 0])
    x = jax.device_put(X)
    return lambda: run(theta, x).block_until_ready()
