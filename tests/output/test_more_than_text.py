"""Warnings, log records and displays of items arrive as such."""

from __future__ import annotations

import logging
import warnings

import pytest

import nbpar


class Kept(logging.Handler):
    """Keeps the records it gets."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def log():
    """A handler at the root of this process's loggers, whose levels are put back at the end."""
    handler, root = Kept(), logging.getLogger()
    handlers, root.handlers = root.handlers, [handler]
    level = root.level
    yield handler
    root.handlers = handlers
    root.setLevel(level)
    logging.getLogger("lib").setLevel(logging.NOTSET)
    logging.disable(logging.NOTSET)


# ---- warnings


def test_a_warning_is_shown_once_for_its_place_with_the_first_item(pool):
    def work(i):
        import warnings

        warnings.warn("careful", RuntimeWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        pool.map(work, range(4), chunksize=1)

    (warning,) = caught
    assert issubclass(warning.category, RuntimeWarning)
    assert str(warning.message) in ("[0] careful", "[1] careful")
    assert pool.backend == "threads" or str(warning.message) == "[0] careful"


def test_it_is_shown_again_in_the_next_run(far_pool):
    def work(i):
        import warnings

        warnings.warn("again", stacklevel=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        far_pool.map(work, range(4))
        far_pool.map(work, range(4))

    assert [str(warning.message) for warning in caught] == ["[0] again"] * 2


def test_what_is_ignored_here_is_not_shown(pool):
    def work(i):
        import warnings

        warnings.warn("not me", DeprecationWarning, stacklevel=1)
        warnings.warn("but me", UserWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        pool.map(work, range(1))

    assert [str(warning.message) for warning in caught] == ["[0] but me"]


def test_a_category_that_is_not_known_here_becomes_its_base(far_pool):
    def work(i):
        import warnings

        warnings.warn("special", type("Special", (FutureWarning,), {}), stacklevel=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        far_pool.map(work, range(1))

    assert [warning.category for warning in caught] == [FutureWarning]


# ---- log records


def test_records_enter_the_loggers_here_with_worker_and_item(pool, log):
    def work(i):
        import logging

        logging.getLogger("lib.part").warning("saw %d", i, extra={"size": i * 10})

    pool.map(work, range(3), chunksize=1)

    said = [(record.name, record.getMessage(), record.item, record.size) for record in log.records]
    assert said == [("lib.part", f"saw {i}", i, i * 10) for i in range(3)]
    kinds = {"engines": "engine ", "threads": "thread ", "serial": "here"}
    assert all(record.worker.startswith(kinds[pool.backend]) for record in log.records)


def test_levels_that_are_set_here_count_there(pool, log):
    def work(i):
        import logging

        logging.getLogger("lib").debug("detail")
        logging.getLogger("other").info("info")
        logging.getLogger("other").warning("warning")

    logging.getLogger("lib").setLevel(logging.DEBUG)
    pool.map(work, range(1))
    logging.getLogger("lib").setLevel(logging.NOTSET)
    pool.map(work, range(1))
    logging.disable(logging.WARNING)
    pool.map(work, range(1))

    assert [record.getMessage() for record in log.records] == ["detail", "warning", "warning"]


def test_an_exception_in_a_record_is_told(pool, log):
    def work(i):
        import logging

        try:
            1 / i
        except ZeroDivisionError:
            logging.getLogger("lib").exception("no")

    pool.map(work, range(1))

    (record,) = log.records
    assert "ZeroDivisionError" in logging.Formatter().format(record)


def test_handlers_of_an_item_print_nothing_twice(far_pool, log, capsys):
    def work(i):
        import logging

        logger = logging.getLogger("chatty")
        if not logger.handlers:
            logger.addHandler(logging.StreamHandler())
        logger.warning("once")

    far_pool.map(work, range(2), chunksize=1)

    assert [record.item for record in log.records] == [0, 1]
    assert capsys.readouterr() == ("", "")


def test_without_handlers_here_records_are_printed_with_their_item(pool, log, capsys):
    logging.getLogger().handlers = []

    def work(i):
        import logging

        logging.getLogger("lib").error("bad %d", i)
        logging.getLogger("lib").info("fine %d", i)

    pool.map(work, range(2))

    assert capsys.readouterr().err == "[0] ERROR:lib:bad 0\n[1] ERROR:lib:bad 1\n"


# ---- displays


def test_pictures_come_back_in_order_with_a_label(pool, shell):
    def work(i):
        from IPython.display import display

        class Figure:
            """Displays itself as plotting libraries do."""

            def _repr_html_(self):
                return f"<svg>{i}</svg>"

            def _repr_png_(self):
                return b"\x89PNG" + bytes([i])

            def __repr__(self):
                return f"figure {i}"

        display(Figure())

    pool.map(work, range(3), chunksize=1)

    labels, pictures = shell.displayed[::2], shell.displayed[1::2]
    assert [data["text/plain"] for data, _ in labels] == ["[0]", "[1]", "[2]"]
    assert [data["text/html"] for data, _ in pictures] == [f"<svg>{i}</svg>" for i in range(3)]
    assert [data["text/plain"] for data, _ in pictures] == [f"figure {i}" for i in range(3)]
    assert all("image/png" in data for data, _ in pictures)


def test_metadata_comes_along(pool, shell):
    def work(i):
        from IPython.display import display

        display({"text/plain": "x", "image/png": "AAAA"}, raw=True, metadata={"image/png": {"width": 7}})

    pool.map(work, range(1))

    assert shell.displayed[1][1] == {"image/png": {"width": 7}}


def test_an_update_takes_the_place_of_what_it_updates(deferring_pool, shell):
    def work(i):
        from IPython.display import HTML, display

        handle = display(HTML("working"), display_id=True)
        handle.update(HTML("done"))

    deferring_pool.map(work, range(1))

    assert [data["text/html"] for data, _ in shell.displayed[1:]] == ["done"]


def test_clearing_removes_what_came_before(deferring_pool, shell, capsys):
    def work(i):
        from IPython.display import clear_output

        print("before")
        clear_output()
        print("after")

    deferring_pool.map(work, range(1))

    assert capsys.readouterr().out == "[0] after\n"


def test_without_ipython_here_the_text_is_printed(far_pool, capsys):
    def work(i):
        from IPython.display import HTML, display

        display(HTML("<b>x</b>"))

    far_pool.map(work, range(2))

    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"[{i}] <IPython.core.display.HTML object>" for i in range(2)]


def test_a_huge_picture_is_left_out_and_told(deferring_pool, shell, capsys):
    def work(i):
        from IPython.display import display

        display({"text/plain": "huge", "image/png": "A" * (5 << 20)}, raw=True)
        print("after")

    deferring_pool.map(work, range(1))

    said = capsys.readouterr()
    assert shell.displayed == []
    assert said.out == "[0] after\n"
    assert "bytes were displayed here; what is over 4194304 was left out" in said.err


def test_the_output_of_a_background_run_can_be_displayed_later(deferring_pool, shell, capsys):
    def work(i):
        from IPython.display import HTML, display

        print("text", i)
        display(HTML("<b>x</b>"))

    run = deferring_pool.map_async(work, range(2))
    run.get()
    assert shell.displayed == []

    run.output._ipython_display_()

    assert capsys.readouterr().out == "[0] text 0\n[1] text 1\n"
    assert [data.get("text/plain") for data, _ in shell.displayed[::2]] == ["[0]", "[1]"]
    assert nbpar.last_run is run
