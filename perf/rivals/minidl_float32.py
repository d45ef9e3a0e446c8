"""minidl's predictor in float32, beside the one in int8."""

from __future__ import annotations

from perf.rivals.minidl_ import bound, model, settings, why_not

__all__ = ["int8", "settings", "why_not"]


def int8(case, weights, X):
    return bound(model(case, weights).predictor(), X)
