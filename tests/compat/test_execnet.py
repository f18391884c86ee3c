"""Programs written for execnet run as they stand."""

import pickle
import queue
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import nbpar.compat.execnet as execnet
from nbpar.compat.execnet.group import default


@pytest.fixture(scope="module")
def group():
    with execnet.Group() as made:
        made.makegateway()
        made.makegateway("popen//id=named")
        yield made


@pytest.fixture
def gateway(group):
    return group["gw0"]


def test_ids_and_lookups(group):
    assert [gateway.id for gateway in group] == ["gw0", "named"]
    assert group["named"] is group[1]
    assert "named" in group
    assert "other" not in group
    assert len(group) == 2
    with pytest.raises(KeyError):
        group["other"]
    with pytest.raises(ValueError, match="already have"):
        group.makegateway("popen//id=named")
    with pytest.raises(ValueError, match="no gateway type"):
        group.makegateway("nothing=1")
    with pytest.raises(ValueError, match="have been created"):
        group.set_execmodel("thread")


def test_a_text_sends_and_receives(gateway):
    channel = gateway.remote_exec("""
        x = channel.receive()
        channel.send(x + 1)
    """)
    channel.send(41)

    assert channel.receive() == 42
    channel.waitclose(10)
    assert channel.isclosed()
    with pytest.raises(EOFError):
        channel.receive()
    with pytest.raises(OSError, match="closed"):
        channel.send(1)


def multiplier(channel, factor):
    while not channel.isclosed():
        param = channel.receive()
        channel.send(param * factor)


def test_a_function_gets_its_arguments_and_ends_with_its_channel(gateway):
    channel = gateway.remote_exec(multiplier, factor=10)
    for number in range(5):
        channel.send(number)
        assert channel.receive() == number * 10

    channel.close()
    channel.waitclose(10)
    with pytest.raises(TypeError):
        gateway.remote_exec("pass", factor=1)


def test_remote_errors_are_raised_once(gateway):
    channel = gateway.remote_exec("raise ValueError('broken')")

    with pytest.raises(channel.RemoteError) as raised:
        channel.receive()
    assert "ValueError: broken" in raised.value.formatted
    with pytest.raises(EOFError):
        channel.receive()


def test_timeouts_are_oserrors(gateway):
    channel = gateway.remote_exec("channel.receive()")

    with pytest.raises(channel.TimeoutError):
        channel.receive(timeout=0.01)
    with pytest.raises(execnet.TimeoutError):
        channel.waitclose(timeout=0.01)
    assert issubclass(execnet.TimeoutError, OSError)
    channel.close()


def test_callbacks_and_end_markers(gateway):
    got = queue.Queue()
    channel = gateway.remote_exec("for n in range(3): channel.send(n)")
    channel.setcallback(got.put, endmarker=None)

    assert [got.get(timeout=10) for _ in range(4)] == [0, 1, 2, None]
    with pytest.raises(OSError, match="callback"):
        channel.receive()


def test_far_callbacks_files_and_new_channels(gateway):
    channel = gateway.remote_exec("""
        import queue
        got = queue.Queue()
        channel.setcallback(got.put, endmarker=-1)
        other = channel.gateway.newchannel()
        channel.send(other)
        print(got.get(), "lines", file=other.makefile("w"), end="")
        got.get()
    """)
    other = channel.receive()
    channel.send("three")

    assert other.makefile("r").read(11) == "three lines"
    channel.close()
    with pytest.raises(ValueError, match="not available"):
        other.makefile("x")


def test_code_cannot_close_its_own_channel(gateway):
    channel = gateway.remote_exec("""
        try:
            channel.close()
        except OSError as error:
            channel.send(str(error))
    """)

    assert "cannot explicitly close" in channel.receive()


def test_a_second_task_runs_beside_the_first(gateway):
    first = gateway.remote_exec("channel.receive()")
    second = gateway.remote_exec("channel.send(1)")

    assert second.receive(timeout=10) == 1
    second.waitclose(10)
    status = gateway.remote_status()
    assert status.numexecuting >= 1
    assert status.execmodel == "thread"
    first.close()


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
    items = [received.get(timeout=10) for _ in range(4)]
    assert sorted(item is None for _, item in items) == [False, False, True, True]


