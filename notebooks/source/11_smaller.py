# %% [markdown]
# # 11 · Smaller: int8 and pruning
#
# **At the end you will know** how a network is put into whole numbers, formula by formula and to the bit; how many
# decibels that costs and why a bit is worth six of them; when leaving weights out saves time, and when it only looks
# so. It takes about twenty minutes, half a minute of them computing.
#
# Chapters 05 and 09 made the same arithmetic faster. This one does *less* of it: with smaller numbers, or with fewer.

# %%
import minidl

minidl.get_engine("numba")  # this chapter needs it; where it cannot run, this line says why

import textwrap
import warnings
from functools import partial

import numpy as np

from minidl import data
from minidl.bench import ceilings, charts, listings, machine, recorded, timing
from minidl.engines.numpy_engine import int8 as by_formula
from minidl.words import duration

X, X_test, y, y_test = data.train_test_split(*data.load_breast_cancer(), seed=0)
hidden = [minidl.Dense(256, "relu"), minidl.Dense(128, "relu"), minidl.Dense(1, "sigmoid")]
model = minidl.Sequential([minidl.Normalization(), *hidden], seed=0)
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
model.fit(X, y, epochs=20, verbose=0)
loss, accuracy = model.evaluate(X_test, y_test, verbose=0)
print(f"{machine.processor()}, {machine.cores()} cores")
print(f"30-256-128-1: {accuracy:.1%} of {len(X_test)} rows held back; one row is {1 / len(X_test):.1%}")

# %% [markdown]
# ## Whole numbers
#
# ### The formula
#
# Lay a grid of 256 steps over the range in which numbers lie, and store for each number the step that it is nearest
# to. A step is $\Delta$ wide, and the step called $q_0$ is zero, exactly (so that a ReLU's zeros stay zeros):

# %%
minidl.formulas.FORMULAS["quantize"]

# %% [markdown]
# A byte in place of four. What is lost is at most half a step, as long as the number lies within the range; what lies
# beyond becomes its end, and there the loss has no bound.

# %%
step, zero = np.float32(0.5), 4
x = np.linspace(-3, 6, 721, dtype=np.float32)
q = np.clip(np.rint(x / step) + zero, 0, 15)        # 16 steps here, so that they can be seen
back = (q - zero) * step
charts.curves({"x": (x, x), "its step": (x, back), "what is lost": (x, x - back)},
              "A grid of 16 steps of 0.5, from -2 to 5.5", "x", "value")  # fmt: skip

# %%
inside = (x >= -2) & (x <= 5.5)
assert np.abs(x - back)[inside].max() <= step / 2
assert np.abs(x - back)[~inside].max() > step / 2

# %% [markdown]
# Weights get a grid as well, one for each unit, with zero in its middle ($q_0 = 0$, steps from -127 to 127). Put both
# grids into a layer's sum, and everything that depends on $k$ is whole numbers (Jacob and others, 2018, equation 7):
#
# $$\sum_k x_k W_{ku} + b_u = \underbrace{\Delta_x \Delta_u}_{\text{a number a unit}}
# \Big(\underbrace{\sum_k q_k W'_{ku}}_{\text{int8 products, int32 sums}} + c_u\Big),\qquad
# c_u = \operatorname{round}\frac{b_u}{\Delta_x \Delta_u} - q_0 \sum_k W'_{ku}.$$
#
# ### Versions side by side
#
# Quantize the network that was trained above. A few hundred rows show it which range the inputs of each layer have:

# %%
whole = minidl.quantize(model, X)
whole.report

# %% [markdown]
# Now its first layer by hand, in NumPy, from the formulas alone, and beside it what minidl computes:

# %%
layer = whole.layers[0]
z = ((X_test - layer.mean) / layer.deviation).astype(np.float32)
Q = np.clip(np.rint(z / layer.x_scale) + layer.x_zero, 0, 255).astype(np.uint8)
S = Q.astype(np.int64) @ layer.W.astype(np.int64)
c = np.rint(layer.bias / layer.factor.astype(np.float64)).astype(np.int64) - layer.x_zero * layer.W.sum(axis=0)
by_hand = layer.factor * (S + c).astype(np.float32)

