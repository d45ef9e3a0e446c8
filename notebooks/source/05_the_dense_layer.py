# %% [markdown]
# # 05 · The dense layer is a matrix product
#
# **At the end you will know** why three loops in Python use less than a thousandth of your processor, how far a good
# compiler gets with the same loops, and which ideas, registers and tiles, take the rest. You will have read a matrix
# product that runs beside the vendors' own, down to its innermost loop. It takes about twenty minutes, half a minute of
# them computing. What a roofline is stands in chapter 02.

# %%
import minidl

minidl.get_engine("numba")  # this chapter needs it; where it cannot run, this line says why

from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from minidl import oracle
from minidl.bench import ceilings, charts, drawings, kernels, ladders, listings, machine, pictures, timing
from minidl.bench.ladders import dense as rungs

print(f"{machine.processor()}, {machine.cores()} cores, {kernels.TARGET.registers} vector registers of "
      f"{kernels.TARGET.vector_bytes} bytes")

# %% [markdown]
# ## The formula
#
# A dense layer gives each of its units a weighted sum of the inputs and a bias:

# %%
minidl.formulas.FORMULAS["dense"]

# %% [markdown]
# For a batch of $n$ rows, $i$ inputs and $o$ units that is $n\,o$ sums of $i$ products: $2\,n\,i\,o$ floating-point
# operations. All of a network's time that is worth speaking of goes here, forward and, twice more, backward (chapter
# 06).
#
# The numbers themselves are few. Read once and written once they are $4\,(n i + i o + o + n o)$ bytes, so each byte
# that has to be moved serves many operations. That quotient is the *intensity*, and the roofline of chapter 02 says
# what follows from it (Williams, Waterman and Patterson, 2009).

# %%
found = ceilings.measure(seconds=3)
ladder = ladders.get("dense")
x, W, b, y = inputs = ladder.make(*ladder.size, np.random.default_rng(0))
work = ladder.work(*inputs)
print(f"{ladder.describe(*inputs)}\n")
print(f"work       {work.operations / 1e6:8.1f} million operations")
print(f"traffic    {work.bytes / 1e6:8.2f} million bytes at least")
print(f"intensity  {work.operations / work.bytes:8.1f} operations a byte")
peak, width = found.peak("float32"), found.bandwidth("memory")
print(f"one core   {peak:8.0f} GFLOP/s at most, and {width:.0f} GB/s from memory: "
      f"they balance at {peak / width:.1f} operations a byte")
floor = work.operations / peak / 1e9
print(f"floor      {1e6 * floor:8.0f} us on one core")
assert work.operations / work.bytes > peak / width  # so arithmetic is the limit here, and not memory

# %% [markdown]
# The intensity lies beyond the balance: **nothing but arithmetic stands in the way**. Whatever is slower than the
# floor is our own doing.
#
# > **What would you expect?** Three plain Python loops, a compiler's version of the same loops, and the library
# > behind NumPy: guess for each which share of the peak it reaches. One, ten, fifty per cent?
#
# ## Versions side by side
#
# The rungs of a ladder. Each is the one before it with one thing changed, and what you read is the code that is timed
# below, taken from its file as it stands.

# %%
by_name = {rung.name: rung for rung in ladder.rungs}
listings.rung(by_name["three Python loops"])

# %% [markdown]
# The formula, letter by letter. Every number here is an object: to add two of them Python looks up what they are,
# finds the function that adds such things, and makes a new object for the result. The multiplication itself is lost
# in that. **First change:** compile exactly these lines (`njit`), so that the objects are gone.
#
# The second change costs nothing but the exchange of two lines. In the loops above, `W[k, u]` moves down a column of
# `W` from step to step, and neighbours in a column lie a whole row apart in memory; also each step needs the sum of
# the step before, so the steps cannot be done at once. With `u` innermost, neighbours are read in turn, and no step
# waits for another:

# %%
listings.rung(by_name["loop order"])

# %% [markdown]
# Now the compiler can take as many neighbouring `u` at once as fit into a register: it *vectorises*. What limits this
# loop is easily counted: for **one** vector multiply-add it loads a vector of `W`, loads a vector of `y`, and stores
# `y` again. In a cycle, today's large cores can begin two multiply-adds, two loads and one store of whole vectors: so
# the loads and the store take a cycle in which two multiply-adds could have been done. Half of the peak is all that is
# left to hope for, and each load of `y` waits for the store before it as well.
#
# The next idea is the one that textbooks bring first: tiles for the cache. Do with a piece of `W` all that there is
# to do while it lies in the first cache:

