# %% [markdown]
# # 10 · The GPU
#
# **At the end you will know** what a kernel is and how to read one; which four things take the time on a GPU
# (transfers, launches, bandwidth, arithmetic); why small networks are often slower there; and how a missing barrier
# looks. You need no GPU: the kernels run here on your processor, thread by thread. It takes about thirty minutes,
# half a minute of them computing.
#
# This chapter says of every figure whether it was **measured here**, taken from a **datasheet**, or **assumed**.

# %%
import textwrap

import numpy as np

import minidl
from minidl import contract, oracle
from minidl.bench import charts, datasheets, drawings, gpu_kernels, listings, machine, recorded, timing
from minidl.engines import why_not
from minidl.engines.cupy_engine import kernels
from minidl.engines.cupy_engine.captured import CapturedForward
from minidl.engines.cupy_engine.gpu_on_cpu import build
from minidl.engines.cupy_engine.gpu_on_cpu.device import ORDERS, CpuDevice

here = not build.why_not()
print("a GPU:", "none that can be used" if why_not("cupy") else machine.gpu())
print("the kernels on the processor:", build.why_not() or "yes, compiled by g++ when first asked for, in some seconds")

# %% [markdown]
# ## The formula
#
# A GPU is a second computer with its own memory, behind a bus. A network of layers $l$ takes there
#
# $$t = \underbrace{\frac{\text{bytes sent and fetched}}{\text{bus}}}_{\text{transfers}}
# + \underbrace{m\,t_\text{launch}}_{\text{launches}}
# + \sum_l \max\Big(\underbrace{\frac{\text{bytes}_l}{\text{memory}}}_{\text{bandwidth}},\;
# \underbrace{\frac{\text{operations}_l}{\text{peak}}}_{\text{arithmetic}}\Big).$$
#
# The last two are the roofline of chapter 02 with larger numbers. The first two are new, and for small networks they
# are all there is. Two cards, by their **datasheets**, beside this machine where that can be measured:

# %%
print(f"{'':28}{'float32':>16}{'memory':>12}{'bus':>10}")
for card in datasheets.CARDS:
    print(f"{card.name:28}{card.gflops:9,.0f} GFLOP/s{card.memory:7,.0f} GB/s{card.bus:5.0f} GB/s   {card.source}")
if not why_not("numba"):
    from minidl.bench import ceilings

    found = ceilings.measure(seconds=2)
    print(f"{machine.processor() + ', all cores':28}{found.peak('float32', 'all'):9,.0f} GFLOP/s"
          f"{found.bandwidth('memory', cores='all'):7,.0f} GB/s{'-':>10}   measured here")  # fmt: skip
overheads = datasheets.Overheads()  # assumed: change them here and see what follows
print("\nassumed:", f"{1e6 * overheads.launch:.0f} us for a launch from Python,",
      f"{1e6 * overheads.in_graph:.0f} us for one in a recorded graph,",
      f"{1e6 * overheads.round_trip:.0f} us for the way there and back")  # fmt: skip

# %% [markdown]
# > **What would you expect?** Of 784-256-128-1, from how many rows on is the large GPU faster than your processor, if
# > the rows have to be sent there first?

# %%
widths, counts = (784, 256, 128, 1), np.array([1, 4, 16, 64, 256, 1024, 4096])
layers = [minidl.Dense(256, "relu", input_shape=(784,)), minidl.Dense(128, "relu"), minidl.Dense(1, "sigmoid")]
predictor = minidl.Sequential(layers, seed=0).predictor(max_batch=4096)
rows = np.random.default_rng(0).normal(size=(4096, 784)).astype(np.float32)
lines = {"this processor, measured": []}
for n in counts:
    call = {"it": lambda n=n: predictor(rows[:n])}
    lines["this processor, measured"].append(1e6 * timing.compare(call, budget_seconds=0.2).timings["it"].median)
