"""Random runs on other hosts and in jobs, and random faults, checked against an oracle: `make soak-hosts`.

The hosts are network namespaces with an sshd each, and the jobs those of a Slurm (see tests/hosts).  Each
round draws a map and a fault that strikes while it runs: cables are pulled for a moment or for longer than a
host is waited for, engines, relays, connections and owners are killed, engines are stopped, jobs are
cancelled.  Counted are outcomes that are lost, wrong or there twice, rounds that hang, and what is left.

    python tests/soak/hosts.py [--minutes 8] [--seed N] [--only ssh|slurm]
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import nbpar

sys.path.insert(0, str(Path(__file__).parents[1] / "hosts"))
from slurm_stage import SlurmStage, slurm_missing
from stage import Stage, programs_missing, rights_missing

LONGEST_ROUND = 200
"""Seconds after which a round counts as hung."""

BACK_WITHIN = 120
"""Seconds for all engines to be there again after a round."""

GIVE_UP_AFTER = 6
"""Seconds of silence after which a host is given up."""

HOSTS = {"one": 2, "two": 2, "three": 1}
JOBS = 3

OF_HOSTS = (
    "none", "short cut", "long cut", "all cut", "engine", "relay", "fork server", "ssh", "pause", "stop",
    "owner",
)  # fmt: skip
OF_JOBS = ("none", "scancel", "engine", "job", "pause", "stop", "resize")


@dataclass(frozen=True)
class Round:
    """One map and what strikes it."""

    number: int
    items: int
    sleep: float
    bad: frozenset[int]
    chunksize: int | str
    form: str
    large: int
    """Bytes that the function captures."""

    result: int
    """Bytes of a result besides the value."""

    fault: str
    delay: float


def draw(number: int, faults: tuple[str, ...], dice: random.Random) -> Round:
    """Draw a round."""
    form = dice.choice(["map", "imap", "imap_unordered", "map_async", "submit"])
    items = dice.choice([1, 5, 40] if form == "submit" else [1, 5, 40, 200, 2000])
    return Round(
        number,
        items,
        sleep=dice.choice([0, 0.001])
        if items > 200
        else dice.choice([0, 0.02, 0.2 if items < 200 else 0.05]),
        bad=frozenset(dice.sample(range(items), min(items, dice.choice([0, 0, 1, 3])))),
        chunksize=dice.choice(["auto", "auto", 1, 7]),
        form=form,
        large=dice.choice([0, 0, 10, 3_000_000, 20_000_000]),
        result=dice.choice([0, 0, 0, 200_000]) if items <= 200 else 0,
        fault=dice.choice(faults),
        delay=dice.random() * 1.5,
    )


class Place:
    """Where rounds are played, and what harm can be done there."""

    faults: tuple[str, ...] = ()
    full = 0

    def start(self) -> nbpar.Cluster:
        """Start its cluster."""
        raise NotImplementedError

    def strike(self, fault: str, dice: random.Random) -> None:
        """Do harm."""
        raise NotImplementedError

    def left(self) -> list[str]:
        """What is left of all clusters that have ended."""
        raise NotImplementedError


@dataclass
class OnHosts(Place):
    """Three hosts through ssh."""

    stage: Stage
    faults = OF_HOSTS
    full = sum(HOSTS.values())

    def start(self) -> nbpar.Cluster:
        options = {"command": self.stage.command, "give_up_after": GIVE_UP_AFTER, "start_timeout": 100}
        return nbpar.Cluster.ssh(HOSTS, **options).start()

    def strike(self, fault: str, dice: random.Random) -> None:
        name = dice.choice(list(HOSTS))
        if fault == "short cut":
            self.cut([name], dice.random() * GIVE_UP_AFTER * 0.7)
        elif fault == "long cut":
            self.cut([name], GIVE_UP_AFTER * (1.3 + dice.random()))
        elif fault == "all cut":
            self.cut(list(HOSTS), dice.random() * GIVE_UP_AFTER * 0.7)
        elif fault == "owner":
            self.kill_an_owner(name)
        elif fault == "ssh":
            mine = [process for process in psutil.process_iter() if self.is_client(process)]
            if mine:
                dice.choice(mine).kill()
        elif pid := self.victim(name, fault, dice):
            if fault == "pause":
                pause(pid, dice.random() * 12)
            else:
                os.kill(pid, signal.SIGKILL)

    def cut(self, names: list[str], seconds: float) -> None:
        for name in names:
            self.stage.cut(name)
        try:
            time.sleep(seconds)
        finally:
            for name in names:
                self.stage.mend(name)

    def is_client(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return process.cmdline()[:3] == self.stage.command
        return False

    def victim(self, name: str, fault: str, dice: random.Random) -> int:
        """A process of a host: its relay, the child of that, or one of the engines, its children; 0: none."""
        programs = {pid: parent_of(pid) for pid in self.stage.pids(name) if "exec(" in command_line(pid)}
        relays = [pid for pid, parent in programs.items() if parent not in programs]
        servers = [pid for pid, parent in programs.items() if parent in relays]
        engines = [pid for pid, parent in programs.items() if parent in servers]
        found = {"relay": relays, "fork server": servers}.get(fault, engines)
        return dice.choice(found) if found else 0

    def kill_an_owner(self, name: str) -> None:
        """Kill a process that has engines of its own on a host."""
        program = (
            "import nbpar, time\n"
            f"cluster = nbpar.Cluster.ssh({{{name!r}: 1}}, command={self.stage.command}).start()\n"
            "print('there', flush=True)\n"
            "nbpar.Pool(cluster=cluster).map(time.sleep, [600] * 9)\n"
        )
        kill_when_ready(program)

    def left(self) -> list[str]:
        programs = [line for name in HOSTS for line in self.stage.programs(name)]
        files = [file for name in HOSTS for file in self.stage.left_on(name)]
        return [*programs, *files, *(" ".join(client) for client in self.stage.clients)]


@dataclass
class InJobs(Place):
    """Jobs of a Slurm."""

    slurm: SlurmStage
    folder: Path
    faults = OF_JOBS
    full = JOBS
    cluster: nbpar.Cluster | None = field(default=None)

    def start(self) -> nbpar.Cluster:
        self.cluster = nbpar.Cluster.slurm(JOBS, cpus=2, run_folder=self.folder, start_timeout=100).start()
        return self.cluster

    def strike(self, fault: str, dice: random.Random) -> None:
        jobs = list(self.slurm.jobs())
        if fault == "scancel" and jobs:
            self.slurm.run("scancel", dice.choice(jobs), check=False)
        elif fault == "resize" and self.cluster is not None:
            self.cluster.resize(dice.choice([1, 2, JOBS]))
        elif fault in ("engine", "job", "pause") and self.cluster is not None:
            engines = [engine.pid for engine in self.cluster.engines if engine.pid]
            if not engines:
                return
            pid = dice.choice(engines)
            if fault == "pause":
                pause(pid, dice.random() * 12)
            elif fault == "engine":
                os.kill(pid, signal.SIGKILL)
            elif server := parent_of(pid):
                os.kill(parent_of(server) or server, signal.SIGKILL)

    def left(self) -> list[str]:
        return [*self.slurm.jobs(), *map(str, self.folder.iterdir())]


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return ""


def parent_of(pid: int) -> int:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).ppid()
    return 0


def pause(pid: int, seconds: float) -> None:
    """Stop a process for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def kill_when_ready(program: str) -> None:
    """Run a program until it says that it is there, and kill it."""
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        owner.stdout.readline()
    owner.kill()
    owner.wait()


