"""The life cycle of a cluster, end to end: it starts, heals, is resized, restarts, ends."""

import asyncio
import os
import signal
import socket
import threading
import time

import ipyparallel
import psutil
import pytest
from owners import alive

from nbpar.cluster.cluster import Cluster
from nbpar.errors import ClusterError
from nbpar.testing import until

pytestmark = pytest.mark.engines


def pids_of(cluster):
    return [engine.pid for engine in cluster.engines]


class Deaths:
    """Takes note of deaths and lets a test wait for them."""

    def __init__(self, cluster):
        self.reasons = {}
        self._told = threading.Condition()
        cluster.on_death(self.note)

    def note(self, uuid, reason):
        with self._told:
            assert uuid not in self.reasons
            self.reasons[uuid] = reason
            self._told.notify_all()

    def wait(self, count=1):
        with self._told:
            assert self._told.wait_for(lambda: len(self.reasons) >= count, 60)
        return list(self.reasons.values())


def test_engines_are_known_by_their_processes(shared):
    told = dict(zip(shared.client.ids, shared.client[:].apply_sync(os.getpid), strict=True))

    assert {engine.id: engine.pid for engine in shared.engines} == told
    assert {engine.host for engine in shared.engines} == {socket.gethostname()}


def test_the_controller_knows_an_engine_by_the_same_identity(shared):
    for engine in shared.engines:
        identity = shared.client[engine.id].apply_sync(eval, "get_ipython().kernel.parent.ident")
        assert identity == engine.uuid


def test_starting_twice_is_starting_once(shared):
    before = pids_of(shared)

    assert shared.start() is shared
    assert pids_of(shared) == before


def test_engines_see_the_folder_path_and_environment_of_the_kernel(tmp_path, monkeypatch):
    (tmp_path / "beside_the_notebook.py").write_text("value = 42")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("NBPAR_TEST_VARIABLE", "séance")

    with Cluster(1, env={"ADDED": "yes"}) as cluster:
        view = cluster.client[0]
        assert view.apply_sync(eval, "__import__('beside_the_notebook').value") == 42
        assert view.apply_sync(os.getcwd) == str(tmp_path)
        assert view.apply_sync(os.getenv, "NBPAR_TEST_VARIABLE") == "séance"
        assert view.apply_sync(os.getenv, "ADDED") == "yes"


def test_a_folder_and_a_priority_can_be_chosen(tmp_path):
    with Cluster(1, cwd=tmp_path, nice=3) as cluster:
        assert cluster.client[0].apply_sync(os.getcwd) == str(tmp_path)
        assert cluster.client[0].apply_sync(os.nice, 0) == os.nice(0) + 3


def test_engines_share_the_cpus_among_their_libraries(shared):
    from nbpar.host.cpus import thread_limits, usable_cpus

    if "OMP_NUM_THREADS" not in os.environ:
        share = thread_limits(2, os.environ, usable_cpus())["OMP_NUM_THREADS"]
        assert shared.client[0].apply_sync(os.getenv, "OMP_NUM_THREADS") == share


def test_preloaded_modules_are_there_and_random_numbers_differ():
    with Cluster(2, preload=["numpy", "wave"]) as cluster:
        view = cluster.client[:]
        assert view.apply_sync(eval, "'wave' in __import__('sys').modules") == [True, True]
        first, second = view.apply_sync(eval, "float(__import__('numpy').random.random())")
        assert first != second
        first, second = view.apply_sync(eval, "float(__import__('random').random())")
        assert first != second


def test_a_module_that_cannot_be_preloaded_is_named():
    with pytest.raises(ClusterError, match="cannot preload 'no_such_module': ModuleNotFoundError"):
        Cluster(1, preload=["no_such_module"]).start()


def test_the_template_has_no_thread_that_a_fork_would_lose(shared):
    assert psutil.Process(shared._room._template.pid).num_threads() == 1


def test_a_dead_engine_is_replaced_and_its_death_is_explained(cluster):
    deaths = Deaths(cluster)
    victim = cluster.engines[0]
    waiting = cluster.client[victim.id].apply_async(time.sleep, 100)

    os.kill(victim.pid, signal.SIGSEGV)

    assert deaths.wait() == ["killed by SIGSEGV"]
    with pytest.raises(Exception, match="died while running task"):
        waiting.get(timeout=60)
    until(lambda: len(cluster.engines) == 2)
    assert cluster.replaced == 1
    assert victim.uuid not in {engine.uuid for engine in cluster.engines}
    assert sorted(cluster.client[:].apply_sync(os.getpid)) == sorted(pids_of(cluster))


