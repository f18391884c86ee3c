"""The two queued pipelines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nbpar.compat.neuraxle.applying import Applied, container_with
from nbpar.compat.neuraxle.bases import bases
from nbpar.compat.neuraxle.batches import Batch, batch_of, merged, minibatches
from nbpar.compat.neuraxle.engines import engines
from nbpar.compat.neuraxle.joiner import WorkersJoiner
from nbpar.compat.neuraxle.plain import bare
from nbpar.compat.neuraxle.steps import can_be_fitted, parse_step
from nbpar.compat.neuraxle.tasks import MinibatchError, QueuedMinibatchTask
from nbpar.compat.neuraxle.workers import ParallelWorkersWrapper, log_error
from nbpar.core.checks import at_least
from nbpar.pipeline import Pipeline, Stage, Union
from nbpar.run import history

if TYPE_CHECKING:
    from typing_extensions import Self


class BaseQueuedPipeline(bases.MiniBatchSequentialPipeline):  # type: ignore[misc]  # Neuraxle's, or ours
    """Steps applied to batches by workers of their own.

    Args:
        steps: each in one of the seven forms (`steps.FORMS`).
        batch_size: items in a batch.
        n_workers_per_step: for steps without a number; by default 1.
        max_queued_minibatches: maximal number of batches queued for a step; None or 0: enough to keep the
            workers busy.
        data_joiner: a function of the list of the branches' outputs, or an object with `transform` (or a
            Neuraxle joiner); without it they are concatenated along the outer axis.
        use_processes: run on engines instead of threads; they start as soon as this object is made.
        use_savers: send Neuraxle steps as files that their own savers write, instead of being
            pickled; other steps have none.  Each worker reads a copy of its own, threads too.
        keep_incomplete_batch: keep a last batch that is not full.
        default_value_data_inputs, default_value_expected_outputs: fill values of the last batch;
            `StripAbsentValues()` leaves it short.
    """

    progress = "none"
    """The view of `transform`: "auto", "widget", "text" or "none"."""

    _flow: tuple[Any, Any, list[Applied]] | None = None
    """The pipeline for batches, the steps it was made for, and the objects that apply them."""

    def __init__(
        self,
        steps: Sequence[Any],
        batch_size: int,
        n_workers_per_step: int | None = None,
        max_queued_minibatches: int | None = None,
        data_joiner: Any = None,
        use_processes: bool = False,
        use_savers: bool = False,
        keep_incomplete_batch: bool = True,
        default_value_data_inputs: Any = bases.StripAbsentValues(),  # noqa: B008 (a word)
        default_value_expected_outputs: Any = bases.StripAbsentValues(),  # noqa: B008 (likewise)
    ) -> None:
        self.batch_size = at_least(1, "batch_size", batch_size)
        self.n_workers_per_step = n_workers_per_step
        self.max_queued_minibatches = max_queued_minibatches or 0
        self.data_joiner = data_joiner
        self.use_processes = use_processes
        self.use_savers = use_savers
        self.keep_incomplete_batch = keep_incomplete_batch
        self.is_pipeline_connected = False
        wrapped = [self._wrap(step) for step in steps]
        bases.MiniBatchSequentialPipeline.__init__(
            self,
            steps=[
                *((one.name, one) for one in wrapped),
                ("WorkersJoiner", WorkersJoiner(batch_size=batch_size)),
            ],
            batch_size=batch_size,
            keep_incomplete_batch=keep_incomplete_batch,
            default_value_data_inputs=default_value_data_inputs,
            default_value_expected_outputs=default_value_expected_outputs,
        )
        self.default_value_data_inputs = default_value_data_inputs
        self.default_value_expected_outputs = default_value_expected_outputs
        self._refresh_steps()
        self._pool()

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have no workers."""
        return {**self.__dict__, "_flow": None}

    # ---- life cycle

    def setup(self, context: Any = None) -> Self:
        """Prepare the steps; workers start on demand."""
        return super().setup(_given(context))  # type: ignore[no-any-return]  # Neuraxle's

    def _setup(self, context: Any = None) -> Any:
        for step in self.values():
            step._setup(context)  # noqa: SLF001 (Neuraxle's)
        self.is_pipeline_connected = True
        return bases.MiniBatchSequentialPipeline._setup(self, context)  # noqa: SLF001 (of the base)

    def close(self) -> None:
        """Release the workers.  Idempotent; they start again on demand."""
        flow, self._flow = self._flow, None
        if flow is not None:
            flow[0].close()
            for applied in flow[2]:
                applied.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # ---- methods called by Neuraxle

    def handle_transform(self, data_container: Any, context: Any = None) -> Any:
        """Like `transform`, for a container with ids and expected outputs; returns a new one."""
        return super().handle_transform(data_container, _given(context))

    def handle_fit_transform(self, data_container: Any, context: Any = None) -> tuple[Self, Any]:
        """Like `fit_transform`, for a container."""
        return super().handle_fit_transform(data_container, _given(context))  # type: ignore[no-any-return]  # Neuraxle's

    def handle_fit(self, data_container: Any, context: Any = None) -> Self:
        """Like `fit`, for a container."""
        return self.handle_fit_transform(data_container, context)[0]

    def _will_process(self, data_container: Any, context: Any) -> tuple[Any, Any]:
        self._setup(context)
        return data_container.copy(), context.synchroneous()

    def transform_data_container(self, data_container: Any, context: Any = None) -> Any:
        """Return the container with a list of containers for data inputs, one for each step at the end.

        Raises:
            Exception: raised by a step, with a `MinibatchError` as its cause.
        """
        given = batch_of(data_container)
        flow = self._prepared(context)
        with _named_failures(context):
            batches = [_branches(batch) for batch in flow.map(self._batches(given), progress=self.progress)]
        joined = self._join(data_container, batches, context)
        if given.expected_outputs is not None and joined.data_inputs and batches:
            joined.set_expected_outputs(joined.data_inputs[0].expected_outputs)
        return joined

    def fit_transform_data_container(self, data_container: Any, context: Any = None) -> tuple[Self, Any]:
        """Fit the steps if any can be fitted, batch by batch in this thread; otherwise transform."""
        if not any(can_be_fitted(bare(step.get_step())) for step in self.body):
            data_container = self.transform_data_container(data_container, context)
            return self, self._did_transform(data_container, context)
        self.is_invalidated = True
        given = batch_of(data_container)
        batches = [_branches(self._fit(batch, context)) for batch in self._batches(given)]
        parts = [_put_together(branch) for branch in zip(*batches, strict=True)]
        data_container.set_data_inputs(parts)
        if given.expected_outputs is not None and parts:
            data_container.set_expected_outputs(parts[0].expected_outputs)
        return self, self._did_transform(data_container, context)

    def _did_transform(self, data_container: Any, context: Any) -> Any:
        """Join the branches."""
        parts = data_container.data_inputs
        if len(parts) == 0:  # there were no batches
            return data_container.set_data_inputs([])
        if hasattr(self.data_joiner, "handle_transform"):
            return self.data_joiner.handle_transform(data_container, context)
        return data_container.set_data_inputs(self._joined([part.data_inputs for part in parts]))

    def _did_process(self, data_container: Any, context: Any) -> Any:
        self.joiner.join()
        self.is_pipeline_connected = False
        return super()._did_process(data_container, context)

    # ---- beyond Neuraxle

    def stream(self, data_inputs: Iterable[Any]) -> Iterator[Any]:
        """Yield the outputs as they arrive, in the order of the inputs, which may be endless."""
        flow = self._prepared(None)
        with _named_failures(None):
            for batch in flow.imap(self._batches(Batch(data_inputs)), progress=self.progress):
                yield from self._joined([part.data_inputs for part in _branches(batch)])

    # ---- for the two kinds

    @abstractmethod
    def get_n_workers_to_join(self) -> int:
        """Return the number of steps at the end."""

    @abstractmethod
    def _last_names(self) -> list[str]:
        """Return the names of the last steps."""

    @abstractmethod
    def _connect(self, stages: list[Stage], pool: Any) -> Any:
        """Return the pipeline for batches."""

    @abstractmethod
    def _fit(self, batch: Batch, context: Any) -> Any:
        """Fit all steps to a batch."""

    # ---- internals

    def _wrap(self, given: Any) -> ParallelWorkersWrapper:
        spec = parse_step(given, self.n_workers_per_step, self.max_queued_minibatches)
        wrapper = ParallelWorkersWrapper(
            spec.step, spec.max_queued, spec.n_workers, self.use_processes, self.use_savers
        )
        wrapper.worker_arguments = spec.worker_arguments
        wrapper.set_name(spec.name)
        return wrapper

    def _pool(self) -> Any:
        """Return the engines, which start now; None for threads."""
        if not self.use_processes:
            return None
        return engines.pool(
            sum(step.n_workers for step in self.body), [bare(step.get_step()) for step in self.body]
        )

    def _prepared(self, context: Any) -> Any:
        """Return the pipeline for batches, with the current state of the steps."""
        made_of = [
            (id(bare(step.get_step())), step.n_workers, step.max_queued_minibatches) for step in self.body
        ]
        pool = self._pool()
        if self._flow is None or self._flow[1] != (made_of, pool):
            self.close()
            applied = [step.applied() for step in self.body]
            stages = [step.stage(one) for step, one in zip(self.body, applied, strict=True)]
            self._flow = (self._connect(stages, pool), (made_of, pool), applied)
        for one in self._flow[2]:
            one.prepare(context, processes=self.use_processes)
        return self._flow[0]

    def _batches(self, given: Batch) -> Iterator[Batch]:
        return minibatches(
            given, self.batch_size, keep_incomplete=self.keep_incomplete_batch,
            fill_inputs=self.default_value_data_inputs, fill_outputs=self.default_value_expected_outputs,
        )  # fmt: skip

    def _join(self, data_container: Any, batches: list[tuple[Batch, ...]], context: Any) -> Any:
        """Join the batches of each branch with the joiner."""
        joiner, names = self.joiner, self._last_names()
        joiner.set_join_quantities(self.get_n_workers_to_join(), len(batches))
        for branches in batches:
            for name, batch in zip(names, branches, strict=True):
                task = QueuedMinibatchTask(container_with(batch), name)
                joiner.append_terminal_summary(name, task)
                joiner.put_minibatch_produced(task)
        data_container = joiner.join_workers(data_container, context)
        joiner.names, joiner.summaries = [], []
        return data_container if batches else data_container.set_data_inputs([])

    def _joined(self, outputs: list[Any]) -> Any:
        joiner = self.data_joiner
        if joiner is None:
            import numpy as np

            return np.concatenate([np.asarray(output) for output in outputs])
        if hasattr(joiner, "transform"):
            return joiner.transform(outputs)
        return joiner(outputs)


