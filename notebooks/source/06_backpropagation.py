# %% [markdown]
# # 06 · Backpropagation
#
# **At the end you will know** where the gradient of a network comes from, line by line; that it is two more matrix
# products for each layer, however many weights there are; how to prove that a gradient is right; and why you should,
# since a wrong one often trains as well. It takes twenty minutes.
#
# A network has thousands or billions of weights, and for each of them training needs one number: if this weight grew a
# little, by how much would the loss grow? One could try it, weight by weight. Backpropagation gives all the numbers at
# once, for the price of about two more passes through the network. It is nothing but the chain rule, in the right order
# (Rumelhart, Hinton and Williams, *Learning representations by back-propagating errors*, 1986).

# %%
import itertools
import math
from functools import partial

import numpy as np
import pandas as pd
import sympy as sp
from IPython.display import display
from threadpoolctl import threadpool_limits

import minidl
from minidl import data, formulas
from minidl.bench import ceilings, charts, listings, operations, timing
from minidl.contract import OPERATIONS
from minidl.engines import why_not
from minidl.engines.numpy_engine import train
from minidl.formula import resolve
from minidl.formulas import FORMULAS

engines = {name: minidl.get_engine(name) for name in ("numpy", "numba") if not why_not(name)}
numpy = engines["numpy"]
print("engines here:", ", ".join(engines))
if "numba" not in engines:
    print("what needs Numba is left out below:", why_not("numba"))

# %% [markdown]
# ## The formula, for one layer, in full
#
# A dense layer makes $Z$ of its inputs $X$:

# %%
FORMULAS["dense"]

# %% [markdown]
# Suppose somebody above has told us how the loss $L$ changes with each entry of $Z$: a matrix of the same shape,
# $G_{ru} = \partial L / \partial Z_{ru}$. Whatever a weight does to the loss, it does through $Z$. So we go through all
# entries of $Z$, and add up (how much $L$ changes with this entry) times (how much this entry changes with the weight):
#
# $$\frac{\partial L}{\partial W_{kj}} = \sum_{r=1}^{n} \sum_{u=1}^{o} \frac{\partial L}{\partial Z_{ru}}
# \frac{\partial Z_{ru}}{\partial W_{kj}} = \frac{\partial}{\partial W_{kj}} \sum_{r=1}^{n} \sum_{u=1}^{o} G_{ru}\,
# Z_{ru} \qquad (G \text{ held fixed}).$$
#
# That is the chain rule, and the last form is one that SymPy can differentiate. Of the inputs, row $r$ of $X$ has its
# effect on row $r$ of $Z$ only, so there one row is enough.

# %%
G, W, X, b = formulas.G, formulas.W, formulas.X, formulas.b
r, u, k, j, q = formulas.r, formulas.u, formulas.k, formulas.j, formulas.q
of_a_row = formulas.total(G[r, u] * FORMULAS["dense"].expression, u)
of_the_batch = formulas.total(of_a_row, r)

derived = {
    "dense_backward_W": sp.diff(of_the_batch, W[q, j]),
    "dense_backward_b": sp.diff(of_the_batch, b[j]),
    "dense_backward_x": sp.diff(of_a_row, X[r, q]),
}
for name, derivative in derived.items():
    result = resolve(derivative)  # the sums over KroneckerDelta are carried out
    assert result.subs({q: k, j: u}) == FORMULAS[name].expression
    display(sp.Eq(sp.Symbol(name.replace("dense_backward_", "d")), result))

# %% [markdown]
# The `assert` says that these are, letter by letter, the formulas that minidl's engines are tested against. Read as
# matrices, all three are products:
#
# | | product | shapes | operations |
# |---|---|---|---|
# | forward | $Z = X W + b$ | $(n, i)\,(i, o)$ | $2\,n\,i\,o$ |
# | by the weights | $dW = X^{\mathsf T} G$ | $(i, n)\,(n, o)$ | $2\,n\,i\,o$ |
# | by the inputs | $dX = G\, W^{\mathsf T}$ | $(n, o)\,(o, i)$ | $2\,n\,i\,o$ |
# | by the bias | $db = $ the sum of $G$'s rows | | $n\,o$ |
#
# You need not remember which one is transposed: the shapes leave no choice. $dX$ is what the layer below calls its $G$,
# after one more step. Between the two lies the activation, $A = f(Z)$, entry by entry, so its chain rule is a product
# of entries, and chapter 03 has shown that the slope can be had from the output:
#
# $$G = dA \odot f'(Z), \qquad \tanh' = 1 - a^2, \quad \sigma' = a\,(1 - a), \quad \mathrm{relu}' = [a > 0].$$
#
# And at the very top stands $p - y$ (chapter 04), divided by the number of rows, since the loss is their mean.
#
# ## The whole network, in a dozen lines
#
# That is all there is. Here is a network of dense layers with tanh between them and a sigmoid at the end, written with
# the operations of an engine, whichever it is:

