"""explain: every operation with the source of every engine, measured within its bounds, as text and as HTML."""

import inspect
import io
import re
import subprocess
import sys
from fractions import Fraction
from xml.dom import minidom

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

import minidl
from minidl import display
from minidl.bench import ceilings, operations
from minidl.cli import main
from minidl.compare import experiment
from minidl.contract import OPERATIONS
from minidl.engines import get_engine
from minidl.explanation import explanation as explanation_
from minidl.explanation import highlight, pretty, source
from minidl.explanation import page as page_
from minidl.explanation.contents import NAMES, chapters
from minidl.formulas import FORMULAS

WIDTHS = (40, 80, 120, 200)


def round_ceilings():
    """A machine of two cores whose ceilings are round numbers."""
    def rates(one):
        kinds = dict.fromkeys(ceilings.KINDS, one) | {"update": 2 * one}
        return {"one": kinds, "all": {kind: 2 * rate for kind, rate in kinds.items()}}

    levels = [ceilings.Level(name, size, 1, {}, rates(rate)) for name, size, rate in
              (("L1", 2**15, 100.0), ("L2", 2**21, 50.0), ("memory", 0, 10.0))]  # fmt: skip
    peaks = {"float32": {"one": 100.0, "all": 200.0}, "int8": None}
    return ceilings.Ceilings("a processor", 2, 32, True, "", peaks, levels, 1.0)


@pytest.fixture(scope="module", autouse=True)
def short_times():
    """Time every thing for a moment only, and measure no ceiling."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ceilings, "_measured", round_ceilings())
        patch.setattr(experiment, "BUDGETS", dict.fromkeys(experiment.BUDGETS, 0.001))
        yield


@pytest.fixture
def lame_numba(monkeypatch):
    """A machine that Numba cannot run on."""
    reasons = {"numpy": "", "numba": "its wheels are off", "cupy": "there is no GPU"}
    monkeypatch.setattr(explanation_, "why_not", reasons.get)


def run(*arguments):
    """The exit code, whether it is returned or raised."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as error:
        return error.code


def html_of(shown):
    """Its HTML, parsed, so that it is well-formed."""
    return minidom.parseString(shown._repr_html_())


def texts(node):
    return "".join(part.data if part.nodeType == part.TEXT_NODE else texts(part) for part in node.childNodes)


# --- every operation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_explained_and_measured(name):
    found = minidl.explain(name)
    assert found.meaning.endswith((".", ")"))
    assert found.problems == ()
    assert [column.engine for column in found.columns] == source.engines()
    for column in found.columns:
        assert column.pieces[0].text.split("def ")[1].startswith(f"{name}(")
        if not column.reason:
            error = explanation_.error_of(column.measured)
            assert 0 <= error <= OPERATIONS[name].bound_of(column.engine)
            assert column.measured["seconds"] > 0
    assert {"numpy", "numba"} <= set(found.rows)
    text, page = str(found), texts(html_of(found))
    for column in found.columns:
        assert column.pieces[0].file in page
        for line in column.pieces[0].text.splitlines():
            assert line.strip() in page
        assert f"def {name}(" in text


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_source_shown_is_the_one_that_runs(name):
    for engine in ("numpy", "numba"):
        function = inspect.unwrap(getattr(get_engine(engine), name))
        lines, first = inspect.getsourcelines(function)
        piece = source.read(engine, OPERATIONS[name])[0]
        assert piece.text == "".join(lines).rstrip("\n")
        assert piece.line == first
        assert inspect.getsourcefile(function).endswith(piece.file)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_fits_every_width_and_is_well_formed(name):
    found = minidl.explain(name, measure=False, full=True)
    for width in WIDTHS:
        assert max(map(cell_len, display.text(found, width).split("\n"))) <= width
    page = minidom.parseString(found.page())
    assert not re.search(r"""(src|href|srcset)=|url\(|@import|<script|<link""", page.toxml())
    assert "nan" not in texts(page).split()


