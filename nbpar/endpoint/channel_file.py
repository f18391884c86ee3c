"""A channel as a text file: print into it, or read lines from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import Self


class _ChannelFile:
    """The common part of both directions."""

    def __init__(self, channel: Any, *, close_channel: bool = False) -> None:
        self._channel = channel
        self._close_channel = close_channel

    def isatty(self) -> bool:
        """Return False: it is no terminal."""
        return False

    def close(self) -> None:
        """Close the file; the channel stays open unless the file was opened to close it too."""
        if self._close_channel:
            self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class ChannelWriter(_ChannelFile):
    """Each `write` sends one item."""

    def write(self, text: str) -> int:
        """Send the text."""
        self._channel.send(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Send every line."""
        for line in lines:
            self._channel.send(line)

    def flush(self) -> None:
        """Do nothing: everything has been sent already."""


class ChannelReader(_ChannelFile):
    """Joins the received strings to one text; it ends with the channel."""

    def __init__(self, channel: Any, *, close_channel: bool = False) -> None:
        super().__init__(channel, close_channel=close_channel)
        self._text = ""

    def read(self, size: int = -1) -> str:
        """Return `size` characters, or all up to the end of the channel; fewer at its end."""
        while size < 0 or len(self._text) < size:
            if not self._more():
                break
        size = len(self._text) if size < 0 else size
        taken, self._text = self._text[:size], self._text[size:]
        return taken

    def readline(self) -> str:
        """Return a line with its end; "" at the end."""
        while "\n" not in self._text:
            if not self._more():
                break
        end = self._text.find("\n") + 1 or len(self._text)
        taken, self._text = self._text[:end], self._text[end:]
        return taken

    def __iter__(self) -> Iterator[str]:
        while line := self.readline():
            yield line

    def _more(self) -> bool:
        try:
            self._text += self._channel.receive()
        except EOFError:
            return False
        return True
