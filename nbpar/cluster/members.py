"""The engines registered at the controller, as seen through one client, and callbacks for changes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

LOOK_AGAIN = 0.1
"""Seconds until the controller is asked for engines that registered while the client was connecting."""


class MembersListener(Protocol):
    """Receives events of engines; called in the client's own thread, must not block."""

    def engine_joined(self, uuid: str) -> None:
        """An engine is ready."""

    def engine_left(self, uuid: str) -> None:
        """The controller has removed an engine."""


class MemberList:
    """The engines that can be used.  Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ids: dict[str, int] = {}
        self._gone: set[str] = set()  # whatever else arrives of them later
        self._dropped: set[str] = set()
        """Those of them that must not come back."""

    def ids(self) -> dict[str, int]:
        """The number of each engine at the controller, by identity."""
        with self._changed:
            return dict(self._ids)

    def wait(self, enough: Callable[[dict[str, int]], bool], timeout: float) -> bool:
        """Wait up to `timeout` seconds until there are `enough` of the engines; return whether there are."""
        deadline = time.monotonic() + timeout
        pause = LOOK_AGAIN
        while True:
            left = max(0.0, deadline - time.monotonic())
            with self._changed:
                if self._changed.wait_for(lambda: enough(self._ids), min(pause, left)):
                    return True
            if time.monotonic() >= deadline:
                return False
            self.refresh()
            pause = min(1.0, 2 * pause)

    def refresh(self) -> None:
        """Ask for engines that were missed; none are where nothing else tells of them."""

    def join(self, uuid: str, engine_id: int) -> bool:
        """Add an engine; return whether it is new."""
        with self._changed:
            if uuid in self._ids or uuid in self._gone:
                return False
            self._ids[uuid] = engine_id
            self._changed.notify_all()
            return True

    def wake(self) -> None:
        """Wake the threads in `wait`."""
        with self._changed:
            self._changed.notify_all()

    def drop(self, uuids: Sequence[str]) -> threading.Event:
        """Remove engines permanently; the returned event is set when nothing shows them any more."""
        raise NotImplementedError

    def strand(self, reason: str) -> None:
        """Fail all that waits for an engine's answer."""
        raise NotImplementedError

    def forget(self) -> None:
        """Stop listening."""
        raise NotImplementedError

    def _strike(self, uuids: Sequence[str]) -> dict[str, int]:
        """Remove engines; return the numbers of those that were there."""
        with self._changed:
            ids = {uuid: self._ids.pop(uuid) for uuid in uuids if uuid in self._ids}
            self._gone.update(uuids)
            self._changed.notify_all()
        return ids