# %%
def forward(engine, layers, X):
    outputs = [X]  # of each layer: what the way back will need
    for W, b in layers[:-1]:
        outputs.append(engine.tanh(engine.dense(outputs[-1], W, b)))
    return outputs, engine.dense(outputs[-1], *layers[-1])  # and the logits


def backward(engine, layers, outputs, logits, y, slope=None):
    slope, gradients = slope or engine.tanh_backward, []
    G = engine.binary_crossentropy_from_logits_backward(y, logits) / len(y)  # p - y
    for place in reversed(range(len(layers))):
        gradients = [engine.dense_backward_W(outputs[place], G), engine.dense_backward_b(G), *gradients]
        if place:
            G = slope(engine.dense_backward_x(G, layers[place][0]), outputs[place])
    return gradients


# %% [markdown]
# Compare the two: the way back goes through the same layers from the end to the beginning, and uses at each what the
# way there has left behind. That is the price of it: the outputs of all layers have to be kept.
#
# minidl's own is the same with more kinds of layers. This is the function that the NumPy engine trains with, as it
# stands in its file:

# %%
listings.python(train.backward, "From the gradient by what the loss was given to the gradient by every parameter.")

# %% [markdown]
# And here is one of the three products in every engine, with its error against the formula and its time. (Numba's is
# long, because it is the register-tiled one of chapter 05, reading $X$ as if it were transposed.)

# %%
minidl.explain("dense_backward_W")

# %% [markdown]
# ## Is it right?
#
# The derivation is SymPy's, but the dozen lines are ours. There is a test that knows nothing of chain rules: move one
# weight a little to either side, and see what the loss does.
#
# $$\frac{\partial L}{\partial \theta_k} \approx \frac{L(\theta + h e_k) - L(\theta - h e_k)}{2h}
# \qquad\text{(central difference)}$$
#
# Real rows: 64 tumours, of each the first six numbers, brought to one scale. All weights in one vector, as in minidl.

# %%
X, y = data.load_breast_cancer()
X, y = X[:, :6].astype(float), y.astype(float)
X = (X - X.mean(axis=0)) / X.std(axis=0)
few, few_y = np.ascontiguousarray(X[:64]), y[:64]

shapes = [(6, 8), (8,), (8, 5), (5,), (5, 1), (1,)]
ends = np.cumsum([math.prod(shape) for shape in shapes])
theta = np.random.default_rng(0).normal(0, 0.5, ends[-1])


def layers_of(theta):
    arrays = [part.reshape(shape) for part, shape in zip(np.split(theta, ends[:-1]), shapes, strict=True)]
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def loss(theta, X=few, y=few_y):
    return numpy.binary_crossentropy_from_logits(y, forward(numpy, layers_of(theta), X)[1]).mean()


def gradient(theta, X=few, y=few_y, slope=None):
    layers = layers_of(theta)
    parts = backward(numpy, layers, *forward(numpy, layers, X), y, slope)
    return np.concatenate([part.ravel() for part in parts])


def one_side(theta, h):
    return np.array([loss(theta + step) - loss(theta) for step in h * np.eye(theta.size)]) / h


def central(theta, h, *rows):
    steps = h * np.eye(theta.size, dtype=theta.dtype)
    return np.array([loss(theta + step, *rows) - loss(theta - step, *rows) for step in steps]) / (2 * h)


print(f"{theta.size} weights, loss {loss(theta):.4f}")

# %% [markdown]
# > **What would you expect?** Mathematically the quotient becomes the derivative as $h \to 0$. Which $h$ gives the best
# > agreement in float64: $10^{-2}$, $10^{-5}$, $10^{-10}$ or $10^{-15}$? And in float32?

# %%
def off_by(estimate):
    return float(np.max(np.abs(estimate - ours)) / np.max(np.abs(ours)))


