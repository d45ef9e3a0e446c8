"""SciPy's BLAS, called as directly as Python can: sgemm of transposes, so that no array is copied."""

from __future__ import annotations

import numpy as np

from perf import rivals


def why_not() -> str:
    return rivals.missing("SciPy", "pip install scipy", "scipy")


def settings(what: str) -> list[dict]:
    return rivals.thread_counts()


def product(operation, a, b, threads=None):
    from scipy.linalg.blas import sgemm

    # BLAS counts down the columns, so that a C-contiguous array is its transpose there: C' = B' A' is asked for.
    transposed = {"dense": (False, False), "dense_backward_W": (True, False), "dense_backward_x": (False, True)}
    of_a, of_b = transposed[operation]
    rows, columns = a.shape[1] if of_a else len(a), len(b) if of_b else b.shape[1]
    out = np.empty((rows, columns), np.float32)

    def multiply():
        sgemm(1.0, b.T, a.T, 0.0, out.T, trans_a=of_b, trans_b=of_a, overwrite_c=True)
        return out

    return multiply