class Members(MemberList):
    """The registered engines, kept up to date by the client's notifications."""

    def __init__(self, client: Any, listener: MembersListener) -> None:
        super().__init__()
        self._client = client
        self._listener = listener
        client._registration_callbacks.append(self._notice)  # noqa: SLF001 (`wait_for_engines` uses it too)
        self._take_known()

    def refresh(self) -> None:
        """Query the controller, because notifications are lost while the client connects."""
        client = self._client

        def ask() -> None:
            with suppress(OSError):  # the client has been closed
                client._send(client._query_stream, "connection_request").add_done_callback(take)  # noqa: SLF001

        def take(future: Any) -> None:
            known = future.result()["content"].get("engines", {})  # None if all waiting requests were failed
            for engine_id, uuid in known.items():
                if uuid in self._gone:  # the answer is older than the notification that it left
                    continue
                if int(engine_id) not in client._engines:  # noqa: SLF001 (nothing public adds an engine)
                    client._register_engine({"content": {"id": int(engine_id), "uuid": uuid}})  # noqa: SLF001

        client._io_loop.add_callback(ask)  # noqa: SLF001 (its sockets belong to its thread)

    def drop(self, uuids: Sequence[str]) -> threading.Event:
        """Remove engines permanently, here at once and then in the client, with or without the controller.

        The returned event is set when no view of the client has them any more.
        """
        client, done = self._client, threading.Event()
        self._dropped.update(uuids)
        ids = self._strike(uuids)

        def unregister() -> None:
            for uuid, engine_id in ids.items():
                client._unregister_engine({"content": {"id": engine_id, "uuid": uuid}})  # noqa: SLF001
            done.set()

        if client._closed:  # noqa: SLF001 (not public)
            done.set()
        else:
            client._io_loop.add_callback(unregister)  # noqa: SLF001
        return done

    def strand(self, reason: str) -> None:
        """Fail all of the client's pending requests: no answers will come."""
        client = self._client

        def strand() -> None:
            for uuid, engine_id in self.ids().items():
                client._unregister_engine({"content": {"id": engine_id, "uuid": uuid}})  # noqa: SLF001
            failure = _failure(reason)
            for message_id in list(client.outstanding):
                reply = client.session.msg("apply_reply", content=failure)
                reply["parent_header"]["msg_id"] = message_id
                client._handle_apply_reply(reply)  # noqa: SLF001
            for future in list(client._futures.values()):  # noqa: SLF001
                if not future.done():
                    future.set_result({"content": failure, "header": {}, "metadata": {}})

        client._io_loop.add_callback(strand)  # noqa: SLF001

    def forget(self) -> None:
        """Stop listening to the client."""
        with suppress(ValueError):
            self._client._registration_callbacks.remove(self._notice)  # noqa: SLF001

    def _notice(self, event: dict[str, Any]) -> None:
        uuid, engine_id = event["uuid"], int(event["id"])
        if event["event"] == "register":
            if uuid not in self._dropped:  # it had been given up, and answers again
                self._gone.discard(uuid)
            self._join(uuid, engine_id)
        else:
            if uuid in self.ids():
                self._listener.engine_left(uuid)  # first, so that its replacement is visible
            self._strike([uuid])

    def _take_known(self) -> None:
        for engine_id in self._client.ids:
            uuid = self._client._engines.get(engine_id)  # noqa: SLF001
            if uuid is not None:
                self._join(uuid, engine_id)

    def _join(self, uuid: str, engine_id: int) -> None:
        if self.join(uuid, engine_id):
            self._listener.engine_joined(uuid)


def _failure(reason: str) -> Any:
    """Content of an engine's reply that failed for this reason."""
    from ipyparallel import error

    try:
        raise error.EngineError(reason)  # noqa: TRY301 (`wrap_exception` reads what is being handled)
    except error.EngineError:
        return error.wrap_exception()


DeathListener = Callable[[str, str], None]
JoinListener = Callable[[str], None]


class Listeners:
    """Forwards deaths and arrivals to listeners.  Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deaths: list[DeathListener] = []
        self._joins: list[JoinListener] = []
        self._present: set[str] = set()
        self._explained: dict[str, str] = {}

    def add_death(self, listener: DeathListener) -> Callable[[], None]:
        """Add a listener of deaths; returns a remover."""
        return self._add(self._deaths, listener)

    def add_join(self, listener: JoinListener) -> Callable[[], None]:
        """Add a listener of arrivals; returns a remover."""
        return self._add(self._joins, listener)

    def explain(self, uuids: Sequence[str], reason: str) -> None:
        """Record in advance why engines are about to end."""
        with self._lock:
            self._explained.update(dict.fromkeys(uuids, reason))

    def joined(self, uuid: str) -> None:
        """An engine is ready."""
        with self._lock:
            self._present.add(uuid)
            listeners = list(self._joins)
        for listener in listeners:
            _call(listener, uuid)

    def died(self, uuid: str, reason: str) -> None:
        """Handle the death of an engine's process; reported once for each engine that had joined."""
        with self._lock:
            if uuid not in self._present:
                return
            self._present.discard(uuid)
            reason = self._explained.pop(uuid, reason)
            listeners = list(self._deaths)
        for listener in listeners:
            _call(listener, uuid, reason)

    def _add(self, listeners: list[Callable[..., None]], listener: Callable[..., None]) -> Callable[[], None]:
        with self._lock:
            listeners.append(listener)

        def remove() -> None:
            with self._lock:
                if listener in listeners:
                    listeners.remove(listener)

        return remove


def _call(listener: Callable[..., None], *arguments: str) -> None:
    try:
        listener(*arguments)
    except Exception:  # other code depends on the calling thread
        logging.getLogger(__name__).exception("a listener failed")
