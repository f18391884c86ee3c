"""The card of a pipeline: a lane for each stage, whose queues show the limiting one."""

from nbpar.testing import until

SETUP = """\
import time
import nbpar
from nbpar import Pipeline, Stage

def cut(text):
    time.sleep(0.003)
    return text

def tag(text):
    time.sleep(0.03)
    if text in (20, 40):
        raise ValueError(f"no tag for {text}")
    return text

pool = nbpar.Pool(3, backend="threads").wait()
stages = [Stage(cut, workers=1), Stage(tag, workers=1, queue_size=8), Stage(str, workers=1, name="write")]
pipeline = Pipeline(stages, batch_size=2, pool=pool)"""
RUN = "texts = pipeline.map(range(5000), errors='collect', label='corpus')"


def test_queues_are_full_up_to_the_stage_that_limits(open_notebook):
    notebook = open_notebook(RUN, setup=SETUP)
    notebook.run(1)
    card = notebook.card()

    notebook.wait_until("hint", "^tag limits: 3.* ms an item; one more worker could make it")
    notebook.wait_until(
        "table", r"^cut[\d.]+ of 1 worker.*tag[\d.]+ of 1 worker[1-9].* waiting2 failed.*write.*0 waiting"
    )
    notebook.shoot_both("pipeline", card)

    notebook.press("Pause")
    notebook.wait_until("state", "paused")
    notebook.press("Resume")
    notebook.press("Stop")
    notebook.wait_finished(1)
    assert "corpus: stopped: " in notebook.text(1)
    assert "in 3 stages, 2 failed: item 20 (20) in tag: ValueError: no tag for 20" in notebook.text(1)


def test_the_death_of_a_worker_is_marked_in_the_lane_of_the_stage_whose_items_it_had(open_notebook, tmp_path):
    once = (
        "import os, pathlib, signal\n"
        "def tag(text):\n"
        f"    died = pathlib.Path({str(tmp_path / 'died')!r})\n"
        "    time.sleep(0.03)\n"
        "    if text == 60 and not died.exists():\n"
        "        died.touch()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return text\n"
        "with nbpar.Pool(2) as engines:\n"
        "    Pipeline([cut, tag, Stage(str, name='write')], pool=engines).map(range(5000), label='corpus')"
    )
    notebook = open_notebook(once, setup=SETUP)
    notebook.run(1)
    card = notebook.card()

    notebook.wait_until("legend", "^✕ worker lost$")
    notebook.wait_moving(card, by=20)
    notebook.shoot("pipeline-death", card)

    notebook.press("Stop")
    notebook.wait_finished(1)
    assert "1 worker lost" in notebook.text(1)


def test_a_pipeline_in_the_background_turns_into_its_report(open_notebook):
    notebook = open_notebook(
        "run = pipeline.map_async(range(60), errors='skip')\nrun", "len(run.get())", "run.report", setup=SETUP
    )
    notebook.run(1)
    card = notebook.card()

    assert notebook.result_of(2) == "58"
    card.wait_for(state="detached")
    until(lambda: "cut | tag | write: 58 of 60 done in 3 stages, 2 failed" in notebook.text(1))
    assert "`tag` limits with 3" in notebook.result_of(3)
    notebook.shoot_both("pipeline-report", notebook.shown(3))
