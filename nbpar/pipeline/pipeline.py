"""Pipelines and unions, as users hold them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nbpar import last
from nbpar.background import BackgroundViews
from nbpar.calls import stopped_on_error
from nbpar.core.results import Results
from nbpar.core.source import Source
from nbpar.inputs import source_of
from nbpar.launch import shown_stream, total_of
from nbpar.options import Options
from nbpar.pipeline.conductor import Conductor
from nbpar.pipeline.fan import Tee
from nbpar.pipeline.flow import PipelineRun
from nbpar.pipeline.links import Feed, Head
from nbpar.pipeline.places import Places
from nbpar.pipeline.resuming import ResumedItems, identity_of
from nbpar.pipeline.stage import Stage, check_batch_size
from nbpar.pipeline.steps import Step, chain_of, fan_of, name_of, stages_of
from nbpar.pipeline.wiring import Order, Wiring
from nbpar.pool import Pool
from nbpar.run import Run
from nbpar.showing import shown

if TYPE_CHECKING:
    from typing_extensions import Self


class _Steps:
    """Steps that can be mapped over input."""

    def __init__(self, step: Step, batch_size: int | str, pool: Pool | None) -> None:
        check_batch_size(batch_size)
        self.step = step
        self._batch_size = batch_size
        self._places = Places(self.stages, pool)
        self._finalizer = weakref.finalize(self, self._places.close)

    @property
    def stages(self) -> list[Stage]:
        """The stages, in the order in which items pass them."""
        return list(stages_of(self.step))

    def map(self, iterable: Iterable[Any], **options: Any) -> Results:
        """Send every item through all stages and return the results in input order.

        The keyword arguments are those of `Pool.map` but for `chunksize`, which `batch_size` is here;
        they hold for each stage.  A failure names its stage, and costs its item only unless
        `errors="raise"`.

        Raises:
            Exception: what a stage raised first, with a note that names stage, batch and item.
        """
        __tracebackhide__ = True
        asked, total, begun = self._asked(iterable, options)
        with stopped_on_error(begun):
            run = self._begin(iterable, asked, begun)
            with shown(run, asked.progress, total=total) as watch:
                run.wait(watch=watch)
            return run.get()

    def imap(self, iterable: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Yield the results in input order as they come.

        Every queue is bounded, the last one too, so endless input is fine and a slow consumer holds
        all stages back.  Leaving the loop early stops the rest.
        """
        return self._stream(iterable, options, ordered=True)

    def imap_unordered(self, iterable: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Like `imap`, but yield each result as soon as the last stage has it."""
        return self._stream(iterable, options, ordered=False)

    def map_async(self, iterable: Iterable[Any], **options: Any) -> PipelineRun:
        """Begin and return a run at once; with stages in this thread, do all of it first.

        As the last expression of a notebook's cell, or by `run.show()`, it shows itself live.
        """
        asked, total, begun = self._asked(iterable, options)
        with stopped_on_error(begun):
            run = self._begin(iterable, asked, begun)
            run.finish_here()
        views = BackgroundViews(run, progress=asked.progress, total=total, resize=None)
        run.prepare_views(views, at_once=asked.progress in ("widget", "text"))
        run.pipeline = self
        return run

    def close(self) -> None:
        """Stop the workers that were started for this pipeline.  May be called twice."""
        self._places.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<nbpar.{type(self).__name__} {name_of(self.step)}>"

    def _asked(self, iterable: Iterable[Any], given: dict[str, Any]) -> tuple[Options, int | None, list[Run]]:
        """Return what was asked for, the number of items if it is known, and a list for the run."""
        if "chunksize" in given:
            raise TypeError("a pipeline has no option 'chunksize'; give it batch_size= when it is made")
        options = Options.of({"progress": self._places.progress, **given})
        if options.timeout is not None and not self._places.can_limit:
            raise ValueError(
                "timeout= needs a stage on engines or in this thread: Python cannot stop what a thread runs"
            )
        return options, total_of((iterable,), options), []

    def _stream(self, iterable: Iterable[Any], options: dict[str, Any], *, ordered: bool) -> Iterator[Any]:
        asked, total, begun = self._asked(iterable, options)
        with stopped_on_error(begun):
            run = self._begin(iterable, asked, begun, streaming=True, ordered=ordered)
            return _kept(shown_stream(run, asked, total, None), self)

    def _begin(
        self,
        iterable: Iterable[Any],
        options: Options,
        begun: list[Run],
        *,
        streaming: bool = False,
        ordered: bool = True,
    ) -> PipelineRun:
        """Begin a run; it is put into `begun` just before it begins."""
        conductor, head, total = Conductor(), Head(), total_of((iterable,), options)
        launchers = self._places.launchers()
        first = launchers[self._places.kind_of(self.stages[0])]
        threaded = not first.dispatcher.blocking
        source = source_of((iterable,), wake=head.wake, threaded=threaded, total=total, arms=first.arms)
        run = PipelineRun(
            conductor, head, label=options.label or name_of(self.step), errors=options.errors,
            streaming=streaming, max_errors=options.max_errors,
        )  # fmt: skip
        feed: Feed = head
        if options.resume is not None:
            source = self._resumed(run, source, options)
            feed = Tee(head, 1).outlets[0]  # cuts batches where results are known
        head.read_from(source)
        order = Order(options, self._batch_size, total, streaming=streaming, ordered=ordered)
        Wiring(self._places, launchers, conductor, run, order).build(self.step, feed)
        last.remember(run)
        begun.append(run)
        run.begin_all()
        return run

    def _resumed(self, run: PipelineRun, source: Source, options: Options) -> ResumedItems:
        """Return the input without the items whose results an earlier run has left in a journal."""
        assert options.resume is not None
        items = ResumedItems(
            options.resume, identity_of(self.step, options.seed), source, room=run.room_from,
            emit=run.take_of_any, wake=run.head.wake, seeded=options.seed is not None,
        )  # fmt: skip
        run.resume_with(items)
        return items


class Pipeline(_Steps):
    """Stages one after another, all at work at the same time.

    Args:
        steps: each a function, a `Stage`, a `Pipeline` or a `Union`.
        batch_size: items that travel together; "auto" aims at 50 ms of work, for each stage by itself.
        pool: a `Pool` whose workers the stages share; without it the default pool, or workers of
            their own where stages ask for more than it has.
    """

    def __init__(
        self, steps: Sequence[Any], *, batch_size: int | str = "auto", pool: Pool | None = None
    ) -> None:
        super().__init__(chain_of(steps), batch_size, pool)


class Union(_Steps):
    """Branches that all get the same items; their results are joined, item by item.

    Args:
        branches: each a function, a `Stage`, a `Pipeline` or a `Union`; a dict gives them names.
        join: "concat" puts the arrays of an item together along their outer axis, "zip" makes a tuple,
            "dict" a dict by the branches' names; a function gets the list of results, in the order of
            the branches.
        batch_size, pool: as for `Pipeline`.
    """

    def __init__(
        self,
        branches: Sequence[Any] | Mapping[str, Any],
        *,
        join: str | Callable[..., Any] = "concat",
        batch_size: int | str = "auto",
        pool: Pool | None = None,
    ) -> None:
        super().__init__(fan_of(branches, join), batch_size, pool)


def _kept(values: Iterator[Any], pipeline: _Steps) -> Iterator[Any]:  # noqa: ARG001 (that is the point)
    """Yield a stream's values; the pipeline, whose pools end with it, lives as long."""
    __tracebackhide__ = True
    yield from values
