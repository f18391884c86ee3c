"""User code that raises while values are pickled, unpickled, named or read.

Whatever it raises fails one item, or the one run that reads it; others in the same pool go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import warnings

import pytest

import nbpar
from nbpar import Failure, InputExitedError, ItemExitedError, PicklingError

pytestmark = pytest.mark.timeout(120)

HARM = (
    "SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "Panic", "MemoryError",
    "RecursionError", "ValueError",
)  # fmt: skip


@pytest.fixture
def far_pool(kind, pool):
    """The kinds whose items and results are pickled."""
    if not kind.own_process:
        pytest.skip("nothing is pickled")
    return pool


@pytest.fixture
def others(pool, kind, gate):
    """Another run of the same pool, under way meanwhile, which comes to a good end."""
    if not kind.concurrent:
        yield
        return
    run = pool.map_async(lambda n: gate.wait() if n == 0 else n, range(3), chunksize=1)
    gate.until_waiting()
    yield
    gate.open()
    assert run.get(timeout=60) == [None, 1, 2]


class Quit(KeyboardInterrupt):
    """A subclass defined by the user."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, KeyboardInterrupt("mine"), Quit])
def test_an_item_that_raises_keyboard_interrupt_fails_alone(pool, error):
    def quits(n):
        if n == 1:
            raise error
        return n

    results = pool.map(quits, range(4), chunksize=2, errors="collect")

    assert [result for result in results if type(result) is int] == [0, 2, 3]
    assert isinstance(results[1].exception, ItemExitedError)
    with pytest.raises(ItemExitedError):
        pool.map(quits, range(4))
    assert isinstance(pool.submit(quits, 1).exception(timeout=60), ItemExitedError)


@pytest.fixture(autouse=True)
def usable_again(pool):
    yield
    assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]


def make_raise():
    """Return what raises an exception by its name, wherever it is called."""

    class Panic(BaseException):
        pass

    def act(name):
        made = {"Panic": Panic, "CancelledError": asyncio.CancelledError}
        raise made.get(name, getattr(__import__("builtins"), name, None))(f"{name} it is")

    return act


def make_traps():
    """Return classes of objects that raise when they are pickled, or unpickled, at one of the two sides."""
    home, act = os.getpid(), make_raise()

    def load(name, here):
        if (os.getpid() == home) is here:
            act(name)
        return "loaded"

    class Loads:
        def __init__(self, name, *, here):
            self.name, self.here = name, here

        def __reduce__(self):
            return load, (self.name, self.here)

    class Dumps:
        def __init__(self, name):
            self.name = name

        def __reduce__(self):
            act(self.name)

    return Loads, Dumps


