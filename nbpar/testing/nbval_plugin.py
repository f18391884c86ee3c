"""Pytest plugin for nbval: ignore output that differs between equal runs.

pytest loads this automatically where nbpar is installed.  The HTML summary of a run has its time,
workers and speed-up, and nbval compares HTML.  The progress of a run when a failure, a `break`
or Stop ended it is in its text, too.
"""

from __future__ import annotations

from typing import Any

UNCOMPARED = {
    r'<span class="nbpar-times"[^>]*>[^<]*</span>': "",
    r"\b(failed|stopped|running): [\d,]+( of [\d,]+)? (done|item)s?": r"\1: some\2 \3",
}
"""Replacements before outputs are compared."""


def pytest_collectstart(collector: Any) -> None:
    """Configure nbval's collectors of notebooks (a hook of pytest)."""
    if type(collector).__module__ == "nbval.plugin" and hasattr(collector, "sanitize_patterns"):
        collector.sanitize_patterns.update(UNCOMPARED)
