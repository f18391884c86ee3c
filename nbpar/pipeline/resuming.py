"""Resume a pipeline: items whose results are stored pass all stages untouched.

Results are looked up at the start of the pipeline and stored at its end, possibly by two threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from nbpar.core.call_style import CallStyle
from nbpar.core.events import Event
from nbpar.core.outcome import KnownPart, Part
from nbpar.core.source import Source
from nbpar.journal.identity import Identity, identify_together
from nbpar.journal.journal import Journal
from nbpar.journal.keys import Keys
from nbpar.journal.resuming import JournalledItems
from nbpar.pipeline.stage import Stage
from nbpar.pipeline.steps import Chain, Step, name_of, stages_of


class ResumedItems(JournalledItems):
    """A pipeline's input, without items whose results are known.

    Args:
        name: the journal's name.
        identity: all that the results depend on besides the items.
        items: the input.
        room: returns the consumer's room for known results from an index on.
        emit: takes events of the whole pipeline.
        wake: wakes the stages that read from it.
        seeded: whether results depend on an item's index.

    Raises:
        JournalError: the journal cannot be used.
    """

    def __init__(
        self,
        name: str,
        identity: Identity,
        items: Source,
        *,
        room: Callable[[int], int],
        emit: Callable[[Event], None],
        wake: Callable[[], None],
        seeded: bool,
    ) -> None:
        self._journal = Journal.open(name, identity)
        super().__init__(self._journal, items, room, emit, wake, Keys(by_index=seeded))
        self._lock = threading.Lock()  # the pipeline may end while its first stage still reads
        self._closed = False

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:
        with self._lock:
            return () if self._closed else super().take(limit, eager=eager)

    def known(self) -> Part | None:
        with self._lock:
            part = None if self._closed else super().known()
        return None if part is None else KnownPart(part.first, part.values)

    def close_journal(self) -> None:
        """Write the remaining results; stop looking up."""
        with self._lock:
            self._closed = True
        self._journal.close()


def identity_of(step: Step, seed: int | None) -> Identity:
    """Return the parts that determine a pipeline's results: functions, initializers, connections.

    Raises:
        JournalError: one of them uses a value whose changes cannot be detected.
    """
    functions: dict[str, Callable[..., Any]] = {}
    for place, stage in enumerate(stages_of(step), 1):
        functions[f"in stage {place}"] = stage.fn
        if stage.initializer is not None:
            functions[f"in the initializer of stage {place}"] = partial(stage.initializer, *stage.initargs)
        if stage.worker_args is not None:
            functions[f"in the worker_args of stage {place}"] = partial(_nothing, *stage.worker_args)
    return identify_together(name_of(step), functions, spread=_shape(step), seed=seed)


def _shape(step: Step) -> str:
    """Describe how the stages are connected, and which are batched."""
    if isinstance(step, Stage):
        return str((CallStyle.BATCH if step.batched else CallStyle.ONE).value)
    inner = step.steps if isinstance(step, Chain) else (*step.branches, step.join)
    return f"{type(step).__name__}({','.join(map(_shape, inner))})"


def _nothing(*args: Any) -> None:
    """Placeholder for values that belong to a stage's workers."""
