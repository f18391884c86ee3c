"""Push files to where workers are: what differs, with modes, times and links."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nbpar.worker.code import FunctionCode
from nbpar.worker.receive_files import FILE, FOLDER, LINK, Entry, blocks_of, digest_of, receive_files

if TYPE_CHECKING:
    from nbpar.channels.channel import Channel
    from nbpar.channels.gateway import Gateway

Filter = Callable[[Path], bool]
Progress = Callable[[str, int, "Gateway"], object]


def push_files(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    gateways: Iterable[Gateway],
    *,
    delete: bool = False,
    filter: Filter | None = None,  # noqa: A002 (execnet's word, and rsync's)
    progress: Progress | None = None,
) -> int:
    """Make `destination` on every gateway's worker like the folder (or file) `source` here.

    Files are compared by size and time, then by a digest; only what differs travels.  Links that
    lead to somewhere inside the folder keep doing so.

    Args:
        source: a folder or a file.
        destination: a path there, relative to the worker's current folder.
        gateways: where to.
        delete: take away there what is not here.
        filter: called with each path; False leaves it out, with all that is in it.
        progress: called with a file's relative path, its size and the gateway, when it has been sent.

    Returns:
        How many files were sent, to all gateways together.
    """
    root = Path(source).expanduser().resolve()
    entries = list(_entries(root, filter or (lambda _: True)))
    if not entries:
        raise FileNotFoundError(f"there is no {str(root)!r} to push")
    sent = 0
    if root.is_file():
        root = root.parent
    transfers = [_Transfer(root, entries, gateway, str(destination), delete=delete) for gateway in gateways]
    for transfer in transfers:
        for path, size in transfer.run():
            sent += 1
            if progress is not None:
                progress(path, size, transfer.gateway)
    return sent


class _Transfer:
    """The files for one worker, which compares what it has while others are served."""

    def __init__(
        self, root: Path, entries: list[Entry], gateway: Gateway, destination: str, *, delete: bool
    ) -> None:
        self.gateway = gateway
        self._root = root
        self._sizes = {entry.path: entry.size for entry in entries}
        code = FunctionCode(receive_files, {"destination": destination, "delete": delete})
        self._channel: Channel = gateway.begin(code, thread=True)
        self._channel.send([tuple(entry) for entry in entries])

    def run(self) -> Iterator[tuple[str, int]]:
        """Answer the worker's questions; yield path and size of what was sent."""
        for question, path, digest in self._channel:
            if question == "want" and self._answer(path, digest):
                yield path, self._sizes[path]
        self._channel.wait_closed()

    def _answer(self, path: str, digest: bytes | None) -> bool:
        """Send a file, unless it is the same there; whether it was sent."""
        place = self._root / path
        if digest is not None and digest == digest_of(place):
            self._channel.send("same")
            self._channel.send(None)
            return False
        for block in blocks_of(place):
            self._channel.send(block)
        self._channel.send(None)
        return True


def _entries(root: Path, wanted: Filter) -> Iterator[Entry]:
    """Yield the folder, all that is in it, and where links lead; each folder before what is in it."""
    if not root.exists():
        return
    if root.is_file():
        yield _entry(root, root.parent)
        return
    yield _entry(root, root)
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in sorted(folders) if wanted(Path(folder, name))]
        for name in (*folders, *sorted(files)):
            place = Path(folder, name)
            if name in folders or wanted(place):
                yield _entry(place, root)


def _entry(place: Path, root: Path) -> Entry:
    known = place.lstat()
    kind = LINK if place.is_symlink() else FOLDER if place.is_dir() else FILE
    target = _target(place, root) if kind == LINK else ""
    path = place.relative_to(root).as_posix()
    return Entry(path, kind, stat.S_IMODE(known.st_mode), known.st_mtime_ns, known.st_size, target)


def _target(link: Path, root: Path) -> str:
    """Return where a link leads, in a way that stays inside the folder wherever that is."""
    target = link.readlink()
    if not target.is_absolute() or not target.is_relative_to(root):
        return str(target)
    return os.path.relpath(target, link.parent)
