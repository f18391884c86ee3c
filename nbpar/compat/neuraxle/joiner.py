"""Join the results of the workers of one or several steps."""

from __future__ import annotations

import queue
from typing import Any

from nbpar.compat.neuraxle.bases import bases
from nbpar.compat.neuraxle.batches import batch_of, merged
from nbpar.compat.neuraxle.tasks import MinibatchError, QueuedMinibatchTask, _ProducerConsumerMixin
from nbpar.compat.neuraxle.workers import log_error


class WorkersJoiner(_ProducerConsumerMixin, bases.Joiner):  # type: ignore[misc]  # Neuraxle's, or ours
    """Joins the outputs of the workers of one or several steps, in the order of registration."""

    def __init__(self, batch_size: int, n_worker_wrappers_to_join: int | None = None) -> None:
        bases.Joiner.__init__(self, batch_size=batch_size)
        _ProducerConsumerMixin.__init__(self)
        self.n_workers = n_worker_wrappers_to_join
        self.n_minibatches_per_worker: int | None = None
        self.names: list[str] = []
        self.summaries: list[str | None] = []

    def _setup(self, context: Any = None) -> Any:
        self._init_queue()
        return bases.Joiner._setup(self, context)  # noqa: SLF001 (of the base)

    def _teardown(self) -> Any:
        self.names, self.summaries = [], []
        self.join()
        return bases.Joiner._teardown(self)  # noqa: SLF001 (of the base)

    def set_join_quantities(self, n_workers: int, n_minibatches_per_worker: int) -> None:
        """Set the number of steps, and the number of batches from each.

        By default, the batches put into the registered workers are counted.
        """
        self.n_workers = n_workers
        self.n_minibatches_per_worker = n_minibatches_per_worker

    def append_terminal_summary(self, name: str, task: QueuedMinibatchTask) -> None:
        """Announce the next batch of a step, which determines the order of steps, and of batches with ids."""
        self.names.append(name)
        self.summaries.append(task.minibatch_dact.get_ids_summary())

    def join_workers(self, original_dact: Any, sync_context: Any = None) -> Any:
        """Return the container with a list of containers for data inputs, one for each step.

        Raises:
            ValueError: there is no queue.
            Exception: raised by a step, with a `MinibatchError` as its cause.
        """
        if self.input_queue is None:
            raise ValueError("Please connect queues and do the self._setup before attempting to join.")
        try:
            by_step = self._collect(sync_context)
            parts = [self._merge(by_step[name]) for name in self._in_order(by_step)]
        finally:
            for producer in self.producers:
                producer.first().stop_all()
            self._disconnect()
            self.join()
            self.n_minibatches_per_worker = None
        return original_dact.set_data_inputs(parts) if parts else original_dact

    def _expected(self) -> int:
        if self.n_minibatches_per_worker is not None:
            return (self.n_workers or 0) * self.n_minibatches_per_worker
        return sum(producer.first().produced for producer in self.producers)

    def _collect(self, context: Any) -> dict[str, list[Any]]:
        by_step: dict[str, list[Any]] = {}
        for _ in range(self._expected()):
            task = self._next()
            if isinstance(task, MinibatchError):
                self._fail(task, context)
            by_step.setdefault(task.worker_name or "", []).append(task.minibatch_dact)
        return by_step

    def _next(self) -> QueuedMinibatchTask:
        while True:
            try:
                return self._get_minibatch_to_consume()
            except queue.Empty:
                continue

    def _fail(self, task: MinibatchError, context: Any) -> None:
        try:
            raise task.err from task  # noqa: TRY301 (so that it is the current exception for the log)
        except Exception as error:
            log_error(context, error)
            raise

    def _in_order(self, by_step: dict[str, list[Any]]) -> list[str]:
        known = [*self.names, *(producer.name for producer in self.producers)]
        return sorted(by_step, key=lambda name: known.index(name) if name in known else len(known))

    def _merge(self, containers: list[Any]) -> Any:
        places = {summary: place for place, summary in reversed(list(enumerate(self.summaries)))}
        containers.sort(key=lambda one: places.get(one.get_ids_summary(), 0))
        batches = [batch_of(one) for one in containers]
        outputs = [batch.expected_outputs for batch in batches]
        ids = [batch.ids for batch in batches]
        return bases.DataContainer(
            di=merged([batch.data_inputs for batch in batches]),
            ids=None if any(one is None for one in ids) else [name for one in ids for name in one],
            eo=None if any(one is None for one in outputs) else merged(outputs),
        )
