"""Noise and mixup add rows that follow from the rows there are, and leave those as they were."""

import numpy as np
import pytest

from minidl.data import augment

rng = np.random.default_rng(0)
X, Y = rng.normal([0, 100], [1, 20], (500, 2)), rng.integers(2, size=(500, 1)).astype(float)


@pytest.mark.parametrize("more", [augment.noise, augment.mixup])
def test_the_first_rows_are_the_old_ones_and_a_seed_repeats_the_others(more):
    before = X.copy()
    X_more, y_more = more(X, Y, copies=3, seed=5)
    assert (X_more.shape, y_more.shape) == ((2000, 2), (2000, 1))
    np.testing.assert_array_equal(X_more[:500], X)
    np.testing.assert_array_equal(y_more[:500], Y)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(more(X, Y, copies=3, seed=5)[0], X_more)
    assert (more(X, Y, copies=3, seed=6)[0] != X_more).any()
    assert (X_more[500:1000] != X_more[1000:1500]).any()
    np.testing.assert_array_equal(more(X, Y[:, 0], copies=0)[1], Y[:, 0])


def test_noise_moves_each_feature_by_its_share_of_its_spread():
    X_more, y_more = augment.noise(X, Y, deviation=0.1, seed=1)
    moved = X_more[500:] - X
    np.testing.assert_allclose(moved.std(axis=0), 0.1 * X.std(axis=0), rtol=0.1)
    np.testing.assert_allclose(moved.mean(axis=0) / X.std(axis=0), 0, atol=0.02)
    np.testing.assert_array_equal(y_more[500:], Y)


def test_mixup_mixes_rows_and_labels_in_the_same_proportion():
    """With labels that are a linear function of the rows, mixtures keep to that function."""
    y = X @ np.array([[2.0], [-0.5]])
    X_more, y_more = augment.mixup(X, y, alpha=1.0, seed=2)
    np.testing.assert_allclose(y_more[500:], X_more[500:] @ np.array([[2.0], [-0.5]]), atol=1e-10)
    shares = augment.mixup(np.eye(400), np.eye(400), alpha=1.0, seed=3)[0][400:]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert np.diag(shares).mean() == pytest.approx(0.5, abs=0.06)  # Beta(1, 1) is even on [0, 1]
    near = augment.mixup(np.eye(400), np.eye(400), alpha=0.1, seed=3)[0][400:]
    assert np.mean(np.max(near, axis=1) > 0.9) > 0.7


def test_bad_input():
    with pytest.raises(ValueError, match="alpha must be above 0"):
        augment.mixup(X, Y, alpha=0)
    with pytest.raises(ValueError, match="deviation must be a finite number"):
        augment.noise(X, Y, deviation=-1)
    with pytest.raises(ValueError, match="X has 500 rows, but y has the shape"):
        augment.noise(X, Y[:3])
    with pytest.raises(ValueError, match="y holds NaN"):
        augment.mixup(X, np.full(500, np.nan))