EAGER, CAPTURED = 15, 4  # launches: NumPy's operations, counted; and a kernel for each layer, one for the output
for card in datasheets.CARDS:
    there = [datasheets.forward_seconds(card, widths, n) for n in counts]
    sent = [datasheets.bus_seconds(card, 785 * n) + overheads.round_trip for n in counts]
    asked = overheads.launch + CAPTURED * overheads.in_graph
    lines[f"{card.name}: rows are there, graph"] = [1e6 * (t + asked) for t in there]
    lines[f"{card.name}: rows sent, eager"] = [1e6 * (t + EAGER * overheads.launch + s)
                                               for t, s in zip(there, sent, strict=True)]  # fmt: skip
title = "784-256-128-1 forward: a measured CPU and modelled GPUs"
charts.curves({name: (counts, taken) for name, taken in lines.items()}, title, "rows", "us", logx=True, logy=True)

# %% [markdown]
# One curve is measured; **the four others are the formula**, with datasheet and assumed figures, and real cards will
# be slower than that: no kernel reaches a datasheet. What the picture says all the same is its shape. Each GPU curve
# is flat at first: there it computes nothing worth speaking of, it waits for launches and for the bus. A processor
# that answers one row in a few microseconds is not beaten by a card that takes as long to be asked. Far to the right
# the card has all of the advantage that its peak and its bandwidth promise, as long as the rows need not be sent
# first.

# %%
cpu = np.array(lines["this processor, measured"])
for name, taken in list(lines.items())[1:]:
    faster = counts[np.array(taken) < cpu]
    print(f"{name:40} " + (f"faster from about {faster[0]:,} rows on" if len(faster) else "never faster here"))
assert lines[f"{datasheets.CARDS[0].name}: rows sent, eager"][0] > 10  # one row is overhead, by any datasheet

# %% [markdown]
# ## A kernel
#
# A kernel is a function that very many threads run at once. They live on four levels:

# %%
drawings.of_gpu()

# %% [markdown]
# What follows is minidl's own code, as it stands in `kernels.cu` and its chapters. (CuPy's operations are kernels,
# too; these are written so as to be read, and to be recorded in a graph.) The simplest one treats every number for
# itself:

# %%
listings.cuda("batch.cuh", "for_all", "A grid of any size goes through all numbers; neighbours take neighbours.")

# %%
listings.cuda("elementwise.cuh", "activation", "An activation: one line, since for_all has said who does what.")

# %% [markdown]
# Neighbouring threads take neighbouring numbers: memory is read in pieces of 32 to 128 bytes, and a piece that serves
# a whole warp is read once. (The same kernel with neighbours far apart would read up to 32 times as much.)
#
# Within a warp, lanes can read each other's registers. A sum over 32 lanes takes five steps, without any memory:

# %%
listings.cuda("warp.cuh", "sum_of_lanes")

# %% [markdown]
# ### The matrix product, again
#
# Chapter 05 had registers, then caches, and packing. Here the same ideas have other names: a block computes a tile of
# the result, its slices of $A$ and $B$ lie in *shared memory*, and each lane holds its entries of the tile in
# registers.

# %%
listings.cuda("product.cuh", "multiply_float32", "What a lane does with a slice: the micro-kernel of chapter 05.")

# %%
listings.cuda("product.cuh", "product", "Slices come from the large memory while the ones before are multiplied.")

# %% [markdown]
# While the warps multiply one slice, the next two are on their way (`copy_async`): that hides the large memory's
# latency, which is several hundred cycles. And `visit` is called with each finished number *before* it is stored:
# bias, activation and dropout happen there, so that they cost no way through the memory. That is **fusion**:

# %%
listings.cuda("dense.cuh", "forward_tile", "The dense layer forward, with what follows it.")

# %% [markdown]
# ## Error
#
# Run them. The header `gpu_on_cpu/cuda_on_cpu.h` stands in for CUDA where g++ compiles the very same file: each
# thread becomes a fibre with a stack of its own, which runs until it has to wait for others. Nothing is faster by it,
# but the result is the GPU's, up to how the hardware rounds where it says so in the header.
#
# The tensor cores of newer cards multiply faster, if numbers may first be rounded to 11 significant bits (TF32).
#
# > **What would you expect?** How many times larger is the error with TF32? And if the part that was rounded off is
# > multiplied, too (three TF32 products in place of one)?

