"""All channels of a pool: one port for each worker, and the modules sent with code."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from nbpar.channels.channel import Channel
from nbpar.channels.end import ClientEnd
from nbpar.endpoint.callbacks import Callbacks
from nbpar.endpoint.carried_modules import CarriedModule
from nbpar.endpoint.end import ITEMS, NBYTES, End
from nbpar.endpoint.lifetime import Unclaimed, drop_all
from nbpar.errors import WAITS_FOR_ITSELF, ChannelError, GatewayBusy
from nbpar.host.deferred_sigint import hold
from nbpar.wire.messages import Open
from nbpar.wire.modules.reach import reach_of_this_process
from nbpar.wire.pickling import Packed


class ClientPort:
    """The `Port` shared by the ends of channels to one worker."""

    early = False
    """Whether its channels open before the worker has run the pool's initializer."""

    def __init__(self, hub: Hub, worker: str, channel_class: type[Channel] = Channel) -> None:
        self.worker = worker
        self.guard: AbstractContextManager[object] = nullcontext()
        self.dropped: deque[End] = deque()
        self.gateway: Callable[[], Any] = lambda: None
        """Returns the gateway that was named or made last, None when it is gone."""

        self._hub = hub
        self._lines = hub.dispatcher.lines
        self.outbox = self._lines.early_box(worker) if self.early else self._lines.box(worker)
        self._class = channel_class
        self._ends: weakref.WeakValueDictionary[int, ClientEnd] = weakref.WeakValueDictionary()
        """Open ends, which the dispatcher holds, and referenced closed ones."""

        self._unclaimed = Unclaimed()

    @property
    def known_gateway(self) -> Any:
        """A gateway to the worker; None if no gateway to it is referenced any more."""
        return self.gateway() or self._hub.known_gateway(self.worker)

    # ---- opening

    def open(
        self, how: str, code: Any, *, busy: str = "wait", items: int = ITEMS, nbytes: int = NBYTES
    ) -> Channel:
        """Open a channel; its code runs as soon as the worker is free for it."""
        if busy == "raise" and how == "main" and self.occupied:
            raise GatewayBusy(
                f"{self.worker} runs code of another channel in its main thread; close that channel first, "
                "or use `thread=True`"
            )
        with hold:  # a corked box would hold back all messages
            end = ClientEnd(self._hub.new_number(), self, self.worker, items=items, nbytes=nbytes)
            end.how = how
            self._ends[end.number] = end
            channel = self._class(end)
            if how == "main":
                self._lines.occupy(self.worker, end.number)
            self.outbox.cork()
            self.outbox.post(Open(end.number, how, items, nbytes, code))
            self._hub.dispatcher.admit(lambda: self._opened(end))
            return channel

    def _opened(self, end: ClientEnd) -> None:
        """Let the dispatcher know of a new channel; called in its thread."""
        self._lines.open(self.worker, end, occupies=end.how == "main")

    def accept(self, opened: Open) -> ClientEnd:
        """Register a channel that the worker has made."""
        end = ClientEnd(opened.channel, self, self.worker, items=opened.items, nbytes=opened.nbytes)
        self._ends[end.number] = end
        return end

    @property
    def channels(self) -> int:
        """Number of open channels."""
        return sum(not (end.closed or end.over) for end in list(self._ends.values()))

    @property
    def executing(self) -> int:
        """Number of channels whose code is still running."""
        return sum(end.how != "bare" and not end.over for end in list(self._ends.values()))

    @property
    def occupied(self) -> bool:
        """Whether the worker's main thread is occupied."""
        return bool(self._lines.occupied(self.worker))

    # ---- for ends

    def wait(self, end: End, ready: Callable[[], bool], timeout: float | None) -> bool:
        assert isinstance(end, ClientEnd)
        if self._hub.dispatcher.here:
            raise RuntimeError(WAITS_FOR_ITSELF)
        self.outbox.flush()
        try:
            return bool(self._lines.wait(self.worker, ready, lambda: _sleep(end, ready, timeout)))
        except KeyboardInterrupt:
            self.stop(end)
            raise

    def stop(self, end: End) -> None:
        """Stop the code at the other end."""
        if isinstance(end, ClientEnd) and end.how == "main":
            self._hub.dispatcher.interrupt_code(self.worker, end.number)
        else:
            end.close()

    def notify(self, end: End) -> None:
        assert isinstance(end, ClientEnd)
        if end.waiting:
            with end.changed:
                end.changed.notify_all()

    def wake(self) -> None:
        self._hub.dispatcher.request(self._sweep)

    def forget(self, end: End) -> None:
        self._unclaimed.keep(end)
        self._hub.dispatcher.request(lambda: self._lines.forget(self.worker, end.number))

    def call_back(self, end: End) -> None:
        self._hub.call_back(end)

    def channel(self, number: int) -> Channel:
        end = self._unclaimed.claim(number) or self._ends.get(number)
        if end is None:
            end = ClientEnd(number, self, self.worker)
            end.end_early()
        made: Channel | None = end.handle() if end.handle is not None else None
        return made if made is not None else self._class(end).through(self.known_gateway)

    def new_channel(self) -> Channel:
        return self.open("bare", None)

    def _sweep(self) -> None:
        """Close unreferenced channels."""
        drop_all(self.dropped)