# %%
listings.rung(by_name["tiles"])

# %% [markdown]
# But look at the innermost loop: the same two loads and a store for each multiply-add. Tiles for the *cache* save
# traffic between caches, and that was not what this loop waits for. (The rung stays in the ladder, whether it pays on
# your machine or not.)
#
# ### Registers are the first cache
#
# What must go are the loads and stores of `y`. Registers can hold it: not all of it, but a tile. Keep a tile of $R$
# rows by 2 vectors in registers, go through the whole inner dimension, and store the tile once at the end. A step
# then loads $R$ numbers of `x` and 2 vectors of `W`, and does $2R$ vector multiply-adds with them:
#
# $$\frac{\text{loads and stores}}{\text{multiply-adds}} = \frac{R + 2}{2R}\quad\text{instead of}\quad\frac{3}{1}.$$
#
# $R$ cannot be as large as one likes: the sums alone take $2R$ registers.

# %%
rows, lanes = rungs.ROWS, kernels.TARGET.vector_bytes // 4
print(f"a tile of {rows} rows by 2 vectors of {lanes}: {(rows + 2) / (2 * rows):.2f} loads a multiply-add")
assert 2 * rows + 3 <= kernels.TARGET.registers
drawings.of_tile(rows, lanes, kernels.TARGET.registers)

# %%
listings.rung(by_name["micro-kernel"])

# %% [markdown]
# `tile` is written as the vector instructions themselves, by a small program that puts them together (unfold it above
# if you like: load, spread, multiply and add, store), since a compiler is not sure to keep all the sums in registers.
# Everything else is plain bookkeeping: which tile is next, and what is left over at the
# edges. This is the heart of every fast matrix product; Goto and van de Geijn described it in 2008 ("Anatomy of
# high-performance matrix multiplication"), and BLIS, OpenBLAS and MKL are built around one.
#
# The third panel of the drawing shows the last classic: **packing**. The tile reads its strip of `W` a row apart.
# Once copied into the order of use, it is read in one piece, and so is `x`. The copy is not free, and it is timed:

# %%
listings.rung(by_name["packed"])

# %% [markdown]
# Packing pays when a strip is used often enough for its copy, and when the matrix is so large or its rows so
# unluckily long that walking across them leaves the caches and the table of pages. Here `W` has 784 rows of 1 kB.
# Guess which way it goes, before you see it below.
#
# minidl's own `dense` is these ideas, with a tile for every edge, the bias loaded into the registers at the
# beginning, and weights packed only where they are used again and again (`gemm.py` in `minidl/engines/numba_engine`;
# beside it `gemm_narrow.py` is for layers of few units, and `vectors.py` has the vector instructions of both).
#
# ## Error
#
# Every version adds up the same products and rounds on its way. The yardstick is the size of the terms that are added
# up. With $A = x$, $B = W$, and $\hat C$ for what came out where $C$ is right, the error is given as
#
# $$\frac{1}{k}\;\max\frac{|\hat C - C|}{u\,|A||B|},\qquad u = 2^{-24},$$
#
# with $k$ the inner dimension. A sum in any order whatever stays below 1 in this unit (Higham, *Accuracy and
# Stability of Numerical Algorithms*, 2002, section 3.5, up to terms of $u^2$); in practice rounding errors have
# either sign, and the sum of $k$ of them grows like $\sqrt k$.
#
# > **What would you expect?** Which version is the most exact: one long sum for each output, or many short ones?

# %%
exact = x.astype(np.float64) @ W + b
scale = np.abs(x).astype(np.float64) @ np.abs(W) + np.abs(b)
error, results = {}, {}
for rung in ladder.rungs:
    part = ladder.part(rung.rows, *inputs) if rung.rows else inputs
    n = len(part[0])
    ladder.reset(*inputs)
    results[rung.name] = ladders.call_of(rung, part)().copy()
    error[rung.name] = oracle.relative_error(results[rung.name], exact[:n], scale[:n]) / W.shape[0]
charts.bars(error, "Error of y = x W + b", f"max |C^ - C| / (u k |A||B|), with k = {W.shape[0]}")

# %%
assert max(error.values()) < 0.1  # the theorem says 1
same = [name for name in results if np.array_equal(results[name], results["njit"])]
print("the same bits:", ", ".join(same))

