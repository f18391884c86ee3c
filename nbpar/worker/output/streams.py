"""Intercept streams, displays, logging and warnings, and record them with the item.

Streams, `warnings.showwarning`, `logging.Logger.handle`, `threading.Thread.start` and IPython's publisher of
displays are global to the process.  During recording, each is replaced by a stand-in that looks up
the recorder of the calling thread; without one, or if no item runs, it calls the
original.  Stand-ins that other code has replaced meanwhile are not changed.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from nbpar.host.shell import this_shell
from nbpar.worker.output.bars import InnerBars, StandIn
from nbpar.worker.output.coroutines import CoroutineOutput, output_of_this_coroutine
from nbpar.worker.output.plain import (
    WIDGET,
    finished_record,
    plain_bundle,
    plain_record,
    plain_value,
    plain_warning,
)
from nbpar.worker.output.recorder import DESCRIPTORS, NOTHING, ItemId, OutputRecorder
from nbpar.worker.output.threads import ThreadOutput, mark, output_of_this_thread


class _Thread(threading.local):
    recorder: OutputRecorder | None = None
    muted = False

    def __init__(self) -> None:  # called in each thread when that first uses it
        self.output = output_of_this_thread()


_thread = _Thread()
_process: OutputRecorder | None = None


def _output() -> ThreadOutput | None:
    """Return where output goes here if a coroutine runs, or if an item has started this thread."""
    return output_of_this_coroutine.get() or (_thread.output if _thread.recorder is None else None)


def current() -> OutputRecorder | None:
    """Return the recorder that takes the output of this thread now; None if none does."""
    if (output := _output()) is not None:
        return output.recorder
    recorder = _thread.recorder or _process
    return recorder if recorder is not None and recorder.item != NOTHING else None


def bars_here() -> tuple[InnerBars, ItemId] | None:
    """Return where progress bars of the item that runs in this thread are noted; None if they are not."""
    recorder = current()
    if recorder is None or recorder.bars is None:
        return None
    output = _output()
    item = recorder.outer_item or (output.item if output is not None else None) or recorder.running()
    return None if item is None else (recorder.bars, item)


def take_over_bars() -> None:
    """Note the bars of items from now on, also of what was loaded of tqdm meanwhile; cheap."""
    _bars.enter()


def _is_stand_in(stream: Any) -> bool:
    """Whether tqdm's wrapper of a stream leads to a stand-in, or is one."""
    return type(getattr(stream, "_wrapped", stream)) is _Stream


def _put(recorder: OutputRecorder, kind: str, content: Any) -> None:
    """Record output of this thread."""
    if (output := _output()) is not None:
        output.put(recorder, kind, content)
    else:
        recorder.put(kind, content)


@contextmanager
def caught(recorder: OutputRecorder, *, whole_process: bool) -> Iterator[None]:
    """Record the output of this thread, or of every thread."""
    global _process  # noqa: PLW0603 (one per process is the point)
    before = _process if whole_process else _thread.recorder
    _stand_in()
    if whole_process:
        _process = recorder
    else:
        _thread.recorder = recorder
    outer = output_of_this_coroutine.set(None)
    try:
        yield
    finally:
        output_of_this_coroutine.reset(outer)
        if whole_process:
            _process = before
        else:
            _thread.recorder = before
        _leave()


@contextmanager
def uncaught(outer: OutputRecorder | CoroutineOutput | None = None) -> Iterator[None]:
    """Do not record the output of this thread, or record it elsewhere."""
    coroutine = outer if isinstance(outer, CoroutineOutput) else None
    inner, _thread.recorder = _thread.recorder, None if isinstance(outer, CoroutineOutput) else outer
    output, _thread.output = _thread.output, None
    token = output_of_this_coroutine.set(coroutine)
    try:
        yield
    finally:
        output_of_this_coroutine.reset(token)
        _thread.recorder, _thread.output = inner, output


def outer_recorder() -> OutputRecorder | CoroutineOutput | None:
    """Return where the output of the item goes inside which this code runs, if any."""
    return output_of_this_coroutine.get() or _thread.recorder


# ---- stand-ins


