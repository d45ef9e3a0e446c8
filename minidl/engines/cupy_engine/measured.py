"""What was measured on each GPU: up to which batch the persistent kernel is faster, and which products cuBLASLt's are.

measured.json holds for each GPU, by its name:
    "one launch": [parameters, rows], networks that were measured, and the largest batch with which the persistent
        kernel trained them faster than recorded steps did;
    "cublaslt": [precision, product, rows, inputs, units, ratio], products of a dense layer, and how many times as long
        the engine's own kernel took as cuBLASLt, each with what goes along with it.
``python -m perf gpu`` writes it. Where nothing was measured, there is a rule for the first, and no cuBLASLt.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path

from minidl.engines.cupy_engine import kernels

TABLE = Path(__file__).with_name("measured.json")
ROWS = 512  # the rule: a larger batch gives every kernel enough to do


@functools.cache
def table() -> dict[str, dict[str, list[list]]]:
    return json.loads(TABLE.read_text())


def most_rows(gpu: str, parameters: int) -> int:
    """As measured with the network of the most similar size; 0 where the persistent kernel was never faster."""
    found = table().get(gpu, {}).get("one launch")
    return min(found, key=lambda point: distance(point[:1], [parameters]))[1] if found else ROWS


def cublaslt_is_faster(gpu: str, precision: int, product: str, rows: int, inputs: int, units: int) -> bool:
    """As measured with the most similar shape, in this precision (kernels.py)."""
    key = [kernels.PRECISION_NAMES[precision], product]
    found = [row[2:] for row in table().get(gpu, {}).get("cublaslt", []) if row[:2] == key]
    return bool(found) and min(found, key=lambda row: distance(row[:3], [rows, inputs, units]))[3] > 1


def distance(sizes: list[int], others: list[int]) -> float:
    """By how large factors they differ."""
    return sum(abs(math.log(size / other)) for size, other in zip(sizes, others, strict=True))
