"""Finished outcomes are sent while another item of the call runs, and unstarted items can be recalled."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from nbpar.core.call_style import CallStyle
from nbpar.wire.faults import describe, restore
from nbpar.wire.messages import Begin, Begun, Call, Cut, Done, Load, Output, Ping, Pong, Release, Shortened
from nbpar.wire.pickling import digest, pack, pack_one, unpack
from nbpar.worker.codec import Pickled
from nbpar.worker.execution import Execution
from nbpar.worker.loop import Loop
from nbpar.worker.output.recorder import OutputRecorder
from nbpar.worker.signals import Interrupts

LAST = 5
"""The item that lasts, in most of these tests."""

gates: dict[str, threading.Event] = {}
"""By the name of the test: functions travel as bytes, and find their gate here."""


def waits(name):
    assert gates[name].wait(60)


def begins():
    gates["begun"].set()


class Client:
    """The other side of a loop in this process, which runs in the test's thread."""

    ended = False

    def __init__(self, function, items, *, timed=False, spread=CallStyle.ONE, timeout=None):
        packed = pack_one(function)
        body, _ = pack(items)
        call = Call(
            7, 1, digest(packed), 0, spread.value, timed, False, timeout, None, 0, {}, body
        )  # fmt: skip
        self.coming = [Begin(1, (), ()), Load(digest(packed), "function", packed), call]
        self.sent = []
        self.changed = threading.Condition()
        self.then = lambda: None

    def poll(self, timeout):
        with self.changed:
            self.changed.wait_for(lambda: self.coming, timeout)

    def wake(self):
        """Wake no thread: no wait lasts long."""

    def receive(self, timeout):
        with self.changed:
            messages, self.coming = self.coming, []
        return messages

    def send(self, messages):
        with self.changed:
            self.sent += messages
            if any(isinstance(message, Done) and message.final for message in messages):
                self.coming.append(Release())
            self.changed.notify_all()

    def say(self, message):
        with self.changed:
            self.coming.append(message)
            self.changed.notify_all()

    def wait_for(self, kind):
        """Return the first message of a kind, once it is there."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.said(kind), 60), f"no {kind.__name__} came"
        return self.said(kind)[0]

    def said(self, kind):
        return [message for message in self.sent if isinstance(message, kind)]

    def outcomes(self):
        """Return values by index; none may come twice."""
        values = {}
        for done in self.said(Done):
            assert done.first == len(values)
            values.update(enumerate(unpack(done.values)[0], done.first))
        return values


def serve(client, during):
    """Serve a client, and do something meanwhile in a thread of its own."""
    errors = []

    def do():
        try:
            during()
        except BaseException as error:
            errors.append(error)
        finally:
            for gate in gates.values():
                gate.set()

    other = threading.Thread(target=do, daemon=True)
    with Interrupts() as interrupts:
        loop = Loop(client, Pickled(), interrupts=interrupts, facts={}, silence=60.0)
        client.loop = loop
        other.start()
        loop.serve()
    other.join(60)
    if errors:
        raise errors[0]


@pytest.fixture
def gate(request):
    """A gate that functions find under the name that is returned."""
    gates[request.node.name] = threading.Event()
    yield request.node.name
    gates.clear()


def lasting(name):
    def function(n):
        if n == LAST:
            waits(name)
        return n * 10

    return function


@pytest.mark.parametrize(
    "limits", [{}, {"timed": True}, {"timeout": 60.0}], ids=["short", "timed", "limited"]
)
def test_what_is_done_does_not_wait_for_an_item_that_lasts(gate, limits):
    client = Client(lasting(gate), list(range(9)), **limits)

    def meanwhile():
        done = client.wait_for(Done)
        assert (done.first, unpack(done.values)[0], done.final) == (0, [0, 10, 20, 30, 40], False)
        assert len(done.each) in (0, 5)

    serve(client, meanwhile)

    assert client.outcomes() == {n: 10 * n for n in range(9)}
    seconds = [done.seconds for done in client.said(Done)]
    assert min(seconds) >= 0
    assert sum(len(done.each) for done in client.said(Done)) in (0, 9)


def test_failures_and_what_was_printed_come_with_it(gate, monkeypatch):
    def function(n):
        if n == 1:
            raise ValueError("one")
        if n == LAST:
            waits(gate)
        return n

    client = Client(function, list(range(8)))
    printed = [(2, "stdout", "two\n")]

    def meanwhile():
        done = client.wait_for(Done)
        assert {place: str(restore(fault)) for place, fault in done.faults.items()} == {1: "one"}
        assert client.wait_for(Output).pieces == ((2, "stdout", "two\n"),)
        kinds = [type(message) for message in client.sent]
        assert kinds.index(Output) < kinds.index(Done)

    def take(recorder, *, over=False):
        pieces = tuple(printed)
        printed.clear()
        return pieces

    monkeypatch.setattr(OutputRecorder, "take", take)
    serve(client, meanwhile)

    assert client.outcomes() == {n: None if n == 1 else n for n in range(8)}
    later = [done.faults for done in client.said(Done)][1:]
    assert later
    assert not any(later)


def test_a_result_that_cannot_be_sent_waits_with_those_after_it(gate):
    def function(n):
        if n == LAST:
            waits(gate)
        return threading.Lock() if n == 2 else n

    client = Client(function, list(range(8)))

    def meanwhile():
        done = client.wait_for(Done)
        assert (unpack(done.values)[0], done.faults) == ([0, 1], {})

    serve(client, meanwhile)

    assert client.outcomes() == {n: None if n == 2 else n for n in range(8)}
    faults = {done.first + at for done in client.said(Done) for at in done.faults}
    assert faults == {2}


@pytest.mark.parametrize("timed", [False, True])
def test_a_call_that_is_cut_ends_with_the_item_at_hand(gate, timed):
    client = Client(lasting(gate), list(range(600)), timed=timed)

    def meanwhile():
        client.wait_for(Done)
        client.say(Cut(7))
        assert client.wait_for(Shortened) == Shortened(7, LAST + 1)

    serve(client, meanwhile)

    assert client.outcomes() == {n: 10 * n for n in range(LAST + 1)}
    finals = [done.final for done in client.said(Done)]
    assert finals.count(True) == 1
    assert not any(done.faults for done in client.said(Done))


def test_the_last_item_of_a_call_that_was_cut_may_fail(gate):
    def function(n):
        if n == LAST:
            waits(gate)
            raise StopIteration
        return n

    client = Client(function, list(range(600)))

    def meanwhile():
        client.wait_for(Done)
        client.say(Cut(7))
        client.wait_for(Shortened)

    serve(client, meanwhile)

    assert client.outcomes() == {**{n: n for n in range(LAST)}, LAST: None}
    last = client.said(Done)[-1]
    assert isinstance(restore(last.faults[0]), StopIteration)


def test_items_that_are_given_to_the_function_all_at_once_are_not_cut(gate):
    begun = gates["begun"] = threading.Event()

    def function(batch):
        begins()
        waits(gate)
        return [n + 1 for n in batch]

    client = Client(function, list(range(4)), spread=CallStyle.BATCH)

    def meanwhile():
        assert begun.wait(60)
        client.say(Cut(7))
        client.say(Ping(1))
        client.wait_for(Pong)
        client.say(Ping(2))  # it is answered after the attendant has looked
        with client.changed:
            assert client.changed.wait_for(lambda: len(client.said(Pong)) == 2, 60)

    serve(client, meanwhile)

    assert client.outcomes() == {n: n + 1 for n in range(4)}
    assert not client.said(Shortened)


def test_a_call_that_has_not_begun_goes_back_whole_when_it_is_to_be_cut(gate):
    client = Client(lasting(gate), list(range(6)))
    waiting = client.coming[-1]._replace(id=8)
    client.coming.append(waiting)

    def meanwhile():
        client.wait_for(Done)
        client.say(Cut(8))
        with client.changed:
            assert client.changed.wait_for(lambda: [done for done in client.said(Done) if done.id == 8], 60)

    serve(client, meanwhile)

    of_it = [done for done in client.said(Done) if done.id == 8]
    assert [(done.final, unpack(done.values)[0]) for done in of_it] == [(True, [])]


@pytest.mark.parametrize("timed", [False, True])
def test_whoever_looks_at_any_moment_nothing_is_lost_or_told_twice(timed):
    call = Call(1, 1, b"", 100, CallStyle.ONE.value, timed, False, None, None, 0, {}, None)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for cut_at in range(0, 600, 10):
            ran = []

            def function(n, ran=ran):
                ran.append(n)
                if n % 50 == 7:
                    raise ValueError(n)
                return n

            execution = Execution(
                function, list(range(700)), call, {}, interrupts=Interrupts(), describe=describe
            )
            over, told, cut = threading.Event(), [], []

            def look(execution=execution, over=over, told=told, cut=cut, ran=ran, cut_at=cut_at):
                while not over.is_set():
                    first, values, faults, seconds, _ = execution.early_news(time.perf_counter())
                    execution.tell_early(len(values), seconds, time.perf_counter())
                    told.append((first, values, faults))
                    if not cut and len(ran) > cut_at:
                        cut.append(execution.cut())

            thread = threading.Thread(target=look, daemon=True)
            thread.start()
            while not execution.finished:
                execution.advance()
            over.set()
            thread.join(60)
            first, values, faults, *_ = execution.news()
            told.append((first, values, faults))

            outcomes = [value for _, values, _ in told for value in values]
            failed = {first + at for first, _, faults in told for at in faults}
            number = len(ran)
            assert ran == list(range(number))
            assert outcomes == [None if n % 50 == 7 else n for n in range(number)]
            assert failed == {100 + n for n in range(7, number, 50)}
            assert number == (cut[0] if cut and cut[0] is not None else 700)
    finally:
        sys.setswitchinterval(interval)


def begun_after(client, seconds):
    client.coming[0] = client.coming[0]._replace(begun_after=seconds)
    return client


def test_an_item_that_lasts_is_told_to_have_begun_once_where_that_is_wanted(gate):
    client = begun_after(Client(lasting(gate), list(range(9))), 0.05)

    def meanwhile():
        begun = client.wait_for(Begun)
        assert begun.items == LAST + 1
        assert begun.age >= 0.05

    serve(client, meanwhile)

    assert len(client.said(Begun)) == 1
    assert client.outcomes() == {n: 10 * n for n in range(9)}


def test_nothing_is_told_of_items_that_are_over_before(gate):
    client = begun_after(Client(lasting(gate), list(range(9))), 1000.0)

    serve(client, lambda: client.wait_for(Done))

    assert client.said(Begun) == []
