"""What kernels.cu holds, for those who compile and launch it: its text, its kernels, and the layout of its structs."""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minidl import contract as c

HERE = Path(__file__).parent

# --- the names of contract.py that the kernels use ----------------------------------------------------------------

NAMES = (
    "LINEAR", "SIGMOID", "RELU", "TANH", "SOFTMAX",
    "MEAN_SQUARED_ERROR", "BINARY_CROSSENTROPY", "BINARY_CROSSENTROPY_FROM_LOGITS", "CATEGORICAL_CROSSENTROPY",
    "CATEGORICAL_CROSSENTROPY_FROM_LOGITS", "SPARSE_CATEGORICAL_CROSSENTROPY", "MEAN_ABSOLUTE_ERROR",
    "SGD", "MOMENTUM", "NESTEROV", "ADAM", "ADAMW",
    "BINARY_ACCURACY", "CATEGORICAL_ACCURACY", "ABSOLUTE_ERROR", "SQUARED_ERROR", "AUC",
    "LEARNING_RATE", "MOMENTUM_RATE", "BETA_1", "BETA_2", "EPSILON", "WEIGHT_DECAY",
    "ROWS", "LOSS", "FIRST_METRIC", "AUC_BINS", "PROBABILITY_FLOOR", "DEVIATION_FLOOR",
)  # fmt: skip


def constants() -> str:
    """The names with their values, as C++."""
    values = {name: getattr(c, name) for name in NAMES}
    return "".join(f"constexpr {type(value).__name__} {name} = {value!r};\n" for name, value in values.items()).replace(
        "constexpr float", "constexpr double"
    )


# --- the text ---------------------------------------------------------------------------------------------------------


@functools.cache
def source() -> str:
    """kernels.cu with its chapters in place of their names, and the constants in front: all that a compiler needs.

    One text, because CuPy keeps what it has compiled by the text that it was given, and would not notice a change in a
    file that the text includes.
    """
    text = (HERE / "kernels.cu").read_text()
    chapter = re.compile(r'^#include "(cuda/[a-z]+\.cuh)".*$', re.MULTILINE)
    return constants() + chapter.sub(lambda found: (HERE / found[1]).read_text(), text)


# --- the structs ------------------------------------------------------------------------------------------------------

SCALARS = {"long long": np.int64, "unsigned long long": np.uint64, "double": np.float64}


def structs() -> dict[str, np.dtype]:
    """The structs that are handed to kernels, read from the text: every field is 8 bytes, and pointers are numbers."""
    found: dict[str, np.dtype] = {}
    for name in ("Place", "Dropout", "Penalty", "Goal", "LastLayer", "Layer", "Training"):
        body = re.search(rf"^struct {name} {{(.*?)^}};", source(), re.MULTILINE | re.DOTALL)[1]
        body = re.sub(r"//.*", "", body)
        fields = []
        for kind, names in re.findall(r"((?:const |unsigned )*(?:long long|\w+)) ?([^;]+);", body):
            kind = kind.removeprefix("const ")
            for field in names.split(","):
                pointer, field = "*" in field, field.strip(" *")
                fields.append((field, np.uint64 if pointer else SCALARS.get(kind) or found[kind]))
        found[name] = np.dtype(fields)
    return found


STRUCTS = structs()


def struct(kind: str, **fields) -> np.ndarray:
    """One struct of this kind as an array of size one, which is how it is handed to a kernel by value."""
    made = np.zeros(1, STRUCTS[kind])
    for name, value in fields.items():
        made[name] = value
    return made


# --- the kernels ------------------------------------------------------------------------------------------------------


def constant(name: str) -> int:
    """A number that the text gives this name."""
    return int(re.search(rf"constexpr int (?:\w+ = \w+, )*{name} = (\d+)\b", source())[1])


