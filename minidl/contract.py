"""What every engine provides: each operation's name, signature, shapes, error bound, and its formula by name.

Shapes, everywhere: ``n`` rows in the batch, ``i`` inputs, ``o`` outputs (units, classes), ``K`` parameters in a vector.
Arrays are float32 or float64, one dtype per call, C-contiguous; results have the same dtype. Operations allocate their
result unless ``out=`` is given; optimizers change ``theta`` and their slots in place, since that is what they are for.
A backward operation takes the gradient of the loss by the operation's output and returns it by the input.
NaN passes through activations, losses, penalties and all their backwards: clipping, signs and slopes keep it.
The operations in whole numbers have the types that their shapes name; what is too large for uint8 becomes 255, what is
too small its least value, and so does a NaN.

Dropout masks. ``keep[r, k]`` of the layer ``layer`` at the training step ``step`` (both from 0) with ``seed`` comes
from one counter-based generator, the same bits in every engine, in unsigned 64-bit arithmetic that wraps around:

    mix(h):  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9;  h = (h ^ (h >> 27)) * 0x94D049BB133111EB;  h ^ (h >> 31)
    key   =  mix(mix(mix(seed) + step) + layer)
    bits  =  mix(key + (index + 1) * 0x9E3779B97F4A7C15)         index = first + r * width + k
    keep  =  (bits >> 40) >= rate * 2^24

with ``first`` = 0 for a whole batch; a part of a batch that begins at its row f is given f * width.

(the SplitMix64 generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

# --- what is chosen by a code, which is the place of its name: plain integers, so that one compiled function runs every
#     model. Engines reach a function by its code, people by its name. ----------------------------------------------
DENSE, ACTIVATION, DROPOUT, NORMALIZATION = range(4)

ACTIVATIONS = ("linear", "sigmoid", "relu", "tanh", "softmax")
LINEAR, SIGMOID, RELU, TANH, SOFTMAX = range(len(ACTIVATIONS))

LOSSES = (
    "mean_squared_error",
    "binary_crossentropy",
    "binary_crossentropy_from_logits",
    "categorical_crossentropy",
    "categorical_crossentropy_from_logits",
    "sparse_categorical_crossentropy",
    "mean_absolute_error",
)
(
    MEAN_SQUARED_ERROR,
    BINARY_CROSSENTROPY,
    BINARY_CROSSENTROPY_FROM_LOGITS,
    CATEGORICAL_CROSSENTROPY,
    CATEGORICAL_CROSSENTROPY_FROM_LOGITS,
    SPARSE_CATEGORICAL_CROSSENTROPY,
    MEAN_ABSOLUTE_ERROR,
) = range(len(LOSSES))

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam", "adamw")
SGD, MOMENTUM, NESTEROV, ADAM, ADAMW = range(len(OPTIMIZERS))

METRICS = ("binary_accuracy", "categorical_accuracy", "mean_absolute_error", "mean_squared_error", "auc_histograms")
BINARY_ACCURACY, CATEGORICAL_ACCURACY, ABSOLUTE_ERROR, SQUARED_ERROR, AUC = range(len(METRICS))

# --- an optimizer's numbers ---------------------------------------------------------------------------------------
OPTIMIZER_NUMBERS = ("learning_rate", "momentum", "beta_1", "beta_2", "epsilon", "weight_decay")
LEARNING_RATE, MOMENTUM_RATE, BETA_1, BETA_2, EPSILON, WEIGHT_DECAY = range(len(OPTIMIZER_NUMBERS))


# --- a program's table and its numbers: one row for each operation ------------------------------------------------
class Row(NamedTuple):
    """One operation: the columns of ``table``, which are whole numbers, and behind them those of ``numbers``."""

    kind: int  # DENSE, ACTIVATION, DROPOUT or NORMALIZATION
    which: int  # an activation's code; a dropout's place among the dropouts
    inputs: int
    outputs: int
    first: int = -1  # offsets into the parameters: of a dense layer's W and b, of a normalization's mean and variance
    second: int = -1
    l1: float = 0.0  # a dense layer's penalties
    l2: float = 0.0
    rate: float = 0.0  # a dropout's


KIND, WHICH, INPUTS, OUTPUTS, FIRST, SECOND = range(6)  # the columns of ``table``
L1, L2, RATE = range(3)  # the columns of ``numbers``

# --- what a run over rows adds up, as float64 -----------------------------------------------------------------------
#   sums[ROWS]      rows seen
#   sums[LOSS]      the loss of each batch times its rows
#   sums[FIRST_METRIC:]   for each metric its total over the rows; for AUC two histograms of AUC_BINS scores,
#                         of the entries labelled 0 and of those labelled 1
ROWS, LOSS, FIRST_METRIC = range(3)
AUC_BINS = 199  # Keras counts at 200 thresholds, which part the scores into 199 bins

PROBABILITY_FLOOR = 1e-7  # probabilities are clipped to [floor, 1 - floor] before a logarithm, as in Keras
DEVIATION_FLOOR = 1e-7  # of a normalization, as in Keras
SMALLEST_SCALE = 2.0**-126  # of a row in whole numbers: below float32's normal numbers its inverse may overflow

UNITS = {"ulp": "ulp", "product": "u |A||B|", "relative": "u max|C|", "steps": "steps"}  # of an error, by its measure


@dataclass(frozen=True)
class Operation:
    """One operation of an engine, and how far it may be from its formula.

    ``measure`` says in what the error is given: "ulp" (the largest over the entries, in units in the last place),
    "product" (max |C^ - C| / (u |A||B|), u the rounding unit: the terms added up are the yardstick) or "relative"
    (max |C^ - C| / (u max |C|)). Operations that count have no ``formula``. ``bound`` holds for every engine that
    ``bounds`` does not name.
    """

    name: str
    module: str
    signature: str
    shapes: str
    formula: str
    measure: str
    bound: float
    bounds: tuple[tuple[str, float], ...] = ()

    @property
    def arguments(self) -> list[str]:
        """The names of the arguments, in their order."""
        return [argument.partition("=")[0] for argument in self.signature.strip("()").split(", ")]

    def bound_of(self, engine: str) -> float:
        """The error that this engine states for the operation."""
        return dict(self.bounds).get(engine, self.bound)

    def text(self, engine: str) -> str:
        """What this engine's function says when asked for help."""
        if not self.formula:
            return f"{self.shapes}."
        return (
            f"{self.shapes}.\n\nFormula {self.formula!r} (minidl.formulas); the error is at most "
            f"{self.bound_of(engine):g} {UNITS[self.measure]} (minidl.contract)."
        )


