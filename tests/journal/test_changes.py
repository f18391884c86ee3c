"""Results are reused only by the function that made them, and messages name what has changed."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import nbpar
from nbpar.journal.identity import changes, identify

FACTOR = 3


def define(source: str, filename: str = "<cell>", lines_before: int = 0, **names):
    """Define `f` as a notebook's cell would, somewhere."""
    namespace = {"__name__": "__main__", **names}
    exec(compile("\n" * lines_before + source, filename, "exec"), namespace)
    return namespace["f"]


def parts(function) -> dict[str, str]:
    return identify(function, spread="one", seed=None).parts


def test_a_changed_variable_begins_anew_and_is_named(pool):
    def scaled(factor):
        return lambda x: x * factor

    pool.map(scaled(2), range(4), resume="scaled")

    with pytest.warns(nbpar.JournalWarning, match=r"'scaled' starts anew: `factor` changed \(4 results"):
        assert pool.map(scaled(3), range(4), resume="scaled") == [0, 3, 6, 9]


def test_a_changed_function_begins_anew(pool):
    pool.map(lambda x: x + 1, range(3), resume="changed")

    with pytest.warns(nbpar.JournalWarning, match="the code of `<lambda>` changed"):
        assert pool.map(lambda x: x + 2, range(3), resume="changed") == [2, 3, 4]


def test_the_warning_points_at_the_users_line(serial):
    serial.map(lambda x: x, [1], resume="line")

    with pytest.warns(nbpar.JournalWarning) as caught:
        serial.map(lambda x: -x, [1], resume="line")

    assert [warning.filename for warning in caught] == [__file__]


def test_results_of_before_serve_again_when_a_change_is_undone(serial, notes):
    folder = Path(notes.folder)

    def version(number):
        def f(x):
            with (folder / str(number)).open("a") as file:
                file.write(".")
            return x + number

        return f

    serial.map(version(1), range(5), resume="undone")
    with pytest.warns(nbpar.JournalWarning):
        serial.map(version(2), range(5), resume="undone")

    assert serial.map(version(1), range(5), resume="undone") == [1, 2, 3, 4, 5]
    assert notes.counts == {"1": 5, "2": 5}


def test_only_the_latest_versions_are_kept(serial):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbpar.JournalWarning)
        for number in range(6):
            serial.map(lambda x, n=number: x + n, range(10), resume="many")

    assert nbpar.journals()[0].items == 30


@pytest.mark.parametrize(
    "elsewhere", [{"filename": "/tmp/ipykernel_77/123.py"}, {"lines_before": 40}], ids=["file", "lines"]
)
@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    return x + 1",
        "f = lambda x: [y for y in x if y in {1, 'a', None}]",
        "def helper(x):\n    return x\ndef f(x):\n    return helper(x)",
        "class A:\n    def go(self):\n        return super().__init__()\ndef f(x):\n    return A().go()",
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\ndef f(x):\n    return A(x)",
        "import enum\nclass E(enum.Enum):\n    A = 1\ndef f(x):\n    return E.A",
        "import functools\n@functools.lru_cache\ndef g(x):\n    return x\ndef f(x):\n    return g(x)",
        "def f(x):\n    class Inner:\n        y = 1\n    return Inner",
    ],
)
def test_where_a_function_stands_does_not_matter(source, elsewhere):
    assert parts(define(source)) == parts(define(source, **elsewhere))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(x):\n    return x + 1", "def f(x):\n    return x + 2"),
        ("def f(x):\n    return x.a", "def f(x):\n    return x.b"),
        ("def f(x, y=1):\n    return x", "def f(x, y=2):\n    return x"),
        ("def f(x, *, y=1):\n    return x", "def f(x, *, y=2):\n    return x"),
        ("def f(x):\n    return abs(x)", "def f(x):\n    return max(x)"),
        ("def f(x):\n    return x is 1", "def f(x):\n    return x is True"),
        ("def h(): return 1\ndef f(x):\n    return h()", "def h(): return 2\ndef f(x):\n    return h()"),
        ("class A:\n    b = 1\ndef f(x):\n    return A.b", "class A:\n    b = 2\ndef f(x):\n    return A.b"),
        (
            "class A:\n    def m(self): return 1\na = A()\ndef f(x):\n    return a.m()",
            "class A:\n    def m(self): return 2\na = A()\ndef f(x):\n    return a.m()",
        ),
        ("def f(x):\n    g = lambda: 1\n    return g()", "def f(x):\n    g = lambda: 2\n    return g()"),
        (
            "import functools\n@functools.lru_cache\ndef g(x):\n    return 1\ndef f(x):\n    return g(x)",
            "import functools\n@functools.lru_cache\ndef g(x):\n    return 2\ndef f(x):\n    return g(x)",
        ),
        (
            "import functools\ndef g(x, y):\n    return x\nf = functools.partial(g, y=1)",
            "import functools\ndef g(x, y):\n    return x\nf = functools.partial(g, y=2)",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_what_a_function_does_matters(before, after):
    assert parts(define(before)) != parts(define(after))


def test_a_name_that_is_only_an_attribute_does_not_matter():
    source = "def f(x):\n    return x.text"

    assert parts(define(source, text="a")) == parts(define(source, text="b"))


def test_a_module_of_the_users_own_counts_by_its_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "words_of_mine.py"
    module.write_text("def count(x):\n    return 1\n")
    import words_of_mine

    f = define("def f(x):\n    return words_of_mine.count(x)", words_of_mine=words_of_mine)
    before, imported_before = parts(f), parts(words_of_mine.count)
    module.write_text("# a comment\n\ndef count(x):\n    return 1\n")
    moved = parts(f)
    module.write_text("def count(x):\n    return 2\n")

    assert moved == before
    assert changes(before, parts(f)) == "`words_of_mine` changed"
    assert changes(imported_before, parts(words_of_mine.count)).startswith("`count`, or what it")


def test_what_changed_is_told_shortly():
    before = {"a": "1", "b": "1", "c": "1", "d": "1", "e": "1"}

    assert changes(before, {**before, "a": "2"}) == "a changed"
    assert changes({"a": "1"}, {"b": "1"}) == "b is new, a is not used any more"
    assert changes(before, dict.fromkeys("abcde", "2")) == "a changed, b changed, c changed, 2 more"


def test_what_nobody_could_compare_is_refused_by_name():
    generator = (x for x in "abc")

    with pytest.raises(nbpar.JournalError, match=r"changes of `generator`.*make it inside the function"):
        parts(lambda x: next(generator))


def test_the_seed_counts(serial):
    serial.map(abs, [1], resume="seed", seed=1)

    with pytest.warns(nbpar.JournalWarning, match="the seed changed"):
        serial.map(abs, [1], resume="seed", seed=2)
