"""Batches between producers and consumers, and their failures."""

from __future__ import annotations

import pickle
import queue
import threading
import traceback
from multiprocessing import current_process
from typing import Any

from nbpar.compat.neuraxle.bases import bases
from nbpar.compat.neuraxle.batches import Batch
from nbpar.core.outcome import Failure
from nbpar.core.stages import StageFailure
from nbpar.errors import NbparError

POLL = 0.1
"""Maximal seconds that `_get_minibatch_to_consume` waits."""


class QueuedMinibatchTask:
    """A batch in a queue."""

    def __init__(self, minibatch_dact: Any, step_name: str | None = None) -> None:
        self.minibatch_dact = minibatch_dact
        self.worker_name = step_name

    def is_error(self) -> bool:
        """Whether it represents a failed batch."""
        return False

    def to_error(self, error: BaseException) -> MinibatchError:
        """Return a task for this batch, which failed with the current exception."""
        where = f'Process:Thread "{current_process().name}:{threading.current_thread().name}"'
        message = f"{error}\n\n{where} {traceback.format_exc()}"
        return MinibatchError(self.minibatch_dact, self.worker_name, error, message)


class MinibatchError(QueuedMinibatchTask, NbparError):
    """A step failed for a batch; also the cause of the step's own exception, which is the one raised.

    Attributes:
        step_name: the step's name.
        first: index of the batch's first item.
        items: the step's input.
        err: the step's exception.
        traceback_msg: its traceback as text.
    """

    def __init__(
        self,
        minibatch_dact: Any,
        step_name: str | None,
        err: BaseException,
        traceback_msg: str | None = None,
    ) -> None:
        QueuedMinibatchTask.__init__(self, minibatch_dact, step_name)
        NbparError.__init__(self, minibatch_dact, step_name, err, traceback_msg)
        self.step_name = step_name or ""
        self.err = err
        self.traceback_msg = traceback_msg
        self.first = getattr(minibatch_dact, "first", 0)
        self.items = getattr(minibatch_dact, "data_inputs", None)

    def is_error(self) -> bool:
        """Whether it represents a failed batch."""
        return True

    def get_err(self) -> BaseException:
        """Return an exception of the step's type with the traceback as its message, if that is possible."""
        if self.traceback_msg is None:
            return self.err
        try:
            return type(self.err)(self.traceback_msg)
        except Exception:  # noqa: BLE001 (a type of the user's, which may want other arguments)
            return self.err

    def __str__(self) -> str:
        last = self.first + max(len(self.items or ()), 1) - 1
        return f"step {self.step_name!r} failed (items {self.first} to {last})\n{self.traceback_msg}"

    @classmethod
    def of(cls, failure: Failure, step_name: str | None = None) -> MinibatchError:
        """Return the error of a pipeline's failure for its batch."""
        step = failure.stage if isinstance(failure, StageFailure) and not step_name else step_name
        message = f"{failure.exception}\n\n{failure.worker or 'a worker'} {failure.traceback}"
        return cls(failure.item, step, failure.exception, message)


def pickle_exception_into_task(task: QueuedMinibatchTask | None, err: BaseException) -> MinibatchError:
    """Return a task that failed with the current exception."""
    return (task or QueuedMinibatchTask(None)).to_error(err)


class _QueueDestroyedError(EOFError):
    """The queue of a step is closed, or does not exist yet."""


class TaskQueue(queue.Queue[Any]):
    """A closable queue, with the methods that programs call on multiprocessing's."""

    _CLOSED = object()
    _is_closed = False

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        if self._is_closed:
            raise ValueError("the queue is closed")

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        item = super().get(block, timeout)
        if item is self._CLOSED:
            self.close()  # for the next waiting thread
            raise ValueError("the queue is closed")
        return item

    def close(self) -> None:
        """Wake all waiting threads; the queue accepts and returns nothing more."""
        with self.mutex:
            self._is_closed = True
            self.maxsize = 1 << 62
            self.queue.clear()
            self.queue.append(self._CLOSED)
            self.not_empty.notify()
            self.not_full.notify_all()

    def cancel_join_thread(self) -> None:
        """Do nothing: no thread writes to a pipe here."""

    join_thread = cancel_join_thread