def _activation(name: str, bound: float, **bounds: float) -> list[Operation]:
    shapes = "(n, o) -> (n, o)"
    return [
        Operation(name, "activations", "(z, out=None)", f"z {shapes}", name, "ulp", bound, tuple(bounds.items())),
        Operation(f"{name}_backward", "activations", "(dy, y, out=None)", f"dy, y {shapes}", name, "relative", 4),
    ]


def _loss(name: str, given: str, formula: str = "") -> list[Operation]:
    signature, arguments, formula = f"(y, {given}, out=None)", f"y, {given} (n, o)", formula or name
    return [
        Operation(name, "losses", signature, f"{arguments} -> (n,)", formula, "relative", 8),
        Operation(f"{name}_backward", "losses", signature, f"{arguments} -> (n, o)", formula, "relative", 8),
    ]


def _optimizer(name: str, slots: str, numbers: str) -> Operation:
    signature = f"(theta, g, {slots}{numbers})"
    return Operation(name, "optimizers", signature, f"theta, g, {slots}each (K,), in place", name, "relative", 4)


def _metric(name: str) -> Operation:
    return Operation(name, "metrics", "(y, p, out=None)", "y, p (n, o) -> (n,)", "", "relative", 1)


def _penalty(name: str) -> list[Operation]:
    backward = f"{name}_backward"
    return [
        Operation(name, "regularization", "(w, rate)", "w (K,) -> a float", name, "relative", 64),
        Operation(backward, "regularization", "(w, rate, out)", "w, out (K,), added to out", backward, "relative", 2),
    ]


