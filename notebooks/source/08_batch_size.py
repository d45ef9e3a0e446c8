# %% [markdown]
# # 08 · Batch size
#
# **At the end you will know** what the size of a batch decides: how long one answer takes, how many answers a second
# there are, and how many epochs a training needs; the formulas that predict most of it; and why the best size is
# neither 1 nor everything. It takes about twenty minutes, half a minute of them computing.
#
# A batch is a number of rows that go through a network together. Chapter 05 ended with the reason for it: all rows of
# a batch share what was loaded of the weights. Now we count what that brings, and what it costs.

# %%
import copy
import time
import warnings

import numpy as np

import minidl
from minidl import data
from minidl.bench import charts, machine, timing
from minidl.engines import why_not

X, X_test, y, y_test = data.train_test_split(*data.load_breast_cancer(), seed=0)


def network(optimizer, seed=0):
    hidden = [minidl.Dense(64, "relu"), minidl.Dense(64, "relu"), minidl.Dense(1, "sigmoid")]
    model = minidl.Sequential([minidl.Normalization(), *hidden], seed=seed)
    model.compile(optimizer, "binary_crossentropy")
    return model


model = network("adam")
model.fit(X, y, epochs=20, verbose=0)
print(f"{machine.processor()}, {machine.cores()} cores; {len(X)} rows to train on, {len(X_test)} held back")
print(f"engine: {model.engine}", f"({why_not('numba')})" if why_not("numba") else "")

# %% [markdown]
# ## Latency against throughput
#
# ### The formula
#
# A call has a part that it pays once, whatever it is given (to be called, to look at its arguments, to load the
# weights), and a part that it pays for each row:
#
# $$t(n) = t_0 + n\,t_1,\qquad r(n) = \frac{n}{t(n)} = \frac{1}{t_1}\cdot\frac{n}{n + n_{1/2}},\qquad
# n_{1/2} = \frac{t_0}{t_1}.$$
#
# The **latency** $t(n)$ only grows with $n$. The **throughput** $r(n)$, rows a second, grows too, but only up to
# $1/t_1$; with $n_{1/2}$ rows half of that is reached (Hockney and Jesshope, *Parallel Computers*, 1988).
#
# > **What would you expect?** How much longer does a call take with 32 rows than with one: 32 times, 10 times, twice?
#
# ### Versions, timed
#
# The same weights called in three ways: `model.predict`, which checks everything that it is given; and predictors,
# frozen copies that do nothing but predict, on the NumPy engine and on the fastest one of this machine.

# %%
readable = copy.deepcopy(model)
readable.compile("adam", "binary_crossentropy", engine="numpy")
ways = {"numpy predictor": readable.predictor(), "predict, with its checks": model.predict}
if not why_not("numba"):
    ways["numba predictor"] = model.predictor()

rows = np.concatenate([X] * 3)[:1024]
sizes = (1, 2, 4, 8, 16, 32, 64, 128, 256)
seconds = {name: [] for name in ways}
for n in sizes:
    batch = rows[:n].copy()
    calls = {name: lambda way=way, batch=batch: way(batch) for name, way in ways.items()}
    timings = timing.compare(calls, validate=timing.close(1e-5), budget_seconds=0.3).timings
    for name, timed in timings.items():
        seconds[name].append(timed.median)
charts.curves({name: (sizes, 1e6 * np.array(taken)) for name, taken in seconds.items()},
              "Latency of a call, 30-64-64-1", "rows in the call", "us a call", logx=True, logy=True)  # fmt: skip

# %% [markdown]
# The curves begin flat: up to some tens of rows, a row more costs next to nothing, because what a call pays once is
# most of it. The line is the formula's: two numbers, fitted to each curve, say it all.

# %%
fits = {name: np.polyfit(sizes, taken, 1, w=1 / np.array(taken)) for name, taken in seconds.items()}
for name, (t1, t0) in fits.items():
    off = np.max(np.abs(np.polyval((t1, t0), sizes) / seconds[name] - 1))
    print(f"{name:25} t0 {1e6 * t0:6.2f} us   t1 {1e9 * t1:6.1f} ns a row   n1/2 {t0 / t1:4.0f} rows   "
          f"(off by {off:.0%} at most)")  # fmt: skip
name = "numpy predictor" if why_not("numba") else "numba predictor"
t1, t0 = fits[name]
n = np.array(sizes)
rates = {f"{name}, measured": n / np.array(seconds[name]) / 1e6, "the formula": n / (t0 + n * t1) / 1e6}
charts.curves({what: (n, rate) for what, rate in rates.items()},
              "Throughput", "rows in the call", "million rows a second", logx=True)  # fmt: skip