class _ProducerConsumerStepSaver(bases.BaseSaver):  # type: ignore[misc]  # Neuraxle's, or ours
    """Omits the queues when a step is saved."""

    def save_step(self, step: Any, context: Any) -> Any:  # noqa: ARG002 (Neuraxle's)
        """Remove the queues."""
        step.input_queue, step.consumers = None, []
        return step

    def can_load(self, step: Any, context: Any) -> bool:  # noqa: ARG002 (Neuraxle's)
        """Return True: nothing needs to be read."""
        return True

    def load_step(self, step: Any, context: Any) -> Any:  # noqa: ARG002 (Neuraxle's)
        """Start without a queue."""
        step.input_queue = None
        return step


class _ProducerConsumerMixin:
    """A step that takes tasks from its own queue and puts the results into those of others.

    Args:
        max_queued_minibatches: queued tasks from which `put_minibatch_produced` blocks; 0: unlimited.
    """

    name: str
    savers: list[Any]
    input_queue: TaskQueue | None = None
    consumers: list[TaskQueue]
    recipients: list[Any]
    """The owners of the queues of `consumers`."""

    producers: list[Any]
    produced: int
    """Number of tasks put into the queue."""

    def __init__(self, max_queued_minibatches: int | None = 0) -> None:
        self.savers.append(_ProducerConsumerStepSaver())
        self.max_queued_minibatches = max(0, max_queued_minibatches or 0)
        self._disconnect()
        self.produced = 0

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have no queues."""
        return {**self.__dict__, "input_queue": None, "consumers": [], "recipients": [], "producers": []}

    def _init_queue(self) -> None:
        if self.input_queue is None:
            self.input_queue = TaskQueue(self.max_queued_minibatches)

    def register_consumer(self, recepient: Any) -> Any:
        """Send the results to other workers, or to a joiner."""
        self._init_queue()
        recepient._init_queue()  # noqa: SLF001 (of the same kind)
        self.consumers.append(recepient.input_queue)
        self.recipients.append(recepient)
        recepient.producers.append(self)
        return self

    def put_minibatch_produced_to_next_consumers(self, task: QueuedMinibatchTask) -> None:
        """Pass a task to all consumers."""
        task.worker_name = self.name
        for consumer in self.consumers:
            consumer.put(task)

    def put_minibatch_produced(self, task: Any) -> None:
        """Pass a batch to this step: a task, or a container.

        Raises:
            EOFError: there is no queue: `_setup` was not called, or the workers have been stopped.
        """
        task = task if isinstance(task, QueuedMinibatchTask) else QueuedMinibatchTask(task)
        try:
            self._queue().put(task)
            self.produced += 1
        except ValueError as error:
            raise _QueueDestroyedError(f"the queue of {self.name!r} is closed") from error

    def _get_minibatch_to_consume(self) -> QueuedMinibatchTask:
        """Return the next task; `queue.Empty` if none arrives soon."""
        try:
            task: QueuedMinibatchTask = self._queue().get(timeout=POLL)
        except ValueError as error:
            raise _QueueDestroyedError(f"the queue of {self.name!r} is closed") from error
        return task

    def _ensure_task_picklable(self, task: QueuedMinibatchTask) -> None:
        try:
            pickle.dumps(task)
        except Exception as error:
            raise pickle.PickleError(f"cannot pickle {task!r} for the next consumers: {error}") from error

    def _queue(self) -> TaskQueue:
        if self.input_queue is None:
            raise _QueueDestroyedError(
                f"{self.name!r} has no queue: call its `_setup` or `register_consumer` before, and nothing "
                "after its `join` or `stop`"
            )
        return self.input_queue

    def first(self) -> Any:
        """Return the entry for batches."""
        return self.producers[0].first() if self.producers else self

    def _disconnect(self) -> None:
        self.consumers, self.recipients, self.producers = [], [], []

    def join(self) -> None:
        """Close the queue.  Idempotent."""
        if self.input_queue is not None:
            self.input_queue.close()
        self.input_queue = None


def container_of(task: QueuedMinibatchTask) -> Batch:
    """Return the content of a task's batch, with ids."""
    given = task.minibatch_dact
    ids = given.ids if isinstance(given, Batch) else getattr(given, "_ids", None)
    return Batch(
        given.data_inputs, range(len(given.data_inputs)) if ids is None else ids, given.expected_outputs
    )
