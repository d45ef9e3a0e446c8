"""The README's tables of measurements, rewritten between markers from perf/results."""

from __future__ import annotations

import re
from pathlib import Path

from minidl.contract import OPERATIONS
from perf import results_file

README = Path(__file__).parent.parent / "README.md"
MEANING = {
    "tiny": "10-10-1, batch 10, SGD, 100 rows",
    "table": "30-64-64-1, batch 32, Adam, 8,192 rows",
    "mnist/32": "784-256-128-1, batch 32, Adam, 8,192 rows",
    "mnist/256": "784-256-128-1, batch 256, Adam, 16,384 rows",
}


def training_table(results: dict) -> str:
    lines = ["| an epoch of | NumPy | Numba | Numba is faster by |", "|---|---:|---:|---:|"]
    for name, case in results["cases"].items():
        numpy, numba = case["engines"]["numpy"], case["engines"]["numba"]
        speedup = numba["speedup_vs_numpy"]
        times = " | ".join(f"{found['epoch_seconds'] * 1e3:.3g} ms" for found in (numpy, numba))
        interval = f"{speedup['low']:.1f} to {speedup['high']:.1f}"
        lines.append(f"| {name}: {MEANING[name]} | {times} | {speedup['value']:.1f}x ({interval}) |")
    return "\n".join(lines) + f"\n\n{origin(results['machine'])}"


def coldstart_table(results: dict) -> str:
    lines = ["| a fresh process to a trained model | seconds |", "|---|---:|"]
    lines += [f"| {name} | {found['median']:.2f} |" for name, found in results["programs"].items()]
    return "\n".join(lines) + f"\n\n{origin(results['machine'])}"


def ulp_table(results: dict) -> str:
    lines = [
        "| float32 | largest error | 99.9% are below | mean | correctly rounded | bound |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, found in results["functions"].items():
        for engine, entry in found["float32"].items():
            bound = f"{OPERATIONS[name].bound_of(engine):g}" if name in OPERATIONS else ""
            errors = " | ".join(
                f"{entry[what]:.{places}f} ulp"
                for what, places in (("max_ulp", 2), ("percentile_99_9_ulp", 2), ("mean_ulp", 3))
            )
            lines.append(f"| {name}, {engine} | {errors} | {entry['correctly_rounded']:.2%} | {bound} |")
    strides = {entry["stride"] for found in results["functions"].values() for entry in found["float32"].values()}
    which = "all 2^32 values" if strides == {1} else f"every {max(strides)}th of the 2^32 values"
    return "\n".join(lines) + f"\n\nOf {which}. {origin(results['machine'])}"


def origin(machine: dict) -> str:
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("numpy", "numba"))
    return f"Measured on {machine['date'][:10]}: {machine['processor']}, {machine['cores']} cores, {versions}, float32."


TABLES = {"training": training_table, "coldstart": coldstart_table, "ulp": ulp_table}


def main() -> None:
    text = README.read_text()
    for name, table in TABLES.items():
        results = results_file.read(name)
        if results is None:
            print(f"{name}: nothing measured yet; run python -m perf {name}")
            continue
        begin, end = f"<!-- {name}: written by python -m perf report -->", f"<!-- end of {name} -->"
        text, found = re.subn(
            f"{re.escape(begin)}.*?{re.escape(end)}",
            lambda _, table=table, results=results, begin=begin, end=end: f"{begin}\n{table(results)}\n{end}",
            text,
            flags=re.DOTALL,
        )
        print(f"{name}: {'written' if found else 'the README has no place for it'}")
    README.write_text(text)
