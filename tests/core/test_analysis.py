"""Time use of a run, and the advice that follows from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbpar.core import events
from nbpar.core.analysis import Figures, figures_of, findings
from nbpar.core.progress import Progress
from nbpar.core.snapshot import PackageImports
from nbpar.core.text import percent, seconds, size

GOOD = Figures(
    elapsed=10.0, workers=4, starting=0.4, computing=38.0, packing=0.2, transfer=0.4, items=4000, chunks=760,
    moved=400_000, slowest=(17, 0.05), cpu=38.0, cpu_of_thread=37.5, cpus=4,
)  # fmt: skip


def kinds(**changed):
    return [finding.kind for finding in findings(replace(GOOD, **changed))]


def test_nothing_is_said_of_a_run_that_went_well():
    assert kinds() == []


@pytest.mark.parametrize(
    ("kind", "because", "changed"),
    [
        ("memory", "held back for 2.0 s of 10 s", {"held": 2.0}),
        (
            "rate",
            "limited by rate 5/s: it waited for that for 9.0 s of 10 s",
            {"limited": 9.0, "rate_limit": "5/s"},
        ),
        (
            "silence",
            "engine 0 on gpu01, engine 1 on gpu02 did not answer for 9.0 s",
            {"silent": 9.0, "silent_workers": ("engine 0 on gpu01", "engine 1 on gpu02")},
        ),
        (
            "silence",
            "0, 1, 2 and 2 others did not answer for 90 s",
            {"silent": 90.0, "silent_workers": tuple("01234")},
        ),
        ("threads", "each of 4 workers computed on 4.0 threads at once, on 4 CPUs", {"cpu": 150.0}),
        ("slow item", "item 3 alone took 9.0 s of the run's 10 s", {"computing": 12.0, "slowest": (3, 9.0)}),
        ("input", "took 8.0 s of 10 s, and workers waited for 74 %", {"computing": 9.2, "reading": 8.0}),
        (
            "results",
            "2.0 GB were moved, and pickling took 9.0 s for 20 s of work",
            {"computing": 20.0, "packing": 5.0, "packing_here": 4.0, "moved": 2_000_000_000},
        ),
        (
            "results",
            "2.0 GB were moved, and sending took 50 % of the workers' time for 19 s of work",
            {"computing": 19.0, "transfer": 20.0, "moved": 2_000_000_000},
        ),
        (
            "chunks",
            "a chunk was 500 µs of work, and sending took 50 %",
            {"computing": 2.0, "transfer": 19.8, "chunks": 4000, "chunksize": 1},
        ),
        (
            "chunks",
            "a chunk was 250 µs of work, and sending took 50 %",
            {"computing": 2.0, "transfer": 19.8, "chunks": 8000},
        ),
        ("starting", "not there yet for 50 % of the time", {"starting": 20.0, "computing": 19.0}),
        (
            "imports",
            "importing `sklearn` took 1.5 s on each of 4 workers, importing `wave` took 1.0 s on 1 worker",
            {
                "importing": 7.2,
                "computing": 31.0,
                "imports": (
                    PackageImports("sklearn", 6.0, 4),
                    PackageImports("wave", 1.0, 1),
                    PackageImports("json", 0.2, 4),
                ),
            },
        ),
        ("idle CPU", "used the CPU for 2 % of their time", {"cpu": 0.8, "cpu_of_thread": 0.8}),
        ("busy machine", "waited for a CPU for 75 %", {"cpu": 4.0, "cpu_of_thread": 4.0, "queued": 28.5}),
    ],
)
def test_each_finding_has_the_figure_that_led_to_it(kind, because, changed):
    [found] = findings(replace(GOOD, **changed))

    assert found.kind == kind
    assert because in found.because
    assert str(found) == f"{found.because}: {found.advice}"


def test_items_that_wait_for_a_cpu_are_not_told_to_be_more():
    assert kinds(cpu=4.0, cpu_of_thread=4.0, queued=28.0) == ["busy machine"]
    assert kinds(cpu=4.0, cpu_of_thread=4.0, queued=5.0) == []


def test_a_chunk_size_that_suits_is_named():
    [found] = findings(replace(GOOD, computing=2.0, transfer=19.8, chunks=4000, chunksize=1))

    assert found.advice == "leave `chunksize=1` out, or make it about 100"


def test_a_chunk_size_that_is_large_enough_is_not_to_be_left_out():
    small = {"computing": 2.0, "transfer": 19.8, "chunks": 4000}

    assert kinds(**small, chunksize=1) == ["chunks"]
    assert kinds(**small, chunksize=10_000) == []


def test_large_items_are_not_to_be_made_larger():
    assert kinds(computing=2.0, transfer=19.8, chunks=8000, moved=20_000_000_000) == ["results"]


def test_imports_that_are_many_and_short_are_not_named():
    many = tuple(PackageImports(f"package{number}", 0.4, 4) for number in range(20))

    assert kinds(importing=8.0, computing=30.0, imports=many) == []


def test_nothing_is_said_of_what_is_over_at_once():
    assert kinds(elapsed=0.01, transfer=30.0, computing=0.0) == []
    assert findings(Figures(0.0)) == []


def test_many_threads_are_no_trouble_where_there_are_cpus_for_them():
    assert kinds(cpu=150.0, cpus=16) == []
    assert kinds(cpu=150.0, cpus=None) == []


def test_threads_of_a_run_that_waited_are_no_trouble():
    assert kinds(cpu=0.8, cpu_of_thread=0.4, cpus=2) == ["idle CPU"]


def test_one_worker_cannot_share_a_slow_item():
    assert kinds(workers=1, elapsed=40.0, slowest=(3, 30.0), computing=38.0) == []


def test_the_parts_add_up_to_the_time_of_all_workers():
    fold = Progress()
    fold(events.RunStarted(100.0, "count", 8))
    fold(events.WorkerJoined(101.0, "a", "here", 1))
    fold(events.WorkerJoined(102.0, "b", "here", 2))
    fold(events.ChunkSent(102.0, "a", 1, 0, 4, 1))
    fold(
        events.ItemsDone(
            105.0,
            "a",
            1,
            0,
            4,
            0,
            0,
            2.0,
            (),
            8,
            0,
            True,
            4,
            cpu=1.5,
            cpu_of_thread=1.0,
            packing=0.25,
            here=0.5,
        )
    )
    fold(events.RunFinished(110.0, "done"))

    figures = figures_of(fold.snapshot(110.0))

    assert (figures.workers, figures.total) == (2, 20.0)
    assert (figures.starting, figures.computing, figures.packing, figures.transfer) == (3.0, 2.0, 0.25, 0.75)
    assert figures.waiting == 14.0
    assert figures.efficiency == 0.1
    assert (figures.threads, figures.packing_here) == (1.5, 0.5)


def test_workers_that_never_came_were_starting_all_the_time():
    fold = Progress()
    fold(events.RunStarted(100.0, "count", 8))
    fold(events.RunFinished(110.0, "failed"))

    figures = figures_of(fold.snapshot(110.0))

    assert figures.starting == figures.total == 10.0


@pytest.mark.parametrize(
    ("number", "text"),
    [(12.34, "12 s"), (1.25, "1.2 s"), (0.0123, "12 ms"), (4.2e-6, "4.2 µs"), (0.0, "0 s")],
)
def test_times_have_the_unit_that_suits(number, text):
    assert seconds(number) == text


def test_shares_and_sizes():
    assert (percent(0.256), size(999), size(1500)) == ("26 %", "999 B", "1.5 kB")


def test_a_run_at_a_rate_is_told_how_many_workers_would_do():
    few = replace(GOOD, computing=4.0, limited=9.0, rate_limit="5/s")
    all_of_them = replace(GOOD, limited=9.0, rate_limit="5/s")

    assert "1 worker would do at this rate" in findings(few)[0].advice
    assert findings(all_of_them)[0].advice == "a higher rate is the only way to be faster"
