"""Up to which batch the persistent kernel trains faster than recorded steps: measured, or else a rule.

measured.json holds for each GPU, by its name, [parameters, rows]: networks that were measured, and the largest batch
with which the persistent kernel was faster. ``python -m perf gpu`` writes it.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path

TABLE = Path(__file__).with_name("measured.json")
ROWS = 512  # the rule: a larger batch gives every kernel enough to do


@functools.cache
def table() -> dict[str, list[list[int]]]:
    return json.loads(TABLE.read_text())


def most_rows(gpu: str, parameters: int) -> int:
    """As measured with the network of the most similar size; 0 where the persistent kernel was never faster."""
    found = table().get(gpu)
    return min(found, key=lambda point: abs(math.log(point[0] / parameters)))[1] if found else ROWS
