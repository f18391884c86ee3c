"""Make the benchmarks importable, which are not part of the package; a peer without workers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


class PeerHere:
    """Computes in this process, and fails where it is told to."""

    calls = "a loop"

    def __init__(self, key="here", *, in_our_group=False, fail_open=None, fail_map=None, answer=list):
        self.key = key
        self.name = f"peer {key}"
        self.in_our_group = in_our_group
        self.fail_open = fail_open
        self.fail_map = fail_map
        self.answer = answer
        self.opened = 0
        self.closed = 0
        self.sizes = []

    def open(self, workers):
        self.opened += 1
        if self.fail_open:
            raise self.fail_open

    def map(self, function, items, *, cheap):
        if self.fail_map:
            raise self.fail_map
        self.sizes.append(len(items))
        return self.answer(items)

    def map_one_by_one(self, function, items):
        return self.map(function, items, cheap=False)

    def submit_each(self, function, items):
        return self.map(function, items, cheap=False)

    def close(self):
        self.closed += 1


@pytest.fixture
def peer_here():
    return PeerHere