def test_sends_are_never_held_back(gateway):
    channel = gateway.remote_exec("""
        gate = channel.receive()
        gate.receive()
        channel.send(sum(channel.receive() for _ in range(5000)))
    """)
    gate = gateway.newchannel()
    channel.send(gate)
    for _ in range(5000):
        channel.send(1)
    gate.send("go")

    assert channel.receive(timeout=10) == 5000


def test_exit_ends_one_gateway_and_delivers_end_markers():
    with execnet.Group(["popen//id=a", "popen//id=b"]) as group:
        ended = threading.Event()
        channel = group["a"].remote_exec("channel.send(1); channel.receive()")
        assert channel.receive(timeout=10) == 1
        channel.setcallback(lambda item: ended.set(), endmarker=None)

        first = group["a"]
        first.exit()
        first.exit()

        assert ended.wait(10)
        assert [gateway.id for gateway in group] == ["b"]
        with pytest.raises(EOFError):
            channel.waitclose(10)
        assert group["b"].remote_exec("channel.send(2)").receive(timeout=10) == 2


def test_specs_are_obeyed(tmp_path):
    with execnet.Group([f"popen//chdir={tmp_path / 'new'}//env:NBPAR_ENV=yes//nice=3"]) as group:
        text = "import os; channel.send((os.getcwd(), os.environ['NBPAR_ENV']))"

        assert group[0].remote_exec(text).receive(timeout=10) == (str(tmp_path / "new"), "yes")


def test_specs_that_lead_elsewhere_need_execnet(monkeypatch):
    monkeypatch.setitem(sys.modules, "execnet", None)
    group = execnet.Group()

    with pytest.raises(execnet.HostNotFound, match="pip install execnet"):
        group.makegateway("ssh=nowhere.example")


def test_xspecs():
    spec = execnet.XSpec("popen//python=this//env:A=1//flag")

    assert (spec.popen, spec.python, spec.env, spec.flag, spec.chdir) == (
        True,
        "this",
        {"A": "1"},
        True,
        None,
    )
    assert spec == execnet.XSpec(str(spec))
    assert hash(spec) == hash(execnet.XSpec(str(spec)))
    with pytest.raises(ValueError, match="duplicate"):
        execnet.XSpec("a=1//a=2")
    with pytest.raises(AttributeError):
        execnet.XSpec("_a=1")


@pytest.mark.parametrize(
    "value", [None, True, 2**80, -(2**40), 1.5, 2j, b"x", "x", [1, (2, {3: {4}})], frozenset([1])]
)
def test_simple_types_are_dumped(value):
    assert execnet.loads(execnet.dumps(value)) == value


class Number(int):
    pass


@pytest.mark.parametrize("value", [object(), Number(3), [Number(3)], {1: len}])
def test_others_are_not(value):
    with pytest.raises(execnet.DumpError):
        execnet.dumps(value)


@pytest.mark.parametrize("data", [b"", b"garbage", pickle.dumps(len), pickle.dumps(Path())])
def test_what_is_no_dump_is_refused(data):
    with pytest.raises(execnet.LoadError):
        execnet.loads(data)


def test_rsync_sends_a_folder(gateway, tmp_path, capsys):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("one")
    (source / "b.pyc").write_text("no")
    calls, finished = [], []

    class Mine(execnet.RSync):
        def filter(self, path):
            return not path.endswith(".pyc")

    rsync = Mine(source, callback=lambda *call: calls.append(call[:2]))
    rsync.add_target(gateway, tmp_path / "target", finishedcallback=lambda: finished.append(1), delete=True)
    rsync.send()

    assert [path.name for path in (tmp_path / "target").iterdir()] == ["a.txt"]
    assert ("ack", 3) in calls
    assert finished == [1]
    assert "<= a.txt" in capsys.readouterr().out
    with pytest.raises(OSError, match="no targets"):
        rsync.send()


def test_the_default_group_is_made_when_it_is_used():
    program = (
        "import nbpar.compat.execnet as execnet\n"
        "if __name__ == '__main__':\n"
        "    gateway = execnet.makegateway()\n"
        "    print(gateway.remote_exec('channel.send(6 * 7)').receive(), execnet.default_group)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout == "42 <Group ['gw0']>\n"
    assert default() is default()
