# %% [markdown]
# # 12 · A case from end to end
#
# **At the end you will know** how to go from a CSV file to a predictor that keeps to its time, what each step on the
# way brings, how to tell that from chance, and how often the honest answer is: nothing. It takes half an hour.
#
# The task: a laboratory measures cells of a tumour and wants to know at once whether it is benign. *At once* means
# that 99 of 100 answers for a single tumour take at most
#
# $$ t_{\max} = 10\ \mu s $$
#
# because the answer is needed inside of another program's loop. The way is the one that such projects usually take:
# structure, data, batch size, optimiser, hardware, compression.

# %%
import minidl

minidl.get_engine("numba")  # says what to do where Numba is missing

from functools import partial

import numpy as np

from minidl import data
from minidl.bench import charts, timing, trials
from minidl.words import duration

LATENCY_MS = 0.010
table = data.read_csv(data.BREAST_CANCER, target="benign").astype(np.float32)
rows, test = table.split(0.25, seed=0)
print(table)
print(f"{len(rows)} rows to work with; {len(test)} in a drawer that is opened once, at the very end")

# %% [markdown]
# ## How to tell better from luckier
#
# Whatever is tried is trained on a random three quarters of the rows and judged by the other quarter, and that $J =
# 30$ times over, always on the same splits. So there are thirty differences between two ways of training, with a mean
# and a variance $s^2$. How far may the mean be from zero by chance? Not by $\sqrt{s^2 / J}$, as for independent
# experiments, since all share the same rows. Nadeau and Bengio (*Inference for the generalization error*, Machine
# Learning 52, 2003) correct it:
#
# $$ \text{margin} = 2 \sqrt{\left(\frac{1}{J} + \frac{n_{\text{judged}}}{n_{\text{trained}}}\right) s^2} $$
#
# What lies within the margin is called "no clear difference" here, and nobody may be proud of it.
#
# A training ends by itself: a fifth of its rows is watched instead of learnt from, and when their loss has not fallen
# for ten epochs, the best weights so far are put back. Thus no way of training is cut short, and none may go on until
# it has learnt the noise.

# %%
def recipe(hidden, normalize=True, more=None, batch_size=32, rate=0.001, finish=None, engine="numba"):
    """A way to train: given rows and a seed, the trained model, or what ``finish`` makes of it."""

    def train(rows, seed):
        learnt, watched = rows.split(0.2, seed)
        X, y = more(*learnt) if more else learnt
        layers = [minidl.Normalization()] if normalize else []
        layers += [minidl.Dense(units, "relu") for units in hidden]
        model = minidl.Sequential([*layers, minidl.Dense(1, "sigmoid")], seed=seed)
        model.compile(minidl.Adam(rate), "binary_crossentropy", engine=engine)
        stop = minidl.EarlyStopping(patience=10, restore_best_weights=True)
        model.fit(X, y, batch_size, 500, validation_data=(watched.X, watched.y), callbacks=[stop], verbose=0)
        return finish(model, rows) if finish else model

    return train


def judge(ways):
    for name, way in ways.items():
        tried[name] = way if isinstance(way, trials.Trials) else trials.run(way, rows, splits=30)
    return trials.table_of({name: tried[name] for name in ways})


tried = {}
guess = trials.run(lambda rows, seed: lambda X: np.full((len(X), 1), rows.y.mean()), rows, splits=30)
print(f"always 'benign': {guess.accuracy.mean():.1%} right, a loss of {guess.loss.mean():.2f} nats")

# %% [markdown]
# ## 1. Structure
#
# > **What would you expect?** No hidden layer at all, which is logistic regression with 31 parameters; 16 hidden
# > units; the 64 and 64 of chapter 00; 256 and 128 with forty thousand parameters. Which is the most accurate, and by
# > how many points?

# %%
judge(
    {
        "64 and 64 hidden units": recipe((64, 64)),
        "256 and 128": recipe((256, 128)),
        "16": recipe((16,)),
        "no hidden layer": recipe(()),
    }
)

# %%
assert trials.difference(tried["no hidden layer"], guess).verdict == "better"
assert trials.difference(tried["no hidden layer"], tried["64 and 64 hidden units"]).verdict != "worse"

# %% [markdown]
# The hidden layers bring nothing that could be told from chance. The 30 numbers have been chosen by people who knew
# what to look for, and a weighted sum of them is enough. So the smallest is kept: **no hidden layer**. (With twenty
# epochs for each, as one might do it in a hurry, the large network wins clearly. Exercise 1 shows why that says
# nothing about networks.)
#
# ## 2. Data
#
# What do the data need, and does it help to have more of them? Noise adds to the rows copies that are moved by a
# tenth of each feature's spread; mixup adds mixtures of two rows and of their labels. And what if only the first ten
# columns had been measured?

