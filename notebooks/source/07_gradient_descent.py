# %% [markdown]
# # 07 · Gradient descent
#
# **At the end you will know** what SGD, momentum, Nesterov and Adam do to a weight and what each is good for; how large
# a learning rate may be, and why; and that an optimizer's time can be told from its bytes before it is measured, for
# NumPy's version as well as for a compiled one. It takes twenty minutes.
#
# A gradient says which way is up. All that is left is to go the other way: how far, and whether to remember where one
# came from. Each optimizer is a few lines, the same for every weight.

# %%
import itertools

import numpy as np
import pandas as pd
from IPython.display import display
from threadpoolctl import threadpool_limits

import minidl
from minidl import data
from minidl.bench import ceilings, charts, operations, surfaces, timing
from minidl.contract import OPERATIONS
from minidl.engines import why_not
from minidl.formulas import FORMULAS

engines = {name: minidl.get_engine(name) for name in ("numpy", "numba") if not why_not(name)}
numpy = engines["numpy"]
print("engines here:", ", ".join(engines))
if "numba" not in engines:
    print("what needs Numba is left out below:", why_not("numba"))

# %% [markdown]
# ## The formulas
#
# $\theta$ is a weight, $g$ the slope of the loss by it, $\eta$ the learning rate; what has a dash is the value after
# the step. **SGD** goes downhill (the S is for *stochastic*: the slope is that of a batch and not of all rows):

# %%
FORMULAS["sgd"]

# %% [markdown]
# **Momentum** (Polyak, 1964) is a heavy ball. It has a velocity $v$, of which a share $\mu$ stays at each step:

# %%
FORMULAS["momentum"]

# %% [markdown]
# **Nesterov** (1983) looks one step ahead:

# %%
FORMULAS["nesterov"]

# %% [markdown]
# **Adam** (Kingma and Ba, 2015) remembers a mean $m$ of the gradients and a mean $v$ of their squares, and divides the
# one by the root of the other. So each weight has a step of its own, about as long as the learning rate, however large
# or small its gradients are. The factor in front takes out that both means begin at 0.

# %%
FORMULAS["adam"]

# %% [markdown]
# ## The versions
#
# In NumPy they read like the formulas. In Numba all is in one loop: a weight is loaded once, changed, and stored once.
# Keep that difference in mind for later.

# %%
minidl.explain("momentum", short=True)

# %% [markdown]
# ## Paths on a loss surface
#
# Two weights can be looked at. Here is a real loss: of 569 tumours two numbers are known, how concave the outline of
# the nuclei is and how many concave points it has, both brought to one scale, and a straight line is to tell from them
# whether a tumour is benign. The loss is the mean squared error, so its surface is a bowl: with the distances $d$ of
# the two weights from the best ones, it lies $\tfrac12\, d^{\mathsf T} H\, d$ above its lowest point.

# %%
X, y = data.load_breast_cancer()
scaled = (X - X.mean(axis=0)) / X.std(axis=0)


def curvature(first, second):
    """H of the squared error with these two columns, and its curvature where it is flattest and steepest."""
    pair = scaled[:, [first, second]].astype(float)
    H = 2 * pair.T @ pair / len(pair)
    return H, *np.linalg.eigvalsh(H)


def height(H):
    """The loss above its lowest point, of arrays of first and of second distances."""
    return lambda a, b: (H[0, 0] * a * a + 2 * H[0, 1] * a * b + H[1, 1] * b * b) / 2


H, flat, steep = curvature(6, 7)
print(f"the two are correlated by {H[0, 1] / 2:.2f}")
print(f"curvature across the valley {steep:.2f}, along it {flat:.2f}: {steep / flat:.0f} times as steep")

