"""Views of pipelines: a lane for each stage, queues in a line, failures with their stage."""

import io
import json
import xml.etree.ElementTree as ET
from base64 import b64decode
from types import SimpleNamespace

import pytest
from fake_pipelines import FakePipeline

from nbpar.core import events
from nbpar.core.analysis import figures_of
from nbpar.views import summary, tick
from nbpar.views.pipeline_report import PipelineReport, shares
from nbpar.views.strips import LETTERS, Timeline
from nbpar.views.text import Text, postfix


@pytest.fixture
def pipeline():
    return FakePipeline("cut", "tag", "write")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_line_in_a_terminal_names_the_stages_with_what_waits_for_them(pipeline):
    pipeline.waiting = [0, 2400, 0]
    file = Terminal()
    view = Text(label="cut | tag | write", total=12, file=file, delay=0, interval=0)

    pipeline.work(2, count=3)
    view.show(pipeline.snapshot)

    assert "cut | tag | write:" in file.getvalue()
    assert "3/12" in file.getvalue()
    assert "queues: tag 2,400, write 0]" in file.getvalue()
    view.close(pipeline.finish)
    assert file.getvalue().splitlines()[-1].startswith("cut | tag | write: 3 of 12 done in 3 stages, ")
    assert postfix(pipeline.snapshot()) == ""


def test_what_stays_names_the_stage_of_each_failure_and_no_time(pipeline):
    for stage, count in enumerate((12, 12, 10)):
        pipeline.work(stage, count=count)
    for index in (1, 3):
        pipeline.fail(1, index, "<b>", ValueError("no"))

    snapshot = pipeline.finish()

    assert summary.summary_text(snapshot) == (
        "10 of 12 done in 3 stages, 2 failed: item 1 ('<b>') in tag: ValueError: no; "
        "item 3 ('<b>') in tag: ValueError: no"
    )
    html = summary.lasting_html("cut", snapshot)
    assert html.count("<th ") == 4
    assert '<td style="text-align:left"><bdi>tag</bdi></td>' in html


def test_times_of_stages_are_in_the_metadata(pipeline):
    for stage, seconds in enumerate((0.1, 2.0, 0.2)):
        pipeline.work(stage, seconds=seconds)

    told = summary.timings(pipeline.finish())

    assert [stage["busy_seconds"] for stage in told["stages"]] == [0.1, 2.0, 0.2]
    assert told["bottleneck"] == "tag"
    assert json.loads(json.dumps(told)) == told


def test_the_card_has_a_strip_for_each_stage_that_says_how_many_of_its_workers_were_busy(pipeline):
    timeline = Timeline()
    pipeline.work(0, "0", seconds=1.0)
    pipeline.work(1, "0", seconds=1.0)
    pipeline.runs[1].now -= 1.0
    pipeline.work(1, "1", seconds=1.0)
    timeline.take(pipeline.snapshot())

    told = tick.tick(pipeline.snapshot(), timeline)

    half, all_of_them, none = (levels(strip) for strip in told["lanes"]["strip"])
    assert set(half) == {2}
    assert set(all_of_them) == {3}
    assert none == []
    assert tick.names(pipeline.snapshot(), timeline)[1] == ["tag", "engines", 2, True]


def test_a_death_is_marked_once_in_the_rows_of_stages_whose_items_the_worker_had(pipeline):
    timeline = Timeline()
    pipeline.work(0, "0")
    pipeline.runs[1].send("0", count=4)
    timeline.take(pipeline.snapshot())
    for run in pipeline.runs:
        run.lose("0")
        run.join("2")

    for _ in range(2):
        timeline.take(pipeline.snapshot())

    told = tick.tick(pipeline.snapshot(), timeline)
    assert [(place, kind) for place, kind, _ in told["marks"]] == [(1, "lo")]


def levels(strip):
    found = [LETTERS.index(letter) >> shift & 3 for letter in strip for shift in (4, 2, 0)]
    return [level for level in found if level]


