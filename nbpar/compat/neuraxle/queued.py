"""The two queued pipelines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nbpar import last
from nbpar.compat.neuraxle.applying import Applied
from nbpar.compat.neuraxle.batches import DataContainer, container_of, minibatches
from nbpar.compat.neuraxle.errors import MinibatchError
from nbpar.compat.neuraxle.steps import StepSpec, can_be_fitted, fitted, parse_step
from nbpar.pipeline import Pipeline, Stage, Union

if TYPE_CHECKING:
    from typing_extensions import Self


class _Queued:
    """Steps that are applied to batches by workers of their own.

    Args:
        steps: each in one of the seven forms (`steps.FORMS`).
        batch_size: items in a batch.
        n_workers_per_step: for steps that say no number; 1 unless given.
        max_queued_minibatches: batches that wait for a step at most; None or 0: as many as keep the
            workers busy.
        data_joiner: a function of the list of each branch's outputs, or an object with `transform` (or a
            Neuraxle joiner); without it they are concatenated along the outer axis.
        use_processes: run on engines in place of threads.
        use_savers: let Neuraxle steps travel as files that their own savers write, in place of being
            pickled; other steps have none.  Each worker reads a copy of its own, threads too.
        keep_incomplete_batch: keep a last batch that is not full.
        default_value_data_inputs, default_value_expected_outputs: what fills up the last batch; None and
            `StripAbsentValues()` leave it short.
    """

    progress = "none"
    """What `transform` shows: "auto", "widget", "text" or "none"."""

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
        default_value_data_inputs: Any = None,
        default_value_expected_outputs: Any = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, was {batch_size}")
        self._specs = [parse_step(step, n_workers_per_step, max_queued_minibatches) for step in steps]
        self.batch_size = batch_size
        self.data_joiner = data_joiner
        self.use_processes = use_processes
        self.use_savers = use_savers
        self._keep_incomplete = keep_incomplete_batch
        self._fill = (default_value_data_inputs, default_value_expected_outputs)
        self._context: Any = None
        self._flow = self._begin()

    def setup(self, context: Any = None) -> Self:  # noqa: ARG002 (Neuraxle's)
        """Do nothing: workers come when they are needed."""
        return self

    def with_context(self, context: Any) -> Self:
        """Have Neuraxle steps run in an execution context, with its services."""
        self._context = context
        return self

    def transform(self, data_inputs: Any) -> Any:
        """Return what the steps make of a list or any other iterable.

        Raises:
            Exception: what a step raised, with a `MinibatchError` as its cause.
        """
        return self.handle_transform(DataContainer(data_inputs)).data_inputs

    def handle_transform(self, data_container: Any, context: Any = None) -> Any:
        """Like `transform`, for a container with ids and expected outputs, of which it returns a new one."""
        given = container_of(data_container)
        self._prepare(context)
        with _named_failures():
            batches = list(self._flow.map(self._batches(given), progress=self.progress))
        return self._result(data_container, given, batches)

    def stream(self, data_inputs: Iterable[Any]) -> Iterator[Any]:
        """Yield the outputs as they come, in the order of the inputs; endless input is fine."""
        self._prepare(None)
        with _named_failures():
            for batch in self._flow.imap(self._batches(DataContainer(data_inputs)), progress=self.progress):
                yield from self._joined([part.data_inputs for part in _branches(batch)])

    def fit(self, data_inputs: Any, expected_outputs: Any = None) -> Self:
        """Fit the steps, batch by batch, in this thread."""
        self.fit_transform(data_inputs, expected_outputs)
        return self

    def fit_transform(self, data_inputs: Any, expected_outputs: Any = None) -> tuple[Self, Any]:
        """Fit the steps if there is one that can be fitted, in this thread; return self and the outputs."""
        given = DataContainer(data_inputs, None, expected_outputs)
        if not any(can_be_fitted(spec.step) for spec in self._specs):
            return self, self.handle_transform(given).data_inputs
        batches = [self._fit(batch) for batch in self._batches(given)]
        self.close()
        self._flow = self._begin()
        return self, self._result(given, given, batches).data_inputs

    def close(self) -> None:
        """Let the workers go.  May be called twice; they come again when they are needed."""
        self._flow.close()
        for applied in self._applied:
            applied.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # ---- inside

    def _begin(self) -> Any:
        """Return what the batches pass, for the steps as they are now."""
        backend = "engines" if self.use_processes else "threads"
        self._applied = [Applied(spec.step, use_savers=self.use_savers) for spec in self._specs]
        pairs = zip(self._specs, self._applied, strict=True)
        return self._connect([spec.stage(backend, applied) for spec, applied in pairs])

    def _prepare(self, context: Any) -> None:
        """Make the steps ready for a run that begins now."""
        for applied in self._applied:
            applied.prepare(self._context if context is None else context, processes=self.use_processes)

    def _connect(self, stages: list[Stage]) -> Any:
        raise NotImplementedError

    def _fit(self, batch: DataContainer) -> Any:
        raise NotImplementedError

    def _fit_step(self, place: int, batch: DataContainer) -> DataContainer:
        spec = self._specs[place]
        step, batch = fitted(spec.step, batch)
        self._specs[place] = StepSpec(step, spec.name, spec.n_workers, spec.max_queued, spec.worker_arguments)
        return batch

    def _batches(self, given: DataContainer) -> Iterator[DataContainer]:
        return minibatches(
            given, self.batch_size, keep_incomplete=self._keep_incomplete,
            fill_inputs=self._fill[0], fill_outputs=self._fill[1],
        )  # fmt: skip

    def _result(self, original: Any, given: DataContainer, batches: list[Any]) -> Any:
        """Put the batches together, each branch by itself, and join the branches."""
        branches = list(zip(*map(_branches, batches), strict=True))
        outputs = [_merged([batch.data_inputs for batch in branch]) for branch in branches]
        joined = self._joined(outputs) if outputs else []
        ids = [name for batch in (branches[0] if branches else ()) for name in batch.ids]
        expected = given.expected_outputs
        if branches and expected is not None:
            expected = _merged([batch.expected_outputs for batch in branches[0]])
        if isinstance(original, DataContainer):
            return DataContainer(joined, ids if given.ids is None else given.ids, expected)
        return original.copy().set_data_inputs(joined).set_expected_outputs(expected)

    def _joined(self, outputs: list[Any]) -> Any:
        joiner = self.data_joiner
        if joiner is None:
            import numpy as np

            return np.concatenate([np.asarray(output) for output in outputs])
        if hasattr(joiner, "transform"):
            return joiner.transform(outputs)
        return joiner(outputs)


class SequentialQueuedPipeline(_Queued):
    """Steps one after another; while one works at a batch, the others work at others."""

    def _connect(self, stages: list[Stage]) -> Any:
        return Pipeline(stages, batch_size=1)

    def _fit(self, batch: DataContainer) -> DataContainer:
        for place in range(len(self._specs)):
            batch = self._fit_step(place, batch)
        return batch


class ParallelQueuedFeatureUnion(_Queued):
    """Every batch goes to every step; outputs are joined in the order of the steps."""

    def _connect(self, stages: list[Stage]) -> Any:
        return Union(stages, join="zip", batch_size=1)

    def _fit(self, batch: DataContainer) -> tuple[DataContainer, ...]:
        return tuple(self._fit_step(place, batch) for place in range(len(self._specs)))


class _named_failures:  # noqa: N801 (a context manager that reads like a function)
    """Give what a step raises a `MinibatchError` as its cause."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        failures = last.run.failures if last.run is not None else []
        for failure in failures:
            if failure.exception is error and isinstance(failure.item, DataContainer):
                error.__cause__ = MinibatchError.of(failure)


def _branches(batch: Any) -> tuple[DataContainer, ...]:
    return batch if isinstance(batch, tuple) else (batch,)


def _merged(parts: list[Any]) -> Any:
    """Put lists together as a list, arrays as an array."""
    if parts and all(type(part).__module__ == "numpy" for part in parts):
        import numpy as np

        return np.concatenate(parts)
    return [value for part in parts for value in part]
