"""Equal values have equal digests in every process, different values do not."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import functools
import io
import operator
import re
import subprocess
import sys
import threading

import pytest

from nbpar.journal.digest import NoDigestError, digest_of
from nbpar.journal.keys import Keys

VALUES = [
    None, True, 1, 1.0, "1", b"1", 0.0, -0.0, 1j, ..., (), [], {}, set(), frozenset(), (1,), [1], {1}, {1: 1},
    [[1]], [(1,)], ("a", "b"), ("ab",), {"a": 1, "b": 2}, {"b": 2, "a": 1}, range(3), range(4),
    bytearray(b"1"), dt.date(2020, 1, 1), dt.date(2020, 1, 2), decimal.Decimal(1), re.compile("a"),
    re.compile("b"), len, abs, str, int, str.upper, operator.itemgetter(1), operator.itemgetter(2),
    functools.partial(int, base=2), collections.Counter("ab"), collections.deque([1]),
    collections.OrderedDict(a=1), io, sys, ValueError("a"),
]  # fmt: skip


def test_different_values_have_different_digests():
    digests = [digest_of(value) for value in VALUES]

    assert len(set(digests)) == len(VALUES)


def test_a_set_has_one_digest_in_every_process():
    program = """
from nbpar.journal.digest import digest_of
words = {"a", "b", "c", "d", ("e", "f")}
print(digest_of([words, {"k": frozenset(words)}, lambda x: x in {"a", "b", "c"}]).hex())
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip

    assert len(digests) == 1


def test_which_parts_are_one_object_does_not_matter():
    one, other = "".join(["a", "b"]), "".join(["a", "b"])

    assert digest_of([one, one, (1, [2])]) == digest_of([one, other, (1, [2])])
    pair = [[]]
    assert digest_of([pair, pair]) == digest_of([[[]], [[]]])


def test_what_leads_back_to_itself_has_a_digest():
    def ring(value):
        circle = [value]
        circle.append(circle)
        return circle

    assert digest_of(ring(1)) == digest_of(ring(1)) != digest_of(ring(2))


def test_arrays_count_by_type_shape_and_content():
    import numpy as np

    arrays = [
        np.arange(6), np.arange(6.0), np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2),
        np.arange(6)[::-1], np.array(5), np.int64(5), np.float64(5), np.array([], "f4"),
        np.array(["a", None], object), np.array(["2020"], "M8[D]"), np.zeros(2, [("a", "i4")]),
        np.ma.masked_array([1, 2], [True, False]), np.dtype("f4"),
    ]  # fmt: skip

    digests = [digest_of(array) for array in arrays]

    assert len(set(digests)) == len(arrays)
    assert digest_of(np.arange(12)[::2]) == digest_of(np.arange(0, 12, 2))


def test_locks_and_files_have_no_value(tmp_path):
    with (tmp_path / "a").open("w") as one, (tmp_path / "b").open("w") as other:
        assert digest_of(one) == digest_of(other)
    assert digest_of(threading.Event()) == digest_of(threading.Event())


def test_what_cannot_be_taken_apart_has_no_digest():
    with pytest.raises(NoDigestError, match="generator"):
        digest_of([1, (x for x in "ab")])


def test_a_deep_value_has_no_digest():
    value = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(NoDigestError, match="too deeply"):
        digest_of(value)
    while value:
        value = value.pop()  # so that its end needs no deep stack


def test_keys_count_equal_items():
    keys = Keys(by_index=False)

    first = keys.of(["a", "b", "a", "a"])

    assert len(set(first)) == 4
    assert Keys(by_index=False).of(["b", "a"]) == [first[1], first[0]]


def test_keys_by_index_tell_equal_items_apart_by_their_place():
    assert Keys(by_index=True).of("ab") != Keys(by_index=True).of("ba")
    assert Keys(by_index=True).of("ab") == Keys(by_index=True).of("ab")
