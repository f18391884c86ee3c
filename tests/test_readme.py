"""The README's Python runs as it stands there, top to bottom, and shows what the README says it shows.

A block of text right after a block of Python is what that prints, or the end of what it raises.
"""

import contextlib
import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from nbpar import defaults

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def shell(tmp_path):
    """A notebook's shell; what it starts ends with it."""
    config = Config(HistoryManager={"enabled": False})
    shell = InteractiveShell.instance(config=config, ipython_dir=str(tmp_path))
    yield shell
    shell.run_line_magic("unload_ext", "nbpar")
    defaults.close_default_pools()
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()


def examples():
    """Each block of Python with its line in the README, and the text that follows it."""
    readme = README.read_text("utf-8")
    found, end = [], 0
    for block in BLOCK.finditer(readme):
        follows = readme[end : block.start()].isspace()
        if block["language"] == "python":
            line = readme[: block.start()].count("\n") + 2
            found.append(SimpleNamespace(line=line, source=block["text"], text=""))
        elif block["language"] == "text" and found and follows:
            found[-1].text = block["text"]
        end = block.end()
    return found


def shown_by(shell, source):
    """What a cell prints, or its error as tracebacks end."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = shell.run_cell(source)
    error = result.error_before_exec or result.error_in_exec
    if error is None:
        return printed.getvalue()
    return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ()), ""])


def comparable(text):
    """The text, whichever worker it was."""
    return re.sub(r"\bengine \d+", "engine N", text)


def test_the_readme_has_examples():
    assert len(examples()) > 8


@pytest.mark.engines
def test_examples_show_what_the_readme_says(shell):
    shown = [(example.line, comparable(shown_by(shell, example.source))) for example in examples()]

    assert shown == [(example.line, comparable(example.text)) for example in examples()]


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text("utf-8"))))
)
def test_links_of_the_readme_lead_somewhere(target):
    assert (README.parent / target).exists()
