"""A traceback from a worker shows the lines of this process's code, also in notebooks."""

import gc
import inspect
import linecache
import sys
import threading
import traceback

import pytest

from nbpar.wire.faults import describe, restore

CELL = """\
# a comment


def divide(x):
    "Fail at line 7."
    y = x + 1
    return y / 0


divide(1)
"""


@pytest.fixture
def failed():
    """The frame of `divide` in an exception that travelled."""
    name = "/nowhere/ipykernel_1/2.py"
    linecache.cache[name] = (len(CELL), None, CELL.splitlines(keepends=True), name)
    try:
        exec(compile(CELL, name, "exec"), {})
    except ZeroDivisionError as error:
        trace = restore(describe(error)).__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    yield trace
    del linecache.cache[name]


def test_the_line_that_failed_is_the_one_that_is_named(failed):
    summary = traceback.extract_tb(failed)[-1]

    assert (summary.lineno, summary.line, summary.name) == (7, "return y / 0", "divide")
    assert failed.tb_frame.f_lineno == 7


def test_the_function_begins_where_it_began_there(failed):
    lines, first = inspect.getsourcelines(failed.tb_frame)

    assert lines[0] == "def divide(x):\n"
    assert first == failed.tb_frame.f_code.co_firstlineno == 4
    assert lines[failed.tb_lineno - first] == "    return y / 0\n"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tracebacks know columns from Python 3.11 on")
def test_carets_stand_under_what_failed(failed):
    shown = "".join(traceback.format_tb(failed))

    assert "    return y / 0\n           ~~^~~\n" in shown


def test_frames_outlive_the_garbage_collector(failed):
    frame = failed.tb_frame
    for number in range(300):  # more than are remembered
        restore(describe(SyntaxError(number))._replace(frames=((f"{number}.py", "f", 3, 1, (3, 0, 0)),)))
    gc.collect()

    assert (frame.f_globals["__name__"], frame.f_code.co_name, frame.f_lineno) == ("__main__", "divide", 7)
    frame.clear()


def test_frames_hold_nobody_who_restored_them(failed):
    callers, frame = [], failed.tb_frame.f_back
    while frame is not None:
        callers.append(frame.f_code.co_filename)
        frame = frame.f_back

    assert set(callers) <= {threading.__file__}