@pytest.mark.parametrize("name", [name for name in OPERATIONS if OPERATIONS[name].formula])
def test_every_operation_shows_its_formula(name):
    found = minidl.explain(name, measure=False)
    wanted = [what for _, what in found.sections]
    assert "definition" in wanted
    backward = name.endswith("_backward") and OPERATIONS[name].formula != name
    assert (wanted[0] == "derivative") == backward
    assert len(html_of(found).getElementsByTagName("math")) >= len(wanted)
    shown = str(found)
    for what in wanted:
        assert all(line.strip() in shown for line in pretty.lines(found.formula, what))


def test_names_of_formulas_that_are_no_operation():
    assert set(NAMES) >= set(FORMULAS)
    velocity = minidl.explain("velocity")
    assert velocity.facts["computed by"] == "momentum"
    assert "v′ = μ⋅v - η⋅g" in str(velocity)
    assert "def momentum(" in str(velocity)
    assert minidl.explain("second_moment", measure=False).operation.name == "adam"


def test_short_and_capital_names():
    assert minidl.explain("mse", measure=False).name == "mean_squared_error"
    assert minidl.explain("Adam", measure=False).name == "adam"
    assert minidl.explain("dense_backward_w", measure=False).name == "dense_backward_W"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("sigmod", "did you mean 'sigmoid'?"),
        ("", "lists all"),
        ("attention_is_all_you_need", "lists all"),
        (7, "nothing called 7"),
        (["adam"], "did you mean 'adam'?"),
    ],
)
def test_unknown_names(name, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        minidl.explain(name)


def test_the_list_has_every_name_under_its_chapter():
    listed = chapters()
    assert [name for names in listed.values() for name in names if name in OPERATIONS] == list(OPERATIONS)
    assert {"velocity", "first_moment", "second_moment"} <= set(listed["optimizers"])
    for width in WIDTHS:
        lines = display.text(minidl.explain(), width).split("\n")
        assert max(map(cell_len, lines)) <= width
        assert all(any(line.strip().startswith(name[:36]) for line in lines) for name in NAMES)
    assert all(name in texts(html_of(minidl.explain())) for name in NAMES)


# --- sources --------------------------------------------------------------------------------------------------------


def names_of(engine, operation):
    return [piece.name for piece in source.read(engine, OPERATIONS[operation])]


def test_what_is_called_is_found_through_imports_overloads_and_tuples():
    found = names_of("numba", "sigmoid")
    assert found[0] == "sigmoid"
    assert {"sigmoid_of", "exp", "exp_float32", "choose", "LOG2_E", "ROUNDER"} <= set(found)
    assert "tanh_float32" not in found
    assert {"multiply", "dense_with_floor", "make_bands", "VECTOR_BYTES"} <= set(names_of("numba", "dense"))
    assert names_of("numpy", "adamw") == ["adamw", "adam"]
    assert names_of("numpy", "binary_crossentropy") == ["binary_crossentropy", "PROBABILITY_FLOOR"]
    assert names_of("numpy", "momentum") == ["momentum"]  # its argument has its name


def test_an_engine_that_cannot_run_shows_source_and_reason(lame_numba):
    found = minidl.explain("tanh")
    assert list(found.rows) == ["numpy"]
    for shown in (str(found), texts(html_of(found))):
        assert "cannot run here: its wheels are off" in shown
        assert "elementary.tanh(z_[e])" in shown


def test_an_engine_is_read_without_being_imported(tmp_path, monkeypatch):
    folder = tmp_path / "minidl" / "engines" / "cupy_engine"
    folder.mkdir(parents=True)
    (folder / "activations.py").write_text(
        "import no_such_package\n\nSCALE = 2.0\n\n\nif no_such_package:\n\n    def sigmoid(z, out=None):\n"
        "        return no_such_package.sigmoid(SCALE * z)\n"
    )
    monkeypatch.setattr(source, "HOME", tmp_path / "minidl")
    monkeypatch.setattr(explanation_, "why_not", lambda name: "there is no GPU")
    assert source.engines() == ["cupy"]
    found = minidl.explain("sigmoid")
    (column,) = found.columns
    assert [piece.name for piece in column.pieces] == ["sigmoid", "SCALE"]
    assert (column.pieces[0].file, column.pieces[0].line) == ("minidl/engines/cupy_engine/activations.py", 8)
    assert column.measured is None
    assert "there is no GPU" in str(found)
    assert "not written in this engine" in str(minidl.explain("tanh"))
    assert "not written in this engine" in str(minidl.explain("dense"))


# --- measuring ------------------------------------------------------------------------------------------------------


def test_an_error_beyond_its_bound_is_told(monkeypatch, capsys):
    monkeypatch.setattr(get_engine("numpy"), "relu", lambda z, out=None: z)
    found = minidl.explain("relu")
    assert any("relu in numpy is off by" in problem for problem in found.problems)
    assert found.columns[0].beyond
    assert not found.columns[1].beyond
    assert "relu in numpy is off by" in str(found)
    assert "relu in numpy is off by" in texts(html_of(found))
    assert run("explain", "relu") == 1


def test_without_measuring_nothing_runs(monkeypatch):
    monkeypatch.setattr(experiment, "check_formula", None)
    found = minidl.explain("adam", measure=False)
    assert found.rows == {}
    assert "vs NumPy" not in str(found)


def test_work_by_hand():
    assert operations.work("relu") == (0, *[4 * 2 * 256 * 784] * 2)
    assert operations.work("dense") == (2 * 256 * 784 * 256, *[4 * (256 * 784 + 784 * 256 + 256 + 256 * 256)] * 2)
    assert operations.work("dense_backward_W")[0] == operations.work("dense_backward_x")[0] == 2 * 256 * 784 * 256
    assert operations.work("dense_int8")[1] == 256 * 784 + 784 * 256 + 4 * 256 * 256
    assert operations.work("dense_backward_b") == (0, *[4 * (256 * 256 + 256)] * 2)
    # theta, g, m and v are read, all but g written in place
    assert operations.work("adam") == (0, 4 * 7 * 200_000, 4 * 4 * 200_000)


def test_the_share_of_the_ceiling_by_hand(monkeypatch):
    relu, dense, whole = (minidl.explain(name, measure=False) for name in ("relu", "dense", "dense_int8"))
    assert relu.share("numba", 4 * 2 * 256 * 784 / 50e9 * 4) == "25% (L2)"
    # Of Adam 6 arrays are updates and 1 is only read; 4 arrays of 800 kB do not fit into the 2 MB of L2.
    adam = minidl.explain("adam", measure=False)
    assert adam.share("numba", 800e3 * (6 / 20e9 + 1 / 10e9) * 4) == "25% (memory)"
    assert dense.share("numba", 2 * 256 * 784 * 256 / 100e9 * 2) == "25% (arithmetic)"  # large products take both cores
    assert dense.share("numpy", 2 * 256 * 784 * 256 / 100e9 * 2) == "25% (arithmetic)"
    assert whole.share("numba", 1.0) == dense.share("cupy", 1.0) == dense.share("numba", None) == "-"
    monkeypatch.setattr(ceilings, "_measured", None)
    assert relu.share("numba", 1.0) == ""


def test_only_a_page_measures_the_ceilings(monkeypatch):
    monkeypatch.setattr(ceilings, "_measured", None)
    monkeypatch.setattr(ceilings, "measure_now", lambda seconds, progress: round_ceilings())
    assert "of the ceiling" not in str(minidl.explain("relu"))
    minidl.explain("relu", measure=False)._repr_html_()
    assert ceilings.known() is None
    found = minidl.explain("relu")
    assert "of the ceiling" in texts(html_of(found))
    assert re.search(r"of the ceiling\n(.*\n)+.*numba .*% \(L2\)\n", str(found))


def test_what_rounds_has_a_picture_of_its_errors():
    pictures = {name: html_of(minidl.explain(name)).getElementsByTagName("img") for name in ("sigmoid", "relu", "adam")}
    assert {name: len(found) for name, found in pictures.items()} == {"sigmoid": 1, "relu": 0, "adam": 0}
    assert pictures["sigmoid"][0].getAttribute("src").startswith("data:image/png;base64,iVBOR")
    x, found = operations.errors_on_a_line("tanh", ["numpy", "numba"])
    for engine, errors in found.items():
        assert errors.shape == x.shape
        assert errors.max() == operations.error(get_engine(engine), "tanh")


def test_the_oracle_is_asked_once(monkeypatch):
    asked, oracle = [], operations.ORACLES["tanh"]
    monkeypatch.setitem(operations.ORACLES, "tanh", lambda *given: asked.append(1) or oracle(*given))
    operations.of_sample.cache_clear()
    html_of(minidl.explain("tanh"))
    assert asked == [1]


@pytest.mark.parametrize("name", ["adam", "softmax_backward", "dense"])
def test_the_short_form_is_the_formula_and_the_versions(name):
    found = minidl.explain(name, short=True)
    assert found.rows == {}
    text, page = str(found), html_of(found)
    for column in found.columns:
        for line in column.pieces[0].text.splitlines():
            assert line.strip() in texts(page)
        assert f"def {name}(" in text
    boxes = [part for part in page.getElementsByTagName("div") if "box" in part.getAttribute("class").split()]
    assert len(boxes) == 1 + len(found.columns)
    for words in ("uses ", "call", "letters", "Error:"):
        assert words not in text
        said = [texts(part) for tag in ("summary", "dt", "p") for part in page.getElementsByTagName(tag)]
        assert not any(words in part for part in said)


def test_the_source_of_an_engine_that_cannot_run_is_folded(lame_numba):
    page = html_of(minidl.explain("relu", measure=False))
    folded = [texts(part) for part in page.getElementsByTagName("details")]
    assert any(part.startswith("cannot run here: its wheels are off") and "def relu(" in part for part in folded)


def test_of_many_functions_the_first_are_named():
    assert page_.some(list("abcdefg")) == "a, b, c, d, e, f, g"
    assert page_.some(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"


def test_metrics_are_counted_by_hand():
    y, p = np.array([[0.0, 1.0, 1.0, 0.0]]), np.array([[0.5, 0.6, 0.4, 0.3]])
    (accuracy,) = operations.ORACLES["binary_accuracy"]("binary_accuracy", (y, p))
    assert [Fraction(float(value)) for value in accuracy] == [Fraction(3, 4)]
    (right,) = operations.ORACLES["categorical_accuracy"]("categorical_accuracy", (y, p))
    assert [float(value) for value in right] == [1.0]
    (counts,) = operations.ORACLES["auc_histograms"]("auc_histograms", (y, p, np.ones((2, 199))))
    # 199 p = 99.5, 119.4, 79.6 and 59.7; a bin holds its upper end.
    assert counts[0, 99] == counts[1, 119] == counts[1, 79] == counts[0, 59] == 2
    assert counts.sum() == 2 * 199 + 4


# --- how it looks ---------------------------------------------------------------------------------------------------


def test_formulas_in_a_terminal_by_hand():
    assert pretty.lines(FORMULAS["sigmoid"], "definition") == [
        "          1",
        "σ(z) = ───────",
        "            -z",
        "       1 + e",
    ]
    assert pretty.lines(FORMULAS["dense"], "definition") == [
        "       i",
        "Zᵣᵤ =  ∑  Wₖᵤ⋅Xᵣₖ + bᵤ",
        "      k=1",
    ]
    assert pretty.lines(FORMULAS["l1_backward"], "definition", unicode=False) == ["dw_q = lambda*sign(w_q)"]
    assert pretty.lines(FORMULAS["relu"], "derivative")[1] == "──────── = ⎨"


def test_a_terminal_without_unicode_gets_plain_characters():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(file=file, width=100).print(minidl.explain("softmax", measure=False))
    file.flush()
    assert "A[r, u]" in file.buffer.getvalue().decode("ascii")


def test_long_lines_are_folded_under_themselves():
    code = "def f(x):\n    # a comment that goes on and on and on\n    return x + 1000 + 2000 + 3000 + 4000"
    lines = highlight.as_text(code, 24).plain.split("\n")
    assert max(map(len, lines)) <= 24
    assert lines[1:4] == ["    # a comment that", "      goes on and on and", "      on"]
    assert "".join(lines).replace(" ", "") == code.replace("\n", "").replace(" ", "")


def test_code_without_a_colour_of_its_own_has_the_terminals():
    file = io.StringIO()
    Console(file=file, width=80, force_terminal=True, color_system="truecolor").print(highlight.as_text("x = y", 80))
    assert file.getvalue() == "x = y\n"
    colours = {look["color"] for _, look in highlight.Readable if look["color"]}
    for colour in colours:  # as far from white as from black: at least 3.5 to 1 on both
        parts = [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        brightness = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        assert 1.05 / (brightness + 0.05) >= 3.5
        assert (brightness + 0.05) / 0.05 >= 3.5


def test_wide_terminals_have_the_engines_side_by_side():
    found = minidl.explain("relu", measure=False)
    assert re.search(r"numpy ─.* numba ─", display.text(found, 160))
    assert not re.search(r"numpy ─.* numba ─", display.text(found, 80))


def test_full_shows_what_is_called():
    assert "def multiply" not in str(minidl.explain("dense", measure=False))
    assert "def multiply" in str(minidl.explain("dense", measure=False, full=True))
    folded = html_of(minidl.explain("dense", measure=False)).getElementsByTagName("details")
    assert any("def multiply" in texts(part) for part in folded)


# --- the command ----------------------------------------------------------------------------------------------------


def test_command_prints_and_writes_a_page(tmp_path, capsys):
    page = tmp_path / "sigmoid.html"
    assert run("explain", "sigmoid", "--html", page) == 0
    out = capsys.readouterr().out
    assert "def sigmoid(z, out=None):" in out
    assert "vs NumPy" in out
    assert str(page) in out
    assert minidom.parseString(page.read_text()).getElementsByTagName("details")
    assert [path.name for path in tmp_path.iterdir()] == ["sigmoid.html"]


def test_command_without_a_name_lists_all(capsys):
    assert run("explain") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in NAMES)


def test_command_options(capsys):
    assert run("explain", "dense", "--no-measure", "--full") == 0
    out = capsys.readouterr().out
    assert "def multiply" in out
    assert "vs NumPy" not in out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["sigmod"], 2, "there is nothing called 'sigmod' to explain; did you mean 'sigmoid'?"),
        (["sigmoid", "--ful"], 2, "did you mean '--full'?"),
        (["sigmoid", "--html", "no/such/folder/x.html"], 1, "there is no folder"),
        (["sigmoid", "--html", "."], 1, "it is a folder"),
    ],
)
def test_command_says_what_is_wrong(arguments, code, sentence, capsys):
    assert run("explain", *arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1


def test_piped_it_is_plain_text():
    command = [sys.executable, "-m", "minidl", "explain", "relu", "--no-measure"]
    out = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=True).stdout
    assert "relu(z)" in out
    assert "\x1b" not in out


