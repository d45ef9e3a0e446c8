"""What an operation cannot use is refused with one sentence by every engine: nothing is stretched, nothing read beyond
its end."""

import re

import numpy as np
import pytest

from minidl import get_engine
from minidl.bench import operations
from minidl.contract import OPERATIONS
from minidl.engines import why_not

ENGINES = pytest.mark.parametrize(
    "engine", [get_engine(name) for name in ("numpy", "numba") if not why_not(name)], ids=lambda engine: engine.name
)
ONES = np.ones((4, 3), np.float32)


@ENGINES
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_refuses_arrays_that_do_not_belong_together(engine, name):
    arguments = list(operations.sample(name))
    arrays = [place for place, value in enumerate(arguments) if isinstance(value, np.ndarray)]
    first, last = arguments[arrays[0]], arguments[arrays[-1]]
    if len(arrays) > 1:
        for wrong in (np.pad(last, [(0, 1)] * last.ndim), last[None, None]):
            arguments[arrays[-1]] = wrong
            with pytest.raises(ValueError, match=f"^{name} takes .*, but got "):
                getattr(engine, name)(*arguments)
    arguments[arrays[-1]] = last
    arguments[arrays[0]] = np.ones(first.shape, "int64")
    with pytest.raises(TypeError, match=f"^{name} takes .* is int64; convert it"):
        getattr(engine, name)(*arguments)


@ENGINES
def test_the_sentences(engine):
    sentence = "dense takes x (n, i), W (i, o), b (o,) -> (n, o), but got x (4, 3), W (4, 3), b (3,)"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        engine.dense(ONES, ONES, ONES[0])
    with pytest.raises(ValueError, match=r"but got z \(4, 3\), out \(3, 3\)$"):
        engine.sigmoid(ONES, out=ONES[:3])
    with pytest.raises(TypeError, match=r"^sigmoid takes arrays, but z is a list; make one with"):
        engine.sigmoid([1.0])
    with pytest.raises(TypeError, match="float32 or float64, one for all arrays, but y is float64; convert it"):
        engine.relu_backward(ONES, ONES.astype("float64"))
    with pytest.raises(ValueError, match=r"takes arrays without gaps, but z is a view; pass np.ascontiguousarray"):
        engine.tanh(ONES[:, ::2])
    with pytest.raises(TypeError):
        engine.dense(ONES)


@ENGINES
def test_arguments_may_be_named_and_activations_have_any_shape(engine):
    out = np.empty_like(ONES)
    assert engine.relu_backward(y=ONES, dy=2 * ONES, out=out) is out
    assert (out == 2).all()
    assert engine.sigmoid(np.zeros((2, 3, 4))).shape == (2, 3, 4)
    assert engine.sigmoid(np.zeros(5))[0] == 0.5
