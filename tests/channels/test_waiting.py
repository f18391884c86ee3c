"""Senders that wait for the other side, and coroutines that wait for items."""

import asyncio

import pytest
from programs import echo

import nbpar
from nbpar.backends.engines import backend, liveness
from nbpar.testing import until
from nbpar.wire.messages import Ping


def test_a_sender_waits_until_the_other_side_takes_what_it_sent(gateway):
    def slow(channel, gate):
        gate.receive()
        channel.send(sum(1 for _ in zip(range(20), channel, strict=False)))

    gate = gateway.new_channel()
    channel = gateway.remote_exec(slow, buffersize=10, gate=gate)
    for item in range(10):
        channel.send(item, timeout=10)

    with pytest.raises(TimeoutError, match="did not take"):
        channel.send(10, timeout=0.05)
    gate.send("go")
    for item in range(10, 20):
        channel.send(item, timeout=10)

    assert channel.receive(timeout=60) == 20


def test_the_code_there_waits_too(gateway):
    def flood(channel, told):
        for number in range(30):
            try:
                channel.send(number, timeout=0.5 if number == 10 else 10)
            except TimeoutError:
                told.send(number)
                channel.send(number)

    told = gateway.new_channel()
    channel = gateway.remote_exec(flood, buffersize=10, told=told)

    assert told.receive(timeout=60) == 10
    assert list(channel) == list(range(30))


def test_bytes_are_bounded_as_items_are(gateway):
    gate = gateway.new_channel()
    channel = gateway.remote_exec(lambda channel, gate: gate.receive(), gate=gate)

    for _ in range(8):
        channel.send(b"x" * (1 << 20), timeout=10)

    with pytest.raises(TimeoutError):
        channel.send(b"x" * (1 << 20), timeout=0.1)
    gate.send("go")
    channel.wait_closed(timeout=60)


async def _gather(channel):
    first = await channel.areceive()
    rest = [item async for item in channel]
    return first, rest


def test_items_can_be_awaited(gateway):
    channel = gateway.remote_exec("for n in range(5): channel.send(n)")

    assert asyncio.run(_gather(channel)) == (0, [1, 2, 3, 4])


def test_awaiting_gives_up_after_its_timeout(gateway):
    async def wait(channel):
        await channel.areceive(timeout=0.01)

    with gateway.remote_exec(echo) as channel, pytest.raises(TimeoutError, match=r"within 0\.01 s"):
        asyncio.run(wait(channel))


@pytest.mark.engines
def test_an_engine_hears_of_its_client_for_as_long_as_both_only_wait(cluster, monkeypatch):
    said = []
    send = backend.EnginesBackend.send
    monkeypatch.setattr(liveness, "PING_EVERY", 0.05)
    monkeypatch.setattr(backend.EnginesBackend, "send", lambda *args: (said.extend(args[2]), send(*args))[1])
    with nbpar.Pool(cluster=cluster, progress="none") as pool:
        channel = pool.gateways[0].remote_exec("channel.send(1); channel.receive()")
        assert channel.receive(timeout=60) == 1
        said.clear()

        until(lambda: said.count(Ping(0)) > 2)
