"""The reference engine: pure NumPy, one file for each chapter of the mathematics, reads like the formulas."""
