"""Numbers in words, by hand: three digits, and the unit that suits them."""

import subprocess
import sys

import pytest

from minidl import words
from minidl.looks import ENGINES, GREY, LOOKS, ON_DARK, OTHERS, look


@pytest.mark.parametrize(("seconds", "said"), [
    (None, "-"), (float("nan"), "-"), (0, "0.00 ns"), (1e-10, "0.100 ns"), (5e-9, "5.00 ns"), (1e-7, "100 ns"),
    (9.994e-7, "999 ns"), (9.996e-7, "1.00 us"), (1.131e-6, "1.13 us"), (1.68e-5, "16.8 us"), (123.4e-6, "123 us"),
    (0.00099949, "999 us"), (0.0009996, "1.00 ms"), (0.00999, "9.99 ms"), (0.099951, "100 ms"), (0.9999, "1.00 s"),
    (12.3456, "12.3 s"), (3600, "3,600 s"), (-2e-6, "-2.00 us"),
])  # fmt: skip
def test_a_time(seconds, said):
    assert words.duration(seconds) == said


@pytest.mark.parametrize(("ratio", "said"), [
    (1, "1.00x"), (0.333, "0.333x"), (0.0149, "0.0149x"), (0.09996, "0.100x"), (0.99949, "0.999x"), (0.9996, "1.00x"),
    (1.234e-5, "0.0000123x"), (0, "0.00x"), (9.996, "10.0x"), (99.94, "99.9x"), (99.96, "100x"), (1477.2, "1,477x"),
    (float("nan"), "nanx"), (float("inf"), "infx"),
])  # fmt: skip
def test_a_ratio(ratio, said):
    assert words.times(ratio) == said


@pytest.mark.parametrize(("share", "said"), [
    (1, "100%"), (0.125, "12.5%"), (0.000123, "0.0123%"), (1e-7, "0.00001%"), (9.9949, "999%"), (9.9951, "1,000%"),
    (12.3456, "1,235%"), (-0.5, "-50%"),
])  # fmt: skip
def test_a_share(share, said):
    assert words.percent(share) == said


@pytest.mark.parametrize(("size", "said"), [
    (0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (25076, "25.1 kB"), (999_499, "999 kB"), (999_500, "1 MB"),
    (3.2e9, "3.2 GB"), (1.5e12, "1.5 TB"), (2.5e15, "2,500 TB"),
])  # fmt: skip
def test_a_size(size, said):
    assert words.in_bytes(size) == said


@pytest.mark.parametrize(("value", "said"), [
    (20240131.0, "20240131"), (12345.0, "12345"), (-3.0, "-3"), (1000.5, "1000.5"), (1 / 3, "0.333333"),
    (999_999.7, "1000000"), (1234567.8, "1234568"), (1e20, "1e+20"), (1.5e-7, "1.5e-07"), (float("nan"), "nan"),
    (float("-inf"), "-inf"),
])  # fmt: skip
def test_a_number_of_data(value, said):
    assert words.as_written(value) == said


def test_words_and_looks_load_nothing_else():
    code = "import sys; import minidl.words, minidl.looks; print(*{'matplotlib', 'rich', 'pandas'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_engines_and_rivals_look_like_nobody_else():
    assert len({ENGINES[name] for name in ENGINES}) == len({ON_DARK[name] for name in ENGINES}) == 3
    assert look("Numba relu")[0] == look("minidl, recorded")[0] == ENGINES["numba"]
    assert look("minidl numpy") == LOOKS["numpy"]
    assert look("anything", 0) != look("anything", 1)
    markers = {look_[:2] for name, look_ in LOOKS.items() if name not in ("minidl", "sklearn")}
    assert len(markers) == len(LOOKS) - 2
    assert not {colour for colour, *_ in OTHERS} & {colour for colour, *_ in LOOKS.values()}
    assert len({colour for colour, *_ in OTHERS}) == len(OTHERS)


@pytest.mark.parametrize("name", ["", " ", "minidl "])
def test_a_name_without_a_word_looks_like_any_other(name):
    assert look(name, 1) == OTHERS[1]


@pytest.mark.parametrize("colour", [*ENGINES.values(), GREY, *(look[0] for look in OTHERS)])
def test_colours_are_read_on_white_and_on_black(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    brightness = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    assert min(1.05 / (brightness + 0.05), (brightness + 0.05) / 0.05) >= 3  # WCAG 2.2, 1.4.11: what graphics need
