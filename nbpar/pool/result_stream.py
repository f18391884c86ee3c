"""The results of a streaming run: for `for`, and for `async for` in an event loop that must not wait."""

from __future__ import annotations

import queue
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from nbpar.host.frames import seen_from
from nbpar.pool.options import Options
from nbpar.run.display import shown
from nbpar.run.run import Run

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

    from typing_extensions import Self

_END = object()


class ResultStream(Iterator[Any]):
    """Yields results as they come; closing or dropping it cancels the rest.

    With `async for` another thread waits for each result, so the event loop goes on.  Only a serial pool
    computes in the event loop's own thread.

    Args:
        values: yields them.
        run: their run.
        here: whether the thread that takes a value has to compute it.
    """

    def __init__(self, values: Iterator[Any], run: Run, *, here: bool) -> None:
        self._values = values
        self._run = weakref.ref(run)
        self._here = here
        self._asked: queue.SimpleQueue[Callable[[], None] | None] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        __tracebackhide__ = True
        return next(self._values)

    def close(self) -> None:
        """Cancel the rest.  Idempotent."""
        self._values.close()  # type: ignore[attr-defined]  # it is a generator

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        import asyncio

        __tracebackhide__ = True
        if self._here:
            await asyncio.sleep(0)
            value = next(self._values, _END)
        else:
            value = await self._later(lambda: next(self._values, _END))
        if value is _END:
            self._dismiss()
            raise StopAsyncIteration
        return value

    async def aclose(self) -> None:
        """Cancel the rest, without blocking the event loop.  Idempotent."""
        if self._here:
            self.close()
        else:
            await self._later(self.close)
            self._dismiss()

    def __del__(self) -> None:
        self._dismiss()

    async def _later(self, step: Callable[[], Any]) -> Any:
        """Return what a step returns, in the thread that takes values; leaving early stops the run."""
        import asyncio

        __tracebackhide__ = True
        if self._asked is None:
            self._asked = queue.SimpleQueue()
            threading.Thread(target=_serve, args=(self._asked,), name="nbpar stream", daemon=True).start()
        loop = asyncio.get_running_loop()
        answer: Future[Any] = loop.create_future()
        context = copy_context()
        self._asked.put(lambda: context.run(_answer, step, loop, answer))
        try:
            return await answer
        except BaseException:
            if not (answer.done() and not answer.cancelled()) and (run := self._run()) is not None:
                run.request_stop()
            raise

    def _dismiss(self) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.put(None)


def shown_stream(
    run: Run, options: Options, total: int | None, resize: Callable[[int], None] | None
) -> ResultStream:
    """Yield a streaming run's values and show it meanwhile; stop it when that is closed."""
    values = _shown_stream(run, options, total, resize)
    next(values)  # from now on dropping it stops it, even before the first value
    return ResultStream(values, run, here=run.works_here)


def _shown_stream(
    run: Run, options: Options, total: int | None, resize: Callable[[int], None] | None
) -> Iterator[Any]:
    __tracebackhide__ = True
    try:
        yield None
        with shown(run, options.progress, total=total, resize=resize) as watch:
            yield from run.stream(watch)
    except GeneratorExit:  # at the interpreter's end there is no caller's frame
        raise
    except BaseException as error:  # noqa: BLE001 (raised again)
        raise seen_from(sys._getframe(1), error)  # noqa: B904, SLF001 (the same one)
    finally:
        run.cancel()
        del run  # the error's traceback holds this frame, and the run the error


def _serve(asked: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while (step := asked.get()) is not None:
        step()
        del step  # it holds the stream


def _answer(step: Callable[[], Any], loop: AbstractEventLoop, answer: Future[Any]) -> None:
    """Run a step and tell the event loop its outcome."""
    value, failure = None, None
    try:
        value = step()
    except BaseException as error:  # noqa: BLE001 (raised where it is awaited)
        failure = error

    def tell() -> None:
        if answer.done():
            return
        if failure is None:
            answer.set_result(value)
        else:
            answer.set_exception(failure)

    if not loop.is_closed():
        loop.call_soon_threadsafe(tell)