# %%
columns = [column.name for column in table.schema.columns]
few = data.read_csv(data.BREAST_CANCER, target="benign", drop=columns[10:]).astype(np.float32)
few, _ = few.split(0.25, seed=0)  # the same rows
judge(
    {
        "as it is": tried["no hidden layer"],
        "without Normalization": recipe((), normalize=False),
        "with noise": recipe((), more=partial(data.augment.noise, copies=2, seed=0)),
        "with mixup": recipe((), more=partial(data.augment.mixup, seed=0)),
        "ten features only": trials.run(recipe(()), few, splits=30),
    }
)

# %%
assert tried["without Normalization"].loss.mean() > 2 * tried["as it is"].loss.mean()
assert trials.difference(tried["ten features only"], tried["as it is"]).value < 0
for name in ("with noise", "with mixup"):
    assert trials.difference(tried[name], tried["as it is"]).verdict != "better"

# %% [markdown]
# Normalization is worth more points than everything else in this chapter together: without it, columns in thousands
# drown columns in thousandths. The loss says it even more clearly than the accuracy. More rows made out of the same
# rows bring nothing here. **Kept: Normalization, and the data as they are.**
#
# ## 3. Batch size
#
# > **What would you expect?** Batches of 1, 8, 32 and 128 rows. Which is the most accurate? Which is trained soonest?

# %%
judge(
    {
        "batches of 32": tried["no hidden layer"],
        "of 1": recipe((), batch_size=1),
        "of 8": recipe((), batch_size=8),
        "of 128": recipe((), batch_size=128),
    }
)

# %% [markdown]
# Small batches take many small steps in an epoch, large ones few; since each training goes on until its loss no
# longer falls, they come to the same place. There may be something to win in the time of the training, but a few
# milliseconds are nobody's problem here. **Kept: 32.**
#
# ## 4. Optimiser
#
# Adam's usual rate is 0.001. For a model without hidden layers, whose loss has a single minimum, that is timid.

# %%
judge(
    {
        "rate 0.001": tried["no hidden layer"],
        "rate 0.01": recipe((), rate=0.01),
        "rate 0.1": recipe((), rate=0.1),
    }
)

# %%
faster = np.median(tried["rate 0.001"].seconds) / np.median(tried["rate 0.01"].seconds)
print(f"trained {faster:.1f} times as fast with 0.01")
assert trials.difference(tried["rate 0.01"], tried["rate 0.001"]).verdict == "no clear difference"

# %% [markdown]
# A larger rate comes to the same accuracy in fewer epochs. **Kept: 0.01**, for the time of the training alone.
#
# ## 5. Hardware
#
# A GPU has to be sent the row and the order first, and that alone costs microseconds (chapter 10). What is left is
# the engine on the processor. Both engines go through the same steps, so their accuracy is the same.

# %%
judge({"Numba engine": tried["rate 0.01"], "NumPy engine": recipe((), rate=0.01, engine="numpy")})

# %%
one = rows.X[:1].copy()
start = recipe((64, 64), engine="numpy")(rows, 0)
small = recipe((), rate=0.01, engine="numpy")(rows, 0)
compiled = recipe((), rate=0.01)(rows, 0)
answers = {
    "64 and 64, NumPy": lambda: start.predict(one),
    "no hidden layer, NumPy": lambda: small.predict(one),
    "no hidden layer, Numba": lambda: compiled.predict(one),
}
found = timing.compare(answers)
charts.times(found, "One answer by predict", floor=LATENCY_MS / 1e3, floor_name="the bound")

# %%
assert abs(tried["Numba engine"].accuracy - tried["NumPy engine"].accuracy).mean() < 0.01
assert found.speedups["no hidden layer, Numba"].value > 1.3
print(f"{start.count_params():,} numbers in the large network, {small.count_params()} in the small one")

# %% [markdown]
# Here is something at last: the engine makes the difference that the size of the network does not. The small network
# has some seventy times fewer numbers and is not even twice as fast with NumPy, because most of the time of one
# answer is the way from Python into the arithmetic and back.
#
# ## 6. Compression
#
# A `predictor` is a copy that only predicts: the normalization is multiplied into the weights, and each call goes the
# shortest way. int8 makes each weight a byte. Pruning leaves out the units that matter least. What would compression
# have made of the large network, and what does it make of ours?

# %%
def int8(model, rows):
    return model.predictor("int8", calibration_data=rows.X)


def half(model, rows):
    return minidl.prune.units(model, 0.5).predictor()


