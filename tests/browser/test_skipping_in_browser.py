"""One item is let go by the button of its lane, while its run goes on."""

import pytest
from test_accessible_in_browser import barriers

SETUP = """\
import nbpar
from nbpar.testing import Gate
gate = Gate()
pool = nbpar.Pool(2, backend=BACKEND, progress="none")
def wait(n):
    if n in (1, 4):
        gate.wait(300)
    return n"""
CELL = "found = pool.map(wait, range(8), chunksize=1, label='wait', progress='widget')"


@pytest.fixture(params=["engines", "threads"])
def backend(request):
    return request.param


def test_an_item_is_skipped_by_click_and_by_key_and_the_run_ends(open_notebook, front_end, backend):
    cells = [CELL, "print(found[:1], found[1].skipped, type(found[4].exception).__name__, found[5:])"]
    notebook = open_notebook(*cells, front_end=front_end, setup=f"BACKEND = {backend!r}\n{SETUP}")
    notebook.run(1)
    card = notebook.card()
    cross = card.get_by_role("button", name="Skip item 4")
    cross.wait_for()
    assert card.get_by_role("button", name="Skip").count() == 2
    found = (
        barriers(notebook, ".nbpar-card") if front_end == "lab" else []
    )  # others have headings of their own
    notebook.shoot_both(f"skip-{backend}-{front_end}", card)

    cross.focus()
    notebook.page.keyboard.press("Enter")
    notebook.wait_until("skipped", "^1 skipped$")
    said = notebook.page.locator("#nbpar-live").text_content()
    notebook.press("Skip item 1")
    notebook.wait_finished(1)

    assert "wait: 6 of 8 done, 2 skipped: item 1 (1); item 4 (4)" in notebook.text(1)
    assert notebook.result_of(2) == "[0] True SkippedError [5, 6, 7]\n"
    assert said.startswith("wait: ")
    assert found == []


def test_the_button_is_in_reach_in_a_narrow_place(open_notebook):
    notebook = open_notebook(CELL, setup=f"BACKEND = 'engines'\n{SETUP}")
    notebook.page.set_viewport_size({"width": 320, "height": 860})
    notebook.run(1)
    card = notebook.card()
    crosses = card.get_by_role("button", name="Skip")
    crosses.nth(1).wait_for()

    edge = card.bounding_box()
    for cross in crosses.all():
        box = cross.bounding_box()
        assert edge["x"] <= box["x"]
        assert box["x"] + box["width"] <= edge["x"] + edge["width"]
        assert min(box["width"], box["height"]) >= 24
        assert abs(box["y"] - cross.locator("xpath=../..").locator(".nbpar-now").bounding_box()["y"]) < 4
    notebook.shoot("skip-narrow", card)
    notebook.press("Skip item 1")
    notebook.press("Skip item 4")
    notebook.wait_finished(1)
