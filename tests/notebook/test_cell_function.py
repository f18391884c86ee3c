"""Pure: a cell becomes a function of one item with the meaning of the loop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import textwrap
import traceback
import warnings

import cloudpickle
import pytest


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("x + 1", 3),
        ("y = x\ny * 2", 4),
        ("y = x", None),
        ("return x * 5", 10),
        ("if x:\n    return 'early'\n'late'", "early"),
        ("if x:\n    continue\n'late'", None),
        ("for i in range(3):\n    if i:\n        continue\n    y = i\ny", 0),
        ("for i in []: pass\nelse:\n    continue\n'late'", None),
        ("for i in [5, 6]:\n    break\ni", 5),
        ("while True:\n    break\n'after'", "after"),
        # A compound statement has no value, as in any cell.
        ("if x:\n    x", None),
        ("with open(__import__('os').devnull):\n    x", None),
        ("try:\n    x\nfinally:\n    pass", None),
        ("x;", 2),
        ("y = 1; x + y  # done", 3),
        ("'only a string'", "only a string"),
        ("'a docstring'\nx", 2),
        ("(lambda: [x for _ in range(2)])()", [2, 2]),
        ("(y := x) + y", 4),
        ("import math as m\nm.floor(x + .5)", 2),
        ("def f(n): return n and n + f(n - 1)\nf(x)", 3),
        ("def f():\n    n = x\n    def up():\n        nonlocal n; n += 1\n    up(); return n\nf()", 3),
        ("class A:\n    size = x\nA.size", 2),
        ("def g():\n    yield x\nlist(g())", [2]),
        ("async def f():\n    await g()\nf.__name__", "f"),
        ("match x:\n    case 1: y = 'one'\n    case _: y = 'many'\ny", "many"),
        ("del x\n'gone'", "gone"),
        ("    x\n", 2),
    ],
)  # fmt: skip
def test_the_result_is_what_the_cell_would_show(make, body, expected):
    transform = textwrap.dedent

    assert make("x in xs", body, transform=transform)(2) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("await later(x)", 2),
        ("y = [await later(x), 1]\ny", [2, 1]),
        ("if x:\n    continue\nawait later(x)", None),
        ("return await later(x) * 5", 10),
        ("total = total + await later(x)\ntotal", 102),
        (
            "seen = []\nasync for y in numbers(x):\n    if y:\n        continue\n    seen.append(y)\nseen",
            [0],
        ),
        ("async for y in numbers(x):\n    break\nelse:\n    y = 'none'\ny", 0),
        ("async with manager(x) as y:\n    z = y\nz", 2),
        ("[y async for y in numbers(x)]", [0, 1]),
        ("sum([await later(i) for i in range(x + 1)])", 3),
        ("def plain(n): return n\nplain(await later(x))", 2),
    ],
)
def test_a_body_that_waits_is_an_async_function(make, body, expected):
    async def later(value):
        await asyncio.sleep(0)
        return value

    async def numbers(count):
        for number in range(count):
            yield await later(number)

    @contextlib.asynccontextmanager
    async def manager(value):
        yield await later(value)

    names = {"later": later, "numbers": numbers, "manager": manager, "total": 100}
    function = make("x in xs", body, names)

    assert inspect.iscoroutinefunction(function)
    assert asyncio.run(function(2)) == expected


def test_await_in_a_nested_function_alone_makes_no_async_body(make):
    function = make("x in xs", "async def inner():\n    await x\nx")

    assert not inspect.iscoroutinefunction(function)
    assert function(3) == 3


def test_a_failure_of_a_body_that_waits_has_the_line_of_the_cell(make):
    function = make("x in xs", "y = 1\nawait x\ny")

    with pytest.raises(TypeError) as caught:
        asyncio.run(function(3))

    assert caught.traceback[-1].lineno + 1 == 3


@pytest.mark.parametrize(
    ("targets", "item", "expected"),
    [
        ("x", 1, 1),
        ("(x)", 1, 1),
        ("a, b", (1, 2), (1, 2)),
        ("(i, (a, b))", (0, (1, 2)), (0, 1, 2)),
        ("[a, *rest]", (1, 2, 3), (1, [2, 3])),
        ("item, item_", (1, 2), (1, 2)),
    ],
)
def test_an_item_is_spread_over_the_targets(make, targets, item, expected):
    names = [
        name for name in ("i", "a", "b", "rest", "x", "item", "item_") if name in targets.replace("(", " ")
    ]
    found = sorted(set(names), key=targets.index)
    if targets == "item, item_":
        found = ["item", "item_"]
    body = ", ".join(found)

    assert make(f"{targets} in xs", body)(item) == expected


def test_an_attribute_or_element_may_be_a_target(make):
    table = {}
    function = make("table['key'] in xs", "table['key'] + 1", {"table": table})

    assert function(4) == 5


def test_names_come_from_the_notebook_when_the_item_runs(make):
    names = {"__name__": "__main__"}
    function = make("x in xs", "helper(x) + offset", names)
    function.__globals__.update(helper=lambda value: value * 2, offset=1)

    assert function(3) == 7


@pytest.mark.parametrize(
    "body",
    [
        "total = total + x\ntotal",
        "total += x\ntotal",
        "if x > 100:\n    total = 0\ntotal + x",
        "for i in []:\n    total = 0\ntotal + x",
        "for total in []:\n    pass\ntotal + x",
        "try:\n    1 / 0\n    total = 0\nexcept ZeroDivisionError:\n    pass\ntotal + x",
        "from contextlib import suppress\nwith suppress(Exception):\n    1 / 0\n    total = 0\ntotal + x",
        "def f():\n    return total + x\nresult = f()\ntotal = 0\nresult",
        "result = [total + y for y in [x]][0]\ntotal = 0\nresult",
        "result = total + x\ndel total\nresult",
        "result = total + x\nimport os as total\nresult",
        "result = total + x\nclass total: pass\nresult",
        "result = total + x\nresult if (total := 3) else None",
        "match x:\n    case 100 as total: pass\ntotal + x",
        "match {'a': 1}:\n    case {'b': 2, **total}: pass\ntotal + x",
        "x > 100 and (total := 0)\ntotal + x",
        "total: int\ntotal + x",
    ],
)
def test_a_name_that_is_read_before_it_is_assigned_starts_with_the_notebooks_value(make, body):
    function = make("x in xs", body, {"total": 10})

    assert [function(1), function(1)] == [11, 11]


def test_a_builtin_may_be_read_before_it_is_assigned(make):
    assert make("x in xs", "max = max(x)\nmax")([1, 3]) == 3


@pytest.mark.parametrize(
    "body",
    [
        "words = [x]\nlen(words)",
        "with open(__import__('os').devnull) as words:\n    y = 1\ny, words",
        "if x:\n    words = 1\nelse:\n    words = 2\nwords",
        "if x:\n    return 1\nelse:\n    words = 2\nwords",
        "try:\n    words = 1\nexcept ValueError:\n    raise\nwords",
        "try:\n    pass\nfinally:\n    words = 1\nwords",
        "while True:\n    words = 1\n    break\nwords",
        "match x:\n    case 1: words = 1\n    case _: words = 2\nwords",
        "words, y = x\nwords",
        "def words():\n    return words\nwords",
        "def f(words):\n    return words\nwords = 1\nf(words)",
        "class words: pass\nwords",
        "for words in x:\n    words",
        "[words for words in x]",
        "(words := 1) and words",
    ],
)
def test_leftovers_of_the_notebook_do_not_travel_when_nothing_can_read_them(make, body):
    function = make("x in xs", body, {"words": "left over from a loop before", "y": 1})

    assert "words" not in (function.__kwdefaults__ or {})


def test_what_the_body_assigns_is_fresh_for_each_item(make):
    function = make("x in xs", "seen = seen | {x}\nseen", {"seen": {0}})

    assert [function(1), function(2)] == [{0, 1}, {0, 2}]


def test_a_class_in_the_body_takes_notebook_names_along(make):
    function = make("x in xs", "class A:\n    size = default_size\nA.size + x", {"default_size": 8})

    assert cloudpickle.loads(cloudpickle.dumps(function))(1) == 9


def test_the_function_travels_with_what_it_uses_and_nothing_else(make):
    names = {"used": 1, "unused": object()}
    exec("def helper(v): return v + used", names)
    function = make("x in xs", "helper(x)", names)
    here = cloudpickle.loads(cloudpickle.dumps(function))

    assert here(1) == 2
    assert {"used", "helper"} <= here.__globals__.keys()
    assert "unused" not in here.__globals__


def test_an_item_may_assign_a_global_where_it_runs(make):
    function = make("x in xs", "global total\ntotal += x", {"total": 0})

    function(2)

    assert function.__globals__["total"] == 2


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("y = 1\nx = = 2", 3, "invalid syntax"),
        ("y = 1\n\n\nyield x", 5, "`yield` cannot stand .* make it the last expression"),
        ("y = yield from x", 2, "`yield` cannot stand"),
        ("await x\nyield x", 3, "`yield` cannot stand"),
        ("async for y in x:\n    break\nelse:\n    break", 5, "`break` cannot stand"),
        ("if x:\n    break", 3, "`break` cannot stand .* `continue` ends the item"),
        ("for i in x:\n    break\nelse:\n    break", 5, "`break` cannot stand"),
        ("nonlocal y\ny = 1", 2, "no binding for nonlocal 'y' found"),
        ("y = 1\nfrom os import *", 3, "import \\* only allowed at module level"),
        ("global x\nx = 1", 2, "name 'x' is parameter and global"),
        ("class A:\n    return 1", 3, "'return' outside function"),
        ("# nothing", 1, "the body is empty; write below the magic what happens to one item"),
        ("\n\n", 1, "the body is empty"),
        ("from __future__ import annotations", 2, "from __future__ imports must occur"),
    ],
)
def test_a_body_that_cannot_be_is_refused_at_its_line(make, body, line, message):
    with pytest.raises(SyntaxError, match=message) as caught:
        make("x in xs", body)

    cell = f"%%parallel_map x in xs\n{body}".splitlines()
    assert caught.value.filename == "<the cell>"
    assert caught.value.lineno == line
    assert caught.value.text.strip() == cell[line - 1].strip()


def test_a_warning_of_the_compiler_has_the_line_of_the_cell(make):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make("x in xs", "y = 1\nx is 'a'")

    assert {(warning.filename, warning.lineno) for warning in caught} == {("<the cell>", 3)}


def test_a_traceback_shows_the_lines_of_the_cell(make):
    function = make("x in xs", "\ny = 1\ndef f():\n    return y / x\nf()")

    with pytest.raises(ZeroDivisionError) as caught:
        function(0)

    frames = traceback.extract_tb(caught.value.__traceback__)[1:]
    assert [(frame.lineno, frame.line) for frame in frames] == [(6, "f()"), (5, "return y / x")]


def test_an_item_that_does_not_fit_the_targets_fails_at_the_line_of_the_magic(make):
    with pytest.raises(ValueError, match="not enough values") as caught:
        make("a, b in xs", "a")([1])

    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.lineno, frame.line) == (1, "%%parallel_map a, b in xs")


def test_inspect_finds_the_lines_of_the_cell(make):
    function = make("x in xs", "def f():\n    return x\nf")

    assert inspect.findsource(function)[0] == [
        "%%parallel_map x in xs\n",
        "def f():\n",
        "    return x\n",
        "f",
    ]
    assert inspect.getsource(function(1)) == "def f():\n    return x\n"


def test_lines_below_a_magic_that_became_shorter_keep_their_numbers(make):
    def join_lines(source):
        return source.replace("!echo a \\\n  b", "run('echo a b')")

    function = make("x in xs", "!echo a \\\n  b\n\n1 / x", {"run": print}, transform=join_lines)
    with pytest.raises(ZeroDivisionError) as caught:
        function(0)

    assert traceback.extract_tb(caught.value.__traceback__)[-1].lineno == 5