for name in ("numpy", "numba"):
    engine = minidl.get_engine(name)
    sums = engine.dense_int8(engine.quantize(z, layer.x_scale, layer.x_zero), layer.W)
    assert np.array_equal(sums, S)                  # to the bit: whole numbers have no rounding
    assert np.array_equal(engine.dequantize(sums, layer.offset, layer.factor), by_hand)
    print(f"{name}: {sums.size:,} sums, all equal to the ones by hand, from {sums.min():,} to {sums.max():,}")

# %% [markdown]
# **Exact**, in every engine, in any order, with any number of threads: that is a comfort that floating point does not
# have. How a network goes through all its layers without leaving whole numbers is a page of NumPy:

# %%
listings.python(by_formula.forward_static, "Between layers a sum becomes the next layer's input: requantize.",
                also=(by_formula.requantize, by_formula.steps, by_formula.as_uint8))  # fmt: skip

# %% [markdown]
# ### Error, in decibels
#
# Within the range the loss is spread evenly over a step, so its mean square is $\Delta^2/12$ (Bennett, 1948). Beside
# a signal of mean square $\overline{x^2}$ that is, in decibels,
#
# $$\text{SQNR} = 10 \log_{10} \frac{\overline{x^2}}{\Delta^2/12},$$
#
# and since a bit more halves the step, **each bit is worth $20\log_{10} 2 \approx 6.02$ dB**.
#
# > **What would you expect?** With how many bits does the formula stop being true?

# %%
numbers = z.ravel()
low, high = numbers.min(), numbers.max()
bits = np.arange(1, 13)
measured, formula = [], []
for b in bits:
    delta = (high - low) / (2.0**b - 1)
    rounded = low + delta * np.rint((numbers - low) / delta)
    measured.append(10 * np.log10(np.mean(numbers**2) / np.mean((numbers - rounded) ** 2)))
    formula.append(10 * np.log10(np.mean(numbers**2) / (delta**2 / 12)))
charts.curves({"measured": (bits, measured), "the formula": (bits, formula)}, "The first layer's inputs in few bits",
              "bits", "signal to noise in dB", from_zero=False)  # fmt: skip

# %%
at = dict(zip(bits, measured, strict=True))
print(f"8 bits: {at[8]:.1f} dB measured, {formula[7]:.1f} dB by the formula; a bit more brings {at[9] - at[8]:.2f} dB")
assert abs(at[8] - formula[7]) < 1
assert 5 < at[9] - at[8] < 7

# %% [markdown]
# With one or two bits the numbers do not spread evenly over a step any more. From a few bits on, the formula is good
# to a fraction of a decibel.
#
# The report above gives the same measure for each layer's *output*. Some 40 dB say: the noise is a hundredth of the
# signal. What does the answer make of it?

# %%
p, p_whole = model.predict(X_test), whole.predict(X_test)
changed = np.count_nonzero((p > 0.5) != (p_whole > 0.5))
print(f"probabilities move by {np.abs(p - p_whole).max():.4f} at most, by {np.abs(p - p_whole).mean():.5f} on average")
print(f"{changed} of {len(p)} decisions change")
assert np.abs(p - p_whole).max() < 0.1
assert changed <= 3

# %% [markdown]
# ### The range is a choice
#
# One wild number in the calibration data stretches the range, and all others get coarser steps. Here a hundredth of
# the rows has one feature 30 times too large. "minmax" takes the range of everything; "percentile" leaves out the
# outermost 0.01% on each side; "entropy" chooses the range that changes the distribution least (Migacz, 2017).
#
# > **What would you expect?** Which of the three is hurt most, and which least?

# %%
wild = X.copy()
wild[::100, 3] *= 30
changes = {}
with warnings.catch_warnings(action="ignore"):  # minidl warns of a layer that loses too much; here one is to
    for method in ("minmax", "percentile", "entropy"):
        for name, rows in (("clean rows", X), ("wild rows too", wild)):
            moved = minidl.quantize(model, rows, method=method).predict(X) - model.predict(X)
            changes[f"{method}, {name}"] = 1e3 * np.sqrt(np.mean(moved**2))
