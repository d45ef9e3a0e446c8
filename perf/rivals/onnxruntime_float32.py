"""ONNX Runtime in float32, beside its int8."""

from __future__ import annotations

from perf.rivals.onnxruntime_ import predictor as int8
from perf.rivals.onnxruntime_ import settings, why_not

__all__ = ["int8", "settings", "why_not"]
