# %% [markdown]
# # 01 · How to time
#
# **At the end you will know** six ways to get a time wrong, each by a factor and each without an error message, and
# one way to get it right. It takes twenty minutes.
#
# Everything in this course is measured, on your machine, while you read. That is worth something only if the
# measuring can be trusted. So here one small function is timed wrongly in every way that is usual, and in the end
# rightly.

# %%
import minidl

numba, numpy = minidl.get_engine("numba"), minidl.get_engine("numpy")  # says what to do where Numba is missing

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from minidl.bench import ceilings, charts, operations, timing
from minidl.plots import LIGHT, Picture, theme
from minidl.words import duration

# %% [markdown]
# ## The formula and its versions
#
# ReLU, the simplest of all activations, $y = \max(0, z)$, of 100,000 numbers. Here is what the engines make of it:

# %%
minidl.explain("relu", short=True)

# %%
z = np.random.default_rng(0).standard_normal((1, 100_000), np.float32)
y = np.empty_like(z)


def relu():
    return numba.relu(z, y)


# %% [markdown]
# > **What would you expect?** How long does `relu()` take here, Numba's version of 100,000 numbers: a millisecond, a
# > hundred microseconds, ten, one?
#
# ## Wrong 1: with the compilation inside
#
# The clock before, the clock behind. What could go wrong?

# %%
said = {}
start = time.perf_counter()
relu()
said["1: the first call"] = time.perf_counter() - start
print(duration(said["1: the first call"]))

# %% [markdown]
# That was the first call in this process, and it has done what only a first call does: found out the types, loaded
# the machine code that an earlier run has left on the disk, or, on the very first day, compiled it. The second call
# has nothing of that to do. Nor is this special to Numba: first calls read libraries from the disk, ask the system
# for memory, start threads.
#
# *Rightly:* call once before the clock starts, and if the first call matters, report it by itself.
#
# ## Wrong 2: only once
#
# So, the second call. And to see what a single time is worth, the two thousand after it as well.

# %%
single = []
for _ in range(2000):
    start = time.perf_counter_ns()
    relu()
    single.append(time.perf_counter_ns() - start)
single = np.array(single) / 1e3
charts.curves({"one call": (np.arange(1, 2001), single)}, "Two thousand times the same", "call", "us", logy=True)

# %%
least, median, high, most = np.percentile(single, (0, 50, 99, 100))
said["2: one call, at worst"] = most / 1e6
print(f"least {least:.1f} us, median {median:.1f} us, one in a hundred above {high:.1f} us, largest {most:.0f} us")
assert most > 1.2 * least

# %% [markdown]
# Each of those points could have been *the* result. The noise has one direction: interrupts, other programs and a
# lower clock make a call longer, and nothing makes it shorter than the machine is. That is why a mean is a bad
# summary, since a single outlier moves it, and why two decent summaries are the median (what usually happens) and the
# least (what the machine can do).
#
# *Rightly:* many samples, their median, and their quartiles beside it, so that one sees what they are worth.
#
# ## Wrong 3: with the clock's own cost
#
# A clock takes time to read, and has a smallest step. Let us shorten the work to ten numbers and time one call by
# three methods.

# %%
few, few_y = z[:, :10].copy(), y[:, :10].copy()


def around_each(clock, calls=2000):
    times = []
    for _ in range(calls):
        start = clock()
        numba.relu(few, few_y)
        times.append(clock() - start)
    return np.array(times)


numba.relu(few, few_y)
by_time, by_counter = around_each(time.time), around_each(time.perf_counter_ns) / 1e9
many = timing.compare({"relu": lambda: numba.relu(few, few_y)}, budget_seconds=0.2).timings["relu"]
print(f"time.time() around each call: {duration(np.median(by_time))}, {len(set(by_time))} different results")
print(f"perf_counter_ns() around each call: {duration(np.median(by_counter))}")
print(f"perf_counter_ns() around {many.loops} calls at a time: {duration(many.median)} each")
print(f"time.time() cannot tell apart what is nearer than {duration(np.spacing(time.time()))}")

# %% [markdown]
# `time.time()` counts seconds since 1970 in a float64, and so far from zero its neighbours are a quarter of a
# microsecond apart: its few different results are steps of the number format. (It may also jump, when the computer's
# clock is set.) `perf_counter_ns()` has no such step, but each reading costs some dozens of nanoseconds, and they are
# counted as if `relu` had taken them.
#
# *Rightly:* read the clock around so many calls that its cost and its step vanish. In this course a sample lasts 0.2
# ms or more.
#
# ## Wrong 4: the data were in the cache. Or were they?
#
# In a loop the same numbers are used again and again, and after the first time they lie in a cache. In a program they
# may come from anywhere.
#
# > **What would you expect?** The same function, the same number of numbers, but other ones each time, 200 arrays in
# > turns. How many times as long?

