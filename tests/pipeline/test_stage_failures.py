"""A failure names its place and affects nothing else."""

import os
import time
import traceback

import pytest

import nbpar
from nbpar import Stage
from nbpar.errors import WrongNumberError


def no_threes(x):
    if x % 7 == 3:
        raise ValueError(f"no {x}")
    return [x]


def no_twenty(boxed):
    if boxed[0] == 20:
        raise KeyError(20)
    return boxed[0] * 2


FAILED = [3, 10, 17, 20, 24, 31, 38]
KEPT = [2 * n for n in range(40) if n not in FAILED]


@pytest.mark.parametrize("batch_size", ["auto", 4, 100])
@pytest.mark.parametrize("seed", [None, 1])
def test_failures_cost_only_their_items(pool, pipeline, batch_size, seed):
    steps = pipeline([no_threes, no_twenty, Stage(list, batched=True)], pool=pool, batch_size=batch_size)

    skipped = steps.map(range(40), errors="skip", seed=seed, progress="none")
    collected = list(steps.imap(range(40), errors="collect", seed=seed, progress="none"))

    assert skipped == KEPT
    assert sorted(failure.index for failure in skipped.failures) == FAILED
    assert [value for value in collected if isinstance(value, int)] == KEPT
    assert [n for n, value in enumerate(collected) if isinstance(value, nbpar.Failure)] == FAILED


def test_a_failure_knows_its_stage_batch_and_item(pool, pipeline):
    steps = pipeline([no_threes, no_twenty], pool=pool, batch_size=8)

    got = steps.map(range(40), errors="collect", progress="none")

    first, second = got[17], got[20]
    assert (first.stage, first.place, first.batch, first.item) == ("no_threes", 0, 2, 17)
    assert (second.stage, second.place, second.batch, second.item) == ("no_twenty", 1, 2, [20])
    assert isinstance(first.exception, ValueError)
    [note] = first.exception.__notes__
    assert note.startswith("in stage 1, 'no_threes', batch 2 (items 16 to 23): item 17, 17, failed ")


def test_an_item_is_skipped_in_the_stage_where_it_is(pools, pipeline, tmp_path):
    gate = nbpar.testing.Gate(str(tmp_path))

    def wait(x):
        if x == 13:
            gate.wait(60)
        return x

    steps = pipeline(
        [Stage(lambda x: x + 10, workers=1, backend="threads"), wait, lambda x: -x], pool=pools["engines"]
    )
    run = steps.map_async(range(6), progress="none")
    gate.until_waiting()

    run.skip(3)
    results = run.get(timeout=60)
    gate.open()

    assert [x for x in results if isinstance(x, int)] == [-10, -11, -12, -14, -15]
    assert (results[3].stage, results[3].item, results[3].skipped) == ("wait", 13, True)
    assert run.snapshot.skipped == 1
    assert run.snapshot.bad == 0


def test_the_first_failure_ends_the_pipeline_with_its_own_type(pool, pipeline):
    steps = pipeline([int, no_threes, no_twenty], pool=pool, batch_size=2)

    with pytest.raises(ValueError, match="no 3"):
        steps.map(range(10), progress="none")
    got = []
    with pytest.raises(ValueError, match="no 3"):
        got.extend(steps.imap(range(10), progress="none"))
    assert got == [0, 2, 4]


@pytest.mark.parametrize("way", ["map", "imap"])
def test_a_notebook_shows_no_frames_of_pipelines(threads, pipeline, way):
    steps = pipeline([int, no_threes], pool=threads)

    with pytest.raises(ValueError, match="no 3") as caught:
        list(getattr(steps, way)(range(10), progress="none"))

    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    ours = [frame for frame in frames if frame.f_globals["__name__"].startswith("nbpar.")]
    assert ours
    assert all(frame.f_locals.get("__tracebackhide__") for frame in ours)


def test_too_many_failures_end_the_pipeline(threads, pipeline):
    steps = pipeline([no_threes, no_twenty], pool=threads, batch_size=2)

    with pytest.raises(ValueError, match="no"):
        steps.map(range(400), errors="skip", max_errors=2, progress="none")


def test_a_stage_of_batches_loses_only_the_items_that_fail_by_themselves(pool, pipeline):
    def all_or_nothing(items):
        if any(item in (5, 6) for item in items):
            raise ValueError("bad batch")
        return items

    got = pipeline([Stage(all_or_nothing, batched=True)], pool=pool, batch_size=4)

    assert got.map(range(12), errors="skip", progress="none") == [n for n in range(12) if n not in (5, 6)]


def test_another_number_of_results_than_items_is_an_error_of_the_batch(pool, pipeline):
    steps = pipeline([Stage(lambda items: items[1:], batched=True)], pool=pool, batch_size=4)

    with pytest.raises(WrongNumberError, match="3 results for 4 items"):
        steps.map(range(8), progress="none")


def test_retries_hold_for_each_stage(pool, pipeline, tmp_path):
    def flaky(x, where):
        file = tmp_path / f"{where} {x}"
        with file.open("a") as tries:
            tries.write(".")
        if file.stat().st_size < 3:
            raise OSError("try again")
        return x

    steps = pipeline([lambda x: flaky(x, "first"), lambda x: flaky(x, "second")], pool=pool, batch_size=2)

    assert steps.map(range(3), retries=nbpar.Retry(2, first=0.0), progress="none") == [0, 1, 2]
    assert {file.stat().st_size for file in tmp_path.iterdir()} == {3}
    assert [stage.retried for stage in nbpar.last_run.stages] == [6, 6]


