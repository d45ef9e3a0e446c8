"""The command line of perf: ``python -m perf --help`` lists what it measures."""

from __future__ import annotations

import argparse
import sys

from perf import accuracy, ceilings, coldstart, gpu, inference, ladder, memory, ops, report, shapes, training, ulp

COMMANDS = {  # what it runs, what it does, and where it takes arguments a function that adds them to its parser
    "ceilings": (ceilings.main, "the most that this machine can do: multiply-adds, and bandwidth of caches and memory"),
    "ladder": (ladder.main, "from plain loops to all cores, each rung as a share of the ceiling", ladder.arguments),
    "training": (training.main, "an epoch by each rival, in turns, of four networks", training.arguments),
    "inference": (inference.main, "1 to 8,192 rows through a network, by each rival, in turns", inference.arguments),
    "accuracy": (accuracy.main, "what int8, pruning and fewer units cost and bring, on digits", accuracy.arguments),
    "ops": (ops.main, "a dense layer's matrix products, on one core and all, against BLAS libraries", ops.arguments),
    "shapes": (shapes.main, "networks that nothing was tuned for; says where minidl is slower", shapes.arguments),
    "gpu": (gpu.main, "a GPU's ceilings, the tests on it, and minidl beside PyTorch and JAX there", gpu.arguments),
    "memory": (memory.main, "the most that training takes, and whether it grows with the epochs", memory.arguments),
    "coldstart": (coldstart.main, "a fresh process to a trained and evaluated model, against JAX where installed"),
    "ulp": (ulp.main, "the error of the elementary functions over the float32 line, in a minute", ulp.arguments),
    "report": (report.main, "write the README's tables from perf/results"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m perf", description="Measurements, run from the repository.",
                                     epilog="python -m perf COMMAND --help explains a command.")  # fmt: skip
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (run, meaning, *more) in COMMANDS.items():
        command = commands.add_parser(name, help=meaning, description=sys.modules[run.__module__].__doc__)
        command.set_defaults(run=run)
        for add_arguments in more:
            add_arguments(command)
    options = vars(parser.parse_args())
    try:
        options.pop("run")(**options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, OSError) as error:
        print(f"python -m perf: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
