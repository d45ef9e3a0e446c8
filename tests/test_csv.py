"""CSV files become arrays as the schema says, and what will not do is named by file, column and row."""

import csv
import io
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minidl
from minidl import data
from minidl.data import Column, Schema, Target, text


@pytest.fixture
def write(tmp_path):
    """Writes a file and returns its path."""

    def written(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


FLOWERS = "size,colour,kind\n1.5,red,rose\n2,blue,iris\n3,red,iris\n"


# --- what is read -----------------------------------------------------------------------------------------------------


def test_numbers_texts_and_labels_by_hand(write):
    table = data.read_csv(write(FLOWERS), "kind", categorical="onehot")
    assert table.schema.features == ["size", "colour=blue", "colour=red"]
    assert table.X.tolist() == [[1.5, 0, 1], [2, 1, 0], [3, 0, 1]]
    assert table.schema.target == Target("kind", "binary", ("iris", "rose"))  # in alphabetical order
    assert table.y.tolist() == [[1], [0], [0]]
    X, y = table
    assert X is table.X
    assert y is table.y
    assert table.schema.decode(np.array([[0.2], [0.7]])).tolist() == ["iris", "rose"]


def test_shipped_file_is_the_shipped_data():
    table = data.read_csv(data.BREAST_CANCER, "benign")
    X, y = data.load_breast_cancer()
    np.testing.assert_array_equal(table.X.astype(np.float32), X)
    np.testing.assert_array_equal(table.y.astype(np.float32), y)


@pytest.mark.parametrize(
    ("column", "task", "classes", "y"),
    [
        ([0, 1, 1], "binary", (0, 1), [0, 1, 1]),
        ([7, 5, 7], "binary", (5, 7), [1, 0, 1]),
        ([0.5, 0.25, 0.5], "binary", (0.25, 0.5), [1, 0, 1]),
        ([3, 1, 2], "multiclass", (1, 2, 3), [2, 0, 1]),
        (["1.0", "3.0", "2.0"], "multiclass", (1, 2, 3), [0, 2, 1]),
        ([1.5, 3, 2], "regression", (), [1.5, 3, 2]),
        (["a", "c", "b"], "multiclass", ("a", "b", "c"), [0, 2, 1]),
        (["True", "False", "True"], "binary", ("False", "True"), [1, 0, 1]),  # as they were written
        (["01", "b", "1"], "multiclass", ("01", "1", "b"), [0, 2, 1]),  # text keeps its zeros
    ],
)
def test_the_task_is_read_off_the_target(write, column, task, classes, y):
    table = data.read_csv(write("a,t\n" + "".join(f"1,{value}\n" for value in column)), "t")
    assert table.schema.target == Target("t", task, classes)
    assert table.y[:, 0].tolist() == y


def test_the_task_can_be_set(write):
    path = write("a,t\n" + "".join(f"1,{value}\n" for value in (3, 1, 2)))
    assert data.read_csv(path, "t", task="regression").y[:, 0].tolist() == [3, 1, 2]
    two = write("a,t\n1,x\n1,y\n")
    assert data.read_csv(two, "t", task="multiclass").schema.target.task == "multiclass"


def test_many_whole_numbers_are_a_number(write):
    path = write("a,t\n" + "".join(f"1,{value}\n" for value in range(11)))
    assert data.read_csv(path, "t").schema.target.task == "regression"
    assert data.read_csv(path, "t", task="multiclass").schema.target.classes == tuple(range(11))


def test_labels_in_a_file_of_their_own(write):
    """As in the text: train_data.csv and train_labels.csv."""
    features, labels = write("a,b\n1,2\n3,4\n", "train_data.csv"), write("label\nno\nyes\n", "train_labels.csv")
    table = data.read_csv(features, labels=labels)
    assert table.X.tolist() == [[1, 2], [3, 4]]
    assert table.y.tolist() == [[0], [1]]
    assert table.schema.target.name == "label"
    more = write("id,label\n1,no\n2,yes\n", "more.csv")
    assert data.read_csv(features, "label", labels=more).y.tolist() == [[0], [1]]
    with pytest.raises(ValueError, match=r"say which column of .*more.csv' is the target: 'id', 'label'"):
        data.read_csv(features, labels=more)
    with pytest.raises(ValueError, match=r"train_data.csv' has 2 rows, but .*short.csv' has 1"):
        data.read_csv(features, labels=write("label\nno\n", "short.csv"))
    with pytest.raises(ValueError, match=r"train_data.csv' has 2 rows, but .*long.csv' has 3"):
        data.read_csv(features, labels=write("label\nno\nno\nyes\n", "long.csv"))


def test_missing_values(write):
    path = write("a,b,t\n1,,x\n2,5,y\n?,7,x\n")
    with pytest.raises(ValueError, match=r"column 'a' of .* has no value in row 3 below the header"):
        data.read_csv(path, "t")
    dropped = data.read_csv(path, "t", missing="drop")
    assert (dropped.X.tolist(), dropped.y.tolist()) == ([[2, 5]], [[0]])
    filled = data.read_csv(path, "t", missing="mean")
    assert filled.X.tolist() == [[1, 6], [2, 5], [1.5, 7]]
    assert filled.schema.columns == (Column("a", (), 1.5), Column("b", (), 6.0))
    later = data.read_csv(write("a,b\n,\n", "later.csv"), schema=filled.schema)  # the means of the first table
    assert later.X.tolist() == [[1.5, 6]]
    with pytest.raises(ValueError, match=r"the target 't' of .* has no value in row 1"):
        data.read_csv(write("a,t\n1,\n2,x\n"), "t", missing="mean")
    with pytest.raises(ValueError, match=r"column 'a' of .* has no value in any row"):
        data.read_csv(write("a,b\n,1\n,2\n"), missing="mean")
    for task in (None, "binary", "multiclass"):
        with pytest.raises(ValueError, match=r"the target 't' of .* has no value in any row"):
            data.read_csv(write("a,t\n1,\n2,\n"), "t", task=task)


@pytest.mark.parametrize(("delimiter", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
def test_another_delimiter_is_guessed_and_said(write, delimiter, word):
    path = write(FLOWERS.replace(",", delimiter))
    with pytest.warns(UserWarning, match=f"is read with {word} between the fields"):
        table = data.read_csv(path, "kind", categorical="onehot")
    assert table.X.tolist() == [[1.5, 0, 1], [2, 1, 0], [3, 0, 1]]


def test_quotes_blank_lines_spaces_and_other_line_ends(write):
    same = data.read_csv(write("a,kind\n1,x y\n2,z\n"), "kind")
    for content in (
        '"a","kind"\n1,"x y"\n2,"z"\n', "a, kind\n 1, x y\n 2, z \n", "a,kind\r\n1,x y\r\n2,z\r\n",
        "\ufeffa,kind\n1,x y\n2,z", "\na,kind\n\n1,x y\n\n2,z\n\n", "a,kind\r1,x y\r2,z\r",
    ):  # fmt: skip
        other = data.read_csv(write(content), "kind")
        assert other.X.tolist() == same.X.tolist()
        assert other.y.tolist() == same.y.tolist()
        assert other.schema == same.schema
    odd = data.read_csv(write('"a ""b""\nc",kind\n1,"x,\ny"\n2,z\n'), "kind")
    assert odd.schema.features == ['a "b"\nc']
    assert odd.schema.target.classes == ("x,\ny", "z")


# --- a table of a model's -------------------------------------------------------------------------------------------


def test_columns_are_put_in_order_and_others_named(write):
    schema = data.read_csv(write(FLOWERS), "kind", categorical="onehot").schema
    path = write("kind,colour,size\niris,blue,9\n", "new.csv")
    assert data.read_csv(path, schema=schema).X.tolist() == [[9, 1, 0]]
    assert data.read_csv(path, schema=schema).y.tolist() == [[0]]
    assert [X.tolist() for X in data.read_chunks(path, schema)] == [[[9, 1, 0]]]
    for content, sentence in (
        ("colour,kind\nred,iris\n", "lacks 'size'"),
        ("size,colour,kind,age\n1,red,iris,2\n", "has 'age', which the model does not know"),
        ("sise,colour\n1,red\n", "lacks 'size' and has 'sise'"),
        ("size,colour\n1,green\n", "column 'colour' of .* holds 'green' in row 1 .* known are only 'blue', 'red'"),
        ("size,colour,kind\n1,red,tulip\n", "target 'kind' of .* holds 'tulip' in row 1 .* 'iris', 'rose'"),
        ("size,colour\n,red\n", "column 'size' of .* has no value in row 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            data.read_csv(write(content), schema=schema)


def model_of(table):
    model = minidl.Sequential([minidl.Normalization(), minidl.Dense(4, "relu"), minidl.Dense(1, "sigmoid")], seed=1)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"], engine="numpy")
    model.fit(table, epochs=2, verbose=0, validation_data=table)
    return model


def test_a_model_keeps_the_schema_of_its_table(write):
    path = write(FLOWERS)
    table = data.read_csv(path, "kind", categorical="onehot")
    model = model_of(table)
    assert model.schema == table.schema
    expected = model.predict(table.X)
    frame = pd.read_csv(path)[["colour", "size"]]
    for same in (table, data.read_csv(path, schema=model.schema), frame):
        np.testing.assert_array_equal(model.predict(same), expected)
    np.testing.assert_array_equal(model(frame), expected)
    assert model.evaluate(table) == model.evaluate(table.X, table.y)
    with pytest.raises(ValueError, match="lacks 'colour'"):
        model.predict(frame[["size"]])
    other = Schema((Column("size"),), table.schema.target)
    with pytest.raises(ValueError, match="lacks 'colour=blue', 'colour=red'"):
        model.predict(data.Table(table.X[:, :1], None, other))
    swapped = Schema((Column("colour", ("red", "blue")), Column("size")), table.schema.target)
    np.testing.assert_array_equal(model.predict(data.Table(table.X[:, [2, 1, 0]], None, swapped)), expected)
    with pytest.raises(ValueError, match="brings its own y"):
        model.fit(table, table.y, verbose=0)
    with pytest.raises(ValueError, match="the table has no target"):
        model.fit(data.Table(table.X, None, table.schema), verbose=0)
    renamed = Schema(table.schema.columns, Target("kind", "binary", ("iris", "tulip")))
    with pytest.raises(ValueError, match="was trained to predict 'kind', one of 'iris', 'rose', but this table"):
        model.fit(data.Table(table.X, table.y, renamed), verbose=0)


def test_a_model_keeps_the_names_of_a_pandas_table():
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [0.5, 1, 0, 1], "c": [True, False, True, False]})
    model = minidl.Sequential([minidl.Dense(1)], seed=0)
    model.compile("sgd", "mse", engine="numpy")
    model.fit(frame, [1, 2, 3, 4], verbose=0)
    np.testing.assert_array_equal(model.predict(frame[["c", "a", "b"]]), model.predict(frame.to_numpy(float)))
    with pytest.raises(ValueError, match="has 'd', which the model does not know"):
        model.predict(frame.assign(d=1))


def test_class_weight_is_the_sample_weight_of_the_class():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.integers(3, size=40)
    found = []
    for options in ({"class_weight": {0: 2.0, 2: 0.5}}, {"sample_weight": np.array([2.0, 1.0, 0.5])[y]}):
        model = minidl.Sequential([minidl.Dense(3, "softmax")], seed=2)
        model.compile("adam", "sparse_categorical_crossentropy", engine="numpy")
        model.fit(X, y, epochs=3, verbose=0, **options)
        found.append(model.get_weights()[0])
    np.testing.assert_array_equal(*found)
    for bad, kind, sentence in (
        ([1, 2], TypeError, "must map class indices to weights"),
        ({3: 1.0}, ValueError, "names the class 3, which no row can have"),
        ({0: -1.0}, ValueError, "the weight of class 0"),
        ({"a": 1.0}, TypeError, "a class in class_weight must be a whole number"),
    ):
        with pytest.raises(kind, match=sentence):
            model.fit(X, y, class_weight=bad, verbose=0)
    with pytest.raises(ValueError, match="not both"):
        model.fit(X, y, class_weight={0: 1.0}, sample_weight=np.ones(40), verbose=0)
    model = minidl.Sequential([minidl.Dense(1)], seed=2)
    model.compile("adam", "mse", engine="numpy")
    with pytest.raises(ValueError, match="class_weight needs classes"):
        model.fit(X, y, class_weight={0: 1.0}, verbose=0)


def test_validation_data_are_put_in_order_too():
    """In the first fit, when the model has no schema yet."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 2)), columns=["a", "b"])
    y = (frame["a"] > 0).astype(int)
    model = minidl.Sequential([minidl.Dense(1, "sigmoid")], seed=0)
    model.compile(minidl.Adam(0.1), "binary_crossentropy", metrics=["accuracy"], engine="numpy")
    history = model.fit(frame, y, epochs=3, verbose=0, validation_data=(frame[["b", "a"]], y)).history
    assert history["val_loss"][-1] == pytest.approx(model.evaluate(frame, y)[0])
    with pytest.raises(ValueError, match="X does not have the model's columns: it lacks 'b'"):
        model.fit(frame, y, verbose=0, validation_data=(frame[["a"]], y))


def test_labels_of_other_classes_are_refused(write):
    """A table read without the schema may count its labels otherwise: y and z as 0 and 1 where the model has 1, 2."""
    rows = [f"{n % 3},{'xyz'[n % 3]}\n" for n in range(30)]
    table = data.read_csv(write("a,kind\n" + "".join(rows)), "kind")
    model = minidl.Sequential([minidl.Dense(3, "softmax")], seed=1)
    model.compile("adam", "sparse_categorical_crossentropy", engine="numpy")
    model.fit(table, verbose=0)
    some = write("a,kind\n" + "".join(row for row in rows if "x" not in row))
    for use in (model.evaluate, model.train_on_batch, lambda x: model.fit(table, verbose=0, validation_data=x)):
        with pytest.raises(ValueError, match=r"was trained to predict 'kind', one of 'x', 'y', 'z', but .*'y', 'z'"):
            use(data.read_csv(some, "kind"))
    model.evaluate(data.read_csv(some, schema=model.schema))
    unfit = minidl.Sequential([minidl.Dense(3, "softmax")], seed=1)
    unfit.compile("adam", "sparse_categorical_crossentropy", engine="numpy")
    with pytest.raises(ValueError, match="the target 'kind' has 2 classes, but the model 3 outputs"):
        unfit.fit(data.read_csv(some, "kind"), verbose=0)


def test_probabilities_of_one_output_and_of_one_for_each_class():
    schema = Schema((Column("a"),), Target("t", "binary", ("no", "yes")))
    np.testing.assert_allclose(schema.probabilities([[0.2], [0.7]]), [[0.8, 0.2], [0.3, 0.7]])
    assert schema.probabilities([[0.2, 0.8]]).tolist() == [[0.2, 0.8]]
    assert schema.decode([[0.2], [0.7]]).tolist() == schema.decode([[0.8, 0.2], [0.3, 0.7]]).tolist() == ["no", "yes"]
    with pytest.raises(ValueError, match="has 2 classes, but the model 3 outputs"):
        schema.decode([[0.1, 0.2, 0.7]])


def test_columns_that_are_left_out(write):
    path = write("id,a,t\nx1,1,0\nx2,2,1\n", "first.csv")
    table = data.read_csv(path, "t", drop=["id"])
    assert table.X.tolist() == [[1], [2]]
    assert table.schema.left_out == ("id",)
    for later in ("a\n5\n", "a,id\n5,x\n", "id,a\n,5\n"):
        assert data.read_csv(write(later), schema=table.schema).X.tolist() == [[5]]
    with pytest.raises(ValueError, match=r"'ID' cannot be left out .*; it is no column: did you mean 'id'"):
        data.read_csv(path, "t", drop="ID")
    with pytest.raises(ValueError, match=r"'t' cannot be left out .*; it is the target"):
        data.read_csv(path, "t", drop="t")


def test_a_blank_line_in_a_file_of_one_column_is_a_missing_value(write):
    """Else the labels of another file would belong to other rows."""
    features = write("a\n1\n2\n\n4\n5\n")
    labels = write("t\n10\n\n30\n40\n50\n\n", "labels.csv")
    table = data.read_csv(features, labels=labels, missing="drop", task="regression")
    assert table.X[:, 0].tolist() == [1, 4, 5]
    assert table.y[:, 0].tolist() == [10, 40, 50]
    with pytest.raises(ValueError, match=r"column 'a' of .* has no value in row 3"):
        data.read_csv(features, labels=labels)


def test_what_stands_for_no_value(write):
    for cell in ("", " ", "NA", "na ", "N/A", "NaN", "nan", "NULL", "None", "?", '"  "', "<NA>"):
        with pytest.raises(ValueError, match=r"column 'a' of .* has no value in row 2"):
            data.read_csv(write(f"a,t\nx,0\n{cell},1\n"), "t", categorical="onehot")
        assert data.read_csv(write(f"a,t\n1,0\n{cell},1\n"), "t", missing="mean").X.tolist() == [[1], [1]]


def test_a_quote_within_a_field_is_a_character(write, monkeypatch):
    lines = ["pipe,kind", *(f'{n}" pipe,"a\nb{n % 2}"' for n in range(40))]
    path = write("\n".join(lines))
    whole = data.read_csv(path, "kind", categorical="onehot")
    assert whole.schema.columns[0].categories[0] == '0" pipe'
    monkeypatch.setattr(text, "BLOCK", 50)
    parts = data.read_csv(path, "kind", categorical="onehot")
    np.testing.assert_array_equal(parts.X, whole.X)


def test_wide_tables_and_long_numbers(write):
    names = [f"column_{n}" for n in range(15_000)]
    path = write(",".join(names) + "\n" + ",".join(["1"] * 15_000) + "\n")
    assert data.read_csv(path).X.shape == (1, 15_000)
    with pytest.raises(ValueError, match=r"column 'a' of .* holds inf in row 1"):
        data.read_csv(write(f"a\n{'9' * 400}\n"))
    with pytest.raises(TypeError, match="column 'a' of X holds dates"):
        Schema((Column("a"),)).encode(pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}), "X")
    with pytest.raises(TypeError, match="column 'a' of X holds complex numbers"):
        Schema((Column("a"),)).encode(pd.DataFrame({"a": [1j]}), "X")


def test_a_schema_that_is_impossible_is_refused():
    for columns, target, left_out in (
        ((Column("a"), Column("a")), None, ()),
        ((Column("a"),), None, ("a",)),
        ((Column("a", ("x", "x")),), None, ()),
        ((Column("a"),), Target("t", "regression", (1, 2)), ()),
        ((Column("a"),), Target("t", "binary", (1, 1.0)), ()),
    ):
        with pytest.raises(ValueError, match=r"one twice|regression target with 2"):
            Schema(columns, target, left_out)
    frame = pd.DataFrame([[1.0, 2.0]], columns=["a", "a"])
    model = minidl.Sequential([minidl.Dense(1)], seed=0)
    model.compile("sgd", "mse", engine="numpy")
    with pytest.raises(ValueError, match="the names of the columns hold one twice"):
        model.fit(frame, [1.0], verbose=0)


def test_a_schema_goes_to_json_and_back(write):
    schema = data.read_csv(write("a,b,t\n1,x,5\n,y,7\n"), "t", missing="mean", categorical="onehot").schema
    assert Schema.from_dict(schema.to_dict()) == schema
    for bad in ({}, {"columns": 3, "target": None}, schema.to_dict() | {"target": {"name": 1, "task": "x"}}):
        with pytest.raises(ValueError, match="no schema of a table"):
            Schema.from_dict(bad)


# --- files that will not do -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a,b\n", "has no rows below its header"),
        ("1,2\n3,4\n", "has no header: its first row holds numbers"),
        ("5.1,3.5,setosa\n4.9,3,setosa\n", "has no header: its first row holds numbers"),
        ("a,a\n1,2\n", "has two columns named 'a'"),
        (",a\n0,1\n", "column 1 of .* has no name in the header; .*index=False"),
        ("a,b\n1,2\n3\n", "row 2 below the header of .* has 1 field, but the header has 2"),
        ("a,b\n1,2\n3,4,5\n", "row 2 below the header of .* has 3 fields, but the header has 2"),
        ("a,b\n1,2,3\n", "row 1 below the header of .* has 3 fields"),
        ("a,b\n1,x\n", "column 'b' of .* holds text, 'x' in row 1 .*categorical='onehot'"),
        ("a;b\n1;2,5\n", r"holds text, '2,5' in row 1 below the header \(numbers are written with a point"),
        ("a,b\n1,inf\n", "column 'b' of .* holds inf in row 1"),
        ("a,b\n1,2\n3,-1e39\n", r"column 'b' of .* holds -1e\+39 in row 2"),
        ('a,b\n1,"2\n', "a quote is opened and not closed"),
        ("a b\n1 2\n", "parted by spaces"),
        (b"a,b\n1,\xe9\n", "no text in UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "no text in UTF-8"),
        (b"a,b\n1,\x00\n", "binary data"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "no text in UTF-8"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*a guess")
def test_bad_files_are_refused_in_one_sentence(write, content, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        data.read_csv(write(content))
    assert "\n" not in str(caught.value)


def test_bad_arguments(write, tmp_path):
    path = write("a,t\n1,x\n2,y\n")
    with pytest.raises(OSError, match="there is no file"):
        data.read_csv(tmp_path / "none.csv")
    with pytest.raises(OSError, match="is not a file"):
        data.read_csv(tmp_path)
    with pytest.raises(ValueError, match="no column 'T'; did you mean 't'"):
        data.read_csv(path, "T")
    with pytest.raises(ValueError, match="missing cannot be 'means'; did you mean 'mean'"):
        data.read_csv(path, missing="means")
    with pytest.raises(ValueError, match="holds text, 'x' in row 1 below the header; a regression needs numbers"):
        data.read_csv(path, "t", task="regression")
    with pytest.raises(ValueError, match="has 3 different values, but two classes are asked for"):
        data.read_csv(write("a,t\n1,x\n2,y\n3,z\n"), "t", task="binary")
    with pytest.raises(ValueError, match="no column but the target"):
        data.read_csv(write("t\n1\n2\n"), "t")
    many = "a,b\n" + "".join(f"{n},word{n}\n" for n in range(101))
    with pytest.raises(ValueError, match=r"column 'b' of .* holds text, 'word0' in row 1 .*, and 101 different texts"):
        data.read_csv(write(many), categorical="onehot")


# --- large files -----------------------------------------------------------------------------------------------------


def test_a_file_in_blocks_is_the_file(write, monkeypatch):
    """Blocks of a few bytes: cut within quotes, within a line's end, and within a character."""
    lines = ["a,b,kind"]
    for n in range(60):
        lines.append(f'{n / 8},"{n}",' + ('"é, ""x""\ny"' if n % 3 else ("12" if n % 2 else "z")))
    path = write("\r\n".join(lines))
    whole = data.read_csv(path, "kind")
    assert whole.schema.target.classes == ("12", "z", 'é, "x"\ny')
    for size in (1, 7, 64, 1000):
        monkeypatch.setattr(text, "BLOCK", max(size, 40))  # the header and the first row are looked at in one piece
        parts = data.read_csv(path, "kind")
        np.testing.assert_array_equal(parts.X, whole.X)
        np.testing.assert_array_equal(parts.y, whole.y)
        assert parts.schema == whole.schema
    monkeypatch.setattr(text, "BLOCK", 60)
    with pytest.raises(ValueError, match=r"row 61 below the header of .* has 2 fields"):
        data.read_csv(write("\r\n".join([*lines, "1,2"])), "kind")


def test_memory_does_not_grow_with_the_file(write, monkeypatch):
    monkeypatch.setattr(text, "BLOCK", 2**16)
    schema = Schema(tuple(Column(name) for name in "abcd"))
    peaks = []
    for rows in (20_000, 80_000):
        path = write("a,b,c,d\n" + "0.125,2.5,-3,4e3\n" * rows)
        tracemalloc.start()
        assert sum(len(X) for X in data.read_chunks(path, schema)) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


# --- properties ------------------------------------------------------------------------------------------------------

cells = st.floats(-1e30, 1e30, allow_nan=False).map(lambda number: float(np.float32(number)))
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=6).filter(
    lambda word: (
        word.strip() == word
        and word.lower() not in (*text.MISSING, "true", "false")  # hypothesis draws words out of loaded modules too
        and not text.is_number(word)
    )
)


@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],  # which goes by the clock: the first letter drawn takes long
)  # fmt: skip
@given(st.data())
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, drawn):
    columns = drawn.draw(st.integers(1, 4))
    rows = drawn.draw(st.lists(st.tuples(*[cells] * columns, words), min_size=1, max_size=12))
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow([*(f"x{place}" for place in range(columns)), "kind"])
    writer.writerows(rows)
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    path.write_text(file.getvalue(), encoding="utf-8", newline="")
    table = data.read_csv(path, "kind", task="multiclass")
    np.testing.assert_allclose(table.X, [row[:-1] for row in rows], rtol=1e-15)
    assert [table.schema.target.classes[int(index)] for index in table.y[:, 0]] == [row[-1] for row in rows]


