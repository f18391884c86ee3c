"""Collaboration: the traceback that a user sees when an item fails in a real shell."""

from __future__ import annotations

import re
import sys
import traceback

import pytest


def _last_lines_of_cells(error, count):
    frames = traceback.extract_tb(error.__traceback__)
    return [(frame.lineno, frame.line) for frame in frames][-count:]


@pytest.mark.parametrize(
    ("above", "line"),
    [("", 4), ("\n\n", 6), ("%%outer\n", 5)],
    ids=["first line", "below blank lines", "below another magic"],
)
def test_an_error_points_at_the_line_of_the_cell(run, fail, shell, above, line):
    shell.register_magic_function(lambda _, cell: exec(shell.transform_cell(cell)), "cell", "outer")
    run("def invert(v):\n    return 1 / v")
    error, shown = fail(f"{above}%%parallel_map x in [1, 0]\ny = 1\n\ninvert(x)")

    assert _last_lines_of_cells(error, 2) == [(line, "invert(x)"), (2, "return 1 / v")]
    assert re.search(rf"-+> {line} invert\(x\)\n", shown)


def test_the_line_is_shown_in_a_kernel_too(fail, shell, monkeypatch):
    # A kernel names cells like files that do not exist; IPython 9 then asks inspect for their lines.
    monkeypatch.setattr(shell.compile, "get_code_name", lambda raw, *_: f"/nowhere/{len(raw)}.py")
    error, shown = fail("\n\n%%parallel_map x in [1, 0]\ny = 1\n\n1 / x")

    assert re.search(r"-+> 6 1 / x\n", shown)
    assert traceback.extract_tb(error.__traceback__)[-1].name == "<module>"


def test_the_body_has_the_file_name_of_its_cell(fail, shell):
    error, _ = fail("%%parallel_map x in [0]\n1 / x")

    names = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    outer = next(frame for frame in traceback.extract_tb(error.__traceback__) if frame.name != "run_code")
    assert names[-1] == outer.filename
    assert outer.line == "%%parallel_map x in [0]"


def test_an_error_in_the_expression_points_at_the_line_of_the_magic(fail):
    error, _ = fail("%%parallel_map x in missing + 1\nx")

    frame = traceback.extract_tb(error.__traceback__)[-1]
    assert (frame.lineno, frame.line) == (1, "%%parallel_map x in missing + 1")
    if hasattr(frame, "colno"):
        assert frame.line[frame.colno : frame.end_colno] == "missing"


def test_frames_of_nbpar_are_left_out(fail):
    error, shown = fail("%%parallel_map x in [0]\n1 / x")

    modules = [frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(error.__traceback__)]
    assert [name for name in modules if name.startswith("nbpar")] == ["nbpar.host.frames"]
    assert "frames.py" not in shown


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 keeps the frame that raises again")
@pytest.mark.parametrize("mode", ["Context", "Verbose", "Plain"])
@pytest.mark.parametrize(
    ("cell", "user"),
    [
        ("%%parallel_map x in [0]\ny = = 1", 0),
        ("%%parallel_map x in [0]\nbreak", 0),
        ("%%parallel_map x in [0]\nglobal x\nx", 0),
        ("%%parallel_map x in [0]\nexec('1 1')", 1),
        ("%%parallel_map x in [(yield)]\nx", 0),
    ],
)
def test_a_syntax_error_shows_no_frame_of_nbpar(fail, shell, cell, user, mode):
    before = shell.InteractiveTB.mode
    shell.run_line_magic("xmode", mode)
    try:
        error, shown = fail(cell)
    finally:
        shell.run_line_magic("xmode", before)

    modules = [frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(error.__traceback__)]
    assert isinstance(error, SyntaxError)
    assert not [name for name in modules if name.startswith("nbpar")]
    assert modules[-1].startswith("IPython") == (not user)
    assert "frames.py" not in shown


def test_a_magic_over_several_lines_does_not_shift_the_lines_below(fail, shell):
    shell.register_magic_function(lambda line: line, magic_name="echo")
    error, _ = fail("%%parallel_map x in [0]\n\n%echo a \\\n  b\n%echo c\n1 / x")

    assert _last_lines_of_cells(error, 1) == [(6, "1 / x")]


def test_a_magic_that_a_program_calls_stands_in_a_cell_of_its_own(run, fail):
    error, _ = fail("y = 1\nget_ipython().run_cell_magic('parallel_map', 'x in [0]', 'z = 1\\n1 / x')")

    assert _last_lines_of_cells(error, 1) == [(3, "1 / x")]
    shown = [frame.line for frame in traceback.extract_tb(error.__traceback__)]
    assert any("get_ipython().run_cell_magic('parallel_map'" in line for line in shown)


def test_the_same_cell_run_again_keeps_its_lines(fail):
    for _ in range(2):
        error, _ = fail("%%parallel_map x in [0]\n1 / x")

        assert _last_lines_of_cells(error, 1) == [(2, "1 / x")]