# %% [markdown]
# All are far below 1: no version pays for its speed with digits. (`three Python loops` saw one row only, since it is
# so slow, and the largest error of one row is smaller than that of 256.) And where several bars are equal, the results
# are equal to the bit: from `njit` on each version begins with the bias and adds the products in the order of $k$;
# loops, tiles, packing and threads change *which sum is worked on next*, never the sum. BLAS goes through $k$ in pieces
# and adds up the pieces: shorter sums, a slightly smaller error.
#
# ## Time against the ceiling
#
# Every rung is checked against float64 first, then all are timed in turns. The ceiling is the peak that was measured
# above.

# %%
climb = ladders.run(ladder, found, budget_seconds=5)
climb

# %%
pictures.of_climb(climb, found)

# %%
steps = {step.name: step for step in climb.steps}
assert steps["njit"].over_before.value > 5              # without the objects
assert steps["loop order"].over_before.value > 2        # neighbours, and vectors of them
assert steps["micro-kernel"].over_before.value > 1.2    # sums in registers
assert steps["engine"].over_first.value > 1000
best = max(climb.steps, key=lambda step: step.share)
print(f"{best.name}: {best.share:.0%} of the ceiling; {steps['engine'].over_first.value:,.0f} times three Python loops")
for step in climb.steps:
    if step.remark:
        print(f"{step.name} {step.remark}")

# %% [markdown]
# Read the picture from above. Compiling removes the objects; the exchange of two loops gives vectors; and the step
# that matters most after that is the one that no compiler makes by itself: sums that stay in registers. What
# textbooks stress, the tiles for the cache, may bring nothing at this size, since all of `W` lies in the second cache
# already and reading it was never the bottleneck. **Find out what a loop waits for, then remove that.**
#
# The row `threads` depends on what else your machine is doing: two cores give twice the speed only where both are
# free.
#
# ### Beside the vendors' libraries
#
# NumPy hands `x @ W` to BLAS, PyTorch to MKL or oneDNN: decades of work by specialists, partly in assembly. All on
# one core, so that it is the kernels that are compared.

# %%
rivals = {"NumPy (BLAS)": lambda: rungs.with_numpy(x, W, b, y)}
try:
    import torch

    torch.set_num_threads(1)
    tensors = [torch.from_numpy(array) for array in (W.T.copy(), x, b)]
    rivals["PyTorch"] = lambda: torch.nn.functional.linear(tensors[1], tensors[0], tensors[2]).numpy()
    print(f"PyTorch {torch.__version__}")
except ImportError:
    print("PyTorch is not installed here; with it this chart has one bar more (pip install torch)")
rivals["Numba engine"] = lambda: rungs.engine(x, W, b, y)
with threadpool_limits(1):
    compared = timing.compare(rivals, validate=timing.close(1e-5), budget_seconds=1.5)
charts.times(compared, f"y = x W + b on one core: {ladder.describe(*inputs)}", floor=floor, floor_name="the peak")

# %% [markdown]
# ## How many rows does it take?
#
# The tile wants $R$ rows at least. And there is a second reason why few rows are slow: each row adds $2\,i\,o$
# operations, but all of `W` has to come from somewhere even for a single row. Its intensity is then 2 operations for
# 4 bytes, and the cache that `W` lies in is the ceiling.
#
# > **What would you expect?** At how many rows does the engine reach half of what it will reach with 256?

# %%
counts, share = (1, 2, 4, 8, 16, 32, 64, 128, 256), {"NumPy (BLAS), one core": [], "Numba engine, one core": []}
with threadpool_limits(1):
    for n in counts:
        few, into = np.ascontiguousarray(x[:n]), np.empty((n, W.shape[1]), np.float32)
        calls = {"NumPy (BLAS), one core": partial(rungs.with_numpy, few, W, b, into),
                 "Numba engine, one core": partial(rungs.engine, few, W, b, into)}
        timed = timing.compare(calls, validate=timing.close(1e-5), budget_seconds=0.25).timings
        for name, one in timed.items():
            share[name].append(100 * 2 * n * W.size / one.median / 1e9 / peak)
level = next((one.name for one in found.levels if one.size > W.nbytes), "memory")
moved = [W.nbytes + 4 * n * sum(W.shape) for n in counts]
share[f"what {level} allows"] = [100 * found.roof(2 * n * W.size / size, level) / peak
                                 for n, size in zip(counts, moved, strict=True)]  # fmt: skip
