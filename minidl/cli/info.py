"""``minidl info``: what minidl finds on this machine."""

from __future__ import annotations

import argparse

from minidl.cli.options import OK


def add(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "info",
        help="show what minidl finds here: engines, processor, versions",
        description="Shows the engines and why one cannot run, the processor and what it can do, versions and folders.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    for name, value in lines():
        print(f"{name:<20} {value}")
    return OK


def lines() -> list[tuple[str, object]]:
    """Name and value of each line."""
    from minidl.bench import machine
    from minidl.engines import ENGINES, get_engine, why_not

    reasons = {name: why_not(name) for name in ENGINES}
    found: list[tuple[str, object]] = [
        (f"engine {name}", f"cannot run: {reason}" if reason else "ready") for name, reason in reasons.items()
    ]
    found.append(("engine auto", get_engine("auto").name))
    facts = machine.facts()
    found += [
        ("processor", f"{facts['processor']}, {facts['cores']} cores"),
        ("its features", " ".join(machine.features()) or "unknown"),
        ("threads", ", ".join(f"{name} {count or 'unknown'}" for name, count in facts["threads"].items())),
        ("BLAS of NumPy", facts["blas"]),
        ("GPU", machine.gpu() or "none that CuPy can use"),
        ("compile cache", machine.compile_cache() or "none: the engine numba cannot run"),
        ("system", f"{facts['system']}, Python {facts['python']}"),
    ]
    return found + [(name, version or "not installed") for name, version in facts["versions"].items()]
