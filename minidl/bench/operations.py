"""For every operation of the contract: sample arguments, a call that leaves them alone, and its error by the oracle."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from minidl import oracle
from minidl.contract import AUC_BINS, OPERATIONS, OPTIMIZERS
from minidl.engines import Engine, get_engine
from minidl.formulas import FORMULAS

POINTS = 4000  # of the float32 line, in a quick look at an elementwise function
IN_PLACE = (*OPTIMIZERS, "l1_backward", "l2_backward", "auc_histograms")
PRODUCTS = ("dense", "dense_backward_x", "dense_backward_W", "dense_int8")
LETTERS = {"learning_rate": "eta", "momentum": "mu", "weight_decay": "lambda"}  # for an optimizer's numbers in formulas
SLOTS = {  # the formulas of what each optimizer remembers
    name: [slot for slot, of in FORMULAS.items() if (of.symbol, of.expression) in FORMULAS[name].where]
    for name in OPTIMIZERS
}


def sample(name: str, dtype: str = "float32", large: bool = False, seed: int = 0) -> tuple:
    """Arguments for the operation, drawn from a fixed seed: small enough for the oracle, or large enough to time."""
    rng = np.random.default_rng(seed)
    n, i, o, K = (256, 784, 256, 200_000) if large else (5, 7, 4, 200)
    make = SAMPLES[name] if name in SAMPLES else SAMPLES[name.removesuffix("_backward")]
    made = make(name, rng, n, i, o, K, np.dtype(dtype))
    if name == "auc_histograms" or OPERATIONS[name].module == "int8":
        return made  # counts are float64 in either dtype, and whole numbers have types of their own
    return tuple(np.ascontiguousarray(a, dtype) if isinstance(a, np.ndarray) else a for a in made)


def placed(engine: Engine, arguments: tuple) -> list:
    """The arguments where the engine wants them, every array a copy of its own."""
    return [engine.to_device(a.copy()) if isinstance(a, np.ndarray) else a for a in arguments]


def rival(engine: Engine, name: str, arguments: tuple) -> Callable[[], object]:
    """The operation on arguments that have been placed beforehand, for a clock: when it returns, it is done."""
    operation, arguments = getattr(engine, name), placed(engine, arguments)

    def finished() -> object:
        result = operation(*arguments)
        engine.synchronize()
        return result

    return finished


def call(engine: Engine, name: str, arguments: tuple) -> list[np.ndarray]:
    """Everything the operation returns or changes, as NumPy arrays; the arguments stay as they are."""
    here = placed(engine, arguments)
    result = getattr(engine, name)(*here)
    if name not in IN_PLACE:
        return [np.atleast_1d(engine.to_host(result))]
    arrays = [engine.to_host(a) for a, given in zip(here, arguments, strict=True) if isinstance(given, np.ndarray)]
    if name.endswith("_backward") or name == "auc_histograms":
        return arrays[-1:]
    return [arrays[0], *arrays[2:]]  # theta and the slots; the gradient is only read


def error(engine: Engine, name: str, dtype: str = "float32", arguments: tuple | None = None) -> float:
    """The largest error against the oracle, in the operation's own measure (contract.py)."""
    expected = of_sample(name, dtype) if arguments is None else ORACLES[name](name, arguments)
    arguments = sample(name, dtype) if arguments is None else arguments
    operation, found = OPERATIONS[name], call(engine, name, arguments)
    if operation.measure == "ulp":
        return max(float(oracle.ulp_error(a, b).max()) for a, b in zip(found, expected, strict=True))
    if operation.measure == "steps":
        return max(float(np.abs(a - b.astype(np.float64)).max()) for a, b in zip(found, expected, strict=True))
    scale = magnitude(name, arguments) if operation.measure == "product" else None
    return max(oracle.relative_error(a, np.atleast_1d(b), scale) for a, b in zip(found, expected, strict=True))


@cache
def of_sample(name: str, dtype: str) -> list[np.ndarray]:
    """What the oracle says to the sample; it is asked once, for all engines."""
    return ORACLES[name](name, sample(name, dtype))


def on_a_line(name: str) -> bool:
    """Whether ``sample`` is the float line, entry by entry, so that the error can be drawn over the argument."""
    operation = OPERATIONS[name]
    return operation.module == "activations" and operation.measure == "ulp" and name != "softmax"


