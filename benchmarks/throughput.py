"""Measure how fast nbpar and its peers feed their workers: one table, measured in one run.

    python benchmarks/throughput.py [--quick] [--workers N] [--only NAME ...]

All pools are open and warm before anything is timed, and take turns.  Times are those of whole calls;
answers are checked outside of the timed part.  The exit status is 1 when a promise was not kept.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.figures import memory_section, section, verdicts
from benchmarks.measuring import Growth, Measurement, measure, watched
from benchmarks.opening import opened, private_surroundings
from benchmarks.peers import Nbpar, all_peers
from benchmarks.table import Verdict, render, render_verdicts
from benchmarks.workloads import QUICK_STREAM_ITEMS, STREAM_ITEMS, WORKLOADS, Workload, tiny

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.peer import Peer
    from benchmarks.table import Section

INTERRUPTED = 130
MEMORY = "memory"
MEASURED_PACKAGES = ("ipyparallel", "joblib", "mpire")


@dataclass
class Results:
    """The results of the run so far."""

    measurements: list[Measurement] = field(default_factory=list)
    growths: list[Growth] = field(default_factory=list)
    remarks: dict[str, list[str]] = field(default_factory=dict)

    def remark(self, peer: Peer, text: str) -> None:
        """Keep a remark about a peer; drop repetitions."""
        said = self.remarks.setdefault(peer.key, [])
        if text not in said:
            said.append(text)

    def broken(self, peers: Sequence[Peer]) -> list[Verdict]:
        """Return a failed verdict for each pool of nbpar that could not be opened or closed."""
        ours = [peer for peer in peers if isinstance(peer, Nbpar)]
        return [
            Verdict(f"{p.name}: {text}", kept=False) for p in ours for text in self.remarks.get(p.key, [])
        ]

    def sections(self, names: Mapping[str, str]) -> list[Section]:
        """Make one section per workload."""
        keys = list(dict.fromkeys(one.workload.key for one in self.measurements))
        made = [section([one for one in self.measurements if one.workload.key == key], names) for key in keys]
        return [*made, *([memory_section(self.growths, names)] if self.growths else [])]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0, 1 when a promise was not kept, 130 when interrupted."""
    options = parse(arguments)
    try:
        with private_surroundings():
            return run(options)
    except KeyboardInterrupt:
        say("\ninterrupted; every pool and cluster is closed")
        return INTERRUPTED


def run(options: argparse.Namespace) -> int:
    """Measure what was asked for and print it."""
    peers = [peer for peer in all_peers() if peer.key in options.peers]
    print(heading(), flush=True)
    results = Results()
    groups = {workload.workers or options.workers for workload in options.workloads}
    for workers in sorted(groups | ({options.workers} if options.memory else set())):
        say(f"starting all pools with {workers} workers")
        with opened(peers, workers, results.remark) as ready:
            measure_group(results, ready, workers, options)
    report(results, peers)
    judged = results.broken(peers)
    if options.quick:
        print("\nPromises are not judged by tiny sizes.")
    else:
        print("\nPromises, by the best calls:")
        judged = [*verdicts(results.measurements, results.growths), *judged]
    print(render_verdicts(judged))
    return int(any(verdict.kept is False for verdict in judged))


def measure_group(results: Results, peers: Sequence[Peer], workers: int, options: argparse.Namespace) -> None:
    """Measure everything that needs this number of workers; memory first, while it is fresh."""
    if options.memory and workers == options.workers:
        say("memory while imap streams")
        items = QUICK_STREAM_ITEMS if options.quick else STREAM_ITEMS
        results.growths += [watched(peer, items) for peer in peers if isinstance(peer, Nbpar)]
    for workload in options.workloads:
        if (workload.workers or options.workers) == workers:
            say(workload.title)
            budget = 0.2 if options.quick else options.budget
            found = measure(workload, peers, workers, rounds=options.rounds, budget=budget)
            results.measurements += found


def report(results: Results, peers: Sequence[Peer]) -> None:
    """Print the table and its legend."""
    print(f"\n{render(results.sections({peer.key: peer.name for peer in peers}))}\n")
    for peer in peers:
        print(f"{peer.name}: {'; '.join(results.remarks.get(peer.key, [peer.calls]))}")


def heading() -> str:
    """Name the versions and the machine of the measurement."""
    versions = [f"{name} {metadata.version(name)}" for name in MEASURED_PACKAGES if _installed(name)]
    load = f", load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    python = f"Python {platform.python_version()}"
    return f"{', '.join([python, *versions])}; {platform.system()}, {os.cpu_count()} CPUs{load}"


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def say(text: str) -> None:
    """Report progress on standard error, separate from the table."""
    print(text, file=sys.stderr, flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options; `--only` chooses among workloads and peers alike."""
    workloads = {workload.key: workload for workload in WORKLOADS}
    tests = [MEMORY, *workloads]
    peers = [peer.key for peer in all_peers()]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: tests the program, measures nothing"
    )
    parser.add_argument(
        "--workers", type=int, default=_usable_cpus(), metavar="N", help="default: usable CPUs"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of every peer (5; 1 when quick)")
    parser.add_argument("--budget", type=float, default=6.0, metavar="S", help="longest call in seconds (6)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=[*tests, *peers],
        metavar="NAME",
        help=f"a workload ({', '.join(tests)}) or a peer ({', '.join(peers)}); may be repeated",
    )
    options = parser.parse_args(arguments)
    wanted = [name for name in tests if name in options.only] or tests
    options.memory = MEMORY in wanted
    options.workloads = _sized([workloads[name] for name in wanted if name != MEMORY], quick=options.quick)
    options.peers = [name for name in peers if name in options.only] or peers
    options.rounds = options.rounds or (1 if options.quick else 5)
    return options


def _sized(workloads: Sequence[Workload], *, quick: bool) -> list[Workload]:
    return [tiny(workload) for workload in workloads] if quick else list(workloads)


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main())
