"""Problems of a cluster's environment give plain error messages, and nothing is left behind."""

import errno
import os
import resource
import subprocess
import sys

import pytest

from nbpar.cluster import client as opening
from nbpar.cluster.cluster import Cluster
from nbpar.cluster.fork_server.server import ForkServer
from nbpar.errors import ClusterError

pytestmark = pytest.mark.engines


@pytest.fixture
def sabotage(tmp_path, monkeypatch):
    """Make the template import a module with this code, which does harm there."""

    def write(code):
        (tmp_path / "sabotage.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        return {"preload": ["sabotage"]}

    return write


def test_engines_that_never_come_end_in_a_timeout_with_their_logs(sabotage):
    harm = sabotage(
        "import time\n"
        "from nbpar.cluster.engine import SteadyEngine\n"
        "def hang(arguments):\n"
        "    print('the engine got stuck', flush=True)\n"
        "    time.sleep(600)\n"
        "SteadyEngine.launch_instance = hang\n"
    )

    with pytest.raises(ClusterError, match=r"(?s)0 of 2 engines came up.*within 3 s.*the engine got stuck"):
        Cluster(2, start_timeout=3, **harm).start()


def test_engines_that_fail_at_once_are_not_waited_for(sabotage):
    harm = sabotage(
        "from nbpar.cluster.engine import SteadyEngine\n"
        "def fail(arguments):\n"
        "    raise RuntimeError('no license for this engine')\n"
        "SteadyEngine.launch_instance = fail\n"
    )

    with pytest.raises(ClusterError, match=r"before they register \(exit code 1, RuntimeError: no license"):
        Cluster(2, **harm).start()


def test_a_controller_that_fails_is_shown_with_its_log(sabotage):
    harm = sabotage(
        "from nbpar.cluster.controller import Controller\n"
        "def fail(self, arguments):\n"
        "    raise RuntimeError('no port is free')\n"
        "Controller.initialize = fail\n"
    )

    with pytest.raises(ClusterError, match=r"ended \(exit code 1, RuntimeError: no port is free\)"):
        Cluster(2, **harm).start()


def test_a_preloaded_module_that_hangs_does_not_hang_the_kernel(sabotage):
    harm = sabotage("import time\ntime.sleep(600)\n")

    with pytest.raises(ClusterError, match="controller did not come up within 1 s"):
        Cluster(40, start_timeout=1, **harm).start()


def test_a_port_that_was_taken_meanwhile_is_no_reason_to_fail(sabotage, tmp_path):
    once = tmp_path / "once"
    harm = sabotage(
        "import pathlib\n"
        "from nbpar.cluster.controller import Controller\n"
        "initialize = Controller.initialize\n"
        "def fail_once(self, arguments):\n"
        f"    once = pathlib.Path({str(once)!r})\n"
        "    if not once.exists():\n"
        "        once.touch()\n"
        "        raise OSError(98, 'Address already in use')\n"
        "    initialize(self, arguments)\n"
        "Controller.initialize = fail_once\n"
    )

    with Cluster(1, **harm) as cluster:
        assert cluster.client[0].apply_sync(int) == 0
    assert once.exists()


def test_no_more_processes_are_an_error(sabotage):
    harm = sabotage(
        "import os\n"
        "def refuse():\n"
        "    raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
        "os.fork = refuse\n"
    )

    with pytest.raises(ClusterError, match=r"Resource temporarily unavailable"):
        Cluster(2, **harm).start()


def test_no_process_for_the_template_is_an_error_that_says_what_to_do(monkeypatch):
    def refuse(*_arguments, **_options):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)

    with pytest.raises(ClusterError, match="no more processes are allowed; end some or raise `ulimit -u`"):
        ForkServer()


def test_no_free_descriptors_are_an_error_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(opening, "free_descriptors", lambda: 5)

    with pytest.raises(ClusterError, match=r"may open only 5 more files.*ulimit -n"):
        Cluster(1).start()


def test_a_small_limit_of_descriptors_does_not_kill_the_process():
    code = (
        "import resource, os\n"
        "from nbpar.cluster.cluster import Cluster\n"
        "from nbpar.errors import ClusterError\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))\n"
        "try:\n    Cluster(1).start()\nexcept ClusterError as error:\n    print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert "raise the limit (`ulimit -n`)" in done.stdout


def test_a_modest_limit_of_descriptors_is_enough_for_many_engines():
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (128, 4096))\n"
        "from nbpar.cluster.cluster import Cluster\n"
        "with Cluster(12) as cluster:\n    print(len(cluster.client[:].apply_sync(int)))\n"
    )
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096:
        pytest.skip("the limit here is lower")

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )

    assert done.stdout.strip() == "12"


def test_a_temporary_folder_with_a_long_path_is_worked_around(own, tmp_path):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()

    owner = own(env={**os.environ, "TMPDIR": str(deep), "XDG_RUNTIME_DIR": str(deep), "HOME": str(deep)})

    assert len(str(owner.directory)) < 70


def test_a_kernels_folder_that_was_removed_does_not_matter(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    with Cluster(1) as cluster:
        assert cluster.client[0].apply_sync(int) == 0


def test_another_clusters_variables_do_not_reach_the_engines(monkeypatch):
    monkeypatch.setenv("IPP_CLUSTER_ID", "other")
    monkeypatch.setenv("IPP_SESSION_KEY", "wrong")

    with Cluster(1) as cluster:
        assert cluster.client[0].apply_sync(os.getenv, "IPP_SESSION_KEY") is None


def test_a_module_beside_the_notebook_does_not_shadow_what_the_template_needs(tmp_path, monkeypatch):
    (tmp_path / "ipyparallel.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)

    with Cluster(1) as cluster:
        assert cluster.client[0].apply_sync(int) == 0


def test_a_limit_that_is_too_low_for_the_controller_is_an_error_at_once(monkeypatch):
    monkeypatch.setattr(opening, "allowed_descriptors", lambda *, hard: 128)

    with pytest.raises(
        ClusterError, match=r"only 128 files and the controller of 2 engines needs 158; raise"
    ):
        Cluster(2).start()


def test_a_limit_that_is_too_low_for_more_engines_leaves_those_that_there_are(monkeypatch):
    with Cluster(1) as cluster:
        monkeypatch.setattr(opening, "allowed_descriptors", lambda *, hard: 170)

        for grow in (lambda: cluster.add(4), lambda: cluster.resize(5)):
            with pytest.raises(ClusterError, match="the controller of 5 engines needs 185"):
                grow()

        assert len(cluster.engines) == cluster.n == 1
        cluster.resize(2)
        assert len(cluster.engines) == 2
