"""What all tests rely on."""

from __future__ import annotations

import signal

import pytest


def pytest_configure():
    """Hear Ctrl-C also where the tests were started in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def opened():
    """Make things that are closed after the test: `opened(nbpar.Pipeline, stages)`."""
    made = []

    def make(kind, *args, **kwargs):
        made.append(kind(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()
