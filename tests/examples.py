"""Run the Python blocks of a text like a notebook, and compare their output.

In a text, a block of `python` is a cell that runs; a block of `text` right after it is what that cell
prints, or the end of what it raises.  A block of `py` is shown and never run: it belongs to another
library, or to a cluster that is not here.
"""

import atexit
import contextlib
import io
import re
from types import SimpleNamespace

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from nbpar.pool import defaults

BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LOADED = re.compile(r"The nbpar extension is already loaded.*\n.*\n")
OF_MORE_LIBRARIES = (
    "gallery/figures.md", "gallery/files.md", "gallery/images.md", "gallery/notebooks.md", "gallery/polars.md"
)  # fmt: skip
"""Pages of the documentation that need libraries which `tests/originals` has, and `.venv` has not."""

LINK = re.compile(r"\]\((?!http)([^)#\s]+)(?:#[^)]*)?\)")


@contextlib.contextmanager
def notebook_shell(folder):
    """A notebook's shell; what it starts ends with it."""
    config = Config(HistoryManager={"enabled": False})
    shell = InteractiveShell.instance(config=config, ipython_dir=str(folder))
    try:
        yield shell
    finally:
        shell.run_line_magic("unload_ext", "nbpar")
        defaults.close_default_pools()
        shell.restore_sys_module_state()
        atexit.unregister(shell.atexit_operations)  # it would keep the shell, and collect garbage at the end
        InteractiveShell.clear_instance()


def examples(page, language="python"):
    """Each block of Python with its line in the page, and the text that follows it."""
    text = page.read_text("utf-8")
    found, last, end = [], None, 0
    for block in BLOCK.finditer(text):
        follows = text[end : block.start()].isspace()
        if block["language"] == language:
            line = text[: block.start()].count("\n") + 2
            last = SimpleNamespace(line=line, source=block["text"], text="")
            found.append(last)
        else:
            if block["language"] == "text" and last is not None and follows:
                last.text = block["text"]
            last = None
        end = block.end()
    return found


def links(page):
    """The page's links to other pages and files."""
    return sorted(set(LINK.findall(page.read_text("utf-8"))))


def shown_and_said(shell, page, language="python"):
    """Run a page from top to bottom: what each example shows, and what the page says that it shows."""
    cells = examples(page, language)
    shown = [(cell.line, comparable(shown_by(shell, cell.source))) for cell in cells]
    return shown, [(cell.line, comparable(cell.text)) for cell in cells]


def shown_by(shell, source):
    """The printed output of a cell, or the last lines of its traceback."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = shell.run_cell(source)
    error = result.error_before_exec or result.error_in_exec
    if error is None:
        return printed.getvalue()
    return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ()), ""])


def comparable(text):
    """The text, whichever worker it was, and whatever ran before in the same shell."""
    return re.sub(r"\bengine \d+", "engine N", LOADED.sub("", text))
