"""The receiving side of `push_files`: make a copy of the folder at the other end."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from nbpar.host.machine import machine

FOLDER, FILE, LINK, LINK_INSIDE = "folder", "file", "link", "link inside"

SAME, OTHER = b"same", b""
"""Replace the digest of a file that needs no comparison."""

BLOCK = 1 << 20
"""Block size of a file transfer, in bytes."""


class Entry(NamedTuple):
    """An entry of the folder."""

    path: str
    """Relative to the folder, with `/`; "." is the folder itself."""

    kind: str
    mode: int
    modified: int
    """Nanoseconds since the epoch."""

    size: int
    target: str
    """Target of a link; one of kind `LINK_INSIDE` is absolute, and this is relative to the folder."""


def receive_files(channel: Any, destination: str, delete: bool) -> None:
    """Receive entries, answer which files differ, write the received ones.

    A file of the same size and time counts as equal; one of the same size is compared by its
    digest; a written file appears under its name only when it is complete.
    """
    root = Path(destination).expanduser()
    entries = [Entry(*fields) for fields in channel.receive()]
    for entry in entries:
        _prepare(_below(root, entry.path), _placed(entry, root))
    files = [entry for entry in entries if entry.kind == FILE]
    asked = [(entry.path, _digest_there(root / entry.path, entry)) for entry in files]
    channel.send([(path, digest) for path, digest in asked if digest is not SAME])
    for path in channel.receive():
        _write(channel, _below(root, path))
    if delete:
        _delete_others(root, {entry.path for entry in entries})
    for entry in reversed(entries):  # folders last, because writing into them changes their time
        with suppress(FileNotFoundError):  # the file was deleted during the transfer
            _finish(root / entry.path, entry)


def tell_place(channel: Any) -> None:
    """Send the machine and the working folder of this process."""
    channel.send((machine(), str(Path.cwd())))


def digest_of(path: str | Path) -> bytes:
    """Return the digest of a file's content."""
    digest = blake2b(digest_size=16)
    for block in blocks_of(path):
        digest.update(block)
    return digest.digest()


def blocks_of(path: str | Path) -> Iterator[bytes]:
    """Yield a file's content, block by block."""
    with open(path, "rb") as file:  # noqa: PTH123 (a path or a text)
        while block := file.read(BLOCK):
            yield block


def _below(root: Path, path: str) -> Path:
    """Return the path of an entry; never outside the folder."""
    place = Path(path)
    if place.is_absolute() or ".." in place.parts:
        raise ValueError(f"the path {path!r} leads out of the folder")
    return root / place


def _placed(entry: Entry, root: Path) -> Entry:
    if entry.kind != LINK_INSIDE:
        return entry
    return entry._replace(kind=LINK, target=str(root.absolute() / entry.target))


def _prepare(place: Path, entry: Entry) -> None:
    """Make folders and links; delete entries of another type in their place."""
    if entry.kind == FOLDER:
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            place.unlink()
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o700 | entry.mode)
        return
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    elif entry.kind == FILE and place.is_symlink():
        place.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind == LINK:
        with suppress(FileNotFoundError):
            place.unlink()
        place.symlink_to(entry.target)


def _digest_there(place: Path, entry: Entry) -> bytes:
    """Return the digest of a file to compare, `SAME` or `OTHER`."""
    with suppress(FileNotFoundError):
        there = place.stat()
        if there.st_size == entry.size:
            return SAME if there.st_mtime_ns == entry.modified else digest_of(place)
    return OTHER


def _write(channel: Any, place: Path) -> None:
    """Write received blocks under a temporary name first; each comes with a flag for the last one."""
    partial = place.with_name(f".{place.name}.nbpar-{os.getpid()}-{threading.get_ident()}")
    try:
        with partial.open("wb") as file:
            while not isinstance(block := channel.receive(), bool):
                file.write(block)
        if block:
            partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def _delete_others(root: Path, wanted: set[str]) -> None:
    for folder, folders, files in os.walk(root, topdown=False):
        for name in (*folders, *files):
            place = Path(folder) / name
            if place.relative_to(root).as_posix() in wanted:
                continue
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink()


def _finish(place: Path, entry: Entry) -> None:
    if entry.kind not in (LINK, LINK_INSIDE):
        place.chmod(entry.mode)
        os.utime(place, ns=(entry.modified, entry.modified))
