"""Parting rows for training and testing."""

from __future__ import annotations

import numpy as np

from minidl import checks


def train_test_split(
    X: object, y: object, test_size: float = 0.25, seed: int | None = None, stratify: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """X_train, X_test, y_train, y_test: rows drawn at random, ``test_size`` of them (a share in (0, 1)) for testing.

    With ``stratify`` each class (each distinct row of y) is parted in the same proportion, as nearly as whole rows
    allow. Raises ValueError where the lengths differ or one side would be empty, or where y has too many distinct
    values to be classes.
    """
    X, y = checks.numeric(X, "X"), checks.numeric(y, "y")
    if X.ndim == 0 or y.ndim == 0 or len(X) != len(y):
        raise ValueError(f"X has the shape {X.shape} and y {y.shape}: they must have the same number of rows")
    share = checks.number(test_size, "test_size", 0, 1, below_high=True)
    checks.truth(stratify, "stratify")
    rng = np.random.default_rng(None if seed is None else checks.whole_number(seed, "seed", 0))
    rows = len(y)
    wanted = round(share * rows)
    if wanted in (0, rows):
        raise ValueError(
            f"test_size={share:g} leaves {rows - wanted} of {rows} rows for training and {wanted} for testing"
        )
    classes = np.zeros(rows, int)
    if stratify:
        classes = np.unique(y.reshape(rows, -1), axis=0, return_inverse=True)[1].ravel()
    counts = np.bincount(classes)
    if stratify and counts.max() == 1:
        raise ValueError("y has no value twice, so it holds no classes to stratify by; use stratify=False")
    # Each class gives its share rounded down; the rows still missing come from the largest remainders.
    exact = counts * wanted / rows
    taken = np.floor(exact).astype(int)
    taken[np.argsort(taken - exact, kind="stable")[: wanted - taken.sum()]] += 1
    order = rng.permutation(rows)
    place = np.empty(rows, int)  # of each shuffled row within its class
    for label in range(len(counts)):
        mine = classes[order] == label
        place[mine] = np.arange(mine.sum())
    test = place < taken[classes[order]]
    return X[order[~test]], X[order[test]], y[order[~test]], y[order[test]]
