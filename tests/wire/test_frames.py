"""Messages and their bytes."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpar.wire.faults import Fault
from nbpar.wire.frames import INLINE, FrameError, decode, encode
from nbpar.wire.messages import Bye, Call, Cancel, Done, Load, Missing, Ping, Ready, Release
from nbpar.wire.pickling import Packed, pack, unpack

FAULT = Fault(b"payload", "ValueError", "no", (("file.py", "f", 3, 1, (3, 0, 4)),), "Traceback ...", "")


def call(body, **fields):
    values = {
        "id": 1, "run": 2, "digest": b"d", "first": 0, "spread": "one", "timed": True, "stop_early": False,
        "timeout": None, "seed": None, "broken": {}, "items": body,
    }  # fmt: skip
    known = {name: values.get(name) for name in Call._fields}
    return Call(**{**known, **fields})


def test_messages_arrive_as_they_were_sent():
    messages = [
        Ready({"pid": 3, "host": "here"}),
        Cancel((1, 2)),
        Ping(7),
        Missing(b"digest", (4,)),
        Bye("released"),
        Release(),
    ]

    assert decode(encode(messages)) == messages


@given(
    st.lists(
        st.one_of(st.integers(), st.text(), st.binary(), st.none(), st.lists(st.floats(allow_nan=False)))
    )
)
def test_items_arrive_as_they_were_sent(items):
    body, errors = pack(items)

    [arrived] = decode(encode([call(body)]))

    assert not errors
    assert list(unpack(arrived.items)[0]) == items


def test_large_bodies_travel_beside_the_head():
    body, _ = pack(["x" * INLINE, "y"])

    head, large = encode([call(body)])

    assert len(head) < 1000
    assert len(large) > INLINE


def test_faults_arrive_as_faults():
    body, _ = pack([None])
    sent = Done(*[{"faults": {0: FAULT}, "values": body}.get(name, 0) for name in Done._fields])

    [arrived] = decode(encode([sent]))

    assert arrived.faults == {0: FAULT}


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"nonsense"],
        [pickle.dumps(3)],
        [pickle.dumps([(99, ())])],
        [pickle.dumps([(0, ())])],
        [pickle.dumps([(0, (b"d", "f", (None, None, 3)))])],
    ],
)
def test_what_is_no_message_is_refused(frames):
    with pytest.raises(FrameError, match="not a message"):
        decode(frames)


class Harmful:
    """Does something when it is unpickled."""

    def __reduce__(self):
        return print, ("harm",)


def test_a_head_cannot_name_a_function_or_class(capsys):
    with pytest.raises(FrameError, match="may not hold"):
        decode([pickle.dumps([(0, Harmful())])])

    assert not capsys.readouterr().out


def test_a_body_without_out_of_band_buffers_is_cheap_to_send():
    [frame] = encode([Load(b"digest", "f", Packed(b"pickle", None, []))])

    assert len(frame) < 200
