"""What failed in a queued pipeline."""

from __future__ import annotations

from typing import Any

from nbpar.core.outcome import Failure
from nbpar.core.stages import StageFailure
from nbpar.errors import NbparError


class MinibatchError(NbparError):
    """A step failed for a batch; the cause of the step's own exception, which is what is raised.

    Attributes:
        step_name: which step.
        first: index of the batch's first item.
        items: what the step got.
        err: the step's exception.
        traceback_msg: where it was raised, as text.
    """

    def __init__(self, message: str, failure: Failure, first: int, items: Any) -> None:
        super().__init__(message)
        self.step_name = failure.stage if isinstance(failure, StageFailure) else ""
        self.first = first
        self.items = items
        self.err = failure.exception
        self.traceback_msg = failure.traceback

    @classmethod
    def of(cls, failure: Failure) -> MinibatchError:
        """Return what a pipeline's failure means for its batch."""
        batch = failure.item
        first, items = batch.first, batch.data_inputs
        step = failure.stage if isinstance(failure, StageFailure) else "?"
        message = (
            f"step {step!r} failed on {failure.worker or 'a worker'} for batch {failure.index} "
            f"(items {first} to {first + max(len(items), 1) - 1})\n{failure.traceback}"
        )
        return cls(message, failure, first, items)
