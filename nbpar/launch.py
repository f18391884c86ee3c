"""Make a run out of what a user asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import count
from typing import Any

from nbpar import last
from nbpar.care import WorkerCare
from nbpar.core.chunking import Chunker
from nbpar.core.runstate import RunState
from nbpar.core.short import function_name
from nbpar.core.source import Arms, SequenceSource, Source
from nbpar.core.spread import Spread
from nbpar.dispatch.dispatcher import Dispatcher
from nbpar.dispatch.job import Job
from nbpar.errors import PicklingError
from nbpar.inputs import length_of, source_of
from nbpar.journalled import journal
from nbpar.options import Options
from nbpar.placement import Place
from nbpar.randomness import warn_of_shared_generator
from nbpar.run import Run
from nbpar.showing import shown
from nbpar.wire.diagnosis import explain
from nbpar.wire.freshness import Reach
from nbpar.wire.levels import levels_here
from nbpar.wire.messages import Begin, Load
from nbpar.wire.pickling import digest, pack_one
from nbpar.wire.shared import Shared
from nbpar.worker.interrupting import can_limit

STREAM_CHUNK = 4096
"""Items in a chunk of `imap` at most, so that looking ahead stays small."""

QUIET = Options(progress="none")


class Launcher:
    """Begins runs on the workers of one place."""

    def __init__(
        self,
        place: Place,
        initializer: tuple[Callable[..., Any], tuple[Any, ...]] | None,
        care: WorkerCare = WorkerCare(),  # noqa: B008 (it is frozen)
    ) -> None:
        self._backend = place.backend
        self._same_host = place.same_host
        self._largest = {} if care.max_items is None else {"largest": care.max_items}
        self._numbers = count(1)
        first = None if initializer is None else (self.load(initializer[0]), initializer[1])
        self.dispatcher = Dispatcher(
            place.backend, initializer=first, expecting=place.expecting, problem=place.problem,
            rules=care.rules(place.renew),
        )  # fmt: skip

    def over(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        options: Options,
        begun: list[Run],
        *,
        spread: Spread | None = None,
        sort: bool = True,
        streaming: bool = False,
        ordered: bool = False,
    ) -> Run:
        """Begin a run of `fn` over iterables; when streaming, results are not kept.

        It is put into `begun` just before it begins.
        """
        __tracebackhide__ = True
        total = total_of(iterables, options)
        source = source_of(
            iterables, wake=self._backend.wake, threaded=not self.dispatcher.blocking, total=total,
            arms=self.arms,
        )  # fmt: skip
        if spread is None:
            spread = Spread.ONE if len(iterables) == 1 else Spread.STAR
        return self._launch(
            fn, source, spread, options, begun, total=total, streaming=streaming, ordered=ordered, sort=sort,
            remember=True,
        )  # fmt: skip

    def once(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], begun: list[Run]
    ) -> Run:
        """Begin a run of one call."""
        return self._launch(fn, SequenceSource([(args, kwargs)]), Spread.CALL, QUIET, begun, total=1)

    def everywhere(self, fn: Callable[..., Any], args: tuple[Any, ...], begun: list[Run]) -> Run:
        """Begin a run of one call on every worker."""
        return self._launch(fn, SequenceSource([]), Spread.CALL, QUIET, begun, everywhere=(args, {}))

    def _launch(
        self,
        fn: Callable[..., Any],
        source: Source,
        spread: Spread,
        options: Options,
        begun: list[Run],
        *,
        total: int | None = None,
        streaming: bool = False,
        ordered: bool = False,
        sort: bool = True,
        everywhere: Any = None,
        remember: bool = False,
    ) -> Run:
        __tracebackhide__ = True
        self._check(fn, options)
        largest = {"largest": STREAM_CHUNK} if streaming else {}
        chunker = Chunker(options.fixed_chunksize, **{**largest, **self._largest})
        state = RunState(
            self.dispatcher.new_id(), source, chunker, ordered=ordered, streaming=streaming,
            buffersize=options.buffersize, retry=options.retry,
        )  # fmt: skip
        label = options.label or function_name(fn)
        run = Run(self.dispatcher, label=label, errors=options.errors, streaming=streaming, sort=sort)
        job = Job(
            state, run, self.load(fn), fn, label, total, spread, options.timeout, options.seed,
            fail_fast=options.errors == "raise" and not streaming, max_errors=options.max_errors,
            everywhere=everywhere,
        )  # fmt: skip
        job.begin = self.begin_of(state.id, job.load)
        if options.resume is not None:
            journal(job, options.resume, self._backend.wake)
        run.prepare(job)
        if remember:
            last.remember(run)
        begun.append(run)
        run.begin()
        return run

    def _check(self, fn: Callable[..., Any], options: Options) -> None:
        """Refuse options that nobody can keep here, and warn of one that may not do what it seems to."""
        __tracebackhide__ = True
        if not self._backend.in_process:
            return
        here = self.dispatcher.blocking
        if options.timeout is not None and not (here and can_limit()):
            raise ValueError(
                "timeout= needs engines: Python cannot stop what a thread runs; "
                'backend="serial" can where it runs in the main thread'
            )
        if options.seed is not None and not here:
            warn_of_shared_generator(fn)

    def share(self, value: Any) -> Shared:
        """Return a handle to what workers get once.

        Raises:
            PicklingError: it cannot travel.
        """
        if self._backend.in_process:
            return Shared(value)
        shared = Shared(value, lodge=self._same_host)
        try:
            shared.pack()
        except Exception as error:  # noqa: BLE001 (any user code may run here; the message has its cause)
            raise PicklingError(explain(value, error, what="the object to the workers")) from None
        return shared

    @property
    def arms(self) -> Arms | None:
        """What lets Ctrl-C through to input that is read here; None where nothing holds it back."""
        return getattr(self._backend, "interrupts", None)

    def wake(self) -> None:
        """Have the dispatcher look around; from any thread."""
        self._backend.wake()

    def begin_of(self, run: int, load: Load) -> Begin | None:
        """Return what workers in other processes are told before a run's first call."""
        if self._backend.in_process:
            return None
        return Begin(run, reach_of_this_process().of(load.function), levels_here())

    def load(self, fn: Callable[..., Any]) -> Load:
        """Return a function as it travels to the workers.

        Raises:
            TypeError: it is no function.
            PicklingError: it cannot travel.
        """
        __tracebackhide__ = True
        if not callable(fn):
            raise TypeError(f"the first argument must be a function, was {fn!r}")
        name = getattr(fn, "__qualname__", None) or type(fn).__name__
        if self._backend.in_process:
            return Load(b"%d" % next(self._numbers), name, fn)
        try:
            packed = pack_one(fn)
        except Exception as error:  # noqa: BLE001 (any user code may run here; the message has its cause)
            raise PicklingError(explain(fn, error, what=f"the function `{name}` to the workers")) from None
        return Load(digest(packed), name, packed)


@cache
def reach_of_this_process() -> Reach:
    """Return what knows the modules of this process."""
    import psutil

    return Reach(born=psutil.Process().create_time())


def total_of(iterables: tuple[Iterable[Any], ...], options: Options) -> int | None:
    """Return how many items there will be; None when nobody knows."""
    return options.total if options.total is not None else length_of(iterables)


def shown_stream(
    run: Run, options: Options, total: int | None, resize: Callable[[int], None] | None
) -> Iterator[Any]:
    """Yield a streaming run's values and show it meanwhile; stop it when nobody wants them any more."""
    values = _shown_stream(run, options, total, resize)
    next(values)  # from now on it is stopped also when it is forgotten before the first value
    return values


def _shown_stream(
    run: Run, options: Options, total: int | None, resize: Callable[[int], None] | None
) -> Iterator[Any]:
    __tracebackhide__ = True
    try:
        yield None
        with shown(run, options.progress, total=total, resize=resize) as watch:
            yield from run.stream(watch)
    finally:
        run.cancel()
