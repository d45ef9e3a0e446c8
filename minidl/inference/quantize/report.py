"""What quantization costs, layer by layer: steps, noise beside the signal, and what was clipped."""

from __future__ import annotations

import math
from dataclasses import dataclass

from minidl import display
from minidl.inference.int8 import Int8Layer, Int8Program
from minidl.inference.quantize.ranges import Observed
from minidl.layers import ACTIVATIONS
from minidl.words import percent

PARTS = 128  # of a layer's histogram
HEAD = ("layer", "shape", "range", "scale", "zero", "SQNR", "clipped")
NAMES = {code: name for name, code in ACTIVATIONS.items()}


@dataclass(frozen=True)
class LayerReport:
    """One layer, over the calibration data; from ``scale`` on None where each row has a range of its own.

    scale, zero: of its inputs: 256 steps of size ``scale``, the one called ``zero`` being 0.
    low, high: the least and the largest input seen, 0 among them; counts: how many others than 0 were in each of 128
        equal parts between.
    signal: the mean square of its output in float32; noise: that of what the output in whole numbers is off by.
    clipped: the share of its inputs that lay beyond the range.
    """

    name: str
    inputs: int
    units: int
    activation: str
    scale: float | None = None
    zero: int | None = None
    low: float | None = None
    high: float | None = None
    counts: tuple[int, ...] | None = None
    signal: float | None = None
    noise: float | None = None
    clipped: float | None = None

    @property
    def sqnr(self) -> float | None:
        """The signal-to-quantization-noise ratio of its output in decibels, 10 log10(signal / noise)."""
        if self.noise is None:
            return None
        if not (self.signal and self.noise):
            return -math.inf if self.noise else math.inf
        return 10 * (math.log10(self.signal) - math.log10(self.noise))

    @property
    def decibels(self) -> str:
        """``sqnr`` in words."""
        return "exact" if self.sqnr == math.inf else f"{self.sqnr:.1f} dB"

    @property
    def range(self) -> tuple[float, float] | None:
        """From where to where the steps go."""
        return None if self.scale is None else (-self.zero * self.scale, (255 - self.zero) * self.scale)

    @property
    def row(self) -> list[str]:
        """The layer's cells of the table."""
        found = [self.name, f"{self.inputs}-{self.units}"]
        if self.scale is None:
            return [*found, "each row's own", "", "", "", ""]
        low, high = self.range
        steps = f"{low:.3g} to {high:.3g}", f"{self.scale:.3g}", str(self.zero)
        return [*found, *steps, self.decibels, percent(self.clipped)]


@dataclass(frozen=True, repr=False)
class Report(display.Tabled):
    """All layers, the ``method`` that chose their ranges, and from how many ``rows``; None where each row has its own.

    It shows itself as text and in Jupyter.
    """

    layers: tuple[LayerReport, ...]
    method: str | None = None
    rows: int | None = None

    @classmethod
    def of(
        cls, program: Int8Program, seen: list[Observed], measured: list[tuple], method: str, rows: int
    ) -> Report:
        """From what each layer was given, and its signal, noise and share clipped."""
        layers = [
            LayerReport(
                *said(layer), float(layer.x_scale), layer.x_zero, one.low, one.high,
                tuple(one.counts.reshape(PARTS, -1).sum(axis=1).tolist()), *numbers,
            )
            for layer, one, numbers in zip(program.layers, seen, measured, strict=True)
        ]  # fmt: skip
        return cls(tuple(layers), method, rows)

    @classmethod
    def without_data(cls, program: Int8Program) -> Report:
        """Of a program in which each row has its own range."""
        return cls(tuple(LayerReport(*said(layer)) for layer in program.layers))

    @property
    def remark(self) -> str:
        if self.method is None:
            return "each row has a range of its own before each layer"
        return f"ranges by {self.method} of {self.rows:,} rows; SQNR: signal to quantization noise of a layer's output"

    def _tables(self) -> list[display.Grid]:
        return [display.Grid(HEAD, [layer.row for layer in self.layers], (0, 1, 2))]

    def _notes(self) -> list[str]:
        return [self.remark]


def said(layer: Int8Layer) -> tuple[str, int, int, str]:
    """A layer's name, inputs, units and activation."""
    return layer.name, *layer.W.shape, NAMES[layer.activation]
