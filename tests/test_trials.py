"""Trials: the same splits for every way, accuracy and loss by hand, and when a difference is clear."""

import numpy as np
import pytest

from minidl.bench import trials
from minidl.data import Column, Schema, Table, Target


def table(rows=40, task="binary"):
    y = np.arange(rows).reshape(-1, 1) % 2
    target = Target("y", task, (0, 1) if task == "binary" else ())
    return Table(np.hstack([y, 1 - y]).astype(float), y.astype(float), Schema((Column("a"), Column("b")), target))


def test_every_way_has_the_same_splits():
    seen = {"one": [], "other": []}

    def train(name):
        def trained(rows, split):
            seen[name].append((split, rows.X.copy()))
            return lambda X: X[:, :1]

        return trained

    for name in seen:
        trials.run(train(name), table(), splits=3)
    assert [split for split, _ in seen["one"]] == [0, 1, 2]
    for (_, ours), (_, theirs) in zip(*seen.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert len(ours) == 30


def test_accuracy_and_loss_by_hand():
    # Right with certainty e^-1, so the loss is 1; then always "benign", right for half of the rows.
    sure = trials.run(lambda rows, split: lambda X: np.where(X[:, :1] == 1, np.exp(-1), 1 - np.exp(-1)), table(), 2)
    np.testing.assert_allclose(sure.loss, 1)
    np.testing.assert_array_equal(sure.accuracy, 0)  # e^-1 < 1/2 is the wrong side
    half = trials.run(lambda rows, split: lambda X: np.full((len(X), 1), 0.9), table(), 2)
    np.testing.assert_array_equal(half.accuracy, 0.5)
    assert half.judged == pytest.approx(1 / 3)


def of(*accuracy, judged=0.25):
    values = np.array(accuracy)
    return trials.Trials(values, values, values, judged)


def test_a_difference_is_clear_beyond_its_margin():
    # Differences 0.1, 0.2, 0.3: mean 0.2, variance 0.01; the error is sqrt((1/3 + 1/4) 0.01) = 0.0764.
    found = trials.difference(of(0.6, 0.7, 0.8), of(0.5, 0.5, 0.5))
    assert (found.value, found.margin) == (pytest.approx(0.2), pytest.approx(2 * 0.0763763))
    assert found.verdict == "better"
    assert trials.difference(of(0.5, 0.5, 0.5), of(0.6, 0.7, 0.8)).verdict == "worse"
    assert trials.difference(of(0.6, 0.4), of(0.5, 0.5)).verdict == "no clear difference"


def test_the_table_compares_with_the_first():
    shown = trials.table_of({"a": of(0.5, 0.5, 0.5), "b": of(0.6, 0.7, 0.8)})
    assert shown.loc["b", "accuracy"] == "70.0 ± 10.0 %"
    assert shown.loc["b", "against the first"] == "+20.0 ± 15.3"
    assert list(shown["so it is"]) == ["", "better"]


def test_other_tasks_are_refused():
    with pytest.raises(ValueError, match="must be binary"):
        trials.run(lambda rows, split: None, table(task="regression"))
