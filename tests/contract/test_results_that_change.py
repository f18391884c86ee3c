"""A result is what the function returned, even if a later item of the same worker changes that object."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import user_code

MANY = 200


FAR = ["engines", "engines through the controller"]
"""Kinds of workers that send results; in this process they are the objects themselves."""

pytestmark = [
    pytest.mark.parametrize("kind", FAR, indirect=True),
    pytest.mark.engines,
    pytest.mark.filterwarnings("ignore::nbpar.errors.LostChangeWarning"),
]


@dataclass
class Box:
    content: object


def refilled(wrap, buffer):
    """Return a function that refills a buffer and returns it, or something that holds it."""

    def refill(n):
        buffer[0] = n
        return wrap(buffer)

    return refill


KINDS = {
    "a list": refilled(lambda kept: kept, [0, 1]),
    "a list in a tuple": refilled(lambda kept: ("x", kept), [0, 1]),
    "a list in a list in a dict": refilled(lambda kept: {"x": [kept]}, [0, 1]),
    "a dict": refilled(lambda kept: kept, {0: 0}),
    "bytes": refilled(lambda kept: kept, bytearray(2)),
    "a list in an object": refilled(Box, [0, 1]),
    "an object of unknown reductions": refilled(lambda kept: SimpleNamespace(kept=kept), [0, 1]),
    "an array": refilled(lambda kept: kept, np.zeros(3)),
    "a view": refilled(lambda kept: kept[:2], np.zeros(3)),
    "a view of a view": refilled(lambda kept: kept[:3][:2], np.zeros(3)),
    "a view in a tuple": refilled(lambda kept: (1, kept[:2]), np.zeros(3)),
    "a memory view's array": refilled(lambda kept: np.frombuffer(kept.data), np.zeros(3)),
    "an array of objects": refilled(lambda kept: kept, np.array([[], None], dtype=object)),
    "a large view": refilled(lambda kept: kept[:2500], np.zeros(3000)),
}


def number_in(result):
    """Return the number that an item has put into its result."""
    while not isinstance(result, (int, float, np.floating)):
        match result:
            case dict():
                result = next(iter(result.values()))
            case Box():
                result = result.content
            case SimpleNamespace():
                result = result.kept
            case tuple():
                result = result[1]
            case _:
                result = result[0]
    return result


@pytest.mark.parametrize("chunksize", [1, 50, "auto"])
@pytest.mark.parametrize("refill", KINDS.values(), ids=KINDS)
def test_a_function_may_refill_what_it_returns(pool, refill, chunksize):
    results = pool.imap(refill, range(MANY), chunksize=chunksize)

    assert list(map(number_in, results)) == list(range(MANY))


def test_calls_that_travel_together_may_refill_what_they_return(pool):
    submitted = [pool.submit(user_code.refill, n) for n in range(MANY)]
    with pool.queue(user_code.refill) as queue:
        for n in range(MANY):
            queue.put(n)
        queued = [queue.get() for _ in range(MANY)]

    assert [future.result() for future in submitted] == [[n, [n]] for n in range(MANY)]
    assert sorted(queued) == [[n, [n]] for n in range(MANY)]


def test_coroutines_may_refill_what_they_return(pool):
    assert pool.map(user_code.refill_soon, range(MANY)) == [[n, [n]] for n in range(MANY)]


def test_items_with_a_time_limit_or_a_seed_may_refill_what_they_return(pool):
    expected = [[n, [n]] for n in range(MANY)]

    assert pool.map(user_code.refill, range(MANY), timeout=60) == expected
    assert pool.map(user_code.refill, range(MANY), seed=1) == expected


def test_what_one_result_alone_holds_arrives_as_it_is(pool):
    def made(n):
        return n, [n], {"n": [n]}, np.full(2, n), np.arange(4).reshape(2, 2)[:, n % 2], Box([n])

    for n, result in enumerate(pool.map(made, range(MANY))):
        assert result[:3] == (n, [n], {"n": [n]})
        assert [result[3].tolist(), result[4].tolist()] == [[n, n], [n % 2, n % 2 + 2]]
        assert result[5] == Box([n])