# %%
taken = seconds[name]
print(f"32 rows take {taken[sizes.index(32)] / taken[0]:.1f} times as long as one")
assert taken[sizes.index(32)] < 16 * taken[0]  # far from 32 times: rows share a call
assert taken[-1] > taken[0]                    # but latency never falls

# %% [markdown]
# ### Error
#
# Does a row's answer depend on who it travels with? In exact arithmetic no. In floating point a matrix product may
# add in another order for a batch of another size, and the last bits differ: harmless, but who compares bits must
# know it.

# %%
exact = readable.predictor("float64")(rows[:256])
for name in [name for name in ways if "predictor" in name]:
    print(f"{name}: off by {np.abs(ways[name](rows[:256]) - exact).max():.1e} at most, beside float64")
    together = ways[name](rows[:256])
    for n in (1, 4, 16, 64):
        apart = np.concatenate([ways[name](rows[start : start + n]) for start in range(0, 256, n)])
        different = np.count_nonzero(apart != together)
        print(f"   {n:2} rows at a time: {different:3} of 256 answers differ in a bit or more")
        assert np.abs(apart - exact).max() < 1e-5

# %% [markdown]
# minidl's own kernels go through the inputs in one order whatever the batch, so their bits stay; a BLAS chooses by
# size.

# %% [markdown]
# ### A bound on the time
#
# In practice somebody waits, so the question is: *the most rows a second, while 99 of 100 calls stay within a bound.*
# Look at the 99th percentile, not the mean: that is what the unlucky see. `minidl.tune.batch_size` measures it, every
# call by itself, all sizes in turns.

# %%
fastest = ways["numpy predictor" if why_not("numba") else "numba predictor"]
bound_ms = float(f"{8e3 * taken[0]:.1g}")  # some eight times a call of one row
best = minidl.tune.batch_size(fastest, rows, latency_ms=bound_ms, seconds=3, verbose=0)
best.plot()

# %%
print(best.note)
table = best.found.set_index("rows")
assert table.rows_per_second.max() > 2 * table.rows_per_second[1]

# %% [markdown]
# ### The ceiling
#
# What would $t_1$ be if nothing but arithmetic took time? Each row needs $2\sum i\,o$ operations.

# %%
if why_not("numba"):
    print("the ceiling is measured with Numba's help:", why_not("numba"))
else:
    from minidl.bench import ceilings

    operations = 2 * (30 * 64 + 64 * 64 + 64)
    peak = ceilings.measure(seconds=2).peak("float32", "all")
    print(f"{operations:,} operations a row, and all cores do {peak:.0f} GFLOP/s at most: {operations / peak:.1f} ns")
    print(f"Measured: {1e9 * t1:.1f} ns a row")
    print(f"The most rows a second above: {table.rows_per_second.max() * operations / 1e9 / peak:.0%} of the ceiling.")
    assert 1e9 * t1 > 0.5 * operations / peak

# %% [markdown]
# ## Against convergence
#
# So a larger batch is computed faster. In training there is another side: an epoch with larger batches has *fewer
# steps*. Is each of them worth more?
#
# ### The formula
#
# A batch of $B$ rows gives an estimate $g_B$ of the gradient $g$ over all $N$ rows. Rows are drawn without putting
# them back, and so the squared length of the estimate is on average
#
# $$\mathbb{E}\,|g_B|^2 = |g|^2 + \frac{\operatorname{tr}\Sigma}{B}\cdot\frac{N - B}{N - 1},$$
#
# $\Sigma$ being the covariance of the rows' own gradients. The first term is signal, the second noise. They are equal
# near
#
# $$B_\text{noise} = \frac{\operatorname{tr}\Sigma}{|g|^2},$$
#
# the *gradient noise scale* (McCandlish, Kaplan, Amodei, "An empirical model of large-batch training", 2018). Much
# below it a batch of twice the size has half the noise, and twice the step can be dared. Much above it there is no
# noise left to reduce.
#
# A step of plain SGD with learning rate 1 moves the weights by exactly $-g_B$: so that is how we get it out of
# minidl.
#
# > **What would you expect?** Is the noise scale larger at the beginning of a training, or towards its end?

# %%
def gradients(model):
    """The gradient of each row, (rows, parameters)."""
    start, rate = model.get_weights(), model.optimizer.learning_rate
    model.optimizer.learning_rate, found = 1.0, []
    for r in range(len(X)):
        model.set_weights(start)
        model.train_on_batch(X[r : r + 1], y[r : r + 1])
        found.append(np.concatenate([(a - b).ravel() for a, b in zip(start, model.get_weights(), strict=True)]))
    model.set_weights(start)
    model.optimizer.learning_rate = rate
    return np.array(found, np.float64)


