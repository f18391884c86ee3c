"""Workers of one step without a pipeline around them, and what joins their results."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

from nbpar.compat.neuraxle.applying import Applied
from nbpar.compat.neuraxle.batches import DataContainer, container_of
from nbpar.compat.neuraxle.errors import MinibatchError
from nbpar.compat.neuraxle.steps import parse_step
from nbpar.pipeline import Pipeline
from nbpar.pipeline.flow import PipelineRun


class QueuedMinibatchTask:
    """A batch on its way."""

    def __init__(self, minibatch_dact: Any, step_name: str | None = None) -> None:
        self.minibatch_dact = minibatch_dact
        self.worker_name = step_name


class ParallelWorkersWrapper:
    """Workers that apply one step to the batches that are put, for a consumer: more workers, or a joiner.

    Args:
        wrapped: the step.
        max_queued_minibatches: batches that wait at most before `put_minibatch_produced` waits too.
        n_workers: how many workers.
        use_processes: engines in place of threads.
        use_savers: let a Neuraxle step travel as files that its own savers write.
    """

    def __init__(
        self,
        wrapped: Any,
        max_queued_minibatches: int | None = None,
        n_workers: int = 1,
        use_processes: bool = True,
        use_savers: bool = False,
    ) -> None:
        self._spec = parse_step((n_workers, wrapped), None, max_queued_minibatches)
        self._applied = Applied(wrapped, use_savers=use_savers)
        self.name = self._spec.name
        self.use_processes = use_processes
        self.use_savers = use_savers
        self._consumer: ParallelWorkersWrapper | WorkersJoiner | None = None
        self.producer: ParallelWorkersWrapper | None = None
        self._inputs: queue.Queue[DataContainer | None] = queue.Queue(max(0, max_queued_minibatches or 0))
        self._pipeline: Pipeline | None = None
        self._run: PipelineRun | None = None

    def set_name(self, name: str) -> ParallelWorkersWrapper:
        """Name the step."""
        self.name = name
        return self

    def register_consumer(self, recipient: ParallelWorkersWrapper | WorkersJoiner) -> ParallelWorkersWrapper:
        """Have the results go to other workers, or to a joiner."""
        self._consumer = recipient
        if isinstance(recipient, ParallelWorkersWrapper):
            recipient.producer = self
        else:
            recipient.producers.append(self)
        return self

    def start(self, context: Any = None, logging_queue: Any = None) -> None:  # noqa: ARG002 (the original's)
        """Begin to work; workers that get their batches from others begin with those."""
        if self.producer is None and self._run is None:
            stages = [one._stage(context) for one in self._chain()]  # noqa: SLF001 (of the same class)
            self._pipeline = Pipeline(stages, batch_size=1)
            self._run = self._pipeline.map_async(iter(self._inputs.get, None), progress="none")

    def put_minibatch_produced(self, task: Any) -> None:
        """Hand over a batch: a task, or a container.

        Raises:
            ValueError: `start` was not called.
        """
        if self._run is None:
            raise ValueError(f"the workers of {self.name!r} have not been started")
        batch = task.minibatch_dact if isinstance(task, QueuedMinibatchTask) else task
        item = container_of(batch)
        item.ids = item.ids if item.ids is not None else range(len(item.data_inputs))
        while not self._run.done:
            try:
                return self._inputs.put(item, timeout=0.1)
            except queue.Full:
                continue
        return None  # it has failed; `join_workers` says with what

    def results(self) -> list[DataContainer]:
        """Wait for what was put and return it, in the order in which it was put."""
        first = self.first()
        run = first._run  # noqa: SLF001 (of the same class)
        if run is None:
            return []
        first._finish_input()  # noqa: SLF001
        try:
            return list(run.get())
        except Exception as error:
            named = [failure for failure in run.failures if failure.exception is error]
            raise error from (MinibatchError.of(named[0]) if named else None)
        finally:
            first.stop()

    def first(self) -> ParallelWorkersWrapper:
        """Return the workers where batches come in."""
        return self if self.producer is None else self.producer.first()

    def stop(self) -> None:
        """Stop the workers.  May be called twice."""
        run, self._run = self._run, None
        if run is not None:
            run.cancel()
            self._drain()
        if self._pipeline is not None:
            self._pipeline.close()
        self._applied.discard()

    join = stop

    def _chain(self) -> Iterator[ParallelWorkersWrapper]:
        yield self
        if isinstance(self._consumer, ParallelWorkersWrapper):
            yield from self._consumer._chain()  # noqa: SLF001 (of the same class)

    def _stage(self, context: Any) -> Any:
        self._applied.prepare(context, processes=self.use_processes)
        return self._spec.stage("engines" if self.use_processes else "threads", self._applied)

    def _finish_input(self) -> None:
        while self._run is not None and not self._run.done:
            try:
                return self._inputs.put(None, timeout=0.1)
            except queue.Full:
                continue
        return None

    def _drain(self) -> None:
        """Let the thread that reads the inputs end."""
        while not self._inputs.empty():
            self._inputs.get_nowait()
        self._inputs.put(None)


class WorkersJoiner:
    """Joins what the workers of one or several steps made, in the order in which they were registered."""

    def __init__(self, batch_size: int, n_worker_wrappers_to_join: int | None = None) -> None:
        self.batch_size = batch_size
        self.n_workers = n_worker_wrappers_to_join
        self.producers: list[ParallelWorkersWrapper] = []

    def set_join_quantities(self, n_workers: int, n_minibatches_per_worker: int) -> None:
        """Accepted: what was put is counted here."""

    def append_terminal_summary(self, name: str, task: Any) -> None:
        """Accepted: batches keep their order here."""

    def join_workers(self, original_dact: Any, sync_context: Any = None) -> Any:  # noqa: ARG002 (the original's)
        """Return a copy of the container with a list of containers for data inputs, one for each step.

        Raises:
            Exception: what a step raised, with a `MinibatchError` as its cause.
        """
        joined = []
        try:
            for producer in self.producers:
                batches = producer.results()
                joined.append(DataContainer(
                    [value for batch in batches for value in batch.data_inputs],
                    [name for batch in batches for name in batch.ids],
                ))  # fmt: skip
        finally:
            for producer in self.producers:
                producer.first().stop()
        return original_dact.copy().set_data_inputs(joined)
