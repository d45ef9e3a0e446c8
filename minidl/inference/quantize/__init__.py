"""Quantization: a trained model in whole numbers of 8 bits, a quarter of the size and, in the Numba engine, faster.

``quantize`` makes a ``QuantizedModel``; what its steps cost is in its ``report``. The arithmetic is said in
minidl/inference/int8.py.
"""

from minidl.inference.quantize.quantized_model import QuantizedModel
from minidl.inference.quantize.quantizing import quantize

__all__ = ["QuantizedModel", "quantize"]
