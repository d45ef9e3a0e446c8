# %% [markdown]
# # 02 · Your machine's ceiling
#
# **At the end you will know** how many multiplications and additions this machine can do in a second, how many bytes
# it can move, and how to tell before you write a program how fast it can be at most. It takes twenty minutes.
#
# "Ten times faster" says little: faster than what? A time means something beside the time that cannot be beaten. This
# chapter measures that one, and every later chapter draws it as a line.

# %%
import minidl

numba, numpy = minidl.get_engine("numba"), minidl.get_engine("numpy")  # says what to do where Numba is missing

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from minidl.bench import ceilings, operations, pictures, timing
from minidl.contract import OPERATIONS
from minidl.words import duration

# %% [markdown]
# ## The formula
#
# A processor does two things: it computes, and it moves numbers to where it can compute with them. Let a piece of
# work need $F$ floating-point operations (FLOP) and have $B$ bytes to move. The processor can do at most $P$
# operations a second, the *peak*, and move at most $\beta$ bytes a second, the *bandwidth*. It may do both at the
# same time, but it cannot be done before either is:
#
# $$
# T \ge \max\left(\frac{F}{P},\ \frac{B}{\beta}\right) \qquad\Longleftrightarrow\qquad
# \frac{F}{T} \le \min\left(P,\ \beta\,I\right), \quad I = \frac{F}{B}
# $$
#
# $I$ is the *arithmetic intensity*: how many operations there are for each byte. Drawn over $I$, the right-hand side
# is a slope that ends in a flat top, hence its name: the **roofline** (Williams, Waterman and Patterson, *Roofline:
# an insightful visual performance model*, 2009). Only two numbers of the machine are in it, $P$ and $\beta$. They
# stand in no data sheet that could be trusted: the clock changes with the load, and a virtual machine has what others
# leave. So they are measured.
#
# ## How fast can it compute?
#
# > **What would you expect?** One core does $a\,x + b$ on numbers that lie ready in its registers. It has a clock of
# > some 3 to 5 GHz. How many operations does it do in a second: 5, 50 or 500 billion? And what share of that does
# > Python get, and what share NumPy?

# %%
found = ceilings.measure(seconds=4)
peak, lanes = found.peak(), found.vector_bytes // 4
print(f"{found.processor}: {peak:.0f} billion operations a second in float32, on one core")
print(f"one instruction computes {lanes} numbers at a time" + (", a x + b in one go" if found.fused else ""))
for begun in (1, 2):
    clock = peak / (begun * lanes * (1 + found.fused))
    print(f"  with {begun} of them begun in each tick, the clock runs at {clock:.1f} GHz")

# %% [markdown]
# One of those two clocks is likely yours, and the other one absurd. The peak is a product of three things: the clock,
# the *lanes* of a vector instruction, and how many of them begin in each tick, with two operations for each number. A
# program that uses one lane has given away most of it before it starts.
#
# Now the same $a\,x + b$ as one would write it. That the three agree is checked before the clock is started.

# %%
x = np.random.default_rng(0).uniform(size=4096).astype(np.float32)
a, b, y, numbers = np.float32(0.5), np.float32(1), np.empty_like(x), x.tolist()


def in_place():
    np.multiply(x, a, out=y)
    return np.add(y, b, out=y)


forms = {
    "Python, one by one": lambda: [0.5 * number + 1.0 for number in numbers],
    "NumPy, a * x + b": lambda: a * x + b,
    "NumPy, in place": in_place,
}
timed = timing.compare(forms, validate=timing.close(1e-6), budget_seconds=1)
rates = {name: 2 * x.size / form.median / 1e9 for name, form in timed.timings.items()} | {"the peak": peak}
lines = {name: [f"{rate:,.3g}", f"{rate / peak:.2%}"] for name, rate in rates.items()}
pd.DataFrame(lines, index=["GFLOP/s", "of the peak"]).T

# %%
assert rates["Python, one by one"] < rates["NumPy, a * x + b"] < peak
assert rates["NumPy, in place"] < 0.5 * peak

# %% [markdown]
# NumPy's loops are compiled and use all lanes, and still they come nowhere near. They have a number loaded, do *one*
# operation with it and store it again, where the peak was measured by hundreds of operations on a number that stays
# in its register. That is the other half of the formula.
#
# ## How fast can it move numbers?
#
# Between a core and the memory lie caches, small and fast ones before large and slow ones. What has been read lately
# is still there.
#
# > **What would you expect?** A core reads the same 8 kB again and again, then 16, 24, ... up to hundreds of
# > megabytes. What does the curve of bytes a second look like? By what factor is it lower at its end?

# %%
largest = found.level("memory").footprint["one"]
sizes = [size for power in range(13, 30) for size in (2**power, 3 * 2 ** (power - 1)) if size <= largest]
reading = ceilings.reading(sizes, seconds=1)
pictures.of_reading(sizes, reading, found)

# %%
print(f"{reading[0]:.0f} GB/s in the first cache, {reading[-1]:.0f} GB/s in the memory")
assert reading[0] > 2 * reading[-1]

