"""What a worker does with a step: apply it to a batch, a Neuraxle step or anything with `transform`."""

from __future__ import annotations

import copy
import shutil
import tempfile
import weakref
from typing import Any

from nbpar.compat.neuraxle.batches import DataContainer
from nbpar.worker.staged import kept

OWN = 64
"""Copies of steps with attributes of their own that a process remembers."""


class Applied:
    """Applies a step to batches.

    Args:
        step: anything with `transform`.
        use_savers: let a Neuraxle step travel as files, which its own savers write and each worker
            reads once; for steps that cannot be pickled.  Workers have to see this computer's
            temporary directory.
    """

    def __init__(self, step: Any, *, use_savers: bool = False) -> None:
        self._step = step
        self._context: Any = None
        self._folder = ""
        self._savers = use_savers and is_neuraxle(step)
        self._finalizer: Any = None

    def prepare(self, context: Any, *, processes: bool) -> None:
        """Take the context in which the step is to run, and write the step as it is now."""
        if context is not None and is_neuraxle(self._step):
            self._context = context.process_safe() if processes else context.thread_safe()
        if self._savers:
            self._save()

    def discard(self) -> None:
        """Remove what was written.  May be called twice."""
        if self._finalizer is not None:
            self._finalizer()

    def __call__(self, batch: DataContainer, attributes: dict[str, Any] | None = None) -> DataContainer:
        """Apply the step, or with `attributes` a copy of it that has these: a worker's own."""
        step = self._loaded() if attributes is None else self._own(attributes)
        return transformed(step, batch, self._context)

    def __getstate__(self) -> dict[str, Any]:
        written = {"_step": None, "_finalizer": None} if self._savers else {}
        return {**self.__dict__, **written}

    def _loaded(self) -> Any:
        return kept(self._folder, self._load) if self._savers else self._step

    def _own(self, attributes: dict[str, Any]) -> Any:
        known = _own.get(id(attributes))
        if known is None or known[0] is not attributes:
            mine = self._load() if self._savers else copy.copy(self._step)
            mine.__dict__.update(attributes)
            known = _own[id(attributes)] = (attributes, mine)
            while len(_own) > OWN:
                _own.pop(next(iter(_own)))
        return known[1]

    def _save(self) -> None:
        from neuraxle.base import ExecutionContext

        self.discard()
        self._folder = tempfile.mkdtemp(prefix="nbpar-step-")
        self._finalizer = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._step.save(ExecutionContext(self._folder), full_dump=True)
        self._name = self._step.get_name()

    def _load(self) -> Any:
        from neuraxle.base import ExecutionContext

        return ExecutionContext(self._folder).load(self._name)


_own: dict[int, tuple[Any, Any]] = {}


def transformed(step: Any, batch: DataContainer, context: Any = None) -> DataContainer:
    """Return a new batch with what a step makes of one; Neuraxle's own run in a context."""
    new = batch.copy()
    if is_neuraxle(step):
        from neuraxle.base import ExecutionContext
        from neuraxle.data_container import DataContainer as TheirContainer

        theirs = TheirContainer(ids=list(batch.ids), di=batch.di, eo=batch.eo)
        result = step.handle_transform(theirs, ExecutionContext() if context is None else context)
        new.data_inputs, new.ids, new.expected_outputs = result.di, result.ids, result.eo
    else:
        new.data_inputs = step.transform(batch.data_inputs)
    return new


def is_neuraxle(step: Any) -> bool:
    """Whether a step is one of Neuraxle's own."""
    return hasattr(step, "handle_transform")
