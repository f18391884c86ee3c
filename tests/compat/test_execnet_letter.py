"""Documented names of execnet apart from channels: gateways from inside, traces, modules, links."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nbpar.compat.execnet as ours


def test_init_of_threads_warns_that_it_does_nothing(gateway, capsys):
    gateway.remote_init_threads(3)

    assert capsys.readouterr().out == "WARNING: remote_init_threads() is a no-operation in execnet-1.2\n"


def test_a_gateway_on_this_host_has_no_remote_address(gateway):
    with pytest.raises(AttributeError):
        gateway.remoteaddress  # noqa: B018 (the look is what fails)


def test_code_knows_its_gateway(execnet, group):
    channel = group["named"].remote_exec(
        "channel.send((channel.gateway.id, channel.gateway.execmodel.backend,"
        " channel.gateway is channel.gateway, channel.id in channel.gateway._channelfactory._channels))"
    )

    assert channel.receive(20) == ("named-worker", "thread", True, True)


def test_a_gateway_knows_its_open_channels(gateway):
    factory = gateway._channelfactory
    channel = gateway.remote_exec("channel.receive()")
    assert channel in factory.channels()
    assert factory._channels[channel.id] is factory.new(channel.id) is channel

    channel.send(1)
    channel.waitclose(20)

    assert channel not in factory.channels()


def test_a_channel_can_be_closed_as_if_by_the_other_side(gateway):
    channel = gateway._channelfactory.new()

    gateway._channelfactory._local_close(channel.id)

    channel.waitclose(20)
    assert channel.isclosed()


def test_bytecode_is_not_written_if_the_spec_says_so(execnet):
    ask = "import sys; channel.send(sys.dont_write_bytecode)"

    with_it = execnet.Group(["popen//dont_write_bytecode"])
    got = with_it[0].remote_exec(ask).receive(20)
    with_it.terminate(5)

    assert got is True


def test_texts_are_called_as_execnet_calls_them(gateway):
    channel = gateway.remote_exec("1 / 0")

    with pytest.raises(channel.RemoteError) as raised:
        channel.receive(20)
    assert 'File "<remote exec>", line 1' in raised.value.formatted


def test_a_pure_function_of_a_module_that_only_this_side_finds_runs_there(gateway, tmp_path, monkeypatch):
    gateway.remote_exec("channel.send(1)").receive(20)
    (tmp_path / "only_here.py").write_text("def double(channel, n):\n    channel.send(n * 2)\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    assert gateway.remote_exec(only_here.double, n=4).receive(20) == 8
    del sys.modules["only_here"]


PROGRAM_OF_A_MODULE = """
import {module} as execnet


def multiplier(channel, factor):
    channel.send(channel.receive() * factor)


group = execnet.Group(["popen"])
channel = group[0].remote_exec(multiplier, factor=10)
channel.send(4)
RESULT = channel.receive(60)
group.terminate(5)
"""


def test_a_module_that_is_imported_can_make_gateways_for_its_functions(execnet, tmp_path, monkeypatch):
    (tmp_path / "makes_gateways.py").write_text(PROGRAM_OF_A_MODULE.format(module=execnet.__name__))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "makes_gateways", raising=False)

    import makes_gateways

    assert makes_gateways.RESULT == 40
    del sys.modules["makes_gateways"]


def test_modules_of_execnet_have_what_programs_take_from_them(execnet):
    base = execnet.gateway_base

    assert base.RemoteError is execnet.RemoteError
    assert base.get_execmodel("thread").backend == "thread"
    assert base.loads(base.dumps([1])) == [1]
    assert base.loads_internal(base.dumps_internal([1])) == [1]
    assert execnet.multi.default_group is execnet.default_group


def test_rsync_keeps_absolute_links_into_the_folder_absolute(execnet, gateway, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("x")
    (source / "sub" / "absolute").symlink_to(source / "sub" / "file")
    (source / "sub" / "relative").symlink_to("file")
    (source / "outside").symlink_to("/nowhere/at/all")

    rsync = execnet.RSync(source, verbose=False)
    rsync.add_target(gateway, target)
    rsync.send()

    assert (target / "sub" / "absolute").readlink() == target / "sub" / "file"
    assert (target / "sub" / "relative").readlink() == Path("file")
    assert (target / "outside").readlink() == Path("/nowhere/at/all")


PROGRAM = """
import {module} as execnet

