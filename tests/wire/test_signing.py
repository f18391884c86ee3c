"""Signatures over all bytes."""

from __future__ import annotations

import pytest

from nbpar.wire.signing import Correspondence, Signer

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


def pair(key=b"key"):
    ours, theirs = Correspondence(Signer(key), b"us", b"them"), Correspondence(Signer(key), b"them", b"us")
    return ours, theirs


def pass_on(message, receiver):
    """Be the controller: take off for whom it is."""
    assert message[0] == receiver._own
    return receiver.opened(message[1:])


@pytest.mark.parametrize("key", [b"key", b""], ids=["signed", "encrypted elsewhere"])
def test_messages_arrive_in_their_order_both_ways(key):
    ours, theirs = pair(key)

    for number in range(3):
        assert pass_on(ours.enclosed([b"%d" % number]), theirs) == [b"%d" % number]
        assert pass_on(theirs.enclosed(FRAMES), ours) == FRAMES
    assert not ours.broken
    assert not theirs.broken


@pytest.mark.parametrize("key", [b"key", b""], ids=["signed", "encrypted elsewhere"])
def test_a_message_that_is_missing_is_noticed_by_the_next_and_ends_it(key):
    ours, theirs = pair(key)
    ours.enclosed([b"lost on the way"])

    assert pass_on(ours.enclosed([b"next"]), theirs) == []
    assert theirs.broken
    assert pass_on(ours.enclosed([b"one more"]), theirs) == []


def test_greetings_that_were_lost_are_not_missed():
    ours, _ = pair()
    theirs = Correspondence(Signer(b"key"), b"them", b"us", greeted=True)
    ours.enclosed([b"hello"])

    assert pass_on(ours.enclosed([b"hello"]), theirs) == [b"hello"]
    assert pass_on(ours.enclosed([b"next"]), theirs) == [b"next"]
    ours.enclosed([b"lost on the way"])
    assert pass_on(ours.enclosed([b"one more"]), theirs) == []


def test_a_message_that_comes_twice_counts_once():
    ours, theirs = pair()
    message = ours.enclosed([b"pay ten"])

    assert pass_on(message, theirs) == [b"pay ten"]
    assert pass_on(message, theirs) == []
    assert not theirs.broken


@pytest.mark.parametrize("place", [0, 7, 8, 20])
def test_neither_number_nor_signature_can_be_changed(place):
    ours, theirs = pair()
    receiver, delimiter, signature, content = ours.enclosed([b"content"])
    changed = bytes(byte ^ (index == place) for index, byte in enumerate(signature))

    assert pass_on([receiver, delimiter, changed, content], theirs) == []
    assert not theirs.broken
    assert pass_on([receiver, delimiter, signature, content], theirs) == [b"content"]