ours, steps = gradient(theta), np.logspace(-14, 0, 29)
single = [array.astype(np.float32) for array in (theta, few, few_y)]
errors = {
    "one side, float64": [off_by(one_side(theta, h)) for h in steps],
    "central, float64": [off_by(central(theta, h)) for h in steps],
    "central, float32": [off_by(central(single[0], np.float32(h), *single[1:])) for h in steps],
}
lines = {name: (steps, values) for name, values in errors.items()}
title = "Error of the gradient check over its step"
charts.curves(lines, title, "step h", "largest error / largest entry", logx=True, logy=True)

# %%
best = {name: steps[int(np.argmin(values))] for name, values in errors.items()}
for name, h in best.items():
    print(f"{name}: best at h = {h:.0e}, where it agrees to {min(errors[name]):.0e}")
assert min(errors["central, float64"]) < 1e-8 < min(errors["central, float32"])
assert 1e-7 < best["central, float64"] < 1e-3
assert min(errors["one side, float64"]) > 10 * min(errors["central, float64"])

# %% [markdown]
# Each curve is a V, made of two errors. On its right side the step is too large, and the loss bends on the way: the
# error grows like $h$ for one side and like $h^2$ for the central difference, whose first error cancels. On its left
# side the step is too small, and two losses are subtracted that agree in nearly all digits (chapter 04): the error is
# like $u / h$, with $u$ the rounding of the type. Both are equal near
#
# $$h \approx \sqrt{u} \approx 10^{-8} \text{ (one side)}, \qquad h \approx \sqrt[3]{u} \approx 5 \cdot 10^{-6} \text{
# (central)}, \qquad u = 2^{-53}.$$
#
# So check in float64, with central differences and $h = 10^{-5}$. In float32 the bottom of the V lies so high that many
# a mistake could hide below it.
#
# Agreement to ten digits between two ways that have nothing in common but the network leaves little room for doubt.
#
# ## Why bother? It trains!
#
# Here are three mistakes of the kind that people make. Each takes another slope for tanh.
#
# > **What would you expect?** Which of them will still train, that is, make the loss smaller? And which will the check
# > find?

# %%
slopes = {
    "right": numpy.tanh_backward,
    "the sigmoid's slope": numpy.sigmoid_backward,
    "tanh taken twice": lambda dy, a: numpy.tanh_backward(dy, np.tanh(a)),
    "forgotten": lambda dy, a: dy,
}
curve, found = {}, {}
for name, slope in slopes.items():
    found[name] = off_by(gradient(theta, slope=slope))
    point, curve[name] = theta.copy(), []
    for _ in range(150):
        curve[name].append(loss(point, X, y))
        numpy.sgd(point, gradient(point, X, y, slope), 0.5)
lines = {name: (range(150), losses) for name, losses in curve.items()}
charts.curves(lines, "Training with right and wrong gradients", "step", "loss (nats)")

# %%
assert off_by(central(theta, 1e-5)) < 1e-8
for name, losses in curve.items():
    print(f"{name:>20}: loss {losses[0]:.3f} -> {losses[-1]:.3f}, the gradient is off by {found[name]:.0e}")
    assert losses[-1] < losses[0]
    assert name == "right" or found[name] > 1e-3

# %% [markdown]
# All of them learn. A wrong gradient that still points somewhat downhill makes a network that is a little worse or a
# little slower, and nobody ever finds out. **A falling loss proves nothing; the check does.**
#
# The same for minidl's whole networks. One step of plain gradient descent with rate 1 moves each weight by minus its
# gradient, so the gradient can be read off from outside, in every engine, through the same doors as any user:

# %%
def of_a_model(engine):
    sizes = [shape[1] for shape in shapes if len(shape) == 2]
    model = minidl.Sequential([minidl.Dense(o, "sigmoid" if o == 1 else "tanh") for o in sizes])
    model.compile(minidl.SGD(1.0), "binary_crossentropy", engine=engine, dtype="float64")
    model(few)  # makes the weights
    model.set_weights([array for pair in layers_of(theta) for array in pair])
    before = model.get_weights()
    model.train_on_batch(few, few_y)
    after = model.get_weights()
    return np.concatenate([(old - new).ravel() for old, new in zip(before, after, strict=True)])


differences = central(theta, 1e-5)
for name in engines:
    whole = of_a_model(name)
    worst = np.max(np.abs(whole - differences)) / np.max(np.abs(differences))
    print(f"{name}: off by {worst:.0e} from the differences, by {off_by(whole):.0e} from our dozen lines")
    assert worst < 1e-8
    assert off_by(whole) < 1e-12

# %% [markdown]
# And each operation by itself, against its formula, in its own measure: the products in units of rounding times
# $|A||B|$, the slopes in units of rounding times the largest entry.

