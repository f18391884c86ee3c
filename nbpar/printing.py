"""Show what items put out, labelled by item, in the thread that waits for the run.

Text goes to this process's own streams, pictures and the like through IPython, log records
into this process's loggers, and warnings to whoever shows warnings here, each place once.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable
from itertools import groupby
from typing import Any, TextIO

from nbpar.core.transcript import Piece
from nbpar.worker.catching import outer_recorder, uncaught
from nbpar.worker.output import FollowingRecorder, Pieces
from nbpar.worker.shell import this_shell

TOTAL = 200_000
"""Characters that one run shows; the rest is counted."""


class Printer:
    """Shows the pieces of one run.

    Args:
        ahead: items go on while it shows them, so how much will be left out is not known at the end.
    """

    def __init__(self, *, ahead: bool = False) -> None:
        self._ahead = ahead
        self._text = LabelledText()
        self._written = 0
        self._cut = 0
        self._told = False
        self._warned: set[tuple[Any, ...]] = set()
        self._labelled = -1
        """The item that the last display was labelled with."""

    def show(self, pieces: Iterable[Piece]) -> None:
        """Show pieces, one after the other."""
        for (index, kind), group in groupby(pieces, key=lambda piece: (piece.index, piece.kind)):
            if kind in ("stdout", "stderr"):
                self._print(index, kind, final_lines("".join(piece.text for piece in group)))
            else:
                for piece in group:
                    self.show_one(piece)

    def show_one(self, piece: Piece) -> None:
        """Show one piece; text as it comes, unfinished lines too."""
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
        """End open lines; tell, once, what was not shown.  May be called twice."""
        self._text.end_lines()
        if cut := self._cut + left_out:
            self._tell(f"... {cut} more characters of output were left out")

    def _tell(self, sentence: str) -> None:
        if not self._told:
            self._told = True
            sys.stderr.write(f"{sentence}\n")

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
        if self._labelled != piece.index:
            self._labelled = piece.index
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


class LabelledText:
    """Writes to this process's streams and begins every line with the index of its item."""

    def __init__(self) -> None:
        self._open: dict[str, int | None] = {}
        """By stream: the item whose line is not ended yet."""

    def write(self, index: int, stream: str, text: str) -> None:
        """Write text of an item; it may begin or end inside a line."""
        out, current = _stream(stream), self._open.get(stream)
        for piece in text.splitlines(keepends=True) if "\r" not in text else _lines(text):
            if current is not None and current != index:
                out.write("\n")
                current = None
            out.write(piece if current == index or index < 0 else f"[{index}] {piece}")
            current = None if piece.endswith("\n") else index
        self._open[stream] = current

    def end_lines(self) -> None:
        """End the lines that are open."""
        for stream, index in self._open.items():
            if index is not None:
                _stream(stream).write("\n")
        self._open.clear()


class DirectRecorder(FollowingRecorder):
    """Shows what the items of a run put out at once, labelled, and records it too.

    Inside an item of another worker it is that one's output.
    """

    def __init__(self, worker: str) -> None:
        super().__init__(worker)
        self._outer = outer_recorder()
        self._printer = Printer(ahead=True)

    def note(self, kind: str, content: Any, index: int | None = None) -> Any:
        kept = super().note(kind, content, index)
        if kept is not None:
            self._show(self.item, kind, kept)
        return kept

    def take(self, *, over: bool = False) -> Pieces:
        pieces = super().take(over=over)
        for index, kind, content in pieces:
            if kind == "cut":
                self._show(index, kind, content)
        return pieces

    def _show(self, index: int, kind: str, content: Any) -> None:
        with uncaught(self._outer):
            self._printer.show_one(Piece(index, kind, content, self.worker))

    def end_lines(self) -> None:
        """End the line that is open."""
        with uncaught(self._outer):
            self._printer.close()


class RunOutput:
    """What the items of a run have put out.

    `print(run.output)` prints the text of all items, labelled; `run.output.of(3)` is that of one
    item alone; as the last expression of a cell it shows displays too.
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
    """Return the small label that goes before what an item displays."""
    return {"text/plain": f"[{index}]", "text/html": f'<small style="opacity: 0.6">[{index}]</small>'}


def final_lines(text: str) -> str:
    """Return text as it looks in the end, where carriage returns have lines written over each other."""
    if "\r" not in text:
        return text
    return "\n".join(_last_of(line) for line in text.replace("\r\n", "\n").split("\n"))


def _last_of(line: str) -> str:
    return next((part for part in reversed(line.split("\r")) if part.strip()), "")


def _lines(text: str) -> list[str]:
    return [line + "\n" for line in text.split("\n")[:-1]] + ([text.split("\n")[-1]] if text else [])


def _category(told: dict[str, Any]) -> type[Warning]:
    """Return the category of a warning, or the nearest of its bases that is known here."""
    if "kind" in told:
        category: type[Warning] = told["kind"]
        return category
    for module, name in told["kinds"]:
        found = getattr(sys.modules.get(module), name, None)
        if isinstance(found, type) and issubclass(found, Warning):
            return found
    return Warning


def _ignored_here(category: type[Warning], told: dict[str, Any]) -> bool:
    """Whether this process's filters say that such a warning is not to be shown."""
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


def _stream(name: str) -> TextIO:
    return sys.stderr if name == "stderr" else sys.stdout
