"""``minidl compare``: what it writes, what it says about bad input, and what is left after Ctrl-C."""

import json
import re
import subprocess
import sys
from xml.dom import minidom

import numpy as np
import pytest

from minidl.bench import timing
from minidl.cli import main
from minidl.compare import experiment, mathml
from minidl.contract import OPERATIONS
from minidl.engines import ENGINES, why_not
from minidl.formulas import FORMULAS

SOME = ("sigmoid", "sigmoid_backward", "dense", "adam")


@pytest.fixture(scope="module", autouse=True)
def short_times():
    """Time every thing for a moment only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "BUDGETS", dict.fromkeys(experiment.BUDGETS, 0.01))
        yield


@pytest.fixture
def few_operations(monkeypatch):
    monkeypatch.setattr(experiment, "OPERATIONS", {name: OPERATIONS[name] for name in SOME})


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    """The folder of a run with every default, in a folder that does not exist yet."""
    folder = tmp_path_factory.mktemp("compare") / "new" / "folder"
    assert main(["compare", "--out", str(folder)]) == 0
    return folder


def csv(folder, **columns):
    """A CSV of 40 rows, two features and a label, with columns replaced or added."""
    x = np.random.default_rng(0).normal(size=(40, 2))
    table = {"a": x[:, 0], "b": x[:, 1], "label": (x.sum(axis=1) > 0).astype(int)} | columns
    lines = [",".join(table), *(",".join(map(str, row)) for row in zip(*table.values(), strict=True))]
    path = folder / "data.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(*arguments):
    """The exit code, whether it is returned or raised."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as error:
        return error.code


# --- a whole run ----------------------------------------------------------------------------------------------------


def test_default_run_trains_well_and_alike(default):
    found = json.loads((default / "report.json").read_text())
    numpy, numba = found["engines"]["numpy"], found["engines"]["numba"]
    for entry in (numpy, numba):
        assert entry["available"] is True
        assert entry["metrics"]["accuracy"] >= 0.96
        assert all(entry[name] > 0 for name in ("first_call_seconds", "epoch_seconds", "predict_seconds"))
        assert entry["speedup_vs_numpy"] > 0
        assert len(entry["history"]["loss"]) == 10
    assert numpy["speedup_vs_numpy"] == 1
    np.testing.assert_allclose(numba["history"]["loss"], numpy["history"]["loss"], rtol=1e-4)
    np.testing.assert_allclose(numba["loss"], numpy["loss"], rtol=1e-4)
    assert found["engines"]["cupy"]["reason"] == why_not("cupy")
    assert found["engines"]["cupy"]["available"] is (not why_not("cupy"))
    assert found["interrupted"] is False
    assert found["problems"] == []
    assert (found["data"]["train_rows"], found["data"]["test_rows"], found["data"]["features"]) == (427, 142, 30)
    assert found["machine"]["cores"] >= 1


def test_every_formula_is_checked_in_every_engine(default):
    formulas = json.loads((default / "report.json").read_text())["formulas"]
    assert set(formulas) == {name for name, operation in OPERATIONS.items() if operation.formula}
    for name, entries in formulas.items():
        assert set(entries) == {name for name in ENGINES if not why_not(name)}
        for engine, entry in entries.items():
            error = entry["max_ulp" if OPERATIONS[name].measure == "ulp" else "max_error"]
            assert 0 <= error <= entry["bound"] == OPERATIONS[name].bound_of(engine)
            assert entry["seconds"] > 0


