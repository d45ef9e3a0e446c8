"""The ladder of the dense layer, y = x W + b: from three Python loops to all cores."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minidl.bench import kernels
from minidl.bench.ceilings import ALL
from minidl.bench.compiled import njit
from minidl.bench.ladders.ladder import Ladder, Rung, Work
from minidl.engines import get_engine
from minidl.engines.numba_engine.dense import dense_alone

ROWS = kernels.TARGET.registers // 4  # of a register tile: its 2 x ROWS vectors leave registers for what is loaded
TILE_BYTES = 2 * kernels.TARGET.vector_bytes  # and of a row of it
TILE_STEPS = 16  # rows of W in a piece: with 256 units 16 kB in float32, half of a first cache


def three_loops(x, W, b, y):
    for r in range(x.shape[0]):
        for u in range(W.shape[1]):
            total = b[u]
            for k in range(W.shape[0]):
                total += x[r, k] * W[k, u]
            y[r, u] = total
    return y


def with_numpy(x, W, b, y):
    np.matmul(x, W, out=y)
    return np.add(y, b, out=y)


compiled_loops = njit()(three_loops)


@njit()
def loop_order(x, W, b, y):
    for r in range(x.shape[0]):
        for u in range(W.shape[1]):
            y[r, u] = b[u]
        for k in range(W.shape[0]):
            for u in range(W.shape[1]):  # neighbours in W and in y
                y[r, u] += x[r, k] * W[k, u]
    return y


@njit()
def tiles(x, W, b, y):
    for r in range(x.shape[0]):
        for u in range(W.shape[1]):
            y[r, u] = b[u]
    for first in range(0, W.shape[0], TILE_STEPS):
        piece = W[first : first + TILE_STEPS]
        for r in range(x.shape[0]):  # each reads the same piece of W
            x_r, y_r = x[r, first : first + TILE_STEPS], y[r]
            for k in range(x_r.size):
                a, W_k = x_r[k], piece[k]
                for u in range(y_r.size):
                    y_r[u] += a * W_k[u]
    return y


def make_tile(rows):
    """The intrinsic: rows x 2 vectors of y stay in registers while all products are added to them.

    Flat arrays, each with the entry where it begins and the distance of its rows (of x, its columns too).
    """

    @intrinsic
    def tile(typing_context, y, y_start, y_row, x, x_start, x_row, x_column, W, W_start, W_row, steps):
        size = types.int64
        signature = types.none(y, size, size, x, size, size, size, W, size, size, size)

        def emit(context, builder, signature, arguments):
            y, y_start, y_row, x, x_start, x_row, x_column, W, W_start, W_row, steps = arguments
            y, x, W = (kernels.pointer(context, builder, signature.args[0], array) for array in (y, x, W))
            scalar = context.get_value_type(signature.args[0].dtype)
            vector, width = kernels.vector_of(scalar), signature.args[0].dtype.bitwidth // 8
            row_starts = [builder.add(y_start, builder.mul(y_row, ir.IntType(64)(row))) for row in range(rows)]
            places = [kernels.place_of(builder, y, vector, start, v) for start in row_starts for v in (0, 1)]

            def step(k, sums):
                W_place = builder.add(W_start, builder.mul(k, W_row))
                w = [builder.load(kernels.place_of(builder, W, vector, W_place, v), align=width) for v in (0, 1)]
                new, x_place = [], builder.add(x_start, builder.mul(k, x_column))
                for row in range(rows):
                    entry = builder.load(builder.gep(x, [x_place]))
                    a = kernels.spread(builder, entry, vector)
                    new += [kernels.multiplied_and_added(builder, a, w[v], sums[2 * row + v]) for v in (0, 1)]
                    x_place = builder.add(x_place, x_row)
                return new

            sums = kernels.loop(builder, steps, 1, [builder.load(place, align=width) for place in places], step)
            for value, place in zip(sums, places, strict=True):
                builder.store(value, place, align=width)
            return context.get_dummy_value()

        return signature, emit

    return tile


tile = make_tile(ROWS)


@njit()
def micro_kernel(x, W, b, y):
    rows, inputs, units, wide = x.shape[0], x.shape[1], W.shape[1], TILE_BYTES // x.itemsize
    flat_y, flat_x, flat_W = y.reshape(-1), x.reshape(-1), W.reshape(-1)
    for r in range(rows):
        for u in range(units):
            y[r, u] = b[u]
    whole_rows, whole_units = rows // ROWS * ROWS, units // wide * wide
    for u in range(0, whole_units, wide):
        for r in range(0, whole_rows, ROWS):
            tile(flat_y, r * units + u, units, flat_x, r * inputs, inputs, 1, flat_W, u, units, inputs)
    for r in range(rows):  # what is left at the edges
        for k in range(inputs):
            for u in range(whole_units if r < whole_rows else 0, units):
                y[r, u] += x[r, k] * W[k, u]
    return y


@njit()
def packed(x, W, b, y, x_panels, W_panels, edge):
    rows, inputs, units, wide = x.shape[0], x.shape[1], W.shape[1], TILE_BYTES // x.itemsize
    pack_rows(x, x_panels)
    pack_columns(W, W_panels)
    flat_x, flat_W = x_panels.reshape(-1), W_panels.reshape(-1)
    for c in range(W_panels.shape[0]):
        for p in range(x_panels.shape[0]):
            for r in range(ROWS):
                for u in range(wide):
                    edge[r, u] = b[c * wide + u] if c * wide + u < units else 0
            tile(edge.reshape(-1), 0, wide, flat_x, p * inputs * ROWS, 1, ROWS, flat_W, c * inputs * wide, wide, inputs)
            for r in range(min(ROWS, rows - p * ROWS)):
                for u in range(min(wide, units - c * wide)):
                    y[p * ROWS + r, c * wide + u] = edge[r, u]
    return y


@njit()
def pack_rows(x, panels):
    """panels[p, k, r] = x[p ROWS + r, k]: what one step of a tile needs of x lies together; 0 beyond the last row."""
    height = panels.shape[2]
    for p in range(panels.shape[0]):
        whole = min(height, x.shape[0] - p * height)
        for r in range(height):
            for k in range(panels.shape[1]):
                panels[p, k, r] = x[p * height + r, k] if r < whole else 0


@njit()
def pack_columns(W, panels):
    """panels[c, k, u] = W[k, c wide + u], likewise."""
    wide = panels.shape[2]
    for c in range(panels.shape[0]):
        whole = min(wide, W.shape[1] - c * wide)
        for k in range(panels.shape[1]):
            W_k, panel = W[k, c * wide : c * wide + whole], panels[c, k]
            for u in range(whole):
                panel[u] = W_k[u]
            for u in range(whole, wide):
                panel[u] = 0


def with_room(x, W, b, y):
    """The panels that the packed rung fills anew in each call."""
    wide = TILE_BYTES // x.itemsize
    x_panels = np.empty((-(-x.shape[0] // ROWS), x.shape[1], ROWS), x.dtype)
    W_panels = np.empty((-(-W.shape[1] // wide), W.shape[0], wide), x.dtype)
    return x, W, b, y, x_panels, W_panels, np.empty((ROWS, wide), x.dtype)


def engine(x, W, b, y):
    return dense_alone(x, W, b, y)


def threads(x, W, b, y):
    return get_engine("numba").dense(x, W, b, y)


def make(rows, inputs, units, rng):
    x, W, b = rng.normal(size=(rows, inputs)), rng.normal(size=(inputs, units)), rng.normal(size=units)
    return x.astype(np.float32), W.astype(np.float32), b.astype(np.float32), np.empty((rows, units), np.float32)


def reset(x, W, b, y):
    y.fill(np.nan)


def part(rows, x, W, b, y):
    return x[:rows], W, b, y[:rows]


def reference(x, W, b, y):
    return x.astype(np.float64) @ W + b


def work(x, W, b, y):
    return Work(2 * x.shape[0] * W.size, x.nbytes + W.nbytes + b.nbytes + y.nbytes)


def describe(x, W, b, y):
    return f"x {x.shape[0]} x {x.shape[1]}, W {W.shape[0]} x {W.shape[1]}, {x.dtype}"


RUNGS = (
    Rung("three Python loops", "The formula as it is read, one number at a time, each an object of Python.",
         three_loops, rows=1),
    Rung("NumPy", "matmul hands the work to BLAS, a library whose authors have climbed this ladder before.",
         with_numpy, cores=ALL, aside=True),
    Rung("njit", "The same three loops as machine code: the objects are gone, but W is read by columns, a row apart.",
         compiled_loops),
    Rung("loop order", "With u innermost, neighbours are read in turn, and the compiler makes vectors of them.",
         loop_order),
    Rung("tiles", "W in pieces that stay in the first cache while all rows use them, not all of W for a row.", tiles),
    Rung("micro-kernel", "A tile of y stays in registers until it is done: loading and storing y was what took time.",
         micro_kernel, also=(make_tile,)),
    Rung("packed", "x and W are copied into the order in which the tiles read them; the copying is timed too.",
         packed, prepare=with_room, also=(pack_rows, pack_columns, make_tile)),
    Rung("engine", "minidl's own dense on one core: the same ideas, with tiles for every edge.", engine,
         also=(dense_alone,)),
    Rung("threads", "The same, with the rows or columns of a large product shared out among all cores.", threads,
         cores=ALL, also=(get_engine("numba").dense,)),
)  # fmt: skip

LADDERS = {
    "dense": Ladder(
        "dense", "The dense layer, y = x W + b", "GFLOP/s", "the peak of multiply-adds in float32", (256, 784, 256),
        RUNGS, make, part, reference, work, lambda ceilings, cores: ceilings.peak("float32", cores), describe, reset,
    )
}  # fmt: skip
