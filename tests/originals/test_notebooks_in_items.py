"""Notebooks that items run by papermill and nbconvert leave no kernel behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import nbformat
import papermill
import psutil
import pytest
from nbconvert.preprocessors import ExecutePreprocessor

import nbpar
from nbpar.testing import until

METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}

WAITS = """\
import os, time
from pathlib import Path
Path("new").write_text(str(os.getpid()))
Path("new").rename("pid")
time.sleep(600)
"""


@pytest.fixture
def notebook(tmp_path):
    """A notebook that tells its kernel's pid and waits."""
    made = nbformat.v4.new_notebook(metadata=METADATA)
    made.cells = [nbformat.v4.new_code_cell(WAITS)]
    nbformat.write(made, tmp_path / "waits.ipynb")
    return tmp_path / "waits.ipynb"


def by_papermill(notebook, folder):
    papermill.execute_notebook(notebook, folder / "out.ipynb", cwd=str(folder), progress_bar=False)


def by_nbconvert(notebook, folder):
    content = nbformat.read(notebook, as_version=4)
    ExecutePreprocessor(timeout=None).preprocess(content, {"metadata": {"path": str(folder)}})


@pytest.mark.engines
@pytest.mark.parametrize("execute", [by_papermill, by_nbconvert])
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_kernels_end_with_their_items(notebook, tmp_path, execute, end):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    with nbpar.Pool(2, progress="none") as pool:
        run = pool.map_async(lambda folder: execute(notebook, folder), folders, chunksize=1, errors="collect")
        kernels = [until(lambda at=folder / "pid": at.exists() and int(at.read_text())) for folder in folders]
        if end == "stop":
            run.cancel()
        elif end == "kill":
            for worker in pool.workers:
                os.kill(worker["pid"], signal.SIGKILL)

        until(
            lambda: not any(psutil.pid_exists(pid) for pid in kernels), otherwise="a kernel was left behind"
        )
        run.cancel()


@pytest.mark.engines
def test_papermill_itself_is_the_function_of_a_map(tmp_path):
    made = nbformat.v4.new_notebook(metadata=METADATA)
    made.cells = [nbformat.v4.new_code_cell("6 * 7")]
    nbformat.write(made, tmp_path / "in.ipynb")
    outputs = [str(tmp_path / f"out{n}.ipynb") for n in range(2)]

    nbpar.map(papermill.execute_notebook, [str(tmp_path / "in.ipynb")] * 2, outputs, progress="none")

    for output in outputs:
        cell = nbformat.read(Path(output), as_version=4).cells[-1]
        assert cell.outputs[0]["data"]["text/plain"] == "42"
