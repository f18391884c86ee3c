"""The report of a run as text, as HTML and as a picture."""

import re
import xml.etree.ElementTree as ET
from base64 import b64decode
from types import SimpleNamespace

import pytest
from fake_runs import FakeRun

from nbpar.core import events
from nbpar.core.analysis import Figures, figures_of
from nbpar.host.machine import machine
from nbpar.views.picture import LANES, timeline
from nbpar.views.report import Report


def _report(run, **figures):
    snapshot = run.snapshot()
    return Report(snapshot, Figures(**figures) if figures else figures_of(snapshot))


def _finished(count=12, **more):
    run = FakeRun(count)
    run.work("0", count, **more)
    run.finish()
    return run


def test_it_says_where_the_time_went():
    text = repr(_report(_finished(seconds=2.0)))

    assert text.startswith("count over 12 items: 2.0 s on 2 workers, 50 % of worker time spent computing\n")
    assert re.search(r"computing +2.0 s +50 %", text)
    assert re.search(r"waiting +2.0 s +50 %", text)


def test_imports_are_called_by_the_packages_slowest_first():
    run = FakeRun(12)
    run.send("0", 12)
    packages = [("json", 0.01), ("pandas", 1.2), ("numpy", 0.4), ("scipy", 0.2), ("six", 0.02)]
    run.tell(events.PackagesImported(run.now, "0", tuple(packages)))
    run.now += 2.0
    run.finish()

    report = _report(run)

    assert re.search(r"^  importing pandas, numpy, scipy, 2 more +1\.8 s +46 %$", repr(report), re.MULTILINE)
    assert "importing pandas, numpy, scipy, 2 more" in report._repr_html_()
    assert dict(report.parts)["importing"] == pytest.approx(1.83)


def _on(*places):
    run = FakeRun(2, workers=0)
    for number, (host, where) in enumerate(places):
        run.tell(events.WorkerJoined(run.now, str(number), host, 4000 + number, where))
    run.work("0", 2)
    run.finish()
    return _report(run)


def test_hosts_of_workers_are_named_unless_all_are_on_this_machine():
    report = _on(("gpu01", "a"), ("<gpu02>", "b"), ("gpu01", "a"), ("here", machine()))

    line = "on gpu01 (2 workers), <gpu02> (1 worker), here (1 worker)"
    assert line in repr(report).splitlines()
    assert "&lt;gpu02&gt; (1 worker)" in report._repr_html_()
    assert "(1 worker)" not in repr(_on(("here", machine())))
    assert "(1 worker)" not in repr(_on(("here", "")))


def test_a_report_names_a_few_of_many_hosts():
    report = _on(*((f"gpu{number}", str(number)) for number in range(20)))

    assert "gpu7 (1 worker), 12 more hosts\n" in repr(report)
    assert "gpu8" not in repr(report)


def test_the_parts_add_up():
    report = _report(_finished(seconds=2.0))

    assert sum(seconds for _, seconds in report.parts) == pytest.approx(2 * report.elapsed)


def test_the_slowest_items_come_with_their_inputs():
    run = FakeRun(2)
    chunk = SimpleNamespace(first=0, items=["short", "long"])
    run.tell(events.ItemsDone(100.5, "0", 1, 0, 2, 0, 0, 0.5, (0.1, 0.4), 0, 0, True, 1, chunk=chunk))

    report = _report(run)

    assert [(row.index, row.item, row.shown) for row in report.slowest] == [
        (1, "long", "'long'"),
        (0, "short", "'short'"),
    ]
    assert "       1    400 ms  'long'" in repr(report)


def test_a_slow_item_that_is_not_known_has_no_input():
    assert {row.shown for row in _report(_finished()).slowest} == {""}


def test_advice_is_said_with_its_reason():
    report = _report(_finished(), elapsed=10.0, workers=2, computing=19.0, items=12, held=5.0)

    [finding] = report.advice
    assert f"  - {finding.because}: {finding.advice}" in repr(report)
    assert "memory ran low" in report._repr_html_()
    assert "with <code>max_worker_memory=</code></strong>" in report._repr_html_()


def test_advice_comes_first_because_it_is_what_can_be_done():
    report = _report(_finished(), elapsed=10.0, workers=2, computing=19.0, items=12, held=5.0)

    text, html = repr(report), report._repr_html_()

    assert text.index("memory ran low") < text.index("computing  ")
    assert html.index("memory ran low") < html.index("where the time went")


def test_the_title_says_which_run_it_was_and_not_again_what_its_line_has_said():
    run = _finished(fail={3: ValueError("no words")})

    title = repr(_report(run)).splitlines()[0]

    assert title.startswith("count over 12 items (1 failed): 100 ms on 2 workers, ")
    assert "no words" not in repr(_report(run))


def test_every_column_has_a_name_and_numbers_end_below_one_another():
    html = _report(_finished(seconds=2.0))._repr_html_()

    assert "></th>" not in html
    assert re.search(r"text-align:right[^>]*>2.0 s</td><td [^>]*text-align:right[^>]*>50 %</td>", html)


def test_the_html_is_well_formed_and_needs_nothing_from_outside():
    run = _finished(fail={3: ValueError("<script>")})
    chunk = SimpleNamespace(first=0, items=["<b>"])
    run.tell(events.ItemsDone(103.0, "1", 9, 0, 1, 0, 0, 2.0, (2.0,), 0, 0, True, 1, chunk=chunk))

    html = _report(run)._repr_html_()

    elements = list(ET.fromstring(html).iter())
    assert not {one.tag for one in elements} & {"script", "link", "style", "iframe", "svg"}
    assert all(one.get("src").startswith("data:") for one in elements if one.tag == "img")
    assert "url(" not in html
    assert "&lt;b&gt;" in html


def test_the_picture_shows_work_failures_and_who_is_gone():
    run = FakeRun(12)
    run.work("0", 3, fail={1: ValueError()})
    run.work("1", 3)
    run.lose("1")
    run.now += 1.0

    picture = timeline(run.snapshot())

    assert "0: 3 items, 100 ms" in picture.words
    assert picture.svg.count("<path") == 4  # two bars, a cross, a line
    ET.fromstring(picture.svg)


def test_the_picture_stays_small_however_many_workers_and_chunks():
    run = FakeRun(None, workers=100)
    for _ in range(10):
        for worker in range(100):
            run.work(str(worker), seconds=0.02)

    svg = timeline(run.snapshot()).svg

    assert svg.count("<path") == LANES
    assert "and 68 more workers" in svg
    assert len(svg) < 60_000


def test_a_worker_and_its_replacement_have_one_row_of_the_picture():
    run = FakeRun(None)
    for number in range(2, 60):
        run.work(str(number - 2))
        run.lose(str(number - 2))
        run.join(str(number))
    run.work("58")
    run.work("59")

    picture = timeline(run.snapshot())

    assert picture.words == "Work over time. 58: 30 items, 3.0 s; 59: 30 items, 3.0 s"
    assert picture.height == 48


def test_without_work_there_is_no_picture():
    assert timeline(FakeRun(12).snapshot()) is None


def test_the_picture_is_an_image_with_words_and_without_anything_to_load_or_to_run():
    run = FakeRun(12, workers=0)
    run.join("<0>")
    run.work("<0>", 3)

    image = ET.fromstring(timeline(run.snapshot()).html)

    assert image.tag == "img"
    assert "<0>: 3 items" in image.get("alt")
    drawn = b64decode(image.get("src").removeprefix("data:image/svg+xml;base64,")).decode()
    assert not re.search("<script|href|url", drawn)
