"""Sign frames over all their bytes (HMAC-SHA-256, RFC 2104), and number them.

Jupyter's own signatures omit buffers; messages through a controller without encryption
need more, because they will be unpickled.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

DELIMITER = b"<IDS|MSG>"
"""By this the hub recognizes a message that it need not process."""


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


class Correspondence:
    """Signed and numbered messages between two sides; a lost one is detected at the next.

    zmq reconnects silently, but messages in transit are lost.  Then all further messages are
    rejected: the two sides would have inconsistent state.

    Args:
        greeted: the other side repeats its greeting until answered, so its first messages may be missing.
    """

    def __init__(self, signer: Signer, own: bytes, other: bytes, *, greeted: bool = False) -> None:
        self.broken = False
        """Whether messages are missing."""

        self._signer = signer
        self._own = own
        self._other = other
        self._greeted = greeted
        self._sent = 0
        self._taken = 0

    def enclosed(self, frames: Sequence[Any]) -> list[Any]:
        """Return the next message as sent through a controller: address, delimiter, signature, frames."""
        number = self._sent.to_bytes(8, "big")
        self._sent += 1
        return [self._other, DELIMITER, number + self._signer.sign(self._own, [number, *frames]), *frames]

    def opened(self, frames: Sequence[Any]) -> Sequence[Any]:
        """Return the content; nothing, which is no message, if it is not authentic or not the next."""
        if len(frames) < 2 or frames[0] != DELIMITER or self.broken:
            return []
        number, signature, content = frames[1][:8], frames[1][8:], frames[2:]
        if not self._signer.genuine(signature, self._other, [number, *content]):
            return []
        place = int.from_bytes(number, "big")
        if self._greeted and not self._taken:
            self._taken = place
        self.broken = place > self._taken
        if place != self._taken:
            return []
        self._taken += 1
        return content
