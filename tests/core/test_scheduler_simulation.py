"""Thousands of random runs: losses, retries, slow consumers, late inputs, Stop; no guarantee may break."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from run_accounts import Plan
from scheduler_world import World

pytestmark = pytest.mark.timeout(600)  # coverage and other traces make it slow

often = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))

seeds = st.integers(0, 2**32)
indices = st.integers(0, 60)

plans = st.builds(
    Plan,
    items=st.integers(0, 60),
    ordered=st.booleans(),
    streaming=st.booleans(),
    buffersize=st.none() | st.integers(1, 20),
    chunksize=st.none() | st.integers(1, 9),
    joins=st.booleans(),
    seconds=st.sampled_from([1e-6, 2e-5, 1e-3, 0.02, 1.0]),
    retries=st.integers(0, 3),
    late=st.booleans(),
    most_workers=st.sampled_from([None, None, 1, 2]),
    cores=st.sampled_from([0.0, 0.0, 1.0, 2.0, 3.0]),
    failing=st.dictionaries(indices, st.integers(1, 4), max_size=4),
    poison=st.frozensets(indices, max_size=2),
)
pinned_plans = st.builds(Plan, items=st.just(0), pinned=st.just(True), ordered=st.booleans())

chances = st.fixed_dictionaries(
    {
        "answer": st.just(10.0),
        "consume": st.sampled_from([0.0, 0.3, 3.0]),
        "arrive": st.sampled_from([0.5, 5.0]),
        "wait": st.just(1.0),
        "die": st.sampled_from([0.0, 0.0, 0.3, 1.0]),
        "leave": st.sampled_from([0.0, 0.2]),
        "retire": st.sampled_from([0.0, 0.2]),
        "hold": st.sampled_from([0.0, 0.2]),
        "recall": st.sampled_from([0.0, 0.5, 3.0]),
        "join": st.sampled_from([0.0, 0.3]),
        "cancel": st.sampled_from([0.0, 0.0, 0.2]),
        "pause": st.sampled_from([0.0, 0.0, 0.4]),
    }
)


@given(seed=seeds, plan=plans, workers=st.integers(1, 5), chances=chances)
@often
def test_every_item_of_a_run_gets_exactly_one_outcome_whatever_happens(seed, plan, workers, chances):
    world = World(seed, workers=workers)
    world.add(plan)

    world.live(120, chances)

    world.end()


@given(
    seed=seeds,
    first=st.lists(plans | pinned_plans, min_size=1, max_size=3),
    later=st.lists(plans | pinned_plans, max_size=2),
    workers=st.integers(1, 5),
    chances=chances,
)
@often
def test_runs_that_share_workers_do_not_harm_each_other(seed, first, later, workers, chances):
    world = World(seed, workers=workers)
    for plan in first:
        world.add(plan)

    world.live(100, chances)
    for plan in later:
        world.add(plan)
    world.live(60, chances)

    world.end()


# the deadly item is the last of a chunk that was answered in part
@example(seed=1, poison=frozenset({93, 272}), seconds=1e-4)
@given(
    seed=seeds,
    poison=st.frozensets(st.integers(0, 2999), min_size=1, max_size=3),
    seconds=st.sampled_from([1e-6, 1e-4]),
)
@settings(often, max_examples=10)
def test_of_a_big_chunk_only_the_items_that_kill_are_given_up(seed, poison, seconds):
    world = World(seed, workers=3)
    account = world.add(Plan(items=3000, poison=poison, seconds=seconds, ordered=False))

    world.end()

    assert set(account.failures) == poison
