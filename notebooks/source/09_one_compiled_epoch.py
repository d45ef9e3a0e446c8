# %% [markdown]
# # 09 · One compiled epoch
#
# **At the end you will know** where the time goes when arrays are small, why a faster matrix product does not help
# there, and how the overhead is removed one layer at a time until a whole epoch is a single call. It takes about
# twenty minutes, under a minute of them computing.
#
# Chapter 05 made the matrix product fast. But a table with thirty columns makes small matrices, and small networks
# trained on tables are what most people have. Their training is slow for another reason.

# %%
import minidl

minidl.get_engine("numba")  # this chapter needs it; where it cannot run, this line says why

import sys
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from minidl import data
from minidl.bench import ceilings, charts, ladders, listings, machine, pictures, recorded, timing
from minidl.engines.numba_engine import train as compiled
from minidl.engines.numpy_engine.train import Trainer

found = ceilings.measure(seconds=2)
peak = found.peak("float32")
print(f"{machine.processor()}, {machine.cores()} cores, {peak:.0f} GFLOP/s a core in float32")

# %% [markdown]
# ## The formula
#
# A NumPy operation on $n$ numbers takes
#
# $$t(n) = t_\text{call} + \frac{\text{bytes}(n)}{\text{bandwidth}}.$$
#
# The second part is physics. The first is everything else: Python looks the function up, NumPy inspects types, shapes
# and strides, chooses a loop, makes an array for the result, and throws another away.
#
# > **What would you expect?** From how many numbers on does adding two arrays take longer than calling the addition?

# %%
sizes, adding = np.array([2**power for power in range(0, 21, 2)]), []
for n in sizes:
    a, b, c = np.ones((3, n), np.float32)
    timed = timing.compare({"add": partial(np.add, a, b, c)}, budget_seconds=0.05).timings["add"]
    adding.append(1e6 * timed.median)
moved = 12 * sizes / found.bandwidth("L1", "triad") / 1e3
charts.curves({"numpy add, c = a + b": (sizes, adding), "what the first cache allows": (sizes, moved)},
              "Adding n numbers", "n", "us", logx=True, logy=True)  # fmt: skip

# %%
call = adding[0]
even = call * 1e3 * found.bandwidth("L1", "triad") / 12
print(f"a call costs {1e3 * call:.0f} ns; in that time the core could have added {even:,.0f} numbers")
assert adding[2] < 2 * adding[0]    # sixteen numbers cost as much as one
assert adding[-1] > 5 * adding[0]   # a million do not

# %% [markdown]
# An array of thousands of numbers is needed before the call is not the larger part. A layer of 64 units on a batch of
# 32 rows makes 2,048.
#
# Now count the calls in a training step, and the formula of a step is
#
# $$t_\text{step} = m\,t_\text{call} + \frac{\text{operations}}{\text{peak}},$$
#
# $m$ calls and the three matrix products of each layer. For 30-64-64-1 and a batch of 32 the second term is small:

# %%
ladder = ladders.get("epoch")
inputs = ladder.make(*ladder.size, np.random.default_rng(0))
steps = ladder.size[0] // ladder.size[2]
work = ladder.work(*inputs)
print(ladder.describe(*inputs))
print(f"{steps} steps of {work.operations / steps / 1e6:.2f} million operations: "
      f"{1e6 * work.operations / steps / peak / 1e9:.1f} us each at the peak")  # fmt: skip

# %% [markdown]
# ## Versions side by side
#
# This is a training step in the NumPy engine, the one that reads like the formulas of chapter 06:

# %%
listings.python(Trainer.step, "Forward, loss, backward, update.")

# %% [markdown]
# The ladder takes that loop apart. Its first rung calls every operation from Python:

# %%
by_name = {rung.name: rung for rung in ladder.rungs}
listings.rung(by_name["NumPy operations"])

# %% [markdown]
# 1. **NumPy operations.** Each line that calls `engine` is several calls of NumPy, each with a new array.
# 2. **njit operations.** The very same loop, with the compiled engine in place of NumPy: an operation is one call, and
#    within it nothing is allocated but the result. Python is still between all operations.
# 3. **njit steps.** A whole step is one compiled call, into arrays that were made once, before the training.
# 4. **one njit run.** All batches of all epochs are one compiled call. Python does not come in at all.
# 5. **threads.** The same, with the jobs of a step shared out among the cores, where a step is large enough.
#
# What makes rungs 3 and 4 possible is that the network is *data*: a table with a row for each operation and one flat
# vector of parameters (`minidl/program.py`). So one function, compiled once, runs every network; nothing is compiled
# for yours. Python's whole part in an epoch is this:

# %%
listings.python(compiled.Trainer.run, "Hands everything over once.", also=(compiled.run_batches,))

# %% [markdown]
# Unfold `run_batches` to see the loop itself. It is longer than the NumPy engine's step, and that is its price. What
# it does is the same, and that can be checked.
#
# ## Error
#
# All rungs train from the same weights on the same batches. How far are their weights from those of a training in
# float64, after an epoch of 64 steps?

