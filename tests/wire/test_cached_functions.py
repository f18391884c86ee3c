"""Sending functions with `functools.lru_cache`."""

import fnmatch
import functools
import pickle
import subprocess
import sys
import threading

import pytest

from nbpar.wire.diagnosis.explain import explain
from nbpar.wire.pickling import pack_one, unpack_one


def arrived(function):
    """Return what another process makes of a function of a notebook."""
    return unpack_one(pack_one(function))


def make(decorate, source="def f(x): return 2 * x"):
    """Define `f` as a notebook would."""
    there = {"__name__": "__main__"}
    exec(source, there)
    there["f"] = decorate(there["f"])
    return there["f"]


@pytest.mark.parametrize(("maxsize", "typed"), [(128, False), (3, True), (None, False), (0, False)])
def test_a_cache_arrives_empty_and_as_large_as_it_was(maxsize, typed):
    here = make(functools.lru_cache(maxsize, typed))
    here(1)

    there = arrived(here)

    assert there is not here
    assert there.cache_parameters() == {"maxsize": maxsize, "typed": typed}
    assert there.cache_info().currsize == 0
    assert (there(21), there.__name__) == (42, "f")


def test_a_cached_function_that_calls_itself_has_one_cache():
    source = "def f(n): return n if n < 2 else f(n - 1) + f(n - 2)"

    there = arrived(make(functools.cache, source))

    assert there(60) == 1548008755920
    assert there.cache_info().misses == 61


def test_functions_that_use_a_cached_one_take_it_along():
    cached = make(functools.cache)

    assert arrived(lambda x: cached(x) + 1)(4) == 9


def test_a_cached_function_of_a_module_travels_by_its_name():
    assert arrived(fnmatch._compile_pattern) is fnmatch._compile_pattern


def test_an_engine_without_the_definition_can_call_it(tmp_path):
    (tmp_path / "f").write_bytes(pickle.dumps(pack_one(make(functools.cache))))
    program = (
        "import pickle, pathlib, sys\n"
        "from nbpar.wire.pickling import unpack_one\n"
        "f = unpack_one(pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()))\n"
        "print(f(4), f(4), f.cache_info().hits)\n"
    )

    told = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "f"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert told.stdout.split() == ["8", "8", "1"]


def test_what_cannot_travel_in_a_cached_function_is_named():
    function = make(functools.cache, "def f(x): return guard and x")
    function.__wrapped__.__globals__["guard"] = threading.Lock()
    with pytest.raises(TypeError) as caught:
        pack_one(function)

    assert "`guard`" in explain(function, caught.value, what="the function `f` to the workers")
