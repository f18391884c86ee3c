"""Print the output of items, labeled by item, in the thread that waits for the run.

Text goes to this process's own streams, rich displays through IPython, log records
into this process's loggers, and warnings to `warnings.showwarning`, once per source line.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterable
from itertools import groupby
from typing import Any, TextIO

from nbpar.core.transcript import Piece
from nbpar.host.error_log import call_safely
from nbpar.host.shell import this_shell
from nbpar.worker.output.recorder import FollowingRecorder, Pieces
from nbpar.worker.output.streams import outer_recorder, uncaught

TOTAL = 200_000
"""Maximal number of characters that one run shows; the rest is counted."""


class Printer:
    """Shows the pieces of one run.

    Args:
        ahead: items continue while it prints, so the amount of omitted output is unknown at the end.
    """

    def __init__(self, *, ahead: bool = False) -> None:
        self._ahead = ahead
        self._text = LabelledText()
        self._written = 0
        self._cut = 0
        self._told = False
        self._warned: set[tuple[Any, ...]] = set()
        self._labeled = -1
        """The item of the last display's label."""

    def show(self, pieces: Iterable[Piece]) -> None:
        """Show pieces, one after the other."""
        for (index, kind), group in groupby(pieces, key=lambda piece: (piece.index, piece.kind)):
            if kind in ("stdout", "stderr"):
                self._print(index, kind, final_lines("".join(piece.text for piece in group)))
            else:
                for piece in group:
                    self.show_one(piece)

    def show_one(self, piece: Piece) -> None:
        """Show one piece; text immediately, unfinished lines too."""
        if piece.kind in ("stdout", "stderr"):
            self._print(piece.index, piece.kind, piece.text)
        elif piece.kind == "display":
            self._display(piece)
        elif piece.kind == "log":
            self._log(piece)
        elif piece.kind == "warning":
            self._warn(piece)
        else:
            self._print(piece.index, "stderr", piece.text)

    def close(self, left_out: int = 0) -> None:
        """Complete open lines; report omitted output once.  Idempotent."""
        self._text.end_lines()
        if cut := self._cut + left_out:
            self._tell(f"... {cut} more characters of output were left out")

    def _tell(self, sentence: str) -> None:
        if not self._told:
            self._told = True
            _write(_stream("stderr"), f"{sentence}\n")

    def _print(self, index: int, stream: str, text: str) -> None:
        if self._written < TOTAL:
            self._written += len(text)
            self._text.write(index, stream, text)
        else:
            self._cut += len(text)
            if self._ahead:
                self._tell(f"... more than {TOTAL} characters of output are left out here")

    def _display(self, piece: Piece) -> None:
        shell = this_shell()
        if shell is None or set(piece.content["data"]) <= {"text/plain"}:
            self._print(piece.index, "stdout", piece.text)
            return
        from IPython.display import display

        self._text.end_lines()
        if self._labeled != piece.index:
            self._labeled = piece.index
            display(label_of(piece.index), raw=True)
        display(piece.content["data"], metadata=piece.content["metadata"], raw=True)

    def _log(self, piece: Piece) -> None:
        near = piece.content.get("record")
        record = near if near is not None else logging.makeLogRecord(piece.content)
        record.worker, record.item = piece.worker, piece.index
        logger = logging.getLogger(record.name)
        if near is None and not logger.isEnabledFor(record.levelno):
            return
        if logger.hasHandlers():
            self._text.end_lines()
            logger.handle(record)
        elif logging.lastResort is not None and record.levelno >= logging.lastResort.level:
            self._print(piece.index, "stderr", piece.text)

    def _warn(self, piece: Piece) -> None:
        told = piece.content
        category, text = _category(told), told["text"]
        place = (category, text, told["filename"], told["line"])
        if place in self._warned or ("kind" not in told and _ignored_here(category, told)):
            return
        self._warned.add(place)
        self._text.end_lines()
        label = f"[{piece.index}] " if piece.index >= 0 else ""
        try:
            message: Warning | str = category(label + text)
        except Exception:  # noqa: BLE001 (a category may want other arguments)
            message = label + text
        warnings.showwarning(message, category, told["filename"], told["line"])


def print_unlabelled(pieces: Iterable[Piece]) -> None:
    """Show the output of one call that is no item of a map."""
    printer = Printer()
    printer.show(pieces)
    printer.close()


class LabelledText:
    """Writes to this process's streams, with the index of its item at the start of every line."""

    def __init__(self) -> None:
        self._open: dict[str, int | None] = {}
        """By stream: the item whose line is not complete yet."""

    def write(self, index: int, stream: str, text: str) -> None:
        """Write text of an item, which may start or end inside a line."""
        out, current = _stream(stream), self._open.get(stream)
        for piece in text.splitlines(keepends=True) if "\r" not in text else _lines(text):
            if current is not None and current != index:
                _write(out, "\n")
                current = None
            _write(out, piece if current == index or index < 0 else f"[{index}] {piece}")
            current = None if piece.endswith("\n") else index
        self._open[stream] = current

    def end_lines(self) -> None:
        """Complete the open lines."""
        for stream, index in self._open.items():
            if index is not None:
                _write(_stream(stream), "\n")
        self._open.clear()