judge(
    {
        "64 and 64": tried["64 and 64 hidden units"],
        "64 and 64, int8": recipe((64, 64), finish=int8),
        "half of the units": recipe((64, 64), finish=half),
        "ours": tried["rate 0.01"],
        "ours, int8": recipe((), rate=0.01, finish=int8),
    }
).drop(columns="training")

# %%
large = recipe((64, 64))(rows, 0)
forms = {
    "64 and 64, predict": large.predict,
    "64 and 64, predictor": large.predictor(),
    "64 and 64, int8": int8(large, rows),
    "half of the units": half(large, rows),
    "ours, predict": compiled.predict,
    "ours, predictor": compiled.predictor(),
    "ours, int8": int8(compiled, rows),
}
found = timing.compare({name: partial(form, one) for name, form in forms.items()})
charts.times(found, "One answer, compressed")

# %%
sizes = {name: getattr(form, "nbytes", None) for name, form in forms.items()}
print(", ".join(f"{name}: {size:,} bytes" for name, size in sizes.items() if size))
assert found.speedups["64 and 64, predictor"].value > 1.3
assert sizes["64 and 64, int8"] < sizes["64 and 64, predictor"] / 2

# %% [markdown]
# The predictor is several times as fast as `predict` and computes the same; what it saves is looking twice at every
# argument. int8 makes less than a third of the large network's bytes and loses nothing. Pruning half of the units
# makes a third, with a somewhat higher loss. But all of them are far behind the simplest compression, leaving out the
# hidden layers; and of ours int8 makes *more* bytes, since it has to note the step of each unit. **Kept: the
# predictor, in float32.**
#
# ## What each step brought
#
# The whole way once more, everything measured in turns. Normalization has no line, for it was there from the start;
# what it is worth stands in the table of step 2.

# %%
timid = recipe((), engine="numpy")(rows, 0)
predictor = compiled.predictor()
steps = {  # the trials, what answers, how it is trained
    "0 start: 64 and 64, NumPy": (tried["64 and 64 hidden units"], start, recipe((64, 64), engine="numpy")),
    "1 structure: no hidden layer": (tried["no hidden layer"], timid, recipe((), engine="numpy")),
    "4 optimiser: rate 0.01": (tried["NumPy engine"], small, recipe((), rate=0.01, engine="numpy")),
    "5 hardware: Numba": (tried["Numba engine"], compiled, recipe((), rate=0.01)),
    "6 compression: predictor": (tried["Numba engine"], predictor, recipe((), rate=0.01)),
}
answer = timing.compare({name: partial(getattr(form, "predict", form), one) for name, (_, form, _) in steps.items()})
training = timing.compare({name: partial(train, rows, 0) for name, (_, _, train) in steps.items()}, repeat=(3, 5))
lines = trials.table_of({name: step[0] for name, step in steps.items()}).drop(columns=["loss", "training"])
lines["one answer"] = [duration(time.median) for time in answer.timings.values()]
lines["a training"] = [duration(time.median) for time in training.timings.values()]
sizes = [sum(w.nbytes for w in form.weights) for _, form, _ in list(steps.values())[:-1]] + [predictor.nbytes]
lines["bytes"] = [f"{size:,}" for size in sizes]
for name in ("2 data: nothing new", "3 batch size: nothing new"):
    lines.loc[name] = ["", "", "nothing gained", "", "", ""]
lines.sort_index()

# %%
charts.times(answer, "One answer, step by step", floor=LATENCY_MS / 1e3, floor_name="the bound")

# %%
first, *_, last = steps
for what, measured in (("one answer", answer), ("a training", training)):
    print(f"{what}: {measured.speedups[last].value:.0f} times as fast as at the start")
assert answer.speedups[last].value > 3
assert trials.difference(steps[last][0], steps[first][0]).verdict != "worse"

# %% [markdown]
# **What brought something:** Normalization, several points of accuracy, without which everything else would have been
# in vain. The engine and the predictor, most of the time of an answer. Leaving out the hidden layers, most of the
# bytes; it made a training longer, since a small model learns less in an epoch. The rate and the engine made up for
# that many times over.
#
# **What brought nothing that could be told from chance:** hidden layers, noise, mixup, the batch size, int8, pruning.
# On other data each of them may decide. The point is to know, and it has taken seconds.
#
# ## The drawer
#
# Thirty splits or not, all these decisions were made with the same 427 rows. Whether they hold is told by rows that
# have had no part in any of them, once.

