"""Items put in one by one, results retrieved as they are ready."""

from __future__ import annotations

import gc
import threading
import time

import pytest

import nbpar
from nbpar.testing import until


def fail_at_3(n):
    if n == 3:
        raise ValueError("no 3")
    return n


def test_results_come_out_of_what_is_put_in(pool):
    with pool.queue(lambda n: n * n) as queue:
        for n in range(10):
            queue.put(n)
        assert queue.due == 10

        assert sorted(queue.get(20) for _ in range(10)) == [n * n for n in range(10)]
        assert queue.due == 0


def test_it_goes_on_as_long_as_it_is_open(pool):
    with pool.queue(abs) as queue:
        for n in range(50):
            queue.put(-n)
            assert queue.get(20) == n


def test_what_is_ready_first_comes_first(busy_pool, gate):
    with busy_pool.queue(lambda n: n or gate.wait()) as queue:
        queue.put(0)
        gate.until_waiting()
        queue.put(1)

        assert queue.get(20) == 1
        gate.open()
        assert queue.get(20) is None


def test_workers_compute_without_being_asked(busy_pool, tmp_path):
    with busy_pool.queue(lambda n: (tmp_path / str(n)).touch()) as queue:
        for n in range(6):
            queue.put(n)

        until(lambda: len(list(tmp_path.iterdir())) == 6)


def test_an_exception_comes_out_of_get_names_its_item_and_costs_no_other(pool):
    got = []
    with pool.queue(fail_at_3) as queue:
        for n in range(6):
            queue.put(n)
        for _ in range(6):
            try:
                got.append(queue.get(20))
            except ValueError as error:
                got.append(error)

    [error] = [value for value in got if isinstance(value, ValueError)]
    assert sorted(value for value in got if value is not error) == [0, 1, 2, 4, 5]
    said = "".join(getattr(error, "__notes__", [])) or str(error.__cause__)
    assert "item 3, 3, failed " in said


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_get_can_stop_waiting_and_the_result_is_not_lost(busy_pool, gate, seconds):
    with busy_pool.queue(lambda _: gate.wait()) as queue:
        queue.put(1)

        with pytest.raises(TimeoutError, match="no result was ready"):
            queue.get(seconds)
        gate.open()
        assert queue.get(20) is None


def test_get_does_not_wait_for_what_was_never_put(pool):
    with pool.queue(abs) as queue, pytest.raises(LookupError, match="everything that was put"):
        queue.get()


def test_an_item_that_cannot_travel_fails_alone(pool, kind):
    with pool.queue(type) as queue:
        queue.put(threading.Lock())
        queue.put(1)

        if kind.own_process:
            kinds = set()
            for _ in range(2):
                try:
                    kinds.add(queue.get(20))
                except nbpar.PicklingError as error:
                    kinds.add(type(error))
            assert kinds == {int, nbpar.PicklingError}
        else:
            assert {queue.get(20), queue.get(20)} == {int, type(threading.Lock())}


def test_what_items_print_is_shown_with_their_results(pool, capsys):
    with pool.queue(lambda n: print("saw", n)) as queue:
        queue.put(7)
        queue.get(20)

    assert "saw 7" in capsys.readouterr().out


def test_what_items_have_printed_whose_results_were_not_asked_for_is_shown_at_the_end(pool, capsys):
    with pool.queue(lambda n: print("saw", n)) as queue:
        queue.put(7)
        queue.put(8)
        queue.get(20)
        while queue.unanswered and pool.backend != "serial":
            threading.Event().wait(0.01)

    seen = 1 if pool.backend == "serial" else 2
    assert capsys.readouterr().out.count("saw") == seen


def test_several_threads_may_put_and_get(busy_pool):
    got = []

    def put_and_get(first):
        for n in range(first, first + 100):
            queue.put(n)
        got.extend(queue.get(20) for _ in range(100))

    with busy_pool.queue(abs) as queue:
        threads = [threading.Thread(target=put_and_get, args=(first,)) for first in (0, 100, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(got) == list(range(300))


def test_nothing_goes_in_or_out_after_closing(pool):
    queue = pool.queue(abs)
    queue.put(-1)
    assert queue.get(20) == 1
    queue.close()
    queue.close()

    with pytest.raises(nbpar.PoolClosedError, match="the queue is closed"):
        queue.put(1)
    with pytest.raises(LookupError):
        queue.get()
    assert pool.map(abs, [-1]) == [1]


def test_a_queue_that_is_closed_ends_those_who_wait(busy_pool, gate):
    queue = busy_pool.queue(lambda _: gate.wait())
    queue.put(1)
    gate.until_waiting()
    threading.Timer(0.05, queue.close).start()

    with pytest.raises(nbpar.PoolClosedError, match="the queue is closed"):
        queue.get(30)
    gate.open()


def test_a_pool_that_is_closed_ends_its_queues(make_pool, kind):
    pool = make_pool()
    queue = pool.queue(abs)
    queue.put(-1)
    assert queue.get(60) == 1

    pool.close()

    until(lambda: _refused(queue))


def test_a_queue_that_is_forgotten_leaves_its_workers(busy_pool):
    queue = busy_pool.queue(abs)
    queue.put(-1)
    queue.get(20)

    del queue
    gc.collect()

    until(lambda: not list(busy_pool.launcher.dispatcher._driver.jobs))
    assert busy_pool.map(abs, [-2]) == [2]


def test_maps_share_the_workers_with_a_queue(busy_pool, gate):
    with busy_pool.queue(lambda _: gate.wait()) as queue:
        queue.put(1)
        gate.until_waiting()

        assert busy_pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))
        gate.open()
        assert queue.get(20) is None


def test_a_closed_queue_stops_what_runs(busy_pool, kind, tmp_path):
    if not kind.stops_items:
        pytest.skip("what runs there cannot be stopped")

    def sleep(n):
        (tmp_path / "began").touch()
        time.sleep(60)

    queue = busy_pool.queue(sleep)
    queue.put(1)
    until((tmp_path / "began").exists)

    queue.close()

    assert sorted(busy_pool.map(abs, [-1, -2])) == [1, 2]


def _refused(queue):
    try:
        queue.put(1)
    except nbpar.PoolClosedError:
        return True
    return False