class SequentialQueuedPipeline(BaseQueuedPipeline):
    """Steps one after another; all of them run at the same time, on different batches."""

    def get_n_workers_to_join(self) -> int:
        return 1

    def _last_names(self) -> list[str]:
        return [self.steps_as_tuple[-2][0]]

    def _connect(self, stages: list[Stage], pool: Any) -> Any:
        return Pipeline(stages, batch_size=1, pool=pool)

    def _fit(self, batch: Batch, context: Any) -> Batch:
        for step in self.body:
            batch = step.fit_batch(batch, context)
        return batch


class ParallelQueuedFeatureUnion(BaseQueuedPipeline):
    """Passes every batch to every step; outputs are joined in the order of the steps."""

    def get_n_workers_to_join(self) -> int:
        return len(self) - 1

    def _last_names(self) -> list[str]:
        return [name for name, _ in self.steps_as_tuple[:-1]]

    def _connect(self, stages: list[Stage], pool: Any) -> Any:
        return Union(stages, join="zip", batch_size=1, pool=pool)

    def _fit(self, batch: Batch, context: Any) -> tuple[Batch, ...]:
        return tuple(step.fit_batch(batch, context) for step in self.body)


class _named_failures:  # noqa: N801 (a context manager that reads like a function)
    """Add a `MinibatchError` as the cause of a step's exception, and report it to a context's log."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        failures = history.run.failures if history.run is not None else []
        for failure in failures:
            if failure.exception is error and isinstance(failure.item, Batch):
                error.__cause__ = MinibatchError.of(failure)
                log_error(self._context, error)


def _given(context: Any) -> Any:
    return bases.ExecutionContext() if context is None else context  # an empty one is falsy


def _branches(batch: Any) -> tuple[Batch, ...]:
    return batch if isinstance(batch, tuple) else (batch,)


def _put_together(batches: Sequence[Batch]) -> Any:
    """Return one container with the content of the batches of a branch."""
    outputs = [batch.expected_outputs for batch in batches]
    return bases.DataContainer(
        di=merged([batch.data_inputs for batch in batches]),
        ids=[name for batch in batches for name in batch.ids],
        eo=None if any(one is None for one in outputs) else merged(outputs),
    )
