"""A submitted call finds its function as it was sent; one that nothing has changed is not made again."""

from __future__ import annotations

import pytest

from nbpar.wire.pickling import pack_one, unpack_one
from nbpar.worker.function_cache import Renewed


def defined(text):
    """Define a function as a notebook does."""
    world = {"__name__": "__main__"}
    exec(text, world)
    return world["work"]


def outcomes(text, calls=3):
    """Return what calls of a function return, and how often it was made."""
    sent, made = pack_one(defined(text)), []
    renewed = Renewed(lambda: made.append(1) or unpack_one(sent))
    return [renewed.function()() for _ in range(calls)], len(made)


@pytest.mark.parametrize(
    "text",
    [
        "def work(): return 7",
        "import math\ndef work(): return math.isqrt(limit)\nlimit = 49",
        "def work(m=3): return other(m)\ndef other(n): return n + 4",
        "def outer():\n    m = 7\n    def work(): return m\n    return work\nwork = outer()",
        "def work(): return 7 if seen is None else seen\nseen = None",
    ],
)
def test_a_function_that_changes_nothing_of_its_own_is_made_once(text):
    assert outcomes(text) == ([7] * 3, 1)


@pytest.mark.parametrize(
    "text",
    [
        "def work():\n    global n\n    n += 1\n    return n\nn = 0",
        "def work():\n    globals()['n'] = globals().get('n', 0) + 1\n    return globals()['n']",
        "def work():\n    work.n = getattr(work, 'n', 0) + 1\n    return work.n",
        "def work(n=1):\n    work.__defaults__ = (n + 1,)\n    return n",
        "def work():\n    return count()\ndef count(n=1):\n    count.__defaults__ = (n + 1,)\n    return n",
        "def outer(n):\n def work():\n  nonlocal n\n  n += 1\n  return n\n return work\nwork = outer(0)",
        "def work(seen=[]):\n    seen.append(1)\n    return len(seen)",
        "def work():\n    seen.append(1)\n    return len(seen)\nseen = []",
    ],
)
def test_what_a_call_has_changed_the_next_does_not_find(text):
    assert outcomes(text) == ([1] * 3, 3)


def test_a_function_that_could_not_be_made_is_made_at_the_next_call():
    sent = pack_one(defined("def work(): return 7"))
    errors = [MemoryError("for once")]

    def make():
        if errors:
            raise errors.pop()
        return unpack_one(sent)

    renewed = Renewed(make)

    with pytest.raises(MemoryError, match="for once"):
        renewed.function()
    assert renewed.function()() == 7
