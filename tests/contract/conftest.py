"""The contract tests run on every kind of worker.

A new kind is one more line in `KINDS`.  Functions in these tests may travel: they capture
plain values and gates, and tell what they did by what they return or by files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import nbpar
from nbpar.testing import Gate


@dataclass(frozen=True)
class Kind:
    """A kind of worker, and what it can do."""

    options: dict[str, Any] = field(default_factory=dict)
    workers: int = 2

    concurrent: bool = True
    """Items run beside the test, so gates and Stop make sense."""

    stops_items: bool = False
    """An item that runs can be interrupted."""

    own_process: bool = False
    """Items run elsewhere: everything is pickled, and `sys.exit` and the like hit a worker only."""


KINDS = {
    "serial": Kind({"backend": "serial"}, workers=1, concurrent=False),
    "threads": Kind({"backend": "threads"}),
    "engines": Kind({"backend": "engines"}, stops_items=True, own_process=True),
    "engines through the controller": Kind(
        {"backend": "engines", "path": "controller"}, stops_items=True, own_process=True
    ),
}
MARKS = {name: pytest.mark.engines for name in KINDS if name.startswith("engines")}

AT_NIGHT = {"test_broken_pools.py", "test_dropped_pools.py"}
"""Modules whose tests start pools of their own: by day, one kind of engines stands for both."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave what takes long, and is hardly different from another case, to the night."""
    kind = item.callspec.params.get("kind") if hasattr(item, "callspec") else None
    if item.path.name in AT_NIGHT and kind == "engines through the controller":
        item.add_marker("nightly")


@pytest.fixture(scope="session", params=[pytest.param(name, marks=MARKS.get(name, ())) for name in KINDS])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of worker in turn."""
    return KINDS[request.param]


@pytest.fixture(scope="session")
def pool(kind: Kind) -> Iterator[nbpar.Pool]:
    """A pool that all tests of a kind share: none of them may leave it worse than it was."""
    with nbpar.Pool(2, progress="none", **kind.options) as pool:
        yield pool


@pytest.fixture
def busy_pool(kind: Kind, pool: nbpar.Pool) -> nbpar.Pool:
    """The same, of the kinds whose items run beside the test."""
    if not kind.concurrent:
        pytest.skip("items run in the test's own thread")
    return pool


@pytest.fixture
def make_pool(kind: Kind) -> Iterator[Callable[..., nbpar.Pool]]:
    """Make pools of one's own, closed at the end."""
    pools: list[nbpar.Pool] = []

    def make(workers: int = 2, **options: Any) -> nbpar.Pool:
        pools.append(nbpar.Pool(workers, progress="none", **kind.options, **options))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A gate that is open at the end in any case, so that no thread waits for ever."""
    folder = tmp_path / "gate"
    folder.mkdir()
    gate = Gate(str(folder))
    yield gate
    gate.open()