# %%
rng = np.random.default_rng(0)
x, W, b = (rng.normal(size=shape).astype(np.float32) for shape in ((40, 100), (100, 36), (36,)))
exact, scale = x.astype(np.float64) @ W + b, np.abs(x).astype(np.float64) @ np.abs(W) + np.abs(b)
error = {"numpy": oracle.relative_error(minidl.get_engine("numpy").dense(x, W, b), exact, scale)}
if here:
    device = CpuDevice("shuffled")
    precisions = {"float32": kernels.FLOAT32, "TF32": kernels.TF32, "three TF32": kernels.THREE_TF32}
    for name, precision in precisions.items():
        y = gpu_kernels.dense(device, x, W, b, precision)
        error[f"cupy kernel, {name}"] = oracle.relative_error(y, exact, scale)
    assert error["cupy kernel, float32"] < contract.OPERATIONS["dense"].bound
    assert error["cupy kernel, three TF32"] < contract.OPERATIONS["dense"].bound
    assert error["cupy kernel, TF32"] > 50 * error["cupy kernel, float32"]
charts.bars(error, "Error of y = x W + b, run on the processor", "max |C^ - C| / (u |A||B|)", log=True)

# %% [markdown]
# One TF32 product is wrong in the third digit; three of them are as good as float32 arithmetic, and on a data-centre
# card still faster than it (by the datasheet: TF32 has more than seven times the peak of float32 there). Which of
# them runs is what `compile(matmul_precision=)` chooses.
#
# ### What a missing barrier does
#
# Threads of a block meet in shared memory: some write, all wait (`__syncthreads`), others read. Here is the way one
# row goes through a layer: 16 warps share the inputs, and one warp adds up what they have found.

# %%
listings.cuda("persistent.cuh", "row_layer", "One row through one layer.")

# %% [markdown]
# Take the first barrier out, and warp 0 may add up what the others have not yet written. *May*: it depends on who
# runs first. On a GPU that is for the hardware to say, which can go well a million times. Here we can choose: threads
# take turns forward, backward, or shuffled, and what was never written is NaN.
#
# > **What would you expect?** Warp 0 reads. In which of the three orders is the result wrong?

# %%
model = minidl.Sequential([minidl.Dense(64, "relu", input_shape=(30,)), minidl.Dense(1)], seed=0)
model.compile("sgd", "mse", engine="numpy")
row = rng.normal(size=(1, 30)).astype(np.float32)


def answers(library=None):
    """What the network says of one row, by the order in which the threads have their turns."""
    found = {}
    for order in ORDERS:
        out = np.empty((1, 1), np.float32)
        CapturedForward(model._program, 1, device=CpuDevice(order, library=library)).predict(row, out)
        found[order] = float(out[0, 0])
    return found


if here:
    whole = answers()
    broken = answers(gpu_kernels.without_barrier("part[warp()][lane()] = sum;"))
    print(f"NumPy engine       {float(model.predict(row)[0, 0]):9.6f}")
    for order in ORDERS:
        print(f"turns {order:10}   {whole[order]:9.6f} with the barrier   {broken[order]:9.6f} without")
    assert np.allclose(list(whole.values()), model.predict(row)[0, 0], rtol=1e-4)
    assert np.isnan(broken["forward"])
    assert not np.isnan(broken["backward"])
else:
    print("not run here:", build.why_not())

# %% [markdown]
# In the order *backward* warp 0 comes last, and the broken kernel is right. **A test that passes in one order proves
# nothing.** And the next one is worse, since it gives no NaN. Before a tile is written to the shared memory where the
# slices have been, everyone must have done with the slices:

# %%
if here:
    before = "auto& finished = shared<Finished<TILE>>();  // where the slices have been"
    library = gpu_kernels.without_barrier(before)
    for order in ORDERS:
        y = gpu_kernels.dense(CpuDevice(order, library=library), x, W, b)
        wrong = np.abs(y - exact) > 1e-3
        print(f"turns {order:10} {np.count_nonzero(wrong):5} of {y.size} entries are wrong, none of them NaN")
        assert wrong.any()
        assert not np.isnan(y).any()

