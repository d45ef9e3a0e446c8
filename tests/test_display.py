"""How things show themselves in Jupyter and in a terminal: what stands in them, how it is escaped and aligned."""

import math
import pickle
from xml.dom import minidom

import numpy as np
import pytest

import minidl
from minidl import display, prune
from minidl.bench import timing
from minidl.data.schema import Column, Schema, Target
from minidl.data.tables import Table
from minidl.inference.prune.where_it_pays import Measured, Payoff
from minidl.metrics import AUC


def page_of(shown):
    """Its HTML, parsed, so that it is well-formed and names are escaped."""
    return minidom.parseString(shown._repr_html_())


def rows_of(shown):
    """The words of each cell of its HTML, row by row."""
    rows = page_of(shown).getElementsByTagName("tr")
    return [["".join(map(words, cell.childNodes)) for cell in row.childNodes] for row in rows]


def words(node):
    return node.data if node.nodeType == node.TEXT_NODE else "".join(map(words, node.childNodes))


class Made(display.Tabled):
    def _title(self):
        return "a <title>"

    def _tables(self):
        lines = [["<a>", display.bar(0.25), "1.00 us"], ["b & c", display.bar(2), "10.0 us"]]
        yield display.Grid(["name", "", "time"], lines)

    def _notes(self):
        return ["a <note>"]


def test_a_table_as_text():
    assert str(Made()) == repr(Made()) == "\n".join([
        "a <title>",
        "",
        "name      time",
        "--------------",
        "<a>    1.00 us",
        "b & c  10.0 us",
        "a <note>",
    ])  # fmt: skip


def test_wide_letters_are_aligned():
    assert display.Grid(["列", "值"], [["花瓣长度", "1.5"], ["width", "十"]]).plain() == [
        "列         值",
        "-------------",
        "花瓣长度  1.5",
        "width      十",
    ]  # fmt: skip


def test_a_course_of_the_largest_numbers_is_drawn_and_a_number_alone_is_a_dot():
    assert display.course([1e308, -1e308, 0]).html.count("polyline") == 1
    assert 'points="2.0,2.0 60.0,18.0 118.0,10.0"' in display.course([1e308, -1e308, 0]).html
    alone = display.course([1.0, math.nan, 0.5, math.nan])
    assert '<polyline points="79.3,18.0 79.3,18.0"/>' in alone.html
    assert alone.html.count("polyline") == 2
    assert "stroke-linecap: round" in display.STYLE  # without which a dot is not drawn


def test_a_table_as_html():
    assert rows_of(Made()) == [["name", "", "time"], ["<a>", "", "1.00 us"], ["b & c", "", "10.0 us"]]
    page = page_of(Made())
    assert [cell.getAttribute("class") for cell in page.getElementsByTagName("td")[:3]] == ["left", "", ""]
    assert [words(page.getElementsByTagName(tag)[0]) for tag in ("h3", "p")] == ["a <title>", "a <note>"]
    styles = [part.getAttribute("style").split(";")[0] for part in page.getElementsByTagName("div")]
    assert list(filter(None, styles)) == ["width: 25.0%", "width: 100.0%"]


def test_no_colour_of_the_page_is_taken_for_granted():
    """Text has the page's colour, and nothing has a background but bars: a theme may be light or dark."""
    for line in display.STYLE.replace("}", "}\n").splitlines():
        for part in line.split("{")[-1].split(";"):
            name, _, value = part.strip(" }").partition(": ")
            if name == "background":
                assert value in ("none", "currentColor")
            if name == "color":
                assert value in ("inherit", "var(--soft)", "var(--warn)")


# --- what minidl returns ----------------------------------------------------------------------------------------------


