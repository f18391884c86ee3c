"""Results of maps, on every kind of worker."""

from __future__ import annotations

import gc
import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

import nbpar
from nbpar.core.results import Results


def test_map_gives_results_in_input_order(pool):
    results = pool.map(lambda x: x * x, range(1000))

    assert results == [x * x for x in range(1000)]
    assert isinstance(results, Results)
    assert results.failures == []


@pytest.mark.parametrize("chunksize", [1, 3, 1000, "auto"])
def test_the_chunk_size_changes_nothing_in_the_results(pool, chunksize):
    assert pool.map(str, range(50), chunksize=chunksize) == [str(x) for x in range(50)]


@pytest.mark.parametrize(
    "items",
    [
        [],
        [7],
        [None, None, None],
        (1, 2, 3),
        "abc",
        b"abc",
        {"a": 1, "b": 2},
        {5},
        range(0, 30, 7),
        [[1, 2], [], [3]],
        [(1, 2), (3, 4)],
    ],
    ids=repr,
)
def test_any_input_is_mapped_item_by_item(pool, items):
    assert pool.map(lambda x: [x], items) == [[x] for x in items]


def test_an_iterator_is_mapped_like_a_list(pool):
    assert pool.map(lambda x: x + 1, iter([1, 2, 3])) == [2, 3, 4]
    assert pool.map(lambda x: x + 1, (x for x in range(3))) == [1, 2, 3]


def test_an_array_is_mapped_row_by_row(pool):
    import numpy as np

    assert pool.map(lambda x: int(x) + 1, np.arange(5)) == [1, 2, 3, 4, 5]
    assert pool.map(lambda row: int(row.sum()), np.ones((4, 3))) == [3, 3, 3, 3]


def test_none_may_be_a_result(pool):
    assert pool.map(lambda _: None, range(5)) == [None] * 5
    assert list(pool.imap(lambda _: None, range(5))) == [None] * 5


def test_several_inputs_give_several_arguments_up_to_the_shortest(pool):
    assert pool.map(pow, [2, 3, 4, 5], [5, 2, 1]) == [32, 9, 4]
    assert pool.map(lambda a, b: a + b, "abc", iter("xy")) == ["ax", "by"]


def test_starmap_spreads_tuples_and_dicts(pool):
    def area(width, height=1):
        return width * height

    assert pool.starmap(area, [(2, 3), (4,), {"width": 5, "height": 6}]) == [6, 4, 30]


def test_functions_may_be_closures_methods_and_callable_objects(pool):
    class Adder:
        def __init__(self, n):
            self.n = n

        def __call__(self, x):
            return x + self.n

        def twice(self, x):
            return x + 2 * self.n

    n = 10

    assert pool.map(lambda x: x + n, [1]) == [11]
    assert pool.map(Adder(1), [1]) == [2]
    assert pool.map(Adder(1).twice, [1]) == [3]
    assert pool.map("-".join, [["a", "b"]]) == ["a-b"]


def test_imap_yields_in_order_and_imap_unordered_yields_all(pool):
    assert list(pool.imap(lambda x: x + 1, range(300))) == list(range(1, 301))
    assert sorted(pool.imap_unordered(lambda x: x + 1, range(300))) == list(range(1, 301))


def test_imap_of_an_endless_input_can_be_left_at_any_time(pool):
    values = pool.imap(lambda x: 2 * x, itertools.count())

    assert list(itertools.islice(values, 50)) == list(range(0, 100, 2))
    values.close()

    assert pool.map(abs, [-1]) == [1]


def test_an_imap_that_nobody_looks_at_ends_when_it_is_forgotten(pool):
    values = pool.imap(abs, itertools.count())
    run = nbpar.last_run

    del values
    gc.collect()

    with pytest.raises(KeyboardInterrupt, match="was stopped"):
        run.get(timeout=60)


@pytest.mark.parametrize("buffersize", [1, 2, 5])
@pytest.mark.parametrize("ordered", [True, False])
def test_imap_never_reads_further_ahead_than_its_buffer(pool, buffersize, ordered):
    read = []

    def items():
        for x in range(60):
            read.append(x)
            yield x

    imap = pool.imap if ordered else pool.imap_unordered
    ahead = []
    for consumed, _ in enumerate(imap(abs, items(), buffersize=buffersize)):
        ahead.append(len(read) - consumed)

    assert len(ahead) == 60
    assert max(ahead) <= buffersize


