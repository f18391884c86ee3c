"""Tell the client how long a failed item's exception asks to wait before another attempt.

It is read here, because exceptions with responses in them often cannot travel.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nbpar.core.rates.retry_after import seconds_in, status_of, wait_asked_by
from nbpar.core.safe_exceptions import harmless
from nbpar.core.text import text_of
from nbpar.wire.faults import Fault
from nbpar.wire.messages import Begin

Describe = Callable[[BaseException], Fault]


def telling(describe: Describe, begin: Begin | None) -> Describe:
    """Return what describes exceptions, with the waits that they ask for if the run's settings want that."""
    if begin is None or begin.asked is None:
        return describe
    return AskedWaits(describe, begin.asked)


class AskedWaits:
    """Describes exceptions with the waits that they ask for.

    Args:
        describe: makes the rest of a fault.
        asked: True: as `wait_asked_by`; or the user's function of the exception, pickled if it comes from
            another process.
    """

    def __init__(self, describe: Describe, asked: Any) -> None:
        self._describe = describe
        self._asked = asked

    def __call__(self, error: BaseException) -> Fault:
        """Return the fault; never raises."""
        error = harmless(error)
        after, status = None, 0
        with suppress(BaseException):  # any user code may run here
            status = status_of(error)
        try:
            after = self._wait(error)
        except BaseException as trouble:  # noqa: BLE001 (likewise)
            self._note(error, trouble)
        return self._describe(error)._replace(after=after, status=status)

    def _wait(self, error: BaseException) -> float | None:
        if self._asked is True:
            return wait_asked_by(error, time.time())
        if isinstance(self._asked, bytes):
            self._asked = pickle.loads(self._asked)
        return seconds_in(self._asked(error), time.time())

    def _note(self, error: BaseException, trouble: BaseException) -> None:
        """Say that the wait could not be read, where notes of exceptions are shown."""
        if self._asked is not True and (add := getattr(error, "add_note", None)) is not None:
            add(f"Retry(after=...) could not be asked: {type(trouble).__name__}: {text_of(trouble)}")
