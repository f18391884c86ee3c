"""Push files to workers' hosts: only changed files are sent, with modes, times and links."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbpar.core.checks import check_flag, check_function
from nbpar.core.text import short
from nbpar.endpoint.code import FunctionCode
from nbpar.endpoint.receive_files import (
    FILE,
    FOLDER,
    LINK,
    LINK_INSIDE,
    Entry,
    blocks_of,
    digest_of,
    receive_files,
)
from nbpar.host.frames import entrance

if TYPE_CHECKING:
    from nbpar.channels.channel import Channel
    from nbpar.channels.gateway import Gateway

_KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: FOLDER, stat.S_IFLNK: LINK}

Filter = Callable[[Path], bool]
Progress = Callable[[str, int, "Gateway"], object]


@entrance
def push_files(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    gateways: Iterable[Gateway] | Gateway,
    *,
    delete: bool = False,
    filter: Filter | None = None,  # noqa: A002 (execnet's word, and rsync's)
    progress: Progress | None = None,
) -> int:
    """Copy the folder (or file) `source` to `destination` on every gateway's worker, like `rsync`.

    Files are compared by size and time, then by a digest; only changed files are sent.  Links that
    point into the folder keep doing so.

    Args:
        source: a folder or a file.
        destination: a path there, relative to the worker's current folder.
        gateways: the targets, or one.
        delete: delete remote files that do not exist in `source`.
        filter: called with each path; False excludes it, with its contents.
        progress: called with a file's relative path, its size and the gateway, after it was sent.

    Raises:
        TypeError: an argument is of the wrong kind; the message says what is allowed.
        FileNotFoundError: there is no `source`.

    Returns:
        The number of files sent, summed over the gateways.
    """
    for name, path in (("source", source), ("destination", destination)):
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"{name} must be a path, was {short(path)}")
    for function, given in (("filter", filter), ("progress", progress)):
        if given is not None:
            check_function(function, given, "None or ")
    check_flag("delete", delete)
    sent = 0
    targets = [(gateway, str(destination), delete) for gateway in _checked(gateways)]
    for transfer in transfers(source, targets, filter):
        for path, size in transfer.run():
            sent += 1
            if progress is not None:
                progress(path, size, transfer.gateway)
    return sent


def _checked(gateways: Any) -> list[Gateway]:
    """Return gateways as a list; a single one is allowed."""
    if hasattr(gateways, "begin"):
        return [gateways]
    if not isinstance(gateways, Iterable):
        raise TypeError(f"gateways must be a list of gateways, was {short(gateways)}")
    found = list(gateways)
    for one in found:
        if not hasattr(one, "begin"):
            raise TypeError(f"gateways must be gateways, as of `pool.gateways`, had {short(one)}")
    return found


def transfers(
    source: str | os.PathLike[str],
    targets: Iterable[tuple[Gateway, str, bool]],
    wanted: Filter | None,
    *,
    absolute: bool = False,
) -> list[Transfer]:
    """Start comparing a folder or file with those at `(gateway, destination, delete)`, on all concurrently.

    Absolute links into the folder become relative ones, or stay `absolute` and lead into the folder there.
    """
    root = Path(source).expanduser().resolve()
    entries = list(_entries(root, wanted or (lambda _: True)))
    if absolute:
        entries = [_absolute(entry, root) for entry in entries]
    if not entries:
        raise FileNotFoundError(f"there is no {str(root)!r} to push")
    base = root.parent if root.is_file() else root
    return [Transfer(base, entries, *target) for target in targets]


class Transfer:
    """The files for one worker, which compares them while others are served."""

    def __init__(
        self, root: Path, entries: list[Entry], gateway: Gateway, destination: str, delete: bool
    ) -> None:
        self.gateway = gateway
        self._root = root
        self._sizes = {entry.path: entry.size for entry in entries}
        code = FunctionCode(receive_files, {"destination": destination, "delete": delete})
        self._channel: Channel = gateway.begin(code, thread=True)
        self._channel.send([tuple(entry) for entry in entries])

    @cached_property
    def changed(self) -> dict[str, int]:
        """Paths and sizes of the files that must be sent."""
        asked = self._channel.receive()
        different = [
            path for path, digest in asked if not digest or digest != _digest_here(self._root / path)
        ]
        self._channel.send(different)
        return {path: self._sizes[path] for path in different}

    def run(self) -> Iterator[tuple[str, int]]:
        """Send the changed files; yield each path with its size after it was sent."""
        for path, size in self.changed.items():
            if self._send(path):
                yield path, size
        self._channel.wait_closed()

    def _send(self, path: str) -> bool:
        """Send a file; False if it no longer exists."""
        with suppress(FileNotFoundError):
            for block in blocks_of(self._root / path):
                self._channel.send(block)
            self._channel.send(True)
            return True
        self._channel.send(False)
        return False


def _digest_here(place: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return digest_of(place)
    return None


def _entries(root: Path, wanted: Filter) -> Iterator[Entry]:
    """Yield the folder, its contents and the targets of links; each folder before its contents."""
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
                with suppress(FileNotFoundError):  # it was deleted meanwhile
                    yield _entry(place, root)


def _entry(place: Path, root: Path) -> Entry:
    known = place.lstat()
    kind = _KINDS.get(stat.S_IFMT(known.st_mode))
    if kind is None:
        raise ValueError(f"cannot push {str(place)!r}: it is neither a file nor a folder nor a link")
    target = _target(place, root) if kind == LINK else ""
    path = place.relative_to(root).as_posix()
    return Entry(path, kind, stat.S_IMODE(known.st_mode), known.st_mtime_ns, known.st_size, target)


def _absolute(entry: Entry, root: Path) -> Entry:
    """Recreate an absolute link into the folder as an absolute one."""
    if entry.kind != LINK or not (root / entry.path).readlink().is_absolute():
        return entry
    inside = os.path.normpath(Path(entry.path).parent / entry.target)
    return entry if Path(entry.target).is_absolute() else entry._replace(kind=LINK_INSIDE, target=inside)


def _target(link: Path, root: Path) -> str:
    """Return a link's target in a form that stays inside the folder at any location."""
    target = link.readlink()
    if not target.is_absolute() or not target.is_relative_to(root):
        return str(target)
    return os.path.relpath(target, link.parent)
