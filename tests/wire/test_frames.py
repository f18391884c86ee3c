"""Messages as bytes."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpar.wire.faults import Fault
from nbpar.wire.frames import INLINE, FrameError, decode, encode
from nbpar.wire.messages import (
    KINDS,
    Bye,
    Call,
    Cancel,
    Close,
    Done,
    Item,
    Items,
    Load,
    Missing,
    Open,
    Ping,
    Ready,
    Release,
)
from nbpar.wire.pickling import Packed, Unreceived, pack, pack_one, unpack
from nbpar.wire.shared_memory import Mapped

FAULT = Fault(b"payload", "ValueError", "no", (("file.py", "f", 3, 1, (3, 0, 4)),), "Traceback ...", "")


def call(body, **fields):
    values = {
        "id": 1, "run": 2, "digest": b"d", "first": 0, "spread": "one", "timed": True, "stop_early": False,
        "timeout": None, "seed": None, "concurrency": 0, "broken": {}, "items": body,
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


plain = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.tuples(st.integers()))
small = st.binary(max_size=20)
large = small.map(lambda end: bytes(INLINE + 1) + end)
faults = st.builds(
    Fault,
    st.one_of(st.none(), st.binary()),
    st.text(),
    st.text(),
    st.just((("file.py", "f", 3, 1, (3, 0, 4)),)),
    st.text(),
    st.text(),
    st.just(((True, (None, "KeyError", "no", (), "", "because")),)),
    after=st.one_of(st.none(), st.floats(allow_nan=False)),  # which is not equal to itself
)
bodies = st.one_of(
    st.builds(Packed, st.one_of(small, large), st.none(), st.just([]), st.integers(0, 9)),
    st.builds(Packed, st.one_of(small, large), st.just(((3, 1), (4, 2))), st.lists(small, max_size=3)),
    st.builds(Packed, small, st.none(), st.builds(Mapped, st.text(), st.text(), st.just(((0, 3),)))),
)
FIELDS = {
    "faults": st.dictionaries(st.integers(0, 9), faults, max_size=2),
    "broken": st.dictionaries(st.integers(0, 9), faults, max_size=2),
    "fault": st.one_of(st.none(), faults),
    "function": bodies, "items": bodies, "code": bodies, "value": bodies, "values": bodies, "body": bodies,
    "content": st.one_of(st.none(), bodies),
    "id": st.integers(), "channel": st.integers(-(2**63), 2**63 - 1),
    "timeout": st.one_of(st.none(), st.floats(0, 9)), "seed": st.one_of(st.none(), st.integers()),
}  # fmt: skip
BODIED = (Load, Call, Done, Open, Item)


def messages_of(kind):
    fields = {name: FIELDS.get(name, plain) for name in kind._fields}
    if kind is Item:  # one object: without a number, and with buffers only where it has a layout
        fields["value"] = bodies.filter(lambda body: body.layout or not (body.buffers or body.number))
    elif kind is Items:
        fields["values"] = st.lists(plain, max_size=5)
    elif kind not in BODIED and "items" in fields:
        fields["items"] = st.integers()
    return st.builds(kind, **fields)


@given(st.lists(st.sampled_from(KINDS).flatmap(messages_of), min_size=1, max_size=5))
def test_messages_of_every_kind_arrive_as_they_were_sent(messages):
    frames = [frame if type(frame) is bytes else bytes(frame) for frame in encode(messages)]

    arrived = decode(frames)

    assert arrived == messages
    assert [type(message) for message in arrived] == [type(message) for message in messages]


heads = st.recursive(
    st.one_of(plain, st.integers(-1, len(KINDS)), st.sampled_from([(), [], {}])),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.lists(inner, max_size=12).map(tuple)),
    max_leaves=20,
)


@given(heads, st.lists(st.binary(max_size=5), max_size=3))
def test_any_plain_values_in_place_of_a_head_are_refused_or_are_messages(head, rest):
    try:
        arrived = decode([pickle.dumps(head), *rest])
    except FrameError:
        return
    assert arrived
    assert all(type(message) in KINDS for message in arrived)


@given(st.lists(st.sampled_from(KINDS).flatmap(messages_of), min_size=1, max_size=3), st.data())
def test_messages_whose_frames_are_cut_or_missing_are_refused(messages, data):
    frames = [bytes(frame) for frame in encode(messages)]
    at = data.draw(st.integers(0, len(frames) - 1))
    keep = data.draw(st.integers(0, max(len(frames[at]) - 1, 0)))

    broken = [*frames[:at], frames[at][:keep], *frames[at + 1 :]] if at == 0 else frames[:at]

    if at or type(messages[0]) is not Item or len(messages) > 1:  # an item by itself is not looked into
        with pytest.raises(FrameError):
            decode(broken)


def test_the_most_frequent_messages_of_channels_are_one_frame_without_a_head():
    item, items = Item(7, pack_one([1, "a"])._replace(layout=None)), Items(8, [1, "b"])

    assert [len(encode([message])) for message in (item, items)] == [1, 1]
    assert decode(encode([item])) == [item]
    assert decode(encode([items])) == [items]


@pytest.mark.parametrize(
    "item",
    [
        Item(7, Packed(b"x" * (INLINE + 1), None, [])),
        Item(7, Packed(b"ab", ((1, 0), (1, 0)), [])),
        Item(7, "nothing packed"),
    ],
    ids=["large", "several", "odd"],
)
def test_other_items_have_a_head(item):
    assert decode(encode([item])) == [item]


def test_a_frame_of_items_that_are_no_list_is_refused():
    frame = encode([Items(8, [1])])[0][:9] + pickle.dumps({"no": "list"})

    with pytest.raises(FrameError, match="these are no items"):
        decode([frame])


def test_no_messages_are_no_message():
    with pytest.raises(FrameError, match="it is empty"):
        decode(encode([]))


def test_frames_that_did_not_fit_into_memory_stay_marked():
    sent = [Load(b"d", "f", Packed(b"head", ((4, 2),), [b"first", b"second"]))]
    head, first, _ = encode(sent)

    [arrived] = decode([head, first, Unreceived.of(6)])

    assert arrived.function.buffers[0] == bytearray(b"first")
    assert type(arrived.function.buffers[1]) is Unreceived
    assert not arrived.function.received


def test_the_fault_of_a_closed_channel_arrives():
    for fault in (FAULT, None):
        assert decode(encode([Close(3, False, fault)])) == [Close(3, False, fault)]


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
