"""What a worker's exception is like where it is raised again."""

from __future__ import annotations

import linecache
import pickle
import re
import sys
import threading
import traceback
from types import SimpleNamespace

import pytest
from user_code import leave

from nbpar.errors import ItemExitedError, RemoteError
from nbpar.wire import faults
from nbpar.wire.faults import CHAINED, FRAMES, LIBRARY, NO_TEXT, REPEATED, Fault, describe, restore

NOWHERE = "/nowhere/ipykernel_1/7.py"


class Custom(Exception):
    def __init__(self, number):
        super().__init__(number)
        self.number = number


def failure(act, *args):
    """Return the exception of a call."""
    with pytest.raises(BaseException) as caught:
        act(*args)
    return caught.value


def raising(error):
    raise error


def travelled(error):
    """Return what arrives of an exception, by way of plain values as in a message."""
    return restore(Fault(*pickle.loads(pickle.dumps(tuple(describe(error))))))


def cell(text, filename=NOWHERE):
    """Run code whose lines this process does not know; return its names."""
    names = {}
    exec(compile(text, filename, "exec"), names)
    return names


@pytest.fixture
def with_lines():
    """Make the lines of a cell known, as they are in a notebook's process."""

    def know(text):
        linecache.cache[NOWHERE] = (len(text), None, text.splitlines(keepends=True), NOWHERE)

    yield know
    linecache.cache.pop(NOWHERE, None)


def test_an_exception_keeps_its_type_and_attributes_and_shows_the_workers_frames():
    error = failure(raising, Custom(3))

    arrived = travelled(error)

    assert (type(arrived), arrived.number) == (Custom, 3)
    assert traceback.extract_tb(arrived.__traceback__)[-1].name == "raising"


@pytest.mark.parametrize("here", [True, False])
def test_what_would_end_the_program_arrives_as_an_error(here):
    fault = describe(failure(leave), here=here)

    assert fault.kind == "ItemExitedError"
    assert isinstance(restore(fault), ItemExitedError)


def test_within_one_process_the_exception_itself_is_handed_over():
    error = failure(raising, Custom(threading.Lock()))

    fault = describe(error, here=True)

    assert restore(fault) is error
    assert fault.chain == ()


# ---- causes and contexts


def with_cause():
    try:
        raising(KeyError("first"))
    except KeyError as error:
        raise Custom(2) from error


def with_context():
    try:
        with_cause()
    except Custom:
        raising(ValueError("last"))


def test_causes_and_contexts_arrive_in_their_order_with_their_frames():
    arrived = travelled(failure(with_context))

    context = arrived.__context__
    assert (type(context), context.number) == (Custom, 2)
    assert arrived.__cause__ is None
    assert str(context.__cause__) == "'first'"
    assert traceback.extract_tb(context.__cause__.__traceback__)[-1].name == "raising"


def test_a_context_that_is_not_shown_is_not_sent():
    def quietly():
        try:
            with_cause()
        except Custom:
            raise ValueError("alone") from None

    arrived = travelled(failure(quietly))

    assert arrived.__context__ is None
    assert describe(failure(quietly)).chain == ()


def test_exceptions_that_lead_to_each_other_are_sent_once():
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first

    arrived = travelled(first)

    assert isinstance(arrived.__cause__, KeyError)
    assert arrived.__cause__.__cause__ is None


def test_of_a_long_chain_the_latest_are_sent():
    def chain(left):
        try:
            if left:
                chain(left - 1)
        finally:
            raise Custom(left)

    arrived = travelled(failure(chain, 50))

    numbers = []
    while arrived is not None:
        numbers.append(arrived.number)
        arrived = arrived.__context__
    assert numbers == list(range(50, 50 - CHAINED - 1, -1))


def test_an_exception_without_a_readable_cause_arrives_without_one():
    class Secretive(Exception):
        __cause__ = property(leave)

    fault = describe(Secretive("no"))

    assert fault.chain == ()
    assert fault.text == f"{Secretive.__qualname__}: no\n"
    assert type(restore(fault)).__name__ == "Secretive"


