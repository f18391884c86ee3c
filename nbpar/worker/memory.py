"""How much memory this process holds."""

from __future__ import annotations

import os
import sys
import time

_last = (0.0, 0)


def resident_bytes() -> int:
    """Return the resident set size in bytes, at most 0.1 s old; 0 where it is not known."""
    global _last  # noqa: PLW0603 (a cache of one number)
    now = time.monotonic()
    if now - _last[0] > 0.1:
        _last = (now, _resident_bytes())
    return _last[1]


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 (read ten times a second)
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        pass
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
