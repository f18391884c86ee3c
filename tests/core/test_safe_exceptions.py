"""Exceptions of items or the input must not end the program that waits for them."""

from __future__ import annotations

import traceback
from asyncio import CancelledError

import pytest

from nbpar.core.safe_exceptions import harmless, harmless_input
from nbpar.errors import InputExitedError, ItemExitedError, StoppedError


def raised(error):
    """Return an exception with a traceback."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


@pytest.mark.parametrize("error", [ValueError("no"), Exception(), MemoryError(), BaseException("odd")])
def test_what_harms_nobody_stays_itself(error):
    assert harmless(error) is error
    assert harmless_input(error, 3) is error


@pytest.mark.parametrize(
    ("error", "did"),
    [
        (SystemExit(), r"sys.exit\(\)"),
        (SystemExit(3), r"sys.exit\(3\)"),
        (SystemExit("bye"), r"sys.exit\('bye'\)"),
        (KeyboardInterrupt(), "raised KeyboardInterrupt.*, which only the one who waits may do"),
        (GeneratorExit(), "raised GeneratorExit"),
        (CancelledError(), "raised CancelledError"),
    ],
)
def test_what_would_end_or_cancel_the_one_who_waits_is_replaced_and_keeps_its_place(error, did):
    error = raised(error)

    of_item, of_input = harmless(error), harmless_input(error, 2)

    assert (type(of_item), type(of_input)) == (ItemExitedError, InputExitedError)
    for replacement in (of_item, of_input):
        with pytest.raises(type(replacement), match=did):
            raise replacement
        assert "raised" in [frame.name for frame in traceback.extract_tb(replacement.__traceback__)]


def test_the_input_says_how_far_it_was_read():
    assert str(harmless_input(SystemExit(), 1)) == (
        "the input called sys.exit() after 1 item; it ends by `return`"
    )
    assert "after 2,000 items" in str(harmless_input(KeyboardInterrupt(), 2000))


def test_an_input_that_was_stopped_stops_what_reads_it():
    stopped = StoppedError("map was stopped")

    assert harmless_input(stopped, 4) is stopped
    assert isinstance(harmless(stopped), ItemExitedError)