# %%
two = ("dense", "activations")
names = [name for name, operation in OPERATIONS.items() if operation.module in two and "_backward" in name]
measured = {name: {key: operations.error(engine, name) for key, engine in engines.items()} for name in names}
for name in names:
    assert max(measured[name].values()) <= OPERATIONS[name].bound, name
pd.DataFrame(measured).T.assign(bound=[OPERATIONS[name].bound for name in names]).map("{:.2f}".format)

# %% [markdown]
# ## Time: the slope from the output
#
# The output $a$ is there, and so might be the input $z$. Is it worth anything to write the slope with $a$?
#
# > **What would you expect?** $dy \odot a (1 - a)$ against $dy \odot \sigma(z) (1 - \sigma(z))$, for a million numbers:
# > the bytes are the same. How many times as long does the second take?

# %%
rng = np.random.default_rng(0)
z, dy = rng.standard_normal((2, 1, 1_000_000), np.float32)
a, into = numpy.sigmoid(z), np.empty_like(z)
rivals = {}
for name, engine in engines.items():
    rivals[f"{name}, from z"] = lambda e=engine: e.sigmoid_backward(dy, e.sigmoid(z, into), into)
    rivals[f"{name}, from a"] = lambda e=engine: e.sigmoid_backward(dy, a, into)
floor = None
if "numba" in engines:
    ceiling = ceilings.measure(seconds=3)
    floor = max(ceiling.limits(0, 3 * z.nbytes).values())
timed = timing.compare(rivals, validate=timing.close(1e-5), budget_seconds=1.5)
charts.times(timed, "The slope of a million sigmoids", floor=floor, floor_name="the bytes alone")

# %%
for name in engines:
    ratio = timing.ratio(timed.samples[f"{name}, from z"], timed.samples[f"{name}, from a"])
    print(f"{name}: from the output {ratio.value:.1f} times as fast")
    assert ratio.value > 1.2

# %% [markdown]
# And it saves more than time: only $A$ has to be kept until the way back, and $Z$ can be overwritten.
#
# ## Time: the products
#
# Each of the three products has $2nio$ operations, so each should take as long as the forward one. By the same count
# the bias costs nothing.

# %%
n, i, o = 256, 512, 512
x, dz = rng.standard_normal((n, i), np.float32), rng.standard_normal((n, o), np.float32)
weights, bias = rng.standard_normal((i, o), np.float32), np.zeros(o, np.float32)
fastest = engines.get("numba", numpy)
calls = {
    "forward, X W + b": lambda: fastest.dense(x, weights, bias),
    "by the weights, X' G": lambda: fastest.dense_backward_W(x, dz),
    "by the inputs, G W'": lambda: fastest.dense_backward_x(dz, weights),
    "by the bias": lambda: fastest.dense_backward_b(dz),
}
with threadpool_limits(1, "blas"):
    products = timing.compare(calls, budget_seconds=1.5)
floor = 2 * n * i * o / ceiling.peak(cores="all") / 1e9 if "numba" in engines else None
title = f"A layer of {i} inputs and {o} units, {n} rows ({fastest.name} engine)"
charts.times(products, title, floor=floor, floor_name="a product at the peak of all cores")

# %%
seconds = [its.least for its in products.timings.values()]
for name, taken in zip(list(calls)[:3], seconds, strict=False):
    print(f"{name:>20}: {2 * n * i * o / taken / 1e9:.0f} GFLOP/s")
assert max(seconds[:3]) < 3 * min(seconds[:3])
assert seconds[3] < seconds[0]

# %% [markdown]
# ## Time: the whole way back
#
# Count once more. Forward, every layer has one product; backward, two. So backward takes twice as long as forward, as
# every book says. But the *first* layer needs no $dX$: nobody wants the gradient by the data. With $F_l = 2 n i_l o_l$,
#
# $$\frac{\text{backward}}{\text{forward}} = \frac{2 \sum_l F_l - F_1}{\sum_l F_l}.$$
#
# > **What would you expect?** For a network 784-256-128-1, whose first layer is by far the largest, and for one with
# > four layers of equal size?