charts.bars(changes, "What the choice of the range costs",
            "root mean square change of the predictions for clean rows, in thousandths")  # fmt: skip

# %%
hurt = {method: changes[f"{method}, wild rows too"] / changes[f"{method}, clean rows"]
        for method in ("minmax", "percentile", "entropy")}  # fmt: skip
print({method: f"{times:.1f} times as noisy" for method, times in hurt.items()})
assert changes["entropy, wild rows too"] < changes["minmax, wild rows too"]

# %% [markdown]
# A percentile can leave out no more than it counts: 0.01% is less than our wild numbers are. And what is left out is
# not free either, it is clipped. The picture of a quantized model shows both, layer by layer:

# %%
whole.plot()

# %% [markdown]
# ### Time against the ceiling
#
# Fewer bytes move, and a processor with an instruction for int8 products does four of them for each multiply-add of
# float32. What does this machine have?

# %%
found = ceilings.measure(seconds=2)
peak = found.peak("float32")
if found.peaks["int8"]:
    int8_peak = found.peak("int8")
    print(f"one core: {peak:.0f} GFLOP/s in float32, {int8_peak:.0f} GOP/s in int8 by {found.int8_instruction}: "
          f"{int8_peak / peak:.1f} times as many")  # fmt: skip
else:
    int8_peak = None
    print("this processor has no instruction for int8 products; minidl computes them in ordinary vectors")

# %% [markdown]
# > **What would you expect?** How much of that does a whole network get, when it is narrow, and when it is wide?

# %%
widths, rows, seconds = (16, 32, 64, 128, 256, 512), 64, {"float32": [], "int8": []}
rng = np.random.default_rng(0)
for w in widths:
    two = minidl.Dense(w, "relu", input_shape=(w,)), minidl.Dense(w, "relu")
    wide, x = minidl.Sequential([*two, minidl.Dense(1)], seed=0), rng.normal(size=(rows, w)).astype(np.float32)
    both = {"float32": wide, "int8": minidl.quantize(wide, x)}
    calls = {name: partial(one.predictor(threads=1), x) for name, one in both.items()}
    timed = timing.compare(calls, budget_seconds=0.3).timings
    for name, one in timed.items():
        seconds[name].append(one.median)
rates = {name: 2 * rows * np.array([2 * w * w + w for w in widths]) / np.array(taken) / 1e9
         for name, taken in seconds.items()}  # fmt: skip
lines = {name: (widths, rate) for name, rate in rates.items()} | {"float32, peak": (widths, [peak] * len(widths))}
if int8_peak:
    lines["int8, peak"] = widths, [int8_peak] * len(widths)
charts.curves(lines, f"Networks w-w-w-1, {rows} rows, one core", "w, units of a layer", "billion operations a second",
              logx=True, logy=True)  # fmt: skip

# %%
gain = np.array(seconds["float32"]) / seconds["int8"]
for w, times in zip(widths, gain, strict=True):
    print(f"w = {w:3}: int8 is {times:.2f} times as fast as float32")
print(f"the network above: {whole.nbytes:,} bytes instead of {whole.float32_nbytes:,}")
assert whole.nbytes < 0.3 * whole.float32_nbytes

# %% [markdown]
# Bytes are saved everywhere: nearly a factor of four. Time is saved where products dominate. Quantizing the inputs
# and turning sums into the next layer's inputs is work that float32 does not have, and it grows with $w$ while the
# products grow with $w^2$. On a processor without an instruction for int8, int8 is for the bytes.
#
# ## Fewer numbers
#
# ### The formula
#
# Most weights of a trained network are small, and one can leave out the smallest ones: those with $|W_{ku}| \le t$,
# with $t$ such that a share $s$ goes (Han, Pool, Tran and Dally, 2015). Or one leaves out whole hidden units, those
# whose outputs matter least to the layer behind them. If $W$ is $i \times o$, and a share of the inputs and of the
# outputs goes, the product becomes *smaller*; if single weights go, it becomes *full of zeros*.
#
# ### Versions and error
#
# Both, with five epochs of training afterwards, which repair much of the damage. `KeepZeros` holds the zeros at zero.
#
# > **What would you expect?** What share of the weights can go before it is felt: half, nine in ten?

