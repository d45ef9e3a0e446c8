"""The README's tables of measurements, rewritten between markers from perf/results."""

from __future__ import annotations

import re
from pathlib import Path

from minidl.contract import OPERATIONS
from minidl.words import duration
from perf import cases, results_file, rivals
from perf.contest import fastest_rival

README = Path(__file__).parent.parent / "README.md"


def training_table(results: dict) -> str:
    optimizers = {"sgd": "SGD", "adam": "Adam"}
    meaning = {
        name: f"{name}: {case.name}, batch {case.batch_size}, {optimizers[case.optimizer]}, {case.rows:,} rows"
        for name, case in cases.TRAINING.items()
    }
    return against_rivals(results, "an epoch of", meaning)


def inference_table(results: dict) -> str:
    meaning = {name: f"{case.name}, {case.rows:,} row{'s' * (case.rows > 1)}" for name, case in cases.INFERENCE.items()}
    return against_rivals(results, "inference of", meaning)


def int8_table(results: dict) -> str:
    meaning = {name: f"{case.name}, {case.rows:,} row{'s' * (case.rows > 1)}" for name, case in cases.INT8.items()}
    return against_rivals(results, "int8 inference of", meaning).removesuffix(", float32.") + "."


def against_rivals(results: dict, what: str, meaning: dict[str, str]) -> str:
    """A row for each case that was measured: minidl's time, and how many times as long each rival takes."""
    found = {name: results["cases"][name]["entries"] for name in meaning if name in results["cases"]}
    measured = {rival for entries in found.values() for rival in entries}
    columns = [name for name in rivals.MODULES if name in measured and name != "minidl"]
    lines = [
        f"| {' | '.join([what, 'minidl', *(rivals.LABELS[name] for name in columns)])} |",
        f"|---|{'---:|' * (len(columns) + 1)}",
    ]
    for name, entries in found.items():
        fastest = fastest_rival(entries)
        cells = [factor(entries[rival]["ratio"], rival == fastest) if rival in entries else "" for rival in columns]
        lines.append(f"| {' | '.join([meaning[name], duration(entries['minidl']['seconds']), *cells])} |")
    rule = "The rivals' columns say how many times as long they take; the fastest rival's is bold."
    return "\n".join(lines) + f"\n\n{rule} {origin(results['machine'])}"


def factor(ratio: dict, fastest: bool) -> str:
    """A ratio with two digits behind the point where it is small, and without any where it is large."""
    value = ratio["value"]
    text = f"{value:.2f}x" if value < 10 else f"{value:,.0f}x"
    return f"**{text}**" if fastest else text


def accuracy_table(results: dict) -> str:
    lines = [
        "| 784-256-128-1 | digits decided rightly | as in float32 | weights | 1 row | 1,024 rows |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, way in results["ways"].items():
        right, equal = (sum(seed[what] for seed in way["seeds"]) / len(way["seeds"]) for what in ("accuracy", "equal"))
        times = " | ".join(duration(way["rows"][rows]) for rows in ("1", "1024"))
        lines.append(f"| {name} | {right:.1%} | {equal:.1%} | {way['bytes'] / 1e3:,.0f} kB | {times} |")
    count = len(next(iter(results["ways"].values()))["seeds"])
    what = f"Means of {count} trainings on 4,000 real digits, odd against even, judged by 1,000 others."
    return "\n".join(lines) + f"\n\n{what} {origin(results['machine']).removesuffix(', float32.')}."


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


def gpu_table(results: list[dict]) -> str:
    """A row for each GPU and case: minidl's fastest way, and how many times as long the rivals' fastest takes."""
    columns = ("a step or a call on a GPU", "minidl", "PyTorch eager", "the fastest rival", "goals met")
    lines = [f"| {' | '.join(columns)} |", "|---|---:|---:|---:|---:|"]
    for content in results:
        for name, case in content["cases"].items():
            entries, goals = case["entries"], [outcome["met"] for outcome in case["goal"].values()]
            rival = min((way for way in entries if not way.startswith("minidl")),
                        key=lambda way, entries=entries: entries[way]["seconds"], default=None)  # fmt: skip
            cells = [
                f"{content['gpu']}, {name}: {case['network']}, products {case['precision']}",
                f"{duration(entries[case['fastest']]['seconds'])} ({case['fastest'].partition(', ')[2]})",
                factor(entries["PyTorch, eager"]["ratio"], False) if "PyTorch, eager" in entries else "",
                f"{factor(entries[rival]['ratio'], True)} ({rival})" if rival else "",
                f"{goals.count(True)} of {len(goals)}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    dates = ", ".join(f"{content['gpu']} on {content['machine']['date'][:10]}" for content in results)
    return "\n".join(lines) + f"\n\nThe rivals' columns say how many times as long they take. Measured: {dates}."


def origin(machine: dict) -> str:
    names = [name for name in ("numpy", "numba", *rivals.PACKAGES) if name in machine["versions"]]
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in names)
    return f"Measured on {machine['date'][:10]}: {machine['processor']}, {machine['cores']} cores, {versions}, float32."


COMMANDS = {"int8": "inference"}  # that measure it, where that is not its name
TABLES = {
    "training": (results_file.read_cases, training_table),
    "inference": (results_file.read_cases, inference_table),
    "int8": (results_file.read_cases, int8_table),
    "accuracy": (results_file.read, accuracy_table),
    "coldstart": (results_file.read, coldstart_table),
    "ulp": (results_file.read, ulp_table),
    "gpu": (lambda name: results_file.read_gpus(), gpu_table),
}


def main() -> None:
    text = README.read_text(encoding="utf-8")
    for name, (read, table) in TABLES.items():
        results = read(name)
        if results is None:
            print(f"{name}: nothing measured yet; run python -m perf {COMMANDS.get(name, name)}")
            continue
        begin, end = f"<!-- {name}: written by python -m perf report -->", f"<!-- end of {name} -->"
        text, found = re.subn(
            f"{re.escape(begin)}.*?{re.escape(end)}",
            lambda _, table=table, results=results, begin=begin, end=end: f"{begin}\n{table(results)}\n{end}",
            text,
            flags=re.DOTALL,
        )
        print(f"{name}: {'written' if found else 'the README has no place for it'}")
    README.write_text(text, encoding="utf-8")