class DirectRecorder(FollowingRecorder):
    """Prints the output of a run's items at once, labeled, and records it too.

    Inside an item of another run it becomes that item's output.
    """

    def __init__(self, worker: str) -> None:
        super().__init__(worker)
        self._outer = outer_recorder()
        self._printer = Printer(ahead=True)
        self._printing = threading.RLock()  # threads of an item print, too

    def note(self, kind: str, content: Any, index: int | None = None) -> Any:
        kept = super().note(kind, content, index)
        if kept is not None:
            self._show(self.item if index is None else index, kind, kept)
        return kept

    def take(self, *, over: bool = False) -> Pieces:
        pieces = super().take(over=over)
        for index, kind, content in pieces:
            if kind == "cut":
                self._show(index, kind, content)
        return pieces

    def _show(self, index: int, kind: str, content: Any) -> None:
        with self._printing, uncaught(self._outer):
            self._printer.show_one(Piece(index, kind, content, self.worker))

    def end_lines(self) -> None:
        """Complete the open line."""
        with uncaught(self._outer):
            self._printer.close()


class RunOutput:
    """The output of a run's items.

    `print(run.output)` prints the text of all items, labeled; `run.output.of(3)` is that of one
    item; as the last expression of a cell it shows rich displays too.
    """

    def __init__(self, pieces: list[Piece], left_out: int) -> None:
        self.pieces = pieces
        self.left_out = left_out

    def of(self, index: int) -> str:
        """Return the text of one item."""
        return "".join(piece.text for piece in self.pieces if piece.index == index)

    def __bool__(self) -> bool:
        return bool(self.pieces)

    def __str__(self) -> str:
        lines = []
        for index, group in groupby(self.pieces, key=lambda piece: piece.index):
            label = f"[{index}] " if index >= 0 else ""
            text = final_lines("".join(piece.text for piece in group))
            lines += [label + line for line in text.splitlines()]
        if self.left_out:
            lines.append(f"... {self.left_out} more characters of output were left out")
        return "\n".join(lines)

    __repr__ = __str__

    def _ipython_display_(self) -> None:
        printer = Printer()
        printer.show([piece for piece in self.pieces if piece.kind != "log"])
        printer.close(self.left_out)


def label_of(index: int) -> dict[str, str]:
    """Return the small label above an item's display."""
    return {"text/plain": f"[{index}]", "text/html": f'<small style="opacity: 0.6">[{index}]</small>'}


def final_lines(text: str) -> str:
    """Return text after applying carriage returns, which overwrite lines."""
    if "\r" not in text:
        return text
    return "\n".join(_last_of(line) for line in text.replace("\r\n", "\n").split("\n"))


def _last_of(line: str) -> str:
    return next((part for part in reversed(line.split("\r")) if part.strip()), "")


def _lines(text: str) -> list[str]:
    return [line + "\n" for line in text.split("\n")[:-1]] + ([text.split("\n")[-1]] if text else [])


def _category(told: dict[str, Any]) -> type[Warning]:
    """Return the category of a warning, or its nearest base class known in this process."""
    if "kind" in told:
        category: type[Warning] = told["kind"]
        return category
    for module, name in told["kinds"]:
        found = getattr(sys.modules.get(module), name, None)
        if isinstance(found, type) and issubclass(found, Warning):
            return found
    return Warning


def _ignored_here(category: type[Warning], told: dict[str, Any]) -> bool:
    """Whether this process's filters ignore such a warning."""
    files = ((name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items()))
    module = next((name for name, file in files if file == told["filename"]), "__main__")
    for action, message, kind, where, line in warnings.filters:
        if (
            (message is None or message.match(told["text"]))
            and issubclass(category, kind)
            and (where is None or where.match(module))
            and line in (0, told["line"])
        ):
            return action == "ignore"
    return False


def _stream(name: str) -> TextIO | None:
    return sys.stderr if name == "stderr" else sys.stdout


def _write(out: TextIO | None, text: str) -> None:
    """Write text of an item; characters that the stream cannot encode are escaped, as on `sys.stderr`."""
    if out is None:  # as with pythonw
        return
    try:
        out.write(text)
    except UnicodeEncodeError as error:
        out.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))


class CallOutput:
    """What a call has printed, displayed, logged: shown by the first who waits for it, or soon after its end.

    Args:
        name: the function's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._pieces: list[Piece] = []

    def add(self, piece: Piece) -> None:
        """Take one more piece, unless it was shown when it came; a call that is no item has no index."""
        if not piece.shown:
            self._pieces.append(Piece(-1, piece.kind, piece.content, piece.worker, piece.shown))

    def show(self) -> None:
        """Show it, once."""
        with self._lock:
            pieces, self._pieces = self._pieces, []
            if pieces:
                lost = f"the output of the call of {self._name} could not be shown"
                call_safely(lambda: print_unlabelled(pieces), lost, passes_ctrl_c=True)
