"""While memory is short, only one chunk at a time is started."""

from __future__ import annotations

import pytest

from nbpar.host import memory as memory_guard
from nbpar.host.memory import MemoryGuard, free_memory, threshold, whole_memory
from nbpar.wire.messages import Cancel


def test_nothing_new_begins_while_memory_is_short(machine):
    run = machine.begin(range(10))
    machine.come("worker 0", "worker 1")
    machine.free = 50
    machine.look()

    machine.backend.answer("worker 0")
    machine.step()

    assert machine.backend.calls("worker 0") == []
    assert run.low == [True]
    assert run.snapshot().note == "held back: 0.0 GB of memory left"


def test_it_goes_on_by_itself_when_enough_is_free(machine):
    run = machine.begin(range(6))
    machine.come("worker 0", "worker 1")
    machine.free = 50
    machine.look()
    machine.backend.answer_all()
    machine.step()

    machine.free = 1000
    machine.look()
    finish(machine, run)

    assert run.low == [True, False]
    assert run.snapshot().note == ""
    assert sorted(run.results) == list(range(6))


def test_memory_that_hovers_at_the_threshold_does_not_flutter(machine):
    run = machine.begin(range(10))
    machine.come("worker 0")
    for free in (50, 110, 90, 120, 130, 110):
        machine.free = free
        machine.look()

    assert run.low == [True, False]


def test_while_nothing_runs_one_chunk_after_the_other_goes_on(machine):
    machine.free = 50
    run = machine.begin(range(6))
    machine.come("worker 0", "worker 1")
    seen = []
    while not run.ends:
        seen.append(len(machine.backend.calls("worker 0")) + len(machine.backend.calls("worker 1")))
        machine.backend.answer_all()
        machine.look()

    assert set(seen) == {1}
    assert sorted(run.results) == list(range(6))


def test_what_waits_behind_an_item_is_asked_back(machine):
    run = machine.begin(range(2000))
    machine.come("worker 0")
    while len(machine.backend.calls("worker 0")) < 2:  # quick items make the window deep
        machine.backend.answer_all()
        machine.step()

    machine.free = 50
    machine.look()

    assert any(isinstance(message, Cancel) for _, message in machine.backend.sent)
    assert len(machine.backend.calls("worker 0")) == 1
    machine.free = 1000
    machine.look()
    finish(machine, run)
    assert sorted(run.results) == list(range(2000))


def test_a_run_that_begins_meanwhile_is_told(machine):
    machine.begin(range(10))
    machine.come("worker 0")
    machine.free = 50
    machine.look()

    run = machine.begin(range(2))
    machine.step()

    assert run.low == [True]


def test_the_memory_of_other_hosts_is_not_ours_to_judge(machine):
    run = machine.begin(range(4))
    machine.come("worker 0", machine="far away")
    machine.free = 50
    machine.look()

    assert run.low == []


def test_a_dispatcher_that_waits_for_memory_looks_again_soon(machine):
    machine.begin(range(4))
    machine.come("worker 0", "worker 1")
    machine.free = 50
    machine.look()

    assert 0 < machine.backend.timeouts[-1] <= 0.25


def test_a_guard_looks_a_few_times_a_second_at_most():
    looks = []
    guard = MemoryGuard(1, free=lambda: looks.append(1) or 10)

    for hundredth in range(100):
        guard.look(hundredth / 100)

    assert len(looks) <= 5


def test_the_threshold_is_a_number_a_share_or_chosen():
    assert threshold(5e6) == 5e6
    assert threshold(0.5) == whole_memory() / 2
    assert 0 < threshold("auto") <= 1 << 30


def test_the_limit_of_a_container_counts(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 80000\nactive_file 20000\n")
    group = memory_guard._Limit(
        tmp_path / "memory.max", tmp_path / "memory.current", tmp_path / "memory.stat", ""
    )
    monkeypatch.setattr(memory_guard, "_found", [[group]])

    assert free_memory() == 400_000
    assert whole_memory() == 1_000_000
    assert threshold("auto") == 50_000


@pytest.mark.parametrize("text", ["max\n", "", "9223372036854771712\n"])
def test_a_group_without_a_limit_sets_none(monkeypatch, tmp_path, text):
    (tmp_path / "memory.max").write_text(text)
    path = tmp_path / "memory.max"

    assert memory_guard._number(path) is None


def test_the_free_memory_is_known():
    assert 0 < free_memory() <= whole_memory() or free_memory() > 0


def finish(machine, run):
    while not run.ends:
        machine.backend.answer_all()
        machine.step()
