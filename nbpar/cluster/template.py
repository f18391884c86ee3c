"""The warm process that controllers and engines are forked from.

It imports the engine stack once and then does nothing but fork, reap and watch: it has no
thread and no zmq context, so that a copy of it is sound.  It ends with the process that
started it, whichever way that went, and takes everything it forked along.

Run as `python -m nbpar.cluster.template`; nbpar does that by itself.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from nbpar.cluster.children import fork_child
from nbpar.cluster.deaths import memory_kills
from nbpar.cluster.directory import hold, remove_directory
from nbpar.cluster.orders import Line, Lines, Order, encode, order_of
from nbpar.cluster.stack import import_stack, preload
from nbpar.cluster.watchdog import guard_imports, open_process, reap_one

PATIENCE = 0.25
"""Seconds between asking a process to end and killing it."""

OWNER_CHECK = 1.0
"""Seconds between looks at the owner where the system cannot tell of its end."""


@dataclass
class _Child:
    """A process that was forked here and has not been reaped."""

    order: Order
    pid: int
    link: socket.socket
    lines: Lines = field(default_factory=Lines)
    connection: str = ""
    """What an engine needs to connect to this controller, as JSON, once it is ready."""


class TemplateProcess:
    """Serve the owner's lines until it is gone."""

    def __init__(self, owner: socket.socket, owner_pid: int, directory: Path) -> None:
        self._owner = owner
        self._owner_pid = owner_pid
        self._directory = directory
        self._lines = Lines()
        self._children: dict[int, _Child] = {}
        self._waiting: list[Order] = []
        self._memory_kills = memory_kills()
        self._ending = False
        self._held = hold(directory)
        self._selector = selectors.DefaultSelector()
        self._wakeup = self._catch_signals()
        self._watch(self._owner, self._hear_owner)
        self._watch(self._wakeup, self._drain_wakeup)
        self._pidfd = open_process(owner_pid)
        if self._pidfd is not None:
            self._selector.register(self._pidfd, selectors.EVENT_READ, self._end)

    def serve(self) -> None:
        """Work until the owner is gone or says so; afterwards nothing of the cluster is left."""
        self._tell({"it": "warm", "pid": os.getpid()})
        try:
            while not self._ending:
                for key, _ in self._selector.select(OWNER_CHECK if self._pidfd is None else None):
                    cast("Callable[[], None]", key.data)()
                self._reap()
                if os.getppid() != self._owner_pid:
                    self._ending = True
        finally:
            self._end_children()
            remove_directory(self._directory)
            self._tell({"it": "over"})

    # ---- the owner

    def _hear_owner(self) -> None:
        if not (block := _received(self._owner)):
            self._ending = True
        for line in self._lines.feed(block):
            self._obey(line)

    def _obey(self, line: Line) -> None:
        if line["do"] == "fork":
            self._waiting.append(order_of(line))
            self._fork_waiting()
        elif line["do"] == "signal":
            self._signal(line["key"], line["number"])
        elif line["do"] == "tell":
            self._tell_child(line["key"], line["line"])
        elif line["do"] == "end":
            self._ending = True

    def _tell(self, line: Line) -> None:
        with suppress(OSError):  # the owner is gone, which ends us anyway
            self._owner.sendall(encode(line))

    # ---- children

    def _fork_waiting(self) -> None:
        """Fork what waits, except engines whose controller is not ready."""
        still: list[Order] = []
        waiting, self._waiting = self._waiting, still
        for order in waiting:
            controller = self._named(order.controller)
            if order.controller and controller is None:
                self._tell({"it": "failed", "key": order.key, "error": "its controller is gone"})
            elif controller is not None and not controller.connection:
                still.append(order)
            else:
                self._fork(order, controller.connection if controller else "")

    def _fork(self, order: Order, connection: str) -> None:
        try:
            link, far = socket.socketpair()
            with far:
                pid = fork_child(order, connection, far, self._directory, self._forget(link))
        except OSError as error:
            self._tell({"it": "failed", "key": order.key, "error": error.strerror or str(error)})
            return
        child = self._children[pid] = _Child(order, pid, link)
        self._watch(link, lambda: self._hear_child(child))
        self._tell({"it": "forked", "key": order.key, "pid": pid})

    def _forget(self, link: socket.socket) -> Callable[[], None]:
        """How a fresh child lets go of what belongs to this process alone."""

        def forget() -> None:
            self._selector.close()
            for descriptor in (self._held, self._pidfd):
                if descriptor is not None:
                    os.close(descriptor)
            links = [child.link for child in self._children.values()]
            for other in (link, self._owner, self._wakeup, self._wake_end, *links):
                other.close()

        return forget

    def _hear_child(self, child: _Child) -> None:
        """Take what a controller says when it is ready."""
        if not (block := _received(child.link)):
            self._unwatch(child.link)
        for line in child.lines.feed(block):
            child.connection = json.dumps(line["engine"])
            self._tell({"it": "ready", "key": child.order.key, "connection": line})
            self._fork_waiting()

    def _tell_child(self, key: str, line: Line) -> None:
        child = self._named(key)
        if child is not None:
            with suppress(OSError):  # it is about to be reaped
                child.link.sendall(encode(line))

    def _signal(self, key: str, number: int) -> None:
        child = self._named(key)
        if child is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)

    def _named(self, key: str) -> _Child | None:
        return next((child for child in self._children.values() if child.order.key == key), None)

    # ---- deaths

    def _reap(self, *, wait: bool = False) -> None:
        """Take leave of every child that has ended."""
        while self._children and (ended := reap_one(wait=wait)) is not None:
            pid, status = ended
            child = self._children.pop(pid, None)
            if child is not None:
                self._mourn(child, status)

    def _mourn(self, child: _Child, status: int) -> None:
        self._unwatch(child.link)
        child.link.close()
        if child.order.controller:
            self._tell_child(child.order.controller, {"gone": child.order.key})
        kills, self._memory_kills = self._memory_kills, memory_kills()
        lack = self._memory_kills > kills
        self._tell({"it": "ended", "key": child.order.key, "pid": child.pid, "status": status, "lack": lack})
        self._fork_waiting()

    def _end_children(self) -> None:
        """Ask all children to end, and kill those that do not."""
        for child in self._children.values():
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)
                os.kill(child.pid, signal.SIGCONT)
        deadline = time.monotonic() + PATIENCE
        while self._children and (left := deadline - time.monotonic()) > 0:
            self._selector.select(left)
            self._drain_wakeup()
            self._reap()
        for child in self._children.values():
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        self._reap(wait=True)

    # ---- plumbing

    def _end(self) -> None:
        self._ending = True

    def _watch(self, source: socket.socket, handler: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, handler)

    def _unwatch(self, source: socket.socket) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(source)

    def _catch_signals(self) -> socket.socket:
        """Have signals wake the selector; those of the terminal are not for this process."""
        wakeup, self._wake_end = socket.socketpair()
        for end in (wakeup, self._wake_end):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake_end.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._end())
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        return wakeup

    def _drain_wakeup(self) -> None:
        with suppress(BlockingIOError):
            while self._wakeup.recv(512):
                pass


def _received(link: socket.socket) -> bytes:
    """Return what has come; nothing when the other end is gone."""
    try:
        return link.recv(1 << 16)
    except ConnectionError:
        return b""


def main(arguments: list[str]) -> None:
    """Serve on the descriptor and with the settings that the owner passed."""
    settings: dict[str, Any] = json.loads(arguments[0])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    owner = socket.socket(fileno=settings["descriptor"])
    process = TemplateProcess(owner, settings["owner"], Path(settings["directory"]))
    with guard_imports(settings["owner"], Path(settings["directory"])):
        import_stack()
        problem = preload(settings["preload"], settings["path"])
    if problem:
        owner.sendall(encode({"it": "unfit", "error": problem}))
    gc.collect()
    gc.disable()
    gc.freeze()
    process.serve()
    os._exit(0)  # the owner waits for this process, which has nothing left to tidy up


if __name__ == "__main__":
    main(sys.argv[1:])
