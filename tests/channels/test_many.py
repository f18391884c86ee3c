"""Multichannels, groups, specs, and tables of the workers."""

import asyncio
import gc
import os
import queue
import signal
import weakref
from pathlib import Path

import pytest
from programs import echo

import nbpar
from nbpar.channels.spec import Spec
from nbpar.errors import ChannelBroken, EndOfChannel, RemoteError
from nbpar.testing import until


def test_each_gets_and_gives_one_item(pool):
    with pool.remote_exec(echo) as channels:
        channels.send_each("same")

        assert channels.receive_each(timeout=60) == ["same", "same"]
        channels[1].send("other")
        channels[0].send("one")
        assert channels.receive_each(with_channel=True) == [(channels[0], "one"), (channels[1], "other")]
        assert len(channels) == len(list(channels)) == 2
        assert channels[0] in channels


def test_the_queue_gives_what_comes_in_the_order_of_its_coming(pool):
    with pool.remote_exec(echo) as channels:
        received = channels.receive_queue()
        channels[1].send("first")
        assert received.get(timeout=60) == (channels[1], "first")
        channels[0].send("second")
        assert received.get(timeout=60) == (channels[0], "second")

        with pytest.raises(queue.Empty):
            received.get(timeout=0.01)


def test_the_queue_marks_the_end_of_each_channel(pool):
    channels = pool.remote_exec("for n in range(50): channel.send(n)")
    received = list(channels.receive_queue(end_marker=None))

    for channel in channels:
        assert [item for other, item in received if other is channel] == [*range(50), None]
    with pytest.raises(EndOfChannel):
        channels.receive_queue().get(timeout=60)


def test_the_queue_raises_errors_unless_ends_are_marked(pool):
    failing = "channel.send(1); raise ValueError('so it goes')"

    with pytest.raises(RemoteError, match="so it goes"):
        list(pool.remote_exec(failing).receive_queue())

    channels = pool.remote_exec(failing)
    assert len(list(channels.receive_queue(end_marker="end"))) == 4
    with pytest.raises(RemoteError, match="so it goes"):
        channels.wait_closed(10)


def test_the_queue_can_be_awaited(pool):
    async def gather(channels):
        return [item async for _, item in channels.receive_queue(end_marker=-1)]

    channels = pool.remote_exec("for n in range(20): channel.send(n)")

    assert sorted(asyncio.run(gather(channels))) == sorted([*range(20), -1] * 2)


def test_the_queue_holds_senders_back(gateway, pool):
    channels = nbpar.MultiChannel([gateway.remote_exec(
        "import threading\nfor n in range(100): channel.send(n)", buffersize=5
    )])  # fmt: skip
    received = channels.receive_queue()

    assert received.get(timeout=60)[1] == 0
    with pytest.raises(TimeoutError):
        channels.wait_closed(timeout=0.05)
    assert [item for _, item in received] == list(range(1, 100))


def test_wait_closed_waits_for_all_and_raises_the_first_error(pool):
    first, second = pool.gateways
    gate = second.new_channel()
    channels = nbpar.MultiChannel([
        first.remote_exec("raise ValueError('the first')"),
        second.remote_exec(lambda channel, gate: gate.receive(), gate=gate),
    ])  # fmt: skip

    with pytest.raises(RemoteError, match="the first"):
        channels.wait_closed(timeout=0.05)
    gate.send("go")
    channels.wait_closed(timeout=60)


def test_a_group_names_its_gateways(pool):
    group = nbpar.Group(["id=a", ""], pool=pool)

    assert group.ids == ["a", "gw0"]
    assert group["a"] is group[0]
    assert group["gw0"] in group
    assert [gateway.id for gateway in group] == ["a", "gw0"]
    with pytest.raises(KeyError, match="no gateway 'b'"):
        group["b"]
    assert group.remote_exec("channel.send(1)").receive_each(timeout=60) == [1, 1]


def test_a_group_leaves_the_workers_of_somebody_elses_pool_free(engines):
    with nbpar.Group(pool=engines) as group:
        channels = group.remote_exec("channel.send(1)\nwhile True: pass")
        assert channels.receive_each(timeout=60) == [1, 1]

    with pytest.raises(nbpar.ChannelClosed):
        channels[0].receive(timeout=60)
    assert engines.map(abs, range(10)) == list(range(10))


