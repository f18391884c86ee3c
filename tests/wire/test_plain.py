"""Headers of messages contain plain values only, whatever users' code has put into them."""

from __future__ import annotations

import collections
import enum
import pickle
from typing import NamedTuple

import numpy as np
import pytest

from nbpar.wire.frames import decode, encode
from nbpar.wire.messages import Call, Output, Ready
from nbpar.wire.pickling import pack
from nbpar.wire.plain_pickling import dumps_plain, plain


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "a lie"


class Level(str, enum.Enum):
    HIGH = "high"


class Color(enum.IntEnum):
    RED = 1


class Hostile:
    def __index__(self):
        raise SystemExit

    def __repr__(self):
        raise SystemExit


class Pair(NamedTuple):
    first: str
    second: tuple


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Text("text"), "text"),
        (Level.HIGH, "high"),
        (Color.RED, 1),
        (np.float64(2.5), 2.5),
        (np.float32(2.5), 2.5),
        (np.int64(3), 3),
        (np.str_("text"), "text"),
        (type("Bytes", (bytes,), {})(b"ab"), b"ab"),
        (collections.OrderedDict({Text("a"): [Color.RED]}), {"a": [1]}),
        (Pair(Text("a"), (Level.HIGH,)), ("a", ("high",))),
        (print, "<built-in function print>"),
        (Hostile(), "a Hostile"),
        ([None, True, 1, 2.5, 1j, "a", b"a"], [None, True, 1, 2.5, "1j", "a", b"a"]),
    ],
)
def test_values_become_plain(given, expected):
    made = plain(given)

    assert made == expected
    assert type(made) is type(expected)
    assert pickle.loads(dumps_plain([given])) == [expected]


def test_messages_with_foreign_values_arrive():
    body, _ = pack([1])
    fields = {"timeout": np.float64(0.5), "seed": np.int64(7), "items": body, "broken": {}}
    call = Call(**{name: fields.get(name, 0) for name in Call._fields})
    output = Output(1, ((0, "log", {"level": Level.HIGH, Text("name"): Color.RED}),))
    ready = Ready({"host": Text("here")})

    arrived_call, arrived_output, arrived_ready = decode(encode([call, output, ready]))

    assert (arrived_call.timeout, arrived_call.seed) == (0.5, 7)
    assert arrived_output.pieces == ((0, "log", {"level": "high", "name": 1}),)
    assert arrived_ready.facts == {"host": "here"}
