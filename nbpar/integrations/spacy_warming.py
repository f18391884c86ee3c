"""Send a spaCy pipeline to the workers of a pool in the background."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

from nbpar.integrations.spacy_model import Frozen
from nbpar.pool.pool import Pool

_warm: WeakKeyDictionary[Pool, str] = WeakKeyDictionary()
"""The pipeline sent last to each pool's workers."""


class Warming:
    """Prepares the pipeline on every worker of a pool, once: it imports spaCy, and unpickles the model."""

    def __init__(self, pool: Pool, function: Frozen) -> None:
        self._pool = pool
        self._function = function
        self._thread: threading.Thread | None = None
        if _warm.get(pool) != function.token or pool.broken:
            self._thread = threading.Thread(target=self._send, name="nbpar spaCy", daemon=True)
            self._thread.start()

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._thread is None or not self._thread.is_alive()

    def _send(self) -> None:
        try:
            self._pool.each(self._function, [])
        except Exception:  # noqa: BLE001, S110 (the next use of the workers raises the same)
            pass
        else:
            _warm[self._pool] = self._function.token