def test_picture_is_a_png(default):
    assert (default / "report.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_page_needs_nothing_from_outside(default):
    page = (default / "report.html").read_text()
    assert page.count("<math") > len(FORMULAS)
    loaded = re.findall(r"""(?:src|srcset|href)=["']?([^"'\s>]+)""", page)
    assert loaded
    assert all(target.startswith(("data:image/png;base64,", "#")) for target in loaded)
    assert not re.search(r"<script|<link|@import|url\(", page)
    assert {path.name for path in default.iterdir()} == {"report.json", "report.png", "report.html"}


def test_every_formula_is_well_formed_mathml():
    for formula in FORMULAS.values():
        texts = [mathml.definition(formula)]
        texts += [mathml.derivative(formula)] if formula.variable is not None else []
        texts += [mathml.stable(formula)] if formula.stable is not None else []
        texts += [mathml.from_output(formula)] if formula.from_output is not None else []
        minidom.parseString(f"<all>{''.join(texts)}</all>")
        assert not re.search(r"prime|piecewise|kronecker|True|&\w", "".join(texts))


def test_formula_as_mathml_by_hand():
    power = "<msup><mi>e</mi><mrow><mo>−</mo><mi>z</mi></mrow></msup>"
    fraction = f"<mfrac><mn>1</mn><mrow><mn>1</mn><mo>+</mo>{power}</mrow></mfrac>"
    assert mathml.markup(FORMULAS["sigmoid"].expression) == fraction


def test_own_data_on_one_engine(tmp_path, few_operations, capsys):
    options = ("--target", "label", "--engines", "numba", "--hidden", "8", "--epochs", "2", "--batch-size", "7")
    assert run("compare", csv(tmp_path), *options, "--out", tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["engines"]["numpy"]["reason"] == "not asked for"
    assert found["engines"]["numba"]["speedup_vs_numpy"] is None
    assert found["data"]["features"] == 2
    assert "held-out accuracy" in capsys.readouterr().out


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--hidden", "64,x"], "'x' is not a whole number"),
        (["--hidden", "64,0"], "must be at least 1"),
        (["--epochs", "0"], "must be at least 1, not 0"),
        (["--epochs", "-1"], "must be at least 1, not -1"),
        (["--batch-size", "0"], "must be at least 1"),
        (["--learning-rate", "nan"], "finite number above 0"),
        (["--seed", "-1"], "must be at least 0"),
        (["--engines", "numpy,nunba"], "unknown engine 'nunba'; did you mean 'numba'?"),
        (["--epoch", "3"], "'--epoch'; did you mean '--epochs'?"),
        (["--data", "x.csv"], "unexpected argument '--data'; did you mean '--task'?"),
        (["--target", "label"], "no DATA.csv is given"),
        (["--labels", "labels.csv"], "no DATA.csv is given"),
    ],
)
def test_wrong_usage(arguments, sentence, capsys):
    assert run("compare", *arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"label": [0] * 40}, "'label' of 'data.csv' is 0 in every row"),
        ({"b": ["x", *range(39)]}, "column 'b' of 'data.csv' holds text, 'x' in row 1"),
        ({"b": [1, 2, "", *range(37)]}, "column 'b' of 'data.csv' has no value in row 3"),
        ({"b": [1, "1e300", *range(38)]}, "column 'b' of 'data.csv' holds 1e+300 in row 2"),
        ({"b": ["?"] * 40}, "column 'b' of 'data.csv' has no value in row 1 below the header; fill it in, or leave"),
    ],
)
def test_data_that_will_not_do(columns, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    csv(tmp_path, **columns)
    code = run("compare", "data.csv", "--target", "label")
    check_refused(code, capsys.readouterr().err, sentence)
    assert not (tmp_path / "minidl-compare").exists()


@pytest.mark.parametrize(
    ("content", "arguments", "sentence"),
    [
        (None, ["--target", "label"], "there is no file 'data.csv'"),
        ("", ["--target", "label"], "'data.csv' is empty"),
        ("a,label\n", ["--target", "label"], "has no rows below its header"),
        ("a,label\n1,0\n2,1\n", ["--target", "label"], "has 2 rows of data; at least 10"),
        ("a,label\n" + "1,0\n" * 20, ["--target", "lable"], "no column 'lable'; did you mean 'label'?"),
        ("a,label\n" + "1,0\n" * 20, [], "say with --target which column of 'data.csv' to predict: 'a', 'label'"),
        ("a,label\n" + "1,0\n" * 20 + "1,2,3\n", ["--target", "label"], "row 21 below the header"),
        ("a label\n" + "1 0\n" * 20, ["--target", "label"], "parted by spaces"),
        ("a,label\n" + "1,0\n2,1\n3,2\n" * 9, ["--target", "label", "--task", "binary"], "has 3 different values"),
    ],
)
def test_files_that_will_not_do(content, arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "data.csv").write_text(content)
    code = run("compare", "data.csv", *arguments)
    check_refused(code, capsys.readouterr().err, sentence)


def check_refused(code, said, sentence):
    """Exit code 1, and one line that says why."""
    assert code == 1
    assert sentence in said
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_folder_that_cannot_be_written_is_found_before_the_training(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    code = run("compare", "--out", tmp_path / "file")
    check_refused(code, capsys.readouterr().err, "cannot write into the folder")


def test_engine_that_cannot_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(experiment, "why_not", lambda name: "there is no GPU here" if name == "cupy" else "")
    code = run("compare", "--engines", "numpy,cupy", "--out", tmp_path)
    check_refused(code, capsys.readouterr().err, "the engine 'cupy' cannot run here: there is no GPU here")


def test_training_that_diverges(tmp_path, capsys):
    assert run("compare", "--engines", "numpy", "--learning-rate", "1e30", "--out", tmp_path) == 1
    assert "the training diverged" in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


# --- disagreement and interruption ------------------------------------------------------------------------------------


def test_curves_that_differ_are_not_timed():
    curves = {"numpy": np.array([1.0, 0.5]), "numba": np.array([1.0, 0.5002])}
    with pytest.raises(timing.Disagreement, match=r"numpy and numba differ by 0\.0004"):
        experiment.check_curves(curves)
    experiment.check_curves({"numpy": np.array([1.0, 0.5]), "numba": np.array([1.0, 0.50001])})
    # 1e-6 of rounding beside a loss of 1e-5 is a tenth of it, but only a ten-thousandth of a hundredth of the first.
    assert experiment.curve_difference(np.array([1.0, 1e-5]), np.array([1.0, 1.1e-5])) == pytest.approx(1e-4)


def test_error_beyond_its_bound_is_a_problem(tmp_path, few_operations, monkeypatch, capsys):
    monkeypatch.setattr(experiment.operations, "error", lambda engine, name: float("inf") if name == "dense" else 0.0)
    assert run("compare", "--engines", "numba", "--epochs", "1", "--out", tmp_path) == 1
    assert "dense in numba is off by inf" in capsys.readouterr().out
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["formulas"]["dense"]["numba"]["max_error"] is None
    assert len(found["problems"]) == 1


@pytest.mark.parametrize(("stopped", "trained"), [("numpy", []), ("numba", ["numpy"]), (None, ["numpy", "numba"])])
def test_interruption_leaves_what_is_finished(stopped, trained, tmp_path, few_operations, monkeypatch):
    train = experiment.train

    def interrupted(settings, task, name, *rest):
        if name == stopped:
            raise KeyboardInterrupt
        return train(settings, task, name, *rest)

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "train", interrupted)
    monkeypatch.setattr(experiment, "check_formula", stop)
    assert run("compare", "--engines", "numpy,numba", "--epochs", "1", "--out", tmp_path) == 130
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["interrupted"] is True
    assert [name for name, entry in found["engines"].items() if entry["loss"] is not None] == trained
    assert [name for name, entry in found["engines"].items() if entry["finished"]] == trained
    assert "interrupted" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_interruption_of_a_training_keeps_the_epochs_done(engine, tmp_path, few_operations, monkeypatch, capsys):
    trained = iter(range(2 if engine == "numpy" else 4 + 2))  # epochs before Ctrl-C

    def after_epoch(self, epoch, logs=None):
        if next(trained, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(experiment.AfterEpoch, "on_epoch_end", after_epoch)
    assert run("compare", "--engines", "numpy,numba", "--epochs", "4", "--out", tmp_path) == 130
    found = json.loads((tmp_path / "report.json").read_text())["engines"]
    entry = found[engine]
    assert (len(entry["history"]["loss"]), entry["finished"]) == (2, False)
    assert entry["loss"] > 0
    assert entry["metrics"]["accuracy"] > 0.5
    assert found["numpy"]["finished"] is (engine == "numba")
    said = f"{engine} was interrupted after 2 of 4 epochs"
    assert said in capsys.readouterr().out
    assert said in (tmp_path / "report.html").read_text()


def test_medians_are_what_is_recorded():
    found = timing.summarize({"numpy": 9}, {"numpy": [2, 5, 4, 3, 60]}, {"numpy": 1})
    entry = {"timings": {}}
    experiment.record("one_row", found, {"engines": {"numpy": entry}})
    assert entry["predict_seconds"] == entry["timings"]["one_row"]["seconds"] == 4
    assert entry["timings"]["one_row"]["quartiles"] == [3, 5]


def test_markup_in_a_column_s_name_is_only_text(tmp_path, few_operations):
    target = "<script>alert('&')</script>"
    path = csv(tmp_path, **{target: [0, 1] * 20})
    assert run("compare", path, "--target", target, "--engines", "numpy", "--epochs", "1", "--out", tmp_path) == 0
    page = (tmp_path / "report.html").read_text()
    assert "&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;" in page
    assert "<script" not in page


def test_an_equal_form_is_shown_where_it_is_another(default):
    page = (default / "report.html").read_text()
    cards = {name: page.split(f'id="{name}"')[1].split("</section>")[0] for name in ("tanh", "sigmoid", "softmax")}
    assert [name for name, card in cards.items() if "in the equal form" in card] == ["sigmoid", "softmax"]
    assert [name for name, card in cards.items() if "largest logit of the row" in card] == ["softmax"]


# --- the command ----------------------------------------------------------------------------------------------------


def test_version_and_help_load_nothing_heavy():
    code = "import sys; from minidl.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass\n"
    code += "sys.exit(bool({'numpy', 'numba', 'sympy', 'rich', 'matplotlib', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("arguments", [[], ["--help"], ["compare", "--help"]])
def test_help(arguments, capsys):
    assert run(*arguments) == 0
    assert "usage: minidl" in capsys.readouterr().out
