"""A notebook with views passes strict nbval, and its stored outputs need no widget."""

from pathlib import Path

import nbformat
import pytest
from strict import nbval, stored_notebook

HERE = Path(__file__).parent

SETUP = f"""
import sys, time
sys.path.insert(0, {str(HERE)!r})
from fake_runs import FakeRun, Pressed
from nbpar.views.choose import choose

def play(seconds, state="done", fail=None, word="auto", background=False):
    "Show a run that takes so many seconds."
    run = FakeRun(12, label="count")
    view = choose(word, Pressed().controls, label="count", total=12, background=background)
    for i in range(4):
        run.work(str(i % 2), 3, fail=fail if i == 1 else None)
        view.show(run.snapshot)
        time.sleep(seconds / 4)
    view.close(lambda: run.finish(state))
"""

CELLS = [
    SETUP,
    "play(0)",
    "play(1)",
    "play(0, fail={3: ValueError('no words')})",
    "play(1, fail={3: ValueError('no words'), 4: ValueError('too many')})",
    "play(1, state='stopped')",
    "play(0, word='none')",
    "print('before'); play(1); print('after')",
]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    return stored_notebook(tmp_path_factory.mktemp("strict") / "views.ipynb", CELLS)


@pytest.mark.parametrize("time", ["first", "second", pytest.param("third", marks=pytest.mark.nightly)])
def test_strict_nbval_passes(notebook, time):
    run = nbval(notebook)

    assert run.returncode == 0, run.stdout
    assert f"{len(CELLS)} passed" in run.stdout


def test_what_is_stored_is_static(notebook):
    stored = nbformat.read(notebook, as_version=4)
    outputs = [
        output for cell in stored.cells for output in cell.outputs if output.output_type == "display_data"
    ]

    live, lines = [[output for output in outputs if bool(output.data) == said] for said in (False, True)]
    assert (len(live), len(lines)) == (8, 6)
    assert "widgets" not in stored.metadata
    assert {"text/plain", "text/html"} == {kind for output in outputs for kind in output.data}


def test_what_is_stored_can_be_exported(notebook):
    stored = nbformat.read(notebook, as_version=4)
    [line] = stored.cells[3].outputs

    assert line.data["text/plain"] == (
        "count: 11 of 12 done, 1 failed: item 3 ('text 3'): ValueError: no words"
    )
    assert " on 2 workers" in line.data["text/html"]
    assert line.metadata["nbpar"]["workers"] == 2
