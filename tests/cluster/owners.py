"""Programs that own a cluster and are killed or disturbed, and checks of what they leave behind."""

import json
import subprocess
import sys
from pathlib import Path

import psutil


def alive(pids):
    """Those of the processes that still do something."""
    return [pid for pid in pids if _running(pid)]


def _running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(pid):
    """The process's descendants."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


OWNER = """
import json, os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests were started in the background
from nbpar.cluster.cluster import Cluster
cluster = Cluster(2).start()
{extra}
room = cluster._room
print(json.dumps({{
    "template": room._template.pid,
    "controller": room._controller.pid,
    "engines": [engine.pid for engine in cluster.engines],
    "directory": str(cluster.directory),
    "also": {also},
}}), flush=True)
sys.stdin.readline()
{end}
"""


class Owner:
    """A program that owns a cluster."""

    def __init__(self, extra="", end="", also="None", **options):
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER.format(extra=extra, end=end, also=also)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        self.cluster = json.loads(self.process.stdout.readline())

    @property
    def also(self):
        return self.cluster["also"]

    @property
    def pids(self):
        return [self.cluster["template"], self.cluster["controller"], *self.cluster["engines"]]

    @property
    def directory(self):
        return Path(self.cluster["directory"])

    def nothing_left(self):
        return not alive(self.pids) and not self.directory.exists()

    def close(self):
        self.process.kill()
        self.process.communicate()