# %%
exact = ladder.reference(*inputs)
error = {}
for rung in ladder.rungs:
    ladder.reset(*inputs)
    theta = ladders.call_of(rung, inputs)()
    error[rung.name] = np.sqrt(np.mean((theta - exact) ** 2) / np.mean(exact**2))
charts.bars({name: 1e6 * value for name, value in error.items()}, "Weights after an epoch, beside float64",
            "root mean square of the difference, in millionths of the weights'")  # fmt: skip

# %%
assert max(error.values()) < ladder.tolerance

# %% [markdown]
# And a whole training, engine beside engine. minidl draws the order of the rows once and hands it in, so every engine
# sees the same batches, and the curves can be laid on each other:

# %%
X, X_test, y, y_test = data.train_test_split(*data.load_breast_cancer(), seed=0)
curves = {}
for engine in ("numpy", "numba"):
    hidden = [minidl.Dense(64, "relu"), minidl.Dense(64, "relu"), minidl.Dense(1, "sigmoid")]
    model = minidl.Sequential([minidl.Normalization(), *hidden], seed=0)
    model.compile("adam", "binary_crossentropy", engine=engine)
    curves[engine] = np.array(model.fit(X, y, epochs=30, verbose=0).history["loss"])
apart = np.abs(curves["numba"] / curves["numpy"] - 1).max()
print(f"the losses of 30 epochs differ by {apart:.1e} of themselves at most")
assert apart < 1e-2
lines = {name: (range(1, 31), losses) for name, losses in curves.items()}
charts.curves(lines, "The same training twice", "epoch", "loss")

# %% [markdown]
# ## Time against the ceiling
#
# > **What would you expect?** Which of the four steps up the ladder brings most?

# %%
climb = ladders.run(ladder, found, budget_seconds=3)
climb

# %%
pictures.of_climb(climb, found)

# %%
taken = {step.name: step for step in climb.steps}
floor = work.operations / peak / 1e9
for name, step in taken.items():
    if step.cores == "one" or name == "NumPy operations":
        rest = 1 - floor / step.seconds
        print(f"{name:18} {1e6 * step.seconds / steps:6.1f} us a step, {rest:.0%} of it no arithmetic")
assert taken["one njit run"].over_first.value > 2
assert taken["one njit run"].seconds < taken["njit operations"].seconds

# %% [markdown]
# ### The picture to remember
#
# The same four ways, on networks $w$-$w$-$w$-1 from tiny to large. Where a curve is flat, it is overhead that takes
# the time, and the network could be larger for nothing. Where it climbs along the floor, arithmetic has taken over.

# %%
widths = 1, 4, 16, 64, 128, 256, 512
ways = "NumPy operations", "njit operations", "njit steps", "one njit run"
per_step = {name: [] for name in ways}
lowest = []
for w in widths:
    given = ladder.make(256, (w, w, w, 1), 32, np.random.default_rng(0))
    calls = {name: ladders.call_of(by_name[name], given) for name in ways}
    prepare = partial(lambda name, given: ladder.reset(*given), given=given)
    with threadpool_limits(1):
        timed = timing.compare(calls, prepare=prepare, budget_seconds=0.5).timings
    for name in ways:
        per_step[name].append(1e6 * timed[name].median / 8)
    lowest.append(1e6 * ladder.work(*given).operations / 8 / peak / 1e9)
per_step["floor: the peak of a core"] = lowest
lines = {name: (widths, values) for name, values in per_step.items()}
charts.curves(lines, "A training step by the width of the network, batch 32, one core", "units of each layer",
              "us a step", logx=True, logy=True)  # fmt: skip

# %%
gain = np.array(per_step["NumPy operations"]) / per_step["one njit run"]
for w, times in zip(widths, gain, strict=True):
    print(f"width {w:3}: the compiled run is {times:5.1f} times as fast as NumPy's operations")
assert gain[0] > 4            # where arrays are tiny, overhead was nearly everything
assert gain[0] > gain[-1]     # and where they are large, there is little overhead to remove

# %% [markdown]
# So there are two regimes, and they need opposite medicine. Left: remove calls. Right: a better matrix product (05),
# or more cores. It is the same shape as the latency curve of chapter 08, and it returns in chapter 10, where a call
# is a kernel launch and costs a few microseconds.
#
# ## Against PyTorch, JAX and Keras
#
# How do the big libraries stand in the left regime? Each runs the same training from the same weights on the same
# batches, in its best form, in a process of its own (`perf/`; the rivals' loops are in `perf/rivals/`). PyTorch calls
# an operation after the other from Python, as our first rung does. JAX compiles the whole epoch into one program
# (`jit` and `scan`), as our last one does. What is installed here is measured now:

# %%
seconds = {}
if recorded.folder():
    sys.path.append(str(recorded.folder().parents[1]))
