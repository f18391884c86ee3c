"""Sign frames over all their bytes (HMAC-SHA-256, RFC 2104).

Jupyter's own signatures leave buffers out; what passes a controller without encryption
needs more, because it will be unpickled.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

DELIMITER = b"<IDS|MSG>"
"""By it the hub knows that what follows is a message, and none of its business."""


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

    def enclosed(self, receiver: bytes, sender: bytes, frames: Sequence[Any]) -> list[Any]:
        """Return frames as they pass a controller: for whom, delimiter, signature, and the frames."""
        return [receiver, DELIMITER, self.sign(sender, frames), *frames]

    def opened(self, sender: bytes, frames: Sequence[Any]) -> Sequence[Any]:
        """Return what was enclosed; nothing, which is no message, when it is not genuine."""
        if len(frames) < 2 or frames[0] != DELIMITER or not self.genuine(frames[1], sender, frames[2:]):
            return []
        return frames[2:]
