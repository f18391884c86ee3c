"""What all tests rely on."""

from __future__ import annotations

import signal


def pytest_configure():
    """Hear Ctrl-C also where the tests were started in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