rng, N, drawn, scales, epochs = np.random.default_rng(0), len(X), {}, [], 0
batches = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, N])
sgd = network(minidl.SGD(0.01))
for more in (1, 9, 30):
    sgd.fit(X, y, epochs=more, batch_size=16, verbose=0)
    G, epochs = gradients(sgd), epochs + more
    signal, noise = np.sum(G.mean(axis=0) ** 2), G.var(axis=0).sum()
    scales.append(noise / signal)
    inner = G @ G.T  # the squared length of a mean is the mean of the inner products
    chosen = [[rng.permutation(N)[:B] for _ in range(300)] for B in batches]
    found = [np.mean([inner[np.ix_(rows_, rows_)].mean() for rows_ in drawn_]) for drawn_ in chosen]
    drawn[epochs] = np.array(found) / signal, 1 + noise / signal / batches * (N - batches) / (N - 1)
    print(f"after {epochs:2} epochs: loss {sgd.evaluate(X, y, verbose=0):.3f}, noise scale {scales[-1]:4.0f} rows")
lines = {f"after {e} epoch{'s' * (e > 1)}, {what}": (batches, values)
         for e in (1, 40) for what, values in zip(("300 batches drawn", "the formula"), drawn[e], strict=True)}
charts.curves(lines, "How long a batch's gradient is", "rows in the batch", "mean |g_B|² / |g|²", logx=True, logy=True)

# %%
assert scales[-1] > 3 * scales[0]  # the longer it trains, the noisier the rows' gradients are beside their mean
for found, formula in drawn.values():
    assert np.all(np.abs(found / formula - 1)[batches >= 16] < 0.3)

# %% [markdown]
# At the beginning all rows agree where to go, and some ten of them tell as much as all. Later each row pulls its own
# way and the mean is small: large batches pay late in a training, not early. (So one raises the batch size, or lowers
# the learning rate, as a training goes on: Smith, Kindermans, Ying and Le, 2018.)
#
# ### How many epochs
#
# The experiment: train to a given loss with batches of different sizes. Three rules for the learning rate, all the
# same at a batch of 2: it stays as it is; it grows *linearly* with the batch (Goyal and others, "Accurate, large
# minibatch SGD", 2017), since $k$ small steps along nearly one gradient are one step $k$ times as long; it grows with
# the *square root*, which keeps the noise of a step the same.
#
# > **What would you expect?** With batches of 64 in place of 4: how many times as many epochs does each rule need?

# %%
GOAL, MOST, BASE = 0.05, 300, 2
rules = {"fixed": lambda B: 0.02, "linear": lambda B: 0.02 * B / BASE, "root": lambda B: 0.02 * (B / BASE) ** 0.5}
batches = (2, 4, 8, 16, 32, 64, 128, 256, N)


def epochs_to_goal(rule, B, seed, at_a_time=20):
    trained = network(minidl.SGD(rules[rule](B)), seed)
    for before in range(0, MOST, at_a_time):
        losses = np.array(trained.fit(X, y, epochs=at_a_time, batch_size=B, verbose=0).history["loss"])
        if (losses < GOAL).any():
            return before + np.argmax(losses < GOAL) + 1
    return np.nan


print("training", end=" ")
needed = {rule: [] for rule in rules}
for rule, found in needed.items():
    print(rule, end=" ")
    with warnings.catch_warnings(action="ignore"):  # minidl warns of trainings that diverge, and some are to
        found += [np.median([epochs_to_goal(rule, B, seed) for seed in range(3)]) for B in batches]
names = {"fixed": "fixed: 0.02", "linear": "grows as B", "root": "grows as the root of B"}
charts.curves({names[rule]: (batches, found) for rule, found in needed.items()},
              f"Epochs until the loss is below {GOAL}", "rows in a batch", "epochs, median of 3 trainings",
              logx=True, logy=True)  # fmt: skip

# %%
at = {rule: dict(zip(batches, found, strict=True)) for rule, found in needed.items()}
for rule in rules:
    print(f"{names[rule]:25} 64 rows need {at[rule][64] / at[rule][4]:4.1f} times the epochs of 4 rows")
assert at["fixed"][64] > 4 * at["fixed"][4]
assert at["linear"][64] < 2 * at["linear"][4]
assert np.isnan(at["linear"][N])  # too far

# %% [markdown]
# With a fixed learning rate what counts is the number of *steps*: sixteen times the batch, nearly sixteen times the
# epochs, so nothing is won by computing them faster. With the linear rule the number of *epochs* stays the same over
# a long stretch: there a larger batch is free. Then it breaks, suddenly: where a curve ends, some of the three
# trainings did not come there within 300 epochs. The steps have become longer than the valley is wide. (No rule is a
# law. Shallue and others, "Measuring the effects of data parallelism on neural network training", 2019, found the
# stretch and its end with every network and data set that they tried, and no rule that tells beforehand how long it
# is.)
#
# ### The time to a good model
#
# Now both sides meet: *epochs needed* times *seconds an epoch*.

