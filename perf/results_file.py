"""Where measurements are kept: one JSON file for each command, with the machine and the date, and pictures of them."""

from __future__ import annotations

import json
from pathlib import Path

from minidl import files
from minidl.bench import machine
from perf import rivals

FOLDER = Path(__file__).parent / "results"
FORMAT = 2  # of the files that are made case by case
SAME = ("processor", "cores", "versions")  # what cases in one file have in common


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


def read_cases(name: str) -> dict | None:
    """What ``add`` has written; None where there is nothing, or it is of an earlier version."""
    content = read(name)
    return content if content and content.get("format") == FORMAT else None


def read_gpus() -> list[dict] | None:
    """What perf gpu has written of GPUs; None where there is nothing. What the CPU stood in for does not count."""
    found = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("gpu-*.json"))]
    return [content for content in found if content["device"] == "gpu"] or None


def add(name: str, case: str, found: dict) -> Path:
    """Put one case into perf/results/NAME.json; those of another machine or other versions are forgotten."""
    facts, content = facts_with_rivals(), read_cases(name)
    same = content is not None and all(content["machine"][key] == facts[key] for key in SAME)
    if content and not same:
        print(f"perf/results/{name}.json was of another machine or other versions and begins anew; git has the old one")
    cases = (content["cases"] if same else {}) | {case: found | {"date": facts["date"], "load": facts["load"]}}
    return write(name, {"format": FORMAT, "machine": facts, "cases": cases})


def facts_with_rivals() -> dict:
    """The facts of the machine, with the versions of the rivals that are installed."""
    facts = machine.facts()
    found = {package: machine.version(package) for package in rivals.PACKAGES}
    facts["versions"] |= {package: version for package, version in found.items() if version}
    return facts
