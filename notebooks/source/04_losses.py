# %% [markdown]
# # 04 · Losses
#
# **At the end you will know** how a loss becomes infinite, NaN or zero while its formula is perfectly well; why
# libraries want logits and not probabilities; why a network that is sure and wrong may learn nothing; and why a million
# numbers have more than one sum. It takes twenty minutes.
#
# A loss is one number: how wrong the network is. Training does nothing but make it small. If that number is noise, so
# is everything that follows.

# %%
import math
from functools import partial

import numpy as np
import pandas as pd
import sympy as sp
from IPython.display import display

import minidl
from minidl import formulas, oracle
from minidl.bench import ceilings, charts, operations, timing
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
# For numbers, the **mean squared error**: how far the prediction $P$ is from the target $Y$, squared, so that large
# mistakes weigh more.

# %%
FORMULAS["mean_squared_error"]

# %% [markdown]
# For yes or no, the **binary cross-entropy**. The target is 0 or 1, the network says a probability, and the loss is the
# surprise: $-\log$ of the probability that it gave to what has happened. Who said 0.9 and was right pays 0.105; who
# said 0.9 and was wrong pays 2.3.

# %%
FORMULAS["binary_crossentropy"]

# %% [markdown]
# The probability is the sigmoid of a *logit* $Z$, the weighted sum of the last layer. So one can put the sigmoid into
# the loss, and simplify:

# %%
FORMULAS["binary_crossentropy_from_logits"]

# %%
r, u = formulas.r, formulas.u
of_a_unit = [FORMULAS[name].expression.atoms(sp.Sum).pop().function
             for name in ("binary_crossentropy", "binary_crossentropy_from_logits")]  # fmt: skip
by_probability = -of_a_unit[0].subs(formulas.P[r, u], 1 / (1 + sp.exp(-formulas.Z[r, u])))
assert sp.simplify(sp.expand_log(by_probability - of_a_unit[1], force=True).rewrite(sp.exp)) == 0
print("both are the same function of Z")

# %% [markdown]
# ## Four versions
#
# The same on paper, so choose what you like? In float32, with $y = 1$ and one unit:

# %%
def textbook(y, z):
    p = numpy.sigmoid(z)
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))[:, 0]


def clipped(y, z):
    return numpy.binary_crossentropy(y, numpy.sigmoid(z))  # p is kept within [1e-7, 1 - 1e-7], as in Keras


def textbook_from_logits(y, z):
    return (np.log(1 + np.exp(z)) - y * z)[:, 0]


def stable_from_logits(y, z):
    return numpy.binary_crossentropy_from_logits(y, z)  # max(z, 0) - y z + log(1 + e^-|z|), with log1p


versions = {"textbook, from p": textbook, "clipped, from p": clipped,
            "textbook, from z": textbook_from_logits, "stable, from z": stable_from_logits}  # fmt: skip


# %% [markdown]
# > **What would you expect?** The target is 1. Where does each of them break: for $z = -110$, a network that is sure
# > and wrong, for $z = 20$, one that is sure and right, or for $z = 100$, one that could not be more so?

# %%
def all_versions(y, z):
    with np.errstate(all="ignore"):  # NumPy warns of nearly every one of them
        return {name: version(y, z) for name, version in versions.items()}


def truth(y, z):
    return FORMULAS["binary_crossentropy_from_logits"].evaluate("stable", digits=100, Y=y, Z=z)


z = np.float32([[-110], [-20], [-2], [2], [10], [20], [100]])
y = np.ones_like(z)
columns = {"truth": truth(y, z).astype(float)} | all_versions(y, z)
pd.DataFrame(columns, index=[f"z = {logit:g}" for logit in z[:, 0]]).map("{:.7g}".format)

# %%
line = np.linspace(-115, 105, 2201, dtype=np.float32).reshape(-1, 1)
ones = np.ones_like(line)
exact = truth(ones, line)
error = {name: oracle.ulp_error(values, exact) for name, values in all_versions(ones, line).items()}
drawn = {name: np.minimum(values, 1e9) for name, values in error.items()}  # where no digit is right any more
title = "Binary cross-entropy in float32, y = 1 (errors cut off at 1e9)"
charts.errors(line, drawn, title, xlabel="logit z", bins=150)

# %%
for name, values in error.items():
    lost = np.mean(np.isinf(values))
    largest = f"infinite or NaN for {lost:.0%} of the logits" if lost else f"{values.max():.2g} ulp at most"
    print(f"{name}: {largest}")
