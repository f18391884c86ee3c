"""Workers of one step: in a queued pipeline, or alone between producers and consumers."""

from __future__ import annotations

import contextlib
import queue
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nbpar.compat.neuraxle.applying import Applied, container_with, taken, transformed
from nbpar.compat.neuraxle.bases import bases
from nbpar.compat.neuraxle.batches import Batch
from nbpar.compat.neuraxle.engines import engines
from nbpar.compat.neuraxle.plain import as_step, bare
from nbpar.compat.neuraxle.steps import fitted, name_of
from nbpar.compat.neuraxle.tasks import (
    MinibatchError,
    QueuedMinibatchTask,
    TaskQueue,
    _ProducerConsumerMixin,
    _QueueDestroyedError,
    container_of,
    pickle_exception_into_task,
)
from nbpar.core.outcome import Failure
from nbpar.errors import StoppedError
from nbpar.pipeline import Pipeline, Stage
from nbpar.pool.options import Options
from nbpar.pool.result_stream import shown_stream

if TYPE_CHECKING:
    from nbpar.pipeline.run import PipelineRun


class ParallelWorkersWrapper(_ProducerConsumerMixin, bases.MetaStep):  # type: ignore[misc]  # Neuraxle's, or ours
    """Workers that apply one step to batches, for consumers: more workers, or a joiner.

    Prints and log records of a step are shown, labeled by batch.

    Args:
        wrapped: the step.
        max_queued_minibatches: maximal number of queued batches before `put_minibatch_produced` blocks.
        n_workers: the number of workers.
        use_processes: engines instead of threads.
        use_savers: send a Neuraxle step as files that its own savers write.
    """

    _run: PipelineRun | None = None
    _applied: Applied | None = None
    _courier: threading.Thread | None = None
    _pipeline: Pipeline | None = None
    wrapped: Any

    def __init__(
        self,
        wrapped: Any,
        max_queued_minibatches: int | None = None,
        n_workers: int = 1,
        use_processes: bool = True,
        use_savers: bool = False,
    ) -> None:
        if not hasattr(wrapped, "transform"):
            raise TypeError(f"a step needs a method `transform`, was {wrapped!r}")
        bases.MetaStep.__init__(self, wrapped=as_step(wrapped))
        _ProducerConsumerMixin.__init__(self, max_queued_minibatches)
        self.name = name_of(wrapped)
        self.n_workers = n_workers
        self.use_processes = use_processes
        self.use_savers = use_savers
        self.worker_arguments: tuple[dict[str, Any], ...] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have no workers."""
        return {**super().__getstate__(), "_run": None, "_applied": None, "_courier": None, "_pipeline": None}

    # ---- life cycle

    def _setup(self, context: Any = None) -> Any:
        bases.MetaStep._setup(self, context)  # noqa: SLF001 (of the base)
        self._init_queue()

    def _teardown(self) -> Any:
        self.stop()
        return bases.MetaStep._teardown(self)  # noqa: SLF001 (of the base)

    def start(self, context: Any = None, logging_queue: Any = None) -> None:  # noqa: ARG002 (the original's)
        """Start processing the queue.

        Raises:
            ValueError: there is no queue.
        """
        if self.input_queue is None:
            raise ValueError("Please call self._setup before and connect queues.")
        if self._run is not None:
            return
        self._applied = self.applied()
        self._applied.prepare(context, processes=self.use_processes)
        pool = engines.pool(self.n_workers, [bare(self.wrapped)]) if self.use_processes else None
        self._pipeline = Pipeline([self.stage(self._applied)], batch_size=1, pool=pool)
        tasks: deque[QueuedMinibatchTask] = deque()
        asked = Options.of({"errors": "collect", "progress": "none"})
        batches = _batches(self.input_queue, tasks)
        self._run = run = self._pipeline._launch(batches, asked, streaming=True).begin()  # noqa: SLF001 (of our own)
        outcomes = shown_stream(run, asked, None, None)
        arguments = (weakref.ref(self), outcomes, tasks, list(self.consumers))
        self._courier = threading.Thread(
            target=_carry, args=arguments, name=f"{self.name} courier", daemon=True
        )
        self._courier.start()
        weakref.finalize(self, _let_go, self.input_queue, run)

    def stop(self) -> None:
        """Stop the workers.  Idempotent."""
        run, self._run = self._run, None
        _ProducerConsumerMixin.join(self)
        if run is not None:
            run.cancel()
        if self._courier is not None and self._courier is not threading.current_thread():
            self._courier.join()
        if self._pipeline is not None:
            self._pipeline.close()
        if self._applied is not None:
            self._applied.discard()
        self._disconnect()
        self.produced = 0

    def stop_all(self) -> None:
        """Stop these workers and the consumers of their results."""
        recipients = [one for one in self.recipients if isinstance(one, ParallelWorkersWrapper)]
        self.stop()
        for one in recipients:
            one.stop_all()

    def join(self) -> None:
        """Stop the workers.  Idempotent."""
        self.stop()

    def reload_post_saving(self, context: Any) -> ParallelWorkersWrapper:
        """Replace the step of these workers by the one saved with them."""
        self._assert(
            self.use_savers,
            "Attempted to reload post saving whilst not using savers. Don't reload when not using savers.",
            context,
        )
        self.set_step(context.load(self.get_name()).get_step())
        return self

    # ---- for a pipeline

    def applied(self) -> Applied:
        """Return the object that applies the step on a worker."""
        return Applied(bare(self.wrapped), use_savers=self.use_savers)

    def stage(self, applied: Applied) -> Stage:
        """Return the stage that applies the step to batches."""
        own = None
        if self.worker_arguments is not None:
            own = [(attributes,) for attributes in self.worker_arguments[: self.n_workers]]
        return Stage(
            applied, workers=self.n_workers, backend="engines" if self.use_processes else "threads",
            queue_size=self.max_queued_minibatches or None, batch_size=1, name=self.name, worker_args=own,
        )  # fmt: skip

    def fit_batch(self, batch: Batch, context: Any) -> Batch:
        """Fit the step to a batch, in this thread; return its output."""
        new = batch.copy()
        if hasattr(self, "handle_fit_transform"):
            _, container = self.handle_fit_transform(container_with(batch), context)
            return taken(new, container)
        self.wrapped, new.data_inputs = fitted(self.wrapped, batch.data_inputs, batch.expected_outputs)
        return new


def worker_function(
    worker: ParallelWorkersWrapper,
    context: Any,
    use_savers: bool,
    logging_queue: Any = None,  # noqa: ARG001 (the original's)
) -> None:
    """Run a wrapper's worker in this thread, until its queue is closed or an error arrives."""
    if use_savers:
        worker.reload_post_saving(context)
    step = bare(worker.get_step())
    while True:
        try:
            task = worker._get_minibatch_to_consume()  # noqa: SLF001 (as the original)
        except queue.Empty:
            continue
        except _QueueDestroyedError:
            return
        if not task.is_error():
            task = _worked(step, task, context)
            worker.put_minibatch_produced_to_next_consumers(task)
        else:
            worker.put_minibatch_produced_to_next_consumers(task)
            return


