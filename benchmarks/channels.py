"""Compare channels with execnet's in one run: round trips, messages per second, large items, backpressure.

    python benchmarks/channels.py [--quick]

Every workload runs on all sides in turns, so that a busy machine disturbs all alike.  Figures
are medians.  Without execnet (`pip install execnet`) only nbpar's are printed.  Verdicts on our promises
follow the table; the exit code is 1 when a promise is not kept.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipyparallel
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # when this file itself is run

import nbpar
from benchmarks.table import Verdict, render_verdicts

ECHO = "for item in channel: channel.send(item)"
COUNT = (
    "n = 0\nfor item in channel:\n    n += 1\n    if item is None:\n        channel.send(n)\n        n = 0"
)
FLOOD = "for n in channel:\n    for i in range(n): channel.send(i)"
WINDOW = 500


class Side:
    """One implementation, with its own way to start code on a worker and its own names."""

    def __init__(self, name: str, begin: Callable[[str], Any]) -> None:
        self.name = name
        self.echo, self.count, self.flood = begin(ECHO), begin(COUNT), begin(FLOOD)

    def ping_pong(self, rounds: int) -> float:
        """Microseconds for a small item there and back."""
        return statistics.median(self._echo(1) for _ in range(rounds)) * 1e6

    def sent(self, items: int) -> float:
        """Items per second sent there."""
        begun = time.perf_counter()
        for item in range(items):
            self.count.send(item)
        self.count.send(None)
        self.count.receive()
        return items / (time.perf_counter() - begun)

    def received(self, items: int) -> float:
        """Items per second coming back."""
        begun = time.perf_counter()
        self.flood.send(items)
        for _ in range(items):
            self.flood.receive()
        return items / (time.perf_counter() - begun)

    def echoed(self, items: int) -> float:
        """Items per second there and back, many under way."""
        begun = time.perf_counter()
        for item in range(WINDOW):
            self.echo.send(item)
        for item in range(items - WINDOW):
            self.echo.send(item)
            self.echo.receive()
        for _ in range(WINDOW):
            self.echo.receive()
        return items / (time.perf_counter() - begun)

    def large(self, rounds: int) -> float:
        """Echoes of 1 MiB of bytes per second."""
        item = b"x" * (1 << 20)
        return 1 / statistics.median(self._echo(item) for _ in range(rounds))

    def numbers(self) -> float:
        """Milliseconds for a list of 100 000 integers there and back."""
        return self._echo(list(range(100_000))) * 1e3

    def _echo(self, item: Any) -> float:
        begun = time.perf_counter()
        self.echo.send(item)
        self.echo.receive()
        return time.perf_counter() - begun


@contextmanager
def ours(name: str, **options: Any) -> Iterator[Side]:
    """Channels of nbpar."""
    workers = () if "cluster" in options else (3,)
    with nbpar.Pool(*workers, progress="none", **options) as pool:
        free = iter(pool.gateways)
        yield Side(name, lambda text: next(free).remote_exec(text))


@contextmanager
def encrypted() -> Iterator[Side]:
    """Channels of nbpar through a controller that encrypts (CURVE)."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = ipyparallel.Cluster(
            n=3, engines="nbpar", controller="nbpar", profile_dir=folder, log_level=40,
            controller_args=["--IPController.enable_curve=True"],
        )  # fmt: skip
        client = cluster.start_and_connect_sync()
        try:
            with ours("CURVE", cluster=client, path="controller") as side:
                yield side
        finally:
            client.close()
            cluster.stop_cluster_sync()


@contextmanager
def execnet() -> Iterator[Side | None]:
    """Channels of execnet, if it is installed."""
    try:
        import execnet
    except ImportError:
        yield None
        return
    gateways = [execnet.makegateway() for _ in range(3)]
    free = iter(gateways)
    yield Side("execnet", lambda text: next(free).remote_exec(text))
    execnet.default_group.terminate(timeout=1.0)


