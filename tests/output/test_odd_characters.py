"""Text that a stream cannot encode, and streams that items close: no map fails because of them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings

import pytest

import nbpar

ODD = "caf\udce9 \ud800 \u4e2d"
"""As `os.listdir` names a file with odd bytes, and worse."""

ESCAPED = "caf\\udce9 \\ud800 \u4e2d"


def say(n):
    print(ODD)
    print(ODD, file=sys.stderr)
    logging.getLogger("odd").warning(ODD)
    warnings.warn(ODD, stacklevel=1)
    return n


SCRIPT = """
import sys, nbpar

def say(n):
    print("caf\\udce9 \\ud800 \\u4e2d")
    print("caf\\udce9 \\ud800 \\u4e2d", file=sys.stderr)
    return n

if __name__ == "__main__":
    for options in ({}, {"path": "controller"}, {"backend": "threads"}, {"backend": "serial"}):
        with nbpar.Pool(1, **options) as pool:
            assert pool.map(say, range(3), errors="collect", progress="none") == [0, 1, 2]
"""


@pytest.mark.engines
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_what_a_stream_cannot_encode_is_escaped(tmp_path, encoding):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    done = subprocess.run(
        [sys.executable, script], env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"},
        capture_output=True, timeout=100, check=False,
    )  # fmt: skip

    expected = ESCAPED.encode(encoding, "backslashreplace")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(expected) == 4 * 3
    assert done.stderr.count(expected) == 4 * 3


@pytest.mark.filterwarnings("ignore:caf")
def test_what_is_kept_of_output_and_errors_can_be_encoded(pool):
    def fail(n):
        say(n)
        raise ValueError(ODD)

    [failure] = pool.map(fail, [0], errors="collect", progress="none")

    assert ESCAPED in failure.output
    for text in (failure.output, failure.traceback, str(pool.map_async(say, [1]).output)):
        text.encode()


@pytest.mark.parametrize("close", ["sys.stdout.close()", "sys.stderr.close()"])
def test_an_item_that_closes_a_stream_costs_no_other_item_its_output(pool, close):
    def item(n):
        if n == 3:
            exec(close, {"sys": sys})
        print("item", n)
        return n

    for _ in range(2):
        run = pool.map_async(item, range(8))

        assert run.get(timeout=60) == list(range(8))
        assert all(run.output.of(n) == f"item {n}\n" for n in range(8))


def _closes(_):
    os.close(1)
    os.close(2)


def _leads_away(_):
    away = os.open(os.devnull, os.O_WRONLY)
    os.dup2(away, 1)
    os.close(away)


@pytest.mark.engines
@pytest.mark.parametrize("path", ["auto", "controller"])
@pytest.mark.parametrize("harm", [_closes, _leads_away])
def test_descriptors_that_an_item_has_spoiled_are_there_again_for_the_next(path, harm):
    def item(n):
        if n == 1:
            harm(n)
        os.system(f"echo child {n}")

    with nbpar.Pool(1, path=path, progress="none") as pool:
        for _ in range(2):
            run = pool.map_async(item, range(3), chunksize=1)
            run.get(timeout=60)

            assert [run.output.of(n) for n in (0, 2)] == ["child 0\n", "child 2\n"]
