"""The pages of the documentation whose examples need Matplotlib, Pillow, papermill, polars or pyarrow."""

from pathlib import Path

import pytest

from examples import OF_MORE_LIBRARIES, examples, notebook_shell, shown_and_said

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with notebook_shell(tmp_path / "ipython") as shell:
        yield shell


@pytest.mark.engines
@pytest.mark.parametrize("name", OF_MORE_LIBRARIES)
def test_examples_show_what_the_page_says(shell, name):
    shown, said = shown_and_said(shell, DOCS / name)

    assert examples(DOCS / name)
    assert shown == said
