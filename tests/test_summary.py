"""model.summary: the same table as plain text, in a terminal's colours and as HTML."""

import sys
import types
from xml.dom import minidom

import numpy as np
import pytest

from minidl import SGD, Dense, Dropout, Normalization, Sequential, display, summary


@pytest.fixture
def model():
    layers = [
        Normalization(input_shape=(6,)),
        Dense(4, "relu", kernel_regularizer="l1_l2"),
        Dropout(0.25),
        Dense(1, use_bias=False, name="<answer>"),
    ]
    model = Sequential(layers, seed=0)
    model.compile(SGD(0.5), "mse", metrics=["mae"], engine="numpy")
    return model


def test_settings_of_every_layer(model):
    told = [row[3] for row in summary.rows(model)]
    assert told == ["not adapted", "relu, l1 0.01, l2 0.01", "rate 0.25", "linear, no bias"]
    model.layers[0].adapt(np.ones((3, 6)))
    model.layers[1].trainable = False
    assert [row[3] for row in summary.rows(model)][:2] == ["adapted", "relu, l1 0.01, l2 0.01, frozen"]


def test_remarks_by_hand(model):
    # 2 * 6 statistics, 6 * 4 + 4 and 4 weights: 44 numbers of 4 bytes; the statistics are not trained.
    assert summary.remarks(model) == [
        "44 parameters, 32 of them trainable, float32, 176 bytes, engine numpy",
        "loss mean_squared_error, optimizer SGD(learning_rate=0.5, momentum=0.0, nesterov=False), metrics mae",
    ]


def test_a_notebook_gets_html(model, monkeypatch, capsys):
    shown = []
    shell = type("ZMQInteractiveShell", (), {})()
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    module = types.SimpleNamespace(display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    assert display.in_notebook()
    model.summary()
    assert capsys.readouterr().out == ""
    assert [found._repr_html_() for found in shown] == [model._repr_html_()]


def test_html_is_well_formed_and_says_the_same(model):
    page = minidom.parseString(model._repr_html_())
    cells = [cell.firstChild for cell in page.getElementsByTagName("td")]
    assert len(cells) == 4 * 4
    assert "&lt;answer&gt;" in page.toxml()
    assert summary.remarks(model)[0] in page.toxml()


def test_an_empty_model_is_shown_too(capsys):
    model = Sequential()
    model.summary()
    assert capsys.readouterr().out.splitlines()[-1] == "not compiled"
    minidom.parseString(model._repr_html_())
