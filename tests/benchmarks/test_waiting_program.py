"""The program that measures items that wait."""

import re

import pytest

from benchmarks import waiting


@pytest.mark.engines
def test_it_prints_all_ways_and_what_waiting_costs(capsys):
    assert waiting.main(["--quick"]) == 0

    text = capsys.readouterr().out
    assert re.search(r"asyncio, semaphore .*/s +1\.00", text)
    assert re.search(r"nbpar, one engine .*/s +\d+\.\d\d +\d+ us +\d+\.\d\d", text)
    assert re.search(r"one engine +-?\d+\.\d MB +\d+\.\d% +\d+ ms", text)


@pytest.mark.parametrize("library", ["aiometer", "fastcore"])
def test_libraries_take_part_if_they_are_installed(monkeypatch, library):
    monkeypatch.setattr(waiting, "find_spec", lambda name: name == library or None)

    assert [name.partition(".")[0] for name in waiting.peers(0, 10, 2)] == [library]


def test_a_wrong_answer_is_noticed():
    waiting.check([0, 1, 2], 3)
    with pytest.raises(AssertionError, match="in order"):
        waiting.check([0, 2, 1], 3)
