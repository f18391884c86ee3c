"""A program that tests start, kill and start again: program.py FOLDER BACKEND ITEMS HOW."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbpar
from nbpar.testing import Gate


def main(folder: str, backend: str, items: int, how: str) -> None:
    gate = Gate(folder)

    def work(x):
        with Path(folder, "notes", str(x)).open("a") as file:
            file.write(".")
        if x == 9:
            gate.wait()
        return x * x

    with nbpar.Pool(2, backend=backend, progress="none") as pool:
        if how == "map":
            results = pool.map(work, range(items), resume="killed", chunksize=1)
        else:
            results = nbpar.Pipeline([int, work], pool=pool, batch_size=1).map(range(items), resume="killed")
    run = nbpar.last_run
    figures = run.snapshot if hasattr(run, "snapshot") else run.report
    said = f"{results == [x * x for x in range(items)]} {figures.known}\n"
    os.write(1, said.encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