def test_a_stage_may_have_retries_of_its_own(pool, pipeline, tmp_path):
    def flaky(x):
        if not (tmp_path / str(x)).exists():
            (tmp_path / str(x)).touch()
            raise OSError("try again")
        return x

    steps = pipeline([int, Stage(flaky, retries=nbpar.Retry(1, first=0.0))], pool=pool)

    assert steps.map(range(3), progress="none") == [0, 1, 2]


@pytest.mark.engines
def test_a_dead_worker_costs_the_item_that_killed_it(engines, pipeline):
    def deadly(boxed):
        if boxed[0] == 5:
            os._exit(3)
        return {"x": boxed[0]}

    steps = pipeline([lambda x: [x], deadly, lambda d: d["x"]], pool=engines, batch_size=4)
    got = steps.map(range(12), errors="collect", progress="none")

    assert [value for value in got if isinstance(value, int)] == [n for n in range(12) if n != 5]
    assert isinstance(got[5].exception, nbpar.WorkerDied)
    assert (got[5].stage, got[5].batch) == ("deadly", 1)


@pytest.mark.parametrize("backend", ["engines", "serial"])
def test_a_time_limit_costs_the_item_that_is_too_slow(pools, pipeline, backend):
    def slow(x):
        if x == 2:
            time.sleep(60)
        return x

    got = pipeline([int, slow], pool=pools[backend], batch_size=1).map(
        range(4), timeout=0.5, errors="collect", progress="none"
    )

    assert [got[0], got[1], got[3]] == [0, 1, 3]
    assert isinstance(got[2].exception, nbpar.ItemTimeoutError)


@pytest.mark.engines
def test_what_cannot_travel_is_a_failure_of_its_item(engines, pipeline):
    got = pipeline([lambda x: (i for i in ()) if x == 1 else x, int], pool=engines, batch_size=2).map(
        range(4), errors="collect", progress="none"
    )

    assert [got[0], got[2], got[3]] == [0, 2, 3]
    assert isinstance(got[1].exception, nbpar.PicklingError)
    assert got[1].place == 0


def test_an_initialiser_that_fails_ends_the_pipeline(pool, pipeline):
    def no_model():
        raise OSError("no model")

    with pytest.raises(OSError, match="no model"):
        pipeline([int, Stage(int, initializer=no_model)], pool=pool).map(range(10), progress="none")


def test_a_closed_pool_ends_the_pipeline(pipeline):
    pool = nbpar.Pool(2, backend="threads", progress="none")
    steps = pipeline([int, int], pool=pool)
    pool.close()

    with pytest.raises(nbpar.PoolClosedError):
        steps.map([1], progress="none")


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: nbpar.Pipeline([]), ValueError, "at least one step"),
        (lambda: nbpar.Pipeline([3]), TypeError, "a step is a function"),
        (lambda: nbpar.Stage("x"), TypeError, "needs a function"),
        (lambda: nbpar.Stage(int, workers=-1), ValueError, "workers must be at least 0"),
        (lambda: nbpar.Stage(int, workers="2"), TypeError, "whole number"),
        (lambda: nbpar.Stage(int, backend="gpu"), ValueError, "backend must be"),
        (lambda: nbpar.Stage(int, queue_size=0), ValueError, "queue_size must be at least 1"),
        (lambda: nbpar.Stage(int, initializer=3), TypeError, "initializer must be"),
        (lambda: nbpar.Stage(int, workers=3, worker_args=[(1,)]), ValueError, "each of 3 workers"),
        (lambda: nbpar.Pipeline([int], batch_size=0), ValueError, "batch_size must be at least 1"),
        (lambda: nbpar.Pipeline([int], batch_size="big"), TypeError, '"auto" or a whole number'),
        (lambda: nbpar.Union([]), ValueError, "at least one branch"),
        (lambda: nbpar.Union([int], join="sum"), ValueError, "join must be"),
        (lambda: nbpar.Union([int, int], join="dict"), ValueError, "different names"),
        (lambda: nbpar.Pipeline([int]).map([1], chunksize=3), TypeError, "batch_size="),
        (lambda: nbpar.Stage(int, backend="threads", timeout=1), ValueError, "cannot stop"),
        (lambda: _threaded().map([1], timeout=1), ValueError, "cannot stop"),
        (lambda: list(nbpar.pipe([1])), ValueError, "at least one component"),
    ],
)
def test_what_does_not_do_is_refused_with_what_does(make, error, says):
    with pytest.raises(error, match=says):
        make()


def _threaded():
    return nbpar.Pipeline([Stage(int, workers=1, backend="threads")])


def test_what_is_not_iterable_is_refused(threads, pipeline):
    with pytest.raises(TypeError, match="not iterable"):
        pipeline([int], pool=threads).map(3, progress="none")


@pytest.mark.engines
@pytest.mark.parametrize("error", ["ValueError", "SystemExit"])
@pytest.mark.parametrize("batch_size", ["auto", 3])
def test_items_that_cannot_be_loaded_here_pass_through_among_others(engines, pipeline, error, batch_size):
    home = os.getpid()

    def load(n):
        if os.getpid() == home:
            raise getattr(__import__("builtins"), error)("not here")
        return n

    class Passes:
        def __init__(self, n):
            self.n = n

        def __reduce__(self):
            return load, (self.n,)

    steps = pipeline(
        [lambda n: Passes(n) if n % 3 == 1 else n, lambda n: n + 1], pool=engines, batch_size=batch_size
    )

    assert steps.map(range(20), progress="none") == list(range(1, 21))
    assert list(steps.imap(range(20), progress="none")) == list(range(1, 21))
