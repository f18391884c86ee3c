"""Hear of news at ends of channels in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from nbpar.worker.end import End


@contextmanager
def news_of(ends: Sequence[End]) -> Iterator[asyncio.Event]:
    """Set an event of the running loop whenever something comes to one of the ends, in this block."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()

    def listen() -> None:
        with suppress(RuntimeError):  # the loop was closed a moment ago
            loop.call_soon_threadsafe(came.set)

    for end in ends:
        end.listeners.append(listen)
    try:
        yield came
    finally:
        for end in ends:
            end.listeners.remove(listen)
