"""Clusters inside a Jupyter kernel, whose main thread runs an event loop."""

import json

import pytest
from jupyter_client.manager import start_new_kernel
from owners import alive

from nbpar.testing import until

pytestmark = pytest.mark.engines

START = """
import json, os, threading
from nbpar.cluster.cluster import Cluster
cluster = Cluster(2)
"""

FACTS = """
room = cluster._room
print(json.dumps([room._template.pid, room._controller.pid, *[engine.pid for engine in cluster.engines]]))
"""


class Notebook:
    """A kernel and what it prints."""

    def __init__(self):
        self.manager, self._client = start_new_kernel(kernel_name="python3")

    def run(self, code):
        printed = []

        def hear(message):
            content = message["content"]
            if message["msg_type"] == "stream":
                printed.append(content["text"])
            elif message["msg_type"] == "error":
                printed.append("\n".join(content["traceback"]))

        reply = self._client.execute_interactive(code, timeout=60, output_hook=hear)
        assert reply["content"]["status"] == "ok", "".join(printed)
        return "".join(printed)

    def close(self):
        self._client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture
def notebook():
    made = Notebook()
    yield made
    made.close()


@pytest.mark.parametrize(
    "start",
    [
        "cluster.start()",
        "thread = threading.Thread(target=cluster.start); thread.start(); thread.join()",
        "await cluster",
        "cluster.__enter__()",
    ],
)
def test_it_starts_in_every_way_and_serves_px(notebook, start):
    notebook.run(START)
    notebook.run(start)

    notebook.run("%px import os; number = os.getpid()")

    assert "True" in notebook.run("print(cluster.client[:]['number'] == [e.pid for e in cluster.engines])")
    notebook.run("cluster.stop()")


@pytest.mark.parametrize("end", ["restart", "kill", "shutdown"])
def test_nothing_is_left_when_the_kernel_goes(notebook, end):
    notebook.run(START + "cluster.start()")
    pids = json.loads(notebook.run(FACTS))
    assert alive(pids) == pids

    if end == "restart":
        notebook.manager.restart_kernel()
    elif end == "kill":
        notebook.manager.signal_kernel(9)
    else:
        notebook.manager.shutdown_kernel()

    until(lambda: not alive(pids))


def test_an_interrupt_of_the_kernel_leaves_the_cluster_alone(notebook):
    notebook.run(START + "cluster.start()")
    pids = json.loads(notebook.run(FACTS))

    notebook.manager.interrupt_kernel()

    assert notebook.run("print(cluster.client[:].apply_sync(int))").strip() == "[0, 0]"
    assert alive(pids) == pids
