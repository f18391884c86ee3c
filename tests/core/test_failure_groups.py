"""Failures grouped by type and line."""

import pytest

from nbpar.core.outcome import GROUPS, OTHERS, Failure, FailureGroups, line_of
from nbpar.core.stages import StageFailure

TIMES = "\u00d7"
CELL = """\
Traceback (most recent call last):
  File "<ipython-input-3>", line 4, in body
  File "<ipython-input-3>", line 9, in words
  File "/usr/lib/json/decoder.py", line 353, in raw_decode
json.decoder.JSONDecodeError: Expecting value
"""
CHAINED = f"""\
Traceback (most recent call last):
  File "<ipython-input-3>", line 7, in body
KeyError: 1

During handling of the above exception, another exception occurred:

{CELL}"""


def _groups(*failures):
    groups = FailureGroups()
    for failure in failures:
        groups.add(failure)
    return groups.known()


@pytest.mark.parametrize(("traceback", "line"), [(CELL, 9), (CHAINED, 9), ("", 0), ("Traceback ...", 0)])
def test_the_line_of_a_failure_is_the_innermost_one_of_what_the_user_wrote(traceback, line):
    assert line_of(traceback) == line


def test_failures_of_one_type_and_line_are_one_group_with_the_first_of_them():
    failures = [Failure(index, index, ValueError(index), CELL) for index in (5, 3, 8)]
    other = Failure(1, 1, KeyError(1), CELL)

    first, second = _groups(other, *failures)

    assert (str(first), first.example.index) == (f"3 {TIMES} ValueError at line 9", 3)
    assert (str(second), second.example) == (f"1 {TIMES} KeyError at line 9", other)


def test_in_a_pipeline_the_stage_counts_too():
    groups = _groups(
        StageFailure(1, 1, ValueError(), stage="cut"), StageFailure(2, 2, ValueError(), stage="tag")
    )

    assert [str(group) for group in groups] == [
        f"1 {TIMES} ValueError in cut",
        f"1 {TIMES} ValueError in tag",
    ]


def test_there_are_never_more_groups_than_can_be_kept():
    kinds = [type(f"Error{number}", (Exception,), {}) for number in range(3 * GROUPS)]

    groups = _groups(*(Failure(index, index, kind()) for index, kind in enumerate(kinds)))

    assert len(groups) == GROUPS + 1
    assert (groups[0].error, groups[0].number) == (OTHERS, 2 * GROUPS)
