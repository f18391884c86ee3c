"""Time functions applied to pandas' tables by nbpar, beside pandas and its other helpers, in one table.

    python benchmarks/tables.py [--quick] [--workers N] [--rounds N] [--only NAME ...]

`rows` and `cells` take a millisecond of CPU each, `short rows` next to nothing, `groups` some milliseconds.
All sides take turns, warm, and of the rounds the median and the best are shown; `speed` is the best of pandas
divided by the best of the side.  What is not installed, or cannot be imported with this pandas, is named.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd

import nbpar
import nbpar.pandas
from benchmarks.table import Row, Section, render

Side = dict[str, Callable[[pd.DataFrame], Any]]
"""How a side does each kind of work; what it cannot do is missing."""

SIZES = {"rows": (3000, 200), "cells": (3000, 200), "short rows": (200_000, 2000), "groups": (400, 20)}
"""Number of calls of each kind of work, and that of `--quick`."""


def burn(seconds: float) -> None:
    """Use the CPU for a time that does not depend on what else runs."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def of_row(row: Any) -> float:
    """Compute a millisecond."""
    burn(0.001)
    return float(row["a"]) * 2


def of_cell(cell: Any) -> float:
    """Compute a millisecond."""
    burn(0.001)
    return float(cell) * 2


def of_short_row(row: Any) -> float:
    """Do next to nothing."""
    return float(row["a"]) * 2


def of_group(group: Any) -> float:
    """Compute some milliseconds."""
    burn(0.005)
    return float(group.max())


def in_pandas(_: int) -> Side:
    """Do it with pandas alone."""
    return {
        "rows": lambda table: table.apply(of_row, axis=1),
        "cells": lambda table: table["a"].map(of_cell),
        "short rows": lambda table: table.apply(of_short_row, axis=1),
        "groups": lambda table: table.groupby("key")["a"].apply(of_group),
    }


def by_nbpar(pool: nbpar.Pool) -> Side:
    """Do it by the accessor of nbpar."""
    return {
        "rows": lambda table: table.nbpar(pool=pool).apply(of_row, axis=1),
        "cells": lambda table: table["a"].nbpar(pool=pool).map(of_cell),
        "short rows": lambda table: table.nbpar(pool=pool).apply(of_short_row, axis=1),
        "groups": lambda table: table.nbpar(pool=pool).groupby("key")["a"].apply(of_group),
    }


def by_pandarallel(workers: int) -> Side:
    """Do it with pandarallel."""
    from pandarallel import pandarallel

    pandarallel.initialize(nb_workers=workers, verbose=0)
    return {
        "rows": lambda table: table.parallel_apply(of_row, axis=1),
        "cells": lambda table: table["a"].parallel_map(of_cell),
        "short rows": lambda table: table.parallel_apply(of_short_row, axis=1),
        "groups": lambda table: (
            table.groupby("key")["a"].apply(of_group)
            if not hasattr(table.groupby("key")["a"], "parallel_apply")
            else table.groupby("key")["a"].parallel_apply(of_group)
        ),
    }


def by_swifter(workers: int) -> Side:
    """Do it with swifter."""
    import swifter

    swifter.set_defaults(npartitions=workers, progress_bar=False)
    return {
        "rows": lambda table: table.swifter.apply(of_row, axis=1),
        "cells": lambda table: table["a"].swifter.apply(of_cell),
        "short rows": lambda table: table.swifter.apply(of_short_row, axis=1),
    }


def by_mapply(workers: int) -> Side:
    """Do it with mapply."""
    import mapply

    mapply.init(n_workers=workers, progressbar=False, chunk_size=1)
    return {
        "rows": lambda table: table.mapply(of_row, axis=1),
        "cells": lambda table: table["a"].mapply(of_cell),
        "short rows": lambda table: table.mapply(of_short_row, axis=1),
    }


