"""Measuring: honest timing, the facts of the machine, and every operation with arguments to try it on."""

from minidl.bench import machine, timing

__all__ = ["machine", "timing"]
