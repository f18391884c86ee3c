"""A pipeline that begins where an earlier one ended: items whose results are known pass all stages untouched.

They are looked up where the pipeline begins and kept where it ends, which may be in two threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from nbpar.core.events import Event
from nbpar.core.outcome import KnownPart, Part
from nbpar.core.source import Source
from nbpar.core.spread import Spread
from nbpar.journal.identity import Identity, identify_together
from nbpar.journal.journal import Journal
from nbpar.journal.keys import Keys
from nbpar.journalled import JournalledItems
from nbpar.pipeline.stage import Stage
from nbpar.pipeline.steps import Chain, Step, name_of, stages_of


class ResumedItems(JournalledItems):
    """A pipeline's input without the items whose results are known.

    Args:
        name: of the journal.
        identity: what its results depend on besides the items.
        items: the input.
        room: how many known results, from an index on, the consumer has room for.
        emit: takes events of the whole pipeline.
        wake: wakes the stages that read from it.
        seeded: whether an item's place in the input is part of what it is.

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
        """Write what is left; nothing is looked up any more."""
        with self._lock:
            self._closed = True
        self._journal.close()


def identity_of(step: Step, seed: int | None) -> Identity:
    """Take a pipeline apart: what its stages do, what prepares their workers, how they are connected.

    Raises:
        JournalError: one of them uses a value of which nobody could tell whether it has changed.
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
    """Say how the stages are connected, and which get batches."""
    if isinstance(step, Stage):
        return str((Spread.BATCH if step.batched else Spread.ONE).value)
    inner = step.steps if isinstance(step, Chain) else (*step.branches, step.join)
    return f"{type(step).__name__}({','.join(map(_shape, inner))})"


def _nothing(*args: Any) -> None:
    """Hold values that belong to a stage's workers."""
