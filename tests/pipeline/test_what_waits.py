"""The default limit of a stage's queue: what the stage will consume soon, and a number of bytes."""

import itertools
import os
import time

import numpy as np
import pytest

import nbpar
from nbpar import Stage
from nbpar.core.outcome import Part
from nbpar.pipeline.lookahead import MOST_BYTES, LookAhead
from nbpar.wire.packed_items import PackedItems
from nbpar.wire.pickling import pack

FEW = 1000
"""A fast stage alone would be 32 000 items ahead."""

BIG = 4 << 20


def same(x):
    return x


def slow(x):
    time.sleep(0.004)
    return x


def big(x):
    return bytes(BIG)


def most_ahead(steps, number, **options):
    """Take that many results from endless input; return them, and how far the input was read ahead."""
    taken, ahead = 0, []

    def items():
        for n in itertools.count():
            ahead.append(n - taken)
            yield n

    results, got = steps.imap(items(), progress="none", **options), []
    for value in itertools.islice(results, number):
        got.append(value)
        taken += 1
    results.close()
    return got, max(ahead)


SHAPES = {
    "stages": [same, slow],
    "a fast stage behind": [same, slow, same],
    "branches": [nbpar.Union([same, slow], join=min)],
    "branches behind a stage": [same, nbpar.Union([slow, same, [same, same]], join=min)],
    "branches in branches": [nbpar.Union([nbpar.Union([same, slow], join=min), same], join=min), same],
    "batches": [same, Stage(slow, batch_size=20)],
    "batches in a branch": [nbpar.Union([Stage(same, batch_size=100), slow], join=min)],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_fast_stage_does_not_run_away_from_a_slow_one(pool, pipeline, shape):
    got, ahead = most_ahead(pipeline(SHAPES[shape], pool=pool), 150)

    assert got == list(range(150))
    assert ahead < FEW


def test_what_fails_does_not_run_away_either(pool, pipeline):
    def halves(x):
        if x % 2:
            raise ValueError(x)
        return x

    steps = pipeline([halves, nbpar.Union([same, slow], join=min)], pool=pool)

    got, ahead = most_ahead(steps, 150, errors="collect")

    assert [value if n % 2 == 0 else value.index for n, value in enumerate(got)] == list(range(150))
    assert ahead < FEW


@pytest.mark.parametrize("steps", [[big, slow], [big, nbpar.Union([same, slow], join=min), same]])
def test_large_items_wait_in_small_numbers(pool, pipeline, steps):
    results = pipeline([*steps, len], pool=pool).imap(itertools.count(), progress="none")
    waiting = []

    for value in itertools.islice(results, 60):
        waiting.append(max(stage.waiting for stage in nbpar.last_run.stages))
        assert value == BIG

    results.close()
    assert max(waiting) * BIG <= MOST_BYTES


@pytest.mark.engines
@pytest.mark.parametrize("most_bytes", [1, MOST_BYTES])
def test_dead_workers_and_retries_hold_up_nobody(engines, pipeline, tmp_path, monkeypatch, most_bytes):
    monkeypatch.setattr("nbpar.pipeline.lookahead.MOST_BYTES", most_bytes)

    def once(kind, x):
        try:
            (tmp_path / f"{kind} {x}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def flaky(x):
        if x % 10 == 3 and once("failed", x):
            raise OSError("try again")
        return [x]

    def deadly(boxed):
        if boxed[0] % 25 == 7 and once("died", boxed[0]):
            os._exit(3)
        return boxed[0]

    union = nbpar.Union([Stage(deadly, batch_size=8), lambda boxed: boxed[0]], join=min)

    got, _ = most_ahead(pipeline([flaky, union], pool=engines), 60, retries=nbpar.Retry(2, first=0.0))

    assert got == list(range(60))


# ---- the arithmetic


def appetite_of(*readers, each=None, **more):
    appetite = LookAhead(**{"least": 2, **more})
    for reader in readers:
        appetite.of(lambda reader=reader: reader)
    if each is not None:
        appetite.weigh(Part(0, [bytes(each)]))
    return appetite


def test_as_many_wait_as_the_slowest_reader_takes_soon_besides_those_under_way():
    assert appetite_of(50, 80).bound(1000) == 50
    assert appetite_of(50, 80, under_way=3).bound(1000) == 53


def test_no_more_wait_than_are_of_use_unless_batches_need_them():
    assert appetite_of(50).bound(20) == 20
    assert appetite_of(50, whole=30).bound(20) == 30


def test_the_least_number_waits_however_large_its_items_are():
    assert appetite_of(50, each=MOST_BYTES // 10).bound(1000) == 9
    assert appetite_of(50, each=2 * MOST_BYTES, least=3).bound(1000) == 3


def test_an_item_that_was_large_is_forgotten_by_and_by():
    appetite = appetite_of(50, each=MOST_BYTES // 10)

    before = appetite.bound(1000)
    for _ in range(10):
        appetite.weigh(Part(1, [1]))

    assert before < appetite.bound(1000) < 50


def test_packed_items_are_weighed_without_being_unpickled():
    appetite, body = appetite_of(10**6), [{"x": np.zeros(MOST_BYTES // 40, "b")} for _ in range(4)]

    appetite.weigh(Part(0, PackedItems(pack(body)[0])))

    assert 30 < appetite.bound(10**6) <= 40


class _Trap:
    def __sizeof__(self):
        raise RuntimeError("not now")


def test_an_item_that_cannot_be_weighed_counts_as_small():
    appetite = appetite_of(50)

    appetite.weigh(Part(0, [_Trap()]))

    assert appetite.bound(1000) == 50
