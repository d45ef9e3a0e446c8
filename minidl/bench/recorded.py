"""The measurements that are kept under perf/results, for notebooks that show what they cannot measure themselves."""

from __future__ import annotations

import json
from pathlib import Path

import minidl


def folder() -> Path | None:
    """perf/results of the checkout that holds minidl or the working directory; None where there is none."""
    places = [Path(minidl.__file__).parents[1], *(path for path in (Path.cwd(), *Path.cwd().parents))]
    return next((path / "perf" / "results" for path in places if (path / "perf" / "results").is_dir()), None)


def read(name: str) -> dict | None:
    """What perf/results/NAME.json holds; None where it is not there."""
    path = folder() and folder() / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else None


def names(pattern: str) -> list[str]:
    """The records whose names fit, as "gpu-*"."""
    return sorted(path.stem for path in folder().glob(f"{pattern}.json")) if folder() else []


def said(record: dict, *packages: str) -> str:
    """Where and when it was measured, with the versions of these packages."""
    facts = record["machine"]
    found = [f"{name} {facts['versions'][name]}" for name in packages if facts["versions"].get(name)]
    day = (record.get("date") or facts["date"])[:10]
    return ", ".join([f"measured on {day}", facts["processor"], f"{facts['cores']} cores", *found])