CELLS = ["1", "9" * 400, "True", "x", "", " NA", "2020-01-01", "1e999", '"a\nb"', '5"', "1 "]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.one_of(
        st.binary(max_size=80),
        st.text('ab1.,;\t|"\n\r e-?', max_size=80).map(str.encode),
        st.text('12.,"\n x', max_size=60).map(lambda rest: b"a,b,t\n" + rest.encode()),
        st.lists(
            st.lists(st.sampled_from(CELLS), min_size=3, max_size=3).map(",".join), max_size=5
        ).map(lambda rows: "\n".join(["a,b,t", *rows]).encode()),
    ),
    st.sampled_from([None, "t", "b"]),
    st.sampled_from(["error", "drop", "mean"]),
    st.sampled_from(["error", "onehot"]),
)
@pytest.mark.filterwarnings("ignore:.*a guess")
def test_any_bytes_are_read_or_refused_in_one_sentence(tmp_path_factory, content, target, missing, categorical):
    path = tmp_path_factory.mktemp("fuzz") / "data.csv"
    path.write_bytes(content)
    try:
        table = data.read_csv(path, target, missing=missing, categorical=categorical)
    except (ValueError, OSError) as error:
        table, sentence = None, str(error)
    if table is None:
        assert len(sentence.splitlines()) == 1
    else:
        assert np.isfinite(table.X).all()
        assert table.X.shape[1] == len(table.schema.features)
