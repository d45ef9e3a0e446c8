"""What every engine provides: each operation's name, signature, shapes, error bound, and its formula by name.

Shapes, everywhere: ``n`` rows in the batch, ``i`` inputs, ``o`` outputs (units, classes), ``K`` parameters in a vector.
Arrays are float32 or float64, one dtype per call, C-contiguous; results have the same dtype. Operations allocate their
result unless ``out=`` is given; optimizers change ``theta`` and their slots in place, since that is what they are for.
A backward operation takes the gradient of the loss by the operation's output and returns it by the input.

Dropout masks. ``keep[r, k]`` of the layer ``layer`` at the training step ``step`` (both from 0) with ``seed`` comes from
one counter-based generator, the same bits in every engine, all in unsigned 64-bit arithmetic that wraps around:

    mix(h):  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9;  h = (h ^ (h >> 27)) * 0x94D049BB133111EB;  h ^ (h >> 31)
    key   =  mix(mix(mix(seed) + step) + layer)
    bits  =  mix(key + (index + 1) * 0x9E3779B97F4A7C15)         index = r * width + k
    keep  =  (bits >> 40) >= rate * 2^24

(the SplitMix64 generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
"""

from __future__ import annotations

from dataclasses import dataclass

# --- the codes of a program's table: plain integers, so that one compiled function runs every model ---------------
DENSE, ACTIVATION, DROPOUT, NORMALIZATION = range(4)
LINEAR, SIGMOID, RELU, TANH, SOFTMAX = range(5)
(
    MEAN_SQUARED_ERROR,
    BINARY_CROSSENTROPY,
    BINARY_CROSSENTROPY_FROM_LOGITS,
    CATEGORICAL_CROSSENTROPY,
    CATEGORICAL_CROSSENTROPY_FROM_LOGITS,
    SPARSE_CATEGORICAL_CROSSENTROPY,
) = range(6)
SGD, MOMENTUM, NESTEROV, ADAM, ADAMW = range(5)
BINARY_ACCURACY, CATEGORICAL_ACCURACY, MEAN_ABSOLUTE_ERROR_METRIC, MEAN_SQUARED_ERROR_METRIC, AUC = range(5)

# --- columns of the table: one row per operation ------------------------------------------------------------------
#   KIND    DENSE, ACTIVATION, DROPOUT or NORMALIZATION
#   WHICH   an activation's code; a dropout's place among the dropouts
#   INPUTS, OUTPUTS   widths
#   FIRST, SECOND     offsets into the parameters: W and b of a dense layer, mean and variance of a normalization
#   L1, L2 (in ``numbers``): a dense layer's penalties;  RATE (in ``numbers``): a dropout's rate
KIND, WHICH, INPUTS, OUTPUTS, FIRST, SECOND = range(6)
L1, L2, RATE = range(3)

# --- columns of an optimizer's numbers ----------------------------------------------------------------------------
LEARNING_RATE, MOMENTUM_RATE, BETA_1, BETA_2, EPSILON, WEIGHT_DECAY = range(6)

# --- what a run over rows adds up, as float64 -----------------------------------------------------------------------
#   sums[ROWS]      rows seen
#   sums[LOSS]      the loss of each batch times its rows
#   sums[FIRST_METRIC:]   for each metric its total over the rows; for AUC two histograms of AUC_BINS scores,
#                         of the entries labelled 0 and of those labelled 1
ROWS, LOSS, FIRST_METRIC = range(3)
AUC_BINS = 199  # Keras counts at 200 thresholds, which part the scores into 199 bins

PROBABILITY_FLOOR = 1e-7  # probabilities are clipped to [floor, 1 - floor] before a logarithm, as in Keras
DEVIATION_FLOOR = 1e-7  # of a normalization, as in Keras


@dataclass(frozen=True)
class Operation:
    """One operation of an engine, and how far it may be from its formula.

    ``measure`` says in what the error is given: "ulp" (the largest over the entries, in units in the last place),
    "product" (max |C^ - C| / (u |A||B|), u the rounding unit: the terms added up are the yardstick) or "relative"
    (max |C^ - C| / (u max |C|)). Operations that count have no ``formula``. ``bound`` holds for every engine unless ``bounds`` names the engine.
    """

    name: str
    module: str
    signature: str
    shapes: str
    formula: str
    measure: str
    bound: float
    bounds: tuple[tuple[str, float], ...] = ()

    def bound_of(self, engine: str) -> float:
        """The error that this engine states for the operation."""
        return dict(self.bounds).get(engine, self.bound)