# %%
def repaired(pruned, **options):
    if pruned.optimizer is None:
        pruned.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    pruned.fit(X, y, epochs=5, verbose=0, **options)
    return pruned.evaluate(X_test, y_test, verbose=0)[0]


def left(pruned):
    """The share of the weights that is not zero, or gone."""
    return sum(np.count_nonzero(part.W) for part in pruned.layers if hasattr(part, "W")) / total


total = sum(part.W.size for part in model.layers if hasattr(part, "W"))
keep_zeros = {"callbacks": [minidl.prune.KeepZeros()]}
shares = (0.5, 0.75, 0.9, 0.95, 0.98)
zeros = [minidl.prune.magnitude(model, share) for share in shares]
units = [minidl.prune.units(model, keep=keep) for keep in (0.75, 0.5, 0.25, 0.12, 0.06)]
lines = {
    "single weights": ([100 * left(one) for one in zeros], [repaired(one, **keep_zeros) for one in zeros]),
    "whole units": ([100 * left(one) for one in units], [repaired(one) for one in units]),
    "nothing pruned": ([2, 100], [loss, loss]),
}
charts.curves(lines, "Pruned, and trained for five epochs more", "per cent of the weights that are left",
              "loss on the rows held back", logx=True)  # fmt: skip

# %%
half = zeros[0]
print("half of the weights left out:", f"accuracy {half.evaluate(X_test, y_test, verbose=0)[1]:.1%},",
      f"before {accuracy:.1%}")  # fmt: skip
assert half.evaluate(X_test, y_test, verbose=0)[1] > accuracy - 0.05
assert np.count_nonzero(zeros[2].layers[1].W) < 0.2 * zeros[2].layers[1].W.size  # the zeros have stayed

# %% [markdown]
# This table is easy, and a network of 40,000 weights has far more than it needs. On handwritten digits the picture is
# the same with a narrower margin, see below. Blalock and others ("What is the state of neural network pruning?",
# 2020) compared 81 papers and found it hard to say that any method is better than leaving out the smallest weights.
#
# ### Time: where sparsity pays
#
# A zero costs as much as any number, as long as the kernel multiplies by it. To leave it out one has to store *where*
# the others are, and to jump there: that loses the vectors of chapter 05. So a sparse product starts with a handicap.
#
# > **What would you expect?** From which share of zeros on is leaving them out faster? And with half of the units
# > gone?

# %%
payoff = minidl.prune.payoff(model, rows=(1, 64), seconds=0.06)
payoff.plot()

# %%
print(*textwrap.wrap(str(payoff), 100), sep="\n")
fewer = payoff.of("fewer units", 64)
assert fewer[-1].speedup.value > 1.5  # a smaller product is faster, always
assert payoff.of("sparse", 64)[0].speedup.value < 1.2  # a sparse one without zeros is not

# %% [markdown]
# There it is. Fewer *units* pay at once, as they make smaller dense products, for which all of chapter 05 holds.
# Fewer *weights* pay only where most are gone, and with a single row where nearly all are. "Two of four" zeros, which
# GPUs have an instruction for, bring nothing on a CPU. Sparsity is often quoted in per cent of zeros; ask for
# milliseconds.
#
# ## All together
#
# Each way with its accuracy, its time for 64 rows, and its bytes. Full points are those that no other surpasses in
# both.

# %%
small = units[1]  # half of the units
models = {"float32": model, "int8": whole, "90% zeros": zeros[2], "half the units": small,
          "half the units, int8": minidl.quantize(small, X)}  # fmt: skip
models = {name: one.predictor() for name, one in models.items()}
front = minidl.tune.pareto(models, X_test, y_test, rows=64, metric="accuracy", seconds=2)
front.plot()

