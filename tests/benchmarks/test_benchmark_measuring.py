"""Collaboration: opening, measuring in turns and closing peers that compute in this process."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace

import pytest

from benchmarks.deadline import HangError, deadline
from benchmarks.measuring import describe, fit, measure, rotated, round_down
from benchmarks.opening import opened
from benchmarks.peer import Unsupported, static_chunk
from benchmarks.workloads import WORKLOADS, Workload, noop

WORKLOAD = Workload("test", "test", noop, 500)


@pytest.mark.parametrize(
    ("per_item", "items"),
    [(1e-9, 1_000_000), (1e-6, 1_000_000), (1e-5, 200_000), (1e-3, 2000), (1.0, 2), (100.0, 1)],
)
def test_slow_peers_get_a_round_number_of_items_that_fits(per_item, items):
    assert fit(lambda given: given * per_item, 1_000_000, budget=2.0) == items


def test_few_items_are_never_made_fewer():
    assert fit(lambda given: pytest.fail("not needed"), 40, budget=1.0) == 40


@pytest.mark.parametrize(("number", "rounded"), [(0.3, 1), (1, 1), (4.9, 2), (5, 5), (99, 50), (1234, 1000)])
def test_numbers_are_rounded_down(number, rounded):
    assert round_down(number) == rounded


def test_every_round_begins_with_the_next_peer():
    assert [rotated("abc", turn) for turn in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]
    assert rotated([], 1) == []


def test_every_peer_is_measured_in_every_round(peer_here):
    peers = [peer_here("a"), peer_here("b")]

    results = list(measure(replace(WORKLOAD, calls=2), peers, 2, rounds=3, budget=1.0))

    assert [(one.peer, one.items, len(one.seconds)) for one in results] == [("a", 500, 6), ("b", 500, 6)]
    assert all(0 < one.best <= one.median for one in results)


def test_a_peer_that_fails_says_why_and_the_others_go_on(peer_here):
    wrong = peer_here("wrong", answer=lambda items: [0] * len(items))
    peers = [wrong, peer_here("raises", fail_map=OSError("broken\npipe")), peer_here("good")]

    results = list(measure(WORKLOAD, peers, 2, rounds=2, budget=1.0))

    assert results[0].problem.startswith("WrongAnswer: returned ")
    assert results[1].problem == "OSError: broken"
    assert (results[2].problem, len(results[2].seconds)) == ("", 2)


def test_what_a_peer_cannot_do_is_described_in_its_own_words():
    assert describe(Unsupported("splits once")) == "splits once"
    assert describe(KeyError()) == "KeyError: "


def test_peers_are_opened_from_last_to_first_and_all_closed(peer_here):
    order = []
    peers = [peer_here("a"), peer_here("b", in_our_group=True)]
    for peer in peers:
        peer.open = lambda workers, key=peer.key: order.append((key, signal.getsignal(signal.SIGINT)))

    with opened(peers, 2, lambda peer, reason: pytest.fail(reason)) as ready:
        assert ready == peers

    assert order == [("b", signal.SIG_IGN), ("a", signal.default_int_handler)]
    assert [peer.closed for peer in peers] == [1, 1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "left out, not installed (no absent)"),
        ("present.part", "left out, cannot be opened (ModuleNotFoundError: no present.part)"),
    ],
)
def test_a_peer_that_cannot_be_opened_is_left_out(peer_here, name, reason):
    peers = [peer_here("bad", fail_open=ModuleNotFoundError(f"no {name}", name=name)), peer_here("good")]
    remarks = {}

    with opened(peers, 2, lambda peer, text: remarks.update({peer.key: text})) as ready:
        assert [peer.key for peer in ready] == ["good"]

    assert remarks == {"bad": reason}


def test_a_peer_that_cannot_be_closed_keeps_no_other_from_being_closed(peer_here):
    peers = [peer_here("a"), peer_here("stuck")]
    peers[1].close = lambda: 1 / 0
    remarks = []

    with opened(peers, 2, lambda peer, text: remarks.append((peer.key, text))):
        pass

    assert remarks == [("stuck", "cannot be closed (ZeroDivisionError: division by zero)")]
    assert peers[0].closed == 1


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs SIGALRM")
def test_a_peer_that_hangs_is_given_up():
    with pytest.raises(HangError, match=r"did not answer in 0\.01 s"), deadline(0.01):
        threading.Event().wait()

    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_interrupt_while_opening_closes_what_is_open(peer_here):
    peers = [peer_here("never"), peer_here("interrupted", fail_open=KeyboardInterrupt()), peer_here("open")]

    with pytest.raises(KeyboardInterrupt), opened(peers, 2, lambda peer, reason: None):
        pytest.fail("not reached")

    assert [(peer.opened, peer.closed) for peer in peers] == [(0, 0), (1, 1), (1, 1)]


@pytest.mark.parametrize(
    ("items", "workers", "chunk"), [(1_000_000, 2, 125_000), (40, 4, 3), (1, 4, 1), (0, 2, 1)]
)
def test_static_chunks_are_those_of_the_standard_pool(items, workers, chunk):
    assert static_chunk(items, workers) == chunk


def test_functions_give_their_items_back():
    for workload in WORKLOADS:
        assert workload.function(39) == 39


def test_ideal_times():
    ideal = {workload.key: workload.ideal(100, 2) for workload in WORKLOADS}

    assert ideal == {
        "noop": None,
        "single": None,
        "submit": None,
        "busy": pytest.approx(0.05),
        "sleep": 0.5,
        "skewed": 0.3,
        "small": None,
    }
