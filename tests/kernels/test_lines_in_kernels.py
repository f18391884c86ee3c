"""End to end: the lines that a notebook's errors and warnings point at, in a real kernel."""

from __future__ import annotations

import re

import pytest
from test_errors_in_kernels import Notebook

pytestmark = pytest.mark.engines

BACKENDS = ["engines", "controller", "threads", "serial"]

SETUP = """\
import nbpar, threading, warnings
def deep(n):
    return 1 / n
class Model:
    def fit(self, n):
        return deep(n)
def again(n):
    return again(n + 1)
def broken():
    yield 1
    raise KeyError("x")
"""

ARROW = re.compile(r"^-+> (\d+) +(.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def notebook():
    notebook = Notebook()
    notebook.run("%load_ext nbpar")
    notebook.run(SETUP)
    yield notebook
    notebook.close()


@pytest.fixture(params=BACKENDS)
def pool(request, notebook):
    where = 'path="controller"' if request.param == "controller" else f'backend="{request.param}"'
    notebook.run(f'pool = nbpar.Pool(2, {where}, progress="none")')
    yield "pool"
    notebook.run("pool.close()")


def arrows(shown):
    assert "dynamic-code" not in shown
    assert "Could not get source" not in shown
    assert "nbpar/" not in shown
    return [f"{number} {line.rstrip()}" for number, line in ARROW.findall(shown)]


@pytest.mark.parametrize("backend", ["engines", "threads", "serial"])
def test_the_arrow_is_at_the_line_of_the_cell_that_failed(notebook, backend):
    shown = notebook.run(f"%%parallel_map --backend {backend} n in range(3)\na = n - 1\n100 / a")

    head = f"%%parallel_map --backend {backend} n in range(3)"
    own = [line for line in arrows(shown) if "fn(*args" not in line]  # where some IPythons call magics
    assert own == [f"1 {head}", "3 100 / a"]
    assert "ZeroDivisionError: division by zero" in shown
    assert "item 1, 1, failed" in shown


CALLS = {
    "map": "pool.map(lambda n: Model().fit(n), [1, 0])",
    "starmap": "pool.starmap(lambda n: Model().fit(n), [(1,), (0,)])",
    "imap": "for _ in pool.imap(lambda n: Model().fit(n), [1, 0]): pass",
    "get": "pool.map_async(lambda n: Model().fit(n), [1, 0]).get()",
    "each": "pool.each(lambda n: Model().fit(n), 0)",
    "queue": "q = pool.queue(lambda n: Model().fit(n)); q.put(0); q.get()",
    "pipeline": "nbpar.Pipeline([nbpar.Stage(lambda n: Model().fit(n), workers=1)]).map([1, 0])",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_an_error_shows_the_way_through_cells_to_the_line_that_failed(notebook, pool, call):
    shown = notebook.run(call)

    assert arrows(shown) == [f"1 {call}", f"1 {call}", "6 return deep(n)", "3 return 1 / n"]


def test_a_future_shows_the_line_that_failed(notebook, pool):
    shown = notebook.run("pool.submit(deep, 0).result()")

    assert arrows(shown)[0] == "1 pool.submit(deep, 0).result()"
    assert arrows(shown)[-1] == "3 return 1 / n"


REFUSED = {
    "an option": "pool.map(deep, [1], chunk=3)",
    "the input": "pool.map(deep, 3)",
    "the arguments": "pool.map(deep, [1], [2])",
    "a value": "nbpar.Pool(0)",
    "a word": 'pool.map(deep, [1], errors="x")',
    "no function": "pool.map(3, [1])",
    "a word for the input": "pool.imap(deep, None)",
}


@pytest.mark.parametrize("cell", REFUSED.values(), ids=REFUSED.keys())
def test_what_nbpar_refuses_shows_the_users_line_and_no_other(notebook, pool, cell):
    shown = notebook.run(cell)

    assert set(arrows(shown)) == {f"1 {cell}"}
    assert "Error: " in shown


def test_an_error_of_the_input_shows_its_line(notebook, pool):
    shown = notebook.run("pool.map(deep, broken())")

    assert arrows(shown)[0] == "1 pool.map(deep, broken())"
    assert arrows(shown)[-1] == '11 raise KeyError("x")'


@pytest.mark.parametrize("path", ["auto", "controller"])
def test_what_cannot_travel_shows_the_users_line_and_no_other(notebook, path):
    notebook.run(f'pool = nbpar.Pool(1, path="{path}", progress="none")')
    for cell in ("pool.map(abs, [threading.Lock()])", "pool.map(lambda n: threading.Lock(), [1])"):
        shown = notebook.run(cell)

        assert set(arrows(shown)) == {f"1 {cell}"}
        assert "PicklingError: cannot send" in shown
    notebook.run("pool.close()")


def test_a_channels_error_shows_the_line_that_failed(notebook):
    notebook.run("pool = nbpar.Pool(1)\nchannels = pool.remote_exec(lambda channel: deep(0))")

    shown = notebook.run("channels[0].receive()")

    assert "1 channels[0].receive()" in arrows(shown)
    assert "3 return 1 / n" in arrows(shown)
    assert "    return 1 / n\nZeroDivisionError" in shown
    assert "nbpar/" not in shown
    notebook.run("pool.close()")


def test_the_workers_traceback_as_text_has_the_lines_of_the_cells(notebook, pool):
    notebook.run("run = pool.map_async(lambda n: Model().fit(n), [0], errors='collect'); run.wait()")

    text = notebook.run("print(run.failures[0].traceback)")

    assert re.search(r"line 6, in fit\n    return deep\(n\)\n(.*\n)?", text)
    assert re.search(r"line 3, in deep\n    return 1 / n\n(.*\n)?ZeroDivisionError", text)


def test_a_warning_names_the_line_of_the_cell(notebook, pool):
    notebook.run("def warn(n):\n    warnings.warn('careful')")

    shown = notebook.run("list(pool.map(warn, [1]))")

    assert re.search(r":2: UserWarning: \[0\] careful\n  warnings\.warn\('careful'\)", shown)


@pytest.mark.parametrize("path", ["auto", "controller"])
def test_a_recursion_is_folded(notebook, path):
    notebook.run(f'pool = nbpar.Pool(1, path="{path}", progress="none")')
    for cell in ("pool.map(again, [1])", "pool.map(lambda n: again(n), [1])"):
        shown = notebook.run(cell)

        assert "RecursionError" in shown
        assert shown.count("return again(n + 1)") < 10
    notebook.run("pool.close()")
