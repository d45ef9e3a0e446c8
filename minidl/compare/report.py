"""What ``minidl compare`` shows and writes: tables in the terminal, report.json, report.png and report.html."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from minidl import files
from minidl.compare import MODEL_TIMES
from minidl.words import digits, duration, times

BUSY = 0.5  # of the cores at work before this began: times are uncertain
UNSTEADY = 0.5  # of the median between the quartiles: likewise


# --- words ----------------------------------------------------------------------------------------------------------


def error_text(error: float | None) -> str:
    """An error or a bound; "exact" for 0."""
    if error is None or not math.isfinite(error):
        return "not finite"
    return "exact" if error == 0 else f"{error:.2g}" if error < 100 else f"{error:.3g}"


def speedup_text(entry: dict) -> str:
    """A speedup with its interval; "-" where there is none."""
    value = entry.get("speedup_vs_numpy")
    if value is None:
        return "-"
    low, high = map(digits, entry["speedup_interval"])
    return times(value) if low == high else f"{times(value)} ({low} to {high})"


def error_of(entry: dict) -> float | None:
    """An operation's error in an engine, whichever unit it has."""
    return entry["max_ulp"] if "max_ulp" in entry else entry["max_error"]


def measured(report: dict) -> list[str]:
    """The engines that have trained, be it only a part of the epochs."""
    return [name for name, entry in report["engines"].items() if entry["history"]]


def task_sentence(report: dict) -> str:
    """What was trained on what."""
    data, settings = report["data"], report["settings"]
    widths = "-".join(str(width) for width in (data["features"], *settings["hidden"], data["outputs"]))
    head = {"binary": "relu, then sigmoid", "multiclass": "relu, then softmax", "regression": "relu, then linear"}
    return (
        f"{data['name']}: {data['train_rows']} rows to train on, {data['test_rows']} held out, {data['features']} "
        f"features, target {data['target']!r}. Network {widths} ({head[data['task']]}) on normalized features; Adam "
        f"with learning rate {settings['learning_rate']:g}, {settings['epochs']} epochs in batches of "
        f"{settings['batch_size']}, seed {settings['seed']}, float32; the same weights and the same batches on every "
        "engine."
    )


def remarks(report: dict) -> list[str]:
    """What a reader must know first: an interruption, what is wrong, and which times are uncertain."""
    found = ["The comparison was interrupted; this is what was finished by then."] if report["interrupted"] else []
    found += report["problems"]
    load, cores = report["machine"].get("load"), report["machine"].get("cores")
    if load and cores and load > BUSY * cores:
        found.append(
            f"The machine was busy when this began (load {load:.1f} on {cores} cores), so the times are uncertain; "
            "NumPy's matrix products, which run in several threads, suffer most."
        )
    shaky = unsteady(report)
    if shaky:
        named = ", ".join(shaky[:6]) + (f" and {len(shaky) - 6} more" if len(shaky) > 6 else "")
        found.append(f"Unsteady times, the quartiles more than {UNSTEADY:.0%} of the median apart: {named}.")
    return found


def unsteady(report: dict) -> list[str]:
    """What had times too far apart to be trusted, each with its engine."""
    timings = [
        (f"{label} ({engine})", report["engines"][engine]["timings"].get(what))
        for what, label, _ in MODEL_TIMES
        for engine in measured(report)
    ]
    timings += [
        (f"{name.replace('_', ' ')} ({engine})", entry)
        for name, entries in report["formulas"].items()
        for engine, entry in entries.items()
    ]
    apart = [(name, entry["quartiles"], entry["seconds"]) for name, entry in timings if entry and entry["seconds"]]
    return [name for name, (low, high), median in apart if high - low > UNSTEADY * median]


def missing(report: dict) -> list[str]:
    """A sentence for each engine that is not in the comparison, or not wholly, though nobody left it out."""
    return [
        f"{name} was {entry['reason']}; its numbers are those of the network as it was then."
        if entry["history"]
        else f"{name} is not in the comparison: {entry['reason']}."
        for name, entry in report["engines"].items()
        if entry["reason"] and entry["reason"] != "not asked for"
    ]