try:
    from perf import cases, rivals
    from perf.contest import contest
except ImportError:
    print("perf/ is not here (it is part of the repository, not of the package), so only the record is shown")
else:
    case = cases.TRAINING["table"]
    wanted = ["minidl", "numpy", "pytorch", "jax"]
    measured = contest("trainer", case, wanted, budget_seconds=2, say=partial(print, end=" "))
    print()
    versions = {name: machine.version(name) for name in ("torch", "jax")}
    print(f"{case.name}, batch {case.batch_size}, {case.optimizer}, {case.rows:,} rows, measured now;",
          ", ".join(f"{name} {version}" for name, version in versions.items() if version))  # fmt: skip
    seconds = {rivals.LABELS[name]: one["seconds"] / case.epochs for name, one in measured["entries"].items()}
    assert seconds[rivals.LABELS["numpy"]] > 1.5 * seconds[rivals.LABELS["minidl"]]

# %%
title = "An epoch of 30-64-64-1, each rival in its best form"
charts.times(seconds, title, per="an epoch") if seconds else None

# %% [markdown]
# And the record that comes with minidl, for all rivals and four sizes of network (`python -m perf training` makes it
# anew on your machine):

# %%
record = recorded.read("training")
if record:
    print(recorded.said(record, "torch", "jax", "keras", "tensorflow-cpu", "scikit-learn"))
    gains = {}
    for name, one in record["cases"].items():
        own = one["entries"]["minidl"]["seconds"]
        for rival, entry in one["entries"].items():
            gains.setdefault(rival, {})[name] = entry["seconds"] / own
    print(f"\n{'times as long as minidl':25}" + "".join(f"{name:>12}" for name in record["cases"]))
    for rival, row in gains.items():
        print(f"{rival:25}" + "".join(f"{charts.short(row.get(name, np.nan)):>12}" for name in record["cases"]))
else:
    print("there is no record here: perf/results is part of the repository")

# %% [markdown]
# Read it by columns. `tiny` is overhead only, and there the library that compiles the whole epoch (JAX) stands close
# to minidl while those that come back to Python for every batch are tens or thousands of times slower. In `mnist/256`
# a step is dominated by matrix products, and all of them are within a few times of each other. **It is not the
# language that is slow, it is coming back to it.**
#
# ## Exercises
#
# **1.** Amdahl's law: if a share $p$ of the time is made $s$ times as fast, all of it is $1/((1 - p) + p/s)$ times as
# fast. Take the first rung. What would an infinitely fast matrix product bring, and what an engine without overhead?
#
# <details><summary>Solution</summary>
#
# ```python
# p = floor / taken["NumPy operations"].seconds      # at most this is arithmetic
# products_free, overhead_free = 1 / (1 - p), 1 / p
# print(f"{products_free:.2f} times without the products, {overhead_free:.0f} times without the overhead")
# assert overhead_free > products_free
# ```
#
# Where overhead dominates, even a perfect kernel brings next to nothing. Measure first.
#
# </details>
#
# **2.** `fit` can be interrupted, shows progress and calls callbacks. How does that go with one compiled run of all
# epochs? Time a training of 50 epochs with and without a callback that does nothing.
#
# <details><summary>Solution</summary>
#
# ```python
# def train(callbacks):
#     model.fit(X, y, epochs=50, verbose=0, callbacks=callbacks)
#
# nothing = minidl.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
# both = timing.compare({"without": partial(train, None), "with": partial(train, [nothing])}, budget_seconds=1)
# extra = both.timings["with"].median - both.timings["without"].median
# print(f"{1e6 * extra / 50:.1f} us an epoch for a callback")
# assert both.timings["with"].median < 10 * both.timings["without"].median
# ```
#
# A run is asked for as many epochs as nobody wants to look into. Somebody looks at each epoch's end: then it is one
# epoch at a time, and an epoch costs one call more. Only who looks at each *batch* goes back to rung 3.
#
# </details>
#
# **3.** Cut the batch to 8 rows. Which rungs get slower per epoch, and by how much? Predict it with the formula of a
# step, then measure.
#
# <details><summary>Solution</summary>
#
# ```python
# small = ladder.make(ladder.size[0], ladder.size[1], 8, np.random.default_rng(0))
# calls = {name: ladders.call_of(by_name[name], small) for name in ways}
# timed = timing.compare(calls, prepare=lambda name: ladder.reset(*small), budget_seconds=1.5).timings
# slower = {name: timed[name].median / taken[name].seconds for name in ways}
# print({name: f"{times:.1f} times" for name, times in slower.items()})
# assert slower["NumPy operations"] > 1.5
# ```
#
# Four times as many steps. Where overhead is nearly all, as in the first rung, an epoch takes nearly four times as
# long; the compiled run pays for shorter products and for moving all weights four times as often, and for nothing
# else.
#
# </details>
#
# **Next:** 10, the GPU, where the call costs more and the arithmetic less.
