"""A caller that waits for an item reads the engine's messages itself, while the pool's thread sleeps."""

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import zmq

from nbpar.backends.engines.low_latency import LowLatencySockets, ReaderToken, avoid, core_of
from nbpar.backends.engines.sockets import POLLIN, Poller
from nbpar.testing import until
from nbpar.wire.frames import encode
from nbpar.wire.messages import Items, Pong
from nbpar.wire.signing import Correspondence, Signer
from nbpar.worker.mail.transports import StreamTransport, connect_stream
from nbpar.worker.mail.wakeup import Wakeup
from nbpar.worker.spin import AdaptiveSpin

ENGINE = b"an engine"

pytestmark = pytest.mark.skipif(not Poller.at_once, reason="only where a descriptor can be muted at any time")
tells_cores = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell")


class FarEngine:
    """Speaks through what the client takes for its controller."""

    def __init__(self, controller, client, key):
        self._controller = controller
        self._letters = Correspondence(Signer(key), ENGINE, client)

    def send(self, messages):
        to, *letter = self._letters.enclosed(encode(messages))
        letter = [to, ENGINE, *letter]  # a controller puts the sender there
        until(lambda: self._has_gone(letter))

    def _has_gone(self, letter):
        try:
            self._controller.send_multipart(letter)
        except zmq.ZMQError:  # the client is not there yet
            return False
        return True


@pytest.fixture
def controller():
    context = zmq.Context()
    controller = context.socket(zmq.ROUTER)
    controller.router_mandatory = True  # an error until the client is there
    yield controller
    controller.close(linger=0)
    context.term()


@pytest.fixture
def sockets(tmp_path, controller):
    port = controller.bind_to_random_port("tcp://127.0.0.1")
    client = SimpleNamespace(
        session=SimpleNamespace(key=b"a key"), _config={"control": f"tcp://127.0.0.1:{port}"},
        curve_serverkey=None, curve_secretkey=None, curve_publickey=None,
    )  # fmt: skip
    sockets = LowLatencySockets(client, tmp_path)
    yield sockets
    sockets.close()


@pytest.fixture
def near_engine(sockets):
    sockets.admit(ENGINE)
    engine = StreamTransport(connect_stream(sockets.address), ENGINE)
    until(lambda: sockets.receive(0) == [] and sockets._local.connection(ENGINE))
    yield engine
    engine.close()


@pytest.fixture
def far_engine(sockets, controller):
    sockets.admit(ENGINE)
    engine = FarEngine(controller, sockets.identity, b"a key")
    engine.send([Pong(0)])
    until(lambda: sockets.receive(0.05))
    return engine


@pytest.fixture(params=["near_engine", "far_engine"])
def engine(request):
    return request.getfixturevalue(request.param)


@contextmanager
def asleep(sockets):
    """As if the pool's thread waited for something to happen."""
    sockets._turn.lay_down()
    yield
    sockets._turn.take_up()


class Listener:
    """Takes items and leaves everything else."""

    def __init__(self, sockets):
        self.sockets = sockets
        self.items = []

    def take(self, messages):
        for place, message in enumerate(messages):
            if not isinstance(message, Items):
                return messages[place:]
            self.items += message.values
        return []

    def listen(self, ready):
        self.sockets.listen(ENGINE, self.take, ready, AdaptiveSpin())


def test_an_item_reaches_the_one_who_waits_for_it(sockets, engine):
    listener = Listener(sockets)

    with asleep(sockets):
        engine.send([Items(1, ["a"])])
        until(lambda: listener.listen(lambda: listener.items) or listener.items)

    assert listener.items == ["a"]
    assert sockets.receive(0) == []


def test_what_is_not_for_it_is_received_as_usual_with_all_that_follows(sockets, engine):
    listener = Listener(sockets)

    with asleep(sockets):
        engine.send([Items(1, ["a"]), Pong(1), Items(1, ["b"])])
        engine.send([Items(1, ["c"])])
        until(lambda: listener.listen(lambda: False) or listener.items)
        listener.listen(lambda: False)
    received = []
    until(lambda: received.extend(sockets.receive(0)) or sum(len(messages) for _, messages in received) > 2)

    assert listener.items == ["a"]
    assert [message for _, messages in received for message in messages] == [
        Pong(1), Items(1, ["b"]), Items(1, ["c"]),
    ]  # fmt: skip


def test_nobody_reads_while_the_pools_thread_is_awake(sockets, engine):
    listener = Listener(sockets)
    engine.send([Items(1, ["a"])])

    listener.listen(lambda: False)

    assert listener.items == []
    assert sockets.receive(1.0) == [(ENGINE, [Items(1, ["a"])])]


@pytest.mark.parametrize("end", ["closed", "garbage"])
def test_the_pools_thread_learns_of_an_end_that_another_has_read(sockets, near_engine, end):
    with asleep(sockets):
        if end == "closed":
            near_engine.close()
        else:
            near_engine._socket.send(b"\xff" * 64)
        until(
            lambda: (
                Listener(sockets).listen(lambda: False) or sockets._local.connection(ENGINE).incoming.ended
            )
        )

    until(lambda: sockets.receive(0) == [] and sockets.cut)
    assert sockets.cut == [ENGINE]


def test_a_turn_is_lent_only_until_its_owner_wakes():
    turn = ReaderToken()
    assert not turn.borrow()

    turn.lay_down()
    assert turn.borrow()
    assert not turn.borrow()

    owner = threading.Thread(target=turn.take_up)
    owner.start()
    until(lambda: turn.wanted)
    assert owner.is_alive()
    turn.give_back()
    owner.join(60)
    assert not owner.is_alive()
    assert not turn.borrow()


def test_what_is_waited_for_changes_while_a_thread_waits():
    poller, muted, other = Poller(), Wakeup(), Wakeup()
    poller.add(muted.handle, POLLIN)
    poller.add(other.handle, POLLIN)
    found = []
    waiter = threading.Thread(target=lambda: found.extend(poller.wait(30)))
    waiter.start()

    poller.expect(muted.handle, 0)
    muted.ring()
    waiter.join(0.05)
    other.ring()
    waiter.join(30)

    assert [handle for handle, _ in found] == [other.handle]
    poller.close()
    muted.close()
    other.close()


@tells_cores
def test_the_core_of_a_process_is_one_that_it_may_use():
    assert core_of(os.getpid()) in os.sched_getaffinity(0)


@tells_cores
def test_a_process_that_is_gone_has_none():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    assert core_of(gone.pid) is None


@tells_cores
def test_who_avoids_a_core_leaves_it_and_may_come_back(monkeypatch):
    asked = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5})
    monkeypatch.setattr(os, "sched_setaffinity", lambda who, where: asked.append((who, where)))

    avoid(1)

    assert asked == [(0, {0, 5}), (0, {0, 1, 5})]


@tells_cores
def test_the_only_core_is_not_left(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: pytest.fail("there is no other"))

    avoid(3)


@tells_cores
def test_where_it_is_forbidden_it_stays(monkeypatch):
    def forbid(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbid)

    avoid(core_of(os.getpid()))


@tells_cores
def test_avoiding_changes_nothing_for_long():
    before = os.sched_getaffinity(0)

    avoid(core_of(os.getpid()))

    assert os.sched_getaffinity(0) == before