# %% [markdown]
# Both numbers tell nearly the same, so moving one weight up and the other down changes little: the bowl is a long
# narrow valley. Bringing each to mean 0 and deviation 1, as `Normalization` does, has not helped, since the valley lies
# askew.
#
# Along a direction with curvature $\lambda$ the slope is $\lambda$ times the distance $d$ from the bottom, and a step
# of SGD makes
#
# $$d' = d - \eta \lambda d = (1 - \eta \lambda)\,d.$$
#
# It shrinks if $\eta < 2 / \lambda$. The *steepest* direction sets that limit, and the *flattest* one, for which this
# $\eta$ is small, decides how long it all takes. The quotient of the two curvatures, $\kappa$, is the *condition
# number*.
#
# > **What would you expect?** What does the path of SGD look like for $\eta = 0.2$, $1$ and $1.9$ times
# > $1 / \lambda_\text{max}$? And that of the heavy ball?

# %%
def make(name, rate, mu=0.5):
    """An optimizer for two weights, with the slots that it remembers."""
    v, m, t = np.zeros(2), np.zeros(2), itertools.count(1)
    return {
        "SGD": lambda d, g: numpy.sgd(d, g, rate),
        "momentum": lambda d, g: numpy.momentum(d, g, v, rate, mu),
        "Nesterov": lambda d, g: numpy.nesterov(d, g, v, rate, mu),
        "Adam": lambda d, g: numpy.adam(d, g, m, v, next(t), rate, 0.9, 0.999, 1e-7),
    }[name]


def descend(step, H, steps=40, start=(-1.0, 0.2)):
    """The points on the way down."""
    path = [np.array(start)]
    for _ in range(steps):
        d = path[-1].copy()
        step(d, H @ d)
        path.append(d)
    return np.array(path)


chosen = {"SGD": 1.9 / steep, "momentum": 1 / steep, "Nesterov": 1 / steep, "Adam": 0.1}
rates = {f"SGD, {c:g} / steepest": c / steep for c in (0.2, 1, 1.9)}
panels = {
    "Three learning rates": {name: descend(make("SGD", rate), H) for name, rate in rates.items()},
    "Four optimizers": {name: descend(make(name, rate), H) for name, rate in chosen.items()},
}
axes = [f"weight of the {what}, from the best" for what in ("concavity", "concave points")]
surfaces.of_paths(panels, height(H), *axes)

# %% [markdown]
# (Each line is the same multiple of the one within it, and each marker is a step.) A small rate slides down the wall
# and then creeps along the floor. A rate near the limit jumps from wall to wall, and moves along the floor as fast as
# SGD can. The heavy ball lets the jumps, which point to and fro, cancel each other, and the small steps along the floor
# add up. Adam begins straight along the diagonal, each weight with the same step, whatever the slopes are; and then it,
# too, has momentum.
#
# How long will it take? Of the directions the slowest counts, so with its best rate SGD's distance shrinks by
# $(\kappa - 1) / (\kappa + 1)$ in each step, and with the best $\eta$ and $\mu$ the heavy ball's by
# $(\sqrt\kappa - 1) / (\sqrt\kappa + 1)$ (Polyak, 1964). Note the root.
#
# A second valley, made of the radius of the nuclei and their perimeter, which are nearly the same thing, is far
# narrower. And each of the two is tried in another position as well, turned so that it lies *along the axes*: then one
# weight is steep and the other flat, as if one number had been given in other units.
#
# > **What would you expect?** How many steps until the loss is a millionth of what it was above the lowest? And for
# > which of the four does it matter how the valley lies?

# %%
def steps_needed(name, H, rate, mu, most):
    """Steps until the loss stays below a millionth of the first one."""
    above = height(H)(*descend(make(name, rate, mu), H, most).T)
    return int(np.flatnonzero(above > 1e-6 * above[0])[-1]) + 1


