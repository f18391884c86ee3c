"""An exception at any line of the worker's loop loses no outcome and falsifies none.

Timers and threads that an item leaves behind raise wherever the main thread happens to be.  A
trace function does the same here, at one line after the other.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections import deque
from contextlib import suppress

import pytest
from strike_places import leaves_a_block

from nbpar.backends.threads import _ThreadTransport
from nbpar.endpoint.code import FunctionCode
from nbpar.endpoint.payload import pack_code
from nbpar.wire.messages import Begin, Bye, Call, Close, Done, Items, Load, Open, Output, Ping, Ready, Release
from nbpar.wire.pickling import digest, pack, pack_one, unpack
from nbpar.worker.cleanup import ItemCleanup, Leftovers
from nbpar.worker.codec import Pickled
from nbpar.worker.loop import Loop
from nbpar.worker.run_setup import WorkerHooks
from nbpar.worker.signals import Interrupts

ITEMS = 9
"""Number of items in all calls."""


USERS = {"_make", "unpack", "pack"}
"""Our functions that unpickle and pickle users' objects."""


class Foreign(BaseException):
    """An exception that belongs to no item."""


class Way:
    """A client that sends its messages one by one, and lets the worker go when it has all outcomes."""

    ended = False

    def __init__(self, messages, wanted=ITEMS):
        self.coming = deque(messages)
        self.sent = []
        self.wanted = wanted

    def poll(self, timeout):
        """Do not wait: pending messages can be read at once."""

    def wake(self):
        """Wake no thread."""

    def receive(self, timeout):
        if self.coming:
            return [self.coming.popleft()]
        return [Release()] if len(self.outcomes()) >= self.wanted else []

    def send(self, messages):
        self.sent += messages

    def outcomes(self):
        """Return values by index, those that failed left out; no outcome may come twice."""
        values = {}
        for done in (message for message in self.sent if isinstance(message, Done)):
            for place, value in enumerate(unpack(done.values)[0]):
                assert done.first + place not in values
                values[done.first + place] = value
            assert all(place < len(unpack(done.values)[0]) for place in done.faults)
        return values

    def failed(self):
        dones = [message for message in self.sent if isinstance(message, Done)]
        return {done.first + place for done in dones for place in done.faults}


def double(n):
    return n * 2


def messages():
    packed = pack_one(double)

    def call(number, first, count, *, timed=False, timeout=None):
        body, _ = pack(list(range(first, first + count)))
        return Call(
            number, 1, digest(packed), first, "one", timed, False, timeout, None, 0, {}, body
        )  # fmt: skip

    calls = [call(1, 0, 1), call(2, 1, 4), call(3, 5, 2, timed=True), call(4, 7, 2, timeout=60.0)]
    return [Begin(1, (), ()), Load(digest(packed), "double", packed), *calls]


def callers(frame):
    """Return the names of the functions that are under way."""
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names


class Striker:
    """Raises at one line of nbpar's code in this thread."""

    def __init__(self, strike_at):
        self.left = strike_at
        self.struck = ""
        self.loading = False
        """It struck where the user's code may run, which then has failed, as if by itself."""

    def trace(self, frame, event, arg):
        return self.trace_lines if "nbpar" in frame.f_code.co_filename else None

    def trace_lines(self, frame, event, arg):
        if event == "line" and not self.struck and not leaves_a_block(frame):
            self.left -= 1
            if not self.left:
                self.struck = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                self.loading = not USERS.isdisjoint(callers(frame))
                raise Foreign
        return self.trace_lines


def serve(way, striker):
    """Serve a client while something strikes; return what ended the loop before its time, or None."""
    before = sys.gettrace()
    with Interrupts() as interrupts:
        loop = Loop(way, Pickled(), interrupts=interrupts, facts={}, silence=30.0)
        sys.settrace(striker.trace)
        try:
            loop.serve(WorkerHooks(ItemCleanup(Leftovers(whole_process=True))))
        except Foreign as error:
            return error
        finally:
            sys.settrace(before)
    return None


