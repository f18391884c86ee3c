"""The stored notebooks: all cells executed, and nothing that is specific to one run or machine.

Strict nbval compares outputs only where a cell has been executed: one without a count would pass unseen.
"""

import re
import runpy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
UNCOMPARED = {"nbval-ignore-output", "nbval-skip"}
MEASURED = {"image/svg+xml", "text/html"}
"""Pictures of times, and tables of advice."""


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture
def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", ()))


def shown(cell):
    """Return the kinds of what a cell has displayed."""
    return {kind for output in cell.outputs for kind in output.get("data", ())}


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_every_cell_was_executed_once_from_top_to_bottom(code):
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))


def test_only_cells_that_are_marked_for_it_have_errors(code):
    failed = {cell.id for cell in code if any(output.output_type == "error" for output in cell.outputs)}
    marked = {cell.id for cell in code if "raises-exception" in tags(cell)}

    assert failed == marked


def test_nothing_needs_a_widget(notebook, code):
    kinds = {kind for cell in code for kind in shown(cell)}

    assert "widgets" not in notebook.metadata
    assert not [kind for kind in kinds if "widget" in kind]


def test_metadata_has_tags_and_the_language_only(notebook):
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)


def test_outputs_have_no_times(code):
    assert not [cell.id for cell in code for output in cell.outputs if output.get("metadata")]


def test_cells_have_names_of_their_own(notebook):
    names = [cell.id for cell in notebook.cells]

    assert len(names) == len(set(names))
    assert not [name for name in names if re.fullmatch(r"[0-9a-f]{8}(-.*)?", name)], "named by chance"


def test_paths_of_the_machine_are_not_stored(code):
    text = "\n".join(nbformat.v4.writes(nbformat.v4.new_notebook(cells=[cell])) for cell in code)

    assert not re.findall(r"(?<![\w.])/(?:home|root|Users|tmp|usr|work|opt)/[^\s\"]*", text)


def test_text_stands_between_cells_of_code_before_they_are_too_many(notebook):
    kinds = [cell.cell_type for cell in notebook.cells]

    assert notebook.cells[0].source.startswith("# ")
    assert not [
        n for n, four in enumerate(zip(*(kinds[k:] for k in range(4)), strict=False)) if set(four) == {"code"}
    ]


def test_few_outputs_besides_what_was_measured_are_left_out_of_the_comparison(code):
    left_out = [cell for cell in code if tags(cell) & UNCOMPARED]
    others = [cell for cell in left_out if not MEASURED & shown(cell)]

    assert len(others) <= len(code) / 5


def test_no_cell_is_skipped(code):
    assert not [cell.id for cell in code if "nbval-skip" in tags(cell)]


def test_headings_go_down_one_level_at_a_time(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, flags=re.MULTILINE)]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_badges_are_those_of_this_project():
    program = [sys.executable, NOTEBOOKS[0].parent / "badges.py", "--check"]

    done = subprocess.run(program, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def wrong_in(monkeypatch):
    monkeypatch.syspath_prepend(NOTEBOOKS[0].parent)
    return runpy.run_path(str(NOTEBOOKS[0].parent / "by_papermill.py"))["wrong_in"]


def executed_cell(count=1, tags=(), errors=()):
    outputs = [nbformat.v4.new_output("error", ename=name) for name in errors]
    metadata = {"tags": list(tags)}
    return nbformat.v4.new_code_cell(id="c", execution_count=count, outputs=outputs, metadata=metadata)


@pytest.mark.parametrize(
    ("cell", "wrong"),
    [
        (executed_cell(), ""),
        (executed_cell(tags=["raises-exception"], errors=["KeyError"]), ""),
        (executed_cell(errors=["KeyError"]), "cell 'c' raised KeyError"),
        (executed_cell(tags=["raises-exception"]), "cell 'c' raised nothing"),
        (executed_cell(count=None), "cell 'c' did not run"),
    ],
)
def test_what_papermill_has_run_is_judged_by_the_tags_of_cells(wrong_in, cell, wrong):
    assert wrong_in(nbformat.v4.new_notebook(cells=[cell])) == wrong
