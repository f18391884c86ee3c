"""Collaboration: the message names the kind of the unpicklable object, and the remedy."""

from __future__ import annotations

import asyncio
import ctypes
import io
import pickle
import queue
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import types
import weakref

import pytest
from unpicklable import reason

from nbpar.wire.diagnosis.explain import explain
from nbpar.wire.diagnosis.remedies import remedy_for


def a_generator():
    yield


def a_frame():
    return sys._getframe()


def a_traceback():
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018
    return caught.tb


@pytest.mark.parametrize(
    ("make", "kind", "remedy"),
    [
        (threading.Lock, "a _thread.lock", "make it inside the function"),
        (threading.Event, "a threading.Event", "make it inside the function"),
        (threading.local, "a _thread._local", "make it inside the function"),
        (threading.Thread, "a threading.Thread", "start it inside the function"),
        (queue.Queue, "a queue.Queue", "make it inside the function"),
        (queue.SimpleQueue, "a _queue.SimpleQueue", "make it inside the function"),
        (a_generator, "a generator", "turn it into a list first"),
        (a_frame, "a frame", "keep its text instead"),
        (a_traceback, "a traceback", "keep its text instead"),
        (lambda: weakref.ref(threading.Thread), "a weakref.ReferenceType", "hold the object itself"),
        (lambda: ctypes.pointer(ctypes.c_int(3)), "an? .*LP_c_int", "send the value"),
        (lambda: re.match("a", "a"), "a re.Match", "send what it found"),
    ],
)
def test_each_kind_has_its_remedy(make, kind, remedy):
    pattern = rf"`\['it'\]` is {kind}, which cannot be pickled; .*{remedy}"

    assert re.match(pattern, reason({"it": make()}))


def test_connections_are_made_inside_the_function():
    with socket.socket() as connection:
        assert "is a socket.socket, which cannot be pickled; connect inside" in reason([connection])
    database = sqlite3.connect(":memory:")
    assert "is a sqlite3.Connection, which cannot be pickled; connect inside" in reason([database])
    database.close()


def test_a_connection_of_an_unknown_database_driver_is_recognised_by_its_name():
    class Connection:
        def __reduce__(self):
            raise TypeError("no default __reduce__ due to non-trivial __cinit__")

    assert reason([Connection()]).startswith("`[0]` is a ")


def test_a_coroutine_is_awaited_first():
    async def fetch():
        pass

    coroutine = fetch()
    assert "is a coroutine, which cannot be pickled; await it first; a map with `concurrency=`" in reason(
        [coroutine]
    )
    coroutine.close()


def test_an_event_loop_is_blamed_rather_than_what_it_holds():
    loop = asyncio.new_event_loop()
    text = reason(lambda: loop)
    loop.close()

    assert text.startswith("its variable `loop` is an asyncio.")
    assert text.endswith("which cannot be pickled; start it inside the function")


def test_a_subprocess_is_blamed_rather_than_its_lock():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()

    assert reason([process]).startswith("`[0]` is a subprocess.Popen, which")


def test_a_queue_is_blamed_rather_than_its_lock():
    class Stage:
        def __init__(self):
            self.inbox = queue.Queue()

    assert reason(Stage()).startswith("`.inbox` is a queue.Queue, which")


def test_an_object_of_a_library_is_made_where_it_is_used():
    from concurrent.futures import ThreadPoolExecutor
    from logging.handlers import MemoryHandler

    library = types.SimpleNamespace(executor=ThreadPoolExecutor(1))
    assert "`.executor` is a concurrent.futures.thread.ThreadPoolExecutor" in reason(library)
    handler = MemoryHandler(1)
    assert "call `logging.getLogger` inside the function instead" in reason(handler)
    handler.close()


def test_a_reduction_that_raises_is_shown_with_what_it_raised():
    class Job:
        def __reduce__(self):
            raise ValueError("not\nme")

    assert reason({"job": Job()}).endswith("Job, whose `__reduce__` raised ValueError: not me")


def test_a_state_that_raises_is_shown_with_what_it_raised():
    class Job:
        def __getstate__(self):
            raise RuntimeError

    job = Job()

    assert re.match(
        r"its variable `job` is a .*Job, whose `__getstate__` raised RuntimeError$", reason(lambda: job)
    )


def test_an_error_that_cannot_be_printed_does_not_hide_the_culprit():
    class BadError(Exception):
        def __str__(self):
            raise ValueError("no text")

    class Job:
        def __reduce__(self):
            raise BadError

    assert reason([Job()]).endswith("whose `__reduce__` raised BadError")


def test_a_very_long_error_is_cut():
    class Job:
        def __reduce__(self):
            raise ValueError("x" * 10_000)

    assert len(reason(Job())) < 400


def test_a_class_that_hides_another_of_its_name_is_named():
    class Hidden:
        pass

    Hidden.__module__, Hidden.__qualname__ = "json", "JSONDecoder"
    with pytest.raises(pickle.PicklingError) as caught:
        pickle.dumps(Hidden)

    assert "not the same object as json.JSONDecoder; plain pickle sends" in explain(
        Hidden, caught.value, what="it"
    )


def test_a_result_gets_no_advice_for_its_sender(log):
    text = reason(log, what="the result of item 3")

    assert text == "it is a TextIOWrapper, which cannot be pickled; return plain data instead"


def test_a_result_that_is_a_generator_can_be_made_a_list():
    assert reason(a_generator(), what="the result of item 3").endswith(
        "; turn it into a list first: `list(...)`"
    )


# ---- by plain pickle


def test_a_lambda_under_plain_pickle_is_told_to_have_a_name():
    function = lambda: None  # noqa: E731
    with pytest.raises((pickle.PicklingError, AttributeError)) as caught:
        pickle.dumps(function)

    assert explain(function, caught.value, what="it").endswith(
        "define it with `def` or `class` at the top of a module"
    )


def test_an_error_that_does_not_come_back_is_explained_by_its_text():
    assert explain([1], TypeError("cannot pickle 'generator' object"), what="it") == (
        "cannot send it: somewhere in it is a generator, which cannot be pickled;"
        " turn it into a list first: `list(...)`"
    )
    assert explain([1], OSError("disk"), what="it") == "cannot send it: OSError: disk"


def test_a_container_that_changed_while_it_was_read_is_not_blamed_on_its_last_item():
    class Entries:
        def __reduce__(self):
            return list, (), None, self.items()

        def items(self):
            yield threading.Thread  # innocent: it travels by name
            raise RuntimeError("dictionary changed size during iteration")

    assert reason(Entries()) == "RuntimeError: dictionary changed size during iteration"


def test_a_class_that_cannot_be_sent_is_called_a_class():
    class Meta(type):
        @property
        def __bases__(cls):
            raise ValueError("secret")

    local = Meta("Secret", (), {})

    assert reason([local]).startswith("`[0]` is the class `test_diagnosis_kinds.Secret`, which cannot be")


def test_a_function_that_cannot_be_sent_is_called_a_function():
    def odd():
        return 1

    odd.__module__ = []

    assert reason({"f": odd}).startswith("`['f']` is the function `odd`, which cannot be pickled (TypeError:")


@pytest.mark.parametrize("kind", [io.StringIO, io.BytesIO])
def test_text_in_memory_is_no_open_file(kind):
    assert remedy_for(kind) is None
    assert remedy_for(io.FileIO) == "open the file inside the function"