lines = {}
for columns in ((6, 7), (0, 2)):
    H, flat, steep = curvature(*columns)
    root = np.sqrt(steep / flat)  # of the condition number
    theory = {"SGD": (root**2 - 1) / (root**2 + 1), "momentum": (root - 1) / (root + 1)}
    best = {  # learning rate and momentum by theory
        "SGD": (2 / (steep + flat), 0),
        "momentum": (4 / (np.sqrt(steep) + np.sqrt(flat)) ** 2, theory["momentum"] ** 2),
        "Nesterov": (1 / steep, theory["momentum"]),
    }
    lines[f"{root**2:.0f}, theory"] = {name: np.log(1e-6) / (2 * np.log(f)) for name, f in theory.items()}
    for lies, valley in {"askew": H, "along the axes": np.diag([flat, steep])}.items():
        needed = {name: steps_needed(name, valley, *numbers, 4000) for name, numbers in best.items()}
        tried = np.geomspace(0.02, 1, 20)  # of Adam there is no theory
        needed["Adam"] = min(steps_needed("Adam", valley, rate, 0, 700) for rate in tried)
        lines[f"{root**2:.0f}, {lies}"] = needed
table = pd.DataFrame(lines).rename_axis("condition number:", axis=1)
table.map(lambda steps: "" if np.isnan(steps) else f"{steps:,.0f}")

# %%
by_theory, askew, along = (table[name] for name in table.columns[3:])
assert abs(askew["SGD"] / by_theory["SGD"] - 1) < 0.15
assert askew["momentum"] < askew["SGD"] / 5
assert along["Adam"] < 0.7 * askew["Adam"]
assert askew["momentum"] < askew["Adam"]

# %% [markdown]
# The theory of SGD is right almost to the step, and momentum's root is real (its first steps are slower than its
# theory, which is about the late ones). To these and to Nesterov it is nearly the same how a valley lies: they know
# nothing of axes. Adam does. It takes the measure of each *weight* by itself, so along the axes the narrow valley costs
# it no more steps than the wide one; askew, several times as many.
#
# And it is no miracle: in the wide valley even SGD arrives sooner, and where a valley lies askew the heavy ball is well
# ahead. But their rates have been computed from the curvatures. Of a real network nobody knows these, they change on
# the way, and they differ from layer to layer. Adam wants one number, the length of a step, and finds the rest.
#
# Here is the same on a whole network, 30-16-1, with real data, in minidl's own words:

# %%
in_words = {"SGD": minidl.SGD(0.1), "momentum": minidl.SGD(0.1, momentum=0.9),
            "Nesterov": minidl.SGD(0.1, momentum=0.9, nesterov=True), "Adam": minidl.Adam(0.01)}  # fmt: skip
curves = {}
for name, optimizer in in_words.items():
    layers = [minidl.Normalization(), minidl.Dense(16, "tanh"), minidl.Dense(1, "sigmoid")]
    model = minidl.Sequential(layers, seed=0)
    model.compile(optimizer, "binary_crossentropy")
    losses = model.fit(X, y, epochs=20, batch_size=64, verbose=0).history["loss"]
    curves[name] = (range(1, 21), losses)
charts.curves(curves, "Four optimizers on the diagnosis data", "epoch", "loss (nats)", logy=True)

# %%
assert min(curves[name][1][-1] for name in ("momentum", "Nesterov", "Adam")) < curves["SGD"][1][-1]

# %% [markdown]
# ## The error
#
# One step of each, against its formula with 40 digits, in units of rounding of the largest entry:

# %%
names = ("sgd", "momentum", "nesterov", "adam", "adamw")
measured = {name: {key: operations.error(engine, name) for key, engine in engines.items()} for name in names}
for name in names:
    assert max(measured[name].values()) <= OPERATIONS[name].bound, name
pd.DataFrame(measured).T.assign(bound=[OPERATIONS[name].bound for name in names]).map("{:.2f}".format)

# %% [markdown]
# A step is exact enough. But training adds up very many small ones, and a sum from left to right has an illness that
# you know from chapter 04.
#
# > **What would you expect?** A weight of 1 with a constant slope of 1, 100,000 steps with a learning rate of
# > $10^{-8}$. Where is it at the end, in float64 and in float32?