# ---- exceptions that cannot travel


class Unpicklable(Exception):
    def __init__(self):
        super().__init__("has a lock")
        self.lock = threading.Lock()


class Unloadable(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class Turncoat(Exception):
    def __reduce__(self):
        return list, ()


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (Unpicklable(), "cannot send the exception Unpicklable: `.lock` is a _thread.lock"),
        (Unloadable(1, 2), "cannot load the exception Unloadable: `Unloadable` cannot be made again"),
        (Turncoat("who"), "it became a list here"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_travel_arrives_as_text_with_the_reason(error, trouble):
    error = failure(raising, error)

    arrived = travelled(error)

    assert type(arrived) is RemoteError
    assert str(arrived).startswith(f"{type(error).__name__}: {error}\n(")
    assert re.search(trouble, str(arrived))
    assert traceback.extract_tb(arrived.__traceback__)[-1].name == "raising"


def test_what_cannot_be_loaded_here_any_more_arrives_as_text():
    fault = describe(failure(raising, Custom(1)))

    arrived = restore(fault._replace(payload=b"damaged"))

    assert type(arrived) is RemoteError
    assert str(arrived).startswith("Custom: 1\n(cannot load the exception Custom: ")


def test_an_exception_that_breaks_whatever_is_asked_of_it_is_named_by_its_type():
    class Broken(Exception):
        def __getattribute__(self, name):
            raise SystemExit(name)

    fault = describe(Broken())

    name = Broken.__qualname__
    assert (fault.kind, fault.message, fault.text) == (name, NO_TEXT, f"{name}: {NO_TEXT}\n")
    assert str(restore(fault)) == f"{name}: {NO_TEXT}\n(looking at it failed, too)"


def test_an_exception_whose_class_refuses_attributes_still_has_its_frames_and_cause():
    class Frozen(Exception):
        def __setattr__(self, name, value):
            raise AttributeError(name)

        def with_traceback(self, trace):
            raise AttributeError("with_traceback")

    def act():
        try:
            raising(KeyError("first"))
        except KeyError as error:
            frozen = Frozen("no")
            BaseException.__setattr__(frozen, "__cause__", error)
            raising(frozen)

    arrived = travelled(failure(act))

    assert isinstance(arrived.__cause__, KeyError)
    assert traceback.extract_tb(arrived.__traceback__)[-1].name == "raising"


# ---- text and lines


def test_lines_that_only_the_notebooks_process_knows_are_added_to_the_text(with_lines):
    text = "def fail(x):\n    return 1 / x\n\ndef call():\n    return fail(0)\n"
    fault = describe(failure(cell(text)["call"]))
    assert "return 1 / x" not in fault.text

    with_lines(text)

    lines = [line.strip() for line in fault.text_with_lines.splitlines()]
    at = lines.index(f'File "{NOWHERE}", line 2, in fail')
    assert lines[at + 1] == "return 1 / x"
    assert lines[lines.index(f'File "{NOWHERE}", line 5, in call') + 1] == "return fail(0)"
    assert fault.text_with_lines.count("return 1 / x") == 1


def test_lines_that_nobody_knows_are_left_out():
    fault = describe(failure(cell("def fail():\n    return 1 / 0\n")["fail"]))

    assert fault.text_with_lines == fault.text


def test_text_that_cannot_be_encoded_is_escaped():
    fault = describe(failure(raising, ValueError("caf\udce9")))

    assert fault.message == "caf\\udce9"
    fault.text.encode()


# ---- frames


def in_library(name):
    """Return the file name of a module of nbpar's remote side."""
    return LIBRARY[0] + name


def test_frames_of_the_worker_loop_are_not_shown():
    run = cell("def run(function):\n    return function()\n", in_library("loop.py"))["run"]
    error = failure(run, lambda: 1 / 0)
    error.__traceback__ = error.__traceback__.tb_next  # of pytest and this file

    fault = describe(error)

    assert [frame[1] for frame in fault.frames][-1] == "<lambda>"
    assert not any(frame[0].startswith(LIBRARY) for frame in fault.frames)
    assert "loop.py" not in fault.text


def test_an_exception_of_the_library_alone_has_no_frames():
    act = cell("def act():\n    1 / 0\n", in_library("act.py"))["act"]
    error = failure(act)
    error.__traceback__ = error.__traceback__.tb_next

    fault = describe(error)

    assert fault.frames == ()
    assert isinstance(restore(fault), ZeroDivisionError)
    assert restore(fault).__traceback__ is None


def test_a_recursion_shows_each_line_a_few_times():
    def descend(left):
        if left:
            return descend(left - 1)
        return raising(Custom(0))

    frames = describe(failure(descend, 300)).frames

    names = [frame[1] for frame in frames]
    assert names.count("descend") == REPEATED + 1  # and once at its last line
    assert names[-1] == "raising"


def test_of_many_different_frames_the_outermost_and_innermost_are_sent():
    names = {}
    for number in range(100):
        below = f"f{number - 1}()" if number else "1 / 0"
        exec(compile(f"def f{number}(): return {below}", f"{number}.py", "exec"), names)

    frames = describe(failure(names["f99"])).frames

    assert len(frames) == FRAMES
    assert frames[-1][1] == "f0"
    assert frames[FRAMES // 2 - 1][1] == "f81"
    assert frames[FRAMES // 2][1] == f"f{FRAMES // 2 - 1}"


@pytest.mark.parametrize(
    ("code", "span"),
    [
        (SimpleNamespace(), (7, 0, 0)),  # Python 3.10 has no columns
        (SimpleNamespace(co_positions=lambda: iter([(7, 7, 0, 1), (7, 8, 4, 9)])), (8, 4, 9)),
        (SimpleNamespace(co_positions=lambda: iter([(7, 7, 0, 1), (7, 8, None, 9)])), (7, 0, 0)),
        (SimpleNamespace(co_positions=lambda: iter([])), (7, 0, 0)),
    ],
)
def test_the_span_of_an_expression_is_sent_where_it_is_known(code, span):
    trace = SimpleNamespace(tb_frame=SimpleNamespace(f_code=code), tb_lasti=2)

    assert faults._span(trace, 7) == span


def test_generated_code_may_have_any_line_and_name():
    frames = (
        ("file.py", "f", 3, 1, (3, 0, 4)),
        ("\0", "g", -(2**40), 0, (-1, -1, -1)),
        ("", "h", 2, 9, (1, 0, 0)),
    )
    fault = describe(failure(raising, Custom(1)))._replace(frames=frames)

    arrived = restore(fault)

    shown = [(code.co_name, line) for code, line in walked(arrived.__traceback__)]
    assert shown[0] == ("f", 3)
    assert shown[-1] == ("h", 2)


def walked(trace):
    return [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)]


def test_frames_are_made_where_no_thread_can_be_started(monkeypatch):
    def full(_):
        raise RuntimeError("can't start new thread")

    fault = describe(failure(cell("def alone():\n    1 / 0\n", f"{NOWHERE}.alone")["alone"]))
    monkeypatch.setattr(threading.Thread, "start", full)

    arrived = restore(fault)

    assert [code.co_name for code, _ in walked(arrived.__traceback__)][-1] == "alone"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no groups")
def test_lines_within_an_exception_group_are_added_too(with_lines):
    text = "def fail():\n    return 1 / 0\n"
    group = failure(
        raising,
        ExceptionGroup("two", [failure(cell(text)["fail"]), ValueError("other")]),  # noqa: F821
    )
    fault = describe(group)

    with_lines(text)

    assert "\n    |     return 1 / 0\n" in fault.text_with_lines.replace("+ ", "| ")
