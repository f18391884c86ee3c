"""A gateway: runs code on one worker, with a channel to it."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from nbpar.channels.channel import Channel
from nbpar.channels.ports import ClientPort, Hub, Modules, hub_of
from nbpar.channels.sources import Source, check_pure, code_of, name_of, standing_alone
from nbpar.channels.status import GatewayStatus, Table
from nbpar.core.checks import at_least, check_flag, check_word
from nbpar.endpoint.carried_modules import Carrying, Sources
from nbpar.endpoint.code import Code, FunctionCode
from nbpar.endpoint.end import ITEMS, NBYTES
from nbpar.endpoint.payload import pack_code
from nbpar.errors import PoolClosedError
from nbpar.host.frames import entrance
from nbpar.wire.pickling import Packed

if TYPE_CHECKING:
    from nbpar.channels.spec import Spec


BUSY = ("wait", "raise")


class Gateway:
    """One worker of a pool.

    Attributes:
        id: its name in its group; the worker's name otherwise.
        worker: the worker's name.
        spec: the specification it was made from, or None.
    """

    def __init__(
        self,
        pool: Any,
        hub: Hub,
        worker: str,
        *,
        id: str | None = None,  # noqa: A002 (execnet's word)
        spec: Spec | None = None,
        port: ClientPort | None = None,
    ) -> None:
        self.worker = worker
        self.id = id or worker
        self.spec = spec
        self.pool = pool
        self._hub = hub
        self._port = port or hub.port(worker)
        if id is not None or self._port.gateway() is None:
            self._port.gateway = weakref.ref(self)
        self._begun: weakref.WeakSet[Channel] = weakref.WeakSet()

    @entrance
    def remote_exec(
        self,
        source: Source,
        /,
        *,
        thread: bool = False,
        busy: str = "wait",
        pure: bool = False,
        buffersize: int = ITEMS,
        **arguments: Any,
    ) -> Channel:
        """Run code on the worker and return a channel to it, without waiting for its start.

        Args:
            source: a function, called with the other end of the channel and `arguments`; or source code, a
                module or the path of a file, executed with `channel` among its globals and
                `__name__ == "__channelexec__"`.
            thread: run it in a thread of its own; otherwise it occupies the main thread, where it can
                be interrupted, and maps do not use that worker meanwhile.
            busy: if other code occupies the main thread, "wait" for it, or "raise" `GatewayBusy`.
            pure: reject a function that uses globals or closures.
            buffersize: items that each side may be ahead of the other.
            arguments: for the function, by name.
        """
        check_flag("thread", thread)
        check_flag("pure", pure)
        check_word("busy", busy, BUSY)
        items = at_least(1, "buffersize", buffersize)
        if pure:
            check_pure(source)
        return self.begin(code_of(source, arguments), thread=thread, busy=busy, items=items)

    def begin(
        self,
        code: Code,
        *,
        thread: bool = False,
        busy: str = "wait",
        items: int = ITEMS,
        nbytes: int = NBYTES,
    ) -> Channel:
        """Run prepared code."""
        self._check_open()
        modules: Modules = {}
        if self._hub.in_process:
            body: Any = self._as_it_is(code)
        else:
            body, modules = self._packed(code)
        how = "thread" if thread else "main"
        channel = self._port.open(how, body, busy=busy, items=items, nbytes=nbytes).through(self)
        self._hub.luggage.note(modules, self.worker)
        self._begun.add(channel)
        return channel

    def end_channels(self) -> None:
        """Stop the code started through this gateway, and close its channels."""
        for channel in list(self._begun):
            if not channel.closed:
                channel.interrupt()
                channel.close()

    @entrance
    def forget(self) -> None:
        """Delete all state of a worker that is permanently gone; this gateway is unusable afterwards."""
        self._hub.forget(self.worker)

    def new_channel(self) -> Channel:
        """Make a channel without code; send it to the worker through another one."""
        self._check_open()
        return self._port.new_channel().through(self)

    @property
    def occupied(self) -> bool:
        """Whether code occupies the worker's main thread, or waits for it."""
        return self._port.occupied

    @entrance
    def remote_status(self) -> GatewayStatus:
        """The known facts of the worker, without asking it."""
        there = [] if self.pool.closed else self.pool.workers
        known = [facts for facts in there if facts.get("worker") == self.worker]
        facts = known[0] if known else {}
        return GatewayStatus(
            self.id, self.worker, facts.get("host"), facts.get("pid"), bool(known),
            self._port.channels, self._port.executing, str(facts.get("runs", "")),
        )  # fmt: skip

    def _check_open(self) -> None:
        if self.pool.closed:
            raise PoolClosedError

    def _packed(self, code: Code) -> tuple[Packed, Modules]:
        """Pickle code; also return the modules sent with it because the worker may not have them."""
        name = name_of(code)
        if isinstance(code, FunctionCode):
            code = code._replace(function=standing_alone(code.function))
        packed = pack_code(code, self._port, name=name)
        if not isinstance(code, FunctionCode):
            return packed, {}
        modules = self._hub.luggage.for_code(packed, self.worker)
        if modules:
            packed = pack_code(Carrying(Sources(modules), code), self._port, name=name)
        return packed, modules

    def _as_it_is(self, code: Code) -> Code:
        """Return the arguments for threads: the function itself, and copies of its arguments."""
        if not isinstance(code, FunctionCode) or not code.arguments:
            return code
        packed = pack_code(code.arguments, self._port, name=f"the arguments of {name_of(code)}")
        return code._replace(arguments=packed)

    def __repr__(self) -> str:
        return f"<nbpar.Gateway {self.id!r}: {self.remote_status()}>"

    def _repr_html_(self) -> str:
        return Table((self.remote_status(),)).html()


def gateways_of(pool: Any) -> list[Gateway]:
    """Return a gateway to each current worker of the pool."""
    hub = hub_of(pool)
    workers = [str(facts["worker"]) for facts in pool.workers]
    return [hub.gateway(worker, partial(Gateway, pool, hub, worker)) for worker in workers]