# %%
arrays = [np.random.default_rng(seed).standard_normal((2, 1, z.size), np.float32) for seed in range(200)]
turn = 0


def relu_of_others():
    global turn
    turn = (turn + 1) % len(arrays)
    source, target = arrays[turn]
    return numba.relu(source, target)


found = timing.compare({"the same numbers": relu, "others each time": relu_of_others})
said["4: others each time"] = found.timings["others each time"].median
charts.times(found, "100,000 numbers, from a cache and from further away")

# %% [markdown]
# The instructions are the same, the ways are not. Neither time is false: they answer different questions. A layer's
# activations were written a moment ago and are in the cache; a data set that is gone through once is not.
#
# *Rightly:* say which it is, and time what the program will do. Chapter 02 measures how far each cache goes.
#
# ## Wrong 5: one rival after the other
#
# Which is faster, A or B? Time A, then time B, divide. But the machine may have become another in between: a notebook
# computer that gets warm lowers its clock, a virtual machine gets a busy neighbour. To see what that does, here is a
# clock by which the machine becomes slower by half after so many looks at the clock. A and B are *the same function*.

# %%
def tiring(looks, factor=1.5):
    """A clock by which everything takes ``factor`` times as long once it has been looked at so many times."""
    told, before = 0, time.perf_counter_ns()

    def clock():
        nonlocal told, before, looks
        now = time.perf_counter_ns()
        told, before, looks = told + (now - before) * (1 if looks > 0 else factor), now, looks - 1
        return told

    return clock


clock, options = tiring(300), {"repeat": (120, 120), "budget_seconds": 60}
one, other = (timing.compare({name: relu}, clock=clock, **options).samples[name] for name in "AB")
turns = timing.compare({"A": relu, "B": relu}, clock=tiring(200), **options)

