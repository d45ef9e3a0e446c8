"""More rows from the rows there are, so that a network learns what does not change the answer: noise and mixup."""

from __future__ import annotations

import numpy as np

from minidl import checks

Arrays = tuple[np.ndarray, np.ndarray]  # X and y


def noise(X: object, y: object, deviation: float = 0.1, copies: int = 1, seed: int | None = None) -> Arrays:
    """The rows, followed by ``copies`` of them with normal noise on X: x + deviation s z, z ~ N(0, 1).

    s is each column's own deviation, so that ``deviation`` = 0.1 moves every feature by a tenth of its spread.
    X (n, i) and y (n, ...) give X (n (copies + 1), i) and y as often. Raises ValueError for a negative or infinite
    deviation or where X and y differ in length. Source: C. M. Bishop, Training with Noise is Equivalent to Tikhonov
    Regularization, Neural Computation 7, 1995.
    """
    X, y = rows_of(X, y)
    deviation = checks.number(deviation, "deviation", 0)
    copies = checks.whole_number(copies, "copies", 0)
    rng = generator(seed)
    moved = [X + deviation * X.std(axis=0) * rng.standard_normal(X.shape) for _ in range(copies)]
    return np.concatenate([X, *moved]), np.concatenate([y] * (copies + 1))


def mixup(X: object, y: object, alpha: float = 0.2, copies: int = 1, seed: int | None = None) -> Arrays:
    """The rows, followed by ``copies`` times as many mixtures of two: l x_a + (1 - l) x_b with l y_a + (1 - l) y_b.

    l ~ Beta(alpha, alpha): a small alpha keeps near one of the two, alpha = 1 mixes in any proportion. The labels must
    be numbers that can be mixed, in [0, 1] or one-hot; class indices are not: make them one-hot first
    (``np.eye(classes)[y]``). X (n, i) and y (n, ...) give X (n (copies + 1), i) and y as often. Raises ValueError for
    an alpha that is not positive or where X and y differ in length. Source: H. Zhang et al., mixup: Beyond Empirical
    Risk Minimization, ICLR 2018.
    """
    X, y = rows_of(X, y)
    alpha = checks.number(alpha, "alpha", 0)
    if alpha == 0:
        raise ValueError("alpha must be above 0: with 0 nothing is mixed")
    copies = checks.whole_number(copies, "copies", 0)
    rng = generator(seed)
    all_X, all_y = [X], [y]
    for _ in range(copies):
        share, other = rng.beta(alpha, alpha, len(X)), rng.permutation(len(X))
        for whole, array in ((all_X, X), (all_y, y)):
            part = share.reshape(-1, *[1] * (array.ndim - 1))
            whole.append(part * array + (1 - part) * array[other])
    return np.concatenate(all_X), np.concatenate(all_y)


def rows_of(X: object, y: object) -> Arrays:
    """X (n, i) and y (n, ...) as float64, cleaned."""
    X = checks.features(X, np.dtype(np.float64))
    y = checks.numeric(y, "y")
    if y.ndim == 0 or len(y) != len(X):
        raise ValueError(f"X has {len(X)} rows, but y has the shape {y.shape}")
    return X, checks.clean(y, "y", np.dtype(np.float64))


def generator(seed: int | None) -> np.random.Generator:
    return np.random.default_rng(None if seed is None else checks.whole_number(seed, "seed", 0))
