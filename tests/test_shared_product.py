"""Large products of a layer go on several threads: to the bit what one thread computes, and nothing else is taken."""

import numpy as np
import pytest

pytest.importorskip("numba")

from minidl.engines.numba_engine import dense, shared_product, threads

rng = np.random.default_rng(0)
SHAPES = [(256, 300, 256), (255, 301, 129), (12, 1500, 1499), (70, 64, 3001)]  # rows, inputs, units
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def layer(n, i, o, dtype):
    return [rng.normal(size=shape).astype(dtype) for shape in ((n, i), (i, o), (o,), (n, o))]


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("number", [2, 3, 8])
def test_the_bits_are_those_of_one_thread(shape, number, dtype, monkeypatch):
    monkeypatch.setattr(threads, "available", lambda: number)
    monkeypatch.setattr(threads, "PAYS_TO_WAKE", 1)
    shared, multiply_shared = [], shared_product.multiply_shared
    monkeypatch.setattr(dense, "multiply_shared", lambda *given: shared.append(1) or multiply_shared(*given))
    x, W, b, dz = layer(*shape, dtype)
    np.testing.assert_array_equal(dense.dense(x, W, b), dense.dense_alone(x, W, b))
    np.testing.assert_array_equal(dense.dense_backward_x(dz, W), dense.dense_backward_x_alone(dz, W))
    np.testing.assert_array_equal(dense.dense_backward_W(x, dz), dense.dense_backward_W_alone(x, dz))
    assert len(shared) == 3


def test_the_result_goes_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(threads, "available", lambda: 2)
    x, W, b, _ = layer(256, 300, 256, "float32")
    out = np.empty((256, 256), np.float32)
    assert dense.dense(x, W, b, out) is out
    np.testing.assert_allclose(out, x.astype("f8") @ W + b, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("m", "o", "d"), [(1000, 1, 10**6), (3, 10**4, 10**4), (64, 64, 64)])
def test_one_column_few_rows_and_little_work_stay_on_one_thread(m, o, d, monkeypatch):
    monkeypatch.setattr(threads, "available", lambda: 2)
    assert not shared_product.pays(m, o, d)


def test_arrays_that_the_operation_refuses_are_refused_large_too(monkeypatch):
    monkeypatch.setattr(threads, "available", lambda: 2)
    x, W, b, _ = layer(512, 300, 256, "float32")
    for gaps in (x[::2], np.asfortranarray(x)):
        with pytest.raises(Exception, match="contiguous"):
            dense.dense(gaps, W, b)
    assert not shared_product.pays(512, 256, 300, x, W.astype("float64"), None)
