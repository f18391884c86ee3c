"""Compare nbpar with the systems that it follows, in one run, with programs by their authors.

    python -m benchmarks.seeds [--only NAME] [--rounds N] [--originals FOLDER]

Originals that cannot be installed are loaded from single modules in the folder of originals;
if one is not there either, its published figure is shown and marked as such.  Each side runs in
a fresh process; its first call is shown as cold, including imports and the start of workers, and
the best of the following calls as warm.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import seed_programs
from benchmarks.seed_programs import ORIGINALS, MissingError, Program
from benchmarks.table import Row, Section, Verdict, render, render_verdicts

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 180.0
WARM_CALLS = 3
ENOUGH = 5.0
"""Seconds of warm calls that are enough for one side."""


@dataclass(frozen=True)
class Contest:
    """One program, and what nbpar promises against the original."""

    name: str
    title: str
    program: str
    sides: tuple[str, ...]
    against: str
    """The side that the promise is about."""

    bound: float
    """Limit of our warm seconds, as a multiple of theirs."""

    published: float | None = None
    """Their published seconds, used when the original is not installed."""

    absolute: float | None = None
    """Limit of our warm seconds, whatever theirs are."""


AS_FAST = 1.02
"""Equally fast: the limit for an original that is only a queue, so that no time can be saved."""

PAIRS = ("pyblaze", "nbpar"), ("neuraxle", "nbpar"), ("gluonnlp", "nbpar")
BOTH = ("one process", "spacy", "nbpar")

CONTESTS = (
    Contest("pyblaze", "pyblaze: 100 x 10 ms, 4 workers",
            "pyblaze_notebook", PAIRS[0], "pyblaze", 1.0, 0.280),
    Contest("uneven", "pyblaze: 10 x 100 ms, 30 x 1 ms, 4 workers",
            "pyblaze_uneven", PAIRS[0], "pyblaze", 1.0, 1.01, 0.305),
    Contest("neuraxle", "Neuraxle: 100 x 20 ms, batches of 5, 4 workers",
            "neuraxle_example", PAIRS[1], "neuraxle", 1.0, 0.51),
    Contest("batches", "Neuraxle: 4000 batches of one item",
            "neuraxle_batches", PAIRS[1], "neuraxle", 0.5, 1.0),
    Contest("gluonnlp", "gluonnlp: 100 x 10 ms, 4 threads",
            "gluonnlp_waits", PAIRS[2], "gluonnlp", AS_FAST, 0.255),
    Contest("spacy", "spaCy: blank English, 20 k texts, 2 workers",
            "spacy_tokens", BOTH, "one process", 1 / 0.9),
    Contest("component", "spaCy: a component of 0.2 ms, 5 k texts, 2 workers",
            "spacy_component", BOTH, "one process", 1.0),
)  # fmt: skip


@dataclass(frozen=True)
class Times:
    """The times of one side."""

    cold: float = 0.0
    """Its first call, from before its imports."""

    warm: float = 0.0
    problem: str = ""


def main() -> int:
    """Measure, show the table, and return 1 when a promise is broken."""
    options = _options()
    if options.measure:
        return _measure_here(*options.measure)
    chosen = [contest for contest in CONTESTS if options.only in (None, contest.name)]
    sections, verdicts = [], []
    for contest in chosen:
        times = _contest(contest, options.rounds, options.originals)
        sections.append(_section(contest, times))
        verdicts.append(_verdict(contest, times))
        print(render(sections[-1:]), flush=True)
        print(flush=True)
    print(render_verdicts(verdicts))
    return 1 if any(verdict.kept is False for verdict in verdicts) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[contest.name for contest in CONTESTS])
    parser.add_argument("--rounds", type=int, default=2, help="fresh processes of each side")
    folder = os.environ.get(ORIGINALS, "")
    parser.add_argument("--originals", default=folder, help="folder with single modules")
    parser.add_argument("--measure", nargs=2, metavar=("PROGRAM", "SIDE"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _contest(contest: Contest, rounds: int, originals: str) -> dict[str, Times]:
    """Measure the sides in turns, and keep the best of each."""
    best: dict[str, Times] = {}
    for _ in range(rounds):
        for side in contest.sides:
            got = _measure(contest.program, side, originals)
            if side not in best or (not got.problem and best[side].problem):
                best[side] = got
            elif not got.problem:
                best[side] = Times(min(best[side].cold, got.cold), min(best[side].warm, got.warm))
    return best


def _measure(program: str, side: str, originals: str) -> Times:
    """Measure one side in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.seeds", "--measure", program, side]
    environment = {**os.environ, ORIGINALS: originals}
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=LONGEST, cwd=ROOT, env=environment, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Times(problem=f"not over after {LONGEST:g} s")
    lines = ended.stdout.strip().splitlines()
    if ended.returncode or not lines:
        return Times(problem=(ended.stderr.strip().splitlines() or ["it said nothing"])[-1][:100])
    return Times(**json.loads(lines[-1]))


def _measure_here(name: str, side: str) -> int:
    begun = time.perf_counter()
    try:
        program: Program = getattr(seed_programs, name)(side)
    except MissingError as missing:
        print(json.dumps({"problem": str(missing)}))
        return 0
    program()
    cold = time.perf_counter() - begun
    warm = []
    while len(warm) < WARM_CALLS and sum(warm) < ENOUGH:
        begun = time.perf_counter()
        program()
        warm.append(time.perf_counter() - begun)
    print(json.dumps({"cold": cold, "warm": min(warm)}), flush=True)
    sys.stdout.flush()
    if side not in ("nbpar", "one process"):
        os._exit(0)  # some originals never let their process end
    return 0


def _section(contest: Contest, times: dict[str, Times]) -> Section:
    rows = []
    for side, got in times.items():
        if not got.problem:
            rows.append(Row(side, (f"{got.cold:.3f} s", f"{got.warm:.3f} s")))
        elif side == contest.against and contest.published is not None:
            rows.append(Row(side, ("-", f"{contest.published:.3f} s"), f"as published; {got.problem}"))
        else:
            rows.append(Row(side, note=got.problem))
    return Section(contest.title, ("cold", "warm"), tuple(rows))


def _verdict(contest: Contest, times: dict[str, Times]) -> Verdict:
    ours, theirs = times["nbpar"], times[contest.against]
    reference = contest.published if theirs.problem else theirs.warm
    if ours.problem or reference is None:
        return Verdict(f"{contest.title}: not measured", None)
    limit = contest.bound * reference
    if contest.absolute is not None:
        limit = min(limit, contest.absolute)
    return Verdict(f"{contest.title}: {ours.warm:.3f} s, at most {limit:.3f} s", ours.warm <= limit)


if __name__ == "__main__":
    sys.exit(main())