assert error["stable, from z"].max() < 5
assert all(values.max() > 1e6 for name, values in error.items() if name != "stable, from z")

# %% [markdown]
# (Infinite and NaN are drawn at the top, too. The truth has been computed with 100 digits: to tell
# $\log(1 + e^{-100})$ from 0, even the 40 of the other chapters do not suffice.) Four illnesses, each worth a name:
#
# - **0 times infinity.** The textbook form from $p$ fails for a *perfect* prediction. $p$ has become 1, $\log(1 - p)$
#   is $-\infty$, and its factor $1 - y = 0$ makes a NaN of it. One row of that sort, and all weights are NaN after the
#   next step.
# - **Clipping** keeps $p$ away from 0 and 1. Now nothing is infinite, and everything beyond is the same: no loss is
#   larger than 16.1 or smaller than $10^{-7}$, whatever the truth is.
# - **Overflow.** $e^z$ is infinite from $z = 88.8$ on, although the loss is then nearly 0.
# - **Cancellation.** $\log(1 + e^z) - z$, for large $z$, takes two nearly equal numbers from each other. What is left
#   is the rounding of the larger one.
#
# The stable form does none of this. It takes the large part away *on paper*, where it is free:
#
# $$\log(1 + e^z) - y z = \max(z, 0) - y z + \log\left(1 + e^{-|z|}\right).$$
#
# ## Where $\log(1 - p)$ breaks
#
# Two different things go wrong with it. The first can be mended: for a small $p$, the subtraction $1 - p$ drops the
# last digits of $p$, and below $2^{-25}$ all of them. `log1p` computes $\log(1 + x)$ without making $1 + x$:

# %%
p = np.logspace(-10, -0.31, 1501).astype(np.float32).reshape(-1, 1)
exact = FORMULAS["binary_crossentropy"].evaluate(Y=np.zeros_like(p), P=p)  # with y = 0 it is -log(1 - p)
both = {"-np.log(1 - p)": -np.log(1 - p[:, 0]), "-np.log1p(-p)": -np.log1p(-p[:, 0])}
error = {name: oracle.ulp_error(values, exact) for name, values in both.items()}
charts.errors(p, error, "The logarithm of 1 - p, in float32", xlabel="p", logx=True)

# %%
assert error["-np.log1p(-p)"].max() < 3 < 1e6 < error["-np.log(1 - p)"].max()

# %% [markdown]
# The second cannot be mended, because it has happened before: near 1 there are few floats. Here is what a float32 keeps
# of a large logit, and what comes back:

# %%
sure = np.float32([[12], [14], [16], [16.6], [17], [18]])
kept = numpy.sigmoid(sure).astype(float)
with np.errstate(divide="ignore"):
    back = np.log(kept / (1 - kept))
columns = {"p, as float32": kept[:, 0], "the logit of that p": back[:, 0]}
pd.DataFrame(columns, index=[f"z = {logit:g}" for logit in sure[:, 0]]).map("{:.9g}".format)

# %%
assert np.isfinite(back[0, 0])
assert np.isinf(back[-1, 0])

# %% [markdown]
# No formula for the loss can know what $p$ has forgotten. **Give the loss the logits.** minidl does it by itself: where
# a network ends in a sigmoid (or a softmax) and is trained with the cross-entropy, the loss takes the numbers from
# before that last activation, as in Keras.
#
# ## Squares cancel as well
#
# $(p - y)^2 = p^2 - 2 p y + y^2$ is true, and the right side is tempting: its middle term is a matrix product, and that
# is how distances between many points are often computed. The error of both, with targets around some offset and
# predictions 0.1 off:

# %%
rng = np.random.default_rng(0)
noise, off = rng.standard_normal((2, 100_000))
rows = {}
for offset in (0, 10, 100, 1000, 10_000):
    y = (offset + noise).astype(np.float32)
    p = (offset + noise + 0.1 * off).astype(np.float32)
    true = np.mean((p.astype(float) - y) ** 2)
    rows[f"around {offset:,}"] = {"truth": true, "mean (p - y)²": np.mean((p - y) ** 2),
                                  "mean p² - 2 p y + y²": np.mean(p * p - 2 * p * y + y * y)}  # fmt: skip
squares = pd.DataFrame(rows).T
squares.map("{:.6f}".format)

# %%
wrong = (squares.iloc[:, 1:].sub(squares["truth"], axis=0)).abs().div(squares["truth"], axis=0)
assert wrong["mean (p - y)²"].max() < 1e-5 < 0.1 < wrong["mean p² - 2 p y + y²"].max()

