"""Host and process of engines that have not been used yet, as they tell on the control queue.

Engines of ipyparallel 9 have a thread for that queue; older ones answer when they are not busy any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any

from nbpar.backends.base import WorkerId

LOCATE_WITHIN = 1.0
"""Seconds to wait for the answers."""

_FACTS = {"host": "hostname", "pid": "pid"}
"""Names in facts of workers, and in the answers."""


class Whereabouts:
    """What engines have answered.  Thread-safe.

    Each is asked once, with a message of Jupyter (`usage_request`) that old versions of ipykernel ignore.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._answers: dict[str, Future[Any]] = {}
        """By the engines' identities: a number may be given again."""

    def locate(self, workers: Iterable[WorkerId]) -> None:
        """Ask the engines that have not been asked, and wait a moment for their answers."""
        uuids = {self._uuid(worker) for worker in workers}
        new = [uuid for uuid in uuids if uuid is not None and uuid not in self._answers]
        for uuid in new:
            with suppress(OSError):  # the client has been closed
                self._answers[uuid] = self._client._send(  # noqa: SLF001 (nothing public sends it)
                    self._client._control_stream,  # noqa: SLF001
                    "usage_request", content={}, ident=uuid.encode(),
                )  # fmt: skip
        wait([self._answers[uuid] for uuid in new if uuid in self._answers], LOCATE_WITHIN)

    def of(self, worker: WorkerId) -> dict[str, object]:
        """Return `host` and `pid` of an engine, as far as they are known."""
        answer = self._answers.get(self._uuid(worker) or "")
        if answer is None or not answer.done() or answer.exception() is not None:
            return {}
        content = answer.result()["content"]
        return {name: content[key] for name, key in _FACTS.items() if key in content}

    def _uuid(self, worker: WorkerId) -> str | None:
        uuid: str | None = self._client._engines.get(int(worker.rpartition(" ")[2]))  # noqa: SLF001 (nothing public tells)
        return uuid
