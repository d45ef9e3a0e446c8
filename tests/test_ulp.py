"""The measuring of errors in perf: what is counted, by hand."""

import numpy as np
import pytest

pytest.importorskip("numba")

from perf import report, ulp


def tallied(x, found, low=-np.inf, high=np.inf, reference=ulp.exp):
    histogram, sums = np.zeros(ulp.BINS, np.int64), np.zeros(6)
    ulp.tally_of(reference)(np.float32(x), np.float32(found), low, high, histogram, sums)
    return histogram, sums


def test_errors_by_hand():
    # e^0 = 1, whose unit is 2^-23: right, 2 units above, half a unit below (the unit below 1 is half as large).
    histogram, sums = tallied([0, 0, 0], [1, 1 + 2**-22, 1 - 2**-24])
    assert sums[[ulp.COUNT, ulp.RIGHT, ulp.TOTAL, ulp.WORST, ulp.WHERE, ulp.NAN_LOST]].tolist() == [3, 1, 2.5, 2, 0, 0]
    assert {place * ulp.BIN: int(count) for place, count in enumerate(histogram) if count} == {0: 1, 0.5: 1, 2: 1}


def test_what_is_no_number():
    _, sums = tallied([100, -200], [np.inf, 0])  # beyond the largest float32, below the smallest: rightly rounded
    assert sums[ulp.WORST] < 1e-40
    assert sums[ulp.RIGHT] == 2
    assert tallied([1], [np.inf])[1][ulp.WORST] == np.inf
    assert tallied([1], [np.nan])[1][ulp.WORST] == np.inf
    assert tallied([np.nan, np.nan], [np.nan, 1])[1][ulp.NAN_LOST] == 1
    assert tallied([2, 0.5], [9, 9], 3, 4)[1][ulp.COUNT] == 0  # outside of where the function is looked at


def test_percentile():
    histogram = np.zeros(ulp.BINS, np.int64)
    histogram[[0, 1024]] = 998, 2
    assert ulp.percentile(histogram, 0.998) == ulp.BIN
    assert ulp.percentile(histogram, 0.999) == 1 + ulp.BIN


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("name", ulp.FUNCTIONS)
def test_every_function_is_measured(name, engine):
    found = ulp.measure(name, engine, 1_000_003, lambda: None)
    assert 0 < found["mean_ulp"] < found["percentile_99_9_ulp"] <= found["max_ulp"] + ulp.BIN
    assert found["max_ulp"] < 4
    assert 0.9 < found["correctly_rounded"] < 1


def test_table_for_the_readme():
    errors = {"max_ulp": 2.402, "percentile_99_9_ulp": 1.103, "mean_ulp": 0.0416}
    entry = errors | {"correctly_rounded": 0.9707, "stride": 1}
    machine = {"versions": {"numpy": "2", "numba": "0"}, "date": "2026-01-01", "processor": "P", "cores": 2}
    table = report.ulp_table({"functions": {"sigmoid": {"float32": {"numba": entry}}}, "machine": machine})
    assert "| sigmoid, numba | 2.40 ulp | 1.10 ulp | 0.042 ulp | 97.07% | 2.5 |" in table
    assert "Of all 2^32 values." in table
