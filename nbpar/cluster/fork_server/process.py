"""The fork server: a warm process that controllers and engines are forked from.

It imports the engine stack once and then only forks, reaps and watches: it has no
thread and no zmq context, so forking it is safe.  It ends with the process that
started it, however that ended, and so do its children.

Run by nbpar as `python -m nbpar.cluster.fork_server.process`.
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

from nbpar.cluster.directory import hold, remove_directory
from nbpar.cluster.fork_server.children import fork_child
from nbpar.cluster.fork_server.preload import import_stack, preload
from nbpar.cluster.fork_server.protocol import ForkRequest, Line, LineBuffer, encode, order_of
from nbpar.cluster.watchdog import Ended, guard_imports, open_process, reap_one, stopped_or_continued
from nbpar.host.exit_status import memory_kills

PATIENCE = 0.25
"""Seconds between terminating a process and killing it."""

OWNER_CHECK = 1.0
"""Seconds between checks of the owner where the system cannot notify of its end."""


@dataclass
class _Child:
    """A forked process that has not been reaped."""

    order: ForkRequest
    pid: int
    link: socket.socket
    lines: LineBuffer = field(default_factory=LineBuffer)
    connection: str = ""
    """The controller's connection data for engines, as JSON, once it is ready."""

    error: str = ""
    """The exception that ended it, if one did."""


class ForkServerProcess:
    """Serves the owner's orders until it is gone."""

    def __init__(self, owner: socket.socket, owner_pid: int, directory: Path) -> None:
        self._owner = owner
        self._owner_pid = owner_pid
        self._directory = directory
        self._lines = LineBuffer()
        self._children: dict[int, _Child] = {}
        self._waiting: list[ForkRequest] = []
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
        """Serve orders until the owner is gone or closes it; afterwards nothing of the cluster is left."""
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
        block = _received(self._owner)
        if block == b"":
            self._ending = True
        for line in self._lines.feed(block or b""):
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
        """Fork the ordered processes, except engines whose controller is not ready."""
        still: list[ForkRequest] = []
        waiting, self._waiting = self._waiting, still
        for order in waiting:
            controller = self._named(order.controller)
            if order.controller and controller is None:
                self._tell({"it": "failed", "key": order.key, "error": "its controller is gone"})
            elif controller is not None and not controller.connection:
                still.append(order)
            else:
                self._fork(order, controller.connection if controller else "")

    def _fork(self, order: ForkRequest, connection: str) -> None:
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
        """Close resources of this process in a new child."""

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
        """Read what a controller or a connection to a host says, and the exception that ends a child."""
        block = _received(child.link)
        if block == b"":
            self._unwatch(child.link)
        for line in child.lines.feed(block or b""):
            if "error" in line:
                child.error = line["error"]
                continue
            if child.order.kind in ("host", "worker"):
                self._tell({"it": "said", "key": child.order.key, "line": line})
                continue
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
        """Handle every child that has ended."""
        while self._children and (ended := reap_one(wait=wait)) is not None:
            child = self._children.pop(ended.pid, None)
            if child is not None:
                self._mourn(child, ended)

        for pid, stopped in stopped_or_continued():
            child = self._children.get(pid)
            if child is not None and child.order.kind == "worker":  # a controller looks itself for the others
                self._tell({"it": "said", "key": child.order.key, "line": {"stopped": stopped}})

    def _mourn(self, child: _Child, ended: Ended) -> None:
        self._hear_child(child)  # its last message, or the end
        self._unwatch(child.link)
        child.link.close()
        if child.order.controller:
            self._tell_child(child.order.controller, {"gone": child.order.key})
        kills, self._memory_kills = self._memory_kills, memory_kills()
        lack = self._memory_kills > kills
        end = {"key": child.order.key, "pid": child.pid, "error": child.error}
        self._tell({"it": "ended", **end, "status": ended.status, "lack": lack, "peak": ended.peak})
        self._fork_waiting()

    def _end_children(self) -> None:
        """Terminate all children, and kill those that do not end."""
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

    # ---- sockets and signals

    def _end(self) -> None:
        self._ending = True

    def _watch(self, source: socket.socket, handler: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, handler)

    def _unwatch(self, source: socket.socket) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(source)

    def _catch_signals(self) -> socket.socket:
        """Let signals wake the selector; those of the terminal are ignored."""
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


def _received(link: socket.socket) -> bytes | None:
    """Return received data: None for nothing yet, b"" if the other end is gone."""
    try:
        return link.recv(1 << 16, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""


def serve(
    owner: socket.socket,
    owner_pid: int,
    directory: Path,
    stack: str,
    names: list[str],
    path: list[str],
    *,
    devices: bool = False,
) -> None:
    """Import what children need, with the user's modules `names`, then serve until the owner ends; exits.

    If children have `devices` of their own, these modules must not use any.
    """
    process = ForkServerProcess(owner, owner_pid, directory)
    with guard_imports(owner_pid, directory):
        import_stack(stack)
        problem = preload(names, path, devices=devices)
    if problem:
        owner.sendall(encode({"it": "unfit", "error": problem}))
    gc.collect()
    gc.disable()
    gc.freeze()
    process.serve()
    os._exit(0)  # the owner waits for this process, which has nothing left to clean up


def main(arguments: list[str]) -> None:
    """Serve on the descriptor and with the settings that the owner passed."""
    settings: dict[str, Any] = json.loads(arguments[0])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    owner = socket.socket(fileno=settings["descriptor"])
    directory, preloaded = Path(settings["directory"]), settings["preload"]
    stack, path, devices = settings["stack"], settings["path"], settings["devices"]
    serve(owner, settings["owner"], directory, stack, preloaded, path, devices=devices)


if __name__ == "__main__":
    main(sys.argv[1:])
