"""Stages overlap, early results arrive early, and every queue is bounded."""

import itertools
import threading
import time

import pytest

from nbpar import Stage
from nbpar.dispatch import driver, memory


def test_stages_work_at_the_same_time(threads, pipeline):
    meeting = threading.Barrier(2)

    def first(x):
        if x == 1:
            meeting.wait(20)
        return x

    def second(x):
        if x == 0:
            meeting.wait(20)  # until the first stage is at the next item
        return x

    assert pipeline([first, second], pool=threads, batch_size=1).map(range(3), progress="none") == [0, 1, 2]


def test_early_results_arrive_before_later_items_are_read(threads, pipeline):
    go_on = threading.Event()

    def items():
        yield 0
        assert go_on.wait(20)
        yield 1

    results = pipeline([int, int], pool=threads).imap(items(), progress="none")

    assert next(results) == 0
    go_on.set()
    assert list(results) == [1]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_slow_consumer_holds_everything_back(pool, pipeline, batch_size):
    taken, ahead = [0], []

    def items():
        for n in itertools.count():
            ahead.append(n - taken[0])
            yield n

    stages = [Stage(_same, queue_size=2) for _ in range(3)]
    results = pipeline(stages, pool=pool, batch_size=batch_size).imap(items(), progress="none", buffersize=4)
    for value in itertools.islice(results, 200):
        assert value == taken[0]
        taken[0] += 1
    results.close()

    handed_out = batch_size  # what the loop above has got, and not counted yet
    assert max(ahead) <= handed_out + 2 * 4 + batch_size * (2 * 3 * pool.size + 3 * 2)


def test_a_buffersize_bounds_what_waits_before_every_stage(pool, pipeline):
    ahead = []

    def items():
        for n in itertools.count():
            ahead.append(n)
            yield n

    results = pipeline([abs, abs, abs], pool=pool).imap(items(), progress="none", buffersize=10)
    assert list(itertools.islice(results, 500)) == list(range(500))
    results.close()

    assert max(ahead) <= 500 + 3 * 10 + 2 * 10


def _same(x):
    return x


def test_a_slow_consumer_holds_back_also_what_fails(pool, pipeline):
    taken, ahead = [0], []

    def items():
        for n in itertools.count():
            ahead.append(n - taken[0])
            yield n

    def fails(x):
        raise ValueError(x)

    stages = [fails, Stage(_same, queue_size=2), Stage(_same, queue_size=2)]
    steps = pipeline(stages, pool=pool, batch_size=1)
    results = steps.imap(items(), progress="none", errors="collect", buffersize=8)
    for n, failure in enumerate(itertools.islice(results, 300)):
        assert failure.index == n
        taken[0] += 1
    results.close()

    assert max(ahead) <= 16 + 16 * pool.size


def test_leaving_the_loop_stops_all_stages(threads, pipeline):
    steps = pipeline([_same, _same], pool=threads, batch_size=1)

    for _ in steps.imap(itertools.count(), progress="none"):
        break

    assert steps.map(range(3), progress="none") == [0, 1, 2]


@pytest.mark.engines
def test_stop_interrupts_what_runs_and_keeps_what_is_done(engines, pipeline):
    steps = pipeline([_same, Stage(_slow_after_three)], pool=engines, batch_size=1)
    run = steps.map_async(range(10))
    results_until(run, 3)

    begun = time.monotonic()
    run.cancel()

    assert time.monotonic() - begun < 30  # items last twice as long
    assert run.state == "stopped"
    with pytest.raises(KeyboardInterrupt):
        run.get(60)
    assert run.results()[:3] == [0, 1, 2]
    assert steps.map([1, 2], progress="none") == [1, 2]


def results_until(run, number):
    """Wait until that many results are there."""
    while run.snapshot.done < number:
        with pytest.raises(TimeoutError):
            run.wait(0.01)


def _slow_after_three(x):
    if x >= 3:
        time.sleep(60)
    return x


def test_pause_begins_nothing_new(threads, pipeline):
    gate = threading.Event()
    run = pipeline([_same, lambda x: gate.wait(20) and x], pool=threads, batch_size=1).map_async(range(30))

    run.pause()
    gate.set()
    run.resume()

    assert run.get(20)[-1] == 29


def test_a_generator_that_raises_midway_loses_nothing_before(pool, pipeline):
    def items():
        yield from range(3)
        raise OSError("no more")

    got = []
    with pytest.raises(OSError, match="no more"):
        got.extend(pipeline([_same, _same], pool=pool, batch_size=2).imap(items(), progress="none"))

    assert got == [0, 1, 2]


def test_many_short_runs_leave_no_thread(pipeline):
    before = threading.active_count()
    with pipeline([Stage(_same, workers=2, backend="threads"), Stage(_same, workers=0)]) as steps:
        for _ in range(30):
            assert steps.map(range(20), progress="none") == list(range(20))

    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert threading.active_count() <= before


def test_the_end_of_the_stage_before_is_all_that_the_last_one_waits_for(pipeline, monkeypatch):
    for module, name in ((driver, "LOOK_FOR_WORKERS"), (memory, "EVERY")):
        monkeypatch.setattr(module, name, 600.0)  # or an idle dispatcher looks again by itself
    stages = [Stage(abs, workers=1, backend="threads", queue_size=10) for _ in range(2)]
    steps = pipeline(stages, batch_size=1)

    for _ in range(30):
        assert steps.map_async(iter(range(100)), progress="none").get(timeout=60) == list(range(100))