@pytest.mark.timeout(120)
def test_a_strike_at_any_line_costs_one_item_or_the_loop_and_never_the_truth():
    strikes = survived = 0
    striker = Striker(1)
    while not strikes or striker.struck:
        strikes += 1
        striker = Striker(strikes)
        way = Way(messages())

        ended = serve(way, striker)

        values, failed = way.outcomes(), way.failed()
        assert {n: 2 * n for n in values if n not in failed} == {
            n: values[n] for n in values if n not in failed
        }, striker.struck
        assert len(failed) <= 1 or striker.loading, striker.struck
        if ended is None:
            survived += 1
            assert set(values) == set(range(ITEMS)), striker.struck

    assert survived > strikes / 2


def test_what_struck_while_the_loop_waited_is_told_with_the_next_outcomes():
    class Struck(Way):
        def poll(self, timeout):
            if self.coming and isinstance(self.coming[0], Call) and not threading.current_thread().daemon:
                self.poll = lambda _: None
                raise Foreign("late")

    way = Struck(messages())

    assert serve(way, Striker(0)) is None

    told = [piece for message in way.sent if isinstance(message, Output) for piece in message.pieces]
    assert [(kind, content["kinds"][0][1]) for _, kind, content in told] == [
        ("warning", "StrayExceptionWarning")
    ]
    assert told[0][2]["text"].startswith("Foreign: late was raised between two items and dropped")
    assert (len(way.outcomes()), way.failed()) == (ITEMS, set())


def test_a_loop_that_is_struck_again_and_again_ends():
    class Struck(Way):
        def poll(self, timeout):
            raise Foreign("again")

    with pytest.raises(Foreign, match="again"), Interrupts() as interrupts:
        Loop(Struck([]), Pickled(), interrupts=interrupts, facts={}, silence=30.0).serve()


def test_code_of_a_channel_that_a_strike_ends_closes_it(monkeypatch):
    def code(channel):
        raise AssertionError("it is struck before it begins")

    way = Way([Open(1, "main", 10, 10, pack_code(FunctionCode(code, {}), None, name="code"))], wanted=0)
    with Interrupts() as interrupts:
        loop = Loop(way, Pickled(), interrupts=interrupts, facts={}, silence=30.0)

        def struck(opened):
            raise Foreign("before the code")

        monkeypatch.setattr(loop.channels, "run_main", struck)

        assert loop.serve() == "released"

    assert [type(message).__name__ for message in way.sent] == ["Ready", "Close", "Bye"]
    assert way.sent[1].fault.kind == "Foreign"
    assert isinstance(way.sent[0], Ready)
    assert isinstance(way.sent[-1], Bye)


class Talking(Way):
    """A client that lets the worker go once the channel is closed."""

    def receive(self, timeout):
        if self.coming or any(isinstance(message, Close) for message in self.sent):
            return super().receive(timeout)
        return []

    def outcomes(self):
        return range(ITEMS)


def echo(channel):
    for item in channel:
        channel.send(item)


@pytest.mark.timeout(240)
def test_a_strike_at_any_line_of_a_channels_operations_leaves_no_worker_that_is_silent():
    code = pack_code(FunctionCode(echo, {}), None, name="echo")
    strikes, striker = 0, Striker(1)
    while not strikes or striker.struck:
        strikes += 1
        striker = Striker(strikes)
        come = [Items(1, [10]), Items(1, [20]), Items(1, [30]), Close(1, True, None)]
        way = Talking([Open(1, "main", 10, 1000, code), *come])

        ended = serve(way, striker)

        back = [value for message in way.sent if isinstance(message, Items) for value in message.values]
        assert back == [10, 20, 30][: len(back)], striker.struck
        if ended is None:  # the channel's end was told, and why if it came too early
            closed = [message.fault for message in way.sent if isinstance(message, Close)]
            assert closed, striker.struck
            assert len(back) == 3 or closed[0] is not None, striker.struck
    assert strikes > 100


def test_a_strike_while_a_thread_of_this_process_waits_loses_no_message():
    strikes, striker = 0, Striker(1)
    while not strikes or striker.struck:
        strikes += 1
        striker = Striker(strikes)
        way = _ThreadTransport("thread 0", queue.SimpleQueue())
        way.inbox.put([Ping(1), Ping(2)])
        way.inbox.put([Ping(3)])
        before = sys.gettrace()
        sys.settrace(striker.trace)
        try:
            with suppress(Foreign):
                way.poll(60.0)
        finally:
            sys.settrace(before)

        assert way.receive(0.0) == [Ping(1), Ping(2), Ping(3)], striker.struck
    assert strikes > 3
