"""Cold start: from a fresh process to a trained and evaluated model (30-64-64-1, 10 epochs, shipped data)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import asdict

from minidl.bench import machine, timing
from perf import results_file

PROGRAMS = {
    "minidl": """
import minidl
from minidl import data
X_train, X_test, y_train, y_test = data.train_test_split(*data.load_breast_cancer(), seed=0)
model = minidl.Sequential([minidl.Normalization(), minidl.Dense(64, "relu"), minidl.Dense(64, "relu"),
                           minidl.Dense(1, "sigmoid")], seed=0)
model.compile("adam", "binary_crossentropy", metrics=["accuracy"], engine="numba")
model.fit(X_train, y_train, epochs=10, verbose=0)
print(model.evaluate(X_test, y_test)[1])
""",
    "jax": """
import jax, jax.numpy as jnp, numpy as np
from minidl import data
X_train, X_test, y_train, y_test = data.train_test_split(*data.load_breast_cancer(), seed=0)
mean, deviation = X_train.mean(0), X_train.std(0)
X_train, X_test = (X_train - mean) / deviation, (X_test - mean) / deviation
rng, sizes = np.random.default_rng(0), (30, 64, 64, 1)
theta = []
for i, o in zip(sizes, sizes[1:]):
    limit = (6 / (i + o)) ** 0.5
    theta.append((jnp.asarray(rng.uniform(-limit, limit, (i, o)), jnp.float32), jnp.zeros(o)))

def logits(theta, x):
    for W, b in theta[:-1]:
        x = jax.nn.relu(x @ W + b)
    return x @ theta[-1][0] + theta[-1][1]

def loss(theta, x, y):
    z = logits(theta, x)
    return jnp.mean(jax.nn.softplus(z) - y * z)

def step(state, batch):
    theta, m, v, t = state
    g = jax.grad(loss)(theta, *batch)
    t = t + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
    a = 0.001 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    theta = jax.tree.map(lambda p, m, v: p - a * m / (jnp.sqrt(v) + 1e-7), theta, m, v)
    return (theta, m, v, t), None

@jax.jit
def epoch(state, X, y):
    return jax.lax.scan(step, state, (X, y))[0]

zeros = jax.tree.map(jnp.zeros_like, theta)
state, batches = (theta, zeros, zeros, 0.0), len(X_train) // 32
for _ in range(10):
    order = rng.permutation(len(X_train))[: batches * 32]
    state = epoch(state, X_train[order].reshape(batches, 32, 30), y_train[order].reshape(batches, 32, 1))
print(float(np.mean((np.asarray(logits(state[0], X_test)) > 0) == y_test)))
""",
}


def run(program: str) -> float:
    """The accuracy that a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout)


def validate(accuracies: dict[str, object]) -> None:
    for name, accuracy in accuracies.items():
        if accuracy < 0.94:
            raise timing.Disagreement(f"{name} reaches an accuracy of only {accuracy:.3f}; nothing was timed")


def main() -> None:
    run(PROGRAMS["minidl"])  # compiles, where that has not been done yet
    rivals = {"minidl": lambda: run(PROGRAMS["minidl"])}
    if importlib.util.find_spec("jax"):
        rivals = {"jax": lambda: run(PROGRAMS["jax"])} | rivals
    else:
        print("jax: left out, it is not installed; install it with: pip install jax")
    found = timing.compare(rivals, validate=validate, repeat=(9, 9), budget_seconds=60)
    for name, result in found.timings.items():
        speedup = found.speedups[name]
        interval = f"{speedup.low:.2f} to {speedup.high:.2f}"
        print(f"{name:8} {result.median:.3f} s  ({speedup.value:.2f}x {found.baseline}, {interval})")
    programs = {name: {**asdict(found.timings[name]), "speedup": asdict(found.speedups[name])} for name in rivals}
    content = {"machine": machine.facts(), "baseline": found.baseline, "programs": programs}
    print(f"written to {results_file.write('coldstart', content)}")
