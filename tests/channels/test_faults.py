"""Channels after errors, lost workers and broken connections."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
from programs import echo

import nbpar
from nbpar.errors import ChannelBroken, RemoteError
from nbpar.testing import until


def kill(pool, gateway, how=signal.SIGKILL):
    [pid] = [facts["pid"] for facts in pool.workers if facts["worker"] == gateway.worker]
    os.kill(pid, how)


def interrupt_soon():
    """Interrupt this thread a moment after it has begun to wait."""
    threading.Timer(0.2, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)).start()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_an_engine_killed_while_it_waits_breaks_the_channel(own_pool, how):
    pool = own_pool()
    gateway = pool.gateways[0]
    ends, channel = [], gateway.remote_exec(echo)
    marked = gateway.remote_exec(echo, thread=True)
    marked.set_callback(ends.append, end_marker="end")
    channel.send("before")
    assert channel.receive(timeout=60) == "before"
    multi = nbpar.MultiChannel([channel])

    kill(pool, gateway, how)

    with pytest.raises(ChannelBroken, match="gone"):
        channel.receive(timeout=60)
    with pytest.raises(ChannelBroken):
        channel.send(1)
    with pytest.raises(ChannelBroken):
        multi.wait_closed(timeout=60)
    deadline = time.monotonic() + 60
    while ends != ["end"] and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert ends == ["end"]
    assert gateway.remote_status().state in ("gone", "idle")


def test_an_engine_killed_while_it_sends_gives_what_had_come(own_pool):
    pool = own_pool()
    gateway = pool.gateways[0]
    channel = gateway.remote_exec("n = 0\nwhile True: channel.send(n); n += 1")
    assert channel.receive(timeout=60) == 0

    kill(pool, gateway)

    came = []
    with pytest.raises(ChannelBroken):
        came.extend(channel)
    assert came == list(range(1, len(came) + 1))


def test_an_engine_killed_while_we_send_breaks_the_channel(own_pool):
    pool = own_pool()
    gateway = pool.gateways[0]
    channel = gateway.remote_exec("channel.send(1); import time; time.sleep(60)")
    assert channel.receive(timeout=60) == 1
    threading.Timer(0.3, kill, (pool, gateway)).start()

    with pytest.raises(ChannelBroken):
        channel.make_file("w").writelines("x" * 100_000 for _ in range(10_000))


@pytest.mark.parametrize("engine_way", ["engines", "controller"], indirect=True)  # clusters that heal
def test_a_new_engine_takes_the_place_of_a_dead_one(own_pool):
    pool = own_pool()
    gateway = pool.gateways[0]
    assert gateway.remote_exec("channel.send(1)").receive(10) == 1
    kill(pool, gateway)

    until(lambda: [new for new in pool.gateways if new.worker != gateway.worker])

    [new] = [new for new in pool.gateways if new.worker != gateway.worker]
    assert new.remote_exec("channel.send(2)").receive(10) == 2
    with pytest.raises(ChannelBroken, match=r"there is no engine \d+ any more"):
        gateway.remote_exec("channel.send(3)").receive(10)


def test_stop_interrupts_receive_here_and_the_code_there(engines):
    def wait(channel, told):
        try:
            told.send("waiting")
            channel.receive()
        except KeyboardInterrupt:
            told.send("interrupted")
            raise

    gateway = engines.gateways[0]
    told = gateway.new_channel()
    channel = gateway.remote_exec(wait, told=told)
    assert told.receive(timeout=60) == "waiting"

    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (it may come at once)
        interrupt_soon()
        channel.receive()

    assert told.receive(timeout=60) == "interrupted"
    with pytest.raises(RemoteError, match="interrupted"):
        channel.receive(timeout=60)
    assert gateway.remote_exec("channel.send('free')").receive(10) == "free"


def test_code_that_computes_is_interrupted_too(engines):
    gateway = engines.gateways[0]
    channel = gateway.remote_exec("channel.send(1)\nwhile True: pass")
    assert channel.receive(timeout=60) == 1

    channel.interrupt()

    with pytest.raises(RemoteError, match="CodeInterrupted: the code was interrupted") as raised:
        channel.receive(timeout=60)
    assert type(raised.value.__cause__) is nbpar.CodeInterrupted


def test_sending_can_be_interrupted(engines):
    gateway = engines.gateways[0]
    gate = gateway.new_channel()
    channel = gateway.remote_exec(lambda channel, gate: gate.receive(), thread=True, buffersize=1, gate=gate)
    channel.send(0)

    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (it may come at once)
        interrupt_soon()
        channel.send(1)

    gate.send("go")


def test_the_worker_takes_maps_after_many_interrupts(engines):
    gateway = engines.gateways[0]
    for _ in range(10):
        channel = gateway.remote_exec("channel.send(1)\nchannel.receive()")
        assert channel.receive(timeout=60) == 1
        channel.interrupt()
        with pytest.raises(RemoteError, match="interrupted"):
            channel.wait_closed(timeout=60)

    assert engines.map(abs, range(100)) == list(range(100))


def test_garbage_that_arrives_there_is_dropped_or_ends_the_loop_and_nothing_waits_for_it(
    own_pool, engine_way
):
    from nbpar.worker.mail.transports import send_frames

    engines = own_pool()
    gateway = engines.gateways[0]
    with gateway.remote_exec(echo) as channel:
        channel.send(1)
        assert channel.receive(timeout=60) == 1
        backend = engines.launcher._backend
        sockets, engine = backend._sockets, backend._engines[gateway.worker]
        if engine.local:
            sockets._local.send(engine.identity, [b"garbage", b""])
            with pytest.raises(ChannelBroken, match="the other end of the channel is gone"):
                channel.receive(timeout=30)
        else:  # it is not genuine
            with sockets._far._lock:
                send_frames(sockets._far._socket, [engine.identity, b"<IDS|MSG>", b"signature", b"garbage"])
            channel.send(2)
            assert channel.receive(timeout=60) == 2

    assert engines.map(abs, [-1, -2]) == [1, 2]


def test_garbage_that_arrives_here_is_dropped_or_costs_the_engine_and_nothing_waits_for_it(
    own_pool, engine_way
):
    engines = own_pool()
    gateway = engines.gateways[0]
    channel = gateway.remote_exec("""
        way = channel._end.port.mailbox._transport
        if hasattr(way, "_write"):
            way._write([b"garbage", b""])
        else:
            with way._lock:
                way._socket.send_multipart([way._client, b"<IDS|MSG>", b"signature", b"garbage"])
        channel.send("after it")
    """)

    if engine_way == "engines":
        with pytest.raises(ChannelBroken, match="it said what could not be understood"):
            channel.receive(timeout=30)
    else:  # it is not genuine
        assert channel.receive(timeout=60) == "after it"
    assert engines.map(abs, [-1, -2]) == [1, 2]


def test_a_channel_dropped_there_ends_here(gateway):
    def drop(channel):
        channel.send(channel.new_channel())
        channel.receive()

    channel = gateway.remote_exec(drop)
    made = channel.receive(timeout=60)

    assert list(made) == []
    channel.close()


def test_a_channel_dropped_here_ends_the_code_there(gateway):
    def listen(channel, told):
        told.send(list(channel))

    told = gateway.new_channel()
    channels = [gateway.remote_exec(listen, told=told)]
    channels[0].send(1)
    channels.clear()
    gc.collect()

    assert told.receive(timeout=60) == [1]


def test_an_item_that_could_not_be_sent_does_not_keep_its_channel(gateway):
    class Stubborn:
        def __reduce__(self):
            raise LookupError("stay here")

    channel = gateway.remote_exec(echo)
    with pytest.raises(nbpar.PicklingError, match="stay here") as caught:
        channel.send(Stubborn())
    dropped = weakref.ref(channel)

    gc.disable()
    try:
        del caught, channel
        assert dropped() is None
    finally:
        gc.enable()


def test_an_item_that_cannot_be_unpickled_here_is_named(engines):
    def send(channel):
        class Stubborn:
            def __reduce__(self):
                return exec, ("raise LookupError('not here')",)

        channel.send(Stubborn())
        channel.send("next")

    channel = engines.gateways[0].remote_exec(send)

    with pytest.raises(nbpar.PicklingError, match="not here"):
        channel.receive(timeout=60)
    assert channel.receive(timeout=60) == "next"


def test_closing_the_pool_ends_code_and_channels(own_pool):
    pool = own_pool()
    computing = pool.gateways[0].remote_exec("channel.send(1)\nwhile True: pass")
    assert computing.receive(timeout=60) == 1

    begun = time.monotonic()
    pool.close()

    assert time.monotonic() - begun < 60
    with pytest.raises(ChannelBroken):
        computing.receive(timeout=60)


OWNER = """
import nbpar, sys, os
pool = nbpar.Pool(1, progress="none")
channel = pool.gateways[0].remote_exec("import os; channel.send(os.getpid()); channel.receive()")
print(channel.receive(10), flush=True)
sys.stdin.read()
"""


@pytest.mark.engines
def test_engines_end_when_the_client_is_killed():
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    engine = int(owner.stdout.readline())
    owner.kill()
    owner.communicate()

    until(lambda: not Path(f"/proc/{engine}").exists())