def test_an_engine_that_exits_is_replaced(cluster):
    deaths = Deaths(cluster)

    cluster.client[0].apply_async(os._exit, 7)

    assert deaths.wait() == ["exit code 7"]
    until(lambda: len(cluster.engines) == 2)


def test_without_healing_a_dead_engine_stays_dead():
    with Cluster(2, heal=False) as cluster:
        deaths = Deaths(cluster)

        os.kill(cluster.engines[0].pid, signal.SIGKILL)

        (reason,) = deaths.wait()
        assert reason.startswith("killed by SIGKILL")
        until(lambda: len(cluster.client.ids) == 1)
        assert cluster.replaced == 0


def test_killing_an_engine_tells_why(cluster):
    deaths = Deaths(cluster)

    cluster.kill(cluster.engines[1], reason="its item took too long")

    assert deaths.wait() == ["its item took too long"]
    until(lambda: len(cluster.engines) == 2)


def test_a_replacement_is_announced(cluster):
    joined = threading.Event()
    cluster.on_join(lambda uuid: joined.set())

    cluster.kill(cluster.engines[0])

    assert joined.wait(20)


def test_many_deaths_in_a_row_are_all_healed(cluster):
    deaths = Deaths(cluster)
    for count in range(1, 7):
        os.kill(until(lambda: len(cluster.engines) == 2 and cluster.engines)[0].pid, signal.SIGKILL)
        deaths.wait(count)

    until(lambda: len(cluster.engines) == 2)
    assert cluster.replaced == 6


def test_a_listener_that_fails_does_not_stop_healing(cluster, caplog):
    cluster.on_death(lambda uuid, reason: 1 / 0)

    os.kill(cluster.engines[0].pid, signal.SIGKILL)

    until(lambda: cluster.replaced == 1 and len(cluster.engines) == 2)
    assert "a listener failed" in caplog.text


def test_a_cluster_grows_and_shrinks(cluster):
    deaths = Deaths(cluster)
    cluster.resize(4)
    assert len(cluster.client.ids) == len(cluster.engines) == 4
    grown = pids_of(cluster)

    cluster.resize(1)

    assert len(cluster.client.ids) == 1
    assert set(deaths.wait(3)) == {"removed from the cluster"}
    until(lambda: alive(grown) == grown[:1])
    assert cluster.replaced == 0


def test_certain_engines_can_be_removed(cluster):
    first, second = cluster.engines

    cluster.remove([first.uuid])

    assert [engine.uuid for engine in cluster.engines] == [second.uuid]


def test_one_engine_is_restarted(cluster):
    first, second = cluster.engines

    cluster.restart(first)

    assert first not in cluster.engines
    assert second in cluster.engines
    assert len(cluster.engines) == 2


def test_everything_is_restarted(cluster):
    before = pids_of(cluster)

    cluster.restart()

    assert len(cluster.engines) == 2
    assert not set(before) & set(pids_of(cluster))
    assert not alive(before)


def test_an_unknown_engine_is_refused(shared):
    with pytest.raises(ClusterError, match=r"no engine 99 in the cluster; its engines are \[0, 1\]"):
        shared.kill(99)


def test_a_stopped_cluster_says_so_and_can_be_started_again():
    cluster = Cluster(1)
    with pytest.raises(ClusterError, match="not running; start it"):
        _ = cluster.client
    cluster.start()
    cluster.stop()
    cluster.stop()
    assert cluster.engines == ()

    with cluster:
        assert cluster.client[0].apply_sync(int) == 0


def test_a_killed_controller_is_an_error_and_not_a_hang(cluster):
    deaths = Deaths(cluster)
    waiting = cluster.client[0].apply_async(time.sleep, 100)
    balanced = cluster.client.load_balanced_view().apply_async(time.sleep, 100)

    os.kill(cluster._room._controller.pid, signal.SIGKILL)

    assert deaths.wait(2) == ["the cluster's controller ended (killed by SIGKILL)"] * 2
    with pytest.raises(Exception, match=r"died while running|controller ended"):
        waiting.get(timeout=60)
    with pytest.raises(Exception, match="controller ended"):
        balanced.get(timeout=60)
    with pytest.raises(
        ClusterError, match=r"controller ended \(killed by SIGKILL\); start the cluster again"
    ):
        _ = cluster.client
    cluster.restart()
    assert cluster.client[:].apply_sync(int) == [0, 0]


