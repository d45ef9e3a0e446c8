# %% [markdown]
# # 03 · Activations
#
# **At the end you will know** why three ways to write the same function, all equal on paper, give different digits,
# and one of them none at all; how to measure that; how a processor computes $e^x$ for sixteen numbers at once; and why
# the time of an activation is a matter of how often its numbers travel. It takes twenty minutes.
#
# Without an activation, layer upon layer would be one single matrix: it is the bend in the line that lets a network
# learn anything else. It is also the place where a network meets the limits of its numbers first.

# %%
import math

import numpy as np
import pandas as pd
import sympy as sp
from IPython.display import display

import minidl
from minidl import oracle
from minidl.bench import ceilings, charts, ladders, listings, operations, pictures, timing
from minidl.contract import OPERATIONS
from minidl.engines import why_not
from minidl.formulas import FORMULAS, z
from minidl.plots import LIGHT, Picture, theme

engines = {name: minidl.get_engine(name) for name in ("numpy", "numba") if not why_not(name)}
print("engines here:", ", ".join(engines))
if "numba" not in engines:
    print("what needs Numba is left out below:", why_not("numba"))

# %% [markdown]
# ## The formulas
#
# $$\sigma(z) = \frac{1}{1 + e^{-z}} \qquad\quad
# \tanh z = \frac{e^z - e^{-z}}{e^z + e^{-z}} \qquad\quad
# \mathrm{relu}(z) = \max(0, z)$$
#
# The sigmoid makes a probability of any number, tanh squeezes it into $(-1, 1)$, ReLU keeps what is positive. What
# learning needs of each is its slope, and here all three do us a favour: the slope can be written with the *output*
# $a$, which is still in memory when gradients flow back. No $e^x$ has to be computed a second time.

