"""`nbpar demo`: count what is in Python's standard library, in a plain loop and on workers, and compare."""

from __future__ import annotations

import argparse
import platform
import sys
import sysconfig
import time
import tokenize
from collections.abc import Sequence
from pathlib import Path

BRANCHES = frozenset({"if", "elif", "for", "while", "except", "case", "and", "or"})

Counts = tuple[int, int, int]
"""Tokens, functions and branches."""


def count(path: str) -> Counts | str:
    """Count what is in one Python file; a string says why it cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (its readline is wanted)
            words = [token.string for token in tokenize.tokenize(file.readline)]
    except (OSError, SyntaxError, ValueError, tokenize.TokenError) as error:
        return f"{type(error).__name__}: {error}"
    return len(words), words.count("def"), sum(word in BRANCHES for word in words)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when both ways agree, 1 when they do not, 130 when it was interrupted."""
    options = _parser().parse_args(arguments)
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(str(path) for path in root.rglob("*.py") if "-packages" not in str(path.relative_to(root)))
    wanted = min(options.limit or len(files), len(files))
    try:
        return _run([files[place * len(files) // wanted] for place in range(wanted)], options)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; the workers are stopped\n")
        return 130


def _run(files: Sequence[str], options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from nbpar.pool.pool import Pool

    _say(f"Python {platform.python_version()}: {len(files):,} files of the standard library")
    for path in files:  # so that neither way waits for the disk
        Path(path).read_bytes()
    began = time.perf_counter()
    here = [count(path) for path in tqdm(files, desc="plain loop", unit=" files")]
    looped = time.perf_counter()
    with Pool(options.workers, backend=options.backend, progress="text") as pool:
        workers = f"{len(pool.each(time.perf_counter))} {options.backend}"
        started = time.perf_counter()
        there = list(pool.map(count, files, label=options.backend))
        done = time.perf_counter()
    faster = (looped - began) / (done - started)
    _say(f"\n{_table(files, here)}\n\nplain loop    {looped - began:8.2f} s")
    _say(f"{workers:14}{done - started:8.2f} s   {faster:.2f} times as fast")
    _say(f"starting them {started - looped:8.2f} s   once per session")
    if here != there:
        sys.stderr.write("the results differ: this is a bug in nbpar, please report it\n")
        return 1
    _say("both gave the same results in the same order")
    return 0


def _table(files: Sequence[str], counts: Sequence[Counts | str]) -> str:
    """Return the modules with the most branches, and the sums of all."""
    both = zip(files, counts, strict=True)
    good = [(Path(path).name, *found) for path, found in both if not isinstance(found, str)]
    sums = (sum(row[place] for row in good) for place in (1, 2, 3))  # type: ignore[misc]
    rows = [*sorted(good, key=lambda row: -row[3])[:10], (f"all {len(good):,}", *sums)]
    lines = [f"{name:28}{tokens:12,}{defs:12,}{branches:12,}" for name, tokens, defs, branches in rows]
    unread = f"{len(files) - len(good):,} more cannot be read by this Python"
    return "\n".join([f"{'module':28}{'tokens':>12}{'functions':>12}{'branches':>12}", *lines, unread])


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, was {number}")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nbpar demo", description=__doc__)
    parser.add_argument("--workers", type=_positive, metavar="N", help="default: all usable CPUs")
    parser.add_argument("--backend", choices=["engines", "threads", "serial"], default="engines")
    parser.add_argument("--limit", type=_positive, metavar="N", help="only N files, from everywhere")
    return parser