# %% [markdown]
# Plausible numbers, half of them wrong. minidl's tests run every kernel in several orders, plant such faults on
# purpose, and look for writes beyond the end of anything (`tests/test_gpu_kernels.py`).
#
# ## Eager, fused, captured
#
# A training step of 784-256-128-1 by Adam. How many launches is it? In the readable engine each operation is one or
# several. With fusion they are few, and we can count them here, by recording the step as a graph on the processor:

# %%
network = minidl.Sequential([minidl.Dense(64, "relu", input_shape=(30,)), minidl.Dense(64, "relu"),
                             minidl.Dense(1, "sigmoid")], seed=0)  # fmt: skip
network.compile("adam", "binary_crossentropy", engine="numpy")
X = rng.normal(size=(256, 30)).astype(np.float32)
y = (X.sum(axis=1, keepdims=True) > 0).astype(np.float32)
orders = np.array([rng.permutation(len(X)) for _ in range(4)])
theta = {}
for way in ("numpy", *(("captured", "one launch") if here else ())):
    device = CpuDevice("shuffled") if here else None
    trainer = gpu_kernels.trainer(network, X, y, 32, way, device)
    trainer.run(orders, 0, len(X))
    trainer.pull()
    theta[way] = trainer.program.theta
    if way == "captured":
        step = [call[0].name for call in trainer.one.calls]
        print(f"a captured step is {len(step)} kernels: {', '.join(step)}")
    if way == "one launch":
        print(f"all {orders.size // 32} steps in {device.launches} launch")
for way, found in theta.items():
    apart = np.abs(found - theta["numpy"]).max()
    print(f"{way:12} weights after 32 steps differ from NumPy's by {apart:.1e} at most")
    assert np.allclose(found, theta["numpy"], atol=1e-4)

# %% [markdown]
# - **Eager**: Python asks for each operation. The card is idle while Python thinks.
# - **Fused**: what follows a product is done along with it. Fewer launches, fewer ways through the large memory.
# - **Captured**: a step is recorded once as a graph and then replayed by one call for sixteen steps. For that nothing
#   may be known to Python alone: where the batch begins and which step it is, the kernels read from the GPU's memory.
# - **One launch**: the blocks stay on the card for all steps, and wait for each other where a kernel would have
#   ended.
#
# The last two, in the code:

# %%
listings.cuda("batch.cuh", "begin_batch", "So a recorded step finds its batch by itself.")

# %%
listings.cuda("persistent.cuh", "grid_barrier", "All blocks wait for each other, without ending the kernel.")

# %% [markdown]
# What do they save? By the formula, for a training step of 784-256-128-1, with the **assumed** overheads from above.
# (An eager step is some 64 launches: so many operations on arrays are in one of the NumPy engine. The ten kernels of
# a captured one were counted above, and the five barriers of the persistent kernel are in its code.)
#
# > **What would you expect?** With batches of 32 rows on the large card: which part of an eager step is arithmetic?

# %%
card = datasheets.CARDS[-1]
batches = np.array([8, 32, 128, 512, 2048, 8192, 32768])
work = np.array([datasheets.training_seconds(card, widths, n) for n in batches])
ways = {"eager": 64 * overheads.launch, "captured": 10 * overheads.in_graph, "one launch": 5 * overheads.barrier}
lines = {f"{way}, model": (batches, 1e6 * (work + extra)) for way, extra in ways.items()}
lines["the roofline alone"] = batches, 1e6 * work
charts.curves(lines, f"A training step of 784-256-128-1 on a {card.name}: a model", "rows in a batch", "us a step",
              logx=True, logy=True)  # fmt: skip

# %%
for way, extra in ways.items():
    at_32 = work[batches == 32].item()
    print(f"{way:12} batch 32: {1e6 * (at_32 + extra):6.1f} us a step, {extra / (at_32 + extra):.0%} of it overhead "
          "(model, not measured)")  # fmt: skip