# %% [markdown]
# The curve is a staircase, and each step down is a cache that has become too small. (The lines are what the operating
# system says of the caches; the points are measured. Humps between them have causes of their own: how the pages lie
# in the memory, who else uses the cache.) Nothing about the program has changed, it reads and reads. What has changed
# is where the bytes come from.
#
# Reading is not everything. Five kinds of traffic are measured in each level, by one core and by all: read $a
# \leftarrow x$, write $x \leftarrow a$, copy $y \leftarrow x$, and triad $z \leftarrow x + a\,y$, as in the STREAM
# benchmark (McCalpin, 1995), and update $x \leftarrow x + a$. The bytes counted are those that the formula names. An
# update counts each number twice, read and written, and between caches its bytes go both ways at once. A copy, too,
# has to fetch what it overwrites, unless it stores past the caches, and nobody counts that.

# %%
found

# %% [markdown]
# ## The roofline
#
# With $P$ and $\beta$ for each level, the formula can be drawn. Read it from below: find the intensity of your work,
# go up to the line of the level where your numbers lie, and you have the highest speed there can be. Left of the
# corner the work is *memory-bound*: only fewer bytes make it faster. Right of it, *compute-bound*: only better use of
# the arithmetic does.

# %%
pictures.of_ceilings(found)

# %%
ridge = peak / found.bandwidth("memory")
print(f"the corner for numbers from the memory: {ridge:.1f} operations a byte, {4 * ridge:.0f} for each float32")
assert 4 * ridge > 2

# %% [markdown]
# So a number that comes from the memory has to be used again and again, or the core waits. Keep this in mind: it
# explains half of this course.
#
# ## Three operations of minidl
#
# Count before you measure, with $K$ numbers of 4 bytes each:
#
# | | formula | operations $F$ | bytes $B$ | $I$ |
# |---|---|---|---|---|
# | ReLU | $y = \max(0, z)$ | $K$ | $z$ read, $y$ written: $8K$ | $1/8$ |
# | Adam | $m'$, $v'$ and $\theta'$, see below | $(3 + 4 + 5) K = 12K$ | four read, three written: $28K$ | $3/7$ |
# | dense layer | $Z = X W + b$ | $2nio + no$ | $4(ni + io + o + no)$ | grows with all three |
#
# The dense layer has $n$ rows, $i$ inputs and $o$ units. ReLU and Adam have a fixed intensity, far left of every
# corner. In the layer each weight is used for every row, and each input for every unit.
#
# > **What would you expect?** For each of the three: which limit is it held by? Will the NumPy engine or the Numba
# > engine come nearer to it, and in which of the three will the two differ most?
#
# First what they compute, side by side, here for Adam. Both are the live source of the engines.

# %%
minidl.explain("adam", short=True)

# %% [markdown]
# Then whether they compute it rightly. The error is measured against the formula with 40 digits, in the units that
# the contract sets for each operation:

# %%
names, engines = ("relu", "adam", "dense"), {"numpy": numpy, "numba": numba}
errors = {name: {engine: operations.error(engines[engine], name) for engine in engines} for name in names}
bounds = {name: OPERATIONS[name].bound for name in names}
for name in names:
    assert max(errors[name].values()) <= bounds[name], name
pd.DataFrame(errors).T.assign(bound=bounds, measure={name: OPERATIONS[name].measure for name in names}).round(2)

# %% [markdown]
# And only then the time, beside the least that the formula allows: of a large ReLU and a large Adam, which no cache
# holds, and of a layer for 32 rows. All on one core, to compare like with like; the library behind NumPy's products
# would use more.

# %%
K, n, i, o = 16_000_000, 32, 784, 256
rng = np.random.default_rng(0)
z, theta, g, m = (rng.standard_normal(K, np.float32) for _ in range(4))
X, W, bias = (rng.standard_normal(shape, np.float32) for shape in ((n, i), (i, o), o))
arguments = {
    "relu": (z.reshape(1, -1), np.empty((1, K), np.float32)),
    "adam": (theta, g, m, m * m, 3, 0.001, 0.9, 0.999, 1e-7),
    "dense": (X, W, bias, np.empty((n, o), np.float32)),
}
layer = 4 * (n * i + i * o + o + n * o)
work = {  # operations, bytes moved, and bytes held: Adam writes three of its four arrays in place
    "relu": (K, 8 * K, 8 * K), "adam": (12 * K, 28 * K, 16 * K), "dense": (2 * n * i * o + n * o, layer, layer),
}  # fmt: skip
points, lines = [], {}
for name, (done, moved, held) in work.items():
    rivals = {engine: operations.rival(engines[engine], name, arguments[name]) for engine in engines}
    with threadpool_limits(1, "blas"):
        seconds = {engine: its.median for engine, its in timing.compare(rivals, budget_seconds=2).timings.items()}
    held_by, least = max(found.limits(done, moved, held=held).items(), key=lambda limit: limit[1])
    points += [pictures.Point(f"{engine} {name}", done, moved, seconds[engine]) for engine in engines]
    lines[name] = {"held by": held_by, "at least": duration(least)}
    lines[name] |= {engine: f"{duration(seconds[engine])} ({least / seconds[engine]:.0%})" for engine in engines}
    assert min(seconds.values()) > least / 1.5, f"{name} was faster than the machine is"
