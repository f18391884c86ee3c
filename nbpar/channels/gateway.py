"""One worker, as a place where code runs that channels lead to."""

from __future__ import annotations

import os
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from nbpar.channels.channel import Channel
from nbpar.channels.files import push_files
from nbpar.channels.hub import Hub, hub_of
from nbpar.channels.purity import check_pure
from nbpar.channels.sources import Source, code_of, name_of
from nbpar.channels.status import GatewayStatus, Table
from nbpar.core.words import check_word
from nbpar.errors import PoolClosedError
from nbpar.options import at_least
from nbpar.worker.code import Code, FunctionCode
from nbpar.worker.end import ITEMS, NBYTES
from nbpar.worker.payload import pack_code

if TYPE_CHECKING:
    from nbpar.channels.spec import Spec

BUSY = ("wait", "raise")


class Gateway:
    """One worker of a pool.

    Attributes:
        id: its name in its group; the worker's name otherwise.
        worker: the worker's name.
        spec: what it was made from, or None.
    """

    def __init__(
        self,
        pool: Any,
        hub: Hub,
        worker: str,
        *,
        id: str | None = None,  # noqa: A002 (execnet's word)
        spec: Spec | None = None,
    ) -> None:
        self.worker = worker
        self.id = id or worker
        self.spec = spec
        self.pool = pool
        self._hub = hub
        self._port = hub.port(worker)
        self._port.gateway = weakref.ref(self)
        self._begun: weakref.WeakSet[Channel] = weakref.WeakSet()

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
        """Run code on the worker and return the channel to it; does not wait for it to begin.

        Args:
            source: a function, called with the other end of the channel and `arguments`; or a text, a
                module or the path of a file, executed with `channel` among its names and
                `__name__ == "__channelexec__"`.
            thread: run it in a thread of its own; otherwise it has the worker's main thread, where it can
                be stopped, and maps leave that worker alone meanwhile.
            busy: when other code has the main thread, "wait" for its turn, or "raise" `GatewayBusy`.
            pure: refuse a function that uses anything but its arguments and what it imports itself.
            buffersize: items that each side may be ahead of the other.
            arguments: for the function, by name.
        """
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
        if self._hub.in_process:
            body: Any = self._as_it_is(code)
        else:
            body = pack_code(code, self._port, name=name_of(code))
        how = "thread" if thread else "main"
        channel = self._port.open(how, body, busy=busy, items=items, nbytes=nbytes).through(self)
        self._begun.add(channel)
        return channel

    def end_channels(self) -> None:
        """Stop the code that was begun through this gateway, and close its channels."""
        for channel in list(self._begun):
            if not channel.closed:
                channel.interrupt()
                channel.close()

    def new_channel(self) -> Channel:
        """Make a channel without code; send it to the worker through another one."""
        self._check_open()
        return self._port.new_channel().through(self)

    def push_files(
        self, source: str | os.PathLike[str], destination: str | os.PathLike[str], **options: Any
    ) -> int:
        """Make a folder there like the one here; `options` are those of `nbpar.push_files`."""
        return push_files(source, destination, [self], **options)

    @property
    def occupied(self) -> bool:
        """Whether code has the worker's main thread, or waits for it."""
        return self._port.occupied

    def remote_status(self) -> GatewayStatus:
        """What is known of the worker now, without asking it."""
        there = [] if self.pool.closed else self.pool.workers
        known = [facts for facts in there if facts.get("worker") == self.worker]
        facts = known[0] if known else {}
        return GatewayStatus(
            self.id, self.worker, facts.get("host"), facts.get("pid"), bool(known),
            self._port.channels, self._port.executing,
        )  # fmt: skip

    def _check_open(self) -> None:
        if self.pool.closed:
            raise PoolClosedError

    def _as_it_is(self, code: Code) -> Code:
        """Threads get the function itself, and copies of its arguments as of all that is sent."""
        if not isinstance(code, FunctionCode) or not code.arguments:
            return code
        packed = pack_code(code.arguments, self._port, name=f"the arguments of {name_of(code)}")
        return code._replace(arguments=packed)

    def __repr__(self) -> str:
        return f"<nbpar.Gateway {self.id!r}: {self.remote_status()}>"

    def _repr_html_(self) -> str:
        return Table((self.remote_status(),)).html()


def gateways_of(pool: Any) -> list[Gateway]:
    """Return a gateway to each worker that the pool has now."""
    hub = hub_of(pool)
    workers = [str(facts["worker"]) for facts in pool.workers]
    return [hub.gateway(worker, partial(Gateway, pool, hub, worker)) for worker in workers]