FLOAT32, TF32, THREE_TF32, BFLOAT16 = PRECISIONS = range(4)
PRECISION_NAMES = "float32", "TF32", "three TF32", "bfloat16"
SMALL, MEDIUM, LARGE = TILES = constant("SMALL"), 64, 128
SLICE, STAGES, LANES, HEAD_WARPS, MOST_METRICS = map(
    constant, ("SLICE", "STAGES", "LANES", "HEAD_WARPS", "MOST_METRICS")
)
ELEMENTWISE = 256  # threads of a block that treats each number for itself


@dataclass(frozen=True)
class Kernel:
    """A kernel as a launch needs it: by its name in C++, with its threads in a block and its shared memory in bytes.

    The blocks of a ``cooperative`` one wait for each other, so all of them must be on the GPU at once. Where it
    multiplies matrices, ``precision`` says how, and ``tile`` is the edge of what a block computes.
    """

    name: str
    threads: int
    shared: int = 0
    cooperative: bool = False
    precision: int | None = None
    tile: int = 0


def threads_of(tile: int) -> int:
    """Of a block that computes a tile: two rows of warps, each of which is 32 entries wide, or 16 in a small tile."""
    return 2 * LANES * tile // (16 if tile == SMALL else 32)


def slice_bytes(along: bool, tile: int) -> int:
    """Of a slice of a matrix in shared memory, with the room at the end of its rows."""
    return 4 * (tile * (SLICE + 4) if along else SLICE * (tile + 8))


def product(name: str, a_along: bool, b_along: bool, precision: int, tile: int) -> Kernel:
    shared = STAGES * (slice_bytes(a_along, tile) + slice_bytes(b_along, tile))
    return Kernel(f"{name}<{precision}, {tile}>", threads_of(tile), shared, precision=precision, tile=tile)


def forward(precision: int, tile: int) -> Kernel:
    return product("forward", True, False, precision, tile)


def backward_x(precision: int, tile: int) -> Kernel:
    return product("backward_x", True, True, precision, tile)


def backward_W(precision: int, tile: int) -> Kernel:
    return product("backward_W", False, False, precision, tile)


def update(optimizer: int) -> Kernel:
    return Kernel(f"update<{optimizer}>", ELEMENTWISE)


def train_steps(precision: int) -> Kernel:
    shared = max(kernel(precision, SMALL).shared for kernel in (forward, backward_x, backward_W))
    return Kernel(f"train_steps<{precision}>", threads_of(SMALL), shared, cooperative=True, precision=precision)


BEGIN_BATCH = Kernel("begin_batch", LANES)
(
    GATHER, CLEAR_REST, ACTIVATION, ACTIVATION_BACKWARD, DROPOUT, NORMALIZATION, NORMALIZATION_BACKWARD, SOFTMAX,
    SOFTMAX_BACKWARD,
) = (
    Kernel(name, ELEMENTWISE)
    for name in (
        "gather", "clear_rest", "activation", "activation_backward", "dropout", "normalization",
        "normalization_backward", "softmax", "softmax_backward",
    )
)  # fmt: skip
HEAD, LAST_LAYER = (
    Kernel(name, HEAD_WARPS * LANES, 8 * HEAD_WARPS * (1 + MOST_METRICS)) for name in ("head", "last_layer")
)
TOTALS = Kernel("totals", ELEMENTWISE)
PENALIZE = Kernel("penalize", ELEMENTWISE, 8 * LANES)
FORWARD_ROW = Kernel("forward_row", 512, 4 * LANES * LANES, cooperative=True)

ALL = (
    BEGIN_BATCH, GATHER, CLEAR_REST, ACTIVATION, ACTIVATION_BACKWARD, DROPOUT, NORMALIZATION, NORMALIZATION_BACKWARD,
    SOFTMAX, SOFTMAX_BACKWARD, HEAD, LAST_LAYER, TOTALS, PENALIZE, FORWARD_ROW,
    *(kernel(precision, tile) for kernel in (forward, backward_x, backward_W)
      for precision, tile in itertools.product(PRECISIONS, TILES)),
    *map(update, range(5)),
    *map(train_steps, PRECISIONS),
)  # fmt: skip
