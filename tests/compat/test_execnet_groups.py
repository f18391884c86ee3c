"""Programs written for execnet: groups, gateways, many channels as one."""

import sys
import threading
from contextlib import contextmanager

import pytest


@contextmanager
def new_group(execnet, *arguments, **options):
    group = execnet.Group(*arguments, **options)
    yield group
    group.terminate(5)


def test_ids_and_lookups(group):
    assert [gateway.id for gateway in group] == ["gw0", "named"]
    assert group["named"] is group[1]
    assert "named" in group
    assert "other" not in group
    assert len(group) == 2
    with pytest.raises(KeyError):
        group["other"]
    with pytest.raises((ValueError, AssertionError)):
        group.makegateway("popen//id=named")
    with pytest.raises(ValueError, match="no gateway type"):
        group.makegateway("nothing=1")
    with pytest.raises(ValueError, match="have been created"):
        group.set_execmodel("thread")


def test_what_is_known_of_the_interpreter_there(gateway):
    info = gateway._rinfo()

    assert info.version_info[:2] == sys.version_info[:2]
    assert info.pid
    assert gateway._rinfo() is info
    assert gateway.hasreceiver()


def test_multichannels(group):
    channels = group.remote_exec("channel.send(channel.receive() * 2)")
    channels.send_each(21)

    assert channels.receive_each() == [42, 42]
    channels.waitclose()

    channels = group.remote_exec("channel.send(1)")
    received = channels.make_receive_queue(endmarker=None)
    assert channels.make_receive_queue() is received
    items = [received.get(timeout=60) for _ in range(4)]
    assert sorted(item is None for _, item in items) == [False, False, True, True]


def test_exit_ends_one_gateway_and_delivers_end_markers(execnet):
    with new_group(execnet, ["popen//id=a", "popen//id=b"]) as group:
        ended = threading.Event()
        channel = group["a"].remote_exec("channel.send(1); channel.receive()")
        assert channel.receive(timeout=60) == 1
        channel.setcallback(lambda item: ended.set(), endmarker=None)

        first = group["a"]
        first.exit()
        first.exit()

        assert ended.wait(60)
        assert [gateway.id for gateway in group] == ["b"]
        with pytest.raises(EOFError):
            channel.waitclose(10)
        assert group["b"].remote_exec("channel.send(2)").receive(timeout=60) == 2


def test_a_gateway_is_made_right_after_another_has_exited(execnet):
    with new_group(execnet, ["popen"]) as group:
        group["gw0"].remote_exec("while True: pass")
        group["gw0"].exit()

        fresh = group.makegateway()

        assert [gateway.id for gateway in group] == [fresh.id]
        assert fresh.remote_exec("channel.send(3)").receive(timeout=60) == 3


def test_specs_are_obeyed(execnet, tmp_path):
    with new_group(execnet, [f"popen//chdir={tmp_path / 'new'}//env:NBPAR_ENV=yes//nice=3"]) as group:
        text = "import os; channel.send((os.getcwd(), os.environ['NBPAR_ENV']))"

        assert group[0].remote_exec(text).receive(timeout=60) == (str(tmp_path / "new"), "yes")


def test_a_group_can_be_filled_again_after_its_end(execnet):
    with new_group(execnet, ["popen"]) as group:
        assert group[0].remote_exec("channel.send(1)").receive(20) == 1
        group.terminate(5)
        assert repr(group) == "<Group []>"

        assert group.makegateway().remote_exec("channel.send(2)").receive(20) == 2


def test_a_queue_marks_the_end_of_gateways_that_are_terminated(execnet):
    with new_group(execnet, ["popen"] * 3) as group:
        channels = group.remote_exec("channel.send(channel.receive() + 1)")
        received = channels.make_receive_queue(endmarker="end")
        channels[0].send(1)
        first = received.get(timeout=60)

        group.terminate(timeout=1)

        assert first == (channels[0], 2)
        assert [received.get(timeout=60)[1] for _ in range(3)] == ["end"] * 3


def test_names_are_known_before_gateways_are_made(execnet):
    with new_group(execnet) as group:
        spec = execnet.XSpec("popen")
        group.allocate_id(spec)
        named = spec.id

        gateway = group.makegateway(spec)

        assert gateway.id == named
        assert gateway.spec is spec
        assert repr(gateway) == f"<Gateway id='{named}' receive-live, thread model, 0 active channels>"


def test_with_the_main_thread_only_a_second_task_is_refused(execnet):
    with new_group(execnet, ["popen"], execmodel="main_thread_only") as group:
        where = "import threading; channel.send(threading.current_thread() is threading.main_thread())"
        first = group[0].remote_exec(where + "; channel.receive()")
        assert first.receive(20) is True

        with pytest.raises(execnet.RemoteError, match="concurrent remote_exec would cause deadlock"):
            group[0].remote_exec(where).receive(20)

        first.send(None)
        first.waitclose(20)
        assert group[0].remote_exec(where).receive(20) is True
        assert group[0].remote_status().execmodel == group.remote_execmodel.backend == "main_thread_only"


def test_a_gateway_to_another_interpreter_is_used_like_any_other(execnet):
    with new_group(execnet, ["popen", f"popen//id=other//python={sys.executable}"]) as group:
        channels = group.remote_exec("channel.send(channel.receive() * 2); raise ValueError('over')")
        received = channels.make_receive_queue()
        channels.send_each(21)

        assert {received.get(timeout=60)[1] for _ in channels} == {42}
        with pytest.raises(execnet.RemoteError, match="ValueError: over"):
            channels.waitclose()
        with pytest.raises(execnet.TimeoutError):
            group["other"].remote_exec("channel.receive()").receive(timeout=0.01)
        group["other"].exit()
        assert [gateway.id for gateway in group] == ["gw0"]


def test_gateways_open_others_beyond_them(execnet):
    with new_group(execnet) as group:
        group.defaultspec = "popen//via=master"
        group.makegateway("popen//id=master")
        beyond = group.makegateway()

        assert [gateway.id for gateway in group] == ["master", "gw0"]
        assert beyond.remote_exec("channel.send(6 * 7)").receive(20) == 42
