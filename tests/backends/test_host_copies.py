"""Which engine of another host gets large buffers, and which get them from it."""

import pytest

from nbpar.backends.engines.engine import EngineLoop
from nbpar.backends.engines.host_copies import FUNCTIONS, SOUGHT, HostCopies
from nbpar.wire.messages import FoundBuffers, KeptBuffers, Load, SeekBuffers
from nbpar.wire.pickling import Packed
from nbpar.wire.shared import Shared
from nbpar.wire.shared_memory import WORTH, Mapped

NAME = b"digest"
LARGE = [b"x" * WORTH]
PLACE = Mapped("/proc/7/fd/3", "nbpar-1", ((0, WORTH),))


class World:
    """Four engines of two other hosts, and what they were sent."""

    def __init__(self):
        self.sent = []
        self.copies = HostCopies(lambda worker, messages: self.sent.extend((worker, it) for it in messages))
        self.engines = {name: self.engine(name, name[:3]) for name in ("one1", "one2", "one3", "two1")}

    def engine(self, name, machine):
        facts = {"machine": machine}
        return EngineLoop(name, 0, name, name.encode(), None, facts, local=False, streams=True, ready=True)

    def offer(self, name=NAME):
        return self.copies.offer(Load(name, "f", Packed(b"", ((0, 1),), LARGE))).function.buffers

    def seek(self, name, not_at=""):
        self.copies.take(self.engines[name], SeekBuffers(NAME, not_at))

    def keep(self, name, place=PLACE):
        self.copies.take(self.engines[name], KeptBuffers(NAME, tuple(place)))

    def news(self):
        """What each engine was sent since the last look: all, to keep or not, or a place, or nothing."""
        told, self.sent = self.sent, []
        return {worker: self._short(message) for worker, message in told}

    def _short(self, found):
        assert isinstance(found, FoundBuffers)
        if found.content is None:
            return None
        if isinstance(found.content.buffers, Mapped):
            return found.content.buffers.name
        return "keep" if found.keep else "all"


@pytest.fixture
def world():
    made = World()
    assert made.offer() is SOUGHT
    return made


def test_small_buffers_go_with_their_function():
    load = Load(NAME, "f", Packed(b"", ((0, 1),), [b"x" * 1000]))

    assert World().copies.offer(load) is load


def test_a_pickle_that_is_large_by_itself_stays_behind(world):
    load = Load(b"other", "f", Packed(LARGE[0], None, []))

    assert world.copies.offer(load).function == Packed(b"", None, SOUGHT)


def test_the_first_of_each_host_gets_all_and_the_others_its_place(world):
    for name in world.engines:
        world.seek(name)
    first = world.news()
    world.keep("one1")

    assert first == {"one1": "keep", "two1": "keep"}
    assert world.news() == {"one2": "nbpar-1", "one3": "nbpar-1"}
    world.seek("one2")
    assert world.news() == {"one2": "nbpar-1"}


def test_who_asks_twice_is_answered_once(world):
    for name in ("one1", "one1", "one2", "one2"):
        world.seek(name)
    assert world.news() == {"one1": "keep"}
    world.keep("one1")

    assert world.sent[1:] == []


def test_a_host_without_shared_memory_gets_all_each_time(world):
    world.seek("one1")
    world.seek("one2")
    world.news()
    world.keep("one1", ())
    world.seek("one3")
    world.seek("two1")

    assert world.news() == {"one2": "all", "one3": "all", "two1": "keep"}


def test_the_next_gets_all_when_the_first_is_lost_on_the_way(world):
    for name in ("one1", "one2", "one3"):
        world.seek(name)
    world.news()
    world.copies.lose(world.engines["one3"])
    world.copies.lose(world.engines["one1"])
    second = world.news()
    world.keep("one2")

    assert second == {"one2": "keep"}
    assert world.news() == {}


def test_all_that_wait_are_answered_when_nothing_is_left_to_send(world):
    for name in ("one1", "one2", "one3"):
        world.seek(name)
    world.news()
    world.copies.clear()
    world.copies.lose(world.engines["one1"])

    assert world.news() == {"one2": None, "one3": None}


def test_who_keeps_it_takes_the_place_along(world):
    world.seek("one1")
    world.keep("one1")
    world.copies.lose(world.engines["one1"])
    world.news()
    world.seek("one2")

    assert world.news() == {"one2": "keep"}


def test_a_place_that_was_not_found_is_not_told_again(world):
    world.seek("one1")
    world.keep("one1")
    world.news()
    world.seek("one2", not_at="nbpar-1")
    second = world.news()
    world.seek("one3", not_at="nbpar-1")

    assert second == {"one2": "keep"}
    assert world.news() == {}


def test_nobody_waits_for_one_that_does_not_answer(world):
    for name in ("one1", "one2", "one3"):
        world.seek(name)
    world.news()
    world.engines["one1"].silent = world.engines["one2"].silent = True
    world.copies.pass_over([world.engines["one1"]])
    next_one = world.news()
    world.keep("one1")
    late = world.news()
    world.keep("one3", ())

    assert next_one == {"one3": "keep"}
    assert late == {}
    assert world.news() == {"one2": "all"}


def test_all_wait_while_none_of_them_answers(world):
    for name in ("one1", "one2"):
        world.seek(name)
    world.news()
    for engine in world.engines.values():
        engine.silent = True

    world.copies.pass_over(list(world.engines.values()))

    assert world.news() == {}


def test_what_is_not_offered_any_more_is_not_there(world):
    for number in range(FUNCTIONS):
        world.offer(b"%d" % number)
    world.seek("one1")

    assert world.news() == {"one1": None}


def test_shared_objects_are_found_by_name(world):
    shared = Shared(b"x" * WORTH, ask=True)
    shared.pack()
    name = shared.__reduce__()[1][0].encode()
    here = EngineLoop("here", 0, "", b"", None, local=True, ready=True)

    world.copies.take(world.engines["one1"], SeekBuffers(name, ""))
    world.copies.take(here, SeekBuffers(name, ""))
    world.copies.take(here, SeekBuffers(name, ""))
    del shared
    world.copies.take(world.engines["two1"], SeekBuffers(name, ""))

    assert [world._short(found) for _, found in world.sent] == ["keep", "all", "all", None]
