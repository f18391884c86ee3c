"""Fixtures of the tests in a browser.

`make test-browser` runs them, in an environment of their own; other runs of pytest leave this folder out.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from front_end import Notebook
from playwright.sync_api import BrowserContext, sync_playwright
from server import serve

FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SETUP = f"""\
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from plays import play, play_in_background, play_together"""

Open = Callable[..., Notebook]

AT_NIGHT = {"test_looks_in_browser.py", "test_reload_in_browser.py"}
"""Modules whose tests are run in Notebook 7 at night only: it consists of parts of JupyterLab."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave to the night what is hardly different in another front end."""
    front_end = item.callspec.params.get("front_end") if hasattr(item, "callspec") else None
    if item.path.name in AT_NIGHT and front_end == "notebook":
        item.add_marker("nightly")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a server, and its folder."""
    with serve(tmp_path_factory.mktemp("jupyter")) as site:
        yield site


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """Chromium as it is installed, with a profile of its own."""
    chromium = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    assert chromium, "the tests need Chromium (Debian: `apt-get install chromium`), or CHROMIUM=its path"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=chromium,
            chromium_sandbox=os.getuid() != 0,
            args=FLAGS,
            viewport={"width": 1200, "height": 860},
            device_scale_factor=1.5,
        )
        yield browser
        browser.close()


@pytest.fixture(params=["lab", "notebook"])
def front_end(request: pytest.FixtureRequest) -> str:
    """JupyterLab and Notebook 7 in turn."""
    return request.param


@pytest.fixture
def reopen(site: tuple[str, Path], browser: BrowserContext) -> Iterator[Open]:
    """Open a notebook that is stored; it is closed, and its kernel ended, after the test."""
    address, _ = site
    opened: list[Notebook] = []

    def reopen(file: Path, front_end: str = "lab") -> Notebook:
        opened.append(Notebook(browser.new_page(), address, file, front_end))
        return opened[-1]

    yield reopen
    for notebook in opened:
        notebook.close()


@pytest.fixture
def open_notebook(site: tuple[str, Path], reopen: Open, request: pytest.FixtureRequest) -> Open:
    """Open a new notebook with these cells, of which the first has been run."""

    def open_notebook(*cells: str, front_end: str = "lab", setup: str = SETUP) -> Notebook:
        name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
        file = site[1] / f"{name}.ipynb"
        Notebook.write(file, [setup, *cells])
        notebook = reopen(file, front_end)
        assert notebook.result_of(0) == ""
        return notebook

    return open_notebook
