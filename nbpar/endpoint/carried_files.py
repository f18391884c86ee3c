"""Data files of a package that came from the client, as `importlib.resources` reads them; kept in memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any


class CarriedFiles:
    """The resource reader of a package.

    Args:
        package: its name.
        fetch: returns the contents by path in the package; called once, when a file is wanted.
    """

    def __init__(self, package: str, fetch: Callable[[], dict[str, bytes]]) -> None:
        self._package = package
        self._fetch = fetch
        self._contents: dict[str, bytes] | None = None

    @property
    def contents(self) -> dict[str, bytes]:
        """The contents by path.

        Raises:
            FileNotFoundError: the client does not send them.
        """
        if self._contents is None:
            self._contents = self._fetch()
        return self._contents

    def files(self) -> CarriedPath:
        """Return the package's folder."""
        return CarriedPath(self, self._package, "")


class CarriedPath:
    """A file or a folder (`importlib.resources.abc.Traversable`)."""

    def __init__(self, reader: CarriedFiles, name: str, path: str) -> None:
        self.name = name
        self._reader = reader
        self._path = path

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self._path in self._reader.contents

    def is_dir(self) -> bool:
        """Whether it is a folder with files."""
        return not self._path or any(path.startswith(f"{self._path}/") for path in self._reader.contents)

    def iterdir(self) -> Iterator[CarriedPath]:
        """Yield what a folder contains."""
        start = f"{self._path}/" if self._path else ""
        inside = {
            path[len(start) :].partition("/")[0] for path in self._reader.contents if path.startswith(start)
        }
        for name in sorted(inside):
            yield self.joinpath(name)

    def joinpath(self, *parts: Any) -> CarriedPath:
        """Return a file or folder in this one."""
        names = [name for part in parts for name in str(part).split("/") if name not in ("", ".")]
        path = "/".join([self._path, *names] if self._path else names)
        return CarriedPath(self._reader, names[-1] if names else self.name, path)

    __truediv__ = joinpath

    def read_bytes(self) -> bytes:
        """Return the content.

        Raises:
            FileNotFoundError: there is no such file.
        """
        try:
            return self._reader.contents[self._path]
        except KeyError:
            raise FileNotFoundError(f"no data file {self._path!r} came along") from None

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """Return the content as text."""
        with self.open("r", encoding=encoding, errors=errors) as file:
            return str(file.read())

    def open(self, mode: str = "r", *_: Any, **options: Any) -> Any:
        """Return a file object."""
        stream = io.BytesIO(self.read_bytes())
        return stream if "b" in mode else io.TextIOWrapper(stream, **options)
