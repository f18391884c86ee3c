"""Submitted calls that are waiting are sent together, as long as that delays no result by much."""

from __future__ import annotations

import pytest

from nbpar.core.chunking import TOGETHER, WITHIN
from nbpar.run.futures import SubmittedCalls


@pytest.fixture
def chunker():
    return SubmittedCalls(None).chunker


def learned(chunker, seconds):
    for _ in range(100):
        chunker.learn(1, seconds)
    return chunker


@pytest.mark.parametrize("workers", [1, 2, 64])
def test_short_calls_that_are_waiting_are_one_message(chunker, workers):
    assert learned(chunker, WITHIN / 40).size(30, workers) >= 30


def test_no_more_are_sent_than_a_millisecond_of_work(chunker):
    assert learned(chunker, WITHIN / 10).size(1000, 2) <= 10


def test_no_more_are_sent_than_can_be_tried_one_by_one_after_a_death(chunker):
    assert learned(chunker, 1e-9).size(100_000, 2) == TOGETHER


def test_long_calls_are_sent_one_by_one(chunker):
    assert learned(chunker, 10 * WITHIN).size(1000, 2) == 1