# %%
def seconds_an_epoch(B, epochs=60):
    model = network(minidl.SGD(0.001))
    model.fit(X, y, epochs=1, batch_size=B, verbose=0)
    began = time.perf_counter()
    model.fit(X, y, epochs=epochs, batch_size=B, verbose=0)
    return (time.perf_counter() - began) / epochs


epoch = np.array([min(seconds_an_epoch(B) for _ in range(5)) for B in batches])
total = {names[rule]: (batches, 1e3 * epoch * np.array(found)) for rule, found in needed.items()}
charts.curves({"an epoch": (batches, 1e3 * epoch)}, f"An epoch of {N} rows, engine {model.engine}",
              "rows in a batch", "ms", logx=True, logy=True)  # fmt: skip

# %%
charts.curves(total, f"Time until the loss is below {GOAL}", "rows in a batch", "ms", logx=True, logy=True)

# %%
times_to_goal = np.array(total[names["linear"]][1])
best_batch = batches[int(np.nanargmin(times_to_goal))]
print(f"an epoch in batches of 256 takes {epoch[batches.index(256)] / epoch[0]:.2f} of the time of one in batches of 2")
print(f"fastest to the goal, learning rate scaled: {best_batch} rows in a batch")
assert epoch[batches.index(64)] < epoch[0]

# %% [markdown]
# - With a *fixed* learning rate small batches win, although their epochs take longest.
# - With the rate scaled, the best batch is as large as still converges, and somewhat less to be safe: near the edge a
#   training can fail.
# - 32 to 128 is where most people start, and rightly: epochs are already nearly as fast as they get, and the edge is
#   far.
# - What we measured is the loss on the *training* rows. Whether large batches generalise worse is much disputed
#   (Keskar and others, 2017, and against it Shallue and others, 2019); the 142 rows held back here cannot tell.
#
# ## Exercises
#
# **1.** Rows come one by one, $\lambda$ of them a second, and are collected until there are $n$. The first of them
# then waits $(n - 1)/\lambda$ before its call even begins. With $t_0$ and $t_1$ from above and $\lambda = 0.8/t_1$:
# can you serve them one by one? What is the smallest $n$ with which the queue does not grow?
#
# <details><summary>Solution</summary>
#
# ```python
# arriving = 0.8 / t1
# sizes_ = np.arange(1, 10_000)
# keeps_up = sizes_ / (t0 + sizes_ * t1) > arriving      # as many answered as come
# smallest = sizes_[keeps_up][0]
# assert not keeps_up[0]
# assert abs(smallest - 4 * t0 / t1) <= 2                # n / (n + n_half) > 0.8 for n > 4 n_half
# wait = (smallest - 1) / arriving + t0 + smallest * t1
# print(f"{smallest} rows; the first of them has its answer after {1e6 * wait:.0f} us")
# ```
#
# One by one does not do: a call answers $1/(t_0 + t_1)$ a second. From $n > 4\,n_{1/2}$ on it does, and everybody
# waits for it: a batch buys throughput with latency.
#
# </details>
#
# **2.** The formula for $|g_B|^2$ has the factor $(N - B)/(N - 1)$. Draw *with* putting back and see it disappear.
#
# <details><summary>Solution</summary>
#
# ```python
# B = 256
# with_back = np.mean([np.sum(G[rng.integers(N, size=B)].mean(axis=0) ** 2) for _ in range(500)])
# without = np.mean([np.sum(G[rng.permutation(N)[:B]].mean(axis=0) ** 2) for _ in range(500)])
# assert abs(with_back / (signal + noise / B) - 1) < 0.2
# assert without < with_back
# ```
#
# Who draws without putting back, as `fit` does in each epoch, has less noise: at $B = N$ none.
#
# </details>
#
# **3.** Does Adam need the learning rate scaled? Repeat the experiment with `minidl.Adam(0.001)` for 4 and 64 rows.
#
# <details><summary>Solution</summary>
#
# ```python
# def with_adam(B, rate):
#     losses = np.array(network(minidl.Adam(rate)).fit(X, y, epochs=150, batch_size=B, verbose=0).history["loss"])
#     return np.argmax(losses < GOAL) + 1
#
# few, many, scaled = with_adam(4, 0.001), with_adam(64, 0.001), with_adam(64, 0.004)
# print(few, many, scaled)
# assert few < many                   # fewer steps an epoch
# assert scaled < many                # the root of 16 is 4
# ```
#
# It does. Adam divides by the gradient's size, so that a step is about the learning rate long whatever the batch; for
# it the square root is the usual rule (Malladi and others, 2022).
#
# </details>
#
# **Next:** 09, where the time goes when arrays are small, and how to get it back.
