"""A run's profile, and the details of its items, from what workers tell."""

from __future__ import annotations

import pytest

from nbpar.core.events import ItemsDone, MemoryMeasured, StacksSampled
from nbpar.core.measures import profile as profiles
from nbpar.core.measures.details import ItemDetails
from nbpar.core.measures.profile import Flame, Place, Profile, ProfileFold, flames
from nbpar.core.outcome import Part
from nbpar.core.results import assemble

F, G = ("a.py", "f", 1, 3), ("a.py", "g", 10, 12)


def sampled(stacks, places=(F, G), samples=1, left_out=0.0):
    return StacksSampled(0.0, "w", places, stacks, samples, left_out)


def done(first, count, worker="w", seconds=1.0, each=()):
    return ItemsDone(0.0, worker, 1, first, count, 0, 0, seconds, each, 0, 0, True, 1)


def test_samples_of_all_workers_are_merged_by_stack():
    fold = ProfileFold()
    fold.take(sampled((((0, 1), 2.0), ((0,), 1.0)), samples=3))
    fold.take(sampled((((1, 0), 4.0),), places=(G, F), samples=4, left_out=0.5))

    profile = fold.profile()

    assert profile.stacks == {(Place(*F), Place(*G)): 6.0, (Place(*F),): 1.0}
    assert (profile.samples, profile.left_out, profile.seconds) == (7, 0.5, 7.5)


def test_functions_have_their_own_seconds_and_those_of_what_they_call():
    inner = Place("a.py", "g", 10, 13)
    profile = Profile({(Place(*F), Place(*G)): 2.0, (Place(*F), inner): 3.0, (Place(*F),): 1.0})

    assert [tuple(row) for row in profile.functions] == [
        ("g", "a.py", 10, 5.0, 5.0), ("f", "a.py", 1, 1.0, 6.0)
    ]  # fmt: skip
    assert [tuple(row) for row in profile.lines] == [
        ("a.py", 13, "g", 3.0, 3.0), ("a.py", 12, "g", 2.0, 2.0), ("a.py", 3, "f", 1.0, 6.0)
    ]  # fmt: skip


def test_a_function_that_calls_itself_counts_once_in_a_stack():
    profile = Profile({(Place(*F), Place(*F), Place(*F)): 2.0})

    assert [(row.self_seconds, row.total_seconds) for row in profile.functions] == [(2.0, 2.0)]


def test_too_many_stacks_are_left_out_and_their_seconds_told(monkeypatch):
    monkeypatch.setattr(profiles, "MOST_STACKS", 1)
    fold = ProfileFold()

    fold.take(sampled((((0,), 1.0), ((1,), 2.0), ((0,), 1.0))))

    assert fold.profile().stacks == {(Place(*F),): 2.0}
    assert fold.profile().left_out == 2.0


def test_a_profile_that_grows_meanwhile_is_copied_again(monkeypatch):
    class Growing(dict):
        changes = 1

        def keys(self):
            if self.changes:
                self.changes -= 1
                raise RuntimeError("dictionary changed size during iteration")
            return super().keys()

        __iter__ = None

    fold = ProfileFold()
    fold._stacks = Growing({(Place(*F),): 1.0})

    assert fold.profile().stacks == {(Place(*F),): 1.0}


def test_folded_stacks_are_lines_of_semicolons_with_milliseconds():
    odd = Place("a;b.py", "h\n", 1, 2)
    profile = Profile({(Place(*F), odd): 0.25, (Place(*F),): 0.0001})

    assert profile.folded() == "f (a.py:3);h  (a,b.py:2) 250"


def test_flames_are_the_widest_first_and_what_they_call_above_them():
    other = Place("b.py", "h", 1, 1)
    stacks = {(Place(*F), Place(*G)): 5.0, (other,): 3.0, (Place(*F),): 2.0}

    assert flames(stacks) == [
        Flame(0, 0.0, 0.7, Place(*F)), Flame(1, 0.0, 0.5, Place(*G)), Flame(0, 0.7, 1.0, other)
    ]  # fmt: skip


def test_flames_leave_out_what_is_narrow_or_high():
    stacks = {(Place(*F), Place(*G)): 999.0, (Place(*G),): 1.0}

    assert [flame.depth for flame in flames(stacks, deepest=1)] == [0]
    assert flames({}) == []


def test_details_are_those_of_the_last_attempt_and_means_of_short_items():
    details = ItemDetails()
    details.take(done(0, 2, "a", 4.0))
    details.take(done(2, 2, "b", 3.0, (1.0, 2.0)))
    details.take(done(0, 1, "b", 1.5, (1.5,)))
    details.take(done(4, 1, "", 0.0))
    details.take_memory(MemoryMeasured(0.0, ((0, 2, 100), (2, 9, 200), (3, 1, 0))))

    assert details.columns([0, 1, 2, 3, 4, 5]) == {
        "seconds": [1.5, 2.0, 1.0, 2.0, 0.0, None],
        "worker": ["b", "a", "b", "b", None, None],
        "peak_memory": [100, 100, 200, None, 200, 200],
    }
    assert details.columns([1]) == {"seconds": [2.0], "worker": ["a"], "peak_memory": [100]}
    assert details.columns([]) == {"seconds": [], "worker": [], "peak_memory": []}


def test_a_table_has_details_beside_columns_of_the_same_name():
    pytest.importorskip("pandas")
    results = assemble([Part(0, [{"seconds": "own"}])], errors="raise")
    results.details = lambda places: {"seconds": [1.0 + place for place in places]}

    table = results.to_frame(details=True)

    assert table.to_dict("list") == {"seconds": ["own"], "item_seconds": [1.0]}


def test_details_that_are_not_known_are_refused():
    pytest.importorskip("pandas")
    results = assemble([Part(0, [1, 2])], errors="raise")

    with pytest.raises(ValueError, match="needs the results of a map as they came"):
        results.to_frame(details=True)
    results.details = lambda places: {}
    results.append(3)
    with pytest.raises(ValueError, match="values were added to this list, or removed"):
        results.to_frame(details=True)
