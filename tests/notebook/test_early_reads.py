"""Pure: random bodies behave in a function as in a notebook."""

from __future__ import annotations

import textwrap

from hypothesis import example, given, settings
from hypothesis import strategies as st

NAMES = st.sampled_from("abc")
VALUES = st.one_of(
    NAMES,
    st.integers(0, 2).map(str),
    st.builds("({} + {})".format, NAMES, NAMES),
    st.builds("({} := {} + 1)".format, NAMES, NAMES),
    st.builds("({} and ({} := 1))".format, NAMES, NAMES),
    st.builds("({} if {} else ({} := 2))".format, NAMES, NAMES, NAMES),
    st.builds("sum({0} + {1} for {0} in [{2}])".format, NAMES, NAMES, NAMES),
    st.builds("(lambda {}: {} + {})(1)".format, NAMES, NAMES, NAMES),
)
SIMPLE = st.one_of(
    st.builds("{} = {}".format, NAMES, VALUES),
    st.builds("{} += {}".format, NAMES, VALUES),
    st.builds("{}, {} = {}, {}".format, NAMES, NAMES, VALUES, VALUES),
    st.builds("{}: int = {}".format, NAMES, VALUES),
    st.builds("assert {} != 7, ({} := 1)".format, VALUES, NAMES),
    st.builds("del {}".format, NAMES),
    st.builds("1 / {}".format, VALUES),
)


def _indented(block):
    return textwrap.indent(block, "    ")


def _compound(blocks):
    body = blocks.map(_indented)
    return st.one_of(
        st.builds("if {}:\n{}\nelse:\n{}".format, VALUES, body, body),
        st.builds("for {} in range({} % 3):\n{}\n    break\nelse:\n{}".format, NAMES, NAMES, body, body),
        st.builds("for i in range(2):\n    if {}: break\n{}".format, VALUES, body),
        st.builds("for i in range(2):\n    if {}: continue\n{}".format, VALUES, body),
        st.builds("while True:\n{}\n    break\n{}".format, body, body),
        st.builds("try:\n{}\nexcept ArithmeticError as {}:\n{}\nelse:\n{}".format, body, NAMES, body, body),
        st.builds("try:\n{}\nfinally:\n{}".format, body, body),
        st.builds("with suppress(ArithmeticError):\n{}".format, body),
        st.builds("def f({}):\n    return {}\n{} = f(1)".format, NAMES, VALUES, NAMES),
        st.builds("match {}:\n  case 1:\n{}\n  case int({}):\n{}".format, VALUES, body, NAMES, body),
        st.lists(blocks, min_size=2, max_size=3).map("\n".join),
    )


BODIES = st.recursive(SIMPLE, _compound, max_leaves=8)
NOTEBOOKS = st.dictionaries(NAMES, st.integers(0, 2), min_size=1)


def _outcome(compute):
    try:
        return compute()
    except Exception as error:
        return NameError if isinstance(error, NameError) else type(error)


@given(body=BODIES, notebook=NOTEBOOKS)
@example(body="if a:\n    b = 1\na = b", notebook={"a": 0, "b": 2})
@settings(max_examples=400, deadline=None)
def test_a_body_does_in_a_function_what_it_does_in_the_notebook(make, body, notebook):
    from contextlib import suppress

    source = f"{body}\nseen = (a, b, c)"
    names = {**notebook, "suppress": suppress}
    here = {**names, "__annotations__": {}}  # Python 3.10 forgets them when it annotates inside `match`
    function = make("x in xs", f"{source}\nseen", names)

    in_the_notebook = _outcome(lambda: (exec(source, here), here["seen"])[1])
    in_an_item = _outcome(lambda: function(None))

    assert in_an_item == in_the_notebook