# %%
for kind in (np.float64, np.float32):
    theta, g = np.ones(1, kind), np.ones(1, kind)
    for _ in range(100_000):
        numpy.sgd(theta, g, 1e-8)
    print(f"{kind.__name__}: {theta[0]:.6f}")
assert theta[0] == 1

# %% [markdown]
# In float32 it has not moved at all: each step is smaller than half the distance to the next float, and is rounded
# away. Steps that are small beside their weights, below $2^{-25}$ of them, do nothing. In float32 that is seldom a
# matter; in a float16 it is below $2^{-12}$, and happens all the time. That is why training in 16 bits keeps its
# weights in 32 (Micikevicius and others, *Mixed precision training*, 2018).
#
# ## Time: an optimizer is a memory problem
#
# Count for one weight, in float32. Adam does a dozen operations with seven numbers that come and go:
#
# | | reads | writes | bytes | operations |
# |---|---|---|---|---|
# | SGD | $\theta, g$ | $\theta$ | 12 | 2 |
# | momentum | $\theta, g, v$ | $\theta, v$ | 20 | 4 |
# | Nesterov | $\theta, g, v$ | $\theta, v$ | 20 | 7 |
# | Adam | $\theta, g, m, v$ | $\theta, m, v$ | 28 | 12 |
#
# Less than half an operation for each byte: whatever the machine, its arithmetic will wait (chapter 02). Then the time
# is bytes divided by the bandwidth of the level that holds the arrays, and the *rate* is the same for all of them.
#
# > **What would you expect?** How many times as long as SGD does Adam take? And if bytes are all that counts: what do
# > the four curves look like, as bytes a second over the size?

# %%
moved = {"SGD": 12, "momentum": 20, "Nesterov": 20, "Adam": 28}  # bytes for each weight
kept = {"SGD": 8, "momentum": 12, "Nesterov": 12, "Adam": 16}  # bytes of all its arrays
sizes = [2**power for power in range(10, 25, 2)]


def rivals_of(engine, K):
    """A step of each optimizer on K weights."""
    theta, g, m, v = np.random.default_rng(0).standard_normal((4, K), np.float32)
    v = v * v  # a mean of squares
    return {
        "SGD": lambda: engine.sgd(theta, g, 1e-4),
        "momentum": lambda: engine.momentum(theta, g, m, 1e-4, 0.9),
        "Nesterov": lambda: engine.nesterov(theta, g, m, 1e-4, 0.9),
        "Adam": lambda: engine.adam(theta, g, m, v, 10, 1e-4, 0.9, 0.999, 1e-7),
    }


seconds = {name: {} for name in engines}
for (name, engine), K in itertools.product(engines.items(), sizes):
    found = timing.compare(rivals_of(engine, K), repeat=(5, 60), budget_seconds=0.15)
    seconds[name][K] = {optimizer: its.median for optimizer, its in found.timings.items()}

# %%
if "numba" in engines:
    ceiling = ceilings.measure(seconds=3)
    lines = {}
    for name in moved:
        rates = [moved[name] * K / seconds["numba"][K][name] / 1e9 for K in sizes]
        lines[name] = ([kept[name] * K for K in sizes], rates)
    footprints = np.geomspace(8 * sizes[0], 16 * sizes[-1], 300)
    levels = [ceiling.bandwidth(ceiling.holding(size), "update") for size in footprints]
    lines["measured bandwidth"] = (footprints, levels)
    title = "Bytes a second of four optimizers, one core"
    display(charts.curves(lines, title, "bytes of all arrays", "GB/s", logx=True, logy=True))