if __name__ == "__main__":
    gateway = execnet.makegateway("popen//id=left")
    channel = gateway.remote_exec("channel.send(channel.receive()); 1 / 0")
    channel.send("hello")
    channel.receive()
    try:
        channel.waitclose()
    except execnet.RemoteError:
        pass
    execnet.default_group.terminate(10)
"""


@pytest.fixture
def traced(execnet, tmp_path):
    """Runs a program with a value of EXECNET_DEBUG; returns its stderr and the files of its processes."""

    def run(debug):
        environment = {**os.environ, "EXECNET_DEBUG": debug, "TMPDIR": str(tmp_path)}
        program = tmp_path / "program.py"
        program.write_text(PROGRAM.format(module=execnet.__name__))
        done = subprocess.run(
            [sys.executable, str(program)], env=environment, capture_output=True, text=True, timeout=100,
            check=True,
        )  # fmt: skip
        return done.stderr, [file.read_text() for file in tmp_path.glob("execnet-debug-*")]

    return run


FROM_HERE = ("left sent <Message", "CHANNEL_EXEC", "CHANNEL_DATA", "left gateway.exit() called")
FROM_THERE = (
    "creating workergateway on", "left-worker execution starts[", "left-worker sent <Message",
    "left-worker got exception: ZeroDivisionError('division by zero')", "left-worker execution finished",
)  # fmt: skip


def test_a_trace_goes_to_a_file_of_each_process(traced):
    stderr, files = traced("1")

    here = [file for file in files if "gateway.exit() called" in file]
    there = [file for file in files if "creating workergateway" in file]
    assert (len(here), len(there)) == (1, 1)
    assert [word for word in FROM_HERE if word not in here[0]] == []
    assert [word for word in FROM_THERE if word not in there[0]] == []
    assert "left" not in stderr


def test_a_trace_goes_to_stderr_with_the_process_before_each_line(traced):
    stderr, files = traced("2")

    lines = [line for line in stderr.splitlines() if "left" in line]
    assert [word for word in (*FROM_HERE, *FROM_THERE) if word not in stderr] == []
    assert len({line[line.rindex("[", 0, line.index("] ") + 2) :].split("]")[0] for line in lines}) >= 2
    assert files == []


@pytest.mark.engines
def test_gateways_elsewhere_and_their_channels_count_as_ours():
    with ours.Group(["popen", f"popen//id=other//python={sys.executable}"]) as group:
        channel = group["other"].remote_exec("channel.send(channel)")
        sent = channel.receive(20)

        assert isinstance(channel, ours.Channel)
        assert isinstance(sent, ours.Channel)
        assert isinstance(sent, ours.gateway_base.Channel)
        assert all(isinstance(gateway, ours.Gateway) for gateway in group)
        assert group["other"].spec == ours.XSpec(f"popen//id=other//python={sys.executable}")
        assert not isinstance(object(), ours.Channel)
        assert not isinstance(channel, ours.Gateway)


VALUES = [
    None, True, False, 0, -5, 2**31 - 1, -(2**31), 2**31, 2**70, 1.5, 2j, b"x", "é", [1, [2, {}]],
    {"a": (1, 2), 3: {4}, None: frozenset([5])}, (), set(), "",
]  # fmt: skip


def test_dumps_are_the_bytes_of_execnet():
    import execnet

    for value in VALUES:
        assert ours.dumps(value) == execnet.dumps(value)
        assert ours.loads(execnet.dumps(value)) == value


def test_a_dump_that_was_cut_or_is_of_another_version_is_refused():
    dump = ours.dumps(VALUES)

    for size in range(len(dump)):
        with pytest.raises(ours.LoadError):
            ours.loads(dump[:size])
    with pytest.raises(ours.LoadError, match="version"):
        ours.loads(b"\x01" + dump[1:])
    with pytest.raises(ours.LoadError, match="damaged"):
        ours.loads(b"\x02@\x00\x00\x00\x05Q")


def test_strings_of_python_2_are_what_the_reader_asks_for():
    old = b"\x02M\x00\x00\x00\x02\xe9xQ"

    assert ours.loads(old) == b"\xe9x"
    assert ours.loads(old, py2str_as_py3str=True) == "éx"
    assert ours.loads(ours.dumps("é"), py3str_as_py2str=True) == "é".encode()
