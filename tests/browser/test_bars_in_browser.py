"""Bars inside items move in the lanes of their workers."""

from test_accessible_in_browser import barriers

SETUP = """\
import nbpar
from nbpar.testing import Gate
gates = [Gate(), Gate()]
pool = nbpar.Pool(2, progress="none")
def train(n):
    from tqdm.auto import tqdm
    for _ in tqdm(range(10), desc="epoch"):
        with tqdm(total=2000, desc="batch", leave=False, postfix="loss=0.3") as batches:
            batches.update(500)
            gates[0].wait(300)
            batches.update(1300)
            gates[1].wait(300)"""


def test_a_lane_shows_nested_bars_that_move_and_leaves_nothing_behind(open_notebook, front_end):
    cells = ["pool.map(train, range(2), label='train', progress='widget'); None", "gates[0].open()"]
    notebook = open_notebook(*cells, front_end=front_end, setup=SETUP)
    notebook.run(1)
    card = notebook.card()
    notebook.wait_until("table", r"item \d · epoch 0/10 . batch 25 %.*item \d · epoch 0/10 . batch 25 %")
    card.locator(".nbpar-timeline").focus()
    notebook.page.keyboard.press("End")
    notebook.wait_until("hint", r"engine \d · item \d .* · epoch 0 of 10 .* · batch 500 of 2,000 \(25 %\)")
    now = card.locator(".nbpar-now").first

    assert now.evaluate("one => one.scrollWidth <= one.clientWidth + 1")
    assert "25%" in now.evaluate("one => getComputedStyle(one).backgroundSize")
    found = barriers(notebook, ".nbpar-card") if front_end == "lab" else []
    notebook.shoot_both(f"bars-{front_end}", card)
    notebook.page.set_viewport_size({"width": 320, "height": 860})
    card.scroll_into_view_if_needed()
    notebook.shoot(f"bars-narrow-{front_end}", card)
    notebook.page.set_viewport_size({"width": 1200, "height": 860})
    notebook.press("Stop")
    notebook.wait_finished(1)

    assert found == []
    assert "%|" not in notebook.text(1)
