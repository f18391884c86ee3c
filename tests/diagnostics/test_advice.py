"""`nbpar.advise`: its arithmetic by numbers, its measurements by functions whose answer is known."""

import hashlib
import threading
import time

import pytest

import nbpar
from nbpar.diagnostics.advice import Advice, _try_threads, advise
from nbpar.diagnostics.gil import gil_share
from nbpar.diagnostics.suitability import Measurements

BLOCK = bytes(1 << 20)


def figures(**known):
    usual = {
        "seconds": 0.01, "busy": 1.0, "gil": 1.0, "item_bytes": 10, "result_bytes": 10, "packing": 1e-5,
        "tried": 1.0, "items": 1000, "workers": 4, "cpus": 4,
    }  # fmt: skip
    return Measurements(**{**usual, **known})


def python(n):
    return sum(k * k for k in range(5000 + n))


def digest(n):
    return hashlib.sha256(BLOCK).hexdigest()


def wait(n):
    time.sleep(0.005)


def over(fn, seconds=0.3):
    def work():
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            fn(0)

    return work


# ---- what follows from the figures


def test_engines_suit_what_holds_the_gil():
    known = figures()

    assert known.backend == "engines"
    assert known.threads == pytest.approx(1, abs=0.01)
    assert known.engines == pytest.approx(4, abs=0.1)


def test_threads_suit_what_releases_the_gil():
    assert figures(gil=0.0).backend == "threads"


def test_what_holds_the_gil_for_a_part_follows_amdahls_law():
    assert figures(gil=0.5).threads == pytest.approx(2, abs=0.01)


def test_waiting_needs_no_cpu():
    known = figures(busy=0.0, gil=0.0, workers=16, cpus=1)

    assert known.backend == "threads"
    assert known.threads == pytest.approx(16, abs=0.1)


def test_one_cpu_cannot_do_two_things():
    known = figures(workers=4, cpus=1)

    assert known.backend == "serial"
    assert "one CPU" in Advice("f", known).reason()


def test_items_that_cost_more_to_send_than_to_compute_stay_here():
    known = figures(seconds=1e-5, packing=1e-4)

    assert known.backend == "serial"
    assert known.engines < 1


def test_large_items_take_their_time_on_the_way():
    assert figures(gil=1.0, packing=1e-3, item_bytes=9e6).engines < figures(gil=1.0, packing=1e-3).engines / 2


def test_little_work_stays_here():
    known = figures(items=3)

    assert known.backend == "serial"
    assert "all of it takes 30 ms" in Advice("f", known).reason()


def test_without_a_gil_threads_are_recommended():
    known = figures(gil=0.0, free_threaded=True)

    assert known.backend == "threads"
    assert "no GIL" in Advice("f", known).reason()


def test_chunks_have_fifty_milliseconds():
    assert figures(seconds=0.001).chunksize == 50
    assert figures(seconds=1).chunksize == 1


def test_no_chunk_is_larger_than_what_there_is_for_a_worker():
    assert figures(seconds=0.0004, items=50, workers=4).chunksize == 13
    assert figures(seconds=0.0004, items=2, workers=4).chunksize == 1
    assert figures(seconds=0.0004, items=None).chunksize == 125


# ---- what is measured


@pytest.mark.parametrize(("fn", "low", "high"), [(python, 0.6, 1.0), (digest, 0.0, 0.4), (wait, 0.0, 0.4)])
def test_the_share_of_time_that_holds_the_gil_is_seen(fn, low, high):
    shares = sorted(gil_share(over(fn)) for _ in range(3))

    assert low <= shares[1] <= high


def test_advice_has_figures_and_is_a_table():
    advice = advise(wait, range(100), workers=3)

    assert advice.figures.items == 100
    assert 0.0045 < advice.figures.seconds < 0.1  # 0.005, and what a busy machine adds
    assert advice.figures.busy < 0.5
    assert advice.backend == "threads"
    assert repr(advice).startswith("wait: threads, because it mostly waits")
    assert "<th" in advice._repr_html_()


def test_items_that_grow_do_not_make_threads_look_better():
    """Each of two threads that take turns gets through the first ones only, which are short."""
    turn = threading.Lock()

    def grow(n):
        with turn:
            time.sleep(1e-4 * n * n)

    assert _try_threads(grow, range(32), 2) < 1.3


def test_what_cannot_be_pickled_cannot_use_engines():
    lock = __import__("threading").Lock()

    advice = nbpar.advise(lambda n: lock.locked(), range(10))

    assert advice.figures.engines == 0
    assert "the function cannot be pickled" in repr(advice)


def test_an_error_appears_at_once():
    with pytest.raises(ZeroDivisionError):
        advise(lambda n: 1 / n, [0, 1])


def test_there_has_to_be_an_item():
    with pytest.raises(ValueError, match="at least one item"):
        advise(wait, [])


def test_an_endless_input_will_do():
    from itertools import count

    assert advise(lambda n: n, count()).figures.items is None
