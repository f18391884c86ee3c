"""Behavior that programs written for execnet meet on nbpar's engines only."""

import os
import subprocess
import sys

import pytest

import nbpar.compat.execnet as execnet
from nbpar.compat.execnet.group import default
from nbpar.testing import until


def test_specs_that_lead_elsewhere_need_execnet(monkeypatch):
    monkeypatch.setitem(sys.modules, "execnet", None)
    group = execnet.Group()

    with pytest.raises(execnet.HostNotFound, match="pip install execnet"):
        group.makegateway("ssh=nowhere.example")


@pytest.mark.parametrize(("spec", "message"), [
    ("popen//nice=gentle", "nice in the spec 'popen//nice=gentle' must be a whole number"),
    ("popen//execmodel=fibers", "unknown execution model 'fibers'"),
])  # fmt: skip
def test_a_wrong_spec_is_refused_before_anything_starts(spec, message):
    group = execnet.Group()

    with pytest.raises(ValueError, match=message):
        group.makegateway(spec)
    assert len(group) == 0


def test_gateways_elsewhere_are_found_where_our_package_has_taken_the_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "execnet", execnet)

    with execnet.Group([f"popen//python={sys.executable}"]) as group:
        assert group[0].remote_exec("channel.send(1)").receive(20) == 1

    assert sys.modules["execnet"] is execnet


@pytest.mark.engines
@pytest.mark.parametrize("count", [1, 2])
def test_gateways_can_be_made_and_ended_again_and_again(count):
    with execnet.Group() as group:
        for number in range(12):
            gateways = [group.makegateway() for _ in range(count)]
            channels = [gateway.remote_exec("channel.send(6 * 7)") for gateway in gateways]

            assert [channel.receive(60) for channel in channels] == [42] * count
            assert [gateway.id for gateway in group] == [f"gw{number * count + n}" for n in range(count)]
            assert len(group._cluster.engines) == count

            for gateway in gateways:
                gateway.exit()
            assert len(group._cluster.engines) == 0
        lines = group._pool.launcher.dispatcher.lines
        until(lambda: not lines._boxes)  # nothing of them is kept
        assert not lines._users._ports


@pytest.mark.engines
def test_a_group_whose_controller_was_killed_makes_its_next_gateway_on_a_new_one():
    with execnet.Group() as group:
        old = group.makegateway()
        group._cluster.broke("the controller was killed")

        new = group.makegateway()

        assert new.remote_exec("channel.send(1)").receive(60) == 1
        assert not old.hasreceiver()
        old.exit()
        assert new.remote_exec("channel.send(2)").receive(60) == 2


@pytest.mark.parametrize("value", [-(2**40), {1: (2, [3.5])}])
def test_what_execnet_cannot_send_is_sent(value):
    assert execnet.loads(execnet.dumps(value)) == value


@pytest.mark.engines
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


STAND_IN = """
import sys
import nbpar.compat.execnet

sys.modules["execnet"] = nbpar.compat.execnet
"""

SUITE = """
import os, pytest, warnings

@pytest.mark.parametrize("number", range(20))
def test_many(number): print("hello")

def test_fails(): assert 1 == 2

def test_warns(): warnings.warn("be warned")

def test_gets_a_folder(tmp_path, worker_id): assert worker_id in ("gw0", "gw1", "gw2")

def test_ends_its_process(): os._exit(3)

@pytest.mark.skip(reason="not now")
def test_skipped(): pass
"""


@pytest.mark.engines
def test_pytest_xdist_runs_its_workers_on_engines(tmp_path):
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    (tmp_path / "test_suite.py").write_text(SUITE)
    options = ["-n2", "-p", "stand_in", "-p", "no:cacheprovider", "-rfE"]
    quiet = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # of the debugger that older kernels load

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_suite.py"], cwd=tmp_path, capture_output=True,
        text=True, timeout=100, check=False, env={**os.environ, **quiet, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip

    assert "2 failed, 22 passed, 1 skipped, 1 warning" in done.stdout
    assert "FAILED test_suite.py::test_fails - assert 1 == 2" in done.stdout
    assert "crashed while running 'test_suite.py::test_ends_its_process'" in done.stdout
    assert "engine" not in done.stdout
    assert done.stderr == ""