def test_a_comparison():
    # Medians 2 and 0.5 us: the second is 4 times as fast, in every round.
    samples = {"numpy": [1e-6, 2e-6, 3e-6], "numba <i>": [0.25e-6, 0.5e-6, 0.75e-6]}
    found = timing.summarize(dict.fromkeys(samples, 1e-3), samples, dict.fromkeys(samples, 8))
    assert rows_of(found) == [
        ["", "median", "", "quartiles", "times as fast as numpy"],
        ["numpy", "2.00 us", "", "1.50 us to 2.50 us", ""],
        ["numba <i>", "500 ns", "", "375 ns to 625 ns", "4.00x (4.00x to 4.00x)"],
    ]
    assert "width: 25.0%; background: #d9541e" in found._repr_html_()
    assert "numba <i>   500 ns    375 ns to 625 ns  4.00x (4.00x to 4.00x)" in str(found)
    assert "2.00 us  1.50 us to 2.50 us  1.00 us     1.00 ms        3" in str(found.timings["numpy"])


def test_a_comparison_of_nothing_that_took_no_time():
    samples = {"": [0.0, 0.0], "minidl ": [0.0, 0.0]}
    with np.errstate(invalid="ignore"):
        found = timing.summarize(dict.fromkeys(samples, 0.0), samples, dict.fromkeys(samples, 1))
    assert "0.00 ns" in str(found)
    assert len(rows_of(found)) == 3


def test_a_history():
    history = minidl.callbacks.History()
    assert str(history) == "no epoch has been trained"
    assert page_of(history).getElementsByTagName("tr").length == 0
    logs = {"loss": [3.0, math.nan, 2.5, 2.75], "accuracy": [0.5, 0.75, 0.75, 0.625], "learning_rate": [0.1] * 4}
    for epoch in range(4):
        history.on_epoch_end(epoch, {name: values[epoch] for name, values in logs.items()})
    history.on_epoch_end(4, {name: values[0] for name, values in logs.items()} | {"val_loss": 0.123456})
    assert rows_of(history) == [
        ["", "first", "last", "best", "in epoch", ""],
        ["loss", "3", "3", "2.5", "3", ""],
        ["accuracy", "0.5", "0.5", "0.75", "2", ""],
        ["learning_rate", "0.1", "0.1", "", "", ""],
        ["val_loss", "0.1235", "0.1235", "0.1235", "5", ""],  # watched from the fifth epoch on
    ]
    first, second = page_of(history).getElementsByTagName("svg")  # what stays the same has no course
    pieces = [line.getAttribute("points").split() for line in first.getElementsByTagName("polyline")]
    assert pieces == [["2.0,2.0"] * 2, ["60.0,18.0", "89.0,10.0", "118.0,2.0"]]  # with a gap where it was no number
    assert second.getElementsByTagName("polyline").length == 1
    assert str(history).splitlines()[0] == "5 epochs"
    assert max(map(len, str(history).splitlines())) <= 80


def test_the_epoch_of_the_best_where_a_later_fit_watches_less():
    history = minidl.callbacks.History()
    history.extend(range(4), {"loss": [4.0, 3.0, 2.0, 1.0], "val_loss": [5.0, 4.0, 4.5, 3.0]})
    history.on_epoch_end(0, {"loss": 0.5})
    history.on_epoch_end(1, {"loss": 0.75})
    history.extend([0], {"loss": [0.625], "val_loss": [3.5]})
    assert [row[0:1] + row[3:5] for row in rows_of(history)[1:]] == [["loss", "0.5", "5"], ["val_loss", "3", "4"]]
    history.history["val_loss"] = [3.0, 2.0, 4.0]  # by hand: the last three of seven
    assert rows_of(history)[2][3:5] == ["2", "6"]
    old = minidl.callbacks.History.__new__(minidl.callbacks.History)
    old.__setstate__({"history": {"loss": [2.0, 1.0], "mae": [1.0]}, "epoch": [0, 1], "params": {}})
    assert rows_of(old)[2][3:5] == ["1", "2"]
    assert rows_of(pickle.loads(pickle.dumps(history))) == rows_of(history)


