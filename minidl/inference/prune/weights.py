"""Zeros in the place of the smallest weights: one by one wherever they lie, or two in every four; and how many are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minidl import checks, config, display
from minidl.inference.prune.copies import by_layer, dense_layers, taken_apart
from minidl.model import Sequential


def magnitude(model: Sequential, sparsity: float | dict[str, float], scope: str = "layer") -> Sequential:
    """A copy of the model in which the Dense weights of the smallest absolute value are zero.

    sparsity: the share of them in [0, 1): exactly round(sparsity * size) weights become zero, those that are zero
        already counted in; or a dictionary from the names of some layers to a share each. Of equal weights the first in
        the order of layers, inputs and units go first.
    scope: what the share is of: "layer", of each W by itself, or "model", of all of them together; then it is one.

    Biases and normalizations stay. The copy is compiled like the model, with fresh slots, and has its seed and schema;
    the model is not changed. (LeCun, Denker and Solla, "Optimal brain damage", 1990, discuss magnitude as a measure;
    Han, Pool, Tran and Dally, "Learning both weights and connections for efficient neural networks", 2015, use it.)

    Raises TypeError or ValueError for arguments out of range, names of no Dense layer, and a model without a Dense
    layer, or with NaN or infinity among its weights; RuntimeError for one that is not built.
    """
    dense = [layer.name for layer in dense_layers(model)]
    checks.one_of(scope, "scope", ("layer", "model"))
    if isinstance(sparsity, dict) and scope == "model":
        raise TypeError("with scope='model' the sparsity is one share of all weights; leave scope out for one by layer")
    shares = by_layer(sparsity, "sparsity", dense, "Dense layer")
    for name, share in shares.items():
        what = f"the sparsity of {name!r}" if isinstance(sparsity, dict) else "sparsity"
        checks.number(share, what, 0, 1, below_high=True)
    said, arrays = taken_apart(model)
    for group in [dense] if scope == "model" else [[name] for name in shares]:
        W = [arrays[f"{name}/W"] for name in group]
        sizes = np.concatenate([np.abs(one).ravel() for one in W])
        smallest = np.zeros(len(sizes), bool)
        smallest[np.argsort(sizes, kind="stable")[: round(shares[group[0]] * len(sizes))]] = True
        for one, part in zip(W, np.split(smallest, np.cumsum([one.size for one in W[:-1]])), strict=True):
            one[part.reshape(one.shape)] = 0
    return config.restore(said, arrays)


def two_of_four(model: Sequential) -> Sequential:
    """A copy of the model in which, of every four consecutive inputs of a unit, the two smallest weights are zero.

    W is (inputs, units); the groups are W[0:4, u], W[4:8, u] and so on. Where the inputs are no multiple of four, the
    last group holds the r that are left over and ceil(r / 2) of them stay: 1 of 1, 1 of 2, 2 of 3. Of equal ones the
    first go first. This is the pattern that GPUs since NVIDIA's Ampere multiply at twice the rate (Mishra et al.,
    "Accelerating sparse deep neural networks", 2021); here it is computed as any other: see ``payoff``.

    The copy is made, and errors are raised, as by ``magnitude``.
    """
    dense = dense_layers(model)
    said, arrays = taken_apart(model)
    for layer in dense:
        W = arrays[f"{layer.name}/W"]
        W[smaller_half(W)] = 0
    return config.restore(said, arrays)


def smaller_half(W: np.ndarray) -> np.ndarray:
    """Where in W (inputs, units) the two smallest of each four inputs are, or r // 2 of the last r: boolean."""
    inputs, units = W.shape
    sizes = np.pad(np.abs(W), ((0, -inputs % 4), (0, 0)), constant_values=np.inf).reshape(-1, 4, units)
    ranks = np.argsort(np.argsort(sizes, axis=1, kind="stable"), axis=1)
    given_up = np.full((len(sizes), 1, 1), 2)
    given_up[-1] = (inputs - 4 * (len(sizes) - 1)) // 2
    return (ranks < given_up).reshape(-1, units)[:inputs]


@dataclass(frozen=True, repr=False)
class Sparsity(display.Tabled):
    """The share of zeros among the weights of each Dense layer, by its name, and of all; it shows itself."""

    layers: dict[str, float]
    total: float

    def _tables(self) -> list[display.Grid]:
        lines = [[name, f"{share:.2%}"] for name, share in (*self.layers.items(), ("in all", self.total))]
        return [display.Grid(["layer", "zeros"], lines)]


def sparsity(model: Sequential) -> Sparsity:
    """The share of zeros among the Dense weights, biases left out: ``layers`` by name and ``total``.

    TypeError for what is no Sequential, RuntimeError for one that is not built, ValueError for one without a Dense.
    """
    found = {layer.name: layer.W for layer in dense_layers(model)}
    every = np.concatenate([W.ravel() for W in found.values()])
    return Sparsity({name: float(np.mean(W == 0)) for name, W in found.items()}, float(np.mean(every == 0)))
