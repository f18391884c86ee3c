"""Solutions of the notebooks' exercises run where a learner would write them: below all other cells."""

import re
from pathlib import Path
from textwrap import dedent

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
BLOCK = re.compile(r"^(?P<indent> *)```python\n(?P<code>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.mark.engines
@pytest.mark.timeout(600)  # a notebook may take two minutes, and a machine may have other things to do
def test_solutions_run(notebook, tmp_path):
    place = next(at for at, cell in enumerate(notebook.cells) if cell.id == "exercises")
    before, after = notebook.cells[:place], notebook.cells[place + 1 :]
    solutions = [dedent(match["code"]) for match in BLOCK.finditer(notebook.cells[place].source)]

    added = [nbformat.v4.new_code_cell(source) for source in solutions]
    run([cell for cell in [*before, *added, *after] if cell.cell_type == "code"], tmp_path)

    assert solutions
    assert all(cell.execution_count for cell in added)


def run(cells, folder):
    """Run cells in a kernel of their own; one that raises what it should not ends it."""
    notebook = nbformat.v4.new_notebook(cells=cells)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
