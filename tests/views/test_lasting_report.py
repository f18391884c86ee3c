"""The summary of a run that remains."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from fake_runs import FakeRun, finished

from nbpar.core import text as wording
from nbpar.errors import SkippedError
from nbpar.testing.nbval_plugin import UNCOMPARED
from nbpar.views import summary, text


def test_a_run_that_went_well_is_one_short_line():
    assert summary.summary_text(finished(12)) == "12 of 12 done"


def test_a_run_over_an_unknown_number_of_items_says_how_many_there_were():
    run = FakeRun(total=None)
    run.work("0", 5)

    assert summary.summary_text(run.finish()) == "5 done"


def test_a_failure_is_named_with_its_item_and_not_counted_as_done():
    snapshot = finished(12, fail={3: ValueError("no words")})

    said = summary.summary_text(snapshot)

    assert said == "11 of 12 done, 1 failed: item 3 ('text 3'): ValueError: no words"


def test_items_that_were_skipped_are_no_failures():
    fails = {3: ValueError("no words"), 5: SkippedError("after 12 s"), 8: SkippedError("after 3 s")}
    snapshot = finished(12, fail=fails)

    said = summary.summary_text(snapshot)

    assert said == (
        "9 of 12 done, 1 failed: item 3 ('text 3'): ValueError: no words, "
        "2 skipped: item 5 ('text 5'); item 8 ('text 8')"
    )
    assert summary.outcome_text(snapshot) == " (1 failed, 2 skipped)"
    assert text.postfix(snapshot) == "1 failed, 2 skipped"
    assert (summary.timings(snapshot)["failed"], summary.timings(snapshot)["skipped"]) == (1, 2)


def test_a_run_of_which_items_were_skipped_went_well():
    html = summary.lasting_html("count", finished(12, fail={5: SkippedError("after 12 s")}))

    assert "✓" in html
    assert "11 of 12 items" in html
    assert "1 skipped: item 5" in html
    assert "after 12 s" not in html  # it differs from run to run


def test_failures_come_in_the_order_of_their_items_and_only_the_first_are_named():
    snapshot = finished(12, fail={i: KeyError(i) for i in (9, 1, 7, 3, 5)})

    assert summary.summary_text(snapshot) == (
        "7 of 12 done, 5 failed: item 1 ('text 1'): KeyError: 1; item 3 ('text 3'): KeyError: 3; "
        "item 5 ('text 5'): KeyError: 5; and 2 more"
    )


def test_a_stopped_run_says_what_is_kept():
    run = FakeRun(12)
    run.work("0", 5)

    assert summary.summary_text(run.finish("stopped")) == "stopped: 5 of 12 done"


def test_a_run_that_a_failure_ended_names_it_whatever_else_had_happened():
    early, late = FakeRun(3), FakeRun(3)
    early.work("0", 1, fail={0: ZeroDivisionError("division by zero")})
    late.work("0", 3, fail={i: ZeroDivisionError("division by zero") for i in (2, 0)}, retried=1)
    late.lose("1")

    snapshots = early.finish("failed"), late.finish("failed")

    text = "failed at item 0 ('text 0'): ZeroDivisionError: division by zero"
    assert {summary.summary_text(snapshot) for snapshot in snapshots} == {text}
    assert len({compared(summary.lasting_html("count", snapshot)) for snapshot in snapshots}) == 1
    assert [summary.timings(snapshot)["failed"] for snapshot in snapshots] == [1, 2]


def test_a_run_that_failed_without_a_failed_item_says_how_far_it_came():
    run = FakeRun(12)
    run.work("0", 5)

    assert summary.summary_text(run.finish("failed")) == "failed: 5 of 12 done"


def test_retries_and_lost_workers_are_mentioned():
    run = FakeRun(2)
    run.work("0", 2, retried=1)
    run.lose("1")
    run.work("0", 1)

    assert summary.summary_text(run.finish()) == "2 of 2 done, 1 retried, 1 worker lost"


def compared(html):
    """The part of a text that nbval compares."""
    for pattern, instead in UNCOMPARED.items():
        html = re.sub(pattern, instead, html)
    return html


@pytest.mark.parametrize("make", [summary.lasting_text, lambda *run: compared(summary.lasting_html(*run))])
def test_runs_that_went_alike_are_written_alike_however_long_they_took(make):
    class Plain:
        pass

    quick = finished(12, seconds=0.1, fail={3: ValueError(Plain())})
    slow = finished(12, seconds=60.0, fail={3: ValueError(Plain())})

    assert make("count", quick) == make("count", slow)
    assert "0x" not in make("count", quick)


def test_html_needs_no_script_and_no_asset_and_is_well_formed():
    snapshot = finished(12, fail={i: ValueError("<script>alert(1)</script>") for i in (1, 2)})
    html = summary.lasting_html("<count>", snapshot)
    opened: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            assert tag not in ("script", "link", "img", "style", "iframe")
            assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]
            opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Reader().feed(html)

    assert not opened
    assert "&lt;script&gt;" in html


def test_the_sign_is_hidden_from_screen_readers_because_words_say_the_same():
    html = summary.lasting_html("count", finished(2))

    assert '<span aria-hidden="true">✓</span> 2 items' in html


def words(html):
    """The visible text of HTML."""
    return unescape(re.sub("<[^>]*>", "", html))


def failed(number, of, **more):
    """The HTML of a run with that many failed items."""
    errors = {index: (KeyError if index % 10 == 9 else ValueError)(index) for index in range(number)}
    return summary.lasting_html("count", finished(of, fail=errors, **more))


def test_below_the_failures_that_are_shown_stands_how_many_more_there_are():
    html = failed(1000, 1500)

    assert html.count("<tr>") == 21
    assert words(html).endswith("… and 980 more: nbpar.last_run.failures")
    assert "more: " not in failed(15, 20)


def test_many_failures_are_counted_by_their_kind():
    assert "900 × ValueError, 100 × KeyError" in words(failed(1000, 1500))  # noqa: RUF001 (it is that sign)
    assert "5 × ValueError" not in words(failed(5, 20))  # noqa: RUF001 (it is that sign)


def test_it_is_said_when_every_item_failed():
    assert "every item failed: 9 × ValueError" in words(failed(10, 10))  # noqa: RUF001 (it is that sign)
    assert "every item" not in words(failed(10, 11))


def test_texts_that_are_not_ours_have_a_direction_of_their_own():
    html = summary.lasting_html("count", finished(12, fail={3: ValueError("שלום")}))

    assert "item 3 (<bdi>&#x27;text 3&#x27;</bdi>): <bdi>ValueError: שלום</bdi>" in html


def test_the_line_says_how_long_it_took_on_what_and_what_that_gained():
    html = summary.lasting_html("n in range(60)", finished(60, seconds=5.23), 1.86)

    assert words(html) == "n in range(60) ✓ 60 items · 5.2 s on 2 workers · 1.9x"
    assert "11.5 items a second" in html


def test_the_line_says_what_went_wrong_behind_the_times():
    html = summary.lasting_html("count", finished(12, seconds=2.0, fail={3: ValueError("no words")}))

    assert words(html) == (
        "count ⚠\ufe0e 11 of 12 items · 2.0 s on 2 workers · "
        "1 failed: item 3 ('text 3'): ValueError: no words"
    )


def test_the_line_of_a_stopped_run_says_how_far_it_came():
    run = FakeRun(12)
    run.work("0", 5)

    assert words(summary.lasting_html("", run.finish("stopped"))) == (
        "map ▪ stopped: 5 of 12 items · 100 ms on 2 workers"
    )


def test_times_are_in_the_metadata():
    told = summary.timings(finished(4, seconds=2.0), 1.523)

    assert told["seconds"] == pytest.approx(2.0)
    assert told["speed_up"] == 1.52


def test_a_label_and_a_number_of_items_make_the_header():
    assert summary.header_text("count", 12) == "count over 12 items"
    assert summary.header_text("count", 1) == "count over 1 item"
    assert summary.header_text("", None) == "map"
    assert "&lt;lambda&gt; over 1,000,000 items" in summary.header_html("<lambda>", 1_000_000)


def test_an_item_that_cannot_be_shown_does_not_break_the_report():
    class Broken:
        def __repr__(self):
            raise RuntimeError("no")

    assert "0x" not in wording.shown(Broken())


def test_long_items_and_errors_are_shortened():
    assert len(wording.shown("x" * 10_000)) <= 60
    assert len(wording.error(ValueError("y" * 10_000))) <= 200
    assert "\n" not in wording.error(ValueError("two\nlines"))


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (52e6, "52 MB")])
def test_sizes(number, text):
    assert text == wording.size(number)


def test_the_end_of_a_long_text_begins_with_a_line():
    text = "".join(f"line {i}\n" for i in range(1000))

    assert re.match(r"…line \d+\n", wording.tail(text, 100))
    assert len(wording.tail(text, 100)) <= 100
    assert wording.tail("short", 100) == "short"


def test_a_line_for_terminals_says_times_before_what_went_wrong():
    good = finished(12, seconds=5.23)
    bad = finished(12, seconds=5.23, fail={3: ValueError("no words")})
    run = FakeRun(12)
    run.work("0", 3, fail={1: ValueError("no words")})
    ended = run.finish("failed")

    assert summary.ended_text("count", good, 1.86) == "count: 12 of 12 done, 5.2 s on 2 workers, 1.9x"
    assert summary.ended_text("", bad, 1.86) == (
        "map: 11 of 12 done, 5.2 s on 2 workers, 1.9x, 1 failed: item 3 ('text 3'): ValueError: no words"
    )
    assert summary.ended_text("count", ended, 1.86) == (
        "count: failed at item 1 ('text 1'): ValueError: no words, 100 ms on 2 workers"
    )
