"""Pipelines on every backend: results, order, batches, stages with their own workers."""

import itertools
import logging
import os
import random
import threading
from types import SimpleNamespace

import pytest

import nbpar
from nbpar import Stage
from nbpar.run import display as background


def more(x):
    return x + 1


def wrapped(x):
    return {"x": x}


def doubled(d):
    return d["x"] * 2


EXPECTED = [2 * (n + 1) for n in range(50)]


@pytest.mark.parametrize("batch_size", ["auto", 1, 4, 1000])
def test_results_come_in_input_order(pool, pipeline, batch_size):
    steps = pipeline([more, wrapped, doubled], pool=pool, batch_size=batch_size)

    assert steps.map(range(50), progress="none") == EXPECTED
    assert list(steps.imap(iter(range(50)), progress="none")) == EXPECTED
    assert sorted(steps.imap_unordered(range(50), progress="none")) == EXPECTED
    assert steps.map_async(range(50)).get(60) == EXPECTED


@pytest.mark.parametrize("items", [[], [7], (), iter([7])])
def test_few_items_or_none_are_fine(threads, pipeline, items):
    expected = [] if isinstance(items, (list, tuple)) and not items else [8]

    assert pipeline([more, int], pool=threads, batch_size=5).map(items, progress="none") == expected


def test_endless_input_is_fine(pool, pipeline):
    steps = pipeline([more, wrapped, doubled], pool=pool, batch_size=3)

    assert list(itertools.islice(steps.imap(itertools.count(), progress="none"), 5)) == EXPECTED[:5]


@pytest.mark.engines
def test_backends_can_be_mixed(pools, pipeline):
    here = []
    steps = pipeline(
        [more, Stage(wrapped, workers=2, backend="threads"), Stage(doubled), Stage(_note(here), workers=0)],
        pool=pools["engines"],
        batch_size=4,
    )

    assert steps.map(range(50), progress="none") == EXPECTED
    assert here == [threading.current_thread()] * 50


def _note(here):
    def note(x):
        here.append(threading.current_thread())
        return x

    return note


def test_pipelines_nest(threads, pipeline):
    inner = pipeline([wrapped, doubled])

    assert pipeline([more, inner, [more, more]], pool=threads).map([1], progress="none") == [6]


def test_a_batched_stage_gets_whole_batches(pool, pipeline):
    steps = pipeline([more, Stage(_with_size, batched=True)], pool=pool, batch_size=4)

    got = steps.map(range(10), progress="none")

    assert got == [(n + 1, 4 if n < 8 else 2) for n in range(10)]


def _with_size(items):
    return [(item, len(items)) for item in items]


def test_stages_may_have_batches_of_different_sizes(pool, pipeline):
    steps = pipeline(
        [
            Stage(more, batch_size="auto"),
            Stage(_with_size, batched=True, batch_size=30),
            Stage(list, batch_size=2),
        ],
        pool=pool,
    )

    assert steps.map(range(70), progress="none") == [[n + 1, 30 if n < 60 else 10] for n in range(70)]


@pytest.mark.engines
def test_what_only_workers_can_unpickle_passes_between_engines(engines, pipeline):
    here = os.getpid()

    got = pipeline([lambda n: Sealed(n, here), lambda sealed: sealed.n * 2], pool=engines, batch_size=4)

    assert got.map(range(10), progress="none") == [2 * n for n in range(10)]


class Sealed:
    """Can be unpickled anywhere but in the process `here`."""

    def __init__(self, n, here):
        self.n, self.here = n, here

    def __reduce__(self):
        return _open, (self.n, self.here)


def _open(n, here):
    if os.getpid() == here:
        raise RuntimeError("unpickled on its way")
    return Sealed(n, here)


@pytest.mark.parametrize("backend", ["engines", "threads"])
def test_each_worker_has_arguments_of_its_own(pools, pipeline, backend):
    stage = Stage(lambda x, name: (name, _place()), worker_args=[("a",), ("b",)])

    got = set(pipeline([stage], pool=pools[backend], batch_size=1).map(range(100), progress="none"))

    names, places = [name for name, _ in got], [place for _, place in got]
    assert len(set(names)) == len(names) == len(set(places)) <= 2
    assert set(names) <= {"a", "b"}


def _place():
    return os.getpid(), threading.get_ident()


def test_an_initialiser_runs_once_on_each_worker_however_often_the_pipeline_runs(pool, pipeline):
    steps = pipeline([Stage(_seen, initializer=_prepare, initargs=(5,))], pool=pool, batch_size=2)

    seen = steps.map(range(10), progress="none") + steps.map(range(10), progress="none")

    assert set(seen) == {(5, 1)}


_state = threading.local()


def _prepare(value):
    _state.value, _state.times = value, getattr(_state, "times", 0) + 1


