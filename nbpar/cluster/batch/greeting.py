"""How a job proves that it is one, and learns that it has reached the right gateway.

Both know a key, which is in a file that only their user can read.  Each side sends a random challenge and
answers the other's with a keyed digest (HMAC, RFC 2104); the key itself never crosses the network.
"""

from __future__ import annotations

import hmac
import os
from hashlib import sha256

LONGEST_GREETING = 1 << 14
"""Bytes of a greeting that no job exceeds."""


def challenge() -> str:
    """A new random text."""
    return os.urandom(24).hex()


def answer(key: str, side: str, job: int, theirs: str, ours: str) -> str:
    """The answer of a side ("job" or "gateway") to the challenge `theirs`, after sending `ours`."""
    return hmac.new(bytes.fromhex(key), f"{side} {job} {theirs} {ours}".encode(), sha256).hexdigest()


def seal_key(key: str, gateway: str, job: str) -> bytes:
    """The key that signs the lines of one connection, from both its challenges."""
    return hmac.new(bytes.fromhex(key), f"lines {gateway} {job}".encode(), sha256).digest()


class Doorkeeper:
    """Takes the greeting of one connection on the gateway's side.

    Args:
        key: the key that jobs know.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self.challenge = challenge()
        """What is sent first."""

        self.job: int | None = None
        """Number of the job, once it is proved."""

        self.seal = b""
        """The key for its lines, from then on."""

    def admit(self, line: str) -> str | None:
        """Check a job's first line; returns the answer, None to refuse."""
        words = line.split()
        if len(words) != 3 or not words[0].isdigit() or not line.isascii():
            return None
        number, theirs, proof = int(words[0]), words[1], words[2]
        if not hmac.compare_digest(proof, answer(self._key, "job", number, self.challenge, theirs)):
            return None
        self.job, self.seal = number, seal_key(self._key, self.challenge, theirs)
        return answer(self._key, "gateway", number, theirs, self.challenge)
