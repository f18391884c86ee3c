"""Collaboration, and end to end below: what `nbpar demo` counts, says and returns.

The pool is a plain object but for the last tests.
"""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import subprocess
import sys
import warnings

import psutil
import pytest

import nbpar
from nbpar import __main__ as command_line
from nbpar import demo
from nbpar.demo import measuring, program, report


class PlainPool:
    """Computes here what a pool would compute on workers, and changes what it is told to."""

    def __init__(self, change=None, interrupt=False):
        self.change = change or {}
        self.interrupt = interrupt
        self.closed = False

    def each(self, fn):
        return [fn(), fn()]

    def map(self, fn, items, **options):
        if self.interrupt:
            raise KeyboardInterrupt
        return [self.change.get(i, fn(item)) for i, item in enumerate(items)]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True


@pytest.fixture
def source(tmp_path):
    def write(text, name="sample.py"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.fixture
def pool(monkeypatch):
    pool = PlainPool()
    monkeypatch.setattr(program, "open_pool", lambda workers, backend: pool)
    return pool


@pytest.mark.parametrize(
    ("code", "complexity"),
    [
        ("pass", 1),
        ("if a: pass\nelif b: pass\nelse: pass", 3),
        ("x = 1 if a else 2", 2),
        ("for x in a:\n  if x: break\nelse: pass", 3),
        ("while a and b or c: pass", 4),
        ("try: a\nexcept A: b\nexcept B: c\nfinally: d", 3),
        ("[x for x in a if x if not x for y in x]", 5),
        ("with a: assert b", 1),
        ("match a:\n case 1: b\n case [x]: c\n case _: d", 3),
        ("match a:\n case x if x: b\n case y: c", 2),
        ("lambda x: x or 1", 2),
    ],
)
def test_decisions_add_to_the_complexity_as_mccabe_counts_them(source, code, complexity):
    alone = demo.measure(source(code))
    inside = demo.measure(source("def f():\n" + "".join(f" {line}\n" for line in code.splitlines())))

    assert complexity == alone.complexity
    assert complexity == inside.hardest.complexity
    assert 1 + complexity == inside.complexity


def test_every_function_counts_for_itself_and_has_its_full_name():
    tree = ast.parse(
        "class A:\n def f(self):\n  def g():\n   if a: pass\n  async def h(): pass\nif b: pass\n"
    )

    own, functions, classes = measuring.count_structure(tree)

    assert (own, classes) == (2, 1)
    assert {("A.f", 2, 1), ("A.f.g", 3, 2), ("A.f.h", 5, 1)} == {
        (f.name, f.line, f.complexity) for f in functions
    }


def test_the_first_of_equally_complex_functions_is_named(source):
    measured = demo.measure(source("def first(): pass\ndef second(): pass\n"))

    assert measured.hardest.name == "first"


def test_a_module_is_counted(source):
    measured = demo.measure(source("# comment\n\nx = f('a' +\n      'b')\nclass A: pass"))

    assert (measured.lines, measured.tokens, measured.functions, measured.classes) == (5, 12, 0, 1)
    assert (measured.complexity, measured.hardest) == (1, None)


@pytest.mark.parametrize(
    "text",
    [b"", b"\xef\xbb\xbfx = 1\r\n", b"# coding: latin-1\nx = '\xe4'\n", b"x = '\\d'; 1 is 1\n", b"x = 1\\\n"],
    ids=["empty", "byte order mark", "latin-1", "deserves warnings", "ends in a backslash"],
)
def test_unusual_source_is_measured_without_a_warning(source, text):
    before = list(warnings.filters)

    measured = demo.measure(source(text))

    assert isinstance(measured, demo.Measured | demo.Unreadable)
    assert before == warnings.filters


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"print 'two'\n", "SyntaxError: "),
        (b"# coding: klingon\n", "SyntaxError: "),
        (b"x = '\xff'\n", "SyntaxError: "),
        (b"x = 1\0\n", ""),
        (b"  x\n y\n", "IndentationError: "),
        (b"-" * 50_000 + b"1", ""),
        (b"+".join([b"1"] * 100_000), ""),
        (None, "FileNotFoundError: "),
    ],
    ids=["python 2", "unknown coding", "not utf-8", "null byte", "indent", "deep", "long", "no file"],
)
def test_a_broken_file_is_an_answer_not_an_error(source, tmp_path, text, reason):
    path = str(tmp_path / "missing.py") if text is None else source(text)

    answer = demo.measure(path)

    assert isinstance(answer, demo.Unreadable)
    assert path == answer.path
    assert answer.reason.startswith(reason)
    assert answer.reason