def _seen(x):
    seen, _state.times = (_state.value, _state.times), 1
    return seen


def test_a_stage_has_no_more_workers_than_it_may(threads, pipeline):
    alone = threading.Lock()

    def one_at_a_time(x):
        assert alone.acquire(blocking=False)
        alone.release()
        return x

    steps = pipeline([more, Stage(one_at_a_time, workers=1)], pool=threads, batch_size=1)

    assert steps.map(range(200), progress="none") == list(range(1, 201))


def test_the_slowest_stage_gets_most_of_shared_workers(threads, pipeline):
    three = threading.Barrier(3)

    def slow(x):
        three.wait(20)
        return x

    assert len(pipeline([more, slow, more], pool=threads, batch_size=1).map(range(12), progress="none")) == 12


def test_a_pool_is_made_where_stages_ask_for_more_workers_than_there_are(pipeline):
    together = threading.Barrier(3)
    steps = pipeline([Stage(lambda x: together.wait(20) >= 0, workers=3, backend="threads")], batch_size=1)

    assert steps.map(range(3), progress="none") == [True] * 3
    steps.close()
    steps.close()
    assert steps.map(range(3), progress="none") == [True] * 3


@pytest.mark.engines
def test_seeds_give_the_same_numbers_everywhere_and_others_in_each_stage(pools, pipeline):
    def draw(_):
        return random.random()

    def draw_too(x):
        return x, random.random()

    got = [
        pipeline([draw, draw_too], pool=pool, batch_size=size).map(range(8), seed=7, progress="none")
        for pool, size in zip(pools.values(), (1, 3, "auto"), strict=True)
    ]

    assert got[0] == got[1] == got[2]
    assert all(first != second for first, second in got[0])


def test_prints_of_all_stages_appear_here_with_their_item(pool, pipeline, capfd):
    def say(x):
        print(f"item {x}")
        return x

    run = pipeline([say, say], pool=pool, batch_size=1).map_async(range(2), progress="none")
    run.get(30)
    pipeline([say, say], pool=pool, batch_size=1).map(range(2), progress="none")

    assert capfd.readouterr().out.count("item 1") >= 2
    assert run.output.of(1) == "item 1\nitem 1\n"


def test_log_records_of_stages_arrive_here(pool, pipeline, caplog):
    def note(x):
        logging.getLogger("stage").info("item %d", x)
        return x

    with caplog.at_level(logging.INFO, logger="stage"):
        pipeline([note, note], pool=pool, batch_size=1).map(range(2), progress="none")

    said = sorted(record.getMessage() for record in caplog.records)
    assert said == ["item 0", "item 0", "item 1", "item 1"]


def test_the_run_has_figures_for_each_stage(threads, pipeline):
    steps = pipeline([more, Stage(more, workers=2, queue_size=3)], pool=threads, batch_size=5)
    run = steps.map_async(range(40))

    assert run.get(20) == list(range(2, 42))
    first, second = run.stages
    assert (first.name, first.place, first.workers, first.shared, first.done) == ("more", 0, 4, True, 40)
    assert (second.workers, second.shared, second.room, second.waiting, second.done) == (2, False, 15, 0, 40)
    assert {first.state, second.state} == {"done"}
    assert run.bottleneck.stage in (first, second)
    assert nbpar.last_run is run


def test_the_report_is_that_of_all_stages(pool, pipeline):
    steps = pipeline([more, more, Stage(more, workers=1)], pool=pool, batch_size=5)
    results = steps.map(iter(range(40)), progress="none")

    report = results.report
    assert [(stage.name, stage.done) for stage in report.stages] == [("more", 40)] * 3
    assert report.snapshot.label == "more | more | more"
    assert report.figures.items == 40
    assert report.figures.computing == pytest.approx(sum(stage.busy for stage in report.stages))
    assert report.figures.workers == pool.size
    assert repr(report).startswith("more | more | more over 40 items: ")


def test_a_run_in_the_background_can_be_shown(threads, pipeline, monkeypatch):
    ends = []
    looks = SimpleNamespace(show=lambda look: ends.append(look()), close=lambda look: ends.append(look()))
    monkeypatch.setattr(background, "choose", lambda *_, **asked: looks)
    run = pipeline([more, more], pool=threads).map_async(range(5), progress="auto")

    run.get(20)
    run.show()

    assert (ends[-1].done, len(ends[-1].stages)) == (5, 2)


def test_pipe_is_lazy_and_in_order(threads):
    read = []

    def stream():
        for n in itertools.count():
            read.append(n)
            yield n

    made = nbpar.pipe(stream(), more, wrapped, doubled, workers=2, backend="threads")
    assert read == []
    assert list(itertools.islice(made, 5)) == EXPECTED[:5]
    made.close()
    assert list(nbpar.pipe([1], more, workers=0)) == [2]
