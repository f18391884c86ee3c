"""Measure work on other hosts: nbpar beside ipyparallel, execnet and dask, and beside plain ssh.

    sudo python benchmarks/hosts.py [--quick]

The two hosts are network namespaces of this machine with an sshd each (`tests/hosts/stage.py`), so root,
iproute2 and OpenSSH's server are needed.  All sides of all connections share this machine's cores.  Peers
that are not installed are left out (`pip install execnet distributed asyncssh`).  The slow way to the first
host delays every byte by 10 ms.  dask starts by ssh, but its data goes over TCP, not encrypted.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from subprocess import run
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).parents[1]))  # when this file itself is run
sys.path.append(str(Path(__file__).parents[1] / "tests" / "hosts"))

from stage import Stage, programs_missing, rights_missing

import nbpar
from benchmarks.measuring import describe
from benchmarks.table import Row, Section, Verdict, render, render_verdicts

MB = 10**6
LARGE = 50 * MB
HOSTS = ("one", "two")

DELAY = """
import collections, os, socket, sys, threading, time
link = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def carry(read, write, end):
    late, there = collections.deque(), threading.Condition()
    def deliver():
        while True:
            with there:
                while not late:
                    there.wait()
                due, block = late.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            if not block:
                return end()
            while block:
                block = block[write(block):]
    threading.Thread(target=deliver, daemon=True).start()
    block = b"-"
    while block:
        block = read()
        with there:
            late.append((time.monotonic() + 0.01, block))
            there.notify()
def leave():
    os._exit(0)
