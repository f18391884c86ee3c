"""Time joblib's calls and searches of scikit-learn on nbpar's workers, beside loky's and threads.

    python benchmarks/models.py [--quick] [--jobs N] [--rounds N] [--only NAME ...]

`tiny` is 20 000 tasks that do next to nothing, `fits` a grid search of 200 fits.  Cold is the first call of a
process of its own, with the start of its workers; warm are those that follow.  All backends take turns,
and of the rounds the median and the best are shown.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import joblib
import numpy as np

import nbpar
from benchmarks.table import Row, Section, render

BACKENDS = ("nbpar", "loky", "threading")


def increased(number: int) -> int:
    """Do next to nothing."""
    return number + 1


def tiny(tasks: int) -> None:
    """Run many short tasks."""
    found = joblib.Parallel()(joblib.delayed(increased)(number) for number in range(tasks))
    if found != list(range(1, tasks + 1)):
        raise ValueError("wrong results")


def fits(candidates: int) -> None:
    """Search a grid, with five fits for each candidate."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    dice = np.random.default_rng(0)
    features = dice.normal(size=(300, 8))
    labels = (features[:, 0] + 0.3 * dice.normal(size=300) > 0).astype(int)
    search = GridSearchCV(SVC(), {"C": np.logspace(-2, 2, candidates).tolist()}, cv=5)
    if search.fit(features, labels).best_score_ < 0.5:
        raise ValueError("nothing was learned")


WORK: dict[str, tuple[Callable[[int], None], int, int]] = {"tiny": (tiny, 20_000, 200), "fits": (fits, 40, 2)}
"""What is measured: a function, its size, and that of `--quick`."""


def timed(backend: str, jobs: int, work: str, *, quick: bool) -> float:
    """Return the seconds of one call."""
    function, size, small = WORK[work]
    quiet = {"progress": "none"} if backend == "nbpar" else {}
    with joblib.parallel_config(backend=backend, n_jobs=jobs, **quiet):
        begun = time.perf_counter()
        function(small if quick else size)
        return time.perf_counter() - begun


def cold(backend: str, jobs: int, work: str, *, quick: bool) -> float:
    """Return the seconds of the first call of a new process, without its imports."""
    command = [sys.executable, __file__, "--first", backend, work, "--jobs", str(jobs)]
    said = subprocess.run(
        [*command, *(["--quick"] if quick else [])], check=True, capture_output=True, text=True
    )
    return float(said.stdout)


def shown(seconds: Sequence[float]) -> tuple[str, str]:
    """Return median and best as text."""
    return f"{median(seconds):.3f} s", f"{min(seconds):.3f} s"


def section(work: str, backends: Sequence[str], jobs: int, rounds: int, *, quick: bool) -> Section:
    """Measure one kind of work."""
    first: dict[str, list[float]] = {backend: [] for backend in backends}
    later: dict[str, list[float]] = {backend: [] for backend in backends}
    for backend in backends:
        timed(backend, jobs, work, quick=True)
    for _ in range(rounds):
        for backend in backends:
            later[backend].append(timed(backend, jobs, work, quick=quick))
    for _ in range(max(1, rounds // 3)):
        for backend in backends:
            first[backend].append(cold(backend, jobs, work, quick=quick))
    rows = tuple(Row(backend, (*shown(later[backend]), *shown(first[backend]))) for backend in backends)
    return Section(f"{work}, {jobs} jobs", ("warm", "best", "cold", "best"), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="little work, to try the program")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="*", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--first", nargs=2, metavar=("BACKEND", "WORK"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    nbpar.register_joblib()
    try:
        if given.first:
            print(timed(given.first[0], given.jobs, given.first[1], quick=given.quick))
            return 0
        rounds = 1 if given.quick else given.rounds
        sections = [section(work, given.only, given.jobs, rounds, quick=given.quick) for work in WORK]
        print(render(sections))
    finally:
        nbpar.pool.defaults.close_default_pools()
    return 0


if __name__ == "__main__":
    sys.exit(main())
