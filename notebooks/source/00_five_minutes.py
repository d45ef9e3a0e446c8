# %% [markdown]
# # 00 · Five minutes
#
# **At the end you will know** how to train a neural network on real data, how to tell how good it is, how to ask it
# and keep it in a file, and what this course is about: the same network, from the same numbers to the same numbers,
# can take many times as long in one program as in another, and you can find out why. It takes five minutes.
#
# minidl is installed from its folder by `pip install ".[notebooks]"`. A GPU is not needed.

# %%
from functools import partial

import pandas as pd

import minidl
from minidl import data
from minidl.bench import charts, timing
from minidl.engines import why_not
from minidl.words import duration

# %% [markdown]
# ## The data
#
# 569 tumours of the breast. Some cells of each were taken with a fine needle and photographed, and 30 numbers
# describe their nuclei: how large they are, how round, how rough. What became of it is known, too: 1 stands for
# benign, 0 for malignant. (Wolberg, Mangasarian, Street and Street, *Breast Cancer Wisconsin (Diagnostic)*, 1993.)
#
# A quarter is put aside. The network never learns from it, so it can tell us what the network has understood.

# %%
X, y = data.load_breast_cancer()
X_train, X_test, y_train, y_test = data.train_test_split(X, y, 0.25, seed=0)
print(f"{len(X_train)} tumours to learn from, {len(X_test)} put aside, {X.shape[1]} numbers each")
print(f"{y.mean():.0%} of all are benign: who always says so is right that often")

# %% [markdown]
# ## A network, trained
#
# The words are Keras's. `Normalization` brings the 30 numbers to one scale, two layers of 64 units do the thinking,
# and the sigmoid at the end makes a probability of the result: that the tumour is benign. An *epoch* is one time
# through all the training data; 20 of them will do.

# %%
def network(engine="auto"):
    layers = [minidl.Normalization(), minidl.Dense(64, "relu"), minidl.Dense(64, "relu"), minidl.Dense(1, "sigmoid")]
    model = minidl.Sequential(layers, seed=0)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"], engine=engine)
    return model


model = network()
history = model.fit(X_train, y_train, epochs=20, validation_split=0.2, verbose=0)
history.plot()

# %% [markdown]
# (The first training on a machine takes some 20 seconds longer: Numba compiles the engine for this very processor.
# What it has made is kept, and from then on it is there at once.)
#
# The loss is what training makes small. `validation_split` has kept a fifth of the rows out of it: on those the loss
# ends higher, because part of what a network learns is true of the rows it has seen and of no others. The next cell
# asserts that: what this course claims stands in an `assert`, so that a cell fails where a sentence is not true of your
# machine. Then it shows the model itself.

# %%
assert history.history["loss"][-1] < history.history["val_loss"][-1] < history.history["val_loss"][0]
model

# %% [markdown]
# ## Ask it
#
# `predict` gives a probability for each tumour. Here are five of those put aside, and then how it went with all of
# them.

# %%
probability = model.predict(X_test)
answer, loss_and_accuracy = probability > 0.5, model.evaluate(X_test, y_test, verbose=0)
words = {0: "malignant", 1: "benign"}
pd.DataFrame(
    {
        "probability that it is benign": [f"{p:.4f}" for p in probability[:5, 0]],
        "the network says": [words[int(a)] for a in answer[:5, 0]],
        "it was": [words[int(a)] for a in y_test[:5, 0]],
    }
)

# %%
missed, alarms = int((answer & (y_test == 0)).sum()), int((~answer & (y_test == 1)).sum())
print(f"right: {loss_and_accuracy[1]:.1%} of {len(X_test)}")
print(f"wrong: {missed} malignant called benign, {alarms} benign called malignant")
assert loss_and_accuracy[1] > 0.9

# %% [markdown]
# The first kind of mistake is by far the worse one. Chapter 12 comes back to it; the second exercise below, too.
#
# ## Every formula can be looked at
#
# Nothing in minidl is hidden. The sigmoid at the end of the network is one formula, written down once and then
# programmed in each *engine*: in NumPy to be read, in Numba to be fast, in CuPy for a GPU. `explain` shows all of it,
# with the live source, how far each is from the formula in units of the last digit (ulp), and how long it takes on
# this machine, measured now.

# %%
minidl.explain("sigmoid")

# %% [markdown]
# ## The same network in each engine
#
# That was one formula, on a large array. In a training the arrays are small, 32 rows at a time, and NumPy is a compiled
# library itself.
#
# > **What would you expect?** Each engine trains the network above: the same first weights, the same rows in the same
# > order, 20 epochs. How many times as fast can another engine be? And how far will the two losses be apart at the end?
#
# (`timing.compare` first checks that the engines agree, here in their losses to four digits, then times them in turns.
# Chapter 01 tells why it has to be done so.)

# %%
engines = [name for name in ("numpy", "numba", "cupy") if not why_not(name)]
print("here:", ", ".join(engines))
for name in ("numba", "cupy"):
    if name not in engines:
        print("not here:", why_not(name).split(";")[0])

models = {}


def prepare(name):
    models[name] = network(name)


def train(name):
    return models[name].fit(X_train, y_train, epochs=20, verbose=0).history["loss"]


rivals = {name: partial(train, name) for name in engines}
found = timing.compare(rivals, prepare=prepare, validate=timing.close(1e-4))
losses = {name: models[name].history.history["loss"] for name in engines}
charts.race(losses, found, "One training ...", ylabel="loss", per="for 20 epochs")

