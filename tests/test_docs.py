"""The Python blocks of the documentation run as they are and print what the pages show.

All pages share one shell, emptied between them, and so one pool of engines.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from examples import OF_MORE_LIBRARIES, examples, links, notebook_shell, shown_and_said

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def name_of(page):
    return page.relative_to(DOCS).as_posix()


WITH_EXAMPLES = [page for page in PAGES if examples(page) and name_of(page) not in OF_MORE_LIBRARIES]


@pytest.fixture(scope="module")
def shared_shell(tmp_path_factory):
    with notebook_shell(tmp_path_factory.mktemp("ipython")) as shell:
        yield shell


@pytest.fixture
def shell(shared_shell, tmp_path, monkeypatch):
    """The shell without what the page before has defined; journals and files go to a folder of the page."""
    monkeypatch.setenv("NBPAR_JOURNALS", str(tmp_path / "journals"))
    monkeypatch.chdir(tmp_path)
    shared_shell.reset(new_session=False)
    return shared_shell


def test_most_pages_have_examples():
    assert len(WITH_EXAMPLES) > len(PAGES) / 2


@pytest.mark.engines
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name_of)
def test_examples_show_what_the_page_says(shell, page):
    shown, said = shown_and_said(shell, page)

    assert shown == said


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page, "py")], ids=name_of)
def test_examples_that_do_not_run_are_python(page):
    for block in examples(page, "py"):
        source = TransformerManager().transform_cell(block.source)

        compile(source, f"{page}:{block.line}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_of_a_page_lead_somewhere(page):
    broken = [target for target in links(page) if not (page.parent / target).exists()]

    assert broken == []


def test_every_page_is_in_the_table_of_contents():
    named = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)

    assert sorted(named) == [name_of(page) for page in PAGES]


# ---- troubleshooting

TROUBLE = DOCS / "troubleshooting.md"
TELLING = 11
"""Characters that make a text of the code recognizable in a message."""


@cache
def texts_in_the_code():
    """Every piece of text in nbpar's source."""
    trees = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "nbpar").rglob("*.py")]
    constants = (node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {text.strip() for text in constants if isinstance(text, str)}


def messages():
    """The messages in the first column of the page's tables."""
    cells = re.findall(r"^\| (`.*?) \| ", TROUBLE.read_text("utf-8"), re.MULTILINE)
    spans = [span for cell in cells for _, span in re.findall(r"(?<!`)(`{1,3})(?!`)(.+?)(?<!`)\1(?!`)", cell)]
    return sorted({span.strip() for span in spans})


@pytest.mark.parametrize("message", messages())
def test_a_message_in_troubleshooting_is_one_that_the_code_has(message):
    pieces = [piece.strip() for piece in message.split("…") if len(piece) > TELLING // 2]

    in_message = [text for text in texts_in_the_code() if len(text) >= TELLING and text in message]
    of_message = [text for text in texts_in_the_code() if any(piece in text for piece in pieces)]

    assert in_message or of_message
