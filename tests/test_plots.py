"""History.plot and model.plot: what is drawn, that axes are honest, and that they change nothing around them."""

import io
import math
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from minidl import Dense, Dropout, History, Normalization, Sequential

NAN, INF = math.nan, math.inf


def record(**curves):
    history = History()
    history.epoch = list(range(len(next(iter(curves.values()), []))))
    history.history = curves
    return history


def lines_of(axes):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def test_training_and_validation_are_laid_on_each_other():
    figure = record(accuracy=[0.5, 0.75], loss=[2.0, 1.0], val_accuracy=[0.25, 0.5], val_loss=[3.0, 1.5]).plot()
    loss, accuracy = figure.axes
    assert loss.get_title(loc="left") == "loss"
    assert lines_of(loss) == {"training": ([1, 2], [2, 1]), "validation": ([1, 2], [3, 1.5])}
    assert lines_of(accuracy) == {"training": ([1, 2], [0.5, 0.75]), "validation": ([1, 2], [0.25, 0.5])}
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "epoch"]
    assert accuracy.get_ylabel() == "accuracy"
    assert loss.get_legend() is not None


def test_axes_begin_at_nought():
    (axes,) = record(loss=[0.9, 0.8]).plot().axes
    assert axes.get_ylim()[0] == 0
    assert axes.get_yscale() == "linear"
    (axes,) = record(r2=[-1.0, 0.5]).plot().axes
    assert axes.get_ylim()[0] < -1
    assert axes.get_ylim()[1] > 0.5


def test_a_steep_loss_has_an_axis_that_says_logarithmic():
    (axes,) = record(loss=[1.0, 0.1, 0.005]).plot().axes
    assert axes.get_yscale() == "log"
    assert "logarithmic" in axes.get_ylabel()
    (axes,) = record(loss=[1.0, 0.1, 0.0]).plot().axes  # 0 has no logarithm
    assert axes.get_yscale() == "linear"


def test_one_epoch_is_a_marker():
    (axes,) = record(loss=[0.5]).plot().axes
    assert axes.lines[0].get_marker() == "o"
    assert [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]] == [1]


def test_values_that_are_not_finite_are_left_out_and_named():
    (axes,) = record(loss=[1.0, NAN, INF, 0.5, NAN]).plot().axes
    drawn = axes.lines[0].get_ydata()
    assert [math.isnan(value) for value in drawn] == [False, True, True, False, True]
    assert axes.get_title(loc="right") == "not finite in epochs 2 to 3, 5"
    (axes,) = record(loss=[NAN, NAN]).plot().axes
    assert axes.get_title(loc="right") == "not finite in epochs 1 to 2"


def test_a_metric_that_began_later_ends_with_the_last_epoch():
    found = record(loss=[3.0, 2.0, 1.0], learning_rate=[0.1])
    assert lines_of(found.plot().axes[1])["training"][0] == [3]


def test_each_value_is_drawn_at_its_epoch_though_a_later_fit_watches_less():
    found = History()
    found.extend(range(4), {"loss": [4.0, 3.0, 2.0, 1.0], "val_loss": [5.0, 4.0, 3.0, 4.0]})
    found.extend(range(2), {"loss": [0.5, 0.25]})
    (axes,) = found.plot().axes
    assert lines_of(axes)["validation"] == ([1, 2, 3, 4], [5, 4, 3, 4])
    assert lines_of(axes)["training"][0] == [1, 2, 3, 4, 5, 6]


def test_what_is_no_number_is_left_out():
    figure = record(loss=[2.0, 1.0], time=["12:00", "12:01"], val_time=[1.0, 2.0], nothing=[]).plot()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss", "val_time"]


def test_an_empty_history_is_told():
    with pytest.raises(RuntimeError, match="no epoch has been trained"):
        History().plot()


def test_after_a_real_training_the_axis_names_the_loss():
    model = Sequential([Dense(1, "sigmoid", input_shape=(2,))], seed=0)
    model.compile("sgd", "binary_crossentropy", engine="numpy")
    x = np.random.default_rng(0).normal(size=(20, 2))
    (axes,) = model.fit(x, x[:, 0] > 0, epochs=2, verbose=0).plot().axes
    assert axes.get_ylabel() == "binary crossentropy (nats)"


@pytest.mark.parametrize(("ending", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_written_whole(tmp_path, ending, magic):
    path = tmp_path / f"curve{ending}"
    record(loss=[1.0, 0.5]).plot(path)
    assert path.read_bytes().startswith(magic)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "error", "sentence"),
    [
        ("curve.gif", ValueError, "ends in .png, .svg or .pdf, not"),
        ("curve", ValueError, "ends in .png"),
        ("none/curve.png", OSError, "there is no folder"),
    ],
)
def test_bad_paths(tmp_path, name, error, sentence):
    with pytest.raises(error, match=sentence):
        record(loss=[1.0]).plot(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_fewer_colours_are_not_seen():
    figure = record(loss=[1.0, 0.5, 0.25], val_loss=[1.1, 0.7, 0.5]).plot()
    shown = np.asarray(Image.open(io.BytesIO(figure._repr_png_())).convert("RGB"), float)
    drawn = np.asarray(figure.canvas.buffer_rgba(), float)[..., :3]
    assert shown.shape == drawn.shape
    assert np.abs(shown - drawn).mean() < 0.5  # of 255
    assert np.abs(shown - drawn).max() < 40


def test_settings_stay_and_pyplot_stays_out():
    before = dict(matplotlib.rcParams)
    figure = record(loss=[1.0]).plot()
    assert dict(matplotlib.rcParams) == before
    assert figure._repr_png_().startswith(b"\x89PNG")
    code = (
        "import minidl, sys; h = minidl.History(); 'matplotlib' in sys.modules and sys.exit(1);"
        "h.epoch, h.history = [0], {'loss': [1.0]}; h.plot(); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_a_network_by_hand(tmp_path):
    layers = [Normalization((30,)), Dense(10, "relu"), Dropout(0.25), Dense(1, name="$a$ name that is far too long")]
    path = tmp_path / "model.svg"
    figure = Sequential(layers).plot(path)
    boxes, parameters, work = figure.axes
    told = [text.get_text() for text in boxes.texts]
    for words in ("30 features", "30 → 10", "Dense  relu", "Dropout  rate 0.25", "10 → 1", "$a$ name that is far to…"):
        assert words in told
    # Two statistics for each feature, 30 * 10 + 10, none, 10 + 1; a row costs 30 * 10 and 10 * 1 multiply-adds.
    assert [bar.get_width() for bar in parameters.patches] == [60, 310, 0, 11]
    assert [text.get_text() for text in work.texts] == ["0.0%", "96.8%", "0.0%", "3.2%"]
    assert (parameters.get_xlabel(), work.get_xlabel()) == ("381 in all", "310 for each row")
    assert path.read_bytes().startswith(b"<?xml")
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_network_that_cannot_be_drawn(tmp_path):
    with pytest.raises(RuntimeError, match="the model has no weights yet"):
        Sequential([Dense(1)]).plot()
    with pytest.raises(ValueError, match=r"ends in \.png"):
        Sequential([Dense(1, input_shape=(2,))]).plot(tmp_path / "model.gif")