to = (lambda: os.read(0, 1 << 17), link.send, lambda: link.shutdown(1))
threading.Thread(target=carry, args=to).start()
carry(lambda: link.recv(1 << 17), lambda block: os.write(1, block), leave)
"""

ECHO = """
import os
for kind, value in channel:
    if kind == "back":
        value = os.urandom(10**6) * (value // 10**6)
    elif kind == "there":
        value = len(value)
    channel.send(value)
"""


def same(item: Any) -> Any:
    """The function of small items."""
    return item


def length(item: bytes) -> int:
    """The function of large items."""
    return len(item)


def noise(size: int) -> bytes:
    """The function of large results, which cannot be compressed."""
    return os.urandom(MB) * (size // MB)


class Nbpar:
    """Cluster.ssh and Pool; one engine on each host."""

    name = "nbpar"

    def __init__(self, stage: Stage, hosts: Sequence[str]) -> None:
        self.cluster = nbpar.Cluster.ssh(dict.fromkeys(hosts, 1), command=stage.command).start()
        self._pool = nbpar.Pool(cluster=self.cluster, progress="none")

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return list(self._pool.map(function, items, chunksize=1))

    def close(self) -> None:
        self._pool.close()
        self.cluster.stop()


class ThroughController(Nbpar):
    """The same through the controller, as on clusters that others have started."""

    name = "nbpar, through the controller"

    def __init__(self, stage: Stage, hosts: Sequence[str]) -> None:
        super().__init__(stage, hosts)
        self._pool.close()
        self._pool = nbpar.Pool(cluster=self.cluster, progress="none", path="controller")


class Ipyparallel:
    """A load-balanced view of the engines that nbpar has started."""

    name = "ipyparallel, on nbpar's engines"

    def __init__(self, stage: Stage, hosts: Sequence[str]) -> None:
        self._cluster = nbpar.Cluster.ssh(dict.fromkeys(hosts, 1), command=stage.command).start()
        self._client = self._cluster.client
        self._client[:].use_cloudpickle()
        self._view = self._client.load_balanced_view()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return list(self._view.map_sync(function, items, chunksize=1))

    def close(self) -> None:
        self._cluster.stop()


class Execnet:
    """A gateway to each host, by ssh."""

    name = "execnet"
    kinds: ClassVar = {same: "same", length: "there", noise: "back"}

    def __init__(self, stage: Stage, hosts: Sequence[str]) -> None:
        import execnet

        self._group = execnet.Group()
        config = " ".join(stage.command[1:])
        self._channels = [
            self._group.makegateway(f"ssh={config} {host}//python={sys.executable}").remote_exec(ECHO)
            for host in hosts
        ]

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        for place, item in enumerate(items):
            self._channels[place % len(self._channels)].send((self.kinds[function], item))
        return [self._channels[place % len(self._channels)].receive() for place in range(len(items))]

    def close(self) -> None:
        self._group.terminate(timeout=1.0)


class Dask:
    """SSHCluster, with the scheduler on this host."""

    name = "dask"

    def __init__(self, stage: Stage, hosts: Sequence[str]) -> None:
        from distributed import Client, SSHCluster

        addresses = [stage.address(host) for host in hosts]
        login = {"username": "root", "client_keys": [str(stage.folder / "key")], "known_hosts": None}
        self._cluster = SSHCluster(
            [stage.address(hosts[0]), *addresses],
            connect_options=login,
            remote_python=sys.executable,
            worker_options={"nthreads": 1},
            scheduler_options={"dashboard": False, "host": addresses[0]},
        )
        self._client = Client(self._cluster)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        results: list[Any] = self._client.gather(self._client.map(function, items, pure=False))
        return results

    def close(self) -> None:
        self._client.close()
        self._cluster.close()


@contextmanager
def opened(kind: Callable[..., Any], stage: Stage, hosts: Sequence[str]) -> Iterator[Any]:
    """Start a peer; it is closed at the end."""
    peer = kind(stage, hosts)
    try:
        yield peer
    finally:
        with suppress(Exception):
            peer.close()


def timed(function: Callable[[], Any]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def right(found: list[Any], expected: list[Any]) -> None:
    """Check the answers of a peer."""
    if found != expected:
        raise AssertionError("other results than expected")


def first_result(kind: Callable[..., Any], stage: Stage) -> float:
    """Seconds from nothing to the first results of both hosts."""
    began = time.perf_counter()
    with opened(kind, stage, HOSTS) as peer:
        right(peer.map(same, [1, 2]), [1, 2])
        return time.perf_counter() - began


def one_by_one(peer: Any, count: int) -> float:
    """Milliseconds of a map of one small item."""
    return median(timed(lambda: right(peer.map(same, [1]), [1])) for _ in range(count)) * 1e3


def messages(peer: Any, count: int) -> float:
    """Items per second, one for each message."""
    items = list(range(count))
    return count / timed(lambda: right(peer.map(same, items), items))


def there(peer: Any, count: int) -> float:
    """MB per second of large items."""
    items = [noise(LARGE) for _ in range(count)]
    return count * LARGE / MB / timed(lambda: right(peer.map(length, items), [LARGE] * count))


def back(peer: Any, count: int) -> float:
    """MB per second of large results."""
    found: list[Any] = []
    seconds = timed(lambda: found.extend(peer.map(noise, [LARGE] * count)))
    right([len(item) for item in found], [LARGE] * count)
    return count * LARGE / MB / seconds


def crossings(stage: Stage, use: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of a call, and how often a large object crossed to the first host meanwhile."""
    before = stage.received(HOSTS[0])
    seconds = timed(use)
    return seconds, (stage.received(HOSTS[0]) - before) / LARGE


def objects(stage: Stage) -> list[Row]:
    """What it takes until four workers of one host have a large object."""
    with (
        nbpar.Cluster.ssh({HOSTS[0]: 4}, command=stage.command) as cluster,
        nbpar.Pool(cluster=cluster, progress="none") as pool,
    ):
        pool.each(same, 1)
        data, shared = noise(LARGE), pool.share(noise(LARGE))
        lines = {
            "captured": crossings(stage, lambda: pool.each(lambda: data[-1])),
            "shared": crossings(stage, lambda: pool.each(lambda: shared.value[-1])),
            "shared, for another function": crossings(stage, lambda: pool.each(lambda: shared.value[-2])),
        }
    return [Row(name, (f"{seconds:.2f}", f"{times:.2f}")) for name, (seconds, times) in lines.items()]


COLUMNS: dict[str, tuple[Callable[[Any, int], float], int]] = {
    "one by one, ms": (one_by_one, 60),
    "messages/s": (messages, 4000),
    "there, MB/s": (there, 6),
    "back, MB/s": (back, 6),
}


def measure(peer: Any, scale: float) -> tuple[str, ...]:
    """All figures of one peer."""
    peer.map(same, list(range(8)))
    return tuple(f"{figure(peer, max(2, int(count * scale))):,.1f}" for figure, count in COLUMNS.values())


def plain(stage: Stage, host: str) -> tuple[str, ...]:
    """What ssh itself does with such bytes."""
    data = noise(4 * LARGE)
    sent = timed(lambda: run([*stage.command, "-q", host, "cat > /dev/null"], input=data, check=True))
    size = len(data)
    read = f"head -c {size} /dev/zero"
    fetched = timed(lambda: run([*stage.command, "-q", host, read], capture_output=True, check=True))
    return ("", "", f"{size / MB / sent:,.1f}", f"{size / MB / fetched:,.1f}")


def rows(kinds: Sequence[Callable[..., Any]], stage: Stage, hosts: Sequence[str], scale: float) -> list[Row]:
    """One line for each peer, and plain ssh."""
    lines = []
    for kind in kinds:
        try:
            with opened(kind, stage, hosts) as peer:
                lines.append(Row(peer.name, measure(peer, scale)))
        except Exception as error:
            lines.append(Row(str(vars(kind)["name"]), (), describe(error)))
    return [*lines, Row("plain ssh", plain(stage, hosts[0]))]


def starts(kinds: Sequence[Callable[..., Any]], stage: Stage) -> list[Row]:
    """Seconds to the first results, twice."""
    lines = []
    for kind in kinds:
        try:
            cells = tuple(f"{first_result(kind, stage):.2f}" for _ in range(2))
            lines.append(Row(str(vars(kind)["name"]), cells))
        except Exception as error:
            lines.append(Row(str(vars(kind)["name"]), (), describe(error)))
    return lines


def number(row: Row, column: int) -> float:
    """A figure of a line."""
    return float(row.cells[column].replace(",", ""))


def judge(starting: list[Row], near: list[Row], slow: list[Row], large: list[Row]) -> list[Verdict]:
    """Compare nbpar's lines, which are the first, with what is promised."""
    ours, far = near[0], slow[0]
    others = [row for row in near if row.name in (Ipyparallel.name, Execnet.name) and row.cells]
    ssh = near[-1], slow[-1]
    verdicts = [
        Verdict(f"first result in at most 5 s: {number(starting[0], 0)}", number(starting[0], 0) <= 5),
        Verdict(f"again in at most 1.5 s: {number(starting[0], 1)}", number(starting[0], 1) <= 1.5),
        *(
            Verdict(f"crosses to a host once, {row.name}: {number(row, 1)}", number(row, 1) < 1.2)
            for row in large
        ),
    ]
    for place, what in ((2, "large items"), (3, "large results")):
        best = max((number(row, place) for row in others), default=0.0)
        verdicts.append(
            Verdict(
                f"{what} at least as fast as peers through ssh: {number(ours, place):,.0f} MB/s, {best:,.0f}",
                number(ours, place) >= best,
            )
        )
        share = number(far, place) / number(ssh[1], place)
        verdicts.append(Verdict(f"{what} over the slow link, share of ssh: {share:.2f} (0.9)", share >= 0.9))
    return verdicts


def main() -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="little work, which measures nothing")
    quick = parser.parse_args().quick
    if missing := rights_missing() or programs_missing():
        print(f"this needs {missing}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="nbpar-stage-") as folder, Stage(Path(folder), 2) as stage:
        proxy = Path(folder) / "delay.py"
        proxy.write_text(DELAY)
        stage.add_alias("slow", "one", f"ProxyCommand {sys.executable} {proxy} %h %p")
        kinds = (Nbpar, ThroughController, Ipyparallel, Execnet, Dask)
        starting = starts((Nbpar, Execnet, Dask), stage)
        large = objects(stage)
        near = rows(kinds, stage, HOSTS, 0.2 if quick else 1.0)
        slow = rows((Nbpar, ThroughController, Ipyparallel, Execnet), stage, ["slow"], 0.2 if quick else 1.0)
    sections = [
        Section("from nothing to results of two hosts", ("first, s", "again, s"), tuple(starting)),
        Section("two hosts, one worker each", tuple(COLUMNS), tuple(near)),
        Section("one worker behind 10 ms of delay", tuple(COLUMNS), tuple(slow)),
        Section(f"{LARGE // MB} MB for four workers of one host", ("s", "crossings"), tuple(large)),
    ]
    verdicts = judge(starting, near, slow, large)
    print(f"{render(sections)}\n\n{render_verdicts(verdicts)}")
    return int(not quick and any(verdict.kept is False for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