# %% [markdown]
# The subtraction $p - y$ of two close floats is *exact* (Sterbenz, 1974). The squares are not: each is rounded to 24
# bits, at a size where the last bit is larger than the answer.
#
# ## The engines
#
# This is what runs. Both take the stable form, Numba in one loop over the rows:

# %%
minidl.explain("binary_crossentropy_from_logits")

# %% [markdown]
# And how far each loss and its gradient are from the formula, in the contract's measure for losses: units of rounding
# $u = 2^{-24}$ of the largest entry.

# %%
losses = [name for name, operation in OPERATIONS.items() if operation.module == "losses"]
measured = {name: {key: operations.error(engine, name) for key, engine in engines.items()} for name in losses}
for name in losses:
    assert max(measured[name].values()) <= OPERATIONS[name].bound, name
pd.DataFrame(measured).T.assign(bound=[OPERATIONS[name].bound for name in losses]).map("{:.2f}".format)

# %% [markdown]
# ## The gradient: $p - y$
#
# Learning needs the slope of the loss by the logit. By the chain rule it is the slope of the loss by $p$, times the
# slope of the sigmoid. SymPy multiplies the two:

# %%
a, j = formulas.a, formulas.j
by_p = FORMULAS["binary_crossentropy"].derivative.subs(formulas.P[r, j], a)
by_z = by_p * FORMULAS["sigmoid"].from_output
assert sp.simplify(by_z - (a - formulas.Y[r, j]) / formulas.o) == 0
for name, slope in {"p": by_p, "z": sp.simplify(by_z)}.items():
    display(sp.Eq(sp.Symbol(rf"\frac{{\partial \ell}}{{\partial {name}}}"), slope))

# %% [markdown]
# The denominator $p (1 - p)$ of the one is the slope of the other, and they cancel: what is left is *prediction minus
# target* (for a mean over $o$ units, divided by $o$). It could not be simpler, and it could not be better behaved: it
# is never larger than 1, and it is near 1 where the network is sure and wrong.
#
# > **What would you expect?** The target is 0. What is the gradient at $z = 20$, a network that is sure and wrong: if
# > $p - y$ is computed at once; if the two factors are computed one after the other; and for the squared error after a
# > sigmoid?

# %%
through = numpy.sigmoid_backward  # the slope by p becomes the slope by z
slope_of = {
    "p - y": lambda y, z, p: numpy.binary_crossentropy_from_logits_backward(y, z),
    "two steps, p clipped": lambda y, z, p: through(numpy.binary_crossentropy_backward(y, p), p),
    "squared error": lambda y, z, p: through(numpy.mean_squared_error_backward(y, p), p),
}
z = np.linspace(-10, 30, 161, dtype=np.float32).reshape(-1, 1)
y = np.zeros_like(z)
lines = {name: (z[:, 0], slope(y, z, numpy.sigmoid(z))[:, 0]) for name, slope in slope_of.items()}
charts.curves(lines, "The slope by the logit, for y = 0", "logit z", "slope")

# %%
steps, path, y = 300, {name: [20.0] for name in slope_of}, np.float32([[0]])
for name, slope in slope_of.items():
    z = np.float32([[20]])
    for _ in range(steps):
        numpy.sgd(z[0], slope(y, z, numpy.sigmoid(z))[0], 0.1)
        path[name].append(z.item())
lines = {name: (range(steps + 1), logits) for name, logits in path.items()}
charts.curves(lines, "Gradient descent from a logit of 20 towards y = 0", "step", "logit")

# %%
assert path["p - y"][-1] < 0 < 19.9 < min(path["two steps, p clipped"][-1], path["squared error"][-1])

# %% [markdown]
# Both others stay where they are, for ever. The clipped loss is flat there, so its slope is 0; and the squared error
# multiplies with the slope of the sigmoid, which has died out. A network that is sure and wrong is the one that has
# most to learn.
#
# ## A million numbers have more than one sum
#
# The loss of a batch is a mean: a sum of many numbers. Each addition rounds. So $(a + b) + c$ and $a + (b + c)$ differ,
# and the order matters.
#
# > **What would you expect?** 20 million ones, added from left to right in float32. What is the sum?

# %%
ones = np.ones(20_000_000, np.float32)
left_to_right = np.cumsum(ones)[-1]  # cumsum has no choice: each sum is made of the one before
print(f"left to right: {left_to_right:,.0f}\nnp.sum:        {ones.sum():,.0f}")
assert left_to_right == 2**24
assert ones.sum() == 20_000_000

