"""Each engine has its own device and variables, before it imports anything, and so has its replacement."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from fake_gpus import DIVIDED, fake_gpus, no_gpus

import nbpar
from nbpar.testing import until

pytestmark = pytest.mark.engines

DEVICE = "CUDA_VISIBLE_DEVICES"


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """A machine with two GPUs."""
    fake_gpus(tmp_path, monkeypatch)


def seen(pool, name=DEVICE):
    """Return what each worker of a pool sees, by its process."""

    def look():
        return os.getpid(), os.environ.get(name)

    return dict(pool.each(look))


def kill(pool, pid):
    """Kill a worker, and wait for its replacement."""
    number = len(pool.workers)
    os.kill(pid, signal.SIGKILL)

    def replaced():
        pids = [worker.get("pid") for worker in pool.workers]
        return len(pids) == number and not {pid, None} & {*pids}

    until(replaced)


def quiet(*arguments, **options):
    return nbpar.Pool(*arguments, progress="none", **options)


@pytest.mark.parametrize("path", ["auto", "controller"])
@pytest.mark.usefixtures("gpus")
def test_each_engine_has_a_device_which_its_replacement_takes_over(path):
    with quiet(gpus="auto", path=path) as pool:
        before = seen(pool)
        assert sorted(before.values()) == ["0", "1"]
        assert sorted(worker["device"] for worker in pool.workers) == ["GPU 0", "GPU 1"]

        killed = next(pid for pid, device in before.items() if device == "0")
        kill(pool, killed)
        assert sorted(seen(pool).values()) == ["0", "1"]


@pytest.mark.usefixtures("gpus")
def test_more_workers_than_devices_share_them_in_turn_also_after_resizing():
    with quiet(3, gpus=[1, 0]) as pool:
        assert sorted(seen(pool).values()) == ["0", "1", "1"]

        pool.resize(4)
        assert sorted(seen(pool).values()) == ["0", "0", "1", "1"]
        # inside an item a pool is serial, and asks for no device
        assert pool.map(lambda i: nbpar.Pool(gpus=5).map(abs, [i]), [-1]) == [[1]]

        # the newest engine is in the first slot now
        first = next(iter(seen(pool)))
        kill(pool, first)
        pool.resize(2)
        until(lambda: len(pool.workers) == 2)
        assert sorted(seen(pool).values()) == ["0", "1"]


def test_engines_replaced_after_some_items_and_restarted_keep_their_devices(tmp_path, monkeypatch):
    fake_gpus(tmp_path, monkeypatch, DIVIDED)
    monkeypatch.setenv(
        DEVICE, "MIG-44444444-dddd-5a0f-8000-000000000004,MIG-33333333-cccc-5a0f-8000-000000000003"
    )

    with quiet(gpus="auto", max_items_per_worker=2) as pool:
        devices = pool.map(lambda _: os.environ[DEVICE], range(12), chunksize=1)
        assert {device[:12] for device in devices} == {"MIG-33333333", "MIG-44444444"}

        pool.restart()
        assert {device[:12] for device in seen(pool).values()} == {"MIG-33333333", "MIG-44444444"}


def test_an_outer_variable_and_that_of_env_limit_the_devices(tmp_path, monkeypatch):
    fake_gpus(tmp_path, monkeypatch)
    monkeypatch.setenv(DEVICE, "1")
    with quiet(2, gpus="auto") as pool:
        assert list(seen(pool).values()) == ["1", "1"]
        os.environ[DEVICE] = "0"
        assert list(seen(pool).values()) == ["1", "1"]  # a device does not change

    with quiet(gpus=1, env={DEVICE: "0,1"}) as pool:
        assert list(seen(pool).values()) == ["0"]

    with pytest.raises(
        ValueError, match=r"^gpus=\[1\] names '1', but this process sees 1 device: 0 \(CUDA_V"
    ):
        quiet(gpus=[1])


def test_variables_of_each_worker_are_there_before_imports_and_stay(tmp_path, monkeypatch):
    (tmp_path / "settings_of_mine.py").write_text("import os\nSHARD = os.environ['SHARD']\n")
    monkeypatch.syspath_prepend(tmp_path)

    def shard(_=None):
        import settings_of_mine

        return os.getpid(), settings_of_mine.SHARD

    asked = []

    def variables(i):
        asked.append(i)
        return {"SHARD": f"{i} of {len(asked)}"}

    with quiet(2, per_worker=variables, env={"SHARD": "none"}) as pool:
        before = dict(pool.each(shard))
        assert sorted(before.values()) == ["0 of 1", "1 of 2"]

        monkeypatch.setenv("SHARD", "other")
        killed = max(before)
        kill(pool, killed)
        assert sorted(dict(pool.each(shard)).values()) == ["0 of 1", "1 of 2"]

        pool.resize(3)
        assert sorted(dict(pool.each(shard)).values()) == ["0 of 1", "1 of 2", "2 of 3"]


@pytest.mark.usefixtures("gpus")
def test_a_cluster_gives_its_engines_devices_and_variables():
    variables = [{"SHARD": "a"}, {"SHARD": "b"}, {"SHARD": "c"}]
    with nbpar.Cluster(gpus="auto", per_worker=variables) as cluster, quiet(cluster=cluster) as pool:
        assert sorted(seen(pool, "SHARD").values()) == ["a", "b", "c"]
        assert sorted(seen(pool).values()) == ["0", "0", "1"]

        with pytest.raises(
            ValueError, match=r"^per_worker has 3 dicts for 4 workers; give one for each, or "
        ):
            cluster.resize(4)
        cluster.restart(cluster.engines[1])
        assert sorted(seen(pool, "SHARD").values()) == ["a", "b", "c"]


@pytest.mark.usefixtures("gpus")
def test_a_module_that_uses_a_gpu_when_it_is_imported_is_not_preloaded(tmp_path, monkeypatch):
    # stands for a device that a library opens
    (tmp_path / "opens_a_gpu.py").write_text(
        "from pathlib import Path\nfrom nbpar.host.devices import visible\n"
        "visible.OPEN_FILES = Path(__file__).parent\n"
    )
    (tmp_path / "7").symlink_to("/dev/nvidiactl")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(nbpar.ClusterError, match=r"cannot preload 'opens_a_gpu': it uses a GPU when it is "):
        nbpar.Cluster(1, gpus="auto", preload=["opens_a_gpu"]).start()


def test_where_no_gpu_is_found_the_error_says_where_nbpar_has_looked(tmp_path, monkeypatch):
    no_gpus(tmp_path, monkeypatch)
    with pytest.raises(
        ValueError, match=r"^gpus='auto', but no GPU was found here: `nvidia-smi -L` lists none"
    ):
        quiet(gpus="auto")

    monkeypatch.setenv(DEVICE, "")
    with pytest.raises(
        ValueError, match=r"^gpus=2, but CUDA_VISIBLE_DEVICES= hides all devices from this pro"
    ):
        quiet(gpus=2)


@pytest.mark.skipif(sys.platform == "win32", reason="engines are not forked there")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"gpus": 3},
            r"^gpus=3, but this process sees 2 devices: 0, 1 \(nvidia-smi\); more workers than dev",
        ),
        ({"gpus": 0}, r"^gpus must be at least 1, was 0; leave it out"),
        ({"gpus": []}, r'^gpus must be None, "auto", a number of devices or a list of them, .* was empty$'),
        ({"gpus": "0"}, r'^gpus must be None, "auto", .*, was \'0\'; write `\[\'0\'\]`$'),
        ({"gpus": True}, r'^gpus must be None, "auto", .*, was True$'),
        ({"gpus": 1.5}, r'^gpus must be None, "auto", .*, was 1.5$'),
        ({"gpus": ["0,1"]}, r'^gpus must be None, "auto", .*, had \'0,1\'$'),
        ({"gpus": [-1]}, r"^a device in gpus must be at least 0, was -1$"),
        (
            {"gpus": 1, "backend": "threads"},
            r'^gpus= gives each .*, which needs backend="engines": threads are',
        ),
        (
            {"per_worker": [{}], "backend": "serial"},
            r"^per_worker= gives .*: a serial pool runs in this process",
        ),
        (
            {"gpus": 1, "cluster": "x"},
            r"^gpus= is for engines .* those of a cluster run already: give it to the",
        ),
        (
            {"workers": 2, "per_worker": [{}]},
            r"^per_worker has 1 dict for 2 workers; give one for each, or a f",
        ),
        ({"workers": 1, "per_worker": [{}, {}]}, r"^per_worker has 2 dicts for 1 worker; "),
        ({"per_worker": []}, r"^per_worker must be a list of dicts of environment variables, .*, was empty$"),
        (
            {"per_worker": {"A": "b"}},
            r"^per_worker must be .*, was {'A': 'b'}; variables of all workers are env=$",
        ),
        ({"per_worker": [{"A": 5}]}, r"^per_worker\[0\]\['A'\] must be a text, was 5; write '5'$"),
        ({"per_worker": lambda i: {"A": i}}, r"^per_worker\(0\)\['A'\] must be a text, was 0; write '0'$"),
        ({"per_worker": lambda i: 1 // i}, r"^per_worker\(0\) raised ZeroDivisionError: "),
        (
            {"gpus": 1, "per_worker": [{DEVICE: "1"}]},
            r"^per_worker sets CUDA_VISIBLE_DEVICES, and so does gpus=;",
        ),
    ],
)
@pytest.mark.usefixtures("gpus")
def test_what_is_refused_by_a_pool(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        quiet(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"engines": "local", "gpus": 1},
            r"^gpus= gives out the devices of this host .*, not to engines='local'",
        ),
        (
            {"engines": "ssh", "hosts": ["gpu01"], "gpus": 1},
            r"^gpus= gives out .*, not to ssh gpu01; on other ho",
        ),
        (
            {"engines": "mpi", "per_worker": [{}]},
            r"^per_worker= is for engines that nbpar itself starts, .*'mpi'",
        ),
    ],
)
def test_what_is_refused_for_engines_elsewhere(options, message):
    with pytest.raises(ValueError, match=message):
        nbpar.Cluster(**options)
    assert "gpus='1'" in repr(
        nbpar.Cluster(2, engines="slurm", gpus=1)._engines.description
    )  # jobs have them
