"""A GPU, in under 8 minutes: its ceilings, its tests, its accuracy, and minidl beside PyTorch and JAX, in turns.

Everything goes to perf/results/gpu-NAME.json and .png, NAME being the GPU's; and what is to be chosen among recorded
steps, the persistent kernel and cuBLASLt, to the engine's measured.json. With ``--device cpu`` all of it is run on
the CPU's stand-in for a GPU, on tiny networks, to see that it runs: those are no figures of a GPU, and are kept nowhere
but where ``--out`` says.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path

from minidl import files
from minidl.words import duration, times
from perf import gpu_cases, gpu_ceilings, gpu_checks, gpu_choice, gpu_contest, gpu_picture, gpu_profile, results_file
from perf.rivals import gpu_minidl

MINUTES = 6.5  # after which nothing new is begun
CHOICE_SECONDS = 40  # after which no more products are compared
NO_GPU = "NOTE: the CPU stands in for a GPU here; these are not GPU figures"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu",
                        help="cpu: run everything on the CPU's stand-in, on tiny networks (default: gpu)")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=6, metavar="N",
                        help="for the samples of a case, all rivals together (default: 6)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON here, and the picture beside it")


def main(device: str, seconds: float, out: Path | None) -> None:
    """RuntimeError where the device is not there."""
    reason = gpu_minidl.why_not(device)
    if reason:
        raise RuntimeError(f"nothing can be measured: {reason}")
    if device == "cpu" and out is not None and out.resolve().is_relative_to(results_file.FOLDER.resolve()):
        raise ValueError(f"what the CPU stands in for is no result; choose a place for it outside of {out.parent}")
    deadline = time.monotonic() + MINUTES * 60
    known = facts(device)
    content = {"device": device, "gpu": known["name"], "facts": known, "machine": results_file.facts_with_rivals()}
    if device == "cpu":
        print(NO_GPU)
        content["note"] = NO_GPU
    print(f"device: {content['gpu']}", flush=True)
    content["ceilings"] = gpu_ceilings.measure(device)
    for name, value in content["ceilings"].items():
        kind = "GB/s" if name in ("copy", "upload") else "GFLOP/s"
        print(f"  {name}: {value / 1e9:,.0f} {kind}", flush=True)
    content["checks"] = {"tests": gpu_checks.tests()} | gpu_checks.sanitizer(device)
    for name, found in content["checks"].items():
        print(f"{name}: {found['says']}", flush=True)
    content["accuracy"] = gpu_checks.accuracy(device)
    for shape, found in content["accuracy"].items():
        errors = ", ".join(f"{name} {error:.2g}" for name, error in found.items())
        print(f"largest error of {shape}, in units of float32's rounding times |A||B|: {errors}", flush=True)
    content["loss_curves"] = gpu_checks.loss_curves(device)
    for name, error in content["loss_curves"].items():
        print(f"loss curve, {name}: within {error:.1e} of the NumPy engine's", flush=True)
    content["choice"] = gpu_choice.measure(device, time.monotonic() + CHOICE_SECONDS)
    for parameters, rows in content["choice"]["one launch"]:
        print(f"{parameters:,} parameters: one launch for many steps is faster up to a batch of {rows:,} rows")
    for precision, product, rows, inputs, units, ratio in content["choice"]["cublaslt"]:
        shape = f"{product} of {rows:,} rows, {inputs:,} to {units:,}, in {precision}"
        print(f"{shape}: the engine's own takes {times(ratio)} as long as cuBLASLt")
    if device == "gpu":
        gpu_choice.keep(content["gpu"], content["choice"])
    content["cases"] = cases_of(device, seconds, deadline, content["ceilings"]["copy"])
    write(content, out)
    if device == "cpu":
        print(NO_GPU)


def cases_of(device: str, seconds: float, deadline: float, bandwidth: float) -> dict[str, dict]:
    """Every case's contest, and what of its goal was reached."""
    found = {}
    kinds = gpu_cases.SMALL if device == "cpu" else (gpu_cases.TRAINING, gpu_cases.INFERENCE)
    for what, chosen in zip(("trainer", "predictor"), kinds, strict=True):
        for name, (case, goal) in chosen.items():
            trains = what == "trainer"
            print(f"{name}: {case.name}, matrix products {case.precision}", flush=True)
            if time.monotonic() > deadline:
                print("  left out: there was no time left")
                continue
            say = lambda text: print(f"  {text}", flush=True)  # noqa: E731
            calls = case.steps if trains else 1
            ended = gpu_contest.contest(what, case, device, seconds, deadline, say, calls)
            for way, entry in sorted(ended["entries"].items(), key=lambda pair: pair[1]["seconds"]):
                print(f"  {way:28} {duration(entry['seconds']):>9}   {times(entry['ratio']['value'])}")
            judged = gpu_cases.judged(case, goal, trains, ended["entries"], bandwidth)
            for wish, outcome in judged.items():
                outcome["met"] = outcome["met"] if device == "gpu" else None
                value = "not measured" if outcome["found"] is None else f"{outcome['found']:.3g}"
                met = {True: "met", False: "MISSED", None: "not known"}[outcome["met"]]
                print(f"  goal: {outcome['wanted']:g} {wish}: {value}, {met}", flush=True)
            found[name] = ended | {"network": case.name, "precision": case.precision, "goal": judged}
            if trains:
                found[name]["profile"] = launches = gpu_profile.profile(case, device)
                for kernel, spent in sorted(launches, key=lambda launch: -launch[1])[:4]:
                    print(f"  a recorded step's longest launches: {kernel:24} {duration(spent)}", flush=True)
    return found


def facts(device: str) -> dict:
    """The GPU's name and what decides its speed; of the CPU's stand-in the name alone."""
    if device == "cpu":
        return {"name": gpu_minidl.device_of(device).name}
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "name": properties["name"].decode(),
        "memory": properties["totalGlobalMem"],
        "multiprocessors": properties["multiProcessorCount"],
        "compute_capability": cupy.cuda.Device().compute_capability,
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "runtime": cupy.cuda.runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
        "python": sys.version.split()[0],
    }


def slug(name: str) -> str:
    """A GPU's name as a part of a file's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def write(content: dict, out: Path | None) -> None:
    if out is None and content["device"] == "cpu":
        print("nothing is written; --out FILE would")
        return
    path = out or results_file.FOLDER / f"gpu-{slug(content['gpu'])}.json"
    files.replace(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    files.replace(path.with_suffix(".png"), gpu_picture.draw(content))
    print(f"written to {path} and {path.with_suffix('.png')}")