# %%
names, x = ("sigmoid", "tanh", "relu"), np.linspace(-6, 6, 241)
numpy = engines["numpy"]
outputs = {name: getattr(numpy, name)(x) for name in names}
slopes = {name: getattr(numpy, f"{name}_backward")(np.ones_like(x), outputs[name]) for name in names}
with theme(LIGHT):
    figure = Picture(figsize=(11, 3.6), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    draw = charts.draw_curves
    draw(left, {name: (x, outputs[name]) for name in names}, "Three activations", "z", "a")
    draw(right, {name: (x, slopes[name]) for name in names}, "Their slopes", "z", "da/dz")
    left.set_ylim(-1.2, 3)
figure

# %%
for name in names:
    formula = FORMULAS[name]
    if name != "relu":  # of ReLU there is nothing to simplify
        by_output = formula.from_output.subs(sp.Symbol("a", real=True), formula.expression)
        assert sp.simplify((formula.derivative - by_output).rewrite(sp.exp)) == 0
    print(f"{name:>8}: the slope is {formula.from_output}")

# %% [markdown]
# The `assert` above is a proof: SymPy differentiates the formula and finds nothing left when the other form is taken
# off.
#
# ## Equal on paper
#
# There are many ways to write a sigmoid. Three that you will find in programs:
#
# | | | |
# |---|---|---|
# | textbook | $\dfrac{1}{1 + e^{-z}}$ | the definition |
# | two branches | $\dfrac{1}{1 + e^{-z}}$ for $z \ge 0$, else $\dfrac{e^z}{1 + e^z}$ | no exponent is positive |
# | by tanh | $\dfrac{1 + \tanh(z / 2)}{2}$ | wherever a fast tanh is at hand |

# %%
on_paper = {
    "textbook": 1 / (1 + sp.exp(-z)),
    "the other branch": sp.exp(z) / (1 + sp.exp(z)),
    "by tanh": (1 + sp.tanh(z / 2)) / 2,
}
for form in on_paper.values():
    assert sp.simplify((form - FORMULAS["sigmoid"].expression).rewrite(sp.exp)) == 0
print("all the same function")

# %%
forms = {
    "textbook": lambda z: 1 / (1 + np.exp(-z)),
    "two branches": lambda z: np.where(z >= 0, 1, np.exp(-np.abs(z))) / (1 + np.exp(-np.abs(z))),
    "by tanh": lambda z: (1 + np.tanh(z / 2)) / 2,
}

# %% [markdown]
# > **What would you expect?** A float32 has 24 bits, some seven decimal digits. How many of them are right in each of
# > the three, at $z = 1$, at $z = -20$, and at $z = -100$?

# %%
points = np.float32([1, -5, -10, -20, -90, -100])
with np.errstate(over="ignore"):  # of e^100; NumPy would warn of it, and the textbook form deserves it
    found = {name: form(points) for name, form in forms.items()}
truth = FORMULAS["sigmoid"].evaluate(z=points)
columns = {"truth": truth.astype(float)} | found
pd.DataFrame(columns, index=[f"z = {point:g}" for point in points]).map("{:.7e}".format)

# %% [markdown]
# ## The error, in units of the last digit
#
# The distance from a float to its neighbour is a *unit in the last place*, ulp. It grows with the number: at 1 it is
# $2^{-23}$, at 1000 it is $2^{-14}$. An error of half an ulp is the best that rounding allows; an error of 1000 ulp
# means that the last ten bits are noise. For the truth, the formula is evaluated with 40 digits (`minidl.oracle`).

# %%
line = np.linspace(-110, 30, 3501, dtype=np.float32)
exact = FORMULAS["sigmoid"].evaluate("stable", z=line)
with np.errstate(over="ignore"):
    error = {name: oracle.ulp_error(form(line), exact) for name, form in forms.items()}
charts.errors(line, error, "The sigmoid in float32: three equal forms", xlabel="z")

# %%
assert error["two branches"].max() < 5
assert error["textbook"][line > -80].max() < 5 < 1e6 < error["textbook"].max()
assert error["by tanh"].max() > 1e7
lost = float(line[forms["by tanh"](line) == 0].max())
print(f"by tanh gives 0 from z = {lost:.1f} on downwards, where the truth is {1 / (1 + np.exp(-lost)):.1e}")

# %% [markdown]
# Read it from right to left. For positive $z$ all three are fine.
#
# - **By tanh** loses a bit whenever $z$ falls by 0.7. $\tanh(z/2)$ comes close to $-1$, where neighbours are $2^{-24}$
#   apart; adding 1 takes the large part away, and what is left is rounding. This is *cancellation*: the addition itself
#   makes no error at all, it only uncovers the one made before. At the peak one last bit is all that is left, where the
#   truth has long become much smaller. Then the result is 0, its logarithm $-\infty$, and all of the truth is error: a
#   number is $2^{23}$ to $2^{24}$ of its own units, and that is the plateau.
# - **The textbook form** is as exact as one could wish, until $e^{-z}$ overflows at $z = -88.7$. Then
#   $1/(1 + \infty) = 0$, which is off by millions of units, but of the smallest units there are. It is harmless until
#   somebody divides by it or takes its logarithm; chapter 04 does.
# - **Two branches** never computes an exponential larger than 1, and is right to a few ulp from one end of the line to
#   the other.
#
# How far off a form is depends on *where* you ask. So an error that was looked for between $-5$ and $5$ says nothing.
#
# ## What the engines do
#
# Both take the two branches, and where the engine in NumPy calls `np.exp`, the one in Numba has its own. Error and
# time are measured now.

# %%
minidl.explain("sigmoid")

# %%
near = np.linspace(-20, 20, 4001, dtype=np.float32)
exact = FORMULAS["sigmoid"].evaluate("stable", z=near)
error = {name: oracle.ulp_error(engine.sigmoid(near), exact) for name, engine in engines.items()}
bounds = {name: OPERATIONS["sigmoid"].bound_of(name) for name in engines}
charts.errors(near, error, "The sigmoid of each engine", bound=min(bounds.values()), xlabel="z", bins=120)

# %%
lines = {}
for name in engines:
    whole = operations.error(engines[name], "sigmoid")  # of 4,000 floats, from one end of the line to the other
    assert max(whole, error[name].max()) <= bounds[name]
    numbers = error[name].mean(), 100 * np.mean(error[name] <= 0.5), error[name].max(), whole, bounds[name]
    lines[name] = [f"{number:.3g}" for number in numbers]
head = ["mean", "rounded rightly, %", "largest, here", "largest, 4,000 of all floats", "bound"]
pd.DataFrame(lines, index=head).T

# %% [markdown]
# *Here* are the points of the picture, where the sigmoid is hard. *All floats* begins at the smallest and ends at the
# largest, half of them nearer to 0 than 1 and most of the others huge: easy ones. Neither is a proof. The bound is a
# promise: it stands in `minidl/contract.py` (NumPy's is wider, since its `np.exp` is another on other processors), the
# tests hold every engine to it, and `python -m perf ulp --all` looks at every float32 that there is.
#
# ## tanh: the same illness in another place
#
# The textbook form of tanh takes $e^{-z}$ from $e^z$. Near 0 both are nearly 1.
#
# > **What would you expect?** Where is tanh easy, where is it hard? Remember that near 0 it is simply $z$.

# %%
small = np.logspace(-6, 2, 1601).astype(np.float32)
exact = FORMULAS["tanh"].evaluate("stable", z=small)
with np.errstate(over="ignore", invalid="ignore"):
    forms_of_tanh = {
        "textbook": (np.exp(small) - np.exp(-small)) / (np.exp(small) + np.exp(-small)),
        "1 - 2 / (e^2z + 1)": 1 - 2 / (np.exp(2 * small) + 1),
    }
forms_of_tanh |= {name: engine.tanh(small) for name, engine in engines.items()}
error = {name: oracle.ulp_error(values, exact) for name, values in forms_of_tanh.items()}
finite = np.isfinite(error["textbook"])
charts.errors(small[finite], {name: values[finite] for name, values in error.items()},
              "tanh in float32, for positive z", xlabel="z", logx=True)  # fmt: skip

# %%
print(f"textbook: NaN from z = {small[~finite].min():.1f} on (not drawn): infinity / infinity is no number")
assert min(error[name][finite].max() for name in ("textbook", "1 - 2 / (e^2z + 1)")) > 1e5
for name in engines:
    assert error[name].max() <= OPERATIONS["tanh"].bound_of(name)

# %% [markdown]
# Both forms are good for a $z$ of some units and useless for a small one, where the answer $z$ was there all the time.
# So a good tanh is two functions, with a border between them: a short odd polynomial near 0, and $1 - 2 / (e^{2z} + 1)$
# beyond. `minidl.explain("tanh")` shows it, folded below Numba's version.
#
# ## ReLU: nothing is rounded, and yet
#
# ReLU only chooses, so every form is exact. They differ at numbers that are none.

# %%
special = np.float32([np.nan, np.inf, -np.inf, -0.0])
with np.errstate(invalid="ignore"):
    versions = {
        "np.maximum(z, 0)": np.maximum(special, 0),
        "z * (z > 0)": special * (special > 0),
        "np.where(z > 0, z, 0)": np.where(special > 0, special, 0),
    }
versions |= {f"the {name} engine": engine.relu(special) for name, engine in engines.items()}
for engine in engines.values():
    assert np.isnan(engine.relu(special)[0])
    assert operations.error(engine, "relu") == 0
pd.DataFrame(versions, index=["NaN", "infinity", "-infinity", "-0"]).T.map("{:g}".format)

# %% [markdown]
# The product makes a NaN where there was none ($0 \cdot \infty$). The choice turns a NaN into an innocent 0: something
# has gone wrong earlier, and now nobody will hear of it. Here NaN passes through every activation.
#
# ## How $e^x$ is computed
#
# A sigmoid is an exponential and little else. A processor has no instruction for it. But it has powers of two for
# nothing: $2^n$ is written straight into the exponent bits of a float. So
#
# $$x = n \ln 2 + r, \quad |r| \le \tfrac12 \ln 2 \qquad\Longrightarrow\qquad e^x = 2^n\, e^r,$$
#
# and $e^r$ is needed between $-0.35$ and $0.35$ only. There a polynomial will do.
#
# > **What would you expect?** Of which degree, for the 24 bits of a float32? And for 48 bits, twice as many?
#
# Two ways to such a polynomial: Taylor's, and the one through points that lie closer together towards the ends
# (Chebyshev's), which shares its error out evenly.

# %%
half, degrees = np.log(2) / 2, range(1, 13)
r, chebyshev = np.linspace(-half, half, 2001), np.polynomial.Chebyshev
polynomials = {
    "Taylor's": [np.polyval([1 / math.factorial(k) for k in range(d, -1, -1)], r) for d in degrees],
    "through Chebyshev's points": [chebyshev.interpolate(np.exp, d, [-half, half])(r) for d in degrees],
}
off = {name: [np.max(np.abs(p / np.exp(r) - 1)) for p in values] for name, values in polynomials.items()}
lines = {name: (degrees, values) for name, values in off.items()}
lines["rounding in float32"] = (degrees, [2.0**-24] * len(degrees))
title = "How near a polynomial comes to e^r, |r| <= 0.35"
charts.curves(lines, title, "degree", "largest relative error", logy=True)

# %%
for name, values in off.items():
    enough = [1 + int(np.argmax(np.array(values) < limit)) for limit in (2.0**-24, 2.0**-48)]
    print(f"{name}: degree {enough[0]} for 24 bits, {enough[1]} for 48")
assert enough[0] <= 7 < enough[1]

# %% [markdown]
# Taylor's polynomial is perfect at 0 and wastes that; one that shares out its error evenly needs a degree less. The
# engine's has degree 7, with coefficients from the Cephes library (S. Moshier, 1984 and after): one more than it must
# have, since the steps round as well. Each step `p = p * r + c` is one instruction for a whole vector, 4 to 16 numbers.
# There is no branch in it, which would go one way for one number and another way for its neighbour, as no vector can.
# The `if ... else` in the first line is none: it chooses between two values that are both at hand.

# %%
if "numba" in engines:
    from minidl.engines.numba_engine.elementary import exp_float32

    display(listings.python(exp_float32, "e^x for a float32, of which a compiler makes vector instructions."))

# %% [markdown]
# The C library's `exp` is as exact, but it is a call for one number. In a loop over millions that is the difference.
#
# ## Time
#
# Now count how the numbers travel. Each has to be read once and its sigmoid written once, 4 bytes each: **8 bytes** a
# number. The NumPy expression `1 / (1 + np.exp(-z))` is four operations, and each goes through whole arrays:
#
# | | reads | writes |
# |---|---|---|
# | `t1 = -z` | `z` | `t1` |
# | `t2 = np.exp(t1)` | `t1` | `t2` |
# | `t3 = 1 + t2` | `t2` | `t3` |
# | `y = 1 / t3` | `t3` | `y` |
#
# That is 32 bytes, in four passes; and the arrays `t` are asked of the system and given back each time.
#
# > **What would you expect?** Here are the rungs of a ladder, for 16 million numbers that fit into no cache. Which step
# > brings most: no temporary arrays, one loop instead of four, the polynomial, the second core? One of them may bring
# > nothing.

# %%
if "numba" in engines:
    ladder = ladders.get("activations")
    rungs = {rung.name: rung for rung in ladder.rungs}
    display(*(listings.rung(rungs[name]) for name in ("NumPy in place", "njit, fused", "polynomial")))

# %%
if "numba" in engines:
    ceiling = ceilings.measure(seconds=3)
    climb = ladders.run(ladder, ceiling, budget_seconds=4)
    display(climb, pictures.of_climb(climb, ceiling))

# %%
if "numba" in engines:
    steps = {step.name: step for step in climb.steps}
    assert steps["polynomial"].over_first.value > 1.5
    assert steps["polynomial"].over_before.value > 1.5
    for step in climb.steps:
        print(f"{step.name:>17}: {step.share:4.0%} of the ceiling  {step.remark}")

# %% [markdown]
# *In place* is a gain for nothing: a large new array is handed over by the system page by page, each filled with zeros
# at its first touch, and given back at the end.
#
# For the rest two things have to come together. *One loop* instead of four saves three quarters of the way, but with
# the C library's `exp` in it the loop takes one number at a time and waits for arithmetic; the four loops of NumPy,
# whose `exp` works on vectors, may even be faster. *The polynomial* makes the loop a vector's. Only now is the memory
# in sight: the share of its ceiling, above, says how near.
#
# What a second core brings then depends on whether one alone can use up the memory's bandwidth, and on who else is
# using it.
#
# **Find out what a loop waits for, then remove that.** The other things can be removed as well; nobody will notice.
#
# ## And in the cache?
#
# A layer's activations are seldom 16 million. So the same for every size, as time for each number, beside the time in
# which the bytes can be moved at the bandwidth of the level that holds them. (Of all samples the least, since a
# bandwidth is a maximum, too.)
#
# > **What would you expect?** In the memory, how many times as long as a ReLU does a sigmoid take? And in a cache?

# %%
if "numba" in engines:
    sizes = [2**power for power in range(10, 25, 2)]
    calls = {f"{name} sigmoid": engine.sigmoid for name, engine in engines.items()}
    calls["numba relu"] = engines["numba"].relu
    each = {name: [] for name in (*calls, "the bytes")}
    for size in sizes:
        source = np.random.default_rng(0).standard_normal((1, size), np.float32)
        target = np.empty_like(source)
        rivals = {name: lambda call=call, a=source, b=target: call(a, b) for name, call in calls.items()}
        timed = timing.compare(rivals, repeat=(5, 100), budget_seconds=0.25).timings
        for name, its in timed.items():
            each[name].append(its.least / size * 1e9)
        each["the bytes"].append(8 / ceiling.bandwidth(ceiling.holding(8 * size), "copy"))
    lines = {name: (sizes, values) for name, values in each.items()}
    display(charts.curves(lines, "An activation, by size", "numbers", "ns a number", logx=True, logy=True))

# %%
if "numba" in engines:
    ratios = np.divide(each["numba sigmoid"], each["numba relu"])
    least = sizes[int(np.argmax(ratios))]
    for size, ratio in ((least, max(ratios)), (sizes[-1], ratios[-1])):
        print(f"a sigmoid takes {ratio:.1f} times as long as a ReLU for {size:,} numbers")
    assert ratios[-1] < max(ratios)
    assert each["numpy sigmoid"][-1] > 1.2 * each["numba sigmoid"][-1]

# %% [markdown]
# On the left the engines' lines go down: that is the price of the call, shared by more and more numbers. In the middle
# the numbers lie in a cache, and the arithmetic of the sigmoid shows: it takes several times as long as a ReLU, whose
# only work is to move. On the right the ReLU waits for the memory. The sigmoid has so much to compute that it hardly
# takes longer than before, since its bytes come while it computes: **of arithmetic and bytes only the slower one is
# seen.** (NumPy's line leaps where its temporary arrays become so large that the system hands them
# over page by page: from there on, most of the time is the system's.)
#
# So the best activation is one that makes no way of its own at all. minidl's compiled layers do that with ReLU: it is
# applied to the sums while they are still in registers, before they are stored the first time (chapter 05).
#
# ## Exercises
#
# **1.** NumPy alone can have some of this. Compute `1 / (1 + np.exp(-z))` for 16 million numbers in blocks of 65,536,
# each in place, so that what lies between the four operations stays in a cache. How many times as fast is it?
#
# <details><summary>Solution</summary>
#
# ```python
# def in_blocks(z, y, block=65_536):
#     for start in range(0, z.size, block):
#         t = y[start : start + block]
#         np.negative(z[start : start + block], out=t)
#         np.exp(t, out=t)
#         np.add(t, 1, out=t)
#         np.divide(1, t, out=t)
#     return y
#
#
# many = np.random.default_rng(0).standard_normal(16_000_000, np.float32)
# into = np.empty_like(many)
# rivals = {"all at once": lambda: 1 / (1 + np.exp(-many)), "in blocks": lambda: in_blocks(many, into)}
# blocks = timing.compare(rivals, validate=timing.close(1e-6))
# print(f"{blocks.speedups['in blocks'].value:.1f} times as fast")
# assert blocks.speedups["in blocks"].value > 1.1
# ```
# The same operations, and the numbers between them come from a cache. As a rule the larger part of the gain is that no
# new arrays are asked for: compare it with the rung "NumPy in place".
# </details>
#
# **2.** The slope from the output is $a (1 - a)$. How many ulp is it off for $z$ between $-30$ and $30$, if $a$ is
# rounded to float32? From which $z$ on is it exactly 0? Is that bad?
#
# <details><summary>Solution</summary>
#
# ```python
# points = np.linspace(-30, 30, 601, dtype=np.float32)
# a = numpy.sigmoid(points)
# true_slope = FORMULAS["sigmoid"].evaluate("derivative", z=points)
# off = oracle.ulp_error(a * (1 - a), true_slope)
# print(f"{off[points < 0].max():.1f} ulp for negative z, {off[points > 0].max():.1e} for positive")
# print(f"exactly 0 from z = {points[a * (1 - a) == 0].min():.1f} on")
# assert off[points < 0].max() < 20 < 1e6 < off[points > 0].max()
# assert np.max(np.abs(a * (1 - a) - true_slope.astype(float))) < 2.0**-22
# ```
# For positive $z$, $a$ is near 1 and $1 - a$ cancels. As a share of the slope the error is large; against the slopes of
# other units, which are up to 1/4, it is some $2^{-24}$, and they are added up with it. That is why the contract
# measures a backward by the largest entry and not in ulp. But a unit that has come so far learns nothing any more.
# </details>
#
# **3.** A float16 overflows beyond 65,504. From which $z$ on downwards does the textbook form fail in float16, and
# what is the sigmoid there? Does the two-branch form still give it?
#
# <details><summary>Solution</summary>
#
# ```python
# halves = np.arange(-17, 0, 0.01).astype(np.float16)
# with np.errstate(over="ignore"):
#     textbook = forms["textbook"](halves)
# two_branches = forms["two branches"](halves)
# fails = halves[textbook == 0].max()
# print(f"0 from z = {fails:.2f} on, where the sigmoid is {1 / (1 + np.exp(-float(fails))):.1e}")
# assert -11.2 < fails < -11 and (two_branches[halves >= -16.5] > 0).all()
# ```
# A probability of one in 65,000 is nothing out of the way. With small types the choice of the form is no longer a
# matter of taste.
# </details>
#
# Next: [04 · Losses](04_losses.ipynb), where the logarithm of what was rounded here is taken.
