"""Ctrl-C on a serial pool, at any time: it interrupts items and input at once, and keeps our state intact."""

import itertools
import os
import random
import signal
import threading
import time

import pytest

import nbpar
from nbpar.backends.serial import DeferredSigint

MOMENTS = int(os.environ.get("NBPAR_STOPS", "30"))


@pytest.fixture
def pool():
    with nbpar.Pool(backend="serial", progress="none") as pool:
        yield pool


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_stop_at_random_moments_leaves_the_pool_usable(pool):
    dice = random.Random(MOMENTS)
    for _ in range(MOMENTS):
        go = threading.Lock()
        go.acquire()
        other = threading.Thread(target=interrupt_after, args=(go, dice.random() * 0.02))
        other.start()
        with pytest.raises(KeyboardInterrupt):
            map_for_ever(pool, go)
        other.join()

        assert pool.map(abs, range(-3, 0)) == [3, 2, 1]


def interrupt_after(go, seconds):
    with go:
        time.sleep(seconds)
    interrupt()


def map_for_ever(pool, go):
    go.release()  # not before: it must strike here
    while True:
        pool.map(abs, range(300), chunksize=1)


def test_a_step_of_a_coroutine_that_blocks_is_struck_however_early_the_key_is_pressed(pool):
    async def blocks(n):
        interrupt()
        time.sleep(120)

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.map(blocks, [1])

    assert time.monotonic() - begun < 100
    assert pool.map(abs, [-1]) == [1]


def test_an_item_is_struck_at_once_and_what_was_done_is_kept(pool):
    def strikes(x):
        if x == 3:
            interrupt()
            time.sleep(60)
        return x

    with pytest.raises(KeyboardInterrupt):
        pool.map(strikes, range(6), chunksize=1)

    assert nbpar.last_run.results() == [0, 1, 2]
    assert nbpar.last_run.state == "stopped"


@pytest.mark.parametrize(
    "begin",
    [
        lambda pool, fn: pool.map_async(fn, [1, 2]),
        lambda pool, fn: pool.submit(fn, 1),
    ],
    ids=["map_async", "submit"],
)
def test_a_run_that_is_done_before_it_is_returned_is_stopped_as_well(pool, begin):
    calls = []

    def strikes(x):
        calls.append(x)
        interrupt()
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        begin(pool, strikes)

    assert pool.map(abs, [-1]) == [1]
    assert calls == [1]


def test_an_item_that_swallows_it_is_struck_again(pool):
    def swallows(x):
        for _ in range(2):
            try:
                interrupt()
                time.sleep(60)
            except KeyboardInterrupt:
                pass
        return x

    assert pool.map(swallows, [7]) == [7]


def test_an_item_that_makes_another_exception_of_it_is_stopped(pool):
    def translates(x):
        try:
            interrupt()
            time.sleep(60)
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt("by the user") from error

    with pytest.raises(KeyboardInterrupt):
        pool.map(translates, range(6), errors="collect")

    assert nbpar.last_run.state == "stopped"


def test_what_strikes_a_pool_inside_an_item_stops_the_outer_one(pool):
    def strikes(x):
        interrupt()
        time.sleep(60)

    def nested(x):
        with nbpar.Pool(backend="serial", progress="none") as inner:
            return inner.map(strikes, [x])

    calls = []
    with pytest.raises(KeyboardInterrupt):
        pool.map(lambda x: calls.append(x) or nested(x), range(6), errors="collect")

    assert calls == [0]


def test_a_run_inside_an_item_that_was_stopped_by_code_fails_the_item_alone(pool):
    def raises(x):
        raise nbpar.StoppedError("the inner one")

    [first, second] = pool.map(lambda x: raises(x) if x else x, [0, 1], errors="collect")

    assert first == 0
    assert "StoppedError" in str(second.exception)


def test_input_that_takes_long_is_struck_at_once(pool):
    def endless():
        yield 1
        interrupt()
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        pool.map(abs, endless(), chunksize=1)

    assert nbpar.last_run.results() == [1]


def test_a_stream_is_struck_as_well(pool):
    def strikes(x):
        if x == 5:
            interrupt()
        return x

    got = []
    with pytest.raises(KeyboardInterrupt):
        got.extend(pool.imap(strikes, itertools.count(), chunksize=1))
    assert pool.map(abs, [-1]) == [1]


def test_the_handler_of_before_is_in_place_again(pool):
    before = signal.getsignal(signal.SIGINT)

    def nested(x):
        with nbpar.Pool(backend="serial", progress="none") as inner:
            return inner.map(abs, [x])

    assert pool.map(nested, [1, -2]) == [[1], [2]]

    assert signal.getsignal(signal.SIGINT) is before


def test_what_comes_while_a_block_ends_is_raised_there_and_not_in_the_next():
    class Struck(list):
        def pop(self):
            interrupt()
            return super().pop()

    deferred = DeferredSigint()
    deferred._outside = Struck()
    with pytest.raises(KeyboardInterrupt), deferred:
        pass

    deferred._outside = []
    with deferred:
        assert not deferred.came


def test_what_comes_in_a_block_is_raised_at_its_end():
    reached = []

    def work():
        with DeferredSigint():
            interrupt()
            reached.append(1)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == [1]
