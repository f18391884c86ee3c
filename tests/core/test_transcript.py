"""Output, displays and log records of items are kept within limits, by item, until they are shown."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpar.core import transcript
from nbpar.core.outcome import Part
from nbpar.core.transcript import Piece, Transcript


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(transcript, "KEPT", 100)


def printed(index, content, kind="stdout", **more):
    return Piece(index, kind, content, **more)


def display(index, name, picture, kind="display"):
    return Piece(index, kind, {"id": name, "data": {"image/png": picture}, "metadata": {}})


def filled(*pieces):
    kept = Transcript()
    for piece in pieces:
        kept.add(piece)
    return kept


def test_output_is_taken_once_in_the_order_of_items_after_that_of_none():
    kept = filled(printed(2, "c"), printed(0, "a"), printed(-1, "of none"), printed(0, "b"))

    taken = kept.take()

    assert [piece.content for piece in taken] == ["of none", "a", "b", "c"]
    assert not kept.waiting
    assert kept.take() == []
    assert kept.pieces == taken


def test_a_part_of_it_is_taken_by_item():
    kept = filled(*(printed(index, str(index)) for index in range(-1, 5)))

    assert [piece.index for piece in kept.take(1, 3)] == [-1, 1, 2]
    assert [piece.index for piece in kept.take()] == [0, 3, 4]


def part(first, stop):
    return Part(first, [None] * (stop - first))


@given(st.permutations([(0, 2), (2, 3), (3, 7), (7, 8)]), st.integers(0, 4))
def test_items_are_shown_when_all_before_them_are_settled(ranges, number):
    kept = filled(*(printed(index, str(index)) for index in range(8)))

    kept.settle(part(*settled) for settled in ranges[:number])

    done = {index for first, stop in ranges[:number] for index in range(first, stop)}
    prefix = next(index for index in range(9) if index not in done)
    assert [piece.index for piece in kept.take_settled()] == list(range(prefix))
    assert kept.waiting is (prefix < 8)


def test_items_that_are_settled_out_of_order_wait_for_those_before_them():
    kept = filled(*(printed(index, str(index)) for index in range(4)))

    kept.settle([part(1, 3)])
    assert kept.take_settled() == []

    kept.settle([part(0, 1)])
    assert [piece.index for piece in kept.take_settled()] == [0, 1, 2]


def test_what_was_shown_on_arrival_is_kept_and_not_shown_again():
    kept = filled(printed(0, "now", shown=True), printed(0, "later"))

    assert [piece.content for piece in kept.take()] == ["later"]
    assert [piece.content for piece in kept.pieces] == ["now", "later"]


def test_a_cleared_output_is_gone_and_its_room_free_again():
    kept = Transcript()
    for _ in range(5):
        kept.add(printed(3, "x" * 90))
        kept.add(Piece(3, "clear", None))
    kept.add(printed(3, "last"))
    kept.add(Piece(4, "clear", None))

    assert [piece.content for piece in kept.take()] == ["last"]
    assert kept.left_out == 0


def test_an_update_replaces_what_it_updates_and_needs_no_more_room():
    kept = filled(display(0, "plot", b"0" * 90), printed(0, "text"), display(0, "other", b""))

    for step in range(5):
        kept.add(display(0, "plot", bytes([step]) * 90, "update"))

    first, second, third = kept.take()
    assert (first.kind, first.content["data"]["image/png"]) == ("display", bytes([4]) * 90)
    assert (second.content, third.content["id"]) == ("text", "other")
    assert kept.left_out == 0


def test_an_update_of_what_was_taken_is_shown_by_itself_and_replaces_it_in_the_record():
    kept = filled(display(0, "plot", b"old"))
    kept.take()

    kept.add(display(0, "plot", b"new", "update"))

    [shown] = kept.take()
    assert (shown.kind, shown.content["data"]["image/png"]) == ("display", b"new")
    assert kept.pieces == [shown]


def test_an_update_of_another_item_does_not_replace_anything():
    kept = filled(
        display(0, "plot", b"a"), display(1, "plot", b"b", "update"), display(0, "other", b"c", "update")
    )

    assert [piece.content["data"]["image/png"] for piece in kept.pieces] == [b"a", b"c", b"b"]


@given(
    st.lists(
        st.one_of(
            st.builds(printed, st.integers(0, 3), st.text("x", max_size=40)),
            st.builds(display, st.integers(0, 3), st.sampled_from("ab"), st.binary(max_size=40)),
            st.builds(
                display, st.integers(0, 3), st.sampled_from("ab"), st.binary(max_size=40), st.just("update")
            ),
            st.builds(Piece, st.integers(0, 3), st.just("clear"), st.none()),
        )
    )
)
def test_no_more_is_kept_than_there_is_room_for(pieces):
    kept, offered = Transcript(), 0
    for piece in pieces:
        kept.add(piece)
        offered += piece.size

    held = sum(piece.size for piece in kept.pieces)
    assert held <= 100
    assert held + kept.left_out <= offered
    if offered <= 100:
        assert kept.left_out == 0


def test_what_has_no_room_is_counted_and_what_has_comes_through():
    kept = filled(printed(0, "x" * 80), printed(1, "y" * 30), printed(2, "z" * 20))

    assert [piece.content[0] for piece in kept.pieces] == ["x", "z"]
    assert kept.left_out == 30


@pytest.mark.parametrize(
    ("piece", "stream", "text"),
    [
        (printed(0, "out\n"), "stdout", "out\n"),
        (printed(0, "err", "stderr"), "stderr", "err"),
        (printed(0, "... 9 more", "cut"), "stderr", "... 9 more\n"),
        (
            Piece(0, "display", {"data": {"text/plain": "a table", "text/html": "<b>"}}),
            "stdout",
            "a table\n",
        ),
        (
            Piece(0, "update", {"data": {"image/png": b"", "text/html": ""}}),
            "stdout",
            "<image/png, text/html>\n",
        ),
        (
            Piece(0, "log", {"levelname": "INFO", "name": "app", "msg": "caf\udce9"}),
            "stderr",
            "INFO:app:caf\\udce9\n",
        ),
        (
            Piece(
                0, "log", {"record": logging.makeLogRecord({"levelname": "ERROR", "name": "a", "msg": "m"})}
            ),
            "stderr",
            "ERROR:a:m\n",
        ),
        (
            Piece(0, "warning", {"kinds": [("builtins", "UserWarning")], "text": "careful"}),
            "stderr",
            "UserWarning: careful\n",
        ),
        (Piece(0, "clear", {}), "stderr", ""),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_every_piece_has_a_text_form_and_a_stream(piece, stream, text):
    assert (piece.stream, piece.text) == (stream, text)


def test_a_display_is_as_large_as_its_parts():
    assert display(0, "a", b"123").size == 3
    assert Piece(0, "display", {"data": {"text/plain": "four", "application/json": {"a": 1}}}).size == 104
    assert printed(0, "12345").size == 5


def test_late_output_of_an_item_is_taken_with_that_of_others_if_wanted():
    kept = filled(printed(0, "a"), printed(3, "d"))
    kept.take(0, 1)

    kept.add(printed(0, "late", late=True))

    assert [piece.content for piece in kept.take(1, 2)] == []
    assert [piece.content for piece in kept.take(1, 2, late=True)] == ["late"]
    assert [piece.content for piece in kept.take(1, 2, late=True)] == []
    assert [piece.content for piece in kept.pieces] == ["a", "late", "d"]
