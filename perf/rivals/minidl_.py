"""minidl through its public API: fit, model(x), and the operations of its Numba engine."""

from __future__ import annotations

import numpy as np

import minidl
from perf import cases


def why_not() -> str:
    from minidl.engines import why_not

    return why_not("numba")


def settings(what: str) -> list[dict]:
    return [{}]  # it chooses its threads itself


def model(case, weights, engine="numba") -> minidl.Sequential:
    layers = [minidl.Dense(units, case.activation) for units in case.hidden]
    built = minidl.Sequential([*layers, minidl.Dense(1, "sigmoid")], seed=cases.SEED)
    optimizers = {"sgd": minidl.optimizers.SGD, "adam": minidl.optimizers.Adam}
    built.compile(optimizers[case.optimizer](case.learning_rate), "binary_crossentropy", engine=engine)
    built(np.zeros((1, case.inputs), np.float32))
    built.set_weights([array for layer in weights for array in layer])
    return built


def trainer(case, weights, X, y):
    ready = model(case, weights)
    return lambda: ready.fit(X, y, case.batch_size, case.epochs, verbose=0).history["loss"]


def predictor(case, weights, X):
    ready = model(case, weights)
    return lambda: ready(X)


def int8(case, weights, X):
    return bound(minidl.quantize(model(case, weights), cases.calibration(case)).predictor(), X)


def bound(predictor, X):
    """The call, whose output goes where that of the one before went."""
    out = np.empty((len(X), 1), np.float32)
    return lambda: predictor(X, out)


def product(operation, a, b, threads=None):
    engine = minidl.get_engine("numba")
    shapes = {"dense": (len(a), b.shape[1]), "dense_backward_W": (a.shape[1], b.shape[1])}
    out = np.empty(shapes.get(operation, (len(a), len(b))), np.float32)
    if operation == "dense":
        bias = np.zeros(b.shape[1], np.float32)
        return lambda: engine.dense(a, b, bias, out=out)
    run = getattr(engine, operation)
    return lambda: run(a, b, out=out)
