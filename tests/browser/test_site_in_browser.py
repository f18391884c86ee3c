"""The documentation's site, as `make docs` builds it: readable in both themes, and loaded from one host."""

from __future__ import annotations

import functools
import http.server
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "site"
AXE = Path(sys.prefix) / "node_modules" / "axe-core" / "axe.min.js"
PAGES = ("index.html", "guide/performance.html", "notebooks/02-the-gil.html", "notebooks/07-pipelines.html")
WIDTH = 1280

CONTRAST = """async () => {
  const options = { runOnly: ["color-contrast"], resultTypes: ["violations"] };
  const nodes = (await axe.run(document, options)).violations.flatMap(one => one.nodes);
  return nodes.map(node => `${node.html.slice(0, 160)} | ${node.any[0]?.message}`);
}"""
CUT_OFF = """() => [...document.querySelectorAll(".md-content pre")]
  .filter(block => block.querySelector(".c1, .c") && block.offsetParent)
  .filter(block => [block, ...block.querySelectorAll("code")]
    .some(part => part.scrollWidth > part.clientWidth + 1))
  .map(block => block.textContent.slice(0, 80))"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address():
    """Where the site is served."""
    assert (SITE / "index.html").exists(), "the tests need the site: `make docs` builds it"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=SITE))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["light", "dark"])
def page(request, browser):
    """A page of the browser, for who prefers this theme."""
    page = browser.new_page()
    page.set_viewport_size({"width": WIDTH, "height": 900})
    page.emulate_media(color_scheme=request.param)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    page.evaluate("localStorage.clear()")  # where the theme is kept
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_legible_whole_and_fetches_nothing_from_elsewhere(page, address, name):
    page.goto(f"{address}/{name}", wait_until="networkidle")
    page.evaluate(AXE.read_text())

    assert [url for url in page.asked if not url.startswith((address, "data:"))] == []
    assert page.locator(".cell-tag").count() == 0
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate(CONTRAST) == []