pd.DataFrame(lines).T

# %%
pictures.of_points(points, found)

# %%
faster = {name: points[2 * place].seconds / points[2 * place + 1].seconds for place, name in enumerate(names)}
print("Numba is", ", ".join(f"{ratio:.1f} times as fast in {name}" for name, ratio in faster.items()))
assert faster["adam"] > 1.3
assert lines["dense"]["held by"] == "arithmetic"
assert "arithmetic" not in (lines["relu"]["held by"], lines["adam"]["held by"])

# %% [markdown]
# Look at each pair: both engines stand at the same intensity, since the formula is the same, and one below the other.
# What is between a point and the line above it can be won. What is above the line cannot, by nobody.
#
# - **ReLU** is one pass through the memory in either engine. All that could be won is what the second pass of an
#   ordinary store costs: it reads the line that it will overwrite.
# - **Adam** in NumPy is a dozen passes, most with a temporary array: the bytes that it really moves are several times
#   those that it has to. In Numba it is one loop, and its time is that of the bytes.
# - The **dense layer** is held by arithmetic. Libraries have been polished for it for decades; the ladder from three
#   loops to near the peak is chapter 05.
#
# Optimising begins by finding out on which side of the corner you are. For ReLU and Adam cleverer arithmetic gains
# nothing; for the product, moving less gains nothing.
#
# ## What the ceiling does not say
#
# - It is the best of many short runs. Whatever disturbs a run makes it slower, nothing makes it faster than the
#   machine is; so the ceiling is a maximum, and times are medians. A busy machine does not reach its ceiling.
# - It counts bytes that *must* move. What moves in truth may be more: an ordinary store first reads the line that it
#   will change.
# - It knows no waiting. A chain of additions, each of which needs the one before, or a jump through the memory after
#   every number, is far below both limits.
# - A call has a price before it has done anything. For 10 numbers neither bytes nor operations matter. Chapter 09 is
#   about that.
#
# ## Exercises
#
# **1.** For one row, the dense layer is a matrix times a vector: each weight is used once. From how many rows on is
# the layer of 784 inputs and 256 units held by arithmetic, if everything comes from the memory?
#
# <details><summary>Solution</summary>
#
# ```python
# def intensity(n, i=784, o=256):
#     return (2 * n * i * o + n * o) / (4 * (n * i + i * o + o + n * o))
#
#
# rows = next((n for n in range(1, 100_000) if intensity(n) > ridge), None)
# print(f"{intensity(1):.2f} operations a byte for one row, {intensity(256):.0f} for 256")
# print(f"arithmetic holds it from {rows} rows on")
# assert intensity(1) < ridge
# ```
# One row has half an operation for each byte of the weights, whatever the layer's size. That is why answering one
# question at a time is a matter of bytes, and int8 (chapter 11) helps, and answering many at a time a matter of
# arithmetic (chapter 08).
# </details>
#
# **2.** What should Adam cost with float64 instead of float32? Predict it by the formula, then measure it.
#
# <details><summary>Solution</summary>
#
# ```python
# single = (theta[:4_000_000], g[:4_000_000], m[:4_000_000], m[:4_000_000] ** 2, *arguments["adam"][4:])
# double = tuple(part.astype(np.float64) if isinstance(part, np.ndarray) else part for part in single)
# both = timing.compare({
#     "float32": operations.rival(numba, "adam", single),
#     "float64": operations.rival(numba, "adam", double),
# })
# print(f"float64 takes {both.speedups['float64'].inverse().value:.2f} times as long")
# assert both.speedups["float64"].value < 0.9
# ```
# Twice the bytes, so twice the time, as long as both come from the same level. Had it been held by arithmetic it
# would be twice as well, since a vector holds half as many of them. Where the smaller one just fits into a cache and
# the larger one does not, it is more.
# </details>
#
# **3.** NVIDIA's data sheet gives the H100 SXM 67 TFLOP/s in float32 (without tensor cores) and 3.35 TB/s. Where is
# its corner? How many times as fast as one core of yours can it do Adam at best, and a large matrix product?
#
# <details><summary>Solution</summary>
#
# ```python
# gpu_peak, gpu_bandwidth = 67_000, 3350  # GFLOP/s and GB/s, as its maker says; nothing here has been measured
# print(f"its corner: {gpu_peak / gpu_bandwidth:.0f} operations a byte; this core's: {ridge:.0f}")
# print(f"Adam at most {gpu_bandwidth / found.bandwidth('memory'):.0f} times as fast")
# print(f"a large product at most {gpu_peak / peak:.0f} times as fast")
# assert 12 / 28 < gpu_peak / gpu_bandwidth
# ```
# The same picture with other numbers. Adam is held by the memory there, too. What the way to the GPU and back costs
# is not in it: chapter 10.
# </details>
#
# Next: [03 · Activations](03_activations.ipynb), where one pass through the memory takes the place of five.
