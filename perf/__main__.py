"""The command line of perf: ``python -m perf training | inference | ops | shapes | memory | coldstart | report``."""

from __future__ import annotations

import argparse
import sys

from perf import coldstart, inference, memory, ops, report, shapes, training

# Each has main(options) and, where it has options of its own, add_options(parser).
COMMANDS = {
    "training": (training, "an epoch by each rival, in turns: tiny, table, mnist/32, mnist/256"),
    "inference": (inference, "from one row to 8,192 through a trained network, by each rival, in turns"),
    "ops": (ops, "the matrix products of a dense layer, on one core and on all, against the BLAS libraries"),
    "shapes": (shapes, "training and inference on random networks that nothing was tuned for; says where minidl loses"),
    "memory": (memory, "the most memory that training takes, and whether it grows over 1,000 epochs"),
    "coldstart": (coldstart, "a fresh process to a trained and evaluated model, against JAX where installed"),
    "report": (report, "write the README's tables from perf/results"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m perf", description="Measurements, run from the repository.",
                                     epilog="python -m perf COMMAND --help explains a command.")  # fmt: skip
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (module, meaning) in COMMANDS.items():
        command = commands.add_parser(name, help=meaning, description=module.__doc__)
        command.set_defaults(run=module.main)
        if hasattr(module, "add_options"):
            module.add_options(command)
    options = parser.parse_args()
    try:
        options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, OSError) as error:
        print(f"python -m perf: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