# %% [markdown]
# On the left the price of the call shows, a microsecond or two for a few thousand bytes. In the middle, where the
# arrays lie in a cache, Adam falls behind: a root and a division for each weight take their time, and from a cache the
# bytes come fast enough to show it. On the right, where the arrays of large models lie, the four draw together:
# **whatever they compute, they take about the time of their bytes.** (The bandwidth is that of numbers updated in
# place, $x \leftarrow x + a$. Between caches bytes go both ways at once, so it is higher there than that of a copy. A
# line may lie above it where the arrays have just outgrown a cache: a part of them still lies in the L3.)
#
# Does that also hold for NumPy? Its Adam is a dozen passes through arrays. Count them in the source: `g - m` reads two
# and writes one, 12 bytes; times a number, 8; and so on. It moves 120 bytes for each weight, and SGD, in two passes,
# 20.

# %%
through = {"numpy": {"SGD": 20, "momentum": 40, "Nesterov": 68, "Adam": 120}, "numba": moved}
K, rows = sizes[-1], {}
for optimizer in moved:
    row = {}
    for name in engines:
        taken, byte = seconds[name][K], through[name]
        row[f"{name}: bytes"] = f"{byte[optimizer]}"
        row[f"{name}: times SGD's"] = f"{byte[optimizer] / byte['SGD']:.2f}"
        row[f"{name}: measured"] = f"{taken[optimizer] / taken['SGD']:.2f}"
    rows[optimizer] = row
for name in engines:
    print(f"{name}: Adam takes {1e3 * seconds[name][K]['Adam']:.3g} ms for {K:,} weights")
pd.DataFrame(rows).T

# %%
for name in engines:
    taken, byte = seconds[name][K], through[name]
    assert 0.4 < (taken["Adam"] / taken["SGD"]) / (byte["Adam"] / byte["SGD"]) < 2.5
if "numba" in engines:
    slower = seconds["numpy"][K]["Adam"] / seconds["numba"][K]["Adam"]
    least = max(ceiling.limits(0, moved["Adam"] * K, held=kept["Adam"] * K).values())
    print(f"Adam: {slower:.1f} times as long in NumPy, {120 / 28:.1f} by the bytes")
    print(f"Adam in Numba reaches {least / seconds['numba'][K]['Adam']:.0%} of the measured bandwidth")
    assert slower > 1.5

# %% [markdown]
# The bytes tell the ratios before anything has run. (NumPy takes somewhat longer still: its temporaries are new arrays,
# which the system has to hand over page by page.) Making the arithmetic cleverer would gain little. What helps is to
# move less: all in one loop, slots in 16 or 8 bits (Dettmers and others, *8-bit optimizers via block-wise
# quantization*, 2022), or an optimizer that remembers less.
#
# ## Does it matter?
#
# A training step of 784-256-128-1 has some 234,000 weights. Adam goes through all of them after each batch, whether the
# batch has 8 rows or 512, while the matrix products grow with the rows.
#
# > **What would you expect?** How much longer does a step take with Adam than with SGD, in NumPy: at 8 rows, and at
# > 512?

