"""`Vectorizer`: the original's arguments and results, without its hangs."""

import logging
import os
import time

import pytest

import nbpar
from nbpar.compat.pyblaze import Vectorizer


@pytest.fixture(scope="module")
def pool():
    with nbpar.Pool(2, progress="none") as made:
        yield made


@pytest.fixture(params=["engines", "here"])
def make(request, pool):
    def make_one(*args, **kwargs):
        workers = 2 if request.param == "engines" else 0
        vectorizer = Vectorizer(*args, **{"num_workers": workers, **kwargs})
        vectorizer.progress = "none"
        vectorizer.pool = pool if workers else None
        return vectorizer

    return make_one


def test_results_come_in_the_order_of_the_items(make):
    assert make(lambda x: x * 2).process(range(20)) == [2 * x for x in range(20)]


def test_arguments_come_before_what_the_worker_was_initialised_with(make):
    vectorizer = make(lambda *args: args, lambda rank, word: (word, rank * 0), word="w")

    assert vectorizer.process(["a"], 1, 2) == [("a", 1, 2, "w", 0)]


@pytest.mark.parametrize(("made", "last"), [(None, ()), ([1, 2], ([1, 2],)), ((1, 2), (1, 2)), (5, (5,))])
def test_only_a_tuple_from_the_initialiser_is_spread(make, made, last):
    assert make(lambda item, *rest: rest, lambda rank: made).process([0]) == [last]


def test_each_worker_has_a_rank_of_its_own(make):
    seen = make(lambda item, rank: (os.getpid(), rank), lambda rank: rank).process(range(200))

    by_pid = {pid: {rank for other, rank in seen if other == pid} for pid, _ in seen}
    assert all(len(ranks) == 1 for ranks in by_pid.values())
    assert sorted(rank for ranks in by_pid.values() for rank in ranks) == list(range(len(by_pid)))


def test_the_initialiser_serves_later_calls_too(make):
    vectorizer = make(lambda item, token: token, lambda rank: os.urandom(8))

    first, second = set(vectorizer.process(iter(range(40)))), set(vectorizer.process(iter(range(40))))

    assert len(first | second) <= 2


@pytest.mark.engines
def test_each_rank_gets_one_part_of_a_list(pool):
    called = []
    vectorizer = Vectorizer(lambda x, rank: (x, rank), lambda rank: rank, lambda: called.append(1), 3)
    vectorizer.pool = pool

    got = vectorizer.process(list("abcdefg"))

    assert got == [("a", 0), ("b", 0), ("c", 0), ("d", 1), ("e", 1), ("f", 2), ("g", 2)]
    assert len(called) == 7


@pytest.mark.parametrize("callback", [None, lambda: None])
@pytest.mark.parametrize("kind", [list, iter])
def test_what_workers_print_is_shown(make, capsys, callback, kind):
    vectorizer = make(_talk, lambda rank: print("init"), callback)

    vectorizer.process(kind("abc"))

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in sorted(lines) if "init" not in line] == ["[0] hi a", "[1] hi b", "[2] hi c"]
    assert 1 <= sum(line.endswith("init") for line in lines) <= 2


@pytest.mark.engines
def test_what_ranks_print_and_log_is_shown_in_the_order_of_the_items(pool, capsys, caplog):
    vectorizer = Vectorizer(_talk, lambda rank: print("init", rank), num_workers=2)
    vectorizer.pool = pool

    with caplog.at_level(logging.INFO, "talks"):
        vectorizer.process(list("abc"))

    expected = ["[0] init 0", "[0] hi a", "[1] hi b", "[2] init 1", "[2] hi c"]
    assert capsys.readouterr().out.splitlines() == expected
    assert caplog.messages == ["log of a", "log of b", "log of c"]


@pytest.mark.engines
def test_what_ranks_have_printed_is_shown_when_one_of_them_fails(pool, capsys):
    vectorizer = Vectorizer(_print_and_fail, lambda rank: rank, num_workers=2)
    vectorizer.pool = pool

    with pytest.raises(ZeroDivisionError):
        vectorizer.process([0, 1])

    assert "[1] about to fail" in capsys.readouterr().out


@pytest.mark.parametrize("init", [None, lambda rank: None])
@pytest.mark.parametrize("callback", [None, lambda: None])
def test_a_sequence_that_knows_no_end_is_read_up_to_its_length(make, init, callback):
    assert make(lambda x, *_: x * x, init, callback).process(Squares(6)) == [0, 1, 16, 81, 256, 625]


@pytest.mark.engines
def test_when_one_rank_fails_the_others_are_stopped(pool):
    vectorizer = Vectorizer(_sleep_or_fail, lambda rank: rank, num_workers=2)
    vectorizer.pool = pool

    with pytest.raises(ZeroDivisionError):
        vectorizer.process([0, 1])

    assert pool.submit(abs, -1).result(timeout=30) == 1


@pytest.mark.parametrize("kind", [list, iter])
def test_the_callback_is_called_here_for_every_item(make, kind):
    calls = []
    vectorizer = make(lambda x: -x, None, lambda: calls.append(os.getpid()))

    assert vectorizer.process(kind([1, 2, 3])) == [-1, -2, -3]
    assert calls == [os.getpid()] * 3


@pytest.mark.parametrize("items", [[], [7], ()])
@pytest.mark.parametrize("kind", [list, iter])
def test_few_items_or_none_are_fine(make, items, kind):
    assert make(lambda x: x).process(kind(items)) == list(items)


def test_an_exception_ends_the_call(make):
    with pytest.raises(ZeroDivisionError):
        make(lambda x: 1 // x).process([1, 0, 2])


def test_an_initialiser_that_fails_ends_the_call(make):
    with pytest.raises(OSError, match="no model"):
        make(lambda x, m: x, _no_model).process([1, 2])


def test_a_callback_that_fails_ends_the_call(make):
    with pytest.raises(RuntimeError, match="enough"):
        make(lambda x: x, None, _enough).process(range(100))


@pytest.mark.engines
def test_a_worker_that_dies_ends_the_call(pool):
    vectorizer = Vectorizer(lambda x: os._exit(1) if x == 3 else x, num_workers=2)
    vectorizer.pool, vectorizer.progress = pool, "none"

    with pytest.raises(nbpar.WorkerDied):
        vectorizer.process(range(6))
    assert Vectorizer(abs, num_workers=0).process([-1]) == [1]


def test_what_is_not_iterable_is_refused(make):
    with pytest.raises(TypeError, match="not iterable"):
        make(abs).process(5)


def _sleep_or_fail(item, rank):
    return 1 // 0 if rank else time.sleep(600)


class Squares:
    """Gives an item for any index, as a data set may that makes its items up."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self.length))]
        return index * index


def _talk(item, *init):
    print("hi", item)
    logging.getLogger("talks").info("log of %s", item)


def _print_and_fail(item, rank):
    print("about to fail")
    return item // (1 - rank)


def _no_model(rank):
    raise OSError("no model")


def _enough():
    raise RuntimeError("enough")
