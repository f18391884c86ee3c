"""The example that measures Python's standard library: its counts and its output."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "complexity.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("complexity_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def source(tmp_path):
    def write(text, name="sample.py"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


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
def test_decisions_add_to_the_complexity_as_mccabe_counts_them(example, source, code, complexity):
    alone = example.measure(source(code))
    inside = example.measure(source("def f():\n" + "".join(f" {line}\n" for line in code.splitlines())))

    assert complexity == alone.complexity
    assert complexity == inside.hardest.complexity
    assert 1 + complexity == inside.complexity


def test_every_function_counts_for_itself_and_has_its_full_name(example):
    tree = ast.parse(
        "class A:\n def f(self):\n  def g():\n   if a: pass\n  async def h(): pass\nif b: pass\n"
    )

    own, functions, classes = example.count_structure(tree)

    assert (own, classes) == (2, 1)
    assert {("A.f", 2, 1), ("A.f.g", 3, 2), ("A.f.h", 5, 1)} == {
        (f.name, f.line, f.complexity) for f in functions
    }


def test_the_first_of_equally_complex_functions_is_named(example, source):
    measured = example.measure(source("def first(): pass\ndef second(): pass\n"))

    assert measured.hardest.name == "first"


def test_a_module_is_counted(example, source):
    measured = example.measure(source("# comment\n\nx = f('a' +\n      'b')\nclass A: pass"))

    assert (measured.lines, measured.tokens, measured.functions, measured.classes) == (5, 12, 0, 1)
    assert (measured.complexity, measured.hardest) == (1, None)


@pytest.mark.parametrize(
    "text",
    [b"", b"\xef\xbb\xbfx = 1\r\n", b"# coding: latin-1\nx = '\xe4'\n", b"x = '\\d'; 1 is 1\n", b"x = 1\\\n"],
    ids=["empty", "byte order mark", "latin-1", "deserves warnings", "ends in a backslash"],
)
def test_unusual_source_is_measured_without_a_warning(example, source, text):
    before = list(warnings.filters)

    measured = example.measure(source(text))

    assert isinstance(measured, example.Measured | example.Unreadable)
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
def test_a_broken_file_is_an_answer_not_an_error(example, source, tmp_path, text, reason):
    path = str(tmp_path / "missing.py") if text is None else source(text)

    answer = example.measure(path)

    assert isinstance(answer, example.Unreadable)
    assert path == answer.path
    assert answer.reason.startswith(reason)
    assert answer.reason


def test_the_standard_library_has_its_tests_and_nothing_installed(example):
    files = example.standard_library()

    names = {example.module_name(path) for path in files}
    assert {"json", "json.decoder", "ast"} <= names
    assert not any("site-packages" in name for name in names)
    assert files == sorted(set(files))


def test_the_table_ranks_by_complexity(example, source):
    easy = example.measure(source("x = 1", "easy.py"))
    hard = example.measure(source("def f(): return a or b", "hard.py"))
    broken = example.measure(source("1 +", "broken.py"))

    lines = example.table([easy, broken, hard]).splitlines()

    assert [line.split()[0] for line in lines] == ["module", "hard", "easy"]
    assert lines[1].endswith("f (2)")
    assert len({line.index("  ") for line in lines[1:]}) == 1
    assert len(example.table([easy, hard], top=1).splitlines()) == 2


def test_the_totals_name_the_files_that_cannot_be_parsed(example, source):
    text = example.totals([example.measure(source("x = 1\n")), example.measure(source("1 +", "broken.py"))])

    assert text.startswith("1 modules: 1 lines, 3 tokens, 0 functions, 0 classes; complexity 1")
    assert "  broken: SyntaxError: invalid syntax" in text


@pytest.mark.engines
def test_the_example_runs_on_engines():
    done = subprocess.run(
        [sys.executable, EXAMPLE, "--limit", "12", "--workers", "2"],
        check=False, capture_output=True, text=True, timeout=100,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "most complex function" in done.stdout
    assert "12 modules: " in done.stdout
