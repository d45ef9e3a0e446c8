"""The shipped data are what they are said to be, and parting rows for training and testing loses none."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import data


def test_breast_cancer_is_the_wisconsin_data():
    X, y = data.load_breast_cancer()
    assert (X.shape, y.shape) == ((569, 30), (569, 1))
    assert (X.dtype, y.dtype) == (np.float32, np.float32)
    assert X.flags.c_contiguous
    assert y.flags.c_contiguous
    assert np.isfinite(X).all()
    assert sorted(set(y[:, 0].tolist())) == [0, 1]
    assert y.sum() == 357  # benign; the other 212 are malignant
    first = [
        17.99, 10.38, 122.8, 1001, 0.1184, 0.2776, 0.3001, 0.1471, 0.2419, 0.07871,
        1.095, 0.9053, 8.589, 153.4, 0.006399, 0.04904, 0.05373, 0.01587, 0.03003, 0.006193,
        25.38, 17.33, 184.6, 2019, 0.1622, 0.6656, 0.7119, 0.2654, 0.4601, 0.1189,
    ]  # fmt: skip
    assert X[0].tolist() == np.array(first, np.float32).tolist()
    assert y[0] == 0
    # The columns come in threes: mean, error and worst of ten measures. The worst is never below the mean.
    assert (X[:, 20:] >= X[:, :10]).all()


def test_each_call_gives_arrays_of_its_own():
    X, _ = data.load_breast_cancer()
    X[:] = 0
    assert data.load_breast_cancer()[0].any()


def numbered(y):
    """Rows that carry their own number, so that one can see where they went."""
    return np.column_stack([np.arange(len(y)), np.full(len(y), 7)])


labels = st.lists(st.integers(0, 3), min_size=4, max_size=60)
shares = st.floats(0.05, 0.95)
numbers = st.integers(0, 2**32)


def parted(y, share, seed, stratify):
    """The four parts; None where the drawn case has no classes or too few rows for the share."""
    wanted = round(share * len(y))
    if wanted in (0, len(y)) or (stratify and len(set(y)) == len(y)):
        return None
    return data.train_test_split(numbered(y), y, test_size=share, seed=seed, stratify=stratify)


@given(labels, shares, numbers, st.booleans())
def test_every_row_comes_once_with_its_own_label(y, share, seed, stratify):
    parts = parted(y, share, seed, stratify)
    if parts is None:
        return
    X_train, X_test, y_train, y_test = parts
    assert sorted(np.concatenate([X_train, X_test])[:, 0].tolist()) == list(range(len(y)))
    assert len(X_test) == round(share * len(y))
    assert y_train.tolist() == np.array(y)[X_train[:, 0]].tolist()
    assert y_test.tolist() == np.array(y)[X_test[:, 0]].tolist()


@given(labels, shares, numbers)
def test_each_class_is_parted_in_proportion_to_within_a_row(y, share, seed):
    parts = parted(y, share, seed, stratify=True)
    if parts is None:
        return
    y, y_test = np.array(y), parts[3]
    for label in set(y.tolist()):
        exact = np.sum(y == label) * len(y_test) / len(y)
        assert abs(np.sum(y_test == label) - exact) < 1


@given(labels, shares, numbers, st.booleans())
def test_the_same_seed_parts_alike(y, share, seed, stratify):
    first, again = (parted(y, share, seed, stratify) for _ in range(2))
    if first is not None:
        assert all(map(np.array_equal, first, again))


def test_the_seed_decides_and_without_one_chance_does():
    X, y = data.load_breast_cancer()
    tests = [data.train_test_split(X, y, seed=seed)[1] for seed in (0, 0, 1, None, None)]
    assert np.array_equal(tests[0], tests[1])
    assert not any(np.array_equal(tests[a], tests[b]) for a, b in ((0, 2), (0, 3), (3, 4)))


def test_proportions_by_hand():
    # A quarter of 569 is 142.25, so 142 rows: 357 * 142/569 = 89.09 benign and 212 * 142/569 = 52.91 malignant.
    X_train, X_test, y_train, y_test = data.train_test_split(*data.load_breast_cancer(), seed=0)
    assert (len(X_train), len(X_test)) == (427, 142)
    assert (y_test == 1).sum() == 89
    assert (y_test == 0).sum() == 53
    assert y_train.shape == (427, 1)
    # Three classes of 4, 4 and 2 rows at 0.3: 1.2, 1.2 and 0.6 of 3 rows, so one of each.
    y_test = data.train_test_split(np.zeros(10), [0] * 4 + [1] * 4 + [2] * 2, test_size=0.3, seed=5)[3]
    assert sorted(y_test.tolist()) == [0, 1, 2]


def test_rows_are_shuffled_in_both_parts():
    X = np.arange(100)
    train, test, *_ = data.train_test_split(X, X % 2, seed=0)
    assert sorted(train) != train.tolist()
    assert sorted(test) != test.tolist()


@pytest.mark.parametrize("stratify", [True, False])
def test_tables_lists_and_rows_of_classes_can_be_parted(stratify):
    X = pd.DataFrame({"a": range(12), "b": range(12)})
    one_hot = np.eye(3, dtype=bool)[np.arange(12) % 3]
    X_train, X_test, y_train, y_test = data.train_test_split(X, one_hot, 0.25, seed=1, stratify=stratify)
    assert (X_train.shape, X_test.shape, y_train.shape, y_test.shape) == ((9, 2), (3, 2), (9, 3), (3, 3))
    assert (y_test == one_hot[X_test[:, 0]]).all()
    if stratify:
        assert y_test.sum(axis=0).tolist() == [1, 1, 1]


def test_the_parts_are_copies():
    X, y = np.zeros((8, 2)), np.arange(8) % 2
    for part in data.train_test_split(X, y, seed=0):
        part[...] = 9
    assert not X.any()
    assert y.max() == 1


X, Y = np.zeros((10, 2)), np.arange(10) % 2


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: data.train_test_split(X, Y[:9]), ValueError, ("(10, 2)", "(9,)", "same number of rows")),
        (lambda: data.train_test_split(X, 1), ValueError, ("(10, 2)", "()", "same number of rows")),
        (lambda: data.train_test_split(X, Y, test_size=1), ValueError, ("test_size", "[0, 1)")),
        (lambda: data.train_test_split(X, Y, test_size=-0.1), ValueError, ("test_size", "[0, 1)")),
        (lambda: data.train_test_split(X, Y, test_size=5), ValueError, ("test_size", "[0, 1)", "5")),
        (lambda: data.train_test_split(X, Y, test_size="half"), TypeError, ("test_size", "number")),
        (lambda: data.train_test_split(X, Y, test_size=0), ValueError, ("test_size=0 ", "10 of 10 rows", "0 for test")),
        (lambda: data.train_test_split(X, Y, test_size=0.01), ValueError, ("10 of 10 rows for training and 0 for",)),
        (lambda: data.train_test_split(X, Y, test_size=0.99), ValueError, ("0 of 10 rows for training and 10 for",)),
        (lambda: data.train_test_split(X[:0], Y[:0]), ValueError, ("0 of 0 rows",)),
        (lambda: data.train_test_split(X, Y, seed=-1), ValueError, ("seed", "at least 0")),
        (lambda: data.train_test_split(X, Y, seed=0.5), TypeError, ("seed", "whole number")),
        (lambda: data.train_test_split(X, Y, stratify="yes"), TypeError, ("stratify", "True or False")),
        (lambda: data.train_test_split(X, np.arange(10)), ValueError, ("no value twice", "stratify=False")),
        (lambda: data.train_test_split(X, ["a"] * 10), TypeError, ("y holds text",)),
    ],
)
def test_what_cannot_be_parted_is_refused(call, kind, words):
    with pytest.raises(kind) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_numbers_to_predict_are_parted_without_classes():
    train, test, *_ = data.train_test_split(X, np.linspace(0, 1, 10), test_size=0.3, seed=0, stratify=False)
    assert (len(train), len(test)) == (7, 3)
