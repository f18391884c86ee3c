"""joblib's calls on nbpar's workers in a notebook: a summary line under the cell, Stop, output by task."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = pytest.mark.engines

BEGIN = """
import threading

import joblib
import nbpar

nbpar.register_joblib()
config = joblib.parallel_config("nbpar", n_jobs=2)

def told(n):
    print("it is", n)
    return n

def stop():
    gate.until_waiting()
    nbpar.last_run.request_stop()
"""

WAITED_FOR = """
print(joblib.Parallel()(joblib.delayed(told)(n) for n in range(4)))
"""

STOPPED = """
from nbpar.testing import Gate

gate = Gate(FOLDER)
threading.Thread(target=stop).start()
try:
    joblib.Parallel()(joblib.delayed(gate.wait)(60) for _ in range(4))
except KeyboardInterrupt as error:
    print(error)
"""

TAKEN_LATER = """
print(list(joblib.Parallel(return_as="generator")(joblib.delayed(told)(n) for n in range(4))))
"""


def shown(cell):
    """Return the printed text of a cell, and the texts that it displays."""
    printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
    displayed = [
        output.data["text/plain"] for output in cell.outputs if "text/plain" in output.get("data", {})
    ]
    return printed, displayed


def test_each_call_has_a_summary_under_its_cell_and_stop_leaves_the_kernel_usable(tmp_path):
    sources = BEGIN, WAITED_FOR, STOPPED.replace("FOLDER", repr(str(tmp_path))), TAKEN_LATER
    book = new_notebook(cells=[new_code_cell(source) for source in sources])

    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    nbformat.validate(book)

    _, waited_for, stopped, taken_later = map(shown, book.cells)
    said = "".join(f"[{n}] it is {n}\n" for n in range(4))
    assert waited_for == (f"{said}[0, 1, 2, 3]\n", ["told: 4 done"])
    assert stopped[0].startswith("wait was stopped; finished results (0) are in nbpar.last_run.results()")
    assert stopped[1] == ["wait: stopped: 0 done"]
    assert sorted(taken_later[0].splitlines()) == sorted([*said.splitlines(), "[0, 1, 2, 3]"])
    assert taken_later[1] == ["told: 4 done"]
