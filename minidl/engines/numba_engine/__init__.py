"""The compiled engine: explicit loops under Numba, the same files and functions as the NumPy reference."""
