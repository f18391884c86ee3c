"""Objects that multiprocessing shares between processes can be shared with workers of this host."""

from __future__ import annotations

import multiprocessing

import pytest


@pytest.fixture(scope="module")
def manager():
    with multiprocessing.get_context("spawn").Manager() as manager:
        yield manager


def test_proxies_of_a_manager_connect_from_items(pool, manager):
    numbers, queue, lock = manager.dict(), manager.Queue(), manager.Lock()

    def note(n):
        with lock:
            numbers[n] = numbers.get(n, 0) + n
        queue.put(n)
        return len(numbers) > 0

    assert pool.map(note, range(1, 6)) == [True] * 5
    assert dict(numbers) == {n: n for n in range(1, 6)}
    assert sorted(queue.get() for _ in range(5)) == list(range(1, 6))


def test_proxies_travel_as_items_and_as_results(pool, manager):
    boxes = [manager.list([n]) for n in range(3)]

    returned = pool.map(lambda box: (box.append("seen"), box)[1], boxes)

    assert [list(box) for box in boxes] == [[n, "seen"] for n in range(3)]
    assert [list(box) for box in returned] == [list(box) for box in boxes]


def test_a_connection_reaches_an_item(pool):
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        ours.send("question")

        assert pool.map(lambda end: (end.send("answer"), end.recv())[1], [theirs]) == ["question"]
        assert ours.recv() == "answer"
