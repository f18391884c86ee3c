"""A group of named gateways, on workers of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nbpar.channels.files import push_files
from nbpar.channels.gateway import Gateway, gateways_of
from nbpar.channels.multichannel import MultiChannel, exec_on_all
from nbpar.channels.ports import hub_of
from nbpar.channels.spec import Spec
from nbpar.channels.status import Table
from nbpar.endpoint.code import FunctionCode, settle
from nbpar.host.deadlines import waiting_time
from nbpar.host.frames import entrance
from nbpar.pool.in_use import check_pool
from nbpar.pool.pool import Pool

if TYPE_CHECKING:
    from typing_extensions import Self

SETTLE = 30.0
"""Seconds that workers have to apply their specs."""


class Group:
    """Gateways by name and by place.

    Args:
        workers: their number; or one spec or a list of them, such as "id=a//chdir=work//env:X=1//nice=5".
        pool: a pool that provides the workers; otherwise the group has its own, of `backend`.
        options: further options of `Pool`, for a pool of its own.
    """

    @entrance
    def __init__(
        self, workers: int | str | Sequence[str] | None = None, *, pool: Pool | None = None, **options: Any
    ) -> None:
        check_pool(pool)
        specs = _specs(workers)
        number = len(specs) if specs is not None else workers
        self._own = pool is None
        self._gateways: list[Gateway] = []
        self.pool = Pool(number, **options) if pool is None else pool  # type: ignore[arg-type]  # an int or None by now
        try:
            self._gateways = self._make(specs)
        except BaseException:
            self.terminate(1.0)
            raise

    @entrance
    def remote_exec(self, source: Any, /, **options: Any) -> MultiChannel:
        """Run the same code through every gateway; `options` are those of `Gateway.remote_exec`."""
        return exec_on_all(self._gateways, source, options)

    @entrance
    def push_files(
        self, source: str | os.PathLike[str], destination: str | os.PathLike[str], **options: Any
    ) -> int:
        """Copy a folder to the worker of every gateway; `options` as for `nbpar.push_files`."""
        return push_files(source, destination, self._gateways, **options)

    @entrance
    def terminate(self, timeout: float | None = 5.0) -> None:
        """End all channels of the group, and its workers if they are its own, within `timeout` seconds.

        Idempotent.
        """
        timeout = waiting_time(timeout)
        if not self._own:
            for gateway in self._gateways:
                gateway.end_channels()
            return
        thread = threading.Thread(target=self.pool.close, name="nbpar end of group", daemon=True)
        thread.start()
        thread.join(timeout)

    @property
    def ids(self) -> list[str]:
        """The gateways' names."""
        return [gateway.id for gateway in self._gateways]

    def __getitem__(self, key: int | str | Gateway) -> Gateway:
        for place, gateway in enumerate(self._gateways):
            places = (place, place - len(self))
            if key == gateway.id or key is gateway or (isinstance(key, int) and key in places):
                return gateway
        raise KeyError(f"no gateway {key!r} in the group; there are {', '.join(self.ids)}")

    def __contains__(self, key: object) -> bool:
        return key in self.ids or key in self._gateways

    def __len__(self) -> int:
        return len(self._gateways)

    def __iter__(self) -> Iterator[Gateway]:
        return iter(tuple(self._gateways))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.terminate()

    def __repr__(self) -> str:
        return f"<nbpar.Group of {', '.join(self.ids)}>"

    def _repr_html_(self) -> str:
        return Table(tuple(gateway.remote_status() for gateway in self._gateways)).html()

    def _make(self, specs: list[Spec] | None) -> list[Gateway]:
        workers = [gateway.worker for gateway in gateways_of(self.pool)]
        if specs is None:
            specs = [Spec()] * len(workers)
        if len(workers) < len(specs):
            raise ValueError(f"the pool has {len(workers)} workers, and {len(specs)} gateways were asked for")
        hub, names = hub_of(self.pool), _names(specs)
        made = [
            Gateway(self.pool, hub, worker, id=name, spec=spec)
            for worker, name, spec in zip(workers, names, specs, strict=False)
        ]
        _settle_all(made)
        return made


def _specs(workers: Any) -> list[Spec] | None:
    """Parse the specs; None for a number of workers, or nothing."""
    if workers is None:
        return None
    if isinstance(workers, str):
        return [Spec.of(workers)]
    if isinstance(workers, Iterable) and not isinstance(workers, (bytes, bytearray)):
        specs = [Spec.of(text) for text in workers]
        _names(specs)  # raises for invalid specs before workers are started
        return specs
    return None  # a number, or an argument that `Pool` rejects


def _names(specs: list[Spec]) -> list[str]:
    """Return a unique name for every gateway: from its spec, or `gw0`, `gw1` and so on."""
    names: list[str] = []
    free = (f"gw{number}" for number in range(2 * len(specs)))
    taken = {spec.id for spec in specs}
    for spec in specs:
        name = spec.id or next(name for name in free if name not in taken)
        if name in names:
            raise ValueError(f"two gateways cannot both have the id {name!r}")
        names.append(name)
    return names


def _settle_all(gateways: list[Gateway]) -> None:
    """Apply the specs on all workers at the same time."""
    channels = []
    for gateway in gateways:
        spec = gateway.spec
        if spec is not None and spec.settles:
            arguments = {"chdir": spec.chdir, "nice": spec.nice, "env": spec.env}
            channels.append(gateway.begin(FunctionCode(settle, arguments)))
    for channel in channels:
        channel.wait_closed(SETTLE)
