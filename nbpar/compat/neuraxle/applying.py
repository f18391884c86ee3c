"""Apply a step to a batch on a worker: a Neuraxle step or anything with `transform`."""

from __future__ import annotations

import copy
import shutil
import tempfile
import weakref
from typing import Any

from nbpar.compat.neuraxle.bases import bases, theirs
from nbpar.compat.neuraxle.batches import Batch, batch_of
from nbpar.compat.neuraxle.locks import make_shareable
from nbpar.worker.prepared import kept

OWN = 64
"""Number of copies of steps with attributes of their own that a process caches."""


class Applied:
    """Applies a step to batches.

    Args:
        step: anything with `transform`.
        use_savers: send a Neuraxle step as files, which its own savers write and each worker
            reads once; for steps that cannot be pickled.  Workers must have access to this computer's
            temporary directory.
    """

    def __init__(self, step: Any, *, use_savers: bool = False) -> None:
        self._step = step
        self._context: Any = None
        self._folder = ""
        self._savers = use_savers and theirs is not None and has_handlers(step)
        self._finalizer: Any = None

    def prepare(self, context: Any, *, processes: bool) -> None:
        """Set the context of the step, and save the current state of the step."""
        if context is not None and has_handlers(self._step):
            if processes:
                make_shareable(context)
            alone = context.thread_safe()  # without the surrounding steps, which may be arbitrary objects
            self._context = alone.process_safe() if processes else alone
        if self._savers:
            self._save()

    def discard(self) -> None:
        """Remove the files.  Idempotent."""
        if self._finalizer is not None:
            self._finalizer()

    def __call__(self, batch: Batch, attributes: dict[str, Any] | None = None) -> Batch:
        """Apply the step, or with `attributes` a copy of it with these: a worker's own."""
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
        self.discard()
        self._folder = tempfile.mkdtemp(prefix="nbpar-step-")
        self._finalizer = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._step.save(bases.ExecutionContext(self._folder), full_dump=True)
        self._name = self._step.get_name()

    def _load(self) -> Any:
        return bases.ExecutionContext(self._folder).load(self._name)


_own: dict[int, tuple[Any, Any]] = {}


def transformed(step: Any, batch: Batch, context: Any = None) -> Batch:
    """Return a new batch with a step's output; a step with handlers gets a container, in a context.

    Raises:
        ValueError: the handler did not return a container.
    """
    new = batch.copy()
    if not has_handlers(step):
        new.data_inputs = step.transform(batch.data_inputs)
        return new
    result = step.handle_transform(
        container_with(batch), bases.ExecutionContext() if context is None else context
    )
    return taken(new, result)


def container_with(batch: Batch) -> Any:
    """Return a data container with the content of a batch."""
    ids = None if batch.ids is None else list(batch.ids)
    return bases.DataContainer(ids=ids, di=batch.di, eo=batch.eo)


def taken(batch: Batch, container: Any) -> Batch:
    """Copy the content of a container returned by a step into a batch."""
    if not isinstance(container, bases.DataContainer):
        raise ValueError(  # noqa: TRY004 (the original's)
            f"Minibatch DACT is not of good type. Received {type(container)}: {container!s:.200}. "
            "The handlers of a step have to return a data container"
        )
    content = batch_of(container)
    batch.data_inputs, batch.expected_outputs = content.data_inputs, content.expected_outputs
    batch.ids = batch.ids if content.ids is None else content.ids
    return batch


def has_handlers(step: Any) -> bool:
    """Whether a step handles data containers, like Neuraxle's."""
    return hasattr(step, "handle_transform")