def engine_rows(report: dict) -> list[tuple[str, ...]]:
    """Accuracy, loss and times of the whole network: what it is, and a cell for each engine that has trained."""
    names, metric = measured(report), report["data"]["metric"]
    entries = [report["engines"][name] for name in names]
    rows = [
        (f"held-out {metric}", *(f"{entry['metrics'][metric]:.4f}" for entry in entries)),
        ("held-out loss", *(f"{entry['loss']:.6f}" for entry in entries)),
        ("first call (compilation)", *(duration(entry["first_call_seconds"]) for entry in entries)),
    ]
    for what, label, summary in MODEL_TIMES:
        rows.append((label, *(duration(entry[summary]) for entry in entries)))
        if "numpy" in names:
            speedups = (speedup_text(entry["timings"].get(what, {})) for entry in entries)
            rows.append(("\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}speedup over NumPy", *speedups))
    return rows


# --- files ----------------------------------------------------------------------------------------------------------


def make_folder(path: str) -> Path:
    """The folder to write into, made where it is missing; OSError, one sentence, where nothing can be written there."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"cannot write into the folder {path!r} ({error.strerror}); choose another with --out") from None
    return folder


def write(report: dict, folder: Path) -> list[Path]:
    """Write the three files, each whole or not at all, and return their paths."""
    from minidl.compare import page, picture  # SymPy and Matplotlib take two seconds to load

    numbers = json.dumps(without_nan(report), indent=2, allow_nan=False, ensure_ascii=False)
    contents = {
        "report.json": numbers.encode(),
        "report.png": picture.overview(report),
        "report.html": page.html(report).encode(),
    }
    for name, content in contents.items():
        files.replace(folder / name, content)
    return [folder / name for name in contents]


def without_nan(value: object) -> object:
    """The same with null for each NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- the terminal ---------------------------------------------------------------------------------------------------


class Stages:
    """Shows each stage: a bar in a terminal, a line where the output goes into a file. See ``compare.Stages``."""

    def __init__(self):
        self.console = Console(file=sys.stderr)

    @contextlib.contextmanager
    def __call__(self, text: str, total: int) -> Iterator[Callable[[], None]]:
        if not self.console.is_terminal:
            self.console.print(text, highlight=False, soft_wrap=True)
            yield lambda: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
        # Drawn only between measurements: a thread that refreshes the screen would take its time from what is timed.
        with Progress(*columns, console=self.console, auto_refresh=False) as progress:
            task = progress.add_task(f"{text:<58}", total=total)
            progress.refresh()

            def advance() -> None:
                progress.advance(task)
                progress.refresh()

            yield advance


def show(report: dict, files: list[Path]) -> None:
    """Print the tables, the remarks and where the files are."""
    console = Console(highlight=False)
    console.print(f"\n{task_sentence(report)}\n", soft_wrap=True, markup=False)
    if measured(report):
        console.print(engines_table(report))
    if report["formulas"]:
        console.print(formulas_table(report))
    for remark in remarks(report) + missing(report):
        console.print(remark, soft_wrap=True, markup=False)
    console.print(f"\nwritten: {', '.join(map(str, files))}", soft_wrap=True, markup=False)


def engines_table(report: dict) -> Table:
    """One column for each engine."""
    table = Table(title="engines", title_justify="left", box=box.SIMPLE)
    table.add_column("")
    for name in measured(report):
        table.add_column(name, justify="right")
    for row in engine_rows(report):
        table.add_row(*row)
    return table


def formulas_table(report: dict) -> Table:
    """One row for each operation: its error and bound, and its time, in each engine."""
    names = measured(report)
    table = Table(
        title="operations: largest error against the 40-digit oracle / stated bound, and time",
        title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column("")
    table.add_column("unit")
    for name in names:
        table.add_column(f"{name} error", justify="right")
    for name in names:
        table.add_column(f"{name} time", justify="right")
    for operation, entries in report["formulas"].items():
        found = [entries[name] for name in names]
        errors = (f"{error_text(error_of(entry))} / {entry['bound']:g}" for entry in found)
        durations = (duration(entry["seconds"]) for entry in found)
        table.add_row(operation.replace("_", " "), found[0]["unit"], *errors, *durations)
    return table
