"""Journals in the test's own directory, and pools of every kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import nbpar

KINDS = ("serial", "threads", "engines")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the journals."""
    path = tmp_path / "journals"
    monkeypatch.setenv("NBPAR_JOURNALS", str(path))
    return path


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def pool(kind: str) -> Iterator[nbpar.Pool]:
    """A pool that all tests of a kind share."""
    with nbpar.Pool(2, backend=kind, progress="none") as pool:
        yield pool


@pytest.fixture(scope="session")
def serial() -> Iterator[nbpar.Pool]:
    """The simplest pool, where the kind makes no difference."""
    with nbpar.Pool(backend="serial", progress="none") as pool:
        yield pool


@dataclass(frozen=True)
class Notes:
    """Files that tell which items were computed, on any worker."""

    folder: str

    @property
    def counts(self) -> Counter[str]:
        return Counter({path.name: path.stat().st_size for path in Path(self.folder).iterdir()})

    def clear(self) -> None:
        for path in Path(self.folder).iterdir():
            path.unlink()


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    (tmp_path / "notes").mkdir()
    return Notes(str(tmp_path / "notes"))


@pytest.fixture
def squaring(notes: Notes) -> Callable[[int], int]:
    """A function that notes what it computes; it travels, and is the same function each time."""
    folder = Path(notes.folder)

    def square(x: int) -> int:
        with (folder / str(x)).open("a") as file:
            file.write(".")
        return x * x

    return square
