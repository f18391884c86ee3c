"""Real runs on real engines in a real JupyterLab."""

import re
import time

import pytest
from front_end import DONE

SETUP = """\
import time, nbpar
pool = nbpar.Pool(2)
_ = pool.map(abs, range(4), progress="none")"""


@pytest.fixture
def open_pool(open_notebook):
    """Open a notebook that has a pool of two engines."""
    return lambda *cells: open_notebook(*cells, setup=SETUP)


def test_a_map_is_seen_moving_and_stopped_by_a_click_and_the_next_cell_finds_the_engines_free(open_pool):
    slow = "def wait(x):\n    time.sleep(0.05)\n    return x\npool.map(wait, range(100000))"
    notebook = open_pool(slow, "sum(pool.map(abs, range(-10, 0)))", "pool.close()")
    notebook.run(1)
    notebook.run(2)
    card = notebook.card()
    notebook.wait_moving(card, by=40)
    notebook.shoot_both("pool-running", card)

    begun = time.monotonic()
    notebook.press("Stop wait")
    notebook.wait_finished(1)

    print(f"free {1000 * (time.monotonic() - begun):.0f} ms after the click")
    assert re.search(r"wait: stopped: [\d,]+ of 100,000 done", notebook.text(1))
    assert notebook.result_of(2).endswith("10 of 10 done\n55")
    notebook.result_of(3)


def test_a_map_is_paused_given_another_worker_and_goes_on_to_its_end(open_pool):
    picky = (
        "def wait(x):\n    time.sleep(0.02)\n    if x == 77: raise ValueError('no words')\n    return x\n"
        "len(pool.map(wait, range(400), errors='skip'))"
    )
    notebook = open_pool(picky, "pool.close()")
    notebook.run(1)
    card = notebook.card()

    notebook.press("Pause")
    notebook.wait_until("state", "^paused")
    notebook.press("Add a worker")
    notebook.wait_until("alive", "^3 workers$")
    notebook.press("Resume")
    notebook.wait_until("state", "^running$")
    notebook.wait_until("table", "engine 2")
    notebook.shoot("pool-three-light", card)
    notebook.wait_finished(1)

    assert notebook.text(1).endswith("399 of 400 done, 1 failed: item 77 (77): ValueError: no words\n399")
    notebook.result_of(2)


def test_the_magic_s_card_has_the_loop_s_name(open_pool):
    notebook = open_pool(
        "%load_ext nbpar\n%nbpar start 2",
        "%%parallel_map n in range(10**5) -> numbers\nimport time\ntime.sleep(0.02)\nn",
        "%nbpar stop",
    )
    notebook.result_of(1)
    notebook.run(2)
    card = notebook.card()

    notebook.wait_moving(card, by=20)
    assert card.locator(".nbpar-title").text_content() == "n in range(10**5)"
    notebook.press("Stop n in range")
    notebook.wait_finished(2)

    assert re.match(r"\s*n in range\(10\*\*5\): stopped: ", notebook.text(2))
    notebook.result_of(3)


def test_the_picture_of_the_readme_shows_what_runs_and_what_failed(open_pool):
    """`docs/images/live-view.png` is a copy of the picture that this makes."""
    notebook = open_pool(
        "%load_ext nbpar\n%nbpar start 3\nimport ast, sysconfig\nfrom pathlib import Path\n"
        "modules = (9 * sorted(Path(sysconfig.get_path('stdlib')).rglob('*.py')))[:1600]",
        "%%parallel_map --errors collect module in modules -> functions\n"
        "tree = ast.parse(module.read_text())\n"
        "sum(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))",
        "%nbpar stop",
    )
    notebook.result_of(1)
    notebook.run(2)
    card = notebook.card()

    notebook.page.wait_for_function(DONE, arg=800)
    notebook.shoot("live-view", notebook.page.locator(".jp-Notebook-cell").nth(2))
    assert card.locator(".nbpar-title").text_content() == "module in modules"
    notebook.wait_finished(2)

    assert re.match(r"\s*module in modules: 1,\d+ of 1,600 done", notebook.text(2))
    notebook.result_of(3)


def test_two_runs_in_the_background_share_the_workers_and_leave_the_notebook_free(open_pool):
    notebook = open_pool(
        "def wait(x):\n    time.sleep(0.01)\n    return x\n"
        "one = pool.map_async(wait, range(300), label='one')\n"
        "two = pool.map_async(wait, range(10**6), label='two')\n"
        "one.show()\ntwo.show()",
        "6 * 7",
        "len(one.get()), two.state",
        "pool.close()",
    )
    notebook.result_of(1)
    notebook.card(1)

    assert notebook.result_of(2) == "42"
    notebook.shoot("background-pool")
    notebook.press("Stop two")

    assert notebook.result_of(3) == "(300, 'stopped')"
    notebook.page.wait_for_function("() => !document.querySelector('.nbpar-card')")
    shown = notebook.text(1)
    assert "one: 300 of 300 done" in shown
    assert re.search(r"two: stopped: [\d,]+ of 1,000,000 done", shown)
    notebook.result_of(4)
