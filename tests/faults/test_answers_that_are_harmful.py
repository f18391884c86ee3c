"""Faults: an engine sends invalid or too large messages; nothing waits for it for ever."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

pytestmark = pytest.mark.engines


def garble_once(how):
    """Return what makes the next thing that its engine says no message."""

    def garble():
        from nbpar.worker.mail import transports as sockets

        real = sockets.encode

        def once(messages):
            sockets.encode = real
            return real([]) if how == "nothing" else [how.encode()]

        sockets.encode = once

    return garble


@pytest.mark.parametrize("how", ["nonsense", "", "nothing"])
def test_an_item_whose_answer_is_garbled_costs_itself_alone(pool, how):
    garble = garble_once(how)
    others = pool.map_async(abs, range(-20, 0), chunksize=1)

    results = pool.map(lambda n: garble() if n == 2 else n, range(5), errors="collect", chunksize=1)

    assert [failure.index for failure in results.failures] == [2]
    assert "it said what could not be understood" in str(results[2].exception)
    assert [result for place, result in enumerate(results) if place != 2] == [0, 1, 3, 4]
    assert others.get(timeout=60) == list(range(20, 0, -1))


def test_an_item_whose_answer_is_garbled_once_is_done_again(pool, tmp_path):
    garble, mark = garble_once("nonsense"), tmp_path / "garbled"

    def sometimes(n):
        if n == 2 and not mark.exists():
            mark.touch()
            garble()
        return n

    assert pool.map(sometimes, range(5), chunksize=1) == list(range(5))


PROGRAM = """
import resource, sys, psutil, nbpar

if __name__ == "__main__":
    pool = nbpar.Pool(2, path=sys.argv[1], progress="none").wait()
    pool.map(abs, [1])
    room = psutil.Process().memory_info().vms + (200 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
    results = pool.map(lambda n: b"x" * (400 << 20) if n == 3 else n, range(6), errors="collect", chunksize=1)
    print([result if isinstance(result, int) else "failed" for result in results])
    print(results.failures[-1].exception)
    print(pool.map(abs, [-1, -2]), pool.broken, pool.closed)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_AS"), reason="this system does not limit memory")
def test_a_result_too_large_for_this_process_costs_the_items_of_its_answer(path, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    done = subprocess.run(
        [sys.executable, program, path], capture_output=True, text=True, timeout=240, check=False
    )

    results, why, after = done.stdout.splitlines()
    assert "'failed'" in results
    assert ("not enough memory for it here" in why) or ("killed its worker when it was tried again" in why)
    assert after == "[1, 2] False False"
