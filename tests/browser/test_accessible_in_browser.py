"""axe-core finds no barriers in nbpar's displays; the tests of keys cover what it cannot find."""

import sys
from pathlib import Path

import pytest

AXE = Path(sys.prefix) / "node_modules" / "axe-core" / "axe.min.js"
FOUND = """async selector => {
  const { violations } = await axe.run({ include: [[selector]] }, { resultTypes: ["violations"] });
  return violations.map(one => `${one.id} (${one.impact}): ${one.nodes.map(node => node.html).join(" | ")}`);
}"""
POOL = """\
import time, nbpar
%load_ext nbpar
pool = nbpar.Pool(2, backend="threads", progress="none")
def wait(x):
    time.sleep(0.01)
    if x % 20 == 3:
        raise ValueError(f"no words in {x}")
    return x
_ = pool.map(wait, range(60), errors="collect", label="wait")
pipeline = nbpar.Pipeline([nbpar.Stage(abs), nbpar.Stage(wait)], pool=pool)"""


@pytest.mark.parametrize(
    ("play", "part", "says"),
    [
        ("play(total=10**6, fails=[20, 30])", "fact", "moved"),
        ("play(total=10**6, low=True)", "state", "held back"),
        ("play(total=10**6, mean=0.1, fails=range(10**4))", "hint", "Every item fails"),
        ("play(total=10**7, workers=64, chunk=500)", "hint", "64 workers, one line each"),
    ],
)
def test_a_card_has_no_barriers(open_notebook, play, part, says):
    notebook = open_notebook(play)
    notebook.run(1)
    card = notebook.card()
    notebook.wait_until(part, says)
    open_all(card)

    found = barriers(notebook, ".nbpar-card")

    notebook.choose_theme("Dark")
    found += barriers(notebook, ".nbpar-card")
    notebook.press("Stop")
    notebook.wait_finished(1)
    assert found == []


def test_a_pipeline_s_card_has_no_barriers(open_notebook):
    cell = "pipeline.map(range(10**5), errors='skip', progress='auto')"
    notebook = open_notebook(cell, setup=POOL)
    notebook.run(1)
    card = notebook.card()
    notebook.wait_until("table", "failed")
    open_all(card)

    found = barriers(notebook, ".nbpar-card")

    notebook.press("Stop")
    notebook.wait_finished(1)
    assert found == []


@pytest.mark.parametrize(
    "cell",
    [
        "pool.map(wait, range(60), errors='collect', progress='widget')",
        "pool.map(wait, range(1000), errors='collect', progress='widget'); None",
        "nbpar.last_run.report",
        "_ = pipeline.map(range(60), errors='skip', progress='none'); nbpar.last_run.report",
        "%nbpar start 1\n%nbpar",
        "%nbpar runs",
        "%nbpar doctor",
        "nbpar.advise(wait, [1, 2, 4, 5, 6] * 20)",
    ],
)
def test_what_is_left_in_a_notebook_has_no_barriers(open_notebook, cell):
    notebook = open_notebook(cell, setup=POOL)
    notebook.result_of(1)
    shown = notebook.shown(1)
    open_all(shown)

    found = barriers(notebook, ".jp-Notebook-cell:nth-of-type(2) .jp-OutputArea")

    assert shown.text_content()
    assert found == []


def open_all(place):
    """Open whatever can be opened."""
    place.locator("details").evaluate_all("all => all.forEach(one => (one.open = true))")


def barriers(notebook, selector):
    """Return what axe-core finds in a part of the page."""
    assert AXE.exists(), "the tests need axe-core: `nox -s for-browser` brings it"
    notebook.page.locator(selector).first.wait_for()
    if not notebook.page.evaluate("() => Boolean(window.axe)"):
        notebook.page.evaluate(AXE.read_text())
    return notebook.page.evaluate(FOUND, selector)
