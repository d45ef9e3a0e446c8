"""Measuring: honest timing, the machine with its ceilings, ladders, and every operation with arguments to try it on."""

from minidl.bench import machine, timing

__all__ = ["machine", "timing"]