# %% [markdown]
# One curve lies upon the other. Every rival that is timed in this course has first been held against the others; if
# they did not agree, nothing would have been timed. What is left between them is rounding:

# %%
for name in engines[1:]:
    apart = max(abs(a - b) / a for a, b in zip(losses["numpy"], losses[name], strict=True))
    print(f"{name}: its losses differ from NumPy's by {apart:.0e} of their size at most")
    assert apart < 1e-4
if "numba" in engines:
    print(f"{found.speedups['numba'].value:.1f} times as fast")
    assert found.speedups["numba"].value > 1.5

# %% [markdown]
# So the speed costs no accuracy. Nor does it come from less arithmetic: both do the same. It comes from what happens
# around the arithmetic, from calls, temporary arrays, ways to the memory and back. That is what this course is about.
#
# ## Keep it
#
# A file holds the layers, the weights and what the normalization has learned. What comes back predicts the same, to
# the bit. And `predictor` makes a copy that can do nothing but predict, and that as fast as can be.

# %%
model.save("model.safetensors")
again = minidl.load_model("model.safetensors")
assert (again.predict(X_test) == probability).all()

predictor = again.predictor()
one_row = X_test[:1]
once = timing.compare({"predict": lambda: again.predict(one_row), "predictor": lambda: predictor(one_row)})
for name, timed in once.timings.items():
    print(f"{name}: {duration(timed.median)} for one tumour")

# %% [markdown]
# ## The map
#
# Each chapter stands for itself, takes some twenty minutes, and goes the same way: the **formula**, its **versions**
# side by side, their **error**, and their **time** against what the machine can do at most. Who knows NumPy, but has
# never thought about caches, is best served by 01 and 02 first, then 05 and 09.
#
# | | chapter | the question |
# |---|---|---|
# | [01] | How to time | How do you find out how long something takes, and who is faster? |
# | [02] | Your machine's ceiling | How fast can it be at most? |
# | [03] | Activations | Why do equal formulas give different digits, and what does a pass through the memory cost? |
# | [04] | Losses | Where does a loss become infinite or nothing though the formula says otherwise? |
# | [05] | The dense layer | How does a matrix product get from three loops to the processor's peak? |
# | [06] | Backpropagation | Where do the gradients come from, and what do they cost? |
# | [07] | Gradient descent | What do SGD, momentum and Adam do, and why is their time a matter of bytes? |
# | [08] | Batch size | How many rows at a time: for one answer, for many, for learning? |
# | [09] | One compiled epoch | Where does the time go when arrays are small, and how does it vanish? |
# | [10] | The GPU | When is it worth the way there? |
# | [11] | Smaller | How much of a network can be left out, in bits and in weights? |
# | [12] | A case from end to end | From a CSV file to a predictor in time: what helped, and what did not? |
#
# [01]: 01_how_to_time.ipynb
# [02]: 02_your_machines_ceiling.ipynb
# [03]: 03_activations.ipynb
# [04]: 04_losses.ipynb
# [05]: 05_the_dense_layer.ipynb
# [06]: 06_backpropagation.ipynb
# [07]: 07_gradient_descent.ipynb
# [08]: 08_batch_size.ipynb
# [09]: 09_one_compiled_epoch.ipynb
# [10]: 10_the_gpu.ipynb
# [11]: 11_smaller.ipynb
# [12]: 12_a_case_from_end_to_end.ipynb
#
# ## Exercises
#
# **1.** Leave `Normalization` out of the network. How good is it then on the tumours put aside?
#
# <details><summary>Solution</summary>
#
# ```python
# bare = minidl.Sequential([minidl.Dense(64, "relu"), minidl.Dense(64, "relu"), minidl.Dense(1, "sigmoid")], seed=0)
# bare.compile("adam", "binary_crossentropy", metrics=["accuracy"])
# bare.fit(X_train, y_train, epochs=20, verbose=0)
# print(bare.evaluate(X_test, y_test, verbose=0), "instead of", loss_and_accuracy)
# assert bare.evaluate(X_test, y_test, verbose=0)[0] > loss_and_accuracy[0]
# ```
# Much of the table is in thousandths (how smooth a nucleus is), its areas are in hundreds and thousands, and the large
# numbers drown the small ones. The loss tells it more clearly than the accuracy.
# </details>
#
# **2.** A malignant tumour must not be called benign. Call a tumour benign only where the probability is higher than
# some threshold: how high must it be for none to be missed, and how many more false alarms does that cost?
#
# <details><summary>Solution</summary>
#
# ```python
# threshold = probability[y_test == 0].max()
# careful = probability > threshold
# assert not (careful & (y_test == 0)).any()
# print(f"above {threshold:.3f}: none missed, {int((~careful & (y_test == 1)).sum())} false alarms instead of {alarms}")
# ```
# That threshold has been chosen by the very tumours that judge it, so it promises too much. It has to be chosen by
# others: by a third part of the data, as in chapter 12.
# </details>
#
# **3.** Ask for another formula: `minidl.explain()` lists all there are. What does the derivative of the softmax look
# like, and which engine is faster?
#
# <details><summary>Solution</summary>
#
# ```python
# shown = minidl.explain("softmax_backward")
# for column in shown.columns:
#     print(column.engine, duration(column.measured["seconds"]) if column.measured else column.reason)
# ```
# In a cell of its own, `minidl.explain("softmax_backward")` shows all of it.
# </details>
#
# Next: [01 · How to time](01_how_to_time.ipynb), because from here on everything is measured. Or go where you are
# curious.
