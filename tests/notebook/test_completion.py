"""Options are completed where an option may be written, and nowhere else."""

from __future__ import annotations

import pytest

from nbpar.notebook.completion import option_matcher, proposals
from nbpar.notebook.options import TAKES_VALUE


@pytest.mark.parametrize(
    ("before", "token", "expected"),
    [
        ("%%parallel_map ", "", list(TAKES_VALUE)),
        ("%%parallel_map --re", "--re", ["--retries", "--resume"]),
        ("%%parallel_map -n 4 --back", "--back", ["--backend", "--background"]),
        ("%%parallel_map --unordered --un", "--un", []),
        ("%%parallel_map --errors ", "", ["raise", "collect", "skip"]),
        ("%%parallel_map --errors co", "co", ["collect"]),
        ("%%parallel_map --errors=co", "co", ["collect"]),
        ("%%parallel_map --label ", "", []),
        ("%%parallel_map x in -", "-", None),
        ("%%parallel_map x", "x", None),
        ("%%parallel_map", "%%parallel_map", None),
        ("%%timeit --re", "--re", None),
        ("%nbpar ", "", ["start", "stop"]),
        ("%nbpar sta", "sta", ["start"]),
        ("%nbpar start 4", "4", None),
        ("x = 1", "1", None),
    ],
)
def test_proposals(before, token, expected):
    assert proposals(before, token, ["start", "stop"]) == expected


@pytest.fixture
def complete(shell):
    """Ask the shell's completer at the end of a line."""
    if option_matcher([]) is None:
        pytest.skip("IPython before 8.6 has no matchers with a context")
    from IPython.core.completer import provisionalcompleter

    def complete_line(line):
        with provisionalcompleter():
            return [found.text for found in shell.Completer.completions(f"{line} x in xs\nx", len(line))]

    return complete_line


def test_the_completer_of_the_shell_proposes_exactly_the_options(complete):
    assert sorted(complete("%%parallel_map --re")) == ["--resume", "--retries"]
    assert sorted(complete("%%parallel_map --errors c")) == ["collect"]


def test_names_of_the_notebook_are_still_proposed_where_the_loop_may_start(complete):
    found = complete("%%parallel_map ")

    assert set(TAKES_VALUE) <= set(found)
    assert len(found) > len(TAKES_VALUE)
