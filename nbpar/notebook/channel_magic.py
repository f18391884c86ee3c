"""`%%channel`: run the body of a cell on a worker, and bind a channel to it to a name here."""

from __future__ import annotations

from collections.abc import Callable
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic import no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from nbpar.channels.gateway import gateways_of
from nbpar.core.checks import BACKENDS
from nbpar.endpoint.code import TextCode
from nbpar.host.frames import entrance
from nbpar.notebook.cell_source import keep_lines, locate, name_of_running_cell
from nbpar.notebook.options import whole
from nbpar.notebook.places import pool_named

if TYPE_CHECKING:
    from nbpar.channels.gateway import Gateway
    from nbpar.notebook.pools import Pools

MAGIC = "%%channel"


_Function = TypeVar("_Function")


def _with_options(function: _Function) -> _Function:
    """Attach its parser to the magic."""
    decorators = (
        no_var_expand,
        magic_arguments("%channel"),
        argument("name", metavar="NAME", help="the name that the channel gets here"),
        argument("-t", "--to", metavar="WORKER", help="its number or name; by default the first free one"),
        argument("--thread", action="store_true", help="run it in a thread of its own, beside others"),
        argument("-n", "--workers", type=whole(1), metavar="N", help="size of the default pool that it uses"),
        argument("--pool", metavar="NAME", help="of the pool of this variable"),
        argument("--backend", choices=BACKENDS[:2], default="engines", help="kind of workers"),
    )
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


class ChannelMagic:
    """The magic of one shell."""

    def __init__(self, shell: Any, pools: Pools, running_cell: Callable[[], str | None]) -> None:
        self._shell = shell
        self._pools = pools
        self._running_cell = running_cell

    @_with_options
    @entrance
    def channel(self, line: str, body: str) -> None:
        """Run the cell on a worker, with `channel` defined, and bind the other end to NAME.

        The cell does not wait for it::

            %%channel squares
            for number in channel:
                channel.send(number ** 2)

            squares.send(7); squares.receive()
        """
        asked = parse_argstring(ChannelMagic.channel, line)
        if not asked.name.isidentifier() or iskeyword(asked.name):
            raise UsageError(
                f"`{MAGIC}` needs a name for the channel, was {asked.name!r}; as in `{MAGIC} mine`"
            )
        pool: Any = (
            pool_named(asked.pool, self._shell.user_ns, asked.backend)
            if asked.pool
            else self._pools.default_pool(workers=asked.workers, backend=asked.backend)
        )
        gateway = _chosen(gateways_of(pool), asked.to)
        self._shell.push({asked.name: gateway.begin(self._code(line, body), thread=asked.thread)})

    def _code(self, line: str, body: str) -> TextCode:
        """Make source code with the line numbers of the cell."""
        running = self._running_cell()
        text, header = locate(MAGIC, line, body, running)
        name = name_of_running_cell(self._shell) if text == running else None
        if name is None:
            name = self._shell.compile.cache(text, self._shell.execution_count, raw_code=text)
        keep_lines(name, text)
        return TextCode("\n" * header + self._shell.transform_cell(body), name)


def _occupation(gateway: Gateway) -> tuple[bool, bool]:
    """Return how long code may have to wait there: other code may run for ever, items end."""
    status = gateway.remote_status()
    return bool(status.numexecuting), bool(status.runs)


def _chosen(gateways: list[Gateway], wanted: str | None) -> Gateway:
    """Return the requested gateway, or the first idle one."""
    if wanted is None:
        return min(gateways, key=_occupation)
    for place, gateway in enumerate(gateways):
        if wanted.strip("\"'") in (str(place), gateway.id, gateway.worker):
            return gateway
    names = ", ".join(f"{place} ({gateway.worker})" for place, gateway in enumerate(gateways))
    raise UsageError(f"no worker {wanted!r}; there are {names}")
