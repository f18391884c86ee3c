"""Unions: the same items to every branch, results in the order of the branches."""

import itertools

import numpy as np
import pytest

import nbpar


def words(text):
    return len(text.split())


def letters(text):
    return np.array([len(text), text.count("a")])


TEXTS = ["a b", "banana", "", "x y z"]


def test_arrays_are_put_together_along_the_outer_axis(pool, union):
    got = union([words, letters], pool=pool, batch_size=2).map(TEXTS, progress="none")

    assert [list(vector) for vector in got] == [[2, 3, 1], [1, 6, 3], [0, 0, 0], [3, 5, 0]]


def test_results_can_be_tuples_dicts_or_what_a_function_makes(pool, union):
    assert union([len, words], join="zip", pool=pool).map(TEXTS, progress="none")[0] == (3, 2)
    named = union({"n": len, "w": words}, join="dict", pool=pool)
    assert named.map(TEXTS, progress="none")[1] == {"n": 6, "w": 1}
    assert union([len, words], join="dict", pool=pool).map(["q"], progress="none") == [{"len": 1, "words": 1}]
    assert union([len, words], join=sum, pool=pool).map(TEXTS, progress="none") == [5, 7, 0, 8]


def test_pipelines_and_unions_nest(pool, opened):
    inner = opened(nbpar.Union, [len, nbpar.Pipeline([words, float])], join="zip")
    steps = opened(nbpar.Pipeline, [str.upper, nbpar.Union([inner, str.lower], join="zip"), list], pool=pool)

    assert steps.map(TEXTS, progress="none") == [[(len(t), float(len(t.split()))), t] for t in TEXTS]


def test_a_union_streams(threads, union):
    both = union([abs, lambda x: -x], join="zip", pool=threads, batch_size=3)

    got = both.imap(itertools.count(), progress="none")

    assert list(itertools.islice(got, 4)) == [(0, 0), (1, -1), (2, -2), (3, -3)]


def picky(x):
    if x in (1, 4):
        raise ValueError("no")
    return x


def choosy(x):
    if x in (4, 6):
        raise KeyError(x)
    return x


@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
def test_an_item_that_fails_in_one_branch_has_failed(pool, union, batch_size):
    got = union([picky, choosy], join="zip", pool=pool, batch_size=batch_size).map(
        range(8), errors="collect", progress="none"
    )

    failed = {n: value.stage for n, value in enumerate(got) if isinstance(value, nbpar.Failure)}
    assert failed == {1: "picky", 4: "picky", 6: "choosy"}
    assert [value for value in got if isinstance(value, tuple)] == [(n, n) for n in (0, 2, 3, 5, 7)]


def test_a_joiner_that_fails_is_named(pool, union):
    def joined(values):
        return 1 // values[0]

    got = union([int, int], join=joined, pool=pool).map([1, 0], errors="collect", progress="none")

    assert got[0] == 1
    assert (got[1].stage, type(got[1].exception)) == ("joined", ZeroDivisionError)


def test_empty_input_is_fine(pool, union):
    assert union([len, words], pool=pool).map([], progress="none") == []
