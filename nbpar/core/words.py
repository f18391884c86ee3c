"""The words that some options take, and what is said to another one."""

from __future__ import annotations

from collections.abc import Sequence

BACKENDS = ("engines", "threads", "serial")
"""Kinds of workers."""

ERRORS = ("raise", "collect", "skip")
"""What becomes of a failure."""

PROGRESS = ("auto", "widget", "text", "none")
"""How a run is shown."""


def check_word(name: str, value: object, words: Sequence[str]) -> None:
    """Raise ValueError unless an option is one of its words."""
    if value not in words:
        *others, last = [f'"{word}"' for word in words]
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, was {value!r}")