def test_two_imaps_can_be_consumed_side_by_side(pool):
    evens = pool.imap(lambda x: 2 * x, range(20), chunksize=1)
    odds = pool.imap(lambda x: 2 * x + 1, range(20), chunksize=1)

    assert list(itertools.chain.from_iterable(zip(evens, odds, strict=True))) == list(range(40))


def test_many_functions_one_after_the_other_all_do_their_own_work(pool):
    for n in range(40):
        assert pool.map(lambda x, n=n: x + n, [1]) == [1 + n]


def test_maps_from_several_threads_at_once_do_not_disturb_each_other(busy_pool):
    def one(n):
        return busy_pool.map(lambda x: x + n, range(50)) == list(range(n, n + 50))

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(one, range(12)))


def test_each_runs_once_on_every_worker(pool, kind):
    assert pool.each(lambda a, b: a + b, 1, 2) == [3] * kind.workers


def test_a_seed_gives_every_item_the_same_randomness_anywhere(pool):
    def draw(_):
        return float(nbpar.rng().random())

    with nbpar.Pool(backend="serial", progress="none") as serial:
        expected = serial.map(draw, range(10), seed=42)

    assert pool.map(draw, range(10), seed=42) == expected
    assert pool.map(draw, range(10), seed=42, chunksize=3) == expected
    assert pool.map(draw, range(10), seed=43) != expected


def test_a_pool_within_an_item_works_serially(pool):
    def inner(x):
        with nbpar.Pool(4, progress="none") as nested:
            return nested.backend, nested.map(lambda y: y + x, range(3))

    assert pool.map(inner, [10, 20]) == [("serial", [10, 11, 12]), ("serial", [20, 21, 22])]
    assert pool.map(lambda x: sum(nbpar.map(abs, range(x))), [4]) == [6]


def test_a_pool_that_its_own_items_use_does_not_wait_for_itself(pool, kind):
    def inner(x):
        return sum(pool.map(lambda y: sum(pool.imap(lambda z: x + y + z, range(2))), range(2)))

    if kind.own_process:
        with pytest.raises(nbpar.PicklingError, match=r"its variable `pool`.*call `nbpar.map` inside"):
            pool.map(inner, range(3))
    else:
        assert pool.map(inner, range(3)) == [4, 8, 12]
        assert pool.submit(lambda: pool.submit(abs, -1).result()).result() == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda pool: pool.map(abs), TypeError, "nothing to map over"),
        (lambda pool: pool.map(abs, 5), TypeError, "the input is not iterable: it is of type int"),
        (lambda pool: pool.map(pow, [1], 5), TypeError, "input 2 is not iterable: it is of type int"),
        (lambda pool: pool.map(None, [1]), TypeError, "must be a function, was None"),
        (lambda pool: pool.imap("abs", [1]), TypeError, "must be a function, was 'abs'"),
        (lambda pool: pool.map(abs, [1], chunksize=0), ValueError, "chunksize must be at least 1, was 0"),
        (lambda pool: pool.map(abs, [1], errors="rise"), ValueError, "errors must be"),
        (lambda pool: pool.map_async(abs, [1], progress="bar"), ValueError, "progress must be"),
        (lambda pool: nbpar.Pool(backend=pool.backend, progress="bar"), ValueError, "progress must be"),
        (lambda pool: nbpar.Pool(backend="gpu"), ValueError, 'must be "engines", "threads" or "serial"'),
        (lambda pool: nbpar.Pool(path="hub"), ValueError, 'path must be "auto" or "controller"'),
        (lambda pool: pool.imap(abs, [1], buffersize=0), ValueError, "buffersize must be at least 1"),
        (lambda pool: pool.map(abs, [1], chunk_size=5), TypeError, "chunksize"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(pool, call, error, message):
    with pytest.raises(error, match=message):
        call(pool)

    assert pool.map(abs, [-1]) == [1]