def errors_on_a_line(name: str, engines: list[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The entries of the sample, where it is ``on_a_line``, and each engine's errors there, in ulp."""
    (z,) = sample(name)
    (expected,) = of_sample(name, "float32")
    found = {engine: call(get_engine(engine), name, (z,))[0] for engine in engines}
    return z.ravel(), {engine: oracle.ulp_error(array, expected).ravel() for engine, array in found.items()}


@cache
def work(name: str) -> tuple[int, int, int]:
    """Of a call on the large sample: operations, bytes moved and bytes held.

    What a matrix product multiplies and adds, and every array read once, written once; what is written in place is held
    once and moved twice. Other operations are counted as 0: what limits them is the bytes.
    """
    arguments = sample(name, large=True)
    given = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    found = call(get_engine("numpy"), name, arguments)
    moved = sum(array.nbytes for array in (*given, *found))
    held = sum(array.nbytes for array in given) if name in IN_PLACE else moved
    if name not in PRODUCTS:
        return 0, moved, held
    each = 2 * math.isqrt(given[0].size * given[1].size * found[0].size)  # each of n, i, o is in two of the three
    return each, moved, held


def float_line(dtype: str, points: int) -> np.ndarray:
    """Finite floats in equal steps of their bit patterns, from one end of the line to the other: as many for each
    factor of two near 1e-40 as near 1. Both zeros and both ends are among them."""
    bits, kind = (np.uint32, np.float32) if np.dtype(dtype) == np.float32 else (np.uint64, np.float64)
    top = int(np.array(np.finfo(kind).max).view(bits))
    step = top // (points // 2)
    positive = np.array([*range(0, top, step), top], dtype=bits).view(kind)
    return np.concatenate([-positive[::-1], positive])


def magnitude(name: str, arguments: tuple) -> np.ndarray:
    """The size of the terms that a matrix product adds up, |A| |B| times their number, entry by entry."""
    a = [np.abs(np.asarray(argument, dtype=np.float64)) for argument in arguments]
    if name == "dense":
        return a[0] @ a[1] + a[2]
    if name == "dense_backward_x":
        return a[0] @ a[1].T
    return a[0].T @ a[1] if name == "dense_backward_W" else a[0].sum(axis=0)


# --- samples ------------------------------------------------------------------------------------------------------


def activation_sample(name, rng, n, i, o, K, dtype):
    if name == "softmax":
        return (rng.normal(0, 4, (n, o)),)
    if name == "softmax_backward":
        e = np.exp(rng.normal(size=(n, o)))
        return rng.normal(size=(n, o)), e / e.sum(axis=1, keepdims=True)
    if not name.endswith("_backward"):
        return (rng.normal(0, 4, (n, i)) if n > 100 else float_line(dtype.name, POINTS).reshape(1, -1),)
    if name.startswith("sigmoid"):
        return rng.normal(size=(n, i)), rng.uniform(size=(n, i))
    return rng.normal(size=(n, i)), rng.uniform(-1, 1, (n, i))


def dense_sample(name, rng, n, i, o, K, dtype):
    x, W, b, dz = (rng.normal(size=shape) for shape in ((n, i), (i, o), (o,), (n, o)))
    return {
        "dense": (x, W, b), "dense_backward_x": (dz, W), "dense_backward_W": (x, dz), "dense_backward_b": (dz,)
    }[name]  # fmt: skip


def loss_sample(name, rng, n, i, o, K, dtype):
    y = np.eye(o)[rng.integers(o, size=n)]
    if "logits" in name:
        return y, rng.normal(0, 4, (n, o))
    if "crossentropy" in name:
        y = y if "categorical" in name else rng.integers(0, 2, (n, o)).astype(float)
        return y, rng.uniform(0.01, 0.99, (n, o))
    if "accuracy" in name:
        return y, rng.uniform(size=(n, o))
    return rng.normal(size=(n, o)), rng.normal(size=(n, o))


def auc_sample(name, rng, n, i, o, K, dtype):
    y, p = rng.integers(0, 2, (n, o)).astype(dtype), rng.uniform(size=(n, o)).astype(dtype)
    return y, p, np.zeros((2, 199))


def normalization_sample(name, rng, n, i, o, K, dtype):
    x, mean, variance = rng.normal(3, 2, (n, i)), rng.normal(3, 0.1, i), rng.uniform(1, 4, i)
    return (x, variance) if name.endswith("_backward") else (x, mean, variance)


def optimizer_sample(name, rng, n, i, o, K, dtype):
    names, theta, g, m = OPERATIONS[name].arguments, *(rng.normal(size=K) for _ in range(3))
    values = {"theta": theta, "g": g, "m": m, "v": rng.uniform(0.1, 1, K), "t": 3, "learning_rate": 0.125}
    values |= {"momentum": 0.875, "beta_1": 0.875, "beta_2": 0.9990234375, "epsilon": 2.0**-20}
    values |= {"weight_decay": 0.0078125}
    if "momentum" in names:
        values["v"] = m  # a velocity has either sign
    return tuple(values[name] for name in names)


def penalty_sample(name, rng, n, i, o, K, dtype):
    w = rng.normal(size=K)
    return (w, 0.125, np.zeros(K)) if name.endswith("_backward") else (w, 0.125)


def int8_sample(name, rng, n, i, o, K, dtype):
    q, W = rng.integers(0, 256, (n, i), np.uint8), rng.integers(-127, 128, (i, o), np.int8)
    s, offset = rng.integers(-(2**18), 2**18, (n, o), np.int32), rng.integers(-(2**16), 2**16, o, np.int32)
    factor = rng.uniform(2.0**-12, 2.0**-10, o).astype(np.float32)
    return {
        "quantize": (rng.normal(size=(n, i)).astype(np.float32), np.float32(0.01), 100),  # some lie outside
        "dense_int8": (q, W),
        "requantize": (s, offset, factor, 3, 3),
        "dequantize": (s, offset, factor),
    }[name]


def dropout_sample(name, rng, n, i, o, K, dtype):
    return rng.normal(size=(n, i)), 0.25, 1234567, 5, 1


# --- oracles: the formula, with the arguments put under its own symbols -----------------------------------------------


def activation_oracle(name, arguments):
    formula = FORMULAS[OPERATIONS[name].formula]
    if name == "softmax":
        return [formula.evaluate(Z=arguments[0])]
    if name == "softmax_backward":
        # The rows of y are a softmax of ln y, so the formula's own derivative can be asked for there.
        dy, y = arguments
        logits = np.vectorize(lambda entry: oracle.mpmath.log(oracle.mpmath.mpf(float(entry))), otypes=[object])(y)
        jacobian = formula.evaluate("derivative", Z=logits)
        return [np.einsum("ru,ruj->rj", oracle.exact(dy), jacobian)]
    if not name.endswith("_backward"):
        return [formula.evaluate("stable" if formula.stable is not None else "expression", z=arguments[0])]
    dy, y = arguments
    return [oracle.exact(dy) * formula.evaluate("from_output", a=y)]


def dense_oracle(name, arguments):
    letters = {"dense": "XWb", "dense_backward_x": "GW", "dense_backward_W": "XG", "dense_backward_b": "G"}[name]
    return [FORMULAS[name].evaluate(**dict(zip(letters, arguments, strict=True)))]


def loss_oracle(name, arguments):
    formula = FORMULAS[OPERATIONS[name].formula]
    values = dict(zip(("Y", "Z" if "logits" in name else "P"), arguments, strict=True))
    return [formula.evaluate("derivative" if name.endswith("_backward") else "expression", **values)]


def metric_oracle(name, arguments):
    """No formula, but counting one by one, with a single rounding at the end."""
    y, p, *counts = arguments
    if name == "auc_histograms":
        (counted,) = map(oracle.exact, counts)
        for label, score in zip(y.flat, oracle.exact(p).flat, strict=True):
            counted[int(label), min(max(int(oracle.mpmath.ceil(score * AUC_BINS)) - 1, 0), AUC_BINS - 1)] += 1
        return [counted]
    right = (p > 0.5) == y if name == "binary_accuracy" else (y.argmax(1) == p.argmax(1)).reshape(-1, 1)
    return [oracle.exact(right.sum(axis=1)) / right.shape[1]]


def normalization_oracle(name, arguments):
    formula = FORMULAS["normalization"]
    if name.endswith("_backward"):
        dy, variance = arguments
        return [oracle.exact(dy) * formula.evaluate("derivative", **{"sigma_x^2": variance})]
    x, mean, variance = arguments
    return [formula.evaluate(x=x, mu_x=mean, **{"sigma_x^2": variance})]


def optimizer_oracle(name, arguments):
    letters = [LETTERS.get(argument, argument) for argument in OPERATIONS[name].arguments]
    values = dict(zip(letters, arguments, strict=True))
    return [FORMULAS[formula].evaluate(**values) for formula in (name, *SLOTS[name])]


def penalty_oracle(name, arguments):
    return [FORMULAS[name].evaluate(w=arguments[0], **{"lambda": arguments[1]})]


def int8_oracle(name, arguments):
    letters = {"quantize": ("x", "Delta", "q_0"), "dense_int8": "QW", "dequantize": ("S", "c", "Delta")}
    letters["requantize"] = ("S", "c", "M", "q_0", "q_min")
    return [FORMULAS[name].evaluate(**dict(zip(letters[name], arguments, strict=True)))]


def dropout_oracle(name, arguments):
    from minidl.engines.numpy_engine.regularization import keep_mask  # which entries are kept is no formula

    x, rate, *counters = arguments
    kept = keep_mask(x.shape, rate, *counters)
    if name == "dropout":
        return [FORMULAS["dropout"].evaluate(x=x, B=kept.astype(float), p=rate)]
    return [oracle.exact(x) * FORMULAS["dropout"].evaluate("derivative", B=kept.astype(float), p=rate)]


FAMILIES = {
    "activations": (activation_sample, activation_oracle),
    "dense": (dense_sample, dense_oracle),
    "int8": (int8_sample, int8_oracle),
    "losses": (loss_sample, loss_oracle),
    "metrics": (loss_sample, metric_oracle),
    "normalization": (normalization_sample, normalization_oracle),
    "optimizers": (optimizer_sample, optimizer_oracle),
}
SAMPLES = {name: FAMILIES.get(op.module, (penalty_sample,))[0] for name, op in OPERATIONS.items()}
ORACLES = {name: FAMILIES.get(op.module, (None, penalty_oracle))[1] for name, op in OPERATIONS.items()}
for _name in ("dropout", "dropout_backward"):
    SAMPLES[_name], ORACLES[_name] = dropout_sample, dropout_oracle
SAMPLES["auc_histograms"] = auc_sample