# %% [markdown]
# At $2^{24}$ the next float32 is 2 away; $2^{24} + 1$ lies in the middle and is rounded back, and so it stays. `np.sum`
# adds in pairs: it halves the array until pieces are short, and adds the sums of the pieces. Then no number is added to
# one that is much larger. For $n$ terms of one sign, the relative error is at most (Higham, *Accuracy and Stability of
# Numerical Algorithms*, 2002, chapter 4)
#
# $$\text{left to right: } (n - 1)\,u \qquad\qquad \text{pairwise: about } (\log_2 n)\,u \qquad\qquad u = 2^{-24}.$$
#
# Here are real losses, of rows whose logits are random, and four ways to add them up:

# %%
sums = {
    "left to right": lambda terms: np.cumsum(terms)[-1],
    "pairwise, np.sum": np.sum,
    "in float64": lambda terms: np.float32(np.sum(terms, dtype=np.float64)),
    "math.fsum": lambda terms: np.float32(math.fsum(terms.tolist())),  # exact, rounded once
}


def losses_of(rows, seed):
    z = np.random.default_rng(seed).standard_normal((rows, 1), np.float32)
    return numpy.binary_crossentropy_from_logits(np.ones_like(z), z)


counts, seeds = [2**power for power in range(8, 23, 2)], range(4)
off = {name: [] for name in ("left to right", "pairwise, np.sum", "in float64")}
for n in counts:
    batches = [losses_of(n, seed) for seed in seeds]
    true = [batch.sum(dtype=np.float64) for batch in batches]
    for name, values in off.items():
        found = np.array([sums[name](batch) for batch in batches], float)
        values.append(np.mean(np.abs(found / true - 1)) * 2**24)
lines = {name: (counts, values) for name, values in off.items()}
lines["bound, left to right"] = (counts, [n - 1 for n in counts])
charts.curves(lines, "Error of a sum of n losses", "n", "relative error, in u = 2^-24", logx=True, logy=True)

# %%
largest = losses_of(counts[-1], 0)
assert sums["in float64"](largest) == sums["math.fsum"](largest)
assert off["left to right"][-1] > 10 * off["pairwise, np.sum"][-1]
assert all(error < n for error, n in zip(off["left to right"], counts, strict=True))
for name in ("left to right", "pairwise, np.sum"):
    print(f"{counts[-1]:,} losses, {name}: {off[name][-1]:,.2g} u")

# %% [markdown]
# And the same numbers in another order:

# %%
terms, rng = losses_of(50_000, 0), np.random.default_rng(0)
orders = [rng.permutation(terms) for _ in range(100)]
answers = {name: {float(total(order)) for order in orders} for name, total in sums.items()}
for name, found in answers.items():
    print(f"{name:>17}: {len(found):3} different results, {min(found):.4f} to {max(found):.4f}")
assert len(answers["math.fsum"]) == 1 < len(answers["left to right"])

# %% [markdown]
# So a sum that several threads share, whichever comes first, can differ from run to run, although nothing is wrong. In
# minidl it does not: sums over a batch are cut into pieces whose size does not depend on the number of threads, and the
# loss of an epoch is added up in float64.
#
# ## Time
#
# The target and the logit are read, the loss of the row is written: 12 bytes a row. What do the forms cost, and is the
# stable one dearer?
#
# > **What would you expect?** A million rows. The stable form has an `abs`, a `maximum` and a `log1p` more than the
# > textbook's. And what does a good sum cost, beside a bad one?

# %%
z = np.random.default_rng(0).standard_normal((1_000_000, 1), np.float32)
y = (np.random.default_rng(1).random(z.shape) < 0.5).astype(np.float32)
into = np.empty(len(z), np.float32)
rivals = {
    "textbook, from p": lambda: textbook(y, z),
    "NumPy, clipped, from p": lambda: numpy.binary_crossentropy(y, numpy.sigmoid(z), into),
    "NumPy, stable, from z": lambda: numpy.binary_crossentropy_from_logits(y, z, into),
}
floor = None
if "numba" in engines:
    rivals["Numba, stable, from z"] = lambda: engines["numba"].binary_crossentropy_from_logits(y, z, into)
    floor = max(ceilings.measure(seconds=2).limits(0, y.nbytes + z.nbytes + into.nbytes).values())
