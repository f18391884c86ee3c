"""A stream through components, in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from nbpar.defaults import default_pool
from nbpar.pipeline.pipeline import Pipeline


def pipe(
    stream: Iterable[Any],
    *components: Any,
    batch_size: int | str = "auto",
    workers: int | None = None,
    backend: str = "engines",
    **options: Any,
) -> Iterator[Any]:
    """Yield what the components, one after another, make of each item of a stream.

    Lazy, in order, with bounded look-ahead and no barrier between batches: nothing is read before the
    first result is asked for, and endless streams are fine.

    Args:
        stream: any iterable.
        components: functions of one item, or whatever else may be a step of a `Pipeline`.
        batch_size: items that travel together; "auto" aims at 50 ms of work.
        workers: how many they share; by default the CPUs that this process may use; 0: this thread.
        backend: "engines", "threads" or "serial".
        options: those of `Pipeline.imap`.

    Raises:
        Exception: what a component raised first, in the place of its item.
    """
    __tracebackhide__ = True
    if not components:
        raise ValueError("pipe needs at least one component after the stream")
    pool = default_pool(None if workers == 0 else workers, "serial" if workers == 0 else backend)
    with Pipeline(components, batch_size=batch_size, pool=pool) as pipeline:
        yield from pipeline.imap(stream, **options)
