"""When engines are asked whether they answer, and when their silence counts."""

from __future__ import annotations

import os

import pytest

from nbpar.backends.engines import liveness
from nbpar.backends.engines.engine import EngineLoop
from nbpar.backends.engines.liveness import (
    ASK_AFTER,
    EXAMINE_EVERY,
    LOOK_EVERY,
    PING_EVERY,
    SILENT_AFTER,
    Liveness,
)
from nbpar.host.machine import machine

START = 1000.0


class Room:
    """An engine, here or elsewhere, that is looked at as often as in a run."""

    def __init__(self, *, here):
        facts = {"pid": os.getpid(), "machine": machine()} if here else {"pid": 7, "machine": "another"}
        self.engine = EngineLoop("engine 0", 0, "uuid", b"identity", None, facts, here, here, ready=True)
        self.pings, self.beats = [], []
        self.now = START
        self.liveness = Liveness(
            lambda _: self.pings.append(self.now - START), lambda _: self.beats.append(self.now - START)
        )
        self.engine.pinged = START
        self.look()

    def look(self):
        return self.liveness.look([self.engine], self.now)

    def wait(self, seconds, *, hears=lambda: None):
        """Look for a number of seconds; return after how many the engine fell silent, if it did."""
        end, fell = self.now + seconds, None
        while self.now < end:
            self.now += LOOK_EVERY
            hears()
            if self.look():
                fell = self.now - START
        return fell


@pytest.fixture
def stopped(monkeypatch):
    """Engines whose process is said to be stopped."""
    known = []
    monkeypatch.setattr(liveness, "_is_stopped", lambda engine: known.append(engine) or len(known) > 2)
    return known


def test_an_engine_elsewhere_is_asked_twice_before_it_is_silent():
    room = Room(here=False)

    fell = room.wait(6)

    assert fell == SILENT_AFTER
    assert room.pings == room.beats == [ASK_AFTER, 2 * ASK_AFTER, 3 * ASK_AFTER]
    assert room.wait(60) is None  # it is told once


@pytest.mark.parametrize("field", ["heard", "beaten"])
def test_an_answer_or_an_echo_is_enough(field):
    room = Room(here=False)

    def answer():
        if room.pings and room.pings[-1] + START == room.now - LOOK_EVERY:
            setattr(room.engine, field, room.now)

    assert room.wait(60, hears=answer) is None
    assert len(room.pings) > 20


def test_an_engine_that_speaks_is_pinged_now_and_then_all_the_same():
    room = Room(here=False)

    room.wait(20, hears=lambda: setattr(room.engine, "heard", room.now))

    assert room.pings == [PING_EVERY, 2 * PING_EVERY, 3 * PING_EVERY, 4 * PING_EVERY]
    assert room.beats == []


def test_an_engine_here_is_not_asked_more_often_and_its_process_tells(stopped):
    room = Room(here=True)

    fell = room.wait(10)

    assert fell == SILENT_AFTER + 2 * EXAMINE_EVERY
    assert len(stopped) == 3
    assert room.pings == [PING_EVERY, 2 * PING_EVERY]
    assert room.beats == []


def test_this_process_is_not_stopped_and_one_that_is_gone_is_not_silent():
    room = Room(here=True)
    assert room.wait(10) is None

    room.engine.facts["pid"] = 2**22 + 1
    assert room.wait(10) is None


def test_time_in_which_this_process_did_not_listen_does_not_count():
    room = Room(here=False)
    room.wait(4)

    room.now += 3600

    assert room.look() == []
    assert room.wait(SILENT_AFTER - LOOK_EVERY) is None
    assert room.wait(LOOK_EVERY) is not None


def test_an_engine_that_has_not_begun_is_left_alone():
    room = Room(here=False)
    room.engine.ready = False

    assert room.wait(20) is None
    assert room.pings == []
