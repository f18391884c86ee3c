"""Build the runs of a pipeline's stages, each fed by the one before it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from nbpar.core.call_style import CallStyle
from nbpar.core.chunking import Chunker
from nbpar.core.concurrency import ConcurrentChunker
from nbpar.core.outcome import Part
from nbpar.core.rates.rate import Gate
from nbpar.core.rates.retry import Retry
from nbpar.core.scheduling.needs import Claim
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.text import function_name
from nbpar.dispatch.hosts import accounted
from nbpar.dispatch.job import Job, Preparation
from nbpar.journal.resuming import AHEAD
from nbpar.pipeline.conductor import Conductor
from nbpar.pipeline.fan import Merge, Tee
from nbpar.pipeline.links import Link, StageInput
from nbpar.pipeline.lookahead import LookAhead
from nbpar.pipeline.pools import StagePools
from nbpar.pipeline.run import PipelineRun
from nbpar.pipeline.stage import Stage
from nbpar.pipeline.stage_progress import StageFacts, StageListener
from nbpar.pipeline.steps import Chain, Fan, Step, stages_of
from nbpar.pool.launch import STREAM_CHUNK, Launcher
from nbpar.pool.options import Options
from nbpar.worker.prepared import PreparedFunction, with_arguments

STREAMS = 0x9E3779B97F4A7C15
"""Added to the seed from stage to stage, so that stages draw different numbers."""


@dataclass(frozen=True)
class PipelineRequest:
    """The arguments of a run of the whole pipeline."""

    options: Options
    batch_size: int | str
    total: int | None
    streaming: bool
    ordered: bool


class Wiring:
    """The runs of the stages of a starting pipeline.

    Args:
        places: the workers of each stage.
        launchers: start the stages, by backend.
        conductor: gets every stage's job.
        run: gets the events of the stages, and the last one's results.
        order: the arguments of the whole pipeline's run.
    """

    def __init__(
        self,
        places: StagePools,
        launchers: Mapping[str, Launcher],
        conductor: Conductor,
        run: PipelineRun,
        order: PipelineRequest,
    ) -> None:
        self._places = places
        self._launchers = launchers
        self._conductor = conductor
        self._run = run
        self._order = order

    def build(self, step: Step, source: StageInput) -> None:
        """Connect a step's stages between the user's input and the run."""
        self._connect(step, source, _Next())

    # ---- steps; each returns the link that its last stage fills, None for the end

    def _connect(self, step: Step, source: StageInput, then: _Next) -> Link | None:
        if isinstance(step, Chain):
            return self._chain(step, source, then)
        if isinstance(step, Fan):
            return self._fan(step, source, then)
        return self._stage(step, source, then)

    def _chain(self, chain: Chain, source: StageInput, then: _Next) -> Link | None:
        *before, last = chain.steps
        for step, following in zip(before, chain.steps[1:], strict=True):
            link = self._connect(step, source, self._next(following))
            assert link is not None
            source = link
        return self._connect(last, source, then)

    def _fan(self, fan: Fan, source: StageInput, then: _Next) -> Link | None:
        batches = sum(self._batch(stage) or 1 for stage in stages_of(fan))
        tee = Tee(source, len(fan.branches), least=batches)
        after = _Next(None, 1, in_process=True)
        links = [
            self._connect(branch, outlet, after)
            for branch, outlet in zip(fan.branches, tee.outlets, strict=True)
        ]
        return self._stage(fan.join, Merge([link for link in links if link is not None]), then)

    def _next(self, step: Step) -> _Next:
        """Return the facts about a stage that the one before it needs."""
        first = _first_stages(step)
        sizes = [size for stage in first if (size := self._batch(stage)) is not None]
        rooms = [stage.queue_size for stage in first if stage.queue_size is not None]
        engines = all(self._places.kind_of(stage) == "engines" for stage in first)
        room = (min(rooms) if rooms else None, max(self._places.workers_of(stage) for stage in first))
        return _Next(room[0], room[1], in_process=not engines, batch=max(sizes, default=None))

    # ---- one stage

    def _stage(self, stage: Stage, source: StageInput, then: _Next) -> Link | None:
        launcher = self._launchers[self._places.kind_of(stage)]
        desk = launcher.dispatcher
        ear = self._ear(stage, source)
        source.hand_out(self._batch(stage))
        link = None if then.last else Link(ear, self._appetite(stage, then))
        state = self._state(stage, desk.new_id(), source, link, then)
        source.feed(self._conductor.wake(desk, state), state.appetite)
        job = self._job(stage, launcher, state, link, then)
        self._conductor.add(desk, job)
        if link is not None:
            link.comes_from(desk, job)
        return link

    def _ear(self, stage: Stage, source: StageInput) -> StageListener:
        place = len(self._conductor.jobs)
        batch = self._batch(stage)
        room = None if stage.queue_size is None else stage.queue_size * (batch or 1)
        return self._run.listen(StageFacts(
            stage.name, place, self._places.kind_of(stage), self._places.workers_of(stage),
            stage.workers is None, room, batch, lambda: source.waiting,
        ))  # fmt: skip

    def _state(
        self, stage: Stage, number: int, source: StageInput, link: Link | None, then: _Next
    ) -> RunState:
        order, batch = self._order, self._batch(stage)
        streaming = order.streaming or not then.last
        launcher = self._launchers[self._places.kind_of(stage)]
        if stage.at_once:
            chunker: Chunker = ConcurrentChunker(stage.at_once)
        else:
            most = launcher.most_together
            chunker = Chunker(batch, largest=min(STREAM_CHUNK, most) if streaming else most)
        retries = order.options.retry if stage.retries is None else Retry.of(stage.retries)
        limit = stage.workers or None
        state = RunState(
            number, source, chunker, ordered=order.ordered or not then.last, streaming=streaming,
            buffersize=self._room(stage, batch, then), retry=retries, most_workers=limit,
            within=None if link is None else link.appetite.bound,
        )  # fmt: skip
        stir = self._conductor.wake(launcher.dispatcher, state)
        if stage.rate is not None:
            state.gate = Gate(stage.rate, stir)
        if (needs := accounted(stage.needs, all_here=launcher.all_here)) is not None:
            state.claim = Claim(needs, stir, each=stage.at_once > 0)
        state.known = partial(_known, state, source)
        return state

    def _room(self, stage: Stage, batch: int | None, then: _Next) -> int | None:
        """Maximal number of items taken by a stage and not yet by the next; None: bounded by look-ahead."""
        asked = self._order.options.buffersize
        if then.last:
            return asked if asked is None or batch is None else max(asked, batch)
        if then.queue is None:
            return None if asked is None else max(asked, (batch or 1) + (then.batch or 1))
        return self._under_way(stage) + (then.batch or 1) * then.queue

    def _appetite(self, stage: Stage, then: _Next) -> LookAhead:
        """Return the default bound of the items between a stage and the next."""
        batch, following = self._batch(stage) or 1, then.batch or 0
        under_way = self._under_way(stage)
        whole = under_way + 2 * following * then.workers
        return LookAhead(max(under_way, batch + following), whole=whole, under_way=under_way)

    def _job(self, stage: Stage, launcher: Launcher, state: RunState, link: Link | None, then: _Next) -> Job:
        options = self._order.options
        place = len(self._conductor.jobs)
        loads = tuple(launcher.load(fn) for fn in functions_of(stage))
        engines = self._places.kind_of(stage) == "engines"
        keeps_packed = engines and not then.last and not then.in_process
        limit = None if state.gate is None else state.gate.rate
        begin = launcher.begin_of(
            state.id, stage.fn, loads[0], retry=state.retry, limit=limit, profile=options.profile
        )  # fmt: skip
        return Job(
            state, link if link is not None else self._run, loads[0], stage.fn, stage.name, self._order.total,
            CallStyle.BATCH if stage.batched else CallStyle.ONE,
            options.timeout if stage.timeout is None else stage.timeout,
            None if options.seed is None else options.seed + place * STREAMS,
            fail_fast=options.errors == "raise" and not self._order.streaming,
            loads=loads if len(loads) > 1 else (), begin=begin and begin._replace(apart=keeps_packed),
            keeps_packed=keeps_packed,
            preparation=_preparation_of(stage),
        )  # fmt: skip

    def _under_way(self, stage: Stage) -> int:
        """Number of items that a stage's workers have at once."""
        return (stage.at_once or self._batch(stage) or 1) * self._places.workers_of(stage)

    def _batch(self, stage: Stage) -> int | None:
        if stage.at_once:
            return None
        size = self._order.batch_size if stage.batch_size is None else stage.batch_size
        return None if isinstance(size, str) else size


