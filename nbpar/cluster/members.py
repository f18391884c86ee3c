"""Who is registered at the controller, as seen through one ipyparallel client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

LOOK_AGAIN = 0.1
"""Seconds until the controller is asked for engines that registered while the client was connecting."""


class MembersListener(Protocol):
    """Who hears of engines; called in the client's own thread, must not block."""

    def engine_joined(self, uuid: str) -> None:
        """An engine can be used."""

    def engine_left(self, uuid: str) -> None:
        """The controller has struck an engine off."""


class Members:
    """The registered engines, kept up to date by the client's notifications."""

    def __init__(self, client: Any, listener: MembersListener) -> None:
        self._client = client
        self._listener = listener
        self._changed = threading.Condition()
        self._ids: dict[str, int] = {}
        self._dropped: set[str] = set()
        client._registration_callbacks.append(self._notice)  # noqa: SLF001 (`wait_for_engines` uses it too)
        self._take_known()

    def ids(self) -> dict[str, int]:
        """The number of each engine at the controller, by identity."""
        with self._changed:
            return dict(self._ids)

    def wait(self, enough: Callable[[dict[str, int]], bool], timeout: float) -> bool:
        """Wait until `enough` of the engines; whether that came within `timeout` seconds."""
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

    def wait_struck(self, ids: set[int], timeout: float) -> bool:
        """Wait until the controller has struck these off, so that no view has them any more."""
        with self._changed:
            return self._changed.wait_for(lambda: not ids & set(self._client.ids), timeout)

    def refresh(self) -> None:
        """Ask the controller, because a notification sent while the client was connecting is lost."""
        client = self._client

        def ask() -> None:
            with suppress(OSError):  # the client has been closed
                client._send(client._query_stream, "connection_request").add_done_callback(take)  # noqa: SLF001

        def take(future: Any) -> None:
            for engine_id, uuid in future.result()["content"]["engines"].items():
                if int(engine_id) not in client._engines:  # noqa: SLF001 (nothing public adds an engine)
                    client._register_engine({"content": {"id": int(engine_id), "uuid": uuid}})  # noqa: SLF001

        client._io_loop.add_callback(ask)  # noqa: SLF001 (its sockets belong to its thread)

    def drop(self, uuid: str) -> None:
        """Forget an engine whose process is gone, before the controller says so."""
        with self._changed:
            self._ids.pop(uuid, None)
            self._dropped.add(uuid)
            self._changed.notify_all()

    def wake(self) -> None:
        """Have `wait` look again."""
        with self._changed:
            self._changed.notify_all()

    def strand(self, reason: str) -> None:
        """Fail everything that the client waits for: no answer will come."""
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
        """Hear no more of the client."""
        with suppress(ValueError):
            self._client._registration_callbacks.remove(self._notice)  # noqa: SLF001

    def _notice(self, event: dict[str, Any]) -> None:
        uuid, engine_id = event["uuid"], int(event["id"])
        if event["event"] == "register":
            self._join(uuid, engine_id)
        else:
            with self._changed:
                known = self._ids.pop(uuid, None) is not None
                self._changed.notify_all()
            if known:
                self._listener.engine_left(uuid)

    def _take_known(self) -> None:
        for engine_id in self._client.ids:
            uuid = self._client._engines.get(engine_id)  # noqa: SLF001
            if uuid is not None:
                self._join(uuid, engine_id)

    def _join(self, uuid: str, engine_id: int) -> None:
        with self._changed:
            if uuid in self._ids or uuid in self._dropped:
                return
            self._ids[uuid] = engine_id
            self._changed.notify_all()
        self._listener.engine_joined(uuid)


def _failure(reason: str) -> Any:
    """What an engine's reply contains when it failed for this reason."""
    from ipyparallel import error

    try:
        raise error.EngineError(reason)  # noqa: TRY301 (`wrap_exception` reads what is being handled)
    except error.EngineError:
        return error.wrap_exception()
