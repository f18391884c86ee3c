"""End to end: the output of a cell that fails or is stopped, and the state for a debugger."""

from __future__ import annotations

import contextlib
import queue
import re

import pytest
from kernels import FrontEnd

from nbpar.testing import Gate

pytestmark = pytest.mark.engines

COLORS = re.compile(r"\x1b\[[0-9;]*m")


class Notebook(FrontEnd):
    """Runs cells, answers what they ask, and returns what they show."""

    def run(self, code: str, *answers: str, stop_at: Gate | None = None) -> str:
        asked = self.client.execute(code, allow_stdin=True)
        shown, left = [], list(answers)
        while not self._take(asked, shown):
            with contextlib.suppress(queue.Empty):
                self.client.get_stdin_msg(timeout=0.01)
                self.client.input(left.pop(0) if left else "q")
            if stop_at is not None and stop_at.waiting:
                self.interrupt()
                stop_at = None
        self.reply(asked)
        return COLORS.sub("", "\n".join(shown))

    def _take(self, asked: str, shown: list[str]) -> bool:
        """Take what the cell shows next, if there is something; whether that was the end."""
        try:
            message = self.client.get_iopub_msg(timeout=0.1)
        except queue.Empty:
            return False
        kind, content = message["msg_type"], message["content"]
        if message["parent_header"].get("msg_id") != asked:
            return False
        if kind == "stream":
            shown.append(content["text"])
        elif kind == "error":
            shown.extend(content["traceback"])
        return kind == "status" and content["execution_state"] == "idle"


@pytest.fixture(scope="module")
def notebook():
    notebook = Notebook()
    notebook.run("%load_ext nbpar\nimport nbpar, nbpar.testing")
    yield notebook
    notebook.close()


FAILS = "%%parallel_map{options} n in [4, 2, 0]\nhalf = 100\nhalf / n"


@pytest.mark.parametrize("backend", ["engines", "threads", "serial"])
def test_a_debugger_stands_where_a_replayed_item_failed(notebook, backend):
    shown = notebook.run(FAILS.format(options=f" --backend {backend}"))
    first = notebook.run("%debug", "q")
    notebook.run("nbpar.last_run.failures[0].replay()")
    second = notebook.run("%debug", "p ('n', n)", "p ('half', half)", "q")

    assert "----> 3 half / n" in shown
    assert "item 2, 0, failed" in shown
    assert "nbpar/" not in shown
    assert "----> 3 half / n" in first
    assert "('n', 0)" in second
    assert "('half', 100)" in second


@pytest.mark.parametrize("backend", ["threads", "serial"])
def test_where_items_run_in_the_kernel_a_debugger_needs_no_replay(notebook, backend):
    notebook.run(FAILS.format(options=f" --backend {backend}"))

    assert "('n', 0)" in notebook.run("%debug", "p ('n', n)", "q")


def test_the_workers_whole_traceback_can_be_asked_for(notebook):
    notebook.run("def invert(n):\n    return 1 / n\nnbpar.map(invert, [1, 0])")

    assert "in invert\n" in notebook.run("print(nbpar.last_run.failures[0].traceback)")


STOPPED = {
    "magic": "%%parallel_map -n 2 --chunk 1 n in range(6)\nGATE.wait() if n > 2 else n",
    "map": "nbpar.map(wait, range(6), chunksize=1)",
    "imap": "for _ in nbpar.imap(wait, range(6), chunksize=1): pass",
}


@pytest.mark.parametrize("cell", STOPPED.values(), ids=STOPPED.keys())
def test_a_cell_that_is_stopped_shows_itself_and_one_sentence(notebook, cell):
    gate = Gate()
    notebook.run(f"GATE = nbpar.testing.Gate({gate.folder!r})\nwait = lambda n: GATE.wait() if n > 2 else n")

    shown = notebook.run(cell, stop_at=gate)

    _, head, first, *rest = shown.strip().splitlines()[1:]
    assert re.match(r"Cell In|/.*/ipykernel_", head)  # the second is how IPython 7 says it
    assert first.startswith("----> 1 ")
    assert re.search(
        r"StoppedError: .* was stopped; finished results \([0-3]\) are in nbpar.last_run", rest[-1]
    )
    assert "File" not in shown
    assert "hidden" not in shown
