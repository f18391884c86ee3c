"""The README's Python blocks run from top to bottom and print what the README shows."""

from pathlib import Path

import pytest

from examples import examples, links, notebook_shell, shown_and_said

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def shell(tmp_path):
    with notebook_shell(tmp_path) as shell:
        yield shell


def test_the_readme_has_examples():
    assert len(examples(README)) > 8


@pytest.mark.engines
def test_examples_show_what_the_readme_says(shell):
    shown, said = shown_and_said(shell, README)

    assert shown == said


@pytest.mark.parametrize("target", links(README))
def test_links_of_the_readme_lead_somewhere(target):
    assert (README.parent / target).exists()
