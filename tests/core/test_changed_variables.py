"""Variables whose values code changes in place."""

from textwrap import dedent

import pytest

from nbpar.pool.changes import findings_in


def code_of(body, names="n"):
    """The code of a function with this body."""
    defined = {}
    text = f"def f({names}):\n" + "\n".join(f"    {line}" for line in dedent(body).strip().splitlines())
    exec(text, defined)
    return defined["f"].__code__


def changes(body):
    """The changed variables, without those changed by methods of unknown effect."""
    found = findings_in(code_of(body))
    return {f"{change.label.scope} {change}" for change in found.changes if change.detail != "method"}


@pytest.mark.parametrize(
    ("body", "change"),
    [
        ("out.append(n)", "global out.append(...)"),
        ("out.extend(k for k in range(n))", "global out.extend(...)"),
        ("d[n] = n * n", "global d[...] = ..."),
        ("d[f(n)][n + 1] = g(n, *h)", "global d[...][...] = ..."),
        ("d[n] += 1", "global d[...] += ..."),
        ("d[n] = d[n] + 1", "global d[...] = ..."),
        ("d[a if n else b] = 1", "global d[...] = ..."),
        ("d[n]: int = 3", "global d[...] = ..."),
        ("a, d[n] = n, n", "global d[...] = ..."),
        ("for d[n] in range(3): pass", "global d[...] = ..."),
        ("d[1:n] = []", "global d[...] = ..."),
        ("del d[n]", "global del d[...]"),
        ("d[n].append(1)", "global d[...].append(...)"),
        ("table.loc[n, 'a'] = 1", "global table.loc[...] = ..."),
        ("state.total += n", "global state.total += ..."),
        ("state.total = state.total + n", "global state.total += ..."),
        ("state.total = n", "global state.total = ..."),
        ("state.all.append(n)", "global state.all.append(...)"),
        ("global total\ntotal += n", "global total += ..."),
        ("global total\ntotal = 2 * total", "global total += ..."),
        ("total = total + n", "local total += ..."),
        ("total += n", "local total += ..."),
        ("[out.append(k) for k in range(n)]", "global out.append(...)"),
        ("return (lambda: out.append(n))()", "global out.append(...)"),
        ("if n:\n    return 1\nout.append(n)", "global out.append(...)"),
        (
            "try:\n    g(n)\nexcept ValueError:\n    out.append(n)\nfinally:\n    g(0)",
            "global out.append(...)",
        ),
        ("with open(n) as file:\n    d[n] = file.read()", "global d[...] = ..."),
        ("while n:\n    n -= 1\n    out.append(n)", "global out.append(...)"),
        ("match n:\n    case 1: out.append(n)\n    case _: d[n] = 1", "global d[...] = ..."),
        ("print(f'{n!r:>{d[n]}}', end=out.append(n))", "global out.append(...)"),
    ],
)
def test_a_change_is_found_and_written_as_in_the_code(body, change):
    assert change in changes(body)


@pytest.mark.parametrize(
    "body",
    [
        "return d[n]",
        "return [x for x in out if x > n]",
        "x = d[n]; x = x + 1; return x",
        "global model\nmodel = load(n)",
        "rows = list(out)\nrows2 = rows\nreturn rows2 + out",
        "return n in d, d == n, len(d), out[n:], -out[0]",
        "for key in d: yield d[key]",
    ],
)
def test_what_only_reads_is_no_change(body):
    assert {change for change in changes(body) if change.startswith(("global", "free"))} == set()


def test_variables_of_an_enclosing_function_are_told_from_those_of_the_function_itself():
    def outer():
        acc, total = [], 0

        def inner(n):
            nonlocal total
            own = []
            total += n
            acc.append(n)
            return [own.append(k) or acc.append(k) for k in range(n)], lambda: own.append(total)

        return inner

    found = findings_in(outer().__code__)

    named = {(change.label.scope, change.label.name) for change in found.changes}
    assert {("free", "acc"), ("free", "total")} <= named
    assert named <= {("free", "acc"), ("free", "total"), ("local", "own")}


def test_a_change_has_its_line():
    found = findings_in(code_of("x = n\nout.append(\n    x)"))

    assert [change.line for change in found.changes] == [3]


@pytest.mark.parametrize(
    ("body", "returns"),
    [
        ("n['a'] = 1", False),
        ("n['a'] = 1\nreturn", False),
        ("return n.update(a=1)", False),
        ("n['a'] = 1\nreturn n", True),
        ("if n:\n    return\nreturn 3", True),
        ("return g(n)", True),
    ],
)
def test_it_is_known_whether_a_function_may_return_something(body, returns):
    assert findings_in(code_of(body)).returns is returns


def test_what_is_asked_for_and_what_is_read_is_known():
    found = findings_in(code_of("if n not in memo:\n    memo[n] = g(n)\nother[n] = 1\nreturn memo[n]"))

    assert "memo" in found.looked_up & found.read
    assert "other" not in found.looked_up | found.read | found.used
