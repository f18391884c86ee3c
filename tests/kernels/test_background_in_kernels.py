"""Runs in the background are displayed in the cell that began them, and nowhere else."""

import pytest
from kernels import FrontEnd

pytestmark = pytest.mark.engines

BEGIN = """
import threading
import nbpar
gate = threading.Event()
pool = nbpar.Pool(2, backend="threads")
"""


@pytest.fixture(scope="module")
def front_end():
    front_end = FrontEnd()
    front_end.value(BEGIN + "0")
    yield front_end
    front_end.close()


def _final_text(front_end):
    """Wait until a card is replaced; return by which text.

    Front ends find it by its display id, whichever cell the message says it belongs to.
    """
    while True:
        message = front_end.client.get_iopub_msg(timeout=30)
        text = message["content"].get("data", {}).get("text/plain", "")
        assert message["msg_type"] not in ("stream", "error"), message["content"]
        if message["msg_type"] == "update_display_data" and text.endswith(" done"):
            return text


def test_a_run_that_is_displayed_has_a_card_whose_stop_button_works(front_end):
    cell = front_end.client.execute(
        "run = pool.map_async(lambda _: gate.wait(30), range(4), label='wait')\nrun"
    )
    comm = front_end.card_of(cell)
    assert front_end.reply(cell)["status"] == "ok"
    front_end.wait_for_tick(comm)

    front_end.press(comm, event="stop", press="a")

    assert _final_text(front_end) == "wait: stopped: 0 of 4 done"
    assert front_end.value("run.state") == "'stopped'"


def test_the_report_takes_the_card_s_place_while_other_cells_run(front_end):
    cell = front_end.client.execute(
        "gate.clear(); run = pool.map_async(lambda _: gate.wait(30), range(4)); run"
    )
    front_end.card_of(cell)
    assert front_end.reply(cell)["status"] == "ok"

    other = front_end.client.execute("gate.set(); total = sum(run.is_over_within(30) for _ in range(1))")

    assert _final_text(front_end).endswith(": 4 of 4 done")
    assert front_end.reply(other)["status"] == "ok"
    assert front_end.value("run.get()") == "[True, True, True, True]"


def test_the_magic_in_the_background_shows_a_card_though_it_binds_a_name(front_end):
    front_end.value("gate.clear(); from nbpar.notebook import load_ipython_extension as load; 0")
    front_end.value("get_ipython().extension_manager.load_extension('nbpar'); 0")
    cell = front_end.client.execute(
        "%%parallel_map --backend threads --background n in range(4) -> later\ngate.wait(30)"
    )
    front_end.card_of(cell)
    assert front_end.reply(cell)["status"] == "ok"

    assert front_end.value("gate.set(); later.get()") == "[True, True, True, True]"


def test_a_run_that_is_over_is_displayed_as_it_ended(front_end):
    cell = front_end.client.execute("run = pool.map_async(abs, [-1]); run.is_over_within(30); run.show()")

    assert front_end.reply(cell)["status"] == "ok"
    texts = []
    while not texts:
        message = front_end.client.get_iopub_msg(timeout=30)
        if message["msg_type"] == "display_data" and message["parent_header"]["msg_id"] == cell:
            texts.append(message["content"]["data"]["text/plain"])
    assert texts == ["abs: 1 of 1 done"]