found = timing.compare(rivals, validate=timing.close(1e-5), budget_seconds=2)
charts.times(found, "The losses of a million rows", floor=floor, floor_name="the bytes alone")

# %%
if "numba" in engines:
    fused = found.timings["Numba, stable, from z"].median
    faster = found.speedups["Numba, stable, from z"].value
    print(f"one loop: {faster:.1f} times as fast as the textbook, and right")
    print(f"{fused / floor:.1f} times as long as its bytes: it waits for exp and log1p")
    assert faster > 1.5

# %%
terms = into.copy()
rivals = {name: partial(total, terms) for name, total in sums.items()}
added = timing.compare(rivals, budget_seconds=2)
charts.times(added, "The sum of a million losses")

# %%
assert added.speedups["pairwise, np.sum"].value > 1.2
assert added.speedups["math.fsum"].value < 1

# %% [markdown]
# The stable form costs no more than the others where the loop is one, and the pairwise sum is *faster* than the one
# from left to right, since it need not wait for each addition before the next begins. (`cumsum` writes all its sums
# too, so it is somewhat slower than it would have to be.) `fsum` is exact and has its price. Good numerics are not a
# luxury: most often they are a matter of knowing.
#
# ## Exercises
#
# **1.** The cross-entropy for classes has a sum of exponentials, $\log \sum_s e^{z_s} - z_c$ for the class $c$. Compute
# it for the logits (1000, 999, 0) in float32, in the textbook's form and in a better one.
#
# <details><summary>Solution</summary>
#
# ```python
# logits, right = np.float32([[1000, 999, 0]]), np.float32([[1, 0, 0]])
# with np.errstate(over="ignore"):
#     naive = np.log(np.sum(np.exp(logits))) - logits[0, 0]
# largest = logits.max()
# better = largest + np.log(np.sum(np.exp(logits - largest))) - logits[0, 0]
# best = (largest - logits[0, 0]) + np.log(np.sum(np.exp(logits - largest)))
# print(naive, better, best)
# assert np.isinf(naive) and best == numpy.categorical_crossentropy_from_logits(right, logits)[0]
# assert abs(best - math.log1p(math.exp(-1))) < 1e-7 < abs(better - math.log1p(math.exp(-1)))
# ```
# Taking the largest logit off keeps the exponentials finite. But adding it again before the last subtraction costs the
# digits once more: $1000.31 - 1000$. The order of the three terms decides.
# </details>
#
# **2.** `np.sum` adds in pairs only along the axis in which the numbers lie side by side. Sum the losses as an array of
# two columns along the *first* axis, and look at the error.
#
# <details><summary>Solution</summary>
#
# ```python
# pairs = losses_of(2**22, 0).reshape(-1, 2)
# true = pairs.sum(axis=0, dtype=np.float64)
# down = np.max(np.abs(pairs.sum(axis=0) - true) / true) * 2**24
# along = np.max(np.abs(np.ascontiguousarray(pairs.T).sum(axis=1) - true) / true) * 2**24
# print(f"along the first axis {down:.0f} u, of the transposed array {along:.1f} u")
# assert down > 10 * along
# ```
# Along the first axis, whole rows are added to one row of sums, from top to bottom: each column is summed from left to
# right. Nothing in the call tells you. Ask for `dtype=np.float64`, or keep in mind how the array lies.
# </details>
#
# **3.** Kahan's trick (1965): after each addition, compute what was rounded away, `(total - before) - term`, and take
# it off the next term. Write it for float32, and compare it with the others on 100,000 losses.
#
# <details><summary>Solution</summary>
#
# ```python
# def kahan(terms):
#     total = lost = np.float32(0)
#     for term in terms:
#         corrected = term - lost
#         before, total = total, total + corrected
#         lost = (total - before) - corrected
#     return total
#
#
# terms = losses_of(100_000, 0)
# true = math.fsum(terms.tolist())
# for name, total in {"left to right": sums["left to right"](terms), "Kahan": kahan(terms)}.items():
#     print(f"{name}: {abs(total - true) / true * 2**24:.2f} u")
# assert abs(kahan(terms) - true) / true * 2**24 < 2
# ```
# Two units at most, whatever $n$ is, in plain float32. Algebraically `lost` is 0; a compiler that is allowed to believe
# in algebra removes it. That is why minidl never compiles with all of `fastmath`: a sum may be reordered where any
# order will do, and nowhere else.
# </details>
#
# Next: [05 · The dense layer is a matrix product](05_the_dense_layer.ipynb), where nearly all of the time goes.