charts.curves({name: (counts, values) for name, values in share.items()}, "The dense layer 784-256 by rows",
              "rows in the batch", "per cent of one core's peak", logx=True)  # fmt: skip

# %%
first, last = share["Numba engine, one core"][0], share["Numba engine, one core"][-1]
print(f"one row reaches {first:.0f}% of the peak, {counts[-1]} rows {last:.0f}%")
half = next(n for n, reached in zip(counts, share["Numba engine, one core"], strict=True) if reached >= last / 2)
print(f"half of that is reached with {half} rows")
assert last > 1.2 * first  # rows share what was loaded of W

# %% [markdown]
# That curve is the reason for batches. A row alone pays for reading all the weights; a few share that, and soon the
# cache would allow the whole peak. From there on it is the tile that wants more rows: it has to be full, and what is
# left over at the edge, a row or three, costs almost a tile of its own. Chapter 08 goes on from here.
#
# ## Exercises
#
# **1.** The three loops can be nested in six ways. Which of the other four would you expect to vectorise, and which
# is the worst for the caches? Write the inner loop of the order $k, r, u$ with NumPy's slices (no compiler), check it
# against `x @ W + b`, and say what it is called in linear algebra.
#
# <details><summary>Solution</summary>
#
# ```python
# z = np.tile(b, (len(x), 1))
# for k in range(W.shape[0]):
#     z += x[:, k : k + 1] * W[k]     # all rows r and units u at once
# assert oracle.relative_error(z, exact, scale) < W.shape[0]
# ```
#
# Those with `u` innermost: `r, k, u` (the rung above) and `k, r, u`. With `r` innermost, `k, u, r` and `u, k, r`, `x`
# and `y` are walked a row apart: the worst. With `k` innermost, the first rung's order and `u, r, k`, each step waits
# for the sum of the step before. The order `k, r, u` is a sum of *outer products*, a column of `x` times a row of `W`.
# The micro-kernel is exactly that, for a tile of `y` so small that it stays in registers.
#
# </details>
#
# **2.** A tile of $R$ rows by $V$ vectors needs $RV + V + 1$ registers and $R + V$ loads for $RV$ multiply-adds. With
# 16 registers, which $R$ and $V$ need the fewest loads for each multiply-add? With 32?
#
# <details><summary>Solution</summary>
#
# ```python
# def best_tile(registers):
#     tiles = [(r, v) for r in range(1, 32) for v in range(1, 9) if r * v + v + 1 <= registers]
#     return min(tiles, key=lambda tile: sum(tile) / (tile[0] * tile[1]))
#
# assert best_tile(16) == (4, 3)
# assert best_tile(32) == (5, 5)      # 0.40 loads for each; (6, 4) needs 0.42, the engine's (12, 2) 0.58
# ```
#
# The squarer, the better, as with the tiles of a cache: the area computes, the edges load. (Loads of `x` are of
# single numbers that are spread over a vector, which many processors do for nothing along with the multiply-add; so
# engines take somewhat higher tiles than square ones.)
#
# </details>
#
# **3.** How fast would a layer of 784 inputs and *one* unit be at best, with 256 rows? Compute its intensity, and
# hold the engine against what the memory (or the cache that `x` fits into) allows.
#
# <details><summary>Solution</summary>
#
# ```python
# W1, b1 = np.ascontiguousarray(W[:, :1]), b[:1]
# operations, moved = 2 * x.shape[0] * W1.size, x.nbytes + W1.nbytes
# assert operations / moved < 0.51            # two operations for each number of x, which is four bytes
# y1 = np.empty((len(x), 1), np.float32)
# taken = timing.compare({"engine": lambda: rungs.engine(x, W1, b1, y1)}, budget_seconds=0.3).timings["engine"].median
# level = next((one.name for one in found.levels if one.size > x.nbytes), "memory")
# print(f"{operations / taken / 1e9:.0f} GFLOP/s, where {level} allows {found.roof(operations / moved, level):.0f}")
# assert operations / taken / 1e9 < 1.3 * peak
# ```
#
# Half an operation a byte: a layer this narrow is a memory problem, however clever its kernel. The last layer of a
# classifier is such a one, and that is why engines treat it by itself.
#
# </details>
#
# Next: [06 · Backpropagation](06_backpropagation.ipynb), where the same product appears twice more, on the way back.
