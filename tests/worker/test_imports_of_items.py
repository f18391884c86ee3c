"""First imports on workers are reported, and not counted as work of the items."""

from __future__ import annotations

import importlib
import threading
import time
import traceback
from importlib import _bootstrap

import pytest

import nbpar
from nbpar.worker.modules.imports import Imports

SLOW = "import time\ntime.sleep(0.4)\nVALUE = 7\n"
"""A module whose import takes long."""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes a module that this process can import."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return name

    return make


def test_the_outermost_import_is_measured_once(module):
    inner = module("measured_inner", SLOW)
    module("measured_outer", f"import {inner}\n")

    with Imports() as imports:
        importlib.import_module("measured_outer")
        importlib.import_module("measured_outer")
        [(name, seconds)] = imports.take()

    assert name == "measured_outer"
    assert seconds >= 0.4
    assert imports.take() == ()


def test_an_import_that_fails_is_not_counted(module):
    module("measured_broken", SLOW + "raise ValueError\n")

    with Imports() as imports:
        with pytest.raises(ValueError, match=r"^$"):
            importlib.import_module("measured_broken")
        with pytest.raises(ImportError, match="measured_missing"):
            importlib.import_module("measured_missing")

        assert imports.take() == ()


def test_other_threads_are_left_alone(module):
    module("measured_elsewhere", SLOW)

    with Imports() as imports:
        thread = threading.Thread(target=importlib.import_module, args=("measured_elsewhere",), daemon=True)
        thread.start()
        thread.join(60)

        assert imports.take() == ()


def test_python_is_as_it_was_afterwards():
    before = _bootstrap._find_and_load

    with Imports():
        assert _bootstrap._find_and_load is not before

    assert _bootstrap._find_and_load is before


@pytest.mark.engines
@pytest.mark.parametrize("timed", [True, False])
def test_items_that_import_are_not_counted_for_longer(module, timed):
    module("measured_slow", SLOW)

    def use(n):
        from measured_slow import VALUE

        return VALUE + n

    with nbpar.Pool(2, progress="none") as pool:
        pool.each(time.time)
        options = {} if timed else {"timeout": 60}
        first = pool.map(use, range(40), chunksize=1, **options).report
        second = pool.map(use, range(40), chunksize=1, **options).report

    [found] = first.figures.imports
    assert (found.name, found.workers) == ("measured_slow", 2)
    assert found.seconds >= 0.8
    assert dict(first.parts)["importing"] == first.figures.importing == found.seconds
    assert sum(seconds for _, seconds in first.parts) == pytest.approx(2 * first.elapsed, rel=0.1)
    assert first.figures.computing < 0.8
    assert all(row.seconds < 0.4 for row in first.slowest)
    [advice] = [finding for finding in first.advice if finding.kind == "imports"]
    assert "on each of 2 workers" in advice.because
    assert 'preload=["measured_slow"]' in advice.advice
    assert second.figures.imports == ()
    assert "importing" not in dict(second.parts)


@pytest.mark.engines
def test_what_a_function_needs_is_named_too(module):
    module("measured_needed", SLOW)
    needed = importlib.import_module("measured_needed")

    with nbpar.Pool(1, progress="none") as pool:
        report = pool.map(lambda n: needed.VALUE + n, range(4)).report

    assert [row.name for row in report.figures.imports] == ["measured_needed"]
    assert report.figures.computing < 0.4


@pytest.mark.engines
def test_no_frame_of_ours_shows_where_an_import_fails():
    def use(n):
        try:
            import measured_missing  # noqa: F401 (it is not there)
        except ImportError:
            return traceback.format_exc()

    with nbpar.Pool(1, progress="none") as pool:
        [said] = pool.map(use, [1])

    assert said.count('File "') == 1
