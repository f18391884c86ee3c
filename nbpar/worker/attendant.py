"""The attendant: a thread that keeps a worker's mail going while user code keeps the loop's thread busy.

Finished answers do not wait for a long item, calls queued behind it can be recalled, pings are answered,
and code whose client is gone is stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from nbpar.worker.mail.mailbox import Mailbox

if TYPE_CHECKING:
    from typing_extensions import Self

TICK = 0.02
"""Seconds between two looks of the attendant."""


class Attendant:
    """Looks after a mailbox for the duration of a `with` block.

    Args:
        mailbox: exchanges its messages at each look.
        look: called then, in the attendant's thread; it must not raise.
        abandon: called at each look, likewise, once the client is gone.
        client_ended: returns whether the client's process has ended, which its connection need not tell.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        *,
        look: Callable[[], None],
        abandon: Callable[[], None],
        client_ended: Callable[[], bool] = lambda: False,
    ) -> None:
        self._mailbox = mailbox
        self._client_ended = client_ended
        self._look = look
        self._abandon = abandon
        self._over = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._attend, name="nbpar attendant", daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()

    def _attend(self) -> None:
        while not self._over.wait(TICK):
            self._mailbox.exchange()
            if not self._over.is_set():
                self._look()
            if (self._mailbox.lost or self._client_ended()) and not self._over.is_set():
                self._mailbox.lose_client()
                self._abandon()
