"""When a wait begins by spinning, and when it blocks at once."""

import pytest

from nbpar.worker import spin as module
from nbpar.worker.spin import FAR, MOST_SKIPPED, NEAR, WAKING, AdaptiveSpin

SHORT, LONG = NEAR / 2, 2 * (NEAR + WAKING)


class Clock:
    """Advances by a fixed step each time it is read."""

    def __init__(self, step=NEAR / 10):
        self.now = 0.0
        self.step = step

    def __call__(self):
        self.now += self.step
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "clock", clock)
    monkeypatch.setattr(module, "cores", lambda: 2)
    return clock


def waits_until_due(spin):
    """Sleep shortly until the next wait would look; how often that was."""
    for waits in range(1000):
        if spin.due:
            return waits
        spin.slept(SHORT)
    raise AssertionError("it never looks again")


def test_a_wait_looks_only_after_a_short_one():
    spin = AdaptiveSpin()
    assert not spin.due

    spin.slept(SHORT)
    assert spin.due

    spin.slept(LONG)
    assert not spin.due


def test_looking_ends_with_what_was_found():
    looks = iter([None, 0, "there"])

    assert AdaptiveSpin().look_for(lambda: next(looks)) == "there"


@pytest.mark.parametrize("longest", [NEAR, FAR])
def test_looking_ends_in_a_moment(clock, longest):
    before = clock.now

    assert AdaptiveSpin(longest).look_for(lambda: None) is None
    assert longest < clock.now - before < 2 * longest


def test_who_may_look_for_longer_does_so_after_longer_waits():
    near, far = AdaptiveSpin(NEAR), AdaptiveSpin(FAR)
    for spin in (near, far):
        spin.slept(FAR)

    assert (near.due, far.due) == (False, True)


def test_who_looks_in_vain_sleeps_more_and_more_often_before_looking_again():
    spin = AdaptiveSpin()
    spin.slept(SHORT)
    pauses = []
    for _ in range(9):
        spin.look_for(lambda: None)
        pauses.append(waits_until_due(spin))

    assert pauses == [1, 3, 7, 15, 31, 63, MOST_SKIPPED, MOST_SKIPPED, MOST_SKIPPED]

    spin.look_for(lambda: True)
    assert spin.due
    spin.look_for(lambda: None)
    assert waits_until_due(spin) == 1


def test_others_get_the_core_between_looks(monkeypatch):
    given = []
    monkeypatch.setattr(module, "_let_others_run", lambda: given.append(None))
    looks = iter([None] * 3 + [True])

    assert AdaptiveSpin().look_for(lambda: next(looks))
    assert len(given) == 3


def test_a_look_during_which_another_kept_the_core_was_in_vain(clock, monkeypatch):
    def keep():
        clock.now += 2 * NEAR

    monkeypatch.setattr(module, "_let_others_run", keep)
    spin = AdaptiveSpin()
    spin.slept(SHORT)
    looks = iter([None, True])

    assert spin.look_for(lambda: next(looks))
    assert not spin.due


def test_on_a_single_core_nobody_looks(monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 1)
    spin = AdaptiveSpin()

    spin.slept(SHORT)

    assert not spin.due