def function_of(plan: Round, captured: bytes) -> Callable[[int], tuple[int, int, int]]:
    """The function of a round's items: some fail."""
    sleep, bad, result = plan.sleep, plan.bad, plan.result

    def work(item: int) -> tuple[int, int, bytes]:
        if sleep:
            time.sleep(sleep)
        if item in bad:
            raise ValueError(item)
        return item, len(captured) + captured[-1], bytes(result)

    return work


def outcomes(pool: nbpar.Pool, plan: Round, captured: bytes) -> Iterator[object]:
    """Run a round's map in its form; return values and failures."""
    options = {"chunksize": plan.chunksize, "errors": "collect"}
    function, items = function_of(plan, captured), range(plan.items)
    if plan.form == "map":
        return iter(pool.map(function, items, **options))
    if plan.form == "map_async":
        return iter(pool.map_async(function, items, **options).get(LONGEST_ROUND))
    if plan.form == "submit":
        futures = [pool.submit(function, item) for item in items]
        return (value_of(future) for future in futures)
    form = pool.imap if plan.form == "imap" else pool.imap_unordered
    return iter(form(function, (item for item in items), **options))


def value_of(future: object) -> object:
    """What a submitted call has returned or raised."""
    error = future.exception(LONGEST_ROUND)
    return future.result() if error is None else error