def by_dask(workers: int) -> Side:
    """Do it with dask.dataframe, in processes."""
    import dask.dataframe as dd

    def run(make: Callable[[Any], Any], table: pd.DataFrame) -> Any:
        parts = dd.from_pandas(table, npartitions=4 * workers)
        return make(parts).compute(scheduler="processes", num_workers=workers)

    rows = ("a", "float64")
    return {
        "rows": partial(run, lambda table: table.apply(of_row, axis=1, meta=rows)),
        "cells": partial(run, lambda table: table["a"].map(of_cell, meta=rows)),
        "short rows": partial(run, lambda table: table.apply(of_short_row, axis=1, meta=rows)),
        "groups": partial(run, lambda table: table.groupby("key")["a"].apply(of_group, meta=rows)),
    }


def by_joblib(workers: int) -> Side:
    """Do it with joblib and a cut of one's own."""
    import joblib

    def run(part_of: Callable[[Any], Any], table: pd.DataFrame) -> Any:
        bounds = np.linspace(0, len(table), 4 * workers + 1).astype(int)
        parts = [table.iloc[start:end] for start, end in pairwise(bounds)]
        return pd.concat(joblib.Parallel(n_jobs=workers)(joblib.delayed(part_of)(part) for part in parts))

    return {
        "rows": partial(run, lambda part: part.apply(of_row, axis=1)),
        "cells": partial(run, lambda part: part["a"].map(of_cell)),
        "short rows": partial(run, lambda part: part.apply(of_short_row, axis=1)),
    }


SIDES: dict[str, Callable[[Any], Side]] = {
    "pandas": in_pandas,
    "nbpar": by_nbpar,
    "pandarallel": by_pandarallel,
    "swifter": by_swifter,
    "mapply": by_mapply,
    "dask.dataframe": by_dask,
    "joblib": by_joblib,
}


def table_of(work: str, calls: int) -> pd.DataFrame:
    """Return a table for a number of calls."""
    rows = calls * 5 if work == "groups" else calls
    made = {"a": np.arange(rows, dtype=float), "b": np.ones(rows), "key": np.arange(rows) % calls}
    return pd.DataFrame(made)


def timed(call: Callable[[pd.DataFrame], Any], table: pd.DataFrame, expected: pd.Series) -> float:
    """Return the seconds of one call, whose result is checked."""
    begun = time.perf_counter()
    result = call(table)
    seconds = time.perf_counter() - begun
    if not np.array_equal(np.sort(np.asarray(result)), np.sort(expected.to_numpy())):
        raise ValueError("wrong results")
    return seconds


def section(work: str, sides: dict[str, Side], missing: dict[str, str], rounds: int, calls: int) -> Section:
    """Measure one kind of work."""
    table = table_of(work, calls)
    expected = in_pandas(1)[work](table)
    able = {name: side[work] for name, side in sides.items() if work in side}
    for call in able.values():
        call(table_of(work, 20))
    spent: dict[str, list[float]] = {name: [] for name in able}
    for _ in range(rounds):
        for name, call in able.items():
            spent[name].append(timed(call, table, expected))
    best = min(spent["pandas"]) if "pandas" in spent else None
    rows = [
        Row(name, (f"{median(s):.3f} s", f"{min(s):.3f} s", "" if best is None else f"{best / min(s):.2f}x"))
        for name, s in spent.items()
    ]
    rows += [Row(name, note=f"skipped: {why}") for name, why in missing.items()]
    return Section(f"{work}, {calls:,}", ("median", "best", "speed"), tuple(rows))


def found(names: Sequence[str], workers: int, pool: nbpar.Pool) -> tuple[dict[str, Side], dict[str, str]]:
    """Return the sides that can be measured, and why others cannot."""
    sides, missing = {}, {}
    for name in names:
        try:
            sides[name] = SIDES[name](pool if name == "nbpar" else workers)
        except (ImportError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            missing[name] = f"not installed ({reason})" if "No module" in reason else reason
    return sides, missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="little work, to try the program")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=SIDES, default=list(SIDES))
    parser.add_argument("--work", nargs="*", choices=SIZES, default=list(SIZES))
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # those of other libraries about pandas
    with nbpar.Pool(given.workers, progress="none") as pool:
        sides, missing = found(given.only, given.workers, pool)
        rounds = 1 if given.quick else given.rounds
        sections = [section(work, sides, missing, rounds, SIZES[work][given.quick]) for work in given.work]
    print(f"pandas {pd.__version__}, {given.workers} workers\n")
    print(render(sections))
    return 0


if __name__ == "__main__":
    sys.exit(main())
