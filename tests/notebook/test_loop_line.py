"""Pure: the loop on the magic's line is parsed as by Python."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpar.notebook.magic_line import read_loop

NAMES = st.sampled_from(["a", "b", "in_", "größe", "item", "_"])


def _sequence(inner):
    return st.lists(inner, min_size=1, max_size=3).flatmap(
        lambda parts: st.sampled_from([f"({', '.join(parts)},)", f"[{', '.join(parts)}]", f"({parts[0]})"])
    )


PLACES = st.sampled_from(["a.b", "a[i in b]", "a['x in y -> z']", "f(lambda: 1).c"])
TARGETS = st.recursive(NAMES | PLACES, _sequence, max_leaves=6)
EXPRESSIONS = st.sampled_from(
    [
        "xs",
        "1, *more",
        "'a in b -> c'",
        "[i for i in xs if i in seen]",
        "(lambda x: x in y)(1)",
        "f'{x:->10}'",
        "{'->': 1}['->']",
        "sorted(xs, key=lambda x: x in y)",
        "(n := xs)",
        "xs if a in b else ys",
        "range(-3, 3)",
        "not_in  in  xs",
        "'#'",
    ]
)


@given(targets=TARGETS, expression=EXPRESSIONS, name=st.none() | NAMES)
def test_every_loop_that_python_can_write_is_read(targets, expression, name):
    loop = read_loop(f"{targets} in {expression}" + (f" -> {name}" if name else ""))

    expected = ast.parse(f"for {targets} in {expression}: pass").body[0]
    assert isinstance(expected, ast.For)
    assert ast.dump(loop.targets) == ast.dump(expected.target)
    assert ast.dump(loop.expression) == ast.dump(expected.iter)
    assert loop.name == name
    assert loop.source.strip("()") in expression


@pytest.mark.parametrize("text", ["x in xs->y", "x in xs -> y  # say why", "  x in xs  ->  y  "])
def test_spaces_and_comments_do_not_matter(text):
    loop = read_loop(text)

    assert (ast.unparse(loop.targets), loop.source, loop.name) == ("x", "xs", "y")


def test_an_arrow_in_a_comment_is_a_comment():
    assert read_loop("x in xs  # -> y").name is None


def test_positions_are_those_in_the_cell():
    loop = read_loop("x in xs", line=3, column=17)

    assert (loop.expression.lineno, loop.expression.col_offset) == (3, 22)
    assert (loop.targets.end_lineno, loop.targets.end_col_offset) == (3, 18)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the loop is missing; expected `TARGETS in EXPRESSION"),
        ("x", "cannot read 'x' as a loop"),
        ("x in", "cannot read 'x in' as a loop"),
        ("1 in xs", "cannot read '1 in xs' as a loop .*cannot assign to literal"),
        ("f() in xs", "cannot assign to function call"),
        ("x in xs: print(x)", "cannot read 'x in xs: print"),
        ("x in xs: y; z", "cannot read"),
        ("x in 'abc", "cannot read"),
        ("x in (1", "cannot read"),
        ("x in xs -> ", "must be followed by one name for the results, was ''"),
        ("x in xs -> y, z", "was 'y, z'"),
        ("x in xs -> for", "was 'for'"),
        ("-> y", "the loop is missing|cannot read"),
    ],
)
def test_another_form_is_refused_with_the_right_one(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_loop(text)

    assert "%%parallel_map x in items -> results" in str(caught.value)
