"""One matrix product on several threads: C = D + A B, in parts of C's rows or columns that the threads take in turn."""

import numpy as np

from minidl.engines.numba_engine import threads
from minidl.engines.numba_engine.cache import njit
from minidl.engines.numba_engine.gemm import GROUP, ROWS, VECTOR_BYTES, multiply
from minidl.engines.numba_engine.team import entry_of, packet_of, share, together
from minidl.engines.numba_engine.threads import take

PARTS = 2  # for each thread, so that the others can help one that comes late


def pays(m: int, o: int, d: int, *arrays) -> bool:
    """Whether several threads are worth it for A (m, d) and B (d, o): not for one column, which ``multiply`` is not
    made for, nor for few rows, which wait for B. Nor are they for arrays that the operation is about to refuse."""
    if o == 1 or m < ROWS or m * o * d < threads.PAYS_TO_WAKE or threads.available() == 1:
        return False
    return len({a.dtype for a in arrays if a is not None}) == 1 and all(
        a is None or a.flags.c_contiguous for a in arrays
    )


def multiply_shared(A, transposed, B, D, out=None):
    """D + A B for A (m, d), or (d, m) where it is ``transposed``, B (d, o) and D (o,): to the bit as ``multiply``."""
    (m, d), o = A.shape[::-1] if transposed else A.shape, B.shape[1]
    out = np.empty((m, o), B.dtype) if out is None else out
    team = threads.available()
    # By columns where there are enough: then none of B is packed by two threads.
    panel = GROUP * VECTOR_BYTES // B.itemsize
    by_columns = o >= team * panel
    size, least = (o, panel) if by_columns else (m, 4)
    high = -(-size // (PARTS * team * least)) * least
    parts = -(-size // high)
    shares = threads.shares_of(parts, team)[None]
    a_row, a_column = (1, m) if transposed else (d, 1)
    arguments = (
        threads.counters(team), shares, high, by_columns, m, o, d, out.reshape(-1), D, A.reshape(-1), a_row, a_column,
        B.reshape(-1),
    )  # fmt: skip
    together(multiply_together, arguments, team)
    return out


@njit(cache=True)
def multiply_together(bell, threads, *arguments):
    share(bell, threads, entry_of(multiply_parts, arguments), packet_of(arguments))


@njit(cache=True)
def multiply_parts(
    counters, shares, high, by_columns, m, o, d, C, D, A, a_row, a_column, B, thread, threads
):  # fmt: skip
    low = C.dtype.type(-np.inf)
    part = take(counters, 0, shares, 0, thread, threads)
    while part >= 0:
        first = part * high
        if by_columns:
            width = min(high, o - first)
            multiply(m, width, d, C, first, o, D, first, A, 0, a_row, a_column, B, first, o, low)
        else:
            rows = min(high, m - first)
            multiply(rows, o, d, C, first * o, o, D, 0, A, first * a_row, a_row, a_column, B, 0, o, low)
        part = take(counters, 0, shares, 0, thread, threads)