class EarlyPort(ClientPort):
    """A port for code that must not wait for the pool's initializer, and occupies no main thread."""

    early = True

    def _opened(self, end: ClientEnd) -> None:
        self._lines.open_early(self.worker, end)


def _sleep(end: ClientEnd, ready: Callable[[], bool], timeout: float | None) -> bool:
    with end.changed:
        end.waiting += 1
        try:
            return end.changed.wait_for(ready, timeout)
        finally:
            end.waiting -= 1


IDLE = 2.0
"""Seconds that the thread of callbacks waits for the next one."""


class Hub:
    """Ports to the workers of one pool, and the thread in which their callbacks run."""

    def __init__(self, dispatcher: Any, *, in_process: bool) -> None:
        self.dispatcher = dispatcher
        self.in_process = in_process
        self.channel_class: type[Channel] = Channel
        """Class of the users' channels; set before the first port is made."""

        self.luggage = CarriedModules()
        self._ports: dict[str, ClientPort] = {}
        self._gateways: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        """They hold the pool, which must not live as long as its workers."""

        self._numbers = itertools.count(1)
        self._news = threading.Condition()
        self._callbacks = Callbacks(self._await_news, name="nbpar callbacks")

    def new_number(self) -> int:
        """Return a number for a channel created on this side."""
        return next(self._numbers)

    def port(self, worker: str) -> ClientPort:
        """Return the port to a worker."""
        if worker not in self._ports:
            self._ports[worker] = ClientPort(self, worker, self.channel_class)
        return self._ports[worker]

    def gateway(self, worker: str, make: Callable[[], Any]) -> Any:
        """Return the gateway to a worker; the same one as long as anything refers to it."""
        if (gateway := self._gateways.get(worker)) is None:
            gateway = self._gateways[worker] = make()
        return gateway

    def known_gateway(self, worker: str) -> Any:
        """Return the gateway to a worker; None when nothing refers to it any more."""
        return self._gateways.get(worker)

    def forget(self, worker: str) -> None:
        """Delete the state of a worker that is permanently gone, and whose gateway is unreferenced."""
        self._ports.pop(worker, None)
        self._gateways.pop(worker, None)
        self.dispatcher.request(lambda: self.dispatcher.lines.forget_worker(worker))

    def call_back(self, end: End) -> None:
        """Schedule the callback of an end, in the thread for callbacks."""
        self._callbacks.add(end)
        with self._news:
            self._news.notify_all()

    def _await_news(self, ready: Any) -> None:
        with self._news:
            self._news.wait_for(ready, IDLE)

    def accept(self, worker: str, opened: Open) -> ClientEnd:
        """Make this side's end of a channel opened by a worker."""
        return self.port(worker).accept(opened)


def hub_of(pool: Any) -> Hub:
    """Return the hub of a pool; the workers are started if necessary.

    Raises:
        ChannelError: the pool is serial.
    """
    if pool.backend == "serial":
        raise ChannelError(
            'a serial pool has no worker to talk to; use backend="engines" or backend="threads"'
        )
    return hub_on(pool, pool.launcher.dispatcher)


def hub_on(pool: Any, dispatcher: Any) -> Hub:
    """Return the hub of a pool with this dispatcher."""
    in_process = pool.backend == "threads"
    hub: Hub = dispatcher.lines.users_side(lambda: Hub(dispatcher, in_process=in_process))
    return hub


MOST = 1 << 20
"""Maximal bytes of source sent with code; the worker asks for larger modules when it imports them."""


Modules = dict[str, CarriedModule]


class CarriedModules:
    """The user's modules, with a record of those sent to each worker.  Installed packages are never sent."""

    def __init__(self) -> None:
        self._reach = reach_of_this_process()
        self._made: dict[tuple[str, bytes], CarriedModule] = {}
        self._sent: dict[str, Modules] = {}

    def for_code(self, packed: Packed, worker: str) -> Modules:
        """Return the modules that pickled code uses and that the worker does not have yet."""
        known = self._sent.get(worker, {})
        reached = {name: self._carried(name, version) for name, version in self._reach.of(packed)}
        modules = {name: one for name, one in reached.items() if known.get(name) is not one}
        if sum(len(one.source) for one in modules.values()) > MOST:
            return {}
        return {**self._parents(modules), **modules}

    def note(self, modules: Modules, worker: str) -> None:
        """Record that the modules were sent to the worker."""
        self._sent.setdefault(worker, {}).update(modules)

    def _carried(self, name: str, version: bytes) -> CarriedModule:
        made = self._made.get((name, version))
        if made is None:
            filename = self._reach.versions.files[name]
            package = Path(filename).name == "__init__.py"
            folders = (str(Path(filename).parent),) if package else ()
            made = CarriedModule(self._reach.versions.running(name), filename, package, folders)
            self._made[name, version] = made
        return made

    def _parents(self, modules: Modules) -> Modules:
        """Return empty packages for those without a file: namespaces."""
        found: Modules = {}
        for name in modules:
            while name := name.rpartition(".")[0]:
                if name not in self._reach.versions.files:
                    found[name] = CarriedModule(b"", "", package=True)
        return found
