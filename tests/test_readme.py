"""The Python in the README runs as it stands there, from top to bottom."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_readme_s_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(BLOCKS) >= 5
    names = {}
    for block in BLOCKS:
        if "sklearn" in block:
            continue
        exec(compile(block, "README.md", "exec"), names)
    assert names["accuracy"] > 0.95
    assert set(names["labels"].tolist()) == {0, 1}
    assert (tmp_path / "history.png").exists()


def test_the_recipe_with_scikit_learn_runs():
    pytest.importorskip("sklearn")
    (block,) = [block for block in BLOCKS if "sklearn" in block]
    first = BLOCKS[0]
    exec(compile(first[: first.index("model =")] + block, "README.md", "exec"), {})


def test_contributing_names_files_and_folders_that_there_are():
    named = re.findall(r"`([\w./]+(?:\.py|\.cuh?|\.toml|/))`", CONTRIBUTING.read_text(encoding="utf-8"))
    assert len(named) > 50
    there = [path.as_posix() + "/" * path.is_dir() for top in ("minidl", "tests", "notebooks", "perf")
             for path in (ROOT / top, *(ROOT / top).rglob("*"))] + [(ROOT / "pyproject.toml").as_posix()]  # fmt: skip
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []
