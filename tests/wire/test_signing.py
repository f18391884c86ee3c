"""Signatures over all bytes."""

from __future__ import annotations

import pytest

from nbpar.wire.signing import Signer

FRAMES = [b"head", b"body", bytearray(b"buffer")]


def test_what_was_signed_is_genuine():
    signer = Signer(b"key")

    assert signer.genuine(signer.sign(b"me", FRAMES), b"me", FRAMES)


@pytest.mark.parametrize(
    ("sender", "frames"),
    [
        (b"you", FRAMES),
        (b"me", [b"head", b"body", b"buffeR"]),
        (b"me", [b"head", b"bodybuffer"]),
        (b"me", [b"headb", b"ody", b"buffer"]),
        (b"me", FRAMES[:2]),
    ],
)
def test_anything_else_is_not(sender, frames):
    signature = Signer(b"key").sign(b"me", FRAMES)

    assert not Signer(b"key").genuine(signature, sender, frames)


def test_another_key_is_not_genuine():
    assert not Signer(b"other").genuine(Signer(b"key").sign(b"me", FRAMES), b"me", FRAMES)


def test_without_a_key_the_transport_is_trusted():
    signer = Signer(b"")

    assert signer.sign(b"me", FRAMES) == b""
    assert signer.genuine(b"", b"me", FRAMES)