def test_the_card_is_told_queues_speed_and_which_stage_limits(pipeline):
    pipeline.waiting = [0, 7, 0]
    for stage, seconds in enumerate((0.1, 2.0, 0.2)):
        pipeline.work(stage, seconds=seconds)

    told = tick.tick(pipeline.snapshot(), Timeline())

    assert told["stages"]["waiting"] == [0, 7, 0]
    assert told["stages"]["limit"] == 1
    assert told["stages"]["each"][1] == pytest.approx(2.0 / 12, rel=0.01)
    assert json.loads(json.dumps(told)) == told


def test_the_number_of_workers_at_a_stage_is_that_of_the_last_second_not_of_the_moment(pipeline):
    timeline = Timeline()
    tag = pipeline.runs[1]
    for _ in range(20):
        timeline.take(pipeline.snapshot())
        tag.work("0", 1, seconds=0.05)
        tag.now += 0.15
    timeline.take(pipeline.snapshot())

    told = tick.tick(pipeline.snapshot(), timeline)["stages"]["working"]

    assert pipeline.snapshot().stages[1].working == 0
    assert told == [0.0, pytest.approx(0.25, abs=0.06), 0.0]


def test_a_map_has_no_stages():
    assert tick.tick(FakePipeline("cut").runs[0].snapshot(), Timeline())["stages"] is None


@pytest.fixture
def report_of_all(pipeline):
    for stage, seconds in enumerate((0.1, 2.0, 0.2)):
        pipeline.work(stage, seconds=seconds)
    snapshot = pipeline.finish()
    return PipelineReport(snapshot, figures_of(snapshot))


def test_the_report_says_first_which_stage_limits_and_then_how_each_did(report_of_all):
    lines = repr(report_of_all).splitlines()

    assert lines[0].startswith("cut | tag | write over 12 items: 2.0 s on 1 worker")
    assert lines[2].startswith("`tag` limits with 167 ms an item of 192 ms for all stages on their 2 workers")
    assert lines[4].split() == ["stage", "workers", "items", "an", "item", "busy"]
    assert lines[6].split() == ["tag", "2", "engines,", "shared", "12", "167", "ms", "50", "%"]
    assert report_of_all.bottleneck.stage is report_of_all.stages[1]


def test_the_report_is_well_formed_and_draws_a_curve_for_each_stage(report_of_all):
    html = report_of_all._repr_html_()

    image = next(one for one in ET.fromstring(html).iter() if one.tag == "img")
    picture = ET.fromstring(b64decode(image.get("src").partition(",")[2]))
    curves = [one.get("d") for one in picture if "fill:#" in one.get("style")]
    assert len(curves) == 3
    assert "tag: busy for 50 % of its time" in image.get("alt")
    assert "<strong>one more worker there" in html


def test_a_curve_is_as_high_as_the_share_of_workers_at_work(pipeline):
    pipeline.work(0, "0", seconds=1.0)
    pipeline.runs[0].now -= 0.5
    pipeline.work(0, "1", seconds=0.5)

    stage = pipeline.finish().stages[0]

    assert shares(stage, 0.0, 1.0, 4) == pytest.approx([0.5, 0.5, 1.0, 1.0])
    assert shares(stage, 0.0, 2.0, 4) == pytest.approx([0.5, 1.0, 0.0, 0.0])


def test_slow_items_are_named_with_the_stage_that_was_slow(pipeline):
    chunk = SimpleNamespace(first=4, items=["a long text"])
    done = events.ItemsDone(
        102.0, "0", 9, 4, 1, 0, 0, 2.0, (2.0,), 0, 0, final=True, chunk_size=1, chunk=chunk
    )
    pipeline.runs[1].tell(done)
    pipeline.runs[1].now += 2.0
    snapshot = pipeline.finish()

    report = PipelineReport(snapshot, figures_of(snapshot))

    assert [(row.index, row.item, row.stage) for row in report.slowest] == [(4, "a long text", "tag")]
    assert "       4     2.0 s  tag: 'a long text'" in repr(report)
