"""Engines that join and leave all the time: none is counted twice, missed or left over."""

import os
import shutil
import signal
import threading
from types import SimpleNamespace

import psutil
import pytest

import nbpar
from nbpar.cluster.cluster import Cluster
from nbpar.errors import ClusterError
from nbpar.testing import until

pytestmark = pytest.mark.engines

ROUNDS = 12


def test_many_rounds_of_added_and_removed_engines_leave_no_process_and_no_open_file(cluster):
    controller = psutil.Process(cluster._room._controller.pid)
    template = psutil.Process(cluster._room._template.pid)

    def turn(count):
        new = cluster.add(count)
        assert len(new) == count
        assert len(cluster.engines) == 2 + count
        assert sorted(cluster.client[:].apply_sync(os.getpid)) == sorted(it.pid for it in cluster.engines)
        cluster.remove([engine.uuid for engine in new])
        assert len(cluster.engines) == len(cluster.client.ids) == 2

    def used():
        return psutil.Process().num_fds(), controller.num_fds(), template.num_fds(), len(template.children())

    for _ in range(3):  # zmq keeps some
        turn(2)
    until(lambda: len(template.children()) == 3)
    before = used()
    for number in range(ROUNDS):
        turn(1 + number % 2)

    until(lambda: all(now <= then + 5 for now, then in zip(used(), before, strict=True)))


def test_engines_that_come_and_go_do_not_fill_the_controllers_memory(cluster):
    controller = psutil.Process(cluster._room._controller.pid)

    def turn(times):
        for _ in range(times):
            cluster.remove([engine.uuid for engine in cluster.add(4)])
        return controller.memory_info().rss

    before = turn(3)
    after = turn(10)

    assert after - before < 40 * 30_000  # bytes; each cost 58,000 while what told of it was kept


def test_a_removed_engine_counts_no_more_whoever_hears_of_it_first(cluster):
    first = cluster.engines[0]
    told, remove = threading.Event(), cluster._room.remove

    def remove_and_let_the_client_know(uuids):
        remove(uuids)
        until(lambda: first.id not in cluster.client.ids)

    cluster._room.remove = remove_and_let_the_client_know
    cluster.client._registration_callbacks.insert(0, lambda event: told.wait(20))  # the cluster hears last

    try:
        threading.Timer(0.5, told.set).start()
        cluster.remove([first.uuid])
        assert len(cluster.engines) == len(cluster.client.ids) == 1
    finally:
        told.set()
    cluster.resize(2)
    assert len(cluster.engines) == 2


def test_an_engine_can_be_removed_while_the_controller_does_not_answer(cluster):
    controller = psutil.Process(cluster._room._controller.pid)
    first, second = cluster.engines
    controller.suspend()

    try:
        cluster.remove([first.uuid])
        assert cluster.client.ids == [second.id]
    finally:
        controller.resume()
    assert [engine.uuid for engine in cluster.engines] == [second.uuid]


def test_an_old_answer_of_the_controller_does_not_bring_an_engine_back(cluster, monkeypatch):
    gone = cluster.engines[0]
    cluster.remove([gone.uuid])
    asked = threading.Event()

    def send(*_):
        late = SimpleNamespace(result=lambda: {"content": {"engines": {str(gone.id): gone.uuid}}})
        return SimpleNamespace(add_done_callback=lambda take: (take(late), asked.set()))

    monkeypatch.setattr(cluster.client, "_send", send)
    cluster._members.refresh()

    assert asked.wait(20)
    assert gone.id not in cluster.client.ids
    assert len(cluster.engines) == 1


def test_growing_goes_on_when_an_engine_dies_meanwhile_and_is_not_replaced():
    with Cluster(2, heal=False) as cluster:
        victim = cluster.engines[0]
        ordered = cluster._room._order_engine

        def order():
            if psutil.pid_exists(victim.pid):
                os.kill(victim.pid, signal.SIGKILL)
            return ordered()

        cluster._room._order_engine = order
        cluster.resize(3)

        assert len(cluster.engines) == 3
        assert victim.uuid not in {engine.uuid for engine in cluster.engines}


def test_new_engines_that_do_not_come_are_an_error_at_once_and_can_be_tried_again(tmp_path):
    mark = tmp_path / "broken"
    (tmp_path / "fragile.py").write_text(
        f"import os\nfrom nbpar.cluster.engine import SteadyEngine\n"
        f"launch = SteadyEngine.launch_instance\n"
        f"def fail(arguments):\n"
        f"    if os.path.exists({str(mark)!r}):\n"
        f"        raise RuntimeError('no license for this engine')\n"
        f"    launch(arguments)\n"
        f"SteadyEngine.launch_instance = fail\n"
    )
    path = {"PYTHONPATH": str(tmp_path)}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        cluster = Cluster(1, preload=["fragile"], env=path, start_timeout=300).start()
    with cluster:
        mark.touch()
        with pytest.raises(ClusterError, match=r"0 of 1 new engines came up.*no license for this engine"):
            cluster.add()
        assert len(cluster.engines) == cluster.n == 1
        mark.unlink()

        cluster.add()

        assert len(cluster.engines) == 2
        assert cluster.problem == ""


def test_a_smaller_cluster_does_not_keep_an_engine_that_was_still_on_its_way(cluster):
    template = psutil.Process(cluster._room._template.pid)
    template.suspend()
    cluster._room.add(1)

    threading.Timer(0.2, template.resume).start()
    cluster.resize(2)

    until(lambda: cluster._room.coming() == 0 and len(template.children()) == 3)
    assert len(cluster.engines) == 2


def test_a_cluster_goes_on_without_its_directory():
    with nbpar.Pool(2, progress="none") as pool:
        cluster = pool._place._cluster
        assert len(pool.each(os.getpid)) == 2

        shutil.rmtree(cluster.directory)
        cluster.remove([cluster.engines[0].uuid])
        pool.resize(3)

        assert len(pool.each(os.getpid)) == 3
        assert {it["worker"]: it["local"] for it in pool.workers} == dict.fromkeys(
            ["engine 1", "engine 2", "engine 3"], True
        )
        directory = cluster.directory
        assert directory.stat().st_mode & 0o777 == 0o700
    assert not directory.exists()


def test_a_directory_that_has_become_anothers_is_not_used(cluster, tmp_path):
    directory = cluster.directory
    shutil.rmtree(directory)
    directory.symlink_to(tmp_path)

    try:
        with pytest.raises(ClusterError, match="is not a private directory of this user any more"):
            cluster.add()
        assert list(tmp_path.iterdir()) == []
    finally:
        directory.unlink()


def test_an_answer_that_comes_after_its_engine_is_gone_is_not_printed(cluster, capfd):
    engine = cluster.engines[0]
    view = cluster.client[engine.id]
    view.apply_sync(int)
    cluster.client._unregister_engine({"content": {"id": engine.id, "uuid": engine.uuid}})
    late = cluster.client.session.msg("apply_reply", content={"status": "ok"})
    late["parent_header"]["msg_id"] = cluster.client.history[-1]

    cluster.client._queue_handlers["apply_reply"](late)

    assert capfd.readouterr().out == ""


def test_a_pool_that_shrinks_and_grows_at_once_has_as_many_workers_as_were_asked_for_last():
    with nbpar.Pool(2, progress="none") as pool:
        for number in range(6):
            pool.resize(3 + number % 2)
            assert len(set(pool.each(os.getpid))) == 3 + number % 2
            pool.resize(2)

        until(lambda: len(pool.workers) == 2)
        assert pool.map(abs, [-1, -2]) == [1, 2]