@dataclass(frozen=True)
class _Next:
    """The consumer of a stage; by default the end of the pipeline."""

    queue: int | None = None
    workers: int = 0
    in_process: bool = True
    batch: int | None = None

    @property
    def last(self) -> bool:
        return not self.workers


def _known(state: RunState, source: StageInput) -> Part | None:
    """Take final outcomes, unless the consumer is too far behind."""
    behind = state.taken - state.consumed
    return None if state.streaming and behind >= (state.buffersize or AHEAD) else source.known()


def functions_of(stage: Stage) -> list[Callable[..., Any]]:
    """Return the functions that the workers of a stage run: one for all, or one for each."""
    if stage.worker_args is None:
        return [_prepared(stage, stage.fn, stage.token, ())]
    if stage.initializer is None:
        return [with_arguments(copy.copy(stage.fn), args) for args in stage.worker_args]
    return [
        _prepared(stage, stage.fn, f"{stage.token}.{number}", args)
        for number, args in enumerate(stage.worker_args)
    ]


def _preparation_of(stage: Stage) -> Preparation | None:
    """Return the preparation of a stage's workers, by name."""
    name = getattr(stage.fn, "initializer_name", "")  # of a function that prepares its worker itself
    if stage.initializer is not None:
        name = function_name(stage.initializer)
    return Preparation(name) if name else None


def _prepared(stage: Stage, fn: Callable[..., Any], token: str, args: tuple[Any, ...]) -> Callable[..., Any]:
    if stage.initializer is None:
        return fn
    return PreparedFunction(fn, token, partial(stage.initializer, *stage.initargs, *args))


def _first_stages(step: Step) -> list[Stage]:
    """Return the stages that take a step's items."""
    if isinstance(step, Stage):
        return [step]
    if isinstance(step, Chain):
        return _first_stages(step.steps[0])
    return [stage for branch in step.branches for stage in _first_stages(branch)]
