"""`nbpar.journals()`: list and delete journals."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import astuple, dataclass
from html import escape
from pathlib import Path

from nbpar.core.checks import check_text
from nbpar.core.tables import html_table, text_table
from nbpar.errors import JournalError
from nbpar.host.frames import entrance
from nbpar.journal.paths import ASIDE, ENDING, journal_folder, remove

_HEADS = ("name", "function", "items", "size", "last used")


@dataclass(frozen=True, slots=True)
class JournalInfo:
    """One journal."""

    name: str
    function: str
    """The function that used it last; "" if the file cannot be read."""

    items: int
    """Number of its results, those of earlier versions of the function included."""

    bytes: int
    """Size of its file."""

    used: float
    """Time of its last use, in seconds since 1970."""


class Journals(list[JournalInfo]):
    """The journals of this user, the most recently used first."""

    def clear(self, name: str | None = None) -> None:
        """Delete a journal; without a name delete all of them, and files set aside.

        Raises:
            JournalError: there is no journal of this name.
        """
        if name is not None:
            check_text("name", name, "None or ")
        folder = journal_folder()
        if name is None:
            for path in [*folder.glob(f"*{ENDING}"), *folder.glob(f"*{ASIDE}*")]:
                remove(path)
            del self[:]
            return
        path, there = folder / f"{name}{ENDING}", sorted(folder.glob(f"*{ENDING}"))
        if path not in there:
            names = ", ".join(repr(other.stem) for other in there) or "none at all"
            raise JournalError(f"there is no journal {name!r} in {folder}; there are {names}")
        remove(path)
        self[:] = [info for info in self if info.name != name]

    def __repr__(self) -> str:
        rows = _rows(self)
        if not rows:
            return f"no journals in {journal_folder()}"
        return "\n".join(text_table([_HEADS, *rows]))

    def _repr_html_(self) -> str:
        rows = _rows(self)
        if not rows:
            return escape(repr(self))
        return html_table(_HEADS, rows)


@entrance
def journals() -> Journals:
    """Return the journals made by `resume=`, with their contents.

    `nbpar.journals().clear("name")` deletes one, `.clear()` all.
    """
    found = [_info(path) for path in journal_folder().glob(f"*{ENDING}")]
    return Journals(sorted(found, key=lambda info: -info.used))


def _info(path: Path) -> JournalInfo:
    size, changed = path.stat().st_size, path.stat().st_mtime
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            items = connection.execute("SELECT COALESCE(SUM(items), 0) FROM versions").fetchone()[0]
            newest = "SELECT function, used FROM versions ORDER BY used DESC, id DESC"
            function, used = connection.execute(newest).fetchone() or ("", changed)
    except sqlite3.Error:
        return JournalInfo(path.stem, "", 0, size, changed)
    return JournalInfo(path.stem, str(function), int(items), size, float(used))


def _rows(infos: Sequence[JournalInfo]) -> list[tuple[str, ...]]:
    return [
        (name, function or "(cannot be read)", str(items), _size(size), _moment(used))
        for name, function, items, size, used in map(astuple, infos)
    ]


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