class _Stream:
    """Replaces `sys.stdout` or `sys.stderr`."""

    def __init__(self, name: str, outer: Any) -> None:
        self._name = name
        self.outer = outer

    def write(self, text: str) -> int:
        recorder = current()
        if recorder is None:
            return int(self.outer.write(text) or 0)
        if not _thread.muted and not _draws_a_bar(sys._getframe(1)):  # noqa: SLF001 (the caller's)
            _put(recorder, self._name, str(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if current() is None:
            self.outer.flush()

    def close(self) -> None:
        """Close the stream; in an item only for that item."""
        if current() is None:
            self.outer.close()

    def fileno(self) -> int:
        recorder = current()
        below = recorder is not None and recorder.before is not None
        return DESCRIPTORS[self._name] if below else int(self.outer.fileno())

    def __getattr__(self, name: str) -> Any:
        if name == "outer":  # not initialized yet, as in a copy
            raise AttributeError(name)
        return getattr(self.outer, name)


def _draws_a_bar(caller: FrameType) -> bool:
    """Whether tqdm writes a progress bar, whose last line would remain for each item.

    It writes bars through a wrapper of its own, and the text of `tqdm.write` to the stream itself.
    """
    return caller.f_globals.get("__name__") == "tqdm.utils"


_BAR = re.compile(r"\d%\|.*\| *[\d.]+\w?/|\d+it \[")
"""The text form of a `tqdm.notebook` bar, whose widget cannot be shown from here."""


class _Publisher:
    """Replaces the publisher of IPython's displays."""

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
        if WIDGET in data and _BAR.search(str(data.get("text/plain"))):
            return
        content = {
            "data": plain_bundle(data),
            "metadata": plain_value(metadata or {}),
            "id": (transient or {}).get("display_id"),
        }
        _put(recorder, "update" if update else "display", content)

    def clear_output(self, wait: bool = False) -> None:
        recorder = current()
        if recorder is None:
            self.outer.clear_output(wait)
        else:
            _put(recorder, "clear", {})

    def __getattr__(self, name: str) -> Any:
        if name == "outer":  # not initialized yet, as in a copy
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
    _put(recorder, "warning", content if recorder.far else {**content, "kind": category})


def _handle(logger: logging.Logger, record: logging.LogRecord) -> None:
    recorder = current()
    if recorder is None:
        _outer.handle(logger, record)
    elif not recorder.far:
        _put(recorder, "log", {"record": finished_record(record)})
    else:
        _put(recorder, "log", plain_record(record))
        _handle_here_too(logger, record)


def _start(thread: threading.Thread) -> None:
    mark(thread, _thread.recorder or _process, _output())
    _outer.start(thread)


def _handle_here_too(logger: logging.Logger, record: logging.LogRecord) -> None:
    """Pass the record to handlers on the engine, whose console output is dropped to avoid duplicates."""
    muted, _thread.muted = _thread.muted, True
    try:
        _outer.handle(logger, record)
    finally:
        _thread.muted = muted


_bars = StandIn(bars_here, draws_here=_is_stand_in)


class _Outer:
    """The originals of the stand-ins."""

    users = 0
    lock = threading.Lock()
    show_warning: Any = staticmethod(warnings.showwarning)
    handle: Any = staticmethod(logging.Logger.handle)
    start: Any = staticmethod(threading.Thread.start)


_outer = _Outer()
_streams: deque[_Stream] = deque(maxlen=16)


def renew() -> None:
    """Reinstall the stand-ins that other code has replaced."""
    with _outer.lock:
        _put_in_place()


def _stand_in() -> None:
    """Install the stand-ins, for one more user."""
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
    if threading.Thread.start is not _start:
        _outer.start = threading.Thread.start
        threading.Thread.start = _start  # type: ignore[assignment, method-assign]
    shell = this_shell()
    if shell is not None and type(shell.display_pub) is not _Publisher:
        shell.display_pub = _Publisher(shell.display_pub)
    take_over_bars()


def _stream_for(name: str, stream: Any) -> _Stream:
    """Return the stand-in for a stream, reusing an earlier one.

    Stand-ins stay alive after they were replaced: `print` in another thread may be using one
    without holding it (it borrows its reference to `sys.stdout` up to Python 3.13).
    """
    for known in _streams:
        if known.outer is stream:
            return known
    _streams.append(_Stream(name, stream))
    return _streams[-1]


def _leave() -> None:
    """Restore the originals when the last user leaves."""
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
        if threading.Thread.start is _start:
            threading.Thread.start = _outer.start  # type: ignore[method-assign]
        _bars.leave()
        shell = this_shell()
        if shell is not None and type(shell.display_pub) is _Publisher:
            shell.display_pub = shell.display_pub.outer
