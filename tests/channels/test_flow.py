"""Many items at once: none is lost, duplicated or reordered, with any number of senders and receivers."""

import signal
import threading

import pytest
from programs import echo

import nbpar

MANY = 5_000
KINDS = [
    lambda n: n,
    str,
    lambda n: [n],
    lambda n: None,
    lambda n: "x" * 200 + str(n),
    lambda n: n / 2,
]


def items(number):
    """Short items and others, in turns of different lengths."""
    return [KINDS[n // (n % 7 + 1) % len(KINDS)](n) for n in range(number)]


def in_threads(*jobs):
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_items_of_all_kinds_keep_their_order(gateway):
    sent = items(MANY)
    with gateway.remote_exec(echo) as channel:
        in_flight = 300
        for item in sent[:in_flight]:
            channel.send(item)
        came = []
        for item in sent[in_flight:]:
            channel.send(item)
            came.append(channel.receive(timeout=30))
        came += [channel.receive(timeout=30) for _ in range(in_flight)]

    assert came == sent


def test_a_flood_comes_in_order_however_small_the_buffer(gateway):
    def flood(channel, items):
        for item in items:
            channel.send(item)

    sent = items(500)

    assert list(gateway.remote_exec(flood, items=sent, buffersize=3)) == sent


def test_threads_may_send_through_one_channel(gateway):
    def collect(channel, number):
        channel.send([channel.receive() for _ in range(number)])

    channel = gateway.remote_exec(collect, number=4 * 1_000)

    in_threads(*[
        lambda first=first: [channel.send((first, n) if n % 3 else first * 10_000 + n) for n in range(1_000)]
        for first in range(4)
    ])  # fmt: skip

    came = [divmod(item, 10_000) if isinstance(item, int) else item for item in channel.receive(timeout=30)]
    for first in range(4):
        assert [n for sender, n in came if sender == first] == list(range(1_000))


def test_threads_may_receive_from_one_channel(gateway):
    channel = gateway.remote_exec(f"for n in range({MANY}): channel.send(n)")
    came = []

    in_threads(*[lambda: came.extend(list(channel))] * 4)

    assert sorted(came) == list(range(MANY))


def test_threads_may_wait_for_channels_to_one_worker_beside_a_callback(gateway):
    got, over = [], threading.Event()
    called = gateway.remote_exec(f"for n in range({MANY}): channel.send(n)", thread=True)
    called.set_callback(lambda n: over.set() if n is None else got.append(n), end_marker=None)

    def talk(channel):
        for n in range(500):
            channel.send(n)
            assert channel.receive(timeout=30) == n

    with gateway.remote_exec(echo, thread=True) as first, gateway.remote_exec(echo, thread=True) as second:
        in_threads(lambda: talk(first), lambda: talk(second))

    assert over.wait(30)
    assert got == list(range(MANY))


def test_what_was_kept_back_goes_while_the_code_computes(gateway):
    def compute(channel, gate):
        told = []
        gate.set_callback(told.append)
        for n in range(3):
            channel.send(n)
        while not told:
            pass

    gate = gateway.new_channel()
    channel = gateway.remote_exec(compute, gate=gate)

    assert [channel.receive(timeout=30) for _ in range(3)] == [0, 1, 2]
    gate.send("enough")
    channel.wait_closed(30)
    gate.close()


def test_what_was_kept_back_here_goes_while_this_side_does_something_else(gateway):
    came = gateway.new_channel()
    channel = gateway.remote_exec("came = channel.receive()\nfor n in channel: came.send(n)")
    got = []
    came.set_callback(got.append)
    channel.send(came)
    for n in range(3):
        channel.send(n)

    while got != [0, 1, 2]:
        threading.Event().wait(0.001)

    channel.close()
    came.close()


def test_interrupts_lose_nothing_of_other_channels(engines):
    gateway, main = engines.gateways[0], threading.get_ident()
    got, over = [], threading.Event()
    called = gateway.remote_exec(f"for n in range({10 * MANY}): channel.send(n)", thread=True)
    called.set_callback(lambda n: over.set() if n is None else got.append(n), end_marker=None)

    def talk():
        while True:
            with gateway.remote_exec(echo, thread=True) as channel:
                for n in range(100):
                    channel.send(n)
                    assert channel.receive(timeout=30) == n

    for _ in range(20):
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (it may come at once)
            threading.Timer(0.02, signal.pthread_kill, (main, signal.SIGINT)).start()
            talk()

    assert over.wait(60)
    assert got == list(range(10 * MANY))


def test_an_interrupt_is_not_lost_in_the_end_of_a_channel_that_nobody_holds(engines):
    gateway, main = engines.gateways[0], threading.get_ident()

    for moment in range(40):
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (it may come at once)
            threading.Timer(0.005 + moment * 1e-4, signal.pthread_kill, (main, signal.SIGINT)).start()
            for _ in range(100_000):
                gateway.new_channel()


def test_an_error_is_told_however_the_channel_before_it_ended(pool):
    codes = [echo, "while True: channel.send(1)", "channel.send(1); channel.receive()", "pass"]
    for code in codes * 10:
        before = nbpar.MultiChannel([gateway.remote_exec(code) for gateway in pool.gateways])
        before.close()

        for gateway in pool.gateways:
            with pytest.raises(nbpar.RemoteError, match="ZeroDivisionError"):
                gateway.remote_exec("1/0").receive(timeout=30)
