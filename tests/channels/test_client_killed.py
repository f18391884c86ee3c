"""Channels and their engines on a cluster that stays, after the client is killed."""

import subprocess
import sys
from pathlib import Path

import pytest
from joined_clusters import cluster_of_its_own

import nbpar
from nbpar.testing import until

CLIENT = """
import sys
import nbpar
from nbpar.backends.engines import liveness as engines

engines.PING_EVERY = 0.2
file, path, text = sys.argv[1:]
pool = nbpar.Pool(cluster=file, path=path, progress="none")
gateway = pool.gateways[0]
waiting = gateway.remote_exec("channel.send(1); channel.receive()", thread=True)
channel = gateway.remote_exec("channel.send(1)\\n" + text)
print(waiting.receive(20), channel.receive(20), flush=True)
sys.stdin.read()
"""


BE_IMPATIENT = """
from nbpar.worker.loop import Loop
Loop.__init__.__kwdefaults__["silence"] = 2.0
"""
"""Makes an engine give up a client sooner that says nothing."""

THREADS_OF_CHANNELS = (
    "sum(thread.name.startswith('nbpar channel') for thread in __import__('threading').enumerate())"
)


@pytest.fixture
def shared(engine_way, tmp_path):
    with cluster_of_its_own(1, tmp_path / "profile", encrypted=engine_way == "encrypted") as client:
        client[:].execute(BE_IMPATIENT, block=True)
        yield client


@pytest.mark.parametrize("text", ["channel.receive()", "while True: pass", "import time; time.sleep(1000)"])
def test_code_ends_and_engines_are_free_when_the_client_is_killed(engine_way, shared, text, tmp_path):
    path = "auto" if engine_way == "engines" else "controller"
    file = next(Path(tmp_path).rglob("ipcontroller*-client.json"))
    victim = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(file), path, text], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert victim.stdout.readline() == b"1 1\n"

    victim.kill()
    victim.communicate()

    assert shared[0].apply_async(abs, -1).get(timeout=30) == 1
    until(lambda: not shared[0].apply_sync(eval, THREADS_OF_CHANNELS.strip()))
    with nbpar.Pool(cluster=shared, path=path, progress="none") as pool:
        assert pool.gateways[0].remote_exec("channel.send(2)").receive(20) == 2