with theme(LIGHT):
    figure = Picture(figsize=(11, 3.6), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    us, n = 1e6, np.arange(120)
    lines = {"A": (n, np.array(one) * us), "B": (120 + n, np.array(other) * us)}
    charts.draw_curves(left, lines, "One after the other", "sample", "us a call")
    lines = {"A": (2 * n, np.array(turns.samples["A"]) * us), "B": (2 * n + 1, np.array(turns.samples["B"]) * us)}
    charts.draw_curves(right, lines, "In turns", "sample", "us a call")
    left.set_ylim(0, 2.5 * us * np.median(one))
figure

# %%
said["5: after the other"] = float(np.median(other))
after, in_turns = timing.ratio(other, one), turns.speedups["B"].inverse()
for how, ratio in (("one after the other", after), ("in turns", in_turns)):
    print(f"{how}: A is {ratio.value:.2f} times as fast as B, 95% between {ratio.low:.2f} and {ratio.high:.2f}")
assert after.value > 1.2
assert 0.8 < in_turns.value < 1.25

# %% [markdown]
# One after the other, a function has beaten itself by half, and the interval says that there is no doubt. No
# statistics finds this out afterwards: all samples of A were good and all of B were, too. In turns, A B A B, both
# meet the same change, and the ratio stands.
#
# *Rightly:* rivals in turns, and ratios instead of times where it can be.
#
# ## Wrong 6: the work was only ordered
#
# A GPU works by itself. A call puts the work into its queue and returns; the result comes later. Who stops the clock
# when the call returns has timed the ordering. There need not be a GPU here to see it, since a thread with a queue
# behaves the same:

# %%
large, large_y = np.random.default_rng(0).standard_normal((2, 1, 16_000_000), np.float32)
device, orders = ThreadPoolExecutor(1), 20  # stands for a GPU and its queue
device.submit(numba.relu, large, large_y).result()

start = time.perf_counter()
futures = [device.submit(numba.relu, large, large_y) for _ in range(orders)]
ordered = (time.perf_counter() - start) / orders
for future in futures:
    future.result()  # on a GPU: synchronize
done = (time.perf_counter() - start) / orders
print(f"{orders} calls, each ordered in {duration(ordered)} and done in {duration(done)}")
assert ordered < done / 2

# %% [markdown]
# With CuPy it is `engine.synchronize()` that waits, and it has to stand before either look at the clock: before the
# first one too, or what is still in the queue is counted with. In minidl a rival that hands work to a GPU returns
# when the work is done.
#
# There is a way to notice this mistake. 16 million numbers had to be read and as many to be written. How many bytes a
# second would that have been, and how many can this machine move at all? Chapter 02 tells how the second number is
# measured.

# %%
limit = ceilings.measure(seconds=1.5)
moved = large.nbytes + large_y.nbytes
rates = {"ordered": moved / ordered / 1e9, "done": moved / done / 1e9, "possible": limit.bandwidth("memory")}
for what, rate in rates.items():
    print(f"{what:>8}: {rate:6,.0f} GB/s")

# %% [markdown]
# **A time below the floor is no record, it is a mistake.** This is the best protection there is against all that is
# not on this list: the compiler that has seen that nobody needs the result, the function that returned early, the
# factor of a thousand in a unit.
#
# ## And now rightly
#
# First of all: do the rivals compute the same? The error of each against the formula, in units of the last digit.
# ReLU only chooses, so nothing may be rounded.

# %%
for engine in (numpy, numba):
    print(f"{engine.name}: {operations.error(engine, 'relu'):g} ulp")
    assert operations.error(engine, "relu") == 0

# %% [markdown]
# `timing.compare` checks that the rivals agree, and refuses to time them if not; calls each once apart; finds out how
# many calls make a sample; takes samples in turns with the garbage collector off; and gives medians, quartiles, and
# ratios with an interval. The floor is the time in which this machine can move the bytes, from the level where they
# lie.

# %%
rivals = {
    "NumPy, a new array": lambda: np.maximum(z, 0),
    "numpy engine": lambda: numpy.relu(z, y),
    "numba engine": relu,
}
found = timing.compare(rivals, validate=timing.close(0), budget_seconds=2)
moved = z.nbytes + y.nbytes
floor = max(limit.limits(z.size, moved).values())
charts.times(found, "ReLU of 100,000 numbers", floor=floor, floor_name=f"{limit.holding(moved)} moves the bytes in")

# %%
right = found.timings["numba engine"]
speed = found.speedups["numba engine"]
print(f"{duration(right.median)}, quartiles {duration(right.low)} and {duration(right.high)}")
print(f"{speed.value:.2f} times as fast as NumPy, 95% between {speed.low:.2f} and {speed.high:.2f}")
assert right.median > floor / 1.5
assert said["1: the first call"] > 10 * right.median

# %% [markdown]
# The interval tells how sure the ratio is *within this run*. On another day, and above all on another machine, it may
# be another one: that is why these notebooks are meant to be run and not only read.
#
# Here is what we would have said of one and the same function:

# %%
answers = said | {"rightly, from the cache": right.median}
lines = {way: [duration(seconds), charts.short(seconds / right.median)] for way, seconds in answers.items()}
pd.DataFrame(lines, index=["it takes", "times the truth"]).T

# %% [markdown]
# ## Exercises
#
# **1.** From the two thousand single calls above, take every tenth: ten series of 200. How far apart are the ten
# means, the ten medians, the ten least times?
#
# <details><summary>Solution</summary>
#
# ```python
# series = [single[first::10] for first in range(10)]
# for name, summary in {"mean": np.mean, "median": np.median, "least": np.min}.items():
#     values = [summary(one) for one in series]
#     print(f"{name}: {min(values):.2f} to {max(values):.2f} us")
# assert max(map(np.median, series)) < 2 * min(map(np.median, series))
# ```
# As a rule the mean moves most, since an outlier or two decide about it, and the median least.
# </details>
#
# **2.** `numba.relu(z)` makes a new array for its result, `numba.relu(z, y)` does not. What does that cost for
# 100,000 numbers, and for 16 million?
#
# <details><summary>Solution</summary>
#
# ```python
# for source, target in ((z, y), (large, large_y)):
#     both = {"into y": lambda a=source, b=target: numba.relu(a, b), "a new array": lambda a=source: numba.relu(a)}
#     made = timing.compare(both, validate=timing.close(0))
#     slower = made.speedups["a new array"].inverse().value
#     print(f"{source.size:,} numbers: {slower:.2f} times as long with a new array")
# ```
# A small array comes from what NumPy keeps at hand. A large one is asked of the operating system each time, which
# gives it page by page, each filled with zeros at its first touch: that can take longer than the ReLU.
# </details>
#
# **3.** Write a rival that cheats: it computes the ReLU at its first call, and then only returns what it has kept.
# Does `compare` notice? What does?
#
# <details><summary>Solution</summary>
#
# ```python
# kept = numba.relu(z)
# cheat = timing.compare({"honest": relu, "cheat": lambda: kept}, validate=timing.close(0))
# assert cheat.timings["cheat"].median < floor
# print(f"{duration(cheat.timings['cheat'].median)}, below the floor of {duration(floor)}")
# ```
# The results agree, so `compare` is content. The floor is not.
# </details>
#
# Next: [02 · Your machine's ceiling](02_your_machines_ceiling.ipynb), which is where the floor comes from.
