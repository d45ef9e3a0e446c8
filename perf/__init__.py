"""Comparative measurements, run from the repository: ``python -m perf --help``."""
