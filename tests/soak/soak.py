"""Random runs and random faults, checked against an oracle, for any length of time: `make soak`.

Each round draws a map (items, durations, failures, options) and faults that strike while it runs (an
engine, the controller or the template killed, an engine stopped for a while, Ctrl-C, resizing), and
checks what came against what had to come.  A round that hangs ends the program with all stacks.

    python tests/soak/soak.py [--minutes 30] [--seed N]
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

import nbpar
from nbpar.backends.engines import liveness

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
from harm import cut_connections

LONGEST_ROUND = 120
"""Seconds after which a round counts as hung."""


@dataclass(frozen=True)
class Round:
    """One map and what strikes it."""

    number: int
    items: int
    sleep: float
    bad: frozenset[int]
    lethal: frozenset[int]
    chunksize: int | str
    form: str
    retries: int
    fault: str
    delay: float


def draw(number: int, dice: random.Random) -> Round:
    """Draw a round."""
    items = dice.choice([0, 1, 3, 20, 200, 2000])
    few = range(items)
    return Round(
        number,
        items,
        sleep=dice.choice([0, 0, 0.0005, 0.003]) if items > 200 else dice.choice([0, 0.001, 0.02]),
        bad=frozenset(dice.sample(few, min(items, dice.choice([0, 0, 1, 3])))),
        lethal=frozenset(dice.sample(few, min(items, dice.choice([0, 0, 0, 1])))),
        chunksize=dice.choice(["auto", "auto", 1, 7]),
        form=dice.choice(["map", "imap", "imap_unordered", "map_async", "starmap"]),
        retries=dice.choice([0, 0, 1]),
        fault=dice.choice(
            ["none", "none", "engine", "engine", "pause", "cut", "controller", "template", "stop", "resize"]
        ),
        delay=dice.random() * 0.4,
    )


def work(item: int, plan: Round) -> int:
    """The function of a round's items: some fail, some kill their worker."""
    if plan.sleep:
        time.sleep(plan.sleep)
    if item in plan.lethal:
        os._exit(9)
    if item in plan.bad:
        raise ValueError(item)
    return item * 3


def strike(pool: nbpar.Pool, plan: Round, dice: random.Random) -> None:
    """Do harm, and see that it is noticed."""
    if plan.fault == "stop":
        os.kill(os.getpid(), signal.SIGINT)
    elif plan.fault == "resize":
        pool.resize(dice.choice([1, 2, 3]))
    elif plan.fault == "cut":
        cut_connections(pool)
    elif plan.fault == "pause":
        with contextlib.suppress(ProcessLookupError, ValueError):
            pid = victim(pool, "engine")
            os.kill(pid, signal.SIGSTOP)
            time.sleep(dice.random() * 3 * liveness.SILENT_AFTER)
            os.kill(pid, signal.SIGCONT)
    else:
        with contextlib.suppress(ProcessLookupError, ValueError):  # it has gone, or none is there just now
            os.kill(victim(pool, plan.fault), signal.SIGKILL)
            deadline = time.monotonic() + LONGEST_ROUND
            while plan.fault != "engine" and not pool.broken and time.monotonic() < deadline:
                time.sleep(0.01)


def victim(pool: nbpar.Pool, role: str) -> int:
    """Return the process of a role in a pool's cluster."""
    room = pool._place._cluster._room
    pids = {
        "controller": [room._controller.pid or room._template._process.pid],
        "template": [room._template._process.pid],
        "engine": [process.pid for process in list(room._engines.values()) if process.pid],
    }
    return min(pids[role])


def run(pool: nbpar.Pool, plan: Round) -> list[object]:
    """Run a round's map in its form; failures stand in their places."""
    options = {"chunksize": plan.chunksize, "retries": plan.retries, "errors": "collect"}
    items = range(plan.items)
    if plan.form == "starmap":
        return pool.starmap(work, [(item, plan) for item in items], **options)
    if plan.form == "map":
        return pool.map(lambda item: work(item, plan), items, **options)
    if plan.form == "map_async":
        return pool.map_async(lambda item: work(item, plan), items, **options).get(LONGEST_ROUND)
    form = pool.imap if plan.form == "imap" else pool.imap_unordered
    return list(form(lambda item: work(item, plan), (item for item in items), **options))


def check(plan: Round, results: list[object]) -> None:
    """Compare with the oracle."""
    died = {
        r.index for r in results if isinstance(r, nbpar.Failure) and isinstance(r.exception, nbpar.WorkerDied)
    }
    failed = {r.index for r in results if isinstance(r, nbpar.Failure)} - died
    values = [r for r in results if not isinstance(r, nbpar.Failure)]
    wanted = [item * 3 for item in range(plan.items) if item not in plan.bad | plan.lethal | died]
    assert plan.lethal <= died, f"items {plan.lethal - died} ought to have killed their workers"
    struck = plan.fault in ("engine", "cut", "controller", "template")
    assert died == plan.lethal or struck, f"items {died - plan.lethal} were blamed for nothing"
    assert failed == plan.bad - died, f"failed {failed}, wanted {plan.bad}"
    assert (sorted(values) if plan.form == "imap_unordered" else values) == wanted, "wrong values"


def play(pool: nbpar.Pool, plan: Round, dice: random.Random) -> str:
    """Play a round; return how it ended."""
    timer = None
    if plan.fault != "none":
        timer = threading.Timer(plan.delay, strike, (pool, plan, dice))
    try:
        try:
            if timer is not None:
                timer.start()
            results = run(pool, plan)
            check(plan, results)
            ended = "done"
        finally:
            if timer is not None:
                timer.join()
                time.sleep(0.01)  # so that Ctrl-C strikes here at the latest
    except KeyboardInterrupt:
        assert plan.fault == "stop", "a stray KeyboardInterrupt"
        ended = "stopped"
    except (nbpar.NoWorkersError, nbpar.ClusterError):
        if plan.fault not in ("controller", "template"):
            raise
        ended = "broken"
    check_usable(pool)
    return ended


def check_usable(pool: nbpar.Pool) -> None:
    """The next map works."""
    assert pool.map(abs, range(-9, 0)) == list(range(9, 0, -1)), "the pool is not usable again"


def main() -> int:
    """Play until the time is over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    liveness.ASK_AFTER, liveness.SILENT_AFTER = 0.2, 0.6  # so that it is noticed within a round
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    print(f"seed {arguments.seed}", flush=True)
    until = time.monotonic() + 60 * arguments.minutes
    ends: dict[str, int] = {}
    number = 0
    while time.monotonic() < until:
        path = dice.choice(["auto", "controller"])
        with nbpar.Pool(2, path=path, progress="none") as pool:
            for _ in range(25):
                plan = draw(number, dice)
                number += 1
                faulthandler.dump_traceback_later(LONGEST_ROUND, exit=True)
                try:
                    ended = play(pool, plan, dice)
                except AssertionError as problem:
                    print(f"{path}: {plan}: {problem}", flush=True)
                    return 1
                faulthandler.cancel_dump_traceback_later()
                ends[ended] = ends.get(ended, 0) + 1
        left = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
        _, left = psutil.wait_procs(left, timeout=5)
        if left:
            print(f"left behind: {left}", flush=True)
            return 1
        print(f"{number} rounds: {ends}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
