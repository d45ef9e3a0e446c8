"""Where measurements are kept: one JSON file for each command, with the machine and the date, and pictures of them."""

from __future__ import annotations

import json
from pathlib import Path

from minidl import files

FOLDER = Path(__file__).parent / "results"


def write(name: str, content: dict) -> Path:
    """Write perf/results/NAME.json, whole or not at all."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    files.replace(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return path


def picture(name: str, png: bytes) -> Path:
    """Write perf/results/NAME.png, likewise."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.png"
    files.replace(path, png)
    return path


def read(name: str) -> dict | None:
    """What was written last, or None."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None
