"""Catch what items print, display, log and warn of, and note it with the item.

Streams, `warnings.showwarning`, `logging.Logger.handle` and IPython's publisher of displays
belong to the whole process.  While somebody records, each is replaced by a stand-in that asks
who records for the calling thread; where nobody does, or no item runs, it does what the
original does.  Stand-ins that others have replaced meanwhile are left alone.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nbpar.worker.output import DESCRIPTORS, NOTHING, OutputRecorder
from nbpar.worker.plainly import finished_record, plain_bundle, plain_record, plain_value, plain_warning
from nbpar.worker.shell import this_shell


class _Thread(threading.local):
    recorder: OutputRecorder | None = None
    muted = False


_thread = _Thread()
_process: OutputRecorder | None = None


def current() -> OutputRecorder | None:
    """Return who records what this thread puts out; None when nobody does or no item runs."""
    recorder = _thread.recorder or _process
    return recorder if recorder is not None and recorder.item != NOTHING else None


@contextmanager
def caught(recorder: OutputRecorder, *, whole_process: bool) -> Iterator[None]:
    """Have what this thread, or every thread, puts out noted by a recorder."""
    global _process  # noqa: PLW0603 (one per process is the point)
    before = _process if whole_process else _thread.recorder
    _stand_in()
    if whole_process:
        _process = recorder
    else:
        _thread.recorder = recorder
    try:
        yield
    finally:
        if whole_process:
            _process = before
        else:
            _thread.recorder = before
        _leave()


@contextmanager
def uncaught(outer: OutputRecorder | None = None) -> Iterator[None]:
    """Let what this thread puts out pass, or be noted by another recorder."""
    inner, _thread.recorder = _thread.recorder, outer
    try:
        yield
    finally:
        _thread.recorder = inner


def outer_recorder() -> OutputRecorder | None:
    """Return the recorder of the item inside which this thread runs, if there is one."""
    return _thread.recorder


# ---- stand-ins


class _Stream:
    """Stands in for `sys.stdout` or `sys.stderr`."""

    def __init__(self, name: str, outer: Any) -> None:
        self._name = name
        self.outer = outer

    def write(self, text: str) -> int:
        recorder = current()
        if recorder is None:
            return int(self.outer.write(text) or 0)
        if not _thread.muted:
            recorder.put(self._name, str(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if current() is None:
            self.outer.flush()

    def fileno(self) -> int:
        recorder = current()
        below = recorder is not None and recorder.before is not None
        return DESCRIPTORS[self._name] if below else int(self.outer.fileno())

    def __getattr__(self, name: str) -> Any:
        if name == "outer":  # not made yet, as in a copy
            raise AttributeError(name)
        return getattr(self.outer, name)


class _Publisher:
    """Stands in for the publisher of IPython's displays."""

    def __init__(self, outer: Any) -> None:
        self.outer = outer

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *more: Any,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **others: Any,
    ) -> None:
        recorder = current()
        if recorder is None:
            self.outer.publish(data, metadata, *more, transient=transient, update=update, **others)
            return
        content = {
            "data": plain_bundle(data),
            "metadata": plain_value(metadata or {}),
            "id": (transient or {}).get("display_id"),
        }
        recorder.put("update" if update else "display", content)

    def clear_output(self, wait: bool = False) -> None:
        recorder = current()
        if recorder is None:
            self.outer.clear_output(wait)
        else:
            recorder.put("clear", {})

    def __getattr__(self, name: str) -> Any:
        if name == "outer":  # not made yet, as in a copy
            raise AttributeError(name)
        return getattr(self.outer, name)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    recorder = current()
    if recorder is None or file is not None:
        _outer.show_warning(message, category, filename, lineno, file, line)
        return
    content = plain_warning(message, category, filename, lineno)
    recorder.put("warning", content if recorder.far else {**content, "kind": category})


def _handle(logger: logging.Logger, record: logging.LogRecord) -> None:
    recorder = current()
    if recorder is None:
        _outer.handle(logger, record)
    elif not recorder.far:
        recorder.put("log", {"record": finished_record(record)})
    else:
        recorder.put("log", plain_record(record))
        _handle_here_too(logger, record)


def _handle_here_too(logger: logging.Logger, record: logging.LogRecord) -> None:
    """Let handlers on the engine have the record; what they print would be seen twice."""
    muted, _thread.muted = _thread.muted, True
    try:
        _outer.handle(logger, record)
    finally:
        _thread.muted = muted


class _Outer:
    """What the stand-ins stand for."""

    users = 0
    lock = threading.Lock()
    show_warning: Any = staticmethod(warnings.showwarning)
    handle: Any = staticmethod(logging.Logger.handle)


_outer = _Outer()
_streams: deque[_Stream] = deque(maxlen=16)


def renew() -> None:
    """Put those stand-ins back in place that somebody has replaced."""
    with _outer.lock:
        _put_in_place()


def _stand_in() -> None:
    """Put the stand-ins in their places, for one more user."""
    with _outer.lock:
        _outer.users += 1
        _put_in_place()


def _put_in_place() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and type(stream) is not _Stream:
            setattr(sys, name, _stream_for(name, stream))
    if warnings.showwarning is not _show_warning:
        _outer.show_warning, warnings.showwarning = warnings.showwarning, _show_warning
    if logging.Logger.handle is not _handle:
        _outer.handle = logging.Logger.handle
        logging.Logger.handle = _handle  # type: ignore[assignment, method-assign]
    shell = this_shell()
    if shell is not None and type(shell.display_pub) is not _Publisher:
        shell.display_pub = _Publisher(shell.display_pub)


def _stream_for(name: str, stream: Any) -> _Stream:
    """Return the stand-in for a stream, the same one as before if there was one.

    Stand-ins stay alive after they were replaced: `print` in another thread may be using one
    without holding it (it borrows its reference to `sys.stdout` up to Python 3.13).
    """
    for known in _streams:
        if known.outer is stream:
            return known
    _streams.append(_Stream(name, stream))
    return _streams[-1]


def _leave() -> None:
    """Put the originals back when the last user leaves."""
    with _outer.lock:
        _outer.users -= 1
        if _outer.users:
            return
        for name in ("stdout", "stderr"):
            if type(stream := getattr(sys, name)) is _Stream:
                setattr(sys, name, stream.outer)
        if warnings.showwarning is _show_warning:
            warnings.showwarning = _outer.show_warning
        if logging.Logger.handle is _handle:
            logging.Logger.handle = _outer.handle  # type: ignore[method-assign]
        shell = this_shell()
        if shell is not None and type(shell.display_pub) is _Publisher:
            shell.display_pub = shell.display_pub.outer
