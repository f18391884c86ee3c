"""Fixtures that show what is in shared memory."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def memory_files():
    """Names of the memory that this process holds for others, but for what other tests have left."""
    before = set(_memory_files())
    return lambda: set(_memory_files()) - before


def _memory_files():
    for link in Path("/proc/self/fd").iterdir():
        try:
            name = str(link.readlink())
        except OSError:
            continue
        if "memfd:nbpar-" in name:
            yield name
