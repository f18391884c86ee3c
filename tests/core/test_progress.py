"""Events of a run folded into the snapshots that views get."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpar.core import events
from nbpar.core.lanes import SHORT, SPANS
from nbpar.core.outcome import Failure
from nbpar.core.progress import FIRST_FAILURES, LATEST_OUTPUT, SLOWEST, Progress
from nbpar.core.transcript import Piece


def progress(*more: events.Event, total: int | None = 10) -> Progress:
    fold = Progress()
    fold(events.RunStarted(100.0, "count", total))
    fold(events.WorkerJoined(100.0, "a", "here", 1))
    for event in more:
        fold(event)
    return fold


def sent(at=100.0, worker="a", call=1, first=0, count=4):
    return events.ChunkSent(at, worker, call, first, count, 1)


def done(
    at=101.0, worker="a", call=1, first=0, count=4, failed=0, retried=0, seconds=1.0, each=(), final=True
):
    return events.ItemsDone(at, worker, call, first, count, failed, retried, seconds, each, 8, 1000, final, 4)


def failure(index=0):
    return Failure(index, index, ValueError(index))


def test_a_run_without_workers_is_waiting():
    fold = Progress()
    fold(events.RunStarted(0.0, "count", 10))

    assert fold.snapshot(1.0).state == "waiting"


def test_items_count_as_they_complete_not_when_their_chunk_is_over():
    fold = progress(sent(), done(count=3, final=False))

    snapshot = fold.snapshot(101.0)

    assert snapshot.done == 3
    assert snapshot.lanes[0].state == "busy"


def test_failures_are_done_and_retries_are_not():
    fold = progress(sent(), done(count=4, failed=1, retried=2))

    snapshot = fold.snapshot(101.0)

    assert (snapshot.done, snapshot.failed, snapshot.retried) == (2, 1, 2)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), max_size=30))
def test_the_sums_are_those_of_the_events(answers):
    fold = progress(total=None)
    for call, (good, failed, retried) in enumerate(answers):
        fold(sent(call=call, count=good + failed + retried))
        fold(done(call=call, count=good + failed + retried, failed=failed, retried=retried))

    snapshot = fold.snapshot(200.0)

    assert snapshot.done == sum(good + failed for good, failed, _ in answers)
    assert snapshot.failed == sum(failed for _, failed, _ in answers)
    assert snapshot.busy == len(answers)
    assert snapshot.moved == 8 * len(answers)
    assert snapshot.lanes[0].done == snapshot.done


def test_a_lane_tells_what_its_worker_does_now():
    fold = progress(sent(101.0, first=4, count=4), sent(101.0, call=2, first=8, count=2))

    [lane] = fold.snapshot(103.0).lanes

    assert (lane.state, lane.first, lane.count, lane.since) == ("busy", 4, 4, 1.0)


def test_a_lane_is_idle_when_all_its_calls_are_answered():
    fold = progress(sent(), done())

    [lane] = fold.snapshot(101.0).lanes

    assert (lane.state, lane.first, lane.count) == ("idle", -1, 0)
    assert [(span.start, span.end) for span in lane.spans] == [(0.0, 1.0)]


def test_a_worker_is_silent_until_it_answers_again():
    fold = progress(sent(102.0), events.WorkerSilent(104.0, "a"), events.WorkerSilent(104.0, "stranger"))
    during = fold.snapshot(107.0)
    fold(events.WorkerAnswering(108.0, "a"))
    fold(events.WorkerAnswering(108.0, "stranger"))
    busy = fold.snapshot(109.0)
    fold(events.WorkerSilent(110.0, "a"))
    fold(events.WorkerLost(112.0, "a", "it vanished"))
    fold(events.WorkerSilent(113.0, "a"))
    after = fold.snapshot(120.0)

    assert (during.silent_workers, during.lanes[0].state, during.lanes[0].silent) == (1, "silent", 3.0)
    assert (busy.silent_workers, busy.lanes[0].state, busy.lanes[0].silent) == (0, "busy", 4.0)
    assert (after.lanes[0].state, after.lanes[0].silent) == ("lost", 6.0)


def test_an_idle_worker_that_was_silent_is_idle_again():
    fold = progress(events.WorkerSilent(102.0, "a"), events.WorkerAnswering(103.0, "a"))

    assert fold.snapshot(104.0).lanes[0].state == "idle"


def test_a_lost_worker_keeps_its_lane_with_the_reason():
    fold = progress(sent(), events.WorkerLost(101.0, "a", "killed by SIGKILL"))

    snapshot = fold.snapshot(102.0)

    assert snapshot.lost_workers == 1
    assert (snapshot.lanes[0].state, snapshot.lanes[0].note) == ("lost", "killed by SIGKILL")
    assert snapshot.lanes[0].count == 0


def test_a_lost_worker_tells_how_much_it_left_unanswered():
    fold = progress(sent(), sent(call=2, first=4, count=3), done(), events.WorkerLost(101.0, "a", "killed"))

    assert [lane.dropped for lane in fold.snapshot(102.0).lanes] == [3]


def test_a_worker_that_left_and_came_back_has_one_lane():
    fold = progress(events.WorkerLeft(101.0, "a"), events.WorkerJoined(102.0, "a", "here", 1))

    assert [lane.state for lane in fold.snapshot(103.0).lanes] == ["idle"]


def test_a_lane_tells_when_its_worker_came_and_went():
    fold = progress(events.WorkerJoined(101.0, "b", "here", 2), events.WorkerLost(103.0, "b", "gone"))

    first, second = fold.snapshot(105.0).lanes

    assert (first.joined, first.gone) == (0.0, None)
    assert (second.joined, second.gone) == (1.0, 3.0)


def test_a_lane_tells_how_long_its_worker_had_something_to_do():
    fold = progress(sent(101.0), done(103.0, seconds=1.0), sent(104.0, call=2, first=4))

    [lane] = fold.snapshot(105.0).lanes

    assert (lane.busy, lane.occupied) == (1.0, 3.0)


def test_short_pieces_of_work_that_follow_each_other_are_one_span():
    fold = progress(total=None)
    for n in range(100):
        fold(sent(call=n, first=n, count=1))
        fold(done(100.001 + n / 1000, call=n, first=n, count=1, seconds=0.0005))

    spans = fold.snapshot(101.0).lanes[0].spans

    assert sum(span.items for span in spans) == 100
    assert 10 <= len(spans) <= 12
    assert all(span.end - span.start <= SHORT for span in spans)
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))


def test_the_failures_that_are_kept_do_not_depend_on_the_order_in_which_they_came():
    fold = progress(*(events.ItemFailed(101.0, failure(index)) for index in reversed(range(50))))

    assert [f.index for f in fold.snapshot(102.0).failures] == list(range(FIRST_FAILURES))


def test_every_failure_is_in_a_group_also_those_that_are_not_kept():
    fold = progress(*(events.ItemFailed(101.0, failure(index)) for index in range(50)))

    [group] = fold.snapshot(102.0).failure_groups

    assert (group.number, group.example.index) == (50, 0)


def test_a_pause_is_timed_from_its_beginning_and_over_with_the_run():
    fold = progress(events.RunPaused(101.0, True), events.RunPaused(103.0, True))

    assert fold.snapshot(104.0).paused == 3.0
    fold(events.RunPaused(105.0, False))
    assert fold.snapshot(106.0).paused == 0.0
    fold(events.RunPaused(107.0, True))
    fold(events.RunFinished(108.0, "stopped"))
    assert (fold.snapshot(109.0).state, fold.snapshot(109.0).paused) == ("stopped", 0.0)


def test_the_slowest_items_are_kept_themselves():
    event = done(first=4, count=2, each=(0.3, 0.7))
    event.chunk = SimpleNamespace(first=3, items=["d", "e", "f"])
    fold = progress(event, done(first=0, count=1, each=(0.5,)))

    snapshot = fold.snapshot(102.0)

    assert snapshot.slowest == ((0.7, 5), (0.5, 0), (0.3, 4))
    assert snapshot.slow_items == (["f"], (), ["e"])


def test_a_run_tells_how_long_it_waited_and_how_many_workers_it_had_at_once():
    fold = Progress()
    fold(events.RunStarted(100.0, "count", 10))
    assert fold.snapshot(101.0).waited == 1.0

    for at, worker in ((102.0, "a"), (103.0, "b")):
        fold(events.WorkerJoined(at, worker, "here", 1))
    fold(events.WorkerLost(104.0, "a", "gone"))
    fold(events.WorkerJoined(105.0, "c", "here", 1))

    snapshot = fold.snapshot(106.0)
    assert (snapshot.waited, snapshot.workers) == (2.0, 2)


def test_the_time_in_which_memory_held_work_back_is_counted():
    fold = progress(events.MemoryLow(101.0, True, 0), events.MemoryLow(103.0, False, 0))
    assert fold.snapshot(110.0).held == 2.0

    fold(events.MemoryLow(111.0, True, 0))
    assert fold.snapshot(112.0).held == 3.0


def test_what_workers_wait_for_is_noted_unless_memory_is_short():
    fold = progress(events.WorkersAwaited(101.0, "3 of 4 engines; job 5 is pending"))
    assert fold.snapshot(102.0).note == "3 of 4 engines; job 5 is pending"

    fold(events.MemoryLow(103.0, True, 2_000_000_000))
    assert fold.snapshot(104.0).note == "held back: 2.0 GB of memory left"

    fold(events.MemoryLow(105.0, False, 9_000_000_000))
    assert fold.snapshot(106.0).note == "3 of 4 engines; job 5 is pending"

    fold(events.WorkersAwaited(107.0, ""))
    assert fold.snapshot(108.0).note == ""


def test_the_rate_is_that_of_the_last_seconds_and_the_time_left_follows():
    fold = progress(total=1000)
    for second in range(1, 21):
        fold(done(100.0 + second, call=second, count=10))

    snapshot = fold.snapshot(120.0)

    assert 9 <= snapshot.rate <= 11
    assert 70 <= snapshot.left <= 90


def test_the_number_of_items_is_known_without_a_snapshot():
    assert progress(total=7).total == 7
    assert progress(total=None).total is None


def test_nobody_knows_the_time_left_without_a_total():
    fold = progress(done(), total=None)

    assert fold.snapshot(102.0).left is None


def test_a_run_that_is_over_tells_its_overall_rate_and_stands_still():
    fold = progress(done(count=10), events.RunFinished(102.0, "done"))

    snapshot = fold.snapshot(500.0)

    assert snapshot.over
    assert (snapshot.elapsed, snapshot.rate, snapshot.left) == (2.0, 5.0, None)


def test_paused_is_shown_until_the_run_goes_on_or_ends():
    fold = progress(events.RunPaused(101.0, paused=True))
    assert fold.snapshot(102.0).state == "paused"

    fold(events.RunPaused(103.0, paused=False))
    assert fold.snapshot(104.0).state == "running"

    fold(events.RunPaused(105.0, paused=True))
    fold(events.RunFinished(106.0, "stopped"))
    assert fold.snapshot(107.0).state == "stopped"


def test_everything_that_is_kept_is_bounded():
    fold = progress(total=None)
    for n in range(2000):
        fold(sent(call=n, first=n, count=1))
        fold(done(100.0 + n, call=n, first=n, count=1, failed=1, each=(float(n % 97),)))
        fold(events.ItemFailed(100.0 + n, failure(n)))
        fold(events.ItemPrinted(100.0 + n, Piece(n, "stdout", "line\n")))

    snapshot = fold.snapshot(3000.0)

    assert [f.index for f in snapshot.failures] == list(range(FIRST_FAILURES))
    assert [index for index, _, _ in snapshot.output] == list(range(2000 - LATEST_OUTPUT, 2000))
    assert [seconds for seconds, _ in snapshot.slowest] == [96.0] * SLOWEST
    assert len(snapshot.lanes[0].spans) == SPANS


def test_a_snapshot_stays_as_it_was_whatever_comes_later():
    fold, taken = progress(total=None), []
    for n in range(3 * SPANS):
        fold(sent(call=n, first=n, count=1))
        fold(done(101.0 + n, call=n, first=n, count=1))
        spans = fold.snapshot(101.0 + n).lanes[0].spans
        taken.append((spans, list(spans)))

    assert all(list(spans) == then for spans, then in taken)
    assert [(spans[0].first, spans[-1].first, len(spans)) for spans, _ in taken] == [
        (max(n + 1 - SPANS, 0), n, min(n + 1, SPANS)) for n in range(3 * SPANS)
    ]


def test_work_after_a_moment_is_told_without_what_was_before():
    fold = progress(total=None)
    for n in range(3):
        fold(sent(call=n, first=n, count=1))
        fold(done(101.0 + n, call=n, first=n, count=1))

    spans = fold.snapshot(104.0).lanes[0].spans

    assert [(span.start, span.end) for span in spans.after(1.5)] == [(1.5, 2.0), (2.0, 3.0)]
    assert spans.after(0.0) == list(spans)
    assert spans.after(3.0) == []


def test_events_of_a_worker_that_never_joined_do_no_harm():
    fold = progress(sent(worker="?"), done(worker="?"), events.WorkerLost(101.0, "?", "gone"))

    assert fold.snapshot(102.0).done == 4


def test_what_a_worker_gives_back_of_a_chunk_is_not_its_work_any_more():
    fold = progress(sent(count=9), events.ChunkCut(101.0, "a", 1, 3))

    assert [(lane.first, lane.count) for lane in fold.snapshot(101.0).lanes] == [(0, 3)]
    fold(events.WorkerLost(102.0, "a", "killed"))
    assert fold.snapshot(103.0).lanes[0].dropped == 3


@pytest.mark.parametrize(
    "late", [events.ChunkCut(102.0, "a", 1, 2), events.ChunkCut(102.0, "?", 1, 2), object()]
)
def test_what_comes_too_late_or_concerns_nobody_changes_nothing(late):
    fold = progress(sent(), done())
    before = fold.snapshot(102.0)

    fold(late)

    assert fold.snapshot(102.0) == before


def test_a_worker_that_joins_twice_is_one_worker():
    fold = progress(events.WorkerJoined(101.0, "a", "here", 1))

    snapshot = fold.snapshot(102.0)
    assert (snapshot.workers, len(snapshot.lanes), snapshot.lanes[0].joined) == (1, 1, 0.0)


def test_the_counts_are_those_of_a_snapshot():
    fold = progress(sent(), done(failed=1, retried=1))

    snapshot = fold.snapshot(102.0)
    assert (fold.done, fold.failed) == (snapshot.done, snapshot.failed) == (3, 1)


def test_items_known_from_before_are_done_and_say_nothing_of_the_rate():
    fold = progress(
        events.ItemsKnown(100.5, 0, 90), sent(first=90, count=10), done(102.0, first=90, count=10), total=200
    )

    snapshot = fold.snapshot(102.0)
    assert (snapshot.done, snapshot.known) == (100, 90)
    assert (snapshot.rate, snapshot.left) == (5.0, 20.0)
    fold(events.RunFinished(104.0, "done"))
    assert fold.snapshot(105.0).rate == 2.5


def test_imports_are_added_up_by_package_and_worker_slowest_first():
    fold = progress(
        events.PackagesImported(101.0, "a", (("numpy", 0.5), ("json", 0.1))),
        events.WorkerJoined(101.0, "b", "here", 2),
        events.PackagesImported(102.0, "b", (("numpy", 1.0),)),
        events.PackagesImported(103.0, "b", (("numpy", 0.25),)),
        events.PackagesImported(103.0, "gone", (("json", 0.1),)),
    )

    snapshot = fold.snapshot(104.0)

    assert [tuple(row) for row in snapshot.imports] == [("numpy", 1.75, 2), ("json", 0.2, 2)]
    assert [lane.importing for lane in snapshot.lanes] == [0.6, 1.25]


def test_a_stream_keeps_only_small_ones_of_its_slowest_items():
    fold = Progress(frugal=True)
    fold(events.RunStarted(100.0, "count", 10))
    event = done(count=2, each=(0.3, 0.7))
    event.chunk = SimpleNamespace(first=0, items=[[0] * 10_000, "name"])
    fold(event)

    assert fold.snapshot(102.0).slow_items == (["name"], ())


def test_an_empty_answer_is_no_work():
    fold = progress(sent(), done(count=0, seconds=0.0))

    [lane] = fold.snapshot(102.0).lanes

    assert (lane.chunks, lane.done, lane.state) == (1, 0, "idle")
    assert list(lane.spans) == list(reversed(lane.spans)) == []


def test_the_latest_work_can_be_read_both_ways_and_compared():
    fold = progress(total=None)
    for n in range(3):
        fold(sent(call=n, first=n, count=1))
        fold(done(101.0 + n, call=n, first=n, count=1))

    spans, again = (fold.snapshot(104.0).lanes[0].spans for _ in range(2))

    assert list(reversed(spans)) == [spans[2], spans[1], spans[0]]
    assert spans[1:] == (spans[1], spans[2])
    assert spans == again
    fold(sent(call=3, first=3, count=1))
    fold(done(104.0, call=3, first=3, count=1))
    assert spans != fold.snapshot(105.0).lanes[0].spans
    assert spans != list(spans)


def test_a_run_says_that_it_waits_and_for_what():
    fold = progress(
        sent(count=1), done(count=1, retried=1), events.ItemDelayed(101.0, 0, 113.0, "HTTPStatusError 429")
    )

    assert fold.snapshot(101.0).note == "waits 12 s: HTTPStatusError 429"
    assert fold.snapshot(111.5).note == "waits 2 s: HTTPStatusError 429"
    assert fold.snapshot(113.0).note == ""


def test_items_that_wait_while_others_go_on_are_counted():
    fold = progress(
        events.ItemDelayed(101.0, 0, 113.0, "HTTPStatusError 429"),
        events.ItemDelayed(101.0, 3, 105.0, "HTTPStatusError 503"),
    )

    assert fold.snapshot(101.0).note == "2 items to retry, the first in 4 s: HTTPStatusError 503"

    fold(events.ChunkSent(105.0, "a", 9, 3, 1, 2))

    assert fold.snapshot(104.0).note == "1 item to retry, the first in 9 s: HTTPStatusError 429"


def test_a_run_that_is_over_waits_for_nothing():
    fold = progress(events.ItemDelayed(101.0, 0, 113.0, "Busy"), events.RunFinished(102.0, "stopped"))

    assert fold.snapshot(102.0).note == ""


def test_a_run_says_that_its_rate_limits_it_and_until_when():
    fold = progress(events.RateReached(101.0, True, 113.5, "5/min"))

    assert fold.snapshot(102.0).note == "limited by rate 5/min, next in 12 s"
    assert fold.snapshot(112.0).note == "limited by rate 5/min"

    fold(events.RateReached(114.0, False, None, "5/min"))
    fold(events.RateReached(120.0, True, None, "5/min"))

    snapshot = fold.snapshot(121.0)
    assert (snapshot.limited, snapshot.rate_limit) == (14.0, "5/min")
    assert snapshot.note == "limited by rate 5/min"

    fold(events.RunFinished(125.0, "done"))

    assert fold.snapshot(130.0).limited == 18.0
    assert fold.snapshot(130.0).note == ""