# %%
final = recipe((), rate=0.01)(rows, 0)
final.save("diagnosis.safetensors")
predictor = minidl.load_model("diagnosis.safetensors").predictor()
p = predictor(test.X)
right, n, z = int(((p > 0.5) == test.y).sum()), len(test), 1.96
centre = (right + z**2 / 2) / (n + z**2)
margin = z / (n + z**2) * np.sqrt(right * (n - right) / n + z**2 / 4)
missed, alarms = int(((p > 0.5) & (test.y == 0)).sum()), int(((p <= 0.5) & (test.y == 1)).sum())
print(f"{right} of {n} right: {right / n:.1%}, 95% between {centre - margin:.1%} and {centre + margin:.1%}")
print(f"{missed} malignant called benign, {alarms} benign called malignant")
assert centre + margin > tried["rate 0.01"].accuracy.mean() - 0.02

# %% [markdown]
# The interval (Wilson's, 1927) is wide, since 142 rows are few; what thirty splits had promised lies within its
# reach. And the bound? It speaks of 99 of 100 answers, so a median does not do. `tune.batch_size` times every call by
# itself, and says as well how many tumours could be answered in one call within the bound.

# %%
sizes = minidl.tune.batch_size(predictor, test.X, LATENCY_MS, seconds=2, verbose=0)
sizes

# %%
kept = sizes.found.set_index("rows").p99_ms[1] <= LATENCY_MS
print(f"the bound of {LATENCY_MS * 1e3:g} us is {'kept' if kept else 'not kept on this machine, or it is busy'}")

# %% [markdown]
# At last the ceiling: how long would the arithmetic and the bytes alone have taken (chapter 02)?

# %%
predictor.summary()

# %% [markdown]
# For one row the arithmetic is next to nothing, and the call is everything; no network, however small, would be
# answered much sooner from Python. So this is where to stop. Who needs more answers a second takes more rows at a
# time.
#
# ## Exercises
#
# **1.** Compare the large network and no hidden layer again, but train each for 20 epochs, as one might do in a
# hurry. What would you have concluded?
#
# <details><summary>Solution</summary>
#
# ```python
# def hurried(hidden):
#     def train(rows, seed):
#         layers = [minidl.Normalization(), *(minidl.Dense(units, "relu") for units in hidden)]
#         model = minidl.Sequential([*layers, minidl.Dense(1, "sigmoid")], seed=seed)
#         model.compile("adam", "binary_crossentropy")
#         model.fit(rows.X, rows.y, epochs=20, verbose=0)
#         return model
#
#     return train
#
#
# found = {str(hidden): trials.run(hurried(hidden), rows, splits=30) for hidden in ((64, 64), ())}
# print(trials.table_of(found))
# assert trials.difference(found["()"], found["(64, 64)"]).value < -0.02
# ```
# The large network seems to be better by points. It only learns more in an epoch, having more weights that move at
# the same rate. Who compares has to let each go to its end.
# </details>
#
# **2.** Add noisy copies to all 427 rows *first*, and then let `fit` hold out a fifth by `validation_split`. How good
# does the network look, and how good is it in the drawer?
#
# <details><summary>Solution</summary>
#
# ```python
# X, y = data.augment.noise(*rows, copies=4, seed=0)
# model = minidl.Sequential([minidl.Normalization(), minidl.Dense(256, "relu"), minidl.Dense(1, "sigmoid")], seed=0)
# model.compile("adam", "binary_crossentropy")
# history = model.fit(X, y, epochs=200, validation_split=0.2, verbose=0)
# looks, is_ = history.history["val_loss"][-1], model.evaluate(test.X, test.y, verbose=0)
# print(f"a loss of {looks:.4f} on what was held out, {is_:.4f} in the drawer")
# assert looks < is_
# ```
# The rows held out were copies of rows that had been learnt. Part first, add afterwards, and only to what is learnt
# from.
# </details>
#
# **3.** A malignant tumour called benign is worse than the opposite. Find, without opening the drawer, the threshold
# above which 99 of 100 malignant tumours are not called benign, and then see what it does in the drawer.
#
# <details><summary>Solution</summary>
#
# ```python
# malignant = []
# for split in range(30):
#     learnt, judged = rows.split(0.25, split)
#     scores = recipe((), rate=0.01)(learnt, split)(judged.X)
#     malignant.append(scores[judged.y == 0])
# threshold = np.quantile(np.concatenate(malignant), 0.99)
# missed, alarms = int(((p > threshold) & (test.y == 0)).sum()), int(((p <= threshold) & (test.y == 1)).sum())
# print(f"above {threshold:.3f}: {missed} malignant called benign, {alarms} benign called malignant")
# assert threshold > 0.5
# ```
# The judged rows have played no part in the training that scores them, so the threshold is not made of what it is to
# judge.
# </details>
#
# You have come to the end. Go back to any chapter with your own data: `data.read_csv` is where they come in.
