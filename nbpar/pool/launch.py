"""Start a run from a function, items and options."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, Generic, TypeVar

from nbpar.core.call_style import CallStyle, Lent
from nbpar.core.chunking import LARGEST, TARGET, Chunker, chunker_of_calls
from nbpar.core.concurrency import CONCURRENCY, ConcurrentChunker, concurrency_of, waits_to_begin
from nbpar.core.measures.profile import ProfileFold
from nbpar.core.rates.rate import Gate, Rate
from nbpar.core.rates.retry import Retry
from nbpar.core.scheduling.needs import Claim, Needs
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.source import Arms, HandedOverSource, SequenceSource, Source
from nbpar.core.text import full_function_name, function_name, short
from nbpar.dispatch.awaited_files import PoolFiles
from nbpar.dispatch.dispatcher import Dispatcher, Stir
from nbpar.dispatch.hosts import accounted
from nbpar.dispatch.job import Job
from nbpar.dispatch.workforce import Initializer
from nbpar.errors import PicklingError
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.interpreter_exit import interpreter
from nbpar.pool.inputs import length_of, source_of, warn_of_repetition
from nbpar.pool.limits import WorkerLimits
from nbpar.pool.lost_changes import warn_of_lost_changes
from nbpar.pool.options import Options
from nbpar.pool.outstanding import OutstandingWork, prepare_for_exit
from nbpar.pool.placement import Placement
from nbpar.run import history
from nbpar.run.display import BackgroundViews
from nbpar.run.futures import CallFuture, SubmittedCalls
from nbpar.run.run import Run
from nbpar.wire.diagnosis.explain import explain
from nbpar.wire.log_levels import levels_here
from nbpar.wire.messages import Begin, Load, Package
from nbpar.wire.modules.reach import Wanted, reach_of_this_process
from nbpar.wire.pickle_cache import Kept
from nbpar.wire.pickling import digest, dumps, pack_one
from nbpar.wire.shared import Shared
from nbpar.worker.signals import can_limit

STREAM_CHUNK = 4096
"""Maximal number of items in a chunk of `imap`, so that the look-ahead stays small."""

REMEMBERED = 100
"""Number of functions whose cost is remembered for their next runs."""

QUIET = Options(progress="none")

SHARE_OF_WINDOW = 0.01
"""Work in a chunk at a limited rate, as a share of the window: what begins in it is known when it ends."""

NO_RETRIES = Retry()
"""Failed items are not tried again."""


R = TypeVar("R", bound=Run)


def nothing() -> None:
    """Do nothing."""


class Launch(Generic[R]):
    """A run that begins with a `with` block, and is stopped when an exception leaves the block.

    An exception at any moment, Ctrl-C included, stops it.  A traceback refers to the frames that it has
    passed, and the run to its error.  To avoid a cycle, the run is released here, and the block deletes its
    own variable.  This is a class because a generator would add frames of `contextlib` to tracebacks.

    Args:
        run: the prepared run.
        remember: whether it is the user's last run from then on.
        at_end: called at the run's end; may be called earlier, and twice.
    """

    def __init__(self, run: R, *, remember: bool = False, at_end: Callable[[], None] = nothing) -> None:
        self._run: R | None = run
        self._remember = remember
        self.at_end = at_end
        if at_end is not nothing:
            run.add_done_callback(lambda _: at_end())

    def begin(self) -> R:
        """Begin the run; the caller stops it."""
        assert self._run is not None
        if self._remember:
            history.remember(self._run)
        self._run.begin()
        return self._run

    def __enter__(self) -> R:
        __tracebackhide__ = True
        try:
            return self.begin()
        except BaseException as error:
            self.__exit__(None, error, None)
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        __tracebackhide__ = True
        run, self._run = self._run, None
        try:
            if error is not None and run is not None:
                if self._remember and not run.remembered:
                    history.remember(run)
                run.leave()
                if type(error) is KeyboardInterrupt:
                    raise run.stopped() from None
        finally:
            del run


class Launcher:
    """Starts runs on the workers of one place.

    Args:
        place: has the workers.
        initializer: a function, with its arguments, that each worker calls first.
        care: when workers are replaced, or get less work.
        files: copies files to workers on other hosts, before each run and when one comes.
    """

    def __init__(
        self,
        place: Placement,
        initializer: tuple[Callable[..., Any], tuple[Any, ...]] | None,
        care: WorkerLimits = WorkerLimits(),  # noqa: B008 (it is frozen)
        files: PoolFiles | None = None,
    ) -> None:
        self._backend = place.backend
        self._same_host = place.same_host
        self.all_here = place.same_host or place.backend.in_process
        """Whether all workers are on this host."""

        self._world = place.world
        self.most_together = LARGEST if care.max_items is None else care.max_items
        """Maximal number of items in a chunk."""

        self._numbers = count(1)
        self._kept: Kept[Load] = Kept()
        self._costs: OrderedDict[bytes, Chunker] = OrderedDict()
        """What the last run of a function has learned, by digest; the oldest first."""

        self._files = files
        self.reached_all = False
        """Whether a call was made on every worker, which may have kept values there."""

        self._packages: dict[tuple[bytes, Wanted], tuple[Package, ...]] = {}
        """Of the last function."""

        first = None
        if initializer is not None:
            waits = waits_to_begin(initializer[0])
            first = Initializer(self.load(initializer[0]), initializer[1], waits)
        self.dispatcher = Dispatcher(
            place.backend, initializer=first, expecting=place.expecting, problem=place.problem,
            awaited=place.awaited, rules=care.rules(place.renew, place.lifetime),
            bring_files=None if files is None else files.bring,
        )  # fmt: skip
        if files is not None:
            files.serve(self.dispatcher)
        self._calls = SubmittedCalls(self.dispatcher, chunker_of_calls(self.most_together))
        self._coroutines = SubmittedCalls(self.dispatcher, ConcurrentChunker(CONCURRENCY))
        self._needing: dict[tuple[Needs, bool], SubmittedCalls] = {}
        """Those whose calls need something of their host."""

        self._outstanding = OutstandingWork()

    def over(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        options: Options,
        *,
        spread: CallStyle | None = None,
        sort: bool = True,
        streaming: bool = False,
        ordered: bool = False,
        at_end: Callable[[], None] = nothing,
    ) -> Launch[Run]:
        """Prepare a run of `fn` over iterables; when streaming, results are not kept."""
        __tracebackhide__ = True
        total = total_of(iterables, options)
        if not self._backend.in_process:
            warn_of_repetition(iterables)
        stir = Stir(self.dispatcher)
        source = source_of(
            iterables, wake=stir, threaded=not self.dispatcher.blocking, total=total, arms=self.arms
        )  # fmt: skip
        if spread is None:
            spread = CallStyle.ONE if len(iterables) == 1 else CallStyle.STAR
        if not self._backend.in_process:
            warn_of_lost_changes(fn, items=iterables[0] if spread is CallStyle.ONE else None)
        return self._launch(
            fn, source, spread, options, total=total, streaming=streaming, ordered=ordered, sort=sort,
            remember=True, stir=stir, at_end=at_end,
        )  # fmt: skip

    def at_once(
        self, fn: Callable[..., Any], source: HandedOverSource, spread: CallStyle, options: Options
    ) -> Run:
        """Start an ordered, streaming run that computes all its items, even if they are not consumed."""
        options = replace(options, buffersize=max(1, source.remaining))
        return self._launch(
            fn, source, spread, options, total=source.remaining, streaming=True, ordered=True,
            remember=True,
        ).begin()  # fmt: skip

    def submit(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        needs: Needs | None = None,
    ) -> CallFuture:
        """Run one call; return its future."""
        __tracebackhide__ = True
        needs = accounted(needs, all_here=self.all_here)
        load = self.load(fn)
        begin = self.begin_of(self.dispatcher.new_id(), fn, load, brief=True)
        waits = concurrency_of(fn, None) > 0
        calls = self._coroutines if waits else self._calls
        if needs is not None:
            chunker = ConcurrentChunker(CONCURRENCY) if waits else chunker_of_calls(self.most_together)
            made = SubmittedCalls(self.dispatcher, chunker, needs)
            calls = self._needing.setdefault((needs, waits), made)
        return calls.submit(fn, load, begin, args, kwargs)

    def finish_before_exit(self, future: CallFuture) -> None:
        """Finish a call before the interpreter ends, unless it is ending already."""
        if not interpreter.begun:
            interpreter.finish_first(self._outstanding)
            future.join(self._outstanding)
            prepare_for_exit(self.dispatcher)

    def everywhere(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Launch[Run]:
        """Prepare a run of one call on every worker."""
        self.reached_all = True
        return self._launch(fn, SequenceSource([]), CallStyle.CALL, QUIET, everywhere=(args, {}))

    def _launch(
        self,
        fn: Callable[..., Any],
        source: Source,
        spread: CallStyle,
        options: Options,
        *,
        total: int | None = None,
        streaming: bool = False,
        ordered: bool = False,
        sort: bool = True,
        everywhere: Any = None,
        remember: bool = False,
        stir: Stir | None = None,
        at_end: Callable[[], None] = nothing,
    ) -> Launch[Run]:
        __tracebackhide__ = True
        concurrency, limit = concurrency_of(fn, options.concurrency), options.limit
        self._check(fn, options, concurrent=concurrency > 0)
        load = self.load(fn)
        chunker = self._chunker(
            options.fixed_chunksize, load, streaming=streaming, concurrency=concurrency, limit=limit
        )
        gate = None if limit is None else Gate(limit, stir := stir or Stir(self.dispatcher))
        needs, each = accounted(options.needed, all_here=self.all_here), concurrency > 0
        claim = None if needs is None else Claim(needs, stir := stir or Stir(self.dispatcher), each=each)
        state = RunState(
            self.dispatcher.new_id(), source, chunker, ordered=ordered, streaming=streaming, gate=gate,
            buffersize=options.buffersize, retry=options.retry, most_workers=options.workers, claim=claim,
        )  # fmt: skip
        if stir is not None:
            stir.state = state
        label = options.label or function_name(fn)
        run = Run(self.dispatcher, label=label, errors=options.errors, streaming=streaming, sort=sort)
        job = Job(
            state, run, load, fn, label, total, spread, options.timeout, options.seed,
            fail_fast=options.errors == "raise" and not streaming, max_errors=options.max_errors,
            everywhere=everywhere,
        )  # fmt: skip
        self._equip(job, options)
        run.profile = ProfileFold() if options.profile else None
        run.prepare(job)
        if remember:
            run.make_views = views_on_demand(options.progress, total)
        return Launch(run, remember=remember, at_end=at_end)

    def _equip(self, job: Job, options: Options) -> None:
        """Give a job what its workers are told first, and its journal."""
        state = job.state
        begin = self.begin_of(
            state.id,
            job.function,
            job.load,
            retry=options.retry,
            limit=options.limit,
            profile=options.profile,
        )
        if begin is not None:
            job.begin = begin._replace(settled=isinstance(state.source, SequenceSource))
        if options.resume is not None:
            from nbpar.journal.resuming import journal

            journal(job, options.resume, partial(self.dispatcher.stir, state))

    def _chunker(
        self, fixed: int | None, load: Load, *, streaming: bool, concurrency: int, limit: Rate | None
    ) -> Chunker:
        """Return what decides the size of chunks.

        The thread that takes a stream's values also computes them in a serial pool: an item of a larger
        chunk would be late by all that follow it there.  Elsewhere short chunks are joined.
        """
        if concurrency:
            return ConcurrentChunker(concurrency)
        if streaming and self.dispatcher.blocking:
            return Chunker(largest=1)
        before = self._costs.pop(load.digest, None)
        chunker = Chunker(
            fixed, joins=not self.dispatcher.blocking,
            expected=None if before is None or streaming else before.seconds_per_item,
            target=TARGET if limit is None else min(TARGET, SHARE_OF_WINDOW * limit.seconds),
            largest=min(STREAM_CHUNK, self.most_together) if streaming else self.most_together,
        )  # fmt: skip
        if not self._backend.in_process:  # there digests are of runs
            self._costs[load.digest] = chunker
            if len(self._costs) > REMEMBERED:
                self._costs.popitem(last=False)
        return chunker

    def _check(self, fn: Callable[..., Any], options: Options, *, concurrent: bool) -> None:
        """Reject options that this backend cannot honor, and warn about `seed=` on shared generators."""
        __tracebackhide__ = True
        if concurrent:
            if options.seed is not None:
                from nbpar.pool.seed_warning import warn_of_shared_generator

                warn_of_shared_generator(fn, "in async functions, whose items")
            return
        if not self._backend.in_process:
            return
        here = self.dispatcher.blocking
        if options.timeout is not None and not (here and can_limit()):
            raise ValueError(
                "timeout= needs engines: Python cannot stop what a thread runs; "
                'backend="serial" can where it runs in the main thread'
            )
        if options.seed is not None and not here:
            from nbpar.pool.seed_warning import warn_of_shared_generator

            warn_of_shared_generator(fn)

    def share(self, value: Any) -> Shared:
        """Return a handle to an object that workers get once.

        Raises:
            PicklingError: it cannot be serialized.
        """
        if self._backend.in_process:
            return Shared(value)
        shared = Shared(value, lodge=self._same_host, ask=not self._same_host)
        try:
            shared.pack()
        except BaseException as error:
            if may_be_ctrl_c(error):
                raise
            raise PicklingError(explain(value, error, what="the object to the workers")) from None
        return shared

    @property
    def arms(self) -> Arms | None:
        """What lets Ctrl-C through to input that is read here; None where nothing holds it back."""
        return self._backend.interrupts

    @property
    def same_host(self) -> bool:
        """Whether all workers are processes of this host."""
        return self._same_host

    def wake(self) -> None:
        """Wake the dispatcher; thread-safe."""
        self._backend.wake()

    def begin_of(
        self,
        run: int,
        fn: Callable[..., Any],
        load: Load,
        *,
        brief: bool = False,
        retry: Retry = NO_RETRIES,
        limit: Rate | None = None,
        profile: bool = False,
    ) -> Begin | None:
        """Return the settings that workers get before a run's first call; None: they need none.

        `brief`: it is one of calls that are submitted one by one.
        """
        asked, begun_after = self._asked(retry), None if limit is None else limit.seconds / 2
        wanted = {"asked": asked, "begun_after": begun_after, "profile": profile}
        if self._backend.in_process:
            needed = profile or asked is not None or begun_after is not None
            return Begin(run, (), (), **wanted) if needed else None
        if self._files is not None:
            self._files.push(brief=brief)
        reach = reach_of_this_process()
        if not self._same_host:
            modules = reach.with_carried(load.function)
        else:
            modules = reach.of_call(load.function, load.digest) if brief else reach.of(load.function)
        packages = () if self._same_host else self._packages_of(fn, load, modules)
        world = tuple(self._world.changes())
        return Begin(run, modules, levels_here(), world, packages=packages, **wanted)

    def _asked(self, retry: Retry) -> Any:
        """Return how workers read the waits that exceptions ask for; None: they need not."""
        if not (retry.times and retry.after):
            return None
        if retry.after is True or self._backend.in_process:
            return retry.after
        try:
            return dumps(retry.after)
        except BaseException as error:
            if may_be_ctrl_c(error):
                raise
            what = "the function `after` of Retry to the workers"
            raise PicklingError(explain(retry.after, error, what=what)) from None

    def _packages_of(self, fn: Callable[..., Any], load: Load, modules: Wanted) -> tuple[Package, ...]:
        """Return the packages that a function imports; they are looked up once."""
        key = (load.digest, modules)
        if (known := self._packages.get(key)) is None:
            from nbpar.pool.packages import packages_of

            known = packages_of(fn, modules, reach_of_this_process())
            self._packages = {key: known}
        return known

    def load(self, fn: Callable[..., Any]) -> Load:
        """Return a function in the form sent to the workers.

        Raises:
            TypeError: it is not callable.
            PicklingError: it cannot be serialized.
        """
        __tracebackhide__ = True
        if not callable(fn):
            raise TypeError(f"the first argument must be a function, was {short(fn)}")
        if self._backend.in_process:
            return Load(b"%d" % next(self._numbers), full_function_name(fn), Lent(fn))
        return self._kept.made(fn, lambda: self._packed(fn), lambda load: load.function.nbytes)

    def _packed(self, fn: Callable[..., Any]) -> Load:
        __tracebackhide__ = True
        name = full_function_name(fn)
        try:
            packed = pack_one(fn)
        except BaseException as error:
            if may_be_ctrl_c(error):
                raise
            raise PicklingError(explain(fn, error, what=f"the function `{name}` to the workers")) from None
        return Load(digest(packed), name, packed)


def views_on_demand(progress: str, total: int | None) -> Callable[[], BackgroundViews]:
    """Return a factory of views for `run.show()`; it holds no reference to its pool."""
    return partial(BackgroundViews, progress=progress, total=total, resize=None)


def total_of(iterables: tuple[Iterable[Any], ...], options: Options) -> int | None:
    """Return the number of items; None if it is unknown."""
    return options.total if options.total is not None else length_of(iterables)
