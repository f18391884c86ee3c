"""Sign frames over all their bytes (HMAC-SHA-256, RFC 2104).

Jupyter's own signatures leave buffers out; what passes a controller without encryption
needs more, because it will be unpickled.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any


class Signer:
    """Signs and checks with a shared key; without a key (encrypted transport) does neither."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, sender: bytes, frames: Sequence[Any]) -> bytes:
        """Return the signature of frames that `sender` sends."""
        if not self._key:
            return b""
        mac = hmac.new(self._key, b"%d:%s" % (len(frames), sender), "sha256")
        for frame in frames:
            view = memoryview(frame)
            mac.update(b"%d:" % view.nbytes)
            mac.update(view)
        return mac.digest()

    def genuine(self, signature: Any, sender: bytes, frames: Sequence[Any]) -> bool:
        """Whether the signature belongs to these frames from this sender."""
        return hmac.compare_digest(bytes(signature), self.sign(sender, frames))
