"""The functions that a worker has made of the messages it got, unpickled anew for each run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from nbpar.core.call_style import CallStyle, Lent, caller
from nbpar.errors import MissingPackagesError, PicklingError
from nbpar.wire.diagnosis.explain import explain_unpickling
from nbpar.wire.faults import Fault, describe
from nbpar.wire.messages import INITIALIZER, Call, Load, Output
from nbpar.wire.pickle_cache import State, state_of
from nbpar.wire.shared_memory import NotMappedError
from nbpar.worker.codec import Codec
from nbpar.worker.host_buffers import HostBuffers
from nbpar.worker.initializer import provide, remember
from nbpar.worker.mail.mailbox import FUNCTIONS, Mailbox
from nbpar.worker.output.recorder import Piece
from nbpar.worker.run_setup import WorkerHooks, forget_warnings
from nbpar.worker.signals import Interrupts


class FunctionCache:
    """The functions of the last runs; the loop's own thread alone uses it.

    Args:
        mailbox: has the received functions and the settings of runs.
        buffers: has those that came apart from them.
        codec: unpickles them.
        interrupts: defers signals while one is unpickled within an item.
        pool: the client, whose initializer's variables they see.
    """

    def __init__(
        self, mailbox: Mailbox, buffers: HostBuffers, codec: Codec, interrupts: Interrupts, pool: bytes
    ) -> None:
        self._mailbox = mailbox
        self._buffers = buffers
        self._codec = codec
        self._interrupts = interrupts
        self._pool = pool
        self._made: OrderedDict[tuple[bytes, int], Callable[[Any], Any] | Lent | Fault] = OrderedDict()
        self.just_made = False
        """Whether the last function was made for this call, and not before."""

    def of(self, call: Call, hooks: WorkerHooks) -> Callable[[Any], Any] | Fault | None:
        """Return a call's function, or the error of unpickling it; None: it must be sent (again).

        A call with arguments of its own was made by `submit`, and counts as a run of its own.
        """
        key = (call.digest, call.run)
        self.just_made = key not in self._made
        if self.just_made:
            if (new := self._make_again(call, hooks)) is None:
                return None
            self._made[key] = new
            while len(self._made) > FUNCTIONS:
                self._made.popitem(last=False)
        made = self._made.pop(key) if call.spread == CallStyle.CALL else self._made[key]
        if isinstance(made, Lent):
            function = made.fn
            return None if function is None else caller(function, call.spread)
        return made

    def anew(self, call: Call, first: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return what has a function anew for each of the items: they were submitted one by one."""
        renewed = Renewed(partial(self._unpickled, self._load(call.digest)))
        waiting: list[Callable[[Any], Any]] = [first]

        def run(item: Any) -> Any:
            if waiting:
                return waiting.pop()(item)
            with self._interrupts.shield():  # the run is the same: the worker is prepared for it
                forget_warnings()
                function = renewed.function()
            return caller(function, call.spread)(item)

        return run

    def _unpickled(self, load: Load | None) -> Any:
        """Make a function.

        Raises:
            NotMappedError: its shared memory is gone.
            PicklingError: it cannot be unpickled.
        """
        assert load is not None
        try:
            function = self._codec.function(load.function)
        except NotMappedError:
            raise
        except BaseException as error:  # noqa: BLE001 (any user code may run here)
            new = PicklingError(explain_unpickling(error, what=f"the function {load.name}"))
            raise new.with_traceback(error.__traceback__) from None
        provide(self._pool, function)
        return function

    def clear(self) -> None:
        """Drop all: references to a loop must not keep captured objects alive."""
        self._made.clear()

    def _load(self, digest: bytes) -> Load | None:
        """Return a received function with its pickle; None: it must be sent (again).

        Raises:
            NotMappedError: its shared memory is gone.
        """
        load = self._mailbox.load(digest)
        return None if load is None else self._buffers.complete(load)

    def _make_again(self, call: Call, hooks: WorkerHooks) -> Callable[[Any], Any] | Lent | Fault | None:
        """Make a call's function, from buffers that are asked for again where their memory is gone."""
        for _ in range(2):
            try:
                load = self._load(call.digest)
                return None if load is None else self._make(load, call, hooks)
            except NotMappedError:
                self._buffers.forget(call.digest)
        return None

    def _make(self, load: Load, call: Call, hooks: WorkerHooks) -> Callable[[Any], Any] | Lent | Fault:
        notes: list[Piece] = []
        if hooks.cleanup is not None:
            hooks.cleanup.begin()
        try:
            with hooks.prepared(self._mailbox.begin(call.run), load, notes.append):
                function = self._codec.function(load.function)
            if isinstance(function, Lent):
                return function
            if call.run == INITIALIZER:
                remember(self._pool, function)
            else:
                provide(self._pool, function)
            return caller(function, call.spread)
        except NotMappedError:
            raise
        except MissingPackagesError as error:
            return describe(error)
        except BaseException as error:  # noqa: BLE001 (any user code may run here)
            new = PicklingError(explain_unpickling(error, what=f"the function {load.name}"))
            return describe(new.with_traceback(error.__traceback__))
        finally:
            if hooks.cleanup is not None:
                hooks.cleanup.keep()
            if notes:
                self._mailbox.put([Output(call.id, tuple(notes))])


class Renewed:
    """A function that is made anew for each call, unless it is as it was made.

    Args:
        make: makes it.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None
        self._state: State | None = None
        self._names = 0
        """Number of variables in its namespace, some of which its code may not name."""

    def function(self) -> Any:
        """Return the function as it was sent.

        Raises:
            Exception: what making it raises.
        """
        state = self._state
        if (
            state is None
            or self._names != len(self._made.__globals__)
            or not state.is_like(state_of(self._made))
        ):
            self._state = None
            self._made = self._make()
            if (made := state_of(self._made)) is not None:
                self._state, self._names = made, len(self._made.__globals__)
        return self._made