def _worked(step: Any, task: QueuedMinibatchTask, context: Any) -> QueuedMinibatchTask:
    try:
        task.minibatch_dact = container_with(transformed(step, container_of(task), context))
    except Exception as error:  # noqa: BLE001 (any user code may run here)
        log_error(context, error)
        return pickle_exception_into_task(task, error)
    return task


def log_error(context: Any, error: BaseException) -> None:
    """Report the current exception to a context's log; does nothing without Neuraxle."""
    if (flow := getattr(context, "flow", None)) is not None:
        flow.log_error(error)


def _batches(tasks: TaskQueue, taken: deque[QueuedMinibatchTask]) -> Iterator[Batch]:
    """Yield the batches until the queue is closed or an error arrives, which is passed on."""
    while True:
        try:
            task = tasks.get()
        except ValueError:
            return
        taken.append(task)
        if task.is_error():
            return
        yield container_of(task)


def _carry(
    mine: Any, outcomes: Iterator[Any], tasks: deque[QueuedMinibatchTask], consumers: list[TaskQueue]
) -> None:
    """Pass the results of the tasks to the consumers."""
    try:
        for outcome in outcomes:
            task = tasks.popleft()
            if isinstance(outcome, Failure):
                task = MinibatchError.of(outcome)
            else:
                task.minibatch_dact = container_with(outcome)
            _hand_on(mine, task)
        while tasks:  # an error of the producer
            _hand_on(mine, tasks.popleft())
    except StoppedError:
        return
    except Exception as error:  # noqa: BLE001 (of the workers: none is left, for example)
        for consumer in consumers:
            with contextlib.suppress(ValueError):
                consumer.put(pickle_exception_into_task(None, error))


def _hand_on(mine: Any, task: QueuedMinibatchTask) -> None:
    workers = mine()
    if workers is not None:
        with contextlib.suppress(ValueError):  # a consumer has stopped
            workers.put_minibatch_produced_to_next_consumers(task)


def _let_go(tasks: TaskQueue, run: Any) -> None:
    tasks.close()
    run.cancel()