# %%
networks, lines = [(784, 256, 128, 1), (256, 256, 256, 256, 1), (512, 512, 512, 512, 1)], {}
for widths in networks:
    X_batch = rng.standard_normal((256, widths[0]), np.float32)
    y_batch = (rng.random((256, 1)) < 0.5).astype(np.float32)
    layers = [(rng.standard_normal((i, o), np.float32) / np.float32(math.sqrt(i)), np.zeros(o, np.float32))
              for i, o in itertools.pairwise(widths)]  # fmt: skip
    F = [2 * i * o for i, o in itertools.pairwise(widths)]
    line = {"counted": (2 * sum(F) - F[0]) / sum(F)}
    for name, engine in engines.items():
        with threadpool_limits(1, "blas"):
            kept = forward(engine, layers, X_batch)
            both = timing.compare({
                "forward": partial(forward, engine, layers, X_batch),
                "backward": partial(backward, engine, layers, *kept, y_batch),
            }, budget_seconds=0.8)  # fmt: skip
        line[name] = both.timings["backward"].least / both.timings["forward"].least
    lines["-".join(map(str, widths))] = line
ratios = pd.DataFrame(lines).T
ratios.map("{:.2f}".format)

# %%
assert ratios["numpy"].div(ratios["counted"]).between(0.5, 2).all()

# %% [markdown]
# (These are ratios of the least times. Numba shares large products among the cores, and how fast that is depends on
# what others leave of them.)
#
# A count on paper comes near to what is measured, on a machine that the paper knows nothing of. What is left
# over is the activations and what goes on around the products, which counts for more where the products are small.
#
# So a training step is about *three* forward passes, and less where the first layer is the largest. That is all it
# takes to know the slope of the loss by every single weight.
#
# ## Exercises
#
# **1.** There is a check without the left side of the V. For a function that can be computed with complex numbers,
# $f'(x) \approx \mathrm{Im}\, f(x + i h) / h$ subtracts nothing, so $h$ may be $10^{-30}$ (Squire and Trapp, 1998).
# Write the loss in plain NumPy (the engines take real numbers only), and check all weights to the last digits.
#
# <details><summary>Solution</summary>
#
# ```python
# def complex_loss(theta):
#     A = few
#     *hidden, (W, b) = layers_of(theta)
#     for inner_W, inner_b in hidden:
#         A = np.tanh(A @ inner_W + inner_b)
#     z = A @ W + b
#     return np.mean(np.log(1 + np.exp(z)) - few_y * z)
#
#
# h = 1e-30
# by_complex = np.array([complex_loss(theta + 1j * h * step).imag / h for step in np.eye(theta.size)])
# print(f"agrees to {off_by(by_complex):.0e}")
# assert off_by(by_complex) < 1e-13
# ```
# Nothing is subtracted, so nothing cancels, and $h^2$ is far below everything. It asks for functions that are analytic:
# with ReLU's `max` or an `abs` it is over.
# </details>
#
# **2.** ReLU has a kink. Check the gradient of the one-weight network $\mathrm{relu}(w)^2 + \mathrm{relu}(w)$ at $w =
# 10^{-6}$ with $h = 10^{-5}$. What does the check say, and who is right?
#
# <details><summary>Solution</summary>
#
# ```python
# def kinked(w):
#     a = max(w, 0.0)
#     return a * a + a
#
#
# w = 1e-6
# exact = 2 * w + 1
# for h in (1e-5, 1e-7):
#     checked = (kinked(w + h) - kinked(w - h)) / (2 * h)
#     print(f"h = {h:g}: {checked:.4f} instead of {exact:.4f}")
# assert abs((kinked(w + 1e-5) - kinked(w - 1e-5)) / 2e-5 - exact) > 0.4
# assert abs((kinked(w + 1e-7) - kinked(w - 1e-7)) / 2e-7 - exact) < 1e-6
# ```
# The gradient is right; the check has stepped over the kink. In a large network with ReLU some unit is always close to
# its kink, so a few entries fail. Check with tanh in its place, or look whether a smaller $h$ mends it.
# </details>
#
# **3.** Without backpropagation one would take differences: two forward passes for each weight. How many times as long
# would a step of 784-256-128-1 take?
#
# <details><summary>Solution</summary>
#
# ```python
# widths = networks[0]
# weights_in_all = sum(i * o + o for i, o in itertools.pairwise(widths))
# passes = 2 * weights_in_all
# backprop = 1 + lines["-".join(map(str, widths))]["counted"]
# print(f"{weights_in_all:,} weights: {passes:,} passes instead of {backprop:.1f}")
# print(f"{passes / backprop:,.0f} times as long")
# ```
# A step that takes a millisecond would take minutes; an epoch, most of a day. This is why the order of the chain rule
# matters: from the one loss backward each layer is passed once, from the many weights forward once for each of them.
# </details>
#
# Next: [07 · Gradient descent](07_gradient_descent.ipynb), on what to do with a gradient when one has it.
