"""Pickled code keeps its properties, with any version of cloudpickle."""

from __future__ import annotations

import pickle
import types

import cloudpickle
import pytest

from nbpar.wire.pickling import _reduce_code, code_in_file, digest, dumps, pack_one, unpack_one

CELL = """
def outer(x):
    def inner(y):
        return (lambda z: 1 / z)(y)
    return inner(x)

class Model:
    def fit(self):
        return [n / 0 for n in range(2)]
"""


@pytest.fixture
def cell():
    space = {"__name__": "__main__"}
    exec(compile(CELL, "/tmp/ipykernel_1/2.py", "exec"), space)
    return space


def _codes(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


@pytest.mark.parametrize("arrive", [lambda fn: unpack_one(pack_one(fn)), lambda fn: pickle.loads(dumps(fn))])
def test_code_keeps_its_file_and_lines_and_so_does_the_code_within(cell, arrive):
    original = cell["outer"].__code__

    code = arrive(cell["outer"]).__code__

    assert {part.co_filename for part in _codes(code)} == {"/tmp/ipykernel_1/2.py"}
    assert [part.co_firstlineno for part in _codes(code)] == [
        part.co_firstlineno for part in _codes(original)
    ]
    assert list(code.co_lines()) == list(original.co_lines())


def test_methods_of_a_class_from_a_notebook_keep_their_file(cell):
    made = unpack_one(pack_one(cell["Model"]))

    assert made.fit.__code__.co_filename == "/tmp/ipykernel_1/2.py"


def test_the_name_is_put_back_after_a_reduction_that_drops_it():
    code = compile("1 / 0", "cell.py", "exec")
    make, args = _reduce_code(code)[:2]
    nameless = lambda *args: make(*args).replace(co_filename="<dynamic-code>")  # noqa: E731 (it is a stand-in)

    assert code_in_file(nameless, args, code.co_filename) == code
    assert code_in_file(nameless, args, code.co_filename).co_filename == "cell.py"


def test_the_same_function_has_the_same_digest_each_time(cell):
    first, second = (digest(pack_one(cell["outer"])) for _ in range(2))

    assert first == second


def test_what_nbpar_pickled_needs_nothing_but_pickle(cell):
    assert isinstance(pickle.loads(dumps(cell["outer"])), types.FunctionType)
    assert cloudpickle.Pickler.dispatch_table[types.CodeType] is _reduce_code
