"""Measure how fast clusters start, heal and stop, and their memory and idle CPU: nbpar beside its peers.

    python benchmarks/startup.py [--rounds N] [--quick]

Every figure comes from a fresh Python process, so that imports count where a user would wait
for them; rounds alternate between the libraries, and the best of each is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

NBPAR_COLD = """
import nbpar
pool = nbpar.Pool(4)
pool.map(abs, range(4))
told["cold"] = since()
start = now()
pool.close()
told["stop"] = now() - start
told["cpu"] = cpu()
"""

NBPAR_WARM = """
import time
from nbpar.cluster.cluster import Cluster
cluster = Cluster(2).start()
import nbpar
pool = nbpar.Pool(2, cluster=cluster).wait()
time.sleep(3)
start = now()
pool.map(abs, range(2))
told["warm"] = now() - start
pool.close(); cluster.stop()
"""

NBPAR_HEAL = """
import os, time
from nbpar.cluster.cluster import Cluster
with Cluster(4) as cluster:
    old = cluster.engines[0]
    told["memory"] = memory(cluster.client[:].apply_sync(os.getpid))
    start = now()
    os.kill(old.pid, 9)
    while cluster.replaced < 1 or len(cluster.engines) < 4:
        time.sleep(0.001)
    told["replace"] = now() - start
"""

NBPAR_MANY = """
from nbpar.cluster.cluster import Cluster
with Cluster({many}) as cluster:
    cluster.client[:].apply_sync(os.getpid)
    told["many"] = since()
    ids = [cluster._room._template.pid, cluster._room._controller.pid]
"""

NBPAR_IDLE = """
import time
from nbpar.cluster.cluster import Cluster
with Cluster(8) as cluster:
    pids = [cluster._room._template.pid, cluster._room._controller.pid, *(e.pid for e in cluster.engines)]
    told["idle"] = idle(pids, {idle})
"""

IPYPARALLEL_COLD = """
import ipyparallel
cluster = ipyparallel.Cluster(n=4, log_level=40)
client = cluster.start_and_connect_sync()
client[:].map_sync(abs, range(4))
told["cold"] = since()
told["memory"] = memory(client[:].apply_sync(os.getpid))
start = now()
client.close()
cluster.stop_cluster_sync()
told["stop"] = now() - start
"""

IPYPARALLEL_WARM = """
import ipyparallel, time
cluster = ipyparallel.Cluster(n=2, log_level=40)
client = cluster.start_and_connect_sync()
time.sleep(3)
start = now()
client[:].map_sync(abs, range(2))
told["warm"] = now() - start
client.close(); cluster.stop_cluster_sync()
"""

IPYPARALLEL_MANY = """
import ipyparallel
cluster = ipyparallel.Cluster(n={many}, log_level=40, engine_timeout=300)
client = cluster.start_and_connect_sync()
client[:].apply_sync(os.getpid)
told["many"] = since()
client.close(); cluster.stop_cluster_sync()
"""

IPYPARALLEL_IDLE = """
import ipyparallel, psutil
cluster = ipyparallel.Cluster(n=8, log_level=40)
client = cluster.start_and_connect_sync()
client[:].apply_sync(os.getpid)
told["idle"] = idle([child.pid for child in psutil.Process().children(recursive=True)], {idle})
client.close(); cluster.stop_cluster_sync()
"""

MULTIPROCESSING_COLD = """
import multiprocessing
pool = multiprocessing.get_context("fork").Pool(4)
pool.map(abs, range(4))
told["cold"] = since()
start = now()
pool.close()
pool.join()
told["stop"] = now() - start
told["cpu"] = cpu()
"""

FRAME = """
import json, os, sys, time
now = time.perf_counter
began = now()
told = {}
def since():
    return now() - began
def cpu():
    import resource
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(it.ru_utime + it.ru_stime for it in used)
def memory(pids):
    import psutil
    return max(psutil.Process(pid).memory_full_info().uss for pid in pids) / 1e6
def idle(pids, seconds):
    import psutil
    processes = [psutil.Process(pid) for pid in pids]
    used = lambda: sum(sum(process.cpu_times()[:2]) for process in processes)
    time.sleep(2)
    before = used()
    time.sleep(seconds)
    return 100 * (used() - before) / seconds