def _dropout(name: str, given: str) -> Operation:
    signature = f"({given}, rate, seed, step, layer, first=0, out=None)"
    return Operation(name, "regularization", signature, f"{given} (n, i) -> (n, i)", "dropout", "ulp", 1.5)


_ADAM = "learning_rate, beta_1, beta_2, epsilon"

OPERATIONS = {
    operation.name: operation
    for operation in (
        *_activation("linear", 0),
        # CuPy's bounds can only be measured on a GPU. Until they are, the reference's stand for them, since the
        # arithmetic is the same: what differs is the GPU's exp and tanh.
        *_activation("sigmoid", 2.5, numpy=4, cupy=4),
        *_activation("relu", 0),
        *_activation("tanh", 2.5, numpy=4, cupy=4),
        *_activation("softmax", 16),
        Operation("dense", "dense", "(x, W, b, out=None)", "x (n, i), W (i, o), b (o,) -> (n, o)", "dense",
                  "product", 8),
        Operation("dense_backward_x", "dense", "(dz, W, out=None)", "dz (n, o), W (i, o) -> (n, i)",
                  "dense_backward_x", "product", 8),
        Operation("dense_backward_W", "dense", "(x, dz, out=None)", "x (n, i), dz (n, o) -> (i, o)",
                  "dense_backward_W", "product", 8),
        Operation("dense_backward_b", "dense", "(dz, out=None)", "dz (n, o) -> (o,)", "dense_backward_b", "product", 8),
        *_loss("mean_squared_error", "p"),
        *_loss("mean_absolute_error", "p"),
        *_loss("binary_crossentropy", "p"),
        *_loss("binary_crossentropy_from_logits", "z"),
        *_loss("categorical_crossentropy", "p"),
        *_loss("categorical_crossentropy_from_logits", "z"),
        *_loss("sparse_categorical_crossentropy", "p", "categorical_crossentropy"),
        _metric("binary_accuracy"),
        _metric("categorical_accuracy"),
        Operation("auc_histograms", "metrics", "(y, p, counts)", "y, p (n, o), counts (2, 199) float64, added to", "",
                  "relative", 0),
        Operation("normalization", "normalization", "(x, mean, variance, out=None)",
                  "x (n, i), mean, variance (i,) -> (n, i)", "normalization", "relative", 4),
        Operation("normalization_backward", "normalization", "(dy, variance, out=None)",
                  "dy (n, i), variance (i,) -> (n, i)", "normalization", "relative", 4),
        _optimizer("sgd", "", "learning_rate"),
        _optimizer("momentum", "v, ", "learning_rate, momentum"),
        _optimizer("nesterov", "v, ", "learning_rate, momentum"),
        _optimizer("adam", "m, v, ", f"t, {_ADAM}"),
        _optimizer("adamw", "m, v, ", f"t, {_ADAM}, weight_decay"),
        *_penalty("l1"),
        *_penalty("l2"),
        _dropout("dropout", "x"),
        _dropout("dropout_backward", "dy"),
        # What lies close to the middle between two steps may be rounded to either.
        Operation("quantize", "int8", "(x, scale, zero, out=None)", "x (n, i) float32 -> (n, i) uint8", "quantize",
                  "steps", 1),
        Operation("dense_int8", "int8", "(q, W, out=None)", "q (n, i) uint8, W (i, o) int8 -> (n, o) int32",
                  "dense_int8", "steps", 0),
        Operation("requantize", "int8", "(s, offset, multiplier, zero, low, out=None)",
                  "s (n, o) int32, offset (o,) int32, multiplier (o,) float32 -> (n, o) uint8",
                  "requantize", "steps", 1),
        Operation("dequantize", "int8", "(s, offset, factor, out=None)",
                  "s (n, o) int32, offset (o,) int32, factor (o,) float32 -> (n, o) float32",
                  "dequantize", "relative", 2),
    )
}