def test_explain_stays_a_function():
    code = "import minidl.explanation.pretty, minidl as m; m.explain('relu', measure=False); print(m.explain.__name__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "explain"


# --- in a notebook --------------------------------------------------------------------------------------------------


def test_a_notebook_is_given_the_formulas_as_latex(monkeypatch):
    """Of MathML a notebook that is not trusted would show a row of letters."""
    display = pytest.importorskip("IPython.display")
    put = []
    monkeypatch.setattr("minidl.display.in_notebook", lambda: True)
    monkeypatch.setattr(display, "display", lambda bundle, raw: put.append(bundle))
    minidl.explain("sigmoid", measure=False)._ipython_display_()
    head, formulas, rest = put
    assert "<m" not in head["text/html"] + rest["text/html"]
    rows = formulas["text/latex"].split(r"\\[6pt]")
    assert len(rows) == 4
    assert r"\frac{1}{1 + e^{- z}} &\qquad& \text{formula}" in rows[0]
    assert r"\text{derivative from the output}" in rows[3]
    assert "sigmoid" in head["text/plain"]


def test_ipython_in_a_terminal_prints_it_as_anything_else():
    formatters = pytest.importorskip("IPython.core.formatters")
    found = minidl.explain("relu", measure=False)
    shown, _ = formatters.DisplayFormatter(active_types=["text/plain"]).format(found)
    assert shown == {"text/plain": str(found)}


def test_a_form_that_is_the_formula_itself_is_not_shown_again():
    shown = [what for _, what in minidl.explain("tanh", measure=False).sections]
    assert shown == ["definition", "derivative", "from_output"]
