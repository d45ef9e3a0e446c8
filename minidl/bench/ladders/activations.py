"""The ladder of an activation, the sigmoid of millions of numbers: from a NumPy expression to what memory allows."""

from __future__ import annotations

import math

import numpy as np

from minidl.bench import machine
from minidl.bench.ceilings import ALL
from minidl.bench.compiled import njit
from minidl.bench.crew import Crew
from minidl.bench.ladders.ladder import Ladder, Rung, Work
from minidl.engines import get_engine

# Additions, multiplications and the division for a number in the engine's sigmoid, its exp included; the other rungs
# may do more or less for theirs and are counted alike.
OPERATIONS = 29


def expression(z, y):
    y[:] = 1 / (1 + np.exp(-z))
    return y


def in_place(z, y):
    np.negative(z, out=y)
    np.exp(y, out=y)
    np.add(y, 1, out=y)
    return np.divide(1, y, out=y)


@njit()
def one_by_one(z, y):
    one = z.dtype.type(1)
    for e in range(z.size):
        y[e] = -z[e]
    for e in range(z.size):
        y[e] = math.exp(y[e])
    for e in range(z.size):
        y[e] = y[e] + one
    for e in range(z.size):
        y[e] = one / y[e]
    return y


@njit()
def fused(z, y):
    one = z.dtype.type(1)
    for e in range(z.size):
        y[e] = one / (one + math.exp(-z[e]))
    return y


def engine(z, y):
    return get_engine("numba").sigmoid(z, y)


def threads(z, y, crew):
    sigmoid, share = get_engine("numba").sigmoid, -(-z.size // crew.threads)
    crew.run(lambda t: sigmoid(z[t * share : (t + 1) * share], y[t * share : (t + 1) * share]))
    return y


def with_crew(z, y):
    return z, y, Crew(machine.cores() or 1)


def make(size, rng):
    z = rng.uniform(-20, 20, size).astype(np.float32)
    return z, np.empty_like(z)


def reset(z, y):
    y.fill(np.nan)


def part(rows, z, y):
    return z[:rows], y[:rows]


def reference(z, y):
    return 1 / (1 + np.exp(-z.astype(np.float64)))


def work(z, y):
    return Work(OPERATIONS * z.size, z.nbytes + y.nbytes)


def describe(z, y):
    return f"the sigmoid of {z.size:,} numbers, {z.dtype}, {(z.nbytes + y.nbytes) / 1e6:.0f} MB with the result"


RUNGS = (
    Rung("NumPy expression", "Each operation goes through the memory and leaves a temporary array behind.", expression),
    Rung("NumPy in place", "The same operations into one array: no temporaries, as many ways through the memory.",
         in_place),
    Rung("njit, one by one", "The same loops as machine code, with the C library's exp for one number at a time.",
         one_by_one),
    Rung("njit, fused", "All operations in one loop: each number is loaded once and stored once.", fused),
    Rung("polynomial", "The engine's sigmoid: exp as a polynomial without a branch, for whole vectors of numbers.",
         engine, also=(get_engine("numba").sigmoid,)),
    Rung("threads", "The numbers are shared out among all cores, each running the engine's sigmoid.", threads,
         prepare=with_crew, cores=ALL),
)  # fmt: skip

LADDERS = {
    "activations": Ladder(
        "activations", "The sigmoid", "GB/s", "the bandwidth of copying in memory, with stores past the caches",
        (16_000_000,), RUNGS, make, part, reference, work,
        lambda ceilings, cores: ceilings.bandwidth("memory", "copy", cores), describe, reset, tolerance=1e-6,
    )
}  # fmt: skip
