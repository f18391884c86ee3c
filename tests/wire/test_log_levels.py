"""Engines log at the levels of the client during its runs, and at their own afterwards."""

from __future__ import annotations

import logging

import pytest

from nbpar.wire.log_levels import BorrowedLevels, levels_here


@pytest.fixture
def name(request):
    """The name of a logger of this test."""
    return f"nbpar-test.{request.node.name}"


@pytest.fixture(autouse=True)
def _as_before():
    root, disabled = logging.root.level, logging.root.manager.disable
    yield
    logging.root.setLevel(root)
    logging.disable(disabled)


def test_levels_that_were_set_are_told_and_others_not(name):
    logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger(f"{name}.child")
    logging.disable(logging.INFO)

    levels = dict(levels_here())

    assert levels[name] == logging.DEBUG
    assert f"{name}.child" not in levels
    assert levels[""] == logging.INFO
    assert levels["root"] == logging.root.level


def test_a_logger_of_another_class_is_made_by_its_owner(name):
    class Special(logging.Logger):
        pass

    logging.root.manager.loggerDict[name] = Special(name, logging.DEBUG)
    try:
        assert name not in dict(levels_here())
    finally:
        del logging.root.manager.loggerDict[name]


def test_borrowed_levels_are_in_effect_until_they_are_given_back(name):
    own = logging.getLogger(f"{name}.own")
    own.setLevel(logging.ERROR)
    levels = ((f"{name}.own", logging.DEBUG), (f"{name}.new", logging.INFO), ("", logging.DEBUG))
    borrowed = BorrowedLevels()

    borrowed.apply(levels)
    new = logging.getLogger(f"{name}.new")
    assert (own.level, new.level, logging.root.manager.disable) == (
        logging.DEBUG,
        logging.INFO,
        logging.DEBUG,
    )
    assert not own.isEnabledFor(logging.DEBUG)

    borrowed.restore()
    assert (own.level, new.level, logging.root.manager.disable) == (logging.ERROR, logging.NOTSET, 0)


def test_other_levels_replace_those_of_the_run_before(name):
    one, two = logging.getLogger(f"{name}.one"), logging.getLogger(f"{name}.two")
    one.setLevel(logging.WARNING)
    borrowed = BorrowedLevels()

    borrowed.apply(((one.name, logging.DEBUG),))
    borrowed.apply(((two.name, logging.DEBUG),))
    assert (one.level, two.level) == (logging.WARNING, logging.DEBUG)

    borrowed.restore()
    borrowed.restore()
    assert (one.level, two.level) == (logging.WARNING, logging.NOTSET)


def test_a_level_that_an_item_sets_stays_for_its_run(name):
    logger = logging.getLogger(name)
    borrowed = BorrowedLevels()
    levels = ((name, logging.DEBUG),)
    borrowed.apply(levels)

    logger.setLevel(logging.ERROR)
    borrowed.apply(levels)
    assert logger.level == logging.ERROR

    borrowed.restore()
    assert logger.level == logging.NOTSET