# %%
batches, rows = (8, 32, 128, 512), {}
rng = np.random.default_rng(0)
X_made, y_made = rng.standard_normal((2048, 784), np.float32), rng.integers(0, 2, (2048, 1))
for batch in batches:
    models = {"SGD": minidl.SGD(0.01), "Adam": minidl.Adam()}
    for name, optimizer in models.items():
        layers = [minidl.Dense(256, "relu"), minidl.Dense(128, "relu"), minidl.Dense(1, "sigmoid")]
        model = minidl.Sequential(layers, seed=0)
        model.compile(optimizer, "binary_crossentropy", engine="numpy")
        models[name] = model
    fits = {name: lambda m=model, b=batch: m.fit(X_made, y_made, epochs=1, batch_size=b, verbose=0)
            for name, model in models.items()}  # fmt: skip
    with threadpool_limits(1, "blas"):
        found = timing.compare(fits, repeat=(5, 50), budget_seconds=0.6)
    # The least of all samples: the difference of two medians would be their noise.
    sgd, adam = (1e6 * its.least / (2048 // batch) for its in found.timings.values())
    rows[f"{batch} rows"] = {"SGD, us": sgd, "Adam, us": adam, "difference, us": adam - sgd}
table = pd.DataFrame(rows).T
table["in %"] = 100 * table["difference, us"] / table["SGD, us"]
table.map("{:,.0f}".format)

# %%
K = model.count_params()
rate = ceiling.bandwidth(ceiling.holding(16 * K), "update") if "numba" in engines else None
for name in engines:
    more = K * (through[name]["Adam"] - through[name]["SGD"])
    bound = f", {more / rate / 1e3:.0f} us by the bytes" if rate else ""
    print(f"{name}: Adam moves {more / 1e6:.1f} MB more than SGD for each step{bound}")
assert table["in %"].iloc[0] > table["in %"].iloc[-1]

# %% [markdown]
# The difference is of the size that the bytes say, and much the same for every batch. At 512 rows it drowns among the
# products; at 8 rows it is a good part of all the time. "Adam is slow" and "the
# optimizer costs nothing" are both true, of different batch sizes. The next chapter is about them.
#
# ## Exercises
#
# **1.** Take SGD on the narrow valley (`H` and `steep` from above) with a rate of $1.99$ and of $2.01$ times $1 /
# \lambda_\text{max}$, 300 steps each. How far above the lowest point do they end?
#
# <details><summary>Solution</summary>
#
# ```python
# for share in (1.99, 2.01):
#     above = height(H)(*descend(make("SGD", share / steep), H, 300).T)
#     print(f"{share} / steepest: {above[-1] / above[0]:.1e} of the first loss")
# inside, outside = (height(H)(*descend(make("SGD", c / steep), H, 300).T) for c in (1.99, 2.01))
# assert inside[-1] < inside[0] / 100
# assert outside[-1] > outside[0] / 10
# assert outside[-1] > outside[100]
# ```
# One per cent to either side of the limit decides between down and up. In a real network the curvature changes along
# the way, and a rate that was safe may not stay so.
# </details>
#
# **2.** AdamW shrinks the weights a little before Adam's step. Look at it by `minidl.explain("adamw")`. How many bytes
# more does Numba's version move than Adam, how much longer should it take, and how much longer does it?
#
# <details><summary>Solution</summary>
#
# ```python
# theta, g, m, v = np.random.default_rng(0).standard_normal((4, 2**22), np.float32)
# v, engine = v * v, engines.get("numba", numpy)
# both = timing.compare({
#     "Adam": lambda: engine.adam(theta, g, m, v, 10, 1e-4, 0.9, 0.999, 1e-7),
#     "AdamW": lambda: engine.adamw(theta, g, m, v, 10, 1e-4, 0.9, 0.999, 1e-7, 0.004),
# })
# longer = both.speedups["AdamW"].inverse().value
# print(f"AdamW takes {longer:.2f} times as long as Adam")
# assert longer < 2
# ```
# None, where Numba runs: $\theta$ is in a register for Adam's step anyhow, and shrinking it there moves no byte. In a
# loop of its own it would go through $\theta$ a second time, 36 bytes a weight instead of 28, as NumPy's does with a
# pass of its own.
# </details>
#
# **3.** A model of 7 billion weights is trained with Adam, all in float32. How much memory do weights, gradients and
# slots take, and how long is one step of the optimizer at least on an NVIDIA H100 SXM, whose maker says 3.35 TB/s?
#
# <details><summary>Solution</summary>
#
# ```python
# weights = 7e9
# print(f"{16 * weights / 1e9:.0f} GB, more than the 80 GB that an H100 has")
# print(f"{28 * weights / 3.35e12 * 1e3:.0f} ms a step, if they were there")
# assert 16 * weights > 80e9
# ```
# Weights, gradients and two slots are 16 bytes each. So for large models the optimizer is a memory problem in both
# senses, and its slots are shared out among many GPUs (Rajbhandari and others, *ZeRO*, 2020).
# </details>
#
# Next: [08 · Batch size](08_batch_size.ipynb).