def test_a_killed_template_is_an_error_and_not_a_hang(cluster):
    deaths = Deaths(cluster)

    os.kill(cluster._room._template.pid, signal.SIGKILL)

    assert all("template process ended (killed by SIGKILL" in reason for reason in deaths.wait(2))
    assert not cluster.running
    cluster.start()
    assert cluster.client[:].apply_sync(int) == [0, 0]


def test_an_interrupt_reaches_a_busy_engine_and_not_an_idle_one(cluster, tmp_path):
    first, second = cluster.engines
    begun = tmp_path / "begun"
    code = f"open({str(begun)!r}, 'w').close() or __import__('time').sleep(100)"
    waiting = cluster.client[first.id].apply_async(eval, code)
    until(begun.exists)

    for engine in (first, second):
        os.kill(engine.pid, signal.SIGINT)

    with pytest.raises(Exception, match="KeyboardInterrupt"):
        waiting.get(timeout=60)
    assert sorted(cluster.client[:].apply_sync(os.getpid)) == sorted([first.pid, second.pid])


@pytest.mark.skipif(
    ipyparallel.version_info[0] < 9,
    reason="ipyparallel 8's own engines answer on control when the task is over",
)
def test_a_long_task_leaves_control_and_heartbeat_alive(cluster):
    cluster.client[:].apply_async(time.sleep, 100)

    facts = cluster.client._send_recv(
        cluster.client._control_stream, "usage_request", ident=cluster.engines[0].uuid.encode()
    )

    assert facts["content"]["pid"] == cluster.engines[0].pid


def test_a_cluster_can_be_awaited():
    async def use():
        async with Cluster(1) as cluster:
            assert await cluster is cluster
            return cluster.client[0].apply_sync(int)

    assert asyncio.run(use()) == 0


def test_a_cluster_can_be_started_in_another_thread():
    cluster = Cluster(1)
    threads = [threading.Thread(target=cluster.start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert cluster.client[0].apply_sync(int) == 0
    assert len(cluster.engines) == 1
    cluster.stop()


def test_a_warm_template_is_used_by_the_next_cluster():
    from nbpar.cluster.fork_server import server as spare

    spare.warm()
    template = spare._spare
    spare.warm()
    assert spare._spare is template

    with Cluster(1) as cluster:
        assert cluster._room._template is template
    assert spare._spare is None


def test_a_template_that_waited_can_be_sent_away():
    from nbpar.cluster.fork_server import server as spare

    spare.warm()
    pid = spare._spare.pid
    spare.cool()
    spare.cool()

    assert not alive([pid])


def test_nothing_is_written_to_the_users_ipython_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    with Cluster(1) as cluster:
        cluster.client[0].apply_sync(int)

    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (0, ValueError, "must be at least 1, was 0"),
        (-1, ValueError, "must be at least 1, was -1"),
        ("4", TypeError, "must be a whole number, was '4'"),
        (2.0, TypeError, "must be a whole number, was 2.0"),
        (True, TypeError, "must be a whole number, was True"),
    ],
)
def test_a_wrong_number_of_engines_is_refused(n, error, message):
    with pytest.raises(error, match=message):
        Cluster(n)


def test_an_option_that_is_not_known_is_refused():
    with pytest.raises(TypeError, match="takes 'profil' only for ipyparallel's launchers"):
        Cluster(1, profil="x")


def test_engines_of_ipyparallels_launcher_do_the_same(tmp_path):
    with Cluster(1, engines="local", env={"ADDED": "yes"}) as cluster:
        deaths = Deaths(cluster)
        assert cluster.client[0].apply_sync(os.getenv, "ADDED") == "yes"
        (engine,) = until(lambda: [engine for engine in cluster.engines if engine.pid])
        assert engine.pid == cluster.client[0].apply_sync(os.getpid)

        os.kill(engine.pid, signal.SIGKILL)

        deaths.wait()
        until(lambda: len(cluster.engines) == 1 and cluster.replaced == 1)
        directory = cluster.directory
    assert not directory.exists()