def check(results, sides):
    """All other items are correct, and the harmful ones failed with the name of their exception."""
    for place, result in enumerate(results):
        if place % 2:
            assert result == place
        else:
            name = HARM[place // 2]
            assert isinstance(result, Failure), (name, result)
            assert isinstance(result.exception, PicklingError), (name, result)
            assert sides in str(result.exception)
            assert str(place) in str(result.exception)
            assert name in str(result.exception)
    assert len(results) == 2 * len(HARM)


def mixed(make):
    return [make(HARM[place // 2]) if place % 2 == 0 else place for place in range(2 * len(HARM))]


def test_results_whose_loading_here_raises_fail_alone(far_pool, others):
    loads, _ = make_traps()

    results = far_pool.map(
        lambda n: n if n % 2 else loads(HARM[n // 2], here=True), range(2 * len(HARM)), errors="collect"
    )

    check(results, "cannot load the result of item")


def test_results_whose_pickling_raises_fail_alone_and_cost_no_worker(far_pool, others):
    _, dumps = make_traps()
    before = {worker["pid"] for worker in far_pool.workers}

    results = far_pool.map(
        lambda n: n if n % 2 else dumps(HARM[n // 2]), range(2 * len(HARM)), errors="collect"
    )

    check(results, "cannot send the result of item")
    assert {worker["pid"] for worker in far_pool.workers} == before


def test_items_whose_pickling_raises_fail_alone(far_pool, others):
    _, dumps = make_traps()

    results = far_pool.map(lambda item: item, mixed(dumps), errors="collect")

    check(results, "cannot send item")


def test_items_whose_loading_on_a_worker_raises_fail_alone_and_cost_no_worker(far_pool, others):
    loads, _ = make_traps()
    before = {worker["pid"] for worker in far_pool.workers}

    results = far_pool.map(lambda item: item, mixed(lambda name: loads(name, here=False)), errors="collect")

    check(results, "cannot load item")
    assert {worker["pid"] for worker in far_pool.workers} == before


@pytest.mark.parametrize("name", HARM)
def test_a_function_whose_loading_on_a_worker_raises_fails_its_run(far_pool, others, name):
    loads, _ = make_traps()
    captured = loads(name, here=False)

    with pytest.raises(PicklingError, match=rf"cannot load the function .*{name}"):
        far_pool.map(lambda item: (item, captured), [1, 2])


@pytest.mark.parametrize("name", HARM)
def test_a_function_whose_pickling_raises_fails_its_run(far_pool, others, name):
    _, dumps = make_traps()
    captured = dumps(name)

    with pytest.raises(PicklingError, match=rf"cannot send the function .*{name}"):
        far_pool.map(lambda item: (item, captured), [1, 2])


def test_exceptions_that_raise_when_they_are_loaded_or_looked_at_fail_their_items(pool, others):
    home, act = os.getpid(), make_raise()

    def load(name):
        if os.getpid() == home:
            act(name)
        return ValueError("loaded there")

    class Loads(Exception):
        def __reduce__(self):
            return load, self.args

    class Shows(Exception):
        def __str__(self):
            return act(self.args[0])

        __repr__ = __str__

    class Dumps(Exception):
        def __reduce__(self):
            act(self.args[0])

    class Notes(Exception):
        @property
        def __notes__(self):
            act(self.args[0])

    kinds = [Loads, Shows, Dumps, Notes]

    def fail(n):
        raise kinds[n % 4](HARM[n // 4])

    results = pool.map(fail, range(4 * len(HARM)), errors="collect")

    assert [failure.index for failure in results.failures] == list(range(4 * len(HARM)))
    assert all(repr(failure) for failure in results.failures)


@pytest.mark.parametrize("notes", [7, "text", [7], None, (), {"a": 1}])
def test_notes_of_any_kind_harm_nobody(pool, others, notes):
    def fail(n):
        error = ValueError(n)
        error.__notes__ = notes
        raise error

    results = pool.map(fail, [0, 1], errors="collect")

    assert [type(failure.exception) for failure in results] == [ValueError, ValueError]


def test_items_whose_name_cannot_be_made_fail_like_others(pool, others):
    act = make_raise()

    class Item:
        def __init__(self, name):
            self.name = name

        def __repr__(self):
            act(self.name)

        __str__ = __repr__

    def fail(item):
        raise ValueError(item.name)

    results = pool.map(fail, map(Item, HARM), errors="collect")

    assert [str(failure.exception) for failure in results] == list(HARM)
    assert all(repr(failure) for failure in results)


@pytest.mark.parametrize("name", ["SystemExit", "GeneratorExit", "CancelledError"])
def test_what_would_end_the_program_of_the_one_who_waits_is_replaced(pool, others, name):
    act = make_raise()

    with pytest.raises(ItemExitedError, match=name.replace("SystemExit", "sys.exit")):
        pool.map(act, [name])


def test_an_exception_that_becomes_another_that_ends_programs_is_replaced(far_pool, others):
    class Turns(Exception):
        def __reduce__(self):
            return SystemExit, ("turned",)

    def fail(_):
        raise Turns

    with pytest.raises(ItemExitedError, match=r"sys\.exit\('turned'\)"):
        far_pool.map(fail, [1])


@pytest.mark.parametrize("name", HARM)
@pytest.mark.parametrize("where", ["__len__", "__iter__", "__next__"])
def test_an_input_that_raises_fails_its_run_and_ends_no_program(pool, others, name, where):
    act = make_raise()

    class Input:
        def __len__(self):
            if where == "__len__":
                act(name)
            return 3

        def __iter__(self):
            if where == "__iter__":
                act(name)
            return self.items()

        def items(self):
            yield 1
            if where == "__next__":
                act(name)
            yield 2

    if where == "__len__":  # only progress would need it
        assert pool.map(abs, Input()) == [1, 2]
        return
    with pytest.raises(BaseException, match=name.replace("SystemExit", "sys.exit")) as caught:
        pool.map(abs, Input())
    assert not isinstance(caught.value, (SystemExit, GeneratorExit, asyncio.CancelledError))
    if name in ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError"):
        assert isinstance(caught.value, InputExitedError)


def test_functions_with_odd_names_run(pool, others):
    class Odd:
        def __getattr__(self, name):
            return object() if name in ("__name__", "__qualname__") else super().__getattribute__(name)

        def __call__(self, item):
            return -item

    class Worse:
        def __getattribute__(self, name):
            if name in ("__name__", "__qualname__"):
                raise SystemExit
            return super().__getattribute__(name)

        def __call__(self, item):
            return -item

    assert pool.map(Odd(), [1, 2]) == pool.map(Worse(), [1, 2]) == [-1, -2]


def test_a_stream_goes_on_after_results_that_cannot_be_loaded(far_pool, others):
    loads, _ = make_traps()

    results = list(
        far_pool.imap(
            lambda n: n if n % 2 else loads("SystemExit", here=True), range(6), errors="collect", chunksize=1
        )
    )

    assert [type(result).__name__ for result in results] == ["Failure", "int"] * 3


def test_futures_get_their_own_errors(far_pool, others):
    loads, dumps = make_traps()

    good, bad, worse = (
        far_pool.submit(abs, -1),
        far_pool.submit(lambda: loads("SystemExit", here=True)),
        far_pool.submit(abs, dumps("SystemExit")),
    )

    assert good.result(timeout=60) == 1
    for future in (bad, worse):
        with pytest.raises(PicklingError, match="SystemExit"):
            future.result(timeout=60)


def test_no_thread_of_ours_has_died(pool, monkeypatch):
    deaths = []
    monkeypatch.setattr(threading, "excepthook", deaths.append)
    loads, dumps = make_traps()

    pool.map(lambda n: loads("SystemExit", here=True), range(2), errors="collect")
    pool.map(lambda item: None, [dumps("GeneratorExit")], errors="collect")

    assert deaths == []
    assert nbpar.last_run.state == "done"


def test_texts_and_numbers_of_foreign_classes_travel_as_plain_ones(far_pool, others):
    class Text(str):
        __slots__ = ()

    class Odd(Exception):
        def __str__(self):
            return Text("odd")

    def print_and_fail(item):
        logging.getLogger("foreign").warning("hello", extra={"text": Text("text")})
        warnings.warn(Text("warned"), stacklevel=1)
        raise Odd

    results = far_pool.map(print_and_fail, [1, 2], errors="collect", seed=Whole(3), timeout=Number(30.0))

    assert [str(failure.exception) for failure in results] == ["odd", "odd"]


class Number(float):
    """A subclass of a plain type, like NumPy's numbers."""


class Whole(int):
    """Likewise."""