WORKLOADS: dict[str, Callable[[Side, float], float]] = {
    "ping-pong, us": lambda side, scale: side.ping_pong(int(2000 * scale)),
    "sent, items/s": lambda side, scale: side.sent(int(20_000 * scale)),
    "received, items/s": lambda side, scale: side.received(int(20_000 * scale)),
    "echoed, items/s": lambda side, scale: side.echoed(int(10_000 * scale)),
    "1 MiB echo, MiB/s": lambda side, scale: side.large(max(3, int(40 * scale))),
    "100 k integers, ms": lambda side, scale: side.numbers(),
}


def measure(sides: list[Side], scale: float, turns: int) -> dict[str, dict[str, float]]:
    """Return the median figure of each workload for each side, measured in turns."""
    figures: dict[str, dict[str, float]] = {}
    for workload, run in WORKLOADS.items():
        taken: dict[str, list[float]] = {side.name: [] for side in sides}
        for _ in range(turns):
            for side in sides:
                taken[side.name].append(run(side, scale))
        figures[workload] = {name: statistics.median(values) for name, values in taken.items()}
    return figures


def show(figures: dict[str, dict[str, float]]) -> None:
    """Print a table."""
    names = list(next(iter(figures.values())))
    print(f"{'':20}" + "".join(f"{name:>16}" for name in names))
    for workload, values in figures.items():
        print(f"{workload:20}" + "".join(f"{values[name]:16,.1f}" for name in names))


PROMISES = (
    # workload, side, how often the figure of execnet, or how much at least or at most
    ("ping-pong, us", "same host", "at most", 0.7, "execnet"),
    ("sent, items/s", "same host", "at least", 2.0, "execnet"),
    ("received, items/s", "same host", "at least", 2.0, "execnet"),
    ("echoed, items/s", "same host", "at least", 2.0, "execnet"),
    ("1 MiB echo, MiB/s", "same host", "at least", 2.0, "execnet"),
    ("100 k integers, ms", "same host", "at most", 0.1, "execnet"),
    ("ping-pong, us", "controller", "at most", 500.0, None),
    ("echoed, items/s", "controller", "at least", 7000.0, None),
    ("ping-pong, us", "CURVE", "at most", 500.0, None),
    ("echoed, items/s", "CURVE", "at least", 7000.0, None),
)


def judge(figures: Mapping[str, Mapping[str, float]]) -> list[Verdict]:
    """Compare figures with our promises."""
    verdicts = []
    for workload, side, how, bound, against in PROMISES:
        values = figures[workload]
        promise = f"{workload}, {side}: {how} {bound:,.10g}" + (f" times {against}'s" if against else "")
        if against is not None and against not in values:
            verdicts.append(Verdict(f"{promise}; {against} is not installed", kept=None))
            continue
        found = values[side] / (values[against] if against else 1.0)
        kept = found <= bound if how == "at most" else found >= bound
        verdicts.append(Verdict(f"{promise}; measured {found:,.2f}", kept=kept))
    return verdicts


def back_pressure() -> Verdict:
    """Send 20 MB to a sleeping worker; the sender should block early."""
    with nbpar.Pool(1, progress="none") as pool:
        channel = pool.gateways[0].remote_exec("channel.send(1)\nimport time\ntime.sleep(60)")
        channel.receive()
        process, sent = psutil.Process(), 0
        before = process.memory_info().rss
        try:
            for _ in range(20_000):
                channel.send(b"x" * 1000, timeout=0.5)
                sent += 1
        except TimeoutError:
            grown = (process.memory_info().rss - before) / 1e6
            said = f"the sender waits after {sent / 1000:.1f} MB, memory +{grown:.1f} MB"
            return Verdict(f"20 MB to a sleeping worker: {said}", kept=grown < 20)
    return Verdict("20 MB to a sleeping worker: the sender did NOT wait", kept=False)


def main() -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, which measure nothing")
    quick = parser.parse_args().quick
    scale, turns = (0.1, 1) if quick else (1.0, 3)
    with (
        execnet() as other,
        ours("same host") as near,
        ours("controller", path="controller") as far,
        encrypted() as hidden,
    ):
        sides = [side for side in (near, far, hidden, other) if side is not None]
        measure(sides, 0.05, 1)  # warm up all sides
        figures = measure(sides, scale, turns)
    show(figures)
    verdicts = [*judge(figures), back_pressure()]
    print(f"\n{render_verdicts(verdicts)}")
    return int(not quick and any(verdict.kept is False for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