"""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    key: str
    """Name of the figure in the programs' output."""

    title: str
    """What is measured."""

    unit: str
    """Unit of the figure."""

    goal: Callable[[float, float | None], bool]
    """Whether nbpar's figure, compared with ipyparallel's, keeps the promise."""

    promise: str
    """The goal in words."""


ROWS = (
    Row(
        "cold",
        "cold script: import to first result, 4 workers",
        "s",
        lambda a, b: b is None or 5 * a <= b,
        "5 x",
    ),
    Row("cpu", "CPU time of all processes of that script", "s", lambda a, b: True, ""),
    Row("warm", "warm: first result, 2 workers", "s", lambda a, b: a <= 0.05, "<= 0.05 s"),
    Row("replace", "replace a killed engine", "s", lambda a, b: a <= 1.0, "<= 1 s"),
    Row("stop", "stop 4 workers", "s", lambda a, b: a <= 0.5, "<= 0.5 s"),
    Row("many", "import to the first answer of all {many} engines", "s", lambda a, b: True, ""),
    Row("memory", "memory of an idle engine (unique set size)", "MB", lambda a, b: True, ""),
    Row("idle", "CPU of an idle cluster of 8 engines, % of one core", "%", lambda a, b: a <= 1.0, "<= 1 %"),
)

PROGRAMS = {
    "nbpar": (NBPAR_COLD, NBPAR_WARM, NBPAR_HEAL, NBPAR_MANY, NBPAR_IDLE),
    "ipyparallel": (IPYPARALLEL_COLD, IPYPARALLEL_WARM, IPYPARALLEL_MANY, IPYPARALLEL_IDLE),
    "multiprocessing": (MULTIPROCESSING_COLD,),
}


def run(program: str, numbers: dict[str, int]) -> dict[str, float]:
    """The figures of one program in a fresh process with a home of its own."""
    for name, number in numbers.items():
        program = program.replace("{" + name + "}", str(number))
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-c", f"{FRAME}\n{program}\nprint(json.dumps(told))"],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
            env={**os.environ, "IPYTHONDIR": home},
        )
    if done.returncode:
        raise SystemExit(f"a program failed:\n{program}\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(rounds: int, numbers: dict[str, int]) -> dict[str, dict[str, float]]:
    """The best figure of each program over all rounds, the libraries taking turns."""
    best: dict[str, dict[str, float]] = {name: {} for name in PROGRAMS}
    for _ in range(rounds):
        for name, programs in PROGRAMS.items():
            for program in programs:
                for key, figure in run(program, numbers).items():
                    best[name][key] = min(figure, best[name].get(key, figure))
    return best


def table(best: dict[str, dict[str, float]], numbers: dict[str, int]) -> tuple[list[str], bool]:
    """The lines to print, and whether every promise was kept."""
    lines = [f"{'':56} {'nbpar':>9} {'ipyparallel':>12} {'multiprocessing':>16}   promise"]
    kept = True
    for row in ROWS:
        ours, theirs = best["nbpar"][row.key], best["ipyparallel"].get(row.key)
        good = row.goal(ours, theirs)
        kept = kept and good
        other = f"{theirs:.3g} {row.unit}" if theirs is not None else "never" if row.key == "replace" else ""
        figure = best["multiprocessing"].get(row.key)
        bare = f"{figure:.3g} {row.unit}" if figure is not None else ""
        verdict = f"{row.promise}: {'kept' if good else 'NOT KEPT'}" if row.promise else ""
        title = row.title.format(**numbers)
        lines.append(f"{title:56} {f'{ours:.3g} {row.unit}':>9} {other:>12} {bare:>16}   {verdict}")
    return lines, kept


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the status is 1 when a promise was not kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", type=int, default=32, help="number of engines of the large cluster")
    parser.add_argument("--quick", action="store_true", help="one round with fewer engines")
    options = parser.parse_args(arguments)
    numbers = {"many": 8 if options.quick else options.engines, "idle": 5 if options.quick else 20}
    lines, kept = table(measure(1 if options.quick else options.rounds, numbers), numbers)
    print(f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f}")
    print("\n".join(lines))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