@pytest.mark.engines
def test_a_group_of_its_own_ends_in_time_whatever_its_code_does():
    group = nbpar.Group(1)
    channel = group[0].remote_exec("""
        import os, signal, time
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        channel.send(os.getpid())
        time.sleep(1000)
    """)
    pid = channel.receive(timeout=60)
    os.kill(pid, signal.SIGSTOP)

    group.terminate(timeout=20)

    assert not Path(f"/proc/{pid}").exists()


def test_two_gateways_cannot_have_one_name(pool):
    with pytest.raises(ValueError, match="both have the id 'a'"):
        nbpar.Group(["id=a", "id=a"], pool=pool)


@pytest.mark.engines
def test_a_group_of_its_own_does_what_its_specs_ask_for(tmp_path):
    folder = tmp_path / "new"
    specs = [f"id=a//chdir={folder}//env:NBPAR_TEST=x=1//nice=5", "id=b"]
    text = "import os; channel.send((os.getcwd(), os.environ.get('NBPAR_TEST'), os.nice(0)))"

    with nbpar.Group(specs) as group:
        nice = os.nice(0)

        assert group["a"].remote_exec(text).receive(10) == (str(folder), "x=1", nice + 5)
        assert group["b"].remote_exec(text).receive(10)[1:] == (None, nice)
        channel = group["b"].remote_exec(echo)
    with pytest.raises(ChannelBroken):
        channel.receive(timeout=60)


@pytest.mark.parametrize(("text", "message"), [
    ("id=a//id=b", "comes twice"), ("env:A=1//env:A=2", "comes twice"), ("colour=red", "unknown key"),
    ("ssh=host", "another interpreter or host"),
])  # fmt: skip
def test_wrong_specs_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Spec.of(text)


def test_gateways_and_groups_show_as_tables(pool):
    gateway = pool.gateways[0]
    with gateway.remote_exec(echo) as channel:
        channel.send(1)
        channel.receive(timeout=60)

        status = gateway.remote_status()
        assert (status.numchannels, status.numexecuting, status.state) == (1, 1, "running")
        assert "<table>" in gateway._repr_html_()
        assert gateway.worker in nbpar.Group(pool=pool)._repr_html_()
        assert gateway.worker in repr(gateway)


def test_a_status_counts_what_was_just_begun_and_is_not_over(gateway):
    before = gateway.remote_status().numchannels
    with (
        gateway.remote_exec(echo) as running,
        gateway.remote_exec(echo) as waiting,
        gateway.new_channel() as bare,
    ):
        status = gateway.remote_status()
        assert (status.numchannels, status.numexecuting) == (before + 3, 2)
        assert not any(channel.closed for channel in (running, waiting, bare))

    until(lambda: gateway.remote_status().numchannels == before)
    until(lambda: gateway.remote_status().state == "idle")


def test_a_serial_pool_says_that_it_has_no_worker_to_talk_to():
    with nbpar.Pool(backend="serial") as pool, pytest.raises(nbpar.ChannelError, match="serial"):
        pool.gateways  # noqa: B018


def test_a_pool_that_had_gateways_is_forgotten_like_any_other():
    def used():
        with nbpar.Pool(1, backend="threads", progress="none") as pool:
            assert pool.gateways[0].remote_exec("channel.send(1)").receive(10) == 1
        return weakref.ref(pool)

    pool = used()

    until(lambda: gc.collect() is not None and pool() is None)


def test_a_pool_gives_the_same_gateways_as_long_as_they_are_held(pool):
    gateways = pool.gateways

    assert all(one is other for one, other in zip(gateways, pool.gateways, strict=True))


def test_a_channel_that_comes_through_another_leads_to_its_gateway_when_that_one_is_gone(pool):
    def send_one(channel):
        with channel.new_channel() as new:
            channel.send(new)
            channel.receive()

    gateway = pool.gateways[0]
    channel = gateway.remote_exec(send_one)
    new = channel.receive(30)
    worker = gateway.worker
    del gateway
    channel.send(None)
    channel.wait_closed(30)
    del channel

    assert new.gateway.worker == worker


def test_a_group_is_where_its_channels_lead_although_the_pool_gives_gateways(pool):
    group = nbpar.Group(pool=pool)
    channels = group.remote_exec(lambda channel: channel.send(channel.new_channel()))

    assert len(pool.gateways) == len(group)
    for gateway, channel in zip(group, channels, strict=True):
        assert channel.receive(30).gateway is gateway