def test_the_standard_library_has_its_tests_and_nothing_installed():
    files = demo.standard_library()

    names = {report.module_name(path) for path in files}
    assert {"json", "json.decoder", "ast"} <= names
    assert not any("site-packages" in name for name in names)
    assert files == sorted(set(files))


def test_the_table_ranks_by_complexity(source):
    easy = demo.measure(source("x = 1", "easy.py"))
    hard = demo.measure(source("def f(): return a or b", "hard.py"))
    broken = demo.measure(source("1 +", "broken.py"))

    lines = demo.table([easy, broken, hard]).splitlines()

    assert [line.split()[0] for line in lines] == ["module", "hard", "easy"]
    assert lines[1].endswith("f (2)")
    assert len({line.index("  ") for line in lines[1:]}) == 1
    assert len(demo.table([easy, hard], top=1).splitlines()) == 2


def test_the_totals_name_the_files_that_cannot_be_parsed(source):
    text = demo.totals([demo.measure(source("x = 1\n")), demo.measure(source("1 +", "broken.py"))])

    assert text.startswith("1 modules: 1 lines, 3 tokens, 0 functions, 0 classes; complexity 1")
    assert "  broken: SyntaxError: invalid syntax" in text


def test_the_speed_up_is_told_without_and_with_the_start():
    timing = report.Timing("engines", 2, serial=20.0, start=10.0, parallel=10.0)

    lines = report.timing_lines(timing).splitlines()

    assert lines[1].split() == ["2", "engines", "10.00", "s", "2.00", "times", "as", "fast"]
    assert lines[2].endswith("with it 1.00 times as fast")


@pytest.mark.parametrize(("limit", "taken"), [(None, "abcde"), (9, "abcde"), (2, "ac"), (1, "a")])
def test_a_limit_takes_files_from_all_over_the_library(limit, taken):
    assert list(taken) == program.spread("abcde", limit)


def test_the_demo_compares_both_ways(pool, capsys):
    status = program.main(["--limit", "4", "--backend", "threads"])

    said = capsys.readouterr()
    assert status == 0
    assert "4 files of the standard library" in said.out
    assert "2 threads" in said.out
    assert "both gave the same results" in said.out
    assert "plain loop: 100%" in said.err
    assert pool.closed


def test_different_results_are_a_failure(pool, capsys):
    pool.change = {1: demo.Unreadable("other.py", "changed on the way")}

    assert program.main(["--limit", "2"]) == 1
    assert "the results differ" in capsys.readouterr().err


def test_an_interrupt_closes_the_pool_and_says_so(pool, capsys):
    pool.interrupt = True

    assert program.main(["--limit", "1"]) == 130
    assert pool.closed
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--workers", "--limit"])
def test_counts_must_be_positive(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        program.main([option, "0"])

    assert f"argument {option}: must be at least 1, was 0" in capsys.readouterr().err


def test_the_command_line_passes_options_on(pool):
    assert command_line.main(["demo", "--limit", "1"]) == 0


@pytest.mark.parametrize(
    ("arguments", "status"), [([], 2), (["nonsense"], 2), (["--help"], 0), (["--version"], 0)]
)
def test_the_command_line_explains_itself(arguments, status, capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.main(arguments)

    said = capsys.readouterr()
    assert status == ended.value.code
    assert nbpar.__version__ in said.out or "COMMAND" in said.out + said.err


def command(*arguments):
    return [sys.executable, "-m", "nbpar", "demo", "--workers", "2", *arguments]


@pytest.mark.parametrize("backend", ["serial", "threads", pytest.param("engines", marks=pytest.mark.engines)])
def test_the_demo_runs_on_every_backend(backend):
    done = subprocess.run(
        command("--limit", "12", "--backend", backend),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert "12 files of the standard library" in done.stdout
    assert "both gave the same results in the same order" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.engines
@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a process group")
def test_an_interrupt_while_engines_start_leaves_nothing_behind(tmp_path):
    with subprocess.Popen(
        command("--limit", "60"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"NBPAR_TEST_MARK": str(tmp_path)},
    ) as program:
        seen = ""
        while "plain loop: 100%" not in seen:
            seen += program.stderr.read(1)
            assert program.poll() is None
        os.killpg(program.pid, signal.SIGINT)
        rest = program.stderr.read()

    assert program.returncode == 130
    assert "interrupted; the workers are stopped" in rest
    assert "Traceback" not in rest
    assert psutil.wait_procs(marked(str(tmp_path)), timeout=5)[1] == []


def marked(mark):
    """Find the processes that have the mark in their environment, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("NBPAR_TEST_MARK") == mark:
                found.append(process)
    return found
