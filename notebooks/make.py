"""Makes the notebooks: runs each of ``source/*.py`` from top to bottom and stores it with its outputs.

    python notebooks/make.py             all of them
    python notebooks/make.py 03 05       those whose names begin so
    python notebooks/make.py --check     runs nothing: are the stored ones what their sources say?

The sources are the truth: Python files in jupytext's percent format, where a cell begins with ``# %%``. The stored
notebooks are made from them and never edited; who edits one in Jupyter brings the change back with
``jupytext --to py:percent``. Needs ``pip install -e ".[test]"``.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).resolve().parent
SOURCES = sorted((FOLDER / "source").glob("[0-9]*.py"))
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
          "language_info": {"name": "python"}}  # fmt: skip
COMPILING = "minidl: compiling"  # what the Numba engine says before it does
MOST_SECONDS = 600  # of one cell, on a machine that has much else to do
SOLUTION = re.compile(r"<summary>.*?</summary>(.*?)</details>", re.DOTALL)
CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def read(source: Path) -> nbformat.NotebookNode:
    """The notebook that a source describes, without outputs."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(KERNEL)
    for place, cell in enumerate(notebook.cells):
        cell.id = f"cell-{place:02d}"
    return notebook


def stored(source: Path) -> Path:
    return FOLDER / f"{source.stem}.ipynb"


def run(notebook: nbformat.NotebookNode, **options: object) -> nbformat.NotebookNode:
    """Execute every cell in a kernel of its own, with this Python, and keep the outputs."""
    client = NotebookClient(notebook, timeout=MOST_SECONDS, resources={"metadata": {"path": str(FOLDER)}},
                            record_timing=False, coalesce_streams=True, **options)  # fmt: skip
    client.execute()
    notebook.metadata = nbformat.from_dict(KERNEL)
    for cell in notebook.cells:
        if cell.cell_type == "code":  # that something was compiled, and where it is kept, is this machine's business
            cell.outputs = [output for output in cell.outputs if not output.get("text", "").startswith(COMPILING)]
    return notebook


def with_solutions(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook, and at its end the code of the folded solutions, so that it is run too."""
    for cell in list(notebook.cells):
        if cell.cell_type == "markdown":
            for solution in SOLUTION.findall(cell.source):
                notebook.cells += [nbformat.v4.new_code_cell(code) for code in CODE.findall(solution)]
    return notebook


def differs(source: Path) -> str:
    """What is wrong with the stored notebook, or ""."""
    path = stored(source)
    if not path.exists():
        return "has not been made"
    wanted, found = read(source), nbformat.read(path, as_version=4)
    wanted, cells = ([(cell.cell_type, cell.source) for cell in notebook.cells] for notebook in (wanted, found))
    if wanted != cells:
        return "is not what its source says"
    code = [cell for cell in found.cells if cell.cell_type == "code"]
    if any(cell.execution_count is None for cell in code):
        return "is stored without its outputs"
    if any(output.output_type == "error" for cell in code for output in cell.outputs):
        return "is stored with an error"
    if any(output.get("name") == "stderr" for cell in code for output in cell.outputs):
        return "is stored with a warning"
    return ""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="how the names begin: 03")
    parser.add_argument("--check", action="store_true", help="run nothing, compare the stored ones with their sources")
    options = parser.parse_args(arguments)
    chosen = [source for source in SOURCES if not options.names or source.name.startswith(tuple(options.names))]
    if not chosen:
        parser.error(f"no notebook begins so; there are {', '.join(source.stem for source in SOURCES)}")
    failed = 0
    for source in chosen:
        if options.check:
            problem = differs(source)
            print(f"{source.stem}: {problem or 'as its source says'}")
            failed += bool(problem)
            continue
        print(f"{source.stem} ...", end=" ", flush=True)
        began = time.perf_counter()
        try:
            notebook = run(read(source))
        except CellExecutionError as error:
            print(f"failed\n{error}")
            failed += 1
            continue
        whole = stored(source).with_suffix(".part")
        nbformat.write(notebook, whole)
        whole.replace(stored(source))
        print(f"{time.perf_counter() - began:.0f} s, {stored(source).stat().st_size / 1e3:,.0f} kB")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
