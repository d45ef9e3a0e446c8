"""Every notebook runs from its source, its folded solutions too, and is stored as its source says, with outputs."""

import re
import sys
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
sys.path.insert(0, str(NOTEBOOKS))
make = pytest.importorskip("make", reason="the notebooks are tested where jupytext and nbclient are installed")

EACH = pytest.mark.parametrize("source", make.SOURCES, ids=lambda source: source.stem)


@EACH
def test_it_runs_with_its_solutions(source):
    notebook = make.run(make.with_solutions(make.read(source)))
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


@EACH
def test_it_is_stored_as_its_source_says(source):
    assert make.differs(source) == ""


@EACH
def test_it_defines_no_kernel_and_has_all_its_parts(source):
    text = source.read_text(encoding="utf-8")
    assert not re.search(r"@njit|\bn?jit\(|RawModule|RawKernel|@intrinsic", text)
    assert text.count("<summary>Solution</summary>") == 3
    assert "What would you expect?" in text
    assert "At the end you will know" in text


@EACH
def test_its_links_lead_to_chapters(source):
    stems = {other.stem[:2]: other.stem for other in make.SOURCES}
    for stem in re.findall(r"(\d\d_\w+)\.ipynb", source.read_text(encoding="utf-8")):
        assert stems.get(stem[:2], stem) == stem  # one that is not written yet may be called so