assert ways["eager"] > 10 * at_32

# %% [markdown]
# It is the picture of chapter 09 with other numbers: flat where overhead rules, and there the same medicine helps.
#
# ## Time, measured
#
# What remains is to measure it. With a GPU in the machine the next cell does, and otherwise it says so.

# %%
if why_not("cupy"):
    print("There is no GPU here that minidl can use:")
    print(*textwrap.wrap(why_not("cupy"), 100), sep="\n")
    records = recorded.names("gpu-*")
    for name in records:
        record = recorded.read(name)
        print(f"\n{name}: {record.get('gpu', 'a GPU')}, {recorded.said(record)}")
    if not records:
        print("\nNo figure of minidl's kernels has been measured on a GPU yet: perf/results holds none.")
        print("Everything above about the times of GPUs is a model.")
else:
    from minidl.engines.cupy_engine.device import GpuDevice

    print(f"measured on {machine.gpu()}")
    trained = {}
    for way in ("numpy", "eager", "captured", "one launch"):
        device = GpuDevice() if way in ("captured", "one launch") else None
        trained[way] = gpu_kernels.trainer(network, X, y, 32, way, device)
    calls = {way: lambda trainer=trainer: trainer.run(orders, 0, len(X)) for way, trainer in trained.items()}
    measured = timing.compare(calls, budget_seconds=4)
    print({way: f"{1e6 * one.median / (orders.size // 32):.1f} us a step" for way, one in measured.timings.items()})
    assert measured.timings["captured"].median < measured.timings["eager"].median

# %% [markdown]
# ## Exercises
#
# **1.** How large must a matrix product $n \times n$ by $n \times n$ be before the H100's arithmetic, and not its
# memory, is the limit? And before sending both matrices over the bus takes less than the product?
#
# <details><summary>Solution</summary>
#
# ```python
# card = datasheets.CARDS[-1]
# n = np.arange(16, 20_000, 16)
# arithmetic, memory, bus = 2 * n**3 / card.gflops, 12 * n**2 / card.memory, 8 * n**2 / card.bus
# by_memory, by_bus = n[arithmetic > memory][0], n[arithmetic > bus][0]
# print(f"from n = {by_memory} on arithmetic is more than memory, from n = {by_bus} on more than the bus")
# assert by_memory == -(-(6 * card.gflops / card.memory) // 16) * 16
# assert by_bus > 30 * by_memory
# ```
#
# Some hundred, and over four thousand. That is why the data has to live on the card.
#
# </details>
#
# **2.** In which thread order would a kernel be right if only the *second* barrier of `row_layer` were missing? Think
# of a grid of one block and a layer of 64 units, whose block goes through its loop twice. Try it.
#
# <details><summary>Solution</summary>
#
# ```python
# if here:
#     end = "y[u] = activate(layer.activation, total + b[u]);\n        }"
#     second = answers(gpu_kernels.without_barrier(end))
#     print(second)
# ```
#
# Without it a quick warp may write its part of the next 32 units while warp 0 still adds up those before. Here each
# of two blocks has one turn of the loop, so that nothing shows, in any order: to see it, a layer needs more units
# than all blocks together take at a time. Tests need shapes that are odd *and* large enough.
#
# </details>
#
# **3.** A predictor answers one row in 5 us on the CPU. Your server gets 100,000 rows a second, one by one. With the
# overheads assumed above, what would a GPU have to do with them to keep up, and what does the first of them wait?
#
# <details><summary>Solution</summary>
#
# ```python
# each = CAPTURED * overheads.in_graph + overheads.round_trip     # of a call, however few rows
# assert each > 1e-5                                              # one by one it cannot keep up: 10 us is all there is
# collected = int(np.ceil(each * 100_000))
# print(f"collect {collected} rows: the first waits {1e6 * collected / 100_000:.0f} us, then {1e6 * each:.0f} us more")
# assert collected > 1
# ```
#
# It would have to collect rows (chapter 08, exercise 1), while half of one CPU core answers each at once.
#
# </details>
#
# **Next:** 11, where the network itself becomes smaller.
