"""Pipelines and unions: the user's objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nbpar.core.checks import BACKENDS, at_least, check_word, number_of_workers
from nbpar.core.measures.profile import ProfileFold
from nbpar.core.results import Results
from nbpar.core.source import Source
from nbpar.core.text import short
from nbpar.host.frames import entrance
from nbpar.pipeline.conductor import Conductor
from nbpar.pipeline.fan import Tee
from nbpar.pipeline.links import Head, StageInput
from nbpar.pipeline.pools import StagePools
from nbpar.pipeline.resuming import ResumedItems, identity_of
from nbpar.pipeline.run import PipelineRun
from nbpar.pipeline.stage import Stage, batch_size_of
from nbpar.pipeline.steps import Step, chain_of, fan_of, name_of, stages_of
from nbpar.pipeline.wiring import PipelineRequest, Wiring
from nbpar.pool.defaults import default_pool
from nbpar.pool.in_use import check_pool
from nbpar.pool.inputs import can_iterate, source_of
from nbpar.pool.launch import Launch, total_of, views_on_demand
from nbpar.pool.options import Options
from nbpar.pool.pool import Pool
from nbpar.pool.result_stream import shown_stream
from nbpar.run.display import BackgroundViews, shown
from nbpar.run.unbegun import beginning

if TYPE_CHECKING:
    from typing_extensions import Self


class _Steps:
    """Steps that can be mapped over input."""

    @entrance
    def __init__(self, step: Step, batch_size: int | str, pool: Pool | None) -> None:
        check_pool(pool)
        self.step = step
        self._batch_size = batch_size_of(batch_size)
        self._places = StagePools(self.stages, pool)

    @property
    def stages(self) -> list[Stage]:
        """The stages, in the order in which items pass them."""
        return list(stages_of(self.step))

    @entrance
    def map(self, iterable: Iterable[Any], **options: Any) -> Results:
        """Send every item through all stages and return the results in input order.

        The keyword arguments are those of `Pool.map` except `chunksize`, which `batch_size` replaces;
        they apply to each stage.  A failure names its stage, and costs its item only unless
        `errors="raise"`.

        Raises:
            Exception: the first one raised by a stage, with a note that names stage, batch and item.
        """
        __tracebackhide__ = True
        asked, total = self._asked(iterable, options)
        with self._launch(iterable, asked) as run:
            try:
                with shown(run, asked.progress, total=total) as watch:
                    run.wait(watch=watch)
                return run.get()
            finally:
                del run  # see `Launch`

    @entrance
    def imap(self, iterable: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Yield the results in input order, lazily.

        Every queue is bounded, the last one too, so the input may be endless and a slow consumer slows
        all stages down (backpressure).  Leaving the loop early cancels the rest.
        """
        return self._stream(iterable, options, ordered=True)

    @entrance
    def imap_unordered(self, iterable: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Like `imap`, but yield each result as soon as it leaves the last stage."""
        return self._stream(iterable, options, ordered=False)

    @entrance
    def map_async(self, iterable: Iterable[Any], **options: Any) -> PipelineRun:
        """Start and return a run at once; with stages in this thread, complete it first.

        As the last expression of a notebook's cell, or by `run.show()`, it has a live display.
        """
        asked, total = self._asked(iterable, options)
        with self._launch(iterable, asked) as run:
            run.finish_here()
            views = BackgroundViews(progress=asked.progress, total=total, resize=None)
            run.prepare_views(views, at_once=asked.progress in ("widget", "text"))
            return run

    def close(self) -> None:
        """Stop the workers started for this pipeline.  Idempotent."""
        self._places.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<nbpar.{type(self).__name__} {name_of(self.step)}>"

    def _asked(self, iterable: Iterable[Any], given: Mapping[str, Any]) -> tuple[Options, int | None]:
        """Return what was asked for, and the number of items if it is known."""
        if "chunksize" in given:
            raise TypeError("a pipeline has no option 'chunksize'; give it batch_size= when it is made")
        if "workers" in given:
            raise TypeError("a pipeline has no option 'workers'; each Stage has its own workers=")
        if "rate" in given:
            raise TypeError("a pipeline has no option 'rate'; give it to the Stage that it limits")
        options = Options.of({"progress": self._places.progress, **given})
        if options.timeout is not None and not self._places.can_limit:
            raise ValueError(
                "timeout= needs a stage on engines or in this thread: Python cannot stop what a thread runs"
            )
        return options, total_of((iterable,), options)

    def _stream(self, iterable: Iterable[Any], options: dict[str, Any], *, ordered: bool) -> Iterator[Any]:
        asked, total = self._asked(iterable, options)
        with self._launch(iterable, asked, streaming=True, ordered=ordered) as run:
            return shown_stream(run, asked, total, None)

    def _launch(self, iterable: Iterable[Any], options: Options, **how: bool) -> Launch[PipelineRun]:
        with beginning(lambda: options.label or name_of(self.step)):
            return self._prepared(iterable, options, **how)

    def _prepared(
        self, iterable: Iterable[Any], options: Options, *, streaming: bool = False, ordered: bool = True
    ) -> Launch[PipelineRun]:
        conductor, head, total = Conductor(), Head(), total_of((iterable,), options)
        launchers = self._places.launchers()
        first = launchers[self._places.kind_of(self.stages[0])]
        threaded = not first.dispatcher.blocking
        source = source_of((iterable,), wake=head.wake, threaded=threaded, total=total, arms=first.arms)
        run = PipelineRun(
            conductor, head, label=options.label or name_of(self.step), errors=options.errors,
            streaming=streaming, max_errors=options.max_errors,
        )  # fmt: skip
        run.profile = ProfileFold() if options.profile else None
        feed: StageInput = head
        if options.resume is not None:
            source = self._resumed(run, source, options)
            feed = Tee(head, 1).outlets[0]  # splits batches at known results
        head.read_from(source)
        order = PipelineRequest(options, self._batch_size, total, streaming=streaming, ordered=ordered)
        Wiring(self._places, launchers, conductor, run, order).build(self.step, feed)
        run.prepare_all()
        run.make_views = views_on_demand(options.progress, total)
        return Launch(run, remember=True)

    def _resumed(self, run: PipelineRun, source: Source, options: Options) -> ResumedItems:
        """Return the input without items whose results are in a journal."""
        assert options.resume is not None
        items = ResumedItems(
            options.resume, identity_of(self.step, options.seed), source, room=run.room_from,
            emit=run.take_of_any, wake=run.head.wake, seeded=options.seed is not None,
        )  # fmt: skip
        run.resume_with(items)
        return items


class Pipeline(_Steps):
    """A sequence of stages, all running at the same time.

    Args:
        steps: each a function, a `Stage`, a `Pipeline` or a `Union`.
        batch_size: items sent together; "auto" aims at 50 ms of work, separately for each stage.
        pool: a `Pool` whose workers the stages share; without it the default pool, or workers of
            their own if stages need more than it has.
    """

    @entrance
    def __init__(
        self, steps: Sequence[Any], *, batch_size: int | str = "auto", pool: Pool | None = None
    ) -> None:
        super().__init__(chain_of(steps), batch_size, pool)


class Union(_Steps):
    """Branches that all get the same items; their results are joined, item by item.

    Args:
        branches: each a function, a `Stage`, a `Pipeline` or a `Union`; a dict gives them names.
        join: "concat" concatenates the arrays of an item along their first axis, "zip" makes a tuple,
            "dict" a dict by the branches' names; a function gets the list of results, in the order of
            the branches.
        batch_size, pool: as for `Pipeline`.
    """

    @entrance
    def __init__(
        self,
        branches: Sequence[Any] | Mapping[str, Any],
        *,
        join: str | Callable[..., Any] = "concat",
        batch_size: int | str = "auto",
        pool: Pool | None = None,
    ) -> None:
        super().__init__(fan_of(branches, join), batch_size, pool)


@entrance
def pipe(
    stream: Iterable[Any],
    *components: Any,
    batch_size: int | str = "auto",
    workers: int | None = None,
    backend: str = "engines",
    **options: Any,
) -> Iterator[Any]:
    """Apply the components one after another to each item of a stream; yield the results.

    Lazy, in order, with bounded look-ahead and no barrier between batches: nothing is read before the
    first result is asked for, and endless streams are fine.

    Args:
        stream: any iterable.
        components: functions of one item, or other steps of a `Pipeline`.
        batch_size: items sent together; "auto" aims at 50 ms of work.
        workers: the number they share; by default the CPUs available to this process; 0: this thread.
        backend: "engines", "threads" or "serial".
        options: those of `Pipeline.imap`.

    Raises:
        TypeError, ValueError: an argument is invalid; the message says what is allowed.
        Exception: the first one raised by a component, in the place of its item.
    """
    if not can_iterate(stream):
        raise TypeError(f"the stream must be iterable, was {short(stream)}")
    if not components:
        raise ValueError("pipe needs at least one component after the stream")
    chain_of(components)
    batch_size = batch_size_of(batch_size)
    check_word("backend", backend, BACKENDS)
    if workers is not None and (workers := at_least(0, "workers", workers, "None or ")) > 0:
        number_of_workers(workers)
    Options.of(options)
    return _piped(stream, components, batch_size, workers, backend, options)


def _piped(
    stream: Iterable[Any],
    components: Sequence[Any],
    batch_size: int | str,
    workers: int | None,
    backend: str,
    options: dict[str, Any],
) -> Iterator[Any]:
    __tracebackhide__ = True
    with beginning(lambda: options.get("label") or pipe.__name__):
        pool = default_pool(None if workers == 0 else workers, "serial" if workers == 0 else backend)
    with Pipeline(components, batch_size=batch_size, pool=pool) as pipeline:
        yield from pipeline.imap(stream, **options)