# %%
print(front)
table = front.found.set_index("model")
assert table.nbytes["half the units, int8"] < 0.25 * table.nbytes["float32"]
assert table.median_ms["half the units"] < table.median_ms["90% zeros"]

# %% [markdown]
# Differences of a row or two in the accuracy are chance: 142 rows tell no more. Where data is larger, the same
# comparison says more. The record that comes with minidl has it for 784-256-128-1 on 5,000 handwritten digits, odd
# against even, five trainings each (`python -m perf accuracy`):

# %%
record = recorded.read("accuracy")
if record:
    print(recorded.said(record), "\n")
    print(f"{'':24}{'right':>8}{'weights':>10}{'1 row':>10}{'1,024 rows':>12}")
    for way, one in record["ways"].items():
        right = np.mean([training["accuracy"] for training in one["seeds"]])
        times = [duration(one["rows"][rows]) for rows in ("1", "1024")]
        print(f"{way:24}{right:8.1%}{one['bytes'] / 1e3:7.0f} kB{times[0]:>10}{times[1]:>12}")
else:
    print("there is no record here: perf/results is part of the repository")

# %% [markdown]
# Read it so: int8 costs nothing that can be seen and makes everything faster and smaller; half of the units is as
# good and stacks with int8; nine zeros in ten are nearly as good and save neither time nor, stored as they are, a
# byte.
#
# - **First int8**, if the processor has the instruction or bytes are what counts.
# - **Then fewer units**, with some epochs to repair it. Better still: ask whether the network was too wide from the
#   start (chapter 12 does).
# - **Single zeros** only where nearly all go, and after `payoff` has said so for your machine.
#
# ## Exercises
#
# **1.** The sums of `dense_int8` are int32. How many inputs can a layer have before one could overflow, if inputs are
# 0 to 255 and weights -127 to 127? Why is -128 not used?
#
# <details><summary>Solution</summary>
#
# ```python
# most = (2**31 - 1) // (255 * 127)
# print(f"{most:,} inputs")
# assert 60_000 < most < 70_000
# assert layer.W.min() >= -127
# assert np.abs(S).max() < 2**31
# ```
#
# minidl refuses layers of more than 65,793 inputs, which leaves room for a bias. Without -128 the grid is symmetric:
# the weight's zero is a step, and $-W$ has the same grid.
#
# </details>
#
# **2.** Each unit has a step of its own. Give all units of the first layer the same step, the largest, and compute
# the noise in the layer's output with both. How many decibels does it cost?
#
# <details><summary>Solution</summary>
#
# ```python
# W = model.layers[1].W
# def decibels(step):
#     rounded = np.rint(W / step) * step
#     return 10 * np.log10(np.mean((z @ W) ** 2) / np.mean((z @ rounded - z @ W) ** 2))
# own, shared = decibels(np.abs(W).max(axis=0) / 127), decibels(np.abs(W).max() / 127)
# print(f"{own:.1f} dB with a step for each unit, {shared:.1f} dB with one for all")
# assert own > shared
# ```
#
# It costs nothing to have them: a step for each unit is one multiplication for each sum, which is there anyway.
#
# </details>
#
# **3.** `minidl.quantize(model, dynamic=True)` needs no calibration data: each row gets its own range. Compare its
# error with that of the static one, and its time at 1 and 512 rows. When would you choose it?
#
# <details><summary>Solution</summary>
#
# ```python
# each = minidl.quantize(model, dynamic=True)
# off = {name: np.abs(one.predict(X_test) - p).max() for name, one in (("static", whole), ("dynamic", each))}
# print(off)
# assert off["dynamic"] < 0.1
# for n in (1, 512):
#     batch = np.concatenate([X_test] * 4)[:n].copy()
#     calls = {"static": partial(whole.predictor(), batch), "dynamic": partial(each.predictor(), batch)}
#     print(n, "rows:", timing.compare(calls, budget_seconds=0.3).speedups["dynamic"].inverse().value)
# ```
#
# It is slower, since the range has to be found first, and between layers all goes back to float32. Choose it where
# the rows to come are unlike any data that you have.
#
# </details>
#
# **Next:** 12, where everything comes together in one case.