def _activation(name: str, bound: float, **bounds: float) -> tuple[Operation, Operation]:
    forward = Operation(name, "activations", "(z, out=None)", "z (n, o) -> (n, o)", name, "ulp", bound,
                        tuple(bounds.items()))
    backward = Operation(f"{name}_backward", "activations", "(dy, y, out=None)", "dy, y (n, o) -> (n, o)", name,
                         "relative", 8)
    return forward, backward


def _loss(name: str, prediction: str, formula: str = "") -> tuple[Operation, Operation]:
    forward = Operation(name, "losses", f"(y, {prediction}, out=None)", f"y, {prediction} (n, o) -> (n,)", formula or name,
                        "relative", 16)
    backward = Operation(f"{name}_backward", "losses", f"(y, {prediction}, out=None)",
                         f"y, {prediction} (n, o) -> (n, o)", name, "relative", 16)
    return forward, backward


def _optimizer(name: str, arguments: str, shapes: str) -> Operation:
    return Operation(name, "optimizers", arguments, shapes, name, "relative", 8)


OPERATIONS = {
    operation.name: operation
    for operation in (
        *_activation("linear", 0),
        *_activation("sigmoid", 2.5, numpy=4),
        *_activation("relu", 0),
        *_activation("tanh", 2.5, numpy=4),
        *_activation("softmax", 64),
        Operation("dense", "dense", "(x, W, b, out=None)", "x (n, i), W (i, o), b (o,) -> (n, o)", "dense",
                  "product", 32),
        Operation("dense_backward_x", "dense", "(dz, W, out=None)", "dz (n, o), W (i, o) -> (n, i)",
                  "dense_backward_x", "product", 32),
        Operation("dense_backward_W", "dense", "(x, dz, out=None)", "x (n, i), dz (n, o) -> (i, o)",
                  "dense_backward_W", "product", 32),
        Operation("dense_backward_b", "dense", "(dz, out=None)", "dz (n, o) -> (o,)", "dense_backward_b",
                  "product", 32),
        *_loss("mean_squared_error", "p"),
        *_loss("binary_crossentropy", "p"),
        *_loss("binary_crossentropy_from_logits", "z"),
        *_loss("categorical_crossentropy", "p"),
        *_loss("categorical_crossentropy_from_logits", "z"),
        *_loss("sparse_categorical_crossentropy", "p", "categorical_crossentropy"),
        Operation("mean_absolute_error", "metrics", "(y, p, out=None)", "y, p (n, o) -> (n,)", "mean_absolute_error",
                  "relative", 16),
        Operation("binary_accuracy", "metrics", "(y, p, out=None)", "y, p (n, o) -> (n,)", "",
                  "relative", 2),
        Operation("categorical_accuracy", "metrics", "(y, p, out=None)", "y, p (n, o) -> (n,)",
                  "", "relative", 0),
        Operation("auc_histograms", "metrics", "(y, p, counts)", "y, p (n, o), counts (2, 199) float64, added to",
                  "", "relative", 0),
        Operation("normalization", "normalization", "(x, mean, variance, out=None)",
                  "x (n, i), mean, variance (i,) -> (n, i)", "normalization", "relative", 8),
        Operation("normalization_backward", "normalization", "(dy, variance, out=None)",
                  "dy (n, i), variance (i,) -> (n, i)", "normalization", "relative", 8),
        _optimizer("sgd", "(theta, g, learning_rate)", "theta, g (K,); in place"),
        _optimizer("momentum", "(theta, g, v, learning_rate, momentum)", "theta, g, v (K,); in place"),
        _optimizer("nesterov", "(theta, g, v, learning_rate, momentum)", "theta, g, v (K,); in place"),
        _optimizer("adam", "(theta, g, m, v, t, learning_rate, beta_1, beta_2, epsilon)",
                   "theta, g, m, v (K,), t from 1; in place"),
        _optimizer("adamw", "(theta, g, m, v, t, learning_rate, beta_1, beta_2, epsilon, weight_decay)",
                   "theta, g, m, v (K,), t from 1; in place"),
        Operation("l1", "regularization", "(w, rate)", "w (K,) -> float", "l1", "relative", 64),
        Operation("l1_backward", "regularization", "(w, rate, out)", "w, out (K,); added to out", "l1_backward",
                  "relative", 4),
        Operation("l2", "regularization", "(w, rate)", "w (K,) -> float", "l2", "relative", 64),
        Operation("l2_backward", "regularization", "(w, rate, out)", "w, out (K,); added to out", "l2_backward",
                  "relative", 4),
        Operation("dropout", "regularization", "(x, rate, seed, step, layer, out=None)", "x (n, i) -> (n, i)",
                  "dropout", "ulp", 1.5),
        Operation("dropout_backward", "regularization", "(dy, rate, seed, step, layer, out=None)",
                  "dy (n, i) -> (n, i)", "dropout", "ulp", 1.5),
    )
}