def test_which_is_best_is_what_the_model_says_of_its_metrics():
    model = minidl.Sequential([minidl.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=[AUC("mse"), AUC("roc"), "mae"], engine="numpy")
    history = minidl.callbacks.History()
    history.set_model(model)
    history.extend(range(2), {name: [0.25, 0.75] for name in ("mse", "val_roc", "mae", "accuracy")})
    assert [row[3] for row in rows_of(history)[1:]] == ["0.75", "0.75", "0.25", ""]


def test_what_is_no_number_stands_in_a_history_as_it_is():
    history = minidl.callbacks.History()
    for time in ("12:00", "<12:01>"):
        history.on_epoch_end(0, {"loss": 1.0, "time": time, "note": None})
    history.history["empty"] = []
    assert rows_of(history)[2:] == [
        ["time", "12:00", "<12:01>", "", "", ""], ["note", "None", "None", "", "", ""], ["empty", "", "", "", "", ""]
    ]  # fmt: skip


def test_a_schema_and_a_table():
    columns = Column("size", ("<small>", "large")), Column("width", mean=1.5)
    schema = Schema(columns, Target("kind", "binary", ("no", "<yes>")), ("remark",))
    assert rows_of(schema)[1:] == [["size", "one of '<small>', 'large'", ""], ["width", "a number", "1.5"]]
    assert str(schema).endswith("target 'kind', one of 'no', '<yes>'\nleft out: remark")
    table = Table(np.array([[1.0, 0, 2.25], [0, 1, 1000.5]]), np.array([[1.0], [0]]), schema)
    assert rows_of(table) == [
        ["size=<small>", "size=large", "width", "kind"],
        ["1", "0", "2.25", "<yes>"],
        ["0", "1", "1000.5", "no"],
    ]
    assert "2 rows, 3 features, target 'kind', one of 'no', '<yes>'" in words(page_of(table).documentElement)
    assert str(table) == "<Table of 2 rows, 3 features, target 'kind'>"


def test_raw_numbers_are_shown_as_they_stand_in_the_file():
    schema = Schema((Column("date", mean=20240131.0), Column("size")), Target("y", "binary", (3, 4)))
    table = Table(np.array([[20240131, 12345.5]]), np.array([[math.nan]]), schema)
    assert rows_of(table)[1] == ["20240131", "12345.5", "nan"]
    assert rows_of(schema)[1][2] == "20240131"
    assert Target("price", "regression").label(1234567.25) == "1234567"


def test_a_table_of_many_columns_shows_the_first_and_the_last():
    schema = Schema(tuple(Column(f"c{place}") for place in range(20)), Target("y", "regression"))
    table = Table(np.arange(200.0).reshape(10, 20), np.full((10, 1), 0.125), schema)
    head, *lines = rows_of(table)
    assert head == ["c0", "c1", "c2", "c3", "c4", "…", "c17", "c18", "c19", "y"]
    assert len(lines) == 5
    assert lines[1] == ["20", "21", "22", "23", "24", "…", "37", "38", "39", "0.125"]
    said = "10 rows, 20 features, target 'y', a number; the first 5 rows are shown"
    assert said in words(page_of(table).documentElement)
    alone = Table(table.X, None, Schema(schema.columns))
    assert rows_of(alone)[0] == head[:-1]


def test_where_sparsity_pays():
    ratio = timing.Ratio(2.0, 1.9, 2.1)
    found = tuple(Measured(way, 64, share, 1e-6, ratio) for way, share in
                  (("two of four", 0.5), ("sparse", 0.0), ("sparse", 0.5), ("fewer units", 0.5)))  # fmt: skip
    shown = Payoff((4, 2), (64,), (0.0, 0.5), "float32", found)
    assert rows_of(shown) == [
        ["rows", "times as fast as dense", "50% zeros"],
        ["64", "sparse", "2.00x"],
        ["64", "fewer units", "2.00x"],
        ["64", "two of four", "2.00x"],
    ]
    assert str(shown) in words(page_of(shown).documentElement)


@pytest.mark.parametrize("name", ["<layer>", "a & b"])
def test_names_of_layers_are_escaped(name):
    model = minidl.Sequential([minidl.Dense(2, input_shape=(2,), name=name)], seed=0)
    assert [row[0] for row in rows_of(prune.sparsity(model))] == ["layer", name, "in all"]
    assert rows_of(model)[1][0] == f"{name} (Dense)"