def check(plan: Round, found: list[object], captured: bytes, ends: Counter[str]) -> None:
    """Compare with the oracle."""
    raised = [one.exception if isinstance(one, nbpar.Failure) else one for one in found]
    failed = [str(error) for error in raised if isinstance(error, ValueError)]
    values = [one for one in found if isinstance(one, tuple)]
    others = [one for one in raised if isinstance(one, BaseException) and not isinstance(one, ValueError)]
    assert not others, f"failed for nothing: {others[:3]}"
    seen = Counter(item for item, *_ in values)
    twice = {item for item, count in seen.items() if count > 1}
    lost = set(range(plan.items)) - plan.bad - set(seen)
    ends["lost"] += len(lost)
    ends["twice"] += len(twice)
    assert not twice, f"there twice: {sorted(twice)[:9]}"
    assert not lost, f"lost: {sorted(lost)[:9]}"
    assert len(failed) == len(plan.bad), f"{len(failed)} failed, wanted {len(plan.bad)}"
    if plan.form != "imap_unordered":
        assert [item for item, *_ in values] == sorted(seen), "in another order"
    wrong = [one for one in values if one[1:] != (len(captured) + captured[-1], bytes(plan.result))]
    assert not wrong, f"wrong values of items {[one[0] for one in wrong[:9]]}"


def play(place: Place, pool: nbpar.Pool, plan: Round, dice: random.Random, ends: Counter[str]) -> None:
    """Play a round."""
    captured = dice.randbytes(plan.large) + b"x"
    if plan.fault == "stop":
        run = pool.map_async(function_of(plan, captured), range(plan.items), errors="collect")
        time.sleep(plan.delay)
        run.cancel()
    else:
        harm = threading.Timer(plan.delay, place.strike, (plan.fault, dice))
        if plan.fault != "none":
            harm.start()
        try:
            check(plan, list(outcomes(pool, plan, captured)), captured, ends)
        finally:
            if plan.fault != "none":
                harm.join()
    if plan.fault == "resize":
        pool.map(abs, [1])
        place.cluster.resize(place.full)
    expect(lambda: usable(pool) and len(pool.workers) == place.full, BACK_WITHIN, "not all engines came back")


def usable(pool: nbpar.Pool) -> bool:
    """Whether the next map works, which asks for jobs that have ended."""
    return pool.map(abs, range(-9, 0)) == list(range(9, 0, -1))


def expect(condition: Callable[[], bool], seconds: float, problem: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, problem
        time.sleep(0.2)


def play_some(
    place: Place, rounds: int, numbers: Iterator[int], dice: random.Random, ends: Counter[str]
) -> None:
    """Play rounds with one cluster, and look for what is left of it."""
    with place.start() as cluster, nbpar.Pool(cluster=cluster, progress="none") as pool:
        expect(lambda: len(cluster.engines) == place.full, BACK_WITHIN, "not all engines came")
        for _ in range(rounds):
            plan = draw(next(numbers), place.faults, dice)
            faulthandler.dump_traceback_later(LONGEST_ROUND, exit=True)
            began = time.monotonic()
            try:
                play(place, pool, plan, dice, ends)
            except AssertionError as problem:
                raise AssertionError(f"{plan}: {problem}; {cluster!r}") from problem
            except Exception as error:
                raise AssertionError(f"{plan}: {type(error).__name__}: {error}; {cluster!r}") from error
            faulthandler.cancel_dump_traceback_later()
            ends[plan.fault] += 1
            print(f"{plan.number}: {plan.fault}, {plan.form}, {time.monotonic() - began:.1f} s", flush=True)
    expect(lambda: not place.left(), 60, "left behind")


def main() -> int:
    """Play until the time is over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", choices=["ssh", "slurm"])
    arguments = parser.parse_args()
    if lacking := programs_missing() or rights_missing() or slurm_missing():
        print(f"this needs {lacking}")
        return 2
    dice, numbers, ends = random.Random(arguments.seed), itertools.count(1), Counter(lost=0, twice=0)
    print(f"seed {arguments.seed}", flush=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nbpar-stage-")))
        stage = stack.enter_context(Stage(folder, len(HOSTS)))
        folder.chmod(0o711)
        for name in ("slurm", "jobs"):
            (folder / name).mkdir()
        slurm = stack.enter_context(SlurmStage(folder / "slurm"))
        places = {"ssh": OnHosts(stage), "slurm": InJobs(slurm, folder / "jobs")}
        chosen = [places[arguments.only]] if arguments.only else list(places.values())
        until = time.monotonic() + 60 * arguments.minutes
        while time.monotonic() < until:
            place = dice.choice(chosen)
            try:
                play_some(place, dice.choice([4, 8]), numbers, dice, ends)
            except AssertionError as problem:
                print(f"{type(place).__name__}: {problem} {place.left()[:5]}", flush=True)
                return 1
        print(f"{next(numbers) - 1} rounds: {dict(ends)}; nothing hung, nothing left", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
