"""Receive a widget's button messages while its cell still runs.

A kernel delivers messages to widgets only between cells, so a Stop button pressed during a cell
would do nothing.  This is the only place that inspects incoming messages: it handles those
for registered widgets at once, and passes every message on unchanged.

- ipykernel 7 and later receive in a thread of their own; messages are inspected there.
- ipykernel 6 receives in the main thread, which the cell occupies: `poll` makes it read pending messages
  into the kernel's own queue, and they are inspected then.
- Other kernels, and versions with other internals: no messages are seen (`hears` is False), and the
  kernel's interrupt stops a run as usual.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

Hear = Callable[[Any], None]
"""Handles a message of a widget's front end; returns at once; called from any thread."""

PATIENCE = 1.0
"""Seconds to wait until the receiving thread has added or removed the hook; a millisecond is enough."""

_POLLIN = 1  # zmq.POLLIN, a constant of ZeroMQ's interface


class StopSource:
    """Inspects one kernel's incoming messages, while there are listeners."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._stream: Any = getattr(kernel, "shell_stream", None)
        self._loop = getattr(getattr(kernel, "shell_channel_thread", None), "io_loop", None)
        self._listeners: dict[str, Hear] = {}
        self._lock = threading.Lock()  # guards the listeners and the order of adding and removing hooks
        self._original: Any = None

    @property
    def hears(self) -> bool:
        """Whether listeners work while a cell runs."""
        known = hasattr(self._stream, "_recv_callback") and hasattr(self._kernel, "session")
        return known and (self._loop is not None or hasattr(self._kernel, "msg_queue"))

    def listen(self, comm: str, hear: Hear) -> None:
        """Call `hear` for messages to a comm from now on, until `forget`."""
        if not self.hears:
            return
        with self._lock:
            self._listeners[comm] = hear
            if len(self._listeners) == 1:
                self._run_there(self._hook_in)

    def forget(self, comm: str) -> None:
        """Stop listening to a comm.  Idempotent."""
        with self._lock:
            if self._listeners.pop(comm, None) is not None and not self._listeners:
                self._run_there(self._hook_out)

    def poll(self) -> None:
        """Read pending messages where the kernel does not while a cell runs; call it often from that cell."""
        if self._listeners and self._loop is None and threading.current_thread() is threading.main_thread():
            self._stream.flush(_POLLIN)

    # ---- the kernel's receiving code

    def _run_there(self, action: Callable[[], None]) -> None:
        if self._loop is None:
            action()
            return
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        self._loop.add_callback(act)
        done.wait(PATIENCE)

    def _hook_in(self) -> None:
        original, copied = self._stream._recv_callback, self._stream._recv_copy  # noqa: SLF001 (no other way)
        if original is not None and self._original is None:
            self._original = original
            self._stream.on_recv(partial(self._receive, original), copy=copied)

    def _hook_out(self) -> None:
        if self._original is not None:
            self._stream.on_recv(self._original, copy=self._stream._recv_copy)  # noqa: SLF001 (as above)
            self._original = None

    def _receive(self, original: Callable[[Any], Any], frames: Any) -> Any:
        try:
            self._look(frames)
        except Exception:  # in any case, the kernel must get its message
            self._kernel.log.debug("nbpar could not look at a message", exc_info=True)
        return original(frames)

    def _look(self, frames: Any) -> None:
        session = self._kernel.session
        copied = not hasattr(frames[0], "bytes")
        _, rest = session.feed_identities(frames, copy=copied)
        # content=True would register the signature, and the kernel would drop the message as a duplicate
        message = session.deserialize(rest, content=False, copy=copied)
        if message["header"]["msg_type"] != "comm_msg":
            return
        content = session.unpack(message["content"])
        hear = self._listeners.get(content["comm_id"])
        if hear is not None and content["data"].get("method") == "custom":
            hear(content["data"]["content"])


_sources: WeakKeyDictionary[Any, StopSource] = WeakKeyDictionary()
_sources_lock = threading.Lock()


def stop_source(kernel: Any) -> StopSource:
    """Return the one source of a kernel."""
    with _sources_lock:
        try:
            return _sources.setdefault(kernel, StopSource(kernel))
        except TypeError:  # no weak reference possible; such a kernel has no supported hook
            return StopSource(kernel)
