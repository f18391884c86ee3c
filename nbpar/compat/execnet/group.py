"""A group with execnet's names: engines of one cluster, started one by one."""

from __future__ import annotations

import atexit
import itertools
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nbpar.channels.gateway import Gateway as OurGateway
from nbpar.channels.gateway import gateways_of
from nbpar.channels.hub import hub_of
from nbpar.cluster.cluster import Cluster
from nbpar.compat.execnet.channels import Channel, MultiChannel
from nbpar.compat.execnet.elsewhere import Elsewhere, leads_elsewhere
from nbpar.compat.execnet.gateway import Gateway
from nbpar.compat.execnet.xspec import XSpec
from nbpar.errors import ClusterError
from nbpar.pool import Pool
from nbpar.worker.code import FunctionCode
from nbpar.worker.execnet_model import ExecModel, exec_model
from nbpar.worker.settling import settle

if TYPE_CHECKING:
    from typing_extensions import Self

COMES_WITHIN = 30.0
"""Seconds that a new engine has to appear."""


class Group:
    """Gateways by name and by place, in the order of their making."""

    defaultspec = "popen"

    def __init__(self, xspecs: Iterable[XSpec | str | None] = (), execmodel: str = "thread") -> None:
        self._made: list[Any] = []
        self._numbers = itertools.count()
        self._cluster: Cluster | None = None
        self._pool: Pool | None = None
        self._used: set[str] = set()
        self._elsewhere = Elsewhere()
        self.set_execmodel(execmodel)
        for spec in xspecs:
            self.makegateway(spec)
        atexit.register(self.terminate, 1.0)

    def makegateway(self, spec: XSpec | str | None = None) -> Any:
        """Make a gateway.

        Raises:
            ValueError: the spec has no kind of gateway, an unknown model or niceness, or its id is taken.
            HostNotFound: it leads to another interpreter or host and execnet is not installed.
        """
        known = spec if isinstance(spec, XSpec) else XSpec(spec or self.defaultspec)
        if not known.popen and not leads_elsewhere(known):
            raise ValueError(f"no gateway type found for {known._spec!r}")  # noqa: SLF001 (execnet's rule)
        self.allocate_id(known)
        if known.id in self:
            raise ValueError(f"already have gateway with id {known.id!r}")
        known.execmodel = exec_model(known.execmodel or self.remote_execmodel).backend
        _nice(known)
        gateway = self._gateway_elsewhere(known) if leads_elsewhere(known) else self._gateway_here(known)
        self._made.append(gateway)
        return gateway

    def allocate_id(self, spec: XSpec) -> None:
        """Give a spec without a name the next free one."""
        if spec.id is None:
            names = (f"gw{number}" for number in self._numbers)
            spec.id = next(name for name in names if name not in self)

    def set_execmodel(self, execmodel: str, remote_execmodel: str | None = None) -> None:
        """Set the models of execution: threads, all; with "main_thread_only" one code runs at a time."""
        if self._gateways:
            raise ValueError(f"can not set execution models if gateways have been created already: {self!r}")
        self.execmodel: ExecModel = exec_model(execmodel)
        self.remote_execmodel: ExecModel = exec_model(remote_execmodel or execmodel)

    def remote_exec(self, source: Any, **kwargs: Any) -> MultiChannel:
        """Run the same code on all gateways."""
        return MultiChannel([gateway.remote_exec(source, **kwargs) for gateway in self])

    def terminate(self, timeout: float | None = None) -> None:
        """End all gateways, within `timeout` seconds if that is given.  May be called twice."""
        self._made.clear()
        self._used.clear()
        self._elsewhere.terminate(timeout)
        pool, self._pool = self._pool, None
        cluster, self._cluster = self._cluster, None
        if cluster is None or pool is None:
            return
        ending = threading.Thread(target=_end, args=(pool, cluster), name="nbpar end of group", daemon=True)
        ending.start()
        ending.join(timeout)

    def let_go(self, gateway: Gateway) -> None:
        """End one engine; it does not count any more when the next gateway is made."""
        if gateway in self._made:
            self._made.remove(gateway)
        if self._cluster is not None:
            number = int(gateway.inner.worker.split()[1])
            with suppress(ClusterError):  # it has ended by itself
                self._cluster.remove([it.uuid for it in self._cluster.engines if it.id == number])

    def __getitem__(self, key: int | str | Any) -> Any:
        if isinstance(key, int):
            return self._gateways[key]
        for gateway in self._gateways:
            if key == gateway.id or key is gateway:
                return gateway
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return any(key == gateway.id or key is gateway for gateway in self._gateways)

    def __len__(self) -> int:
        return len(self._gateways)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._gateways)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.terminate(1.0)

    def __repr__(self) -> str:
        return f"<Group {[gateway.id for gateway in self._gateways]!r}>"

    @property
    def _gateways(self) -> list[Any]:
        return [made for made in self._made if isinstance(made, Gateway) or self._elsewhere.has(made)]

    def _gateway_here(self, spec: XSpec) -> Gateway:
        gateway = Gateway(self, self._new_engine(), spec)
        _settle(gateway.inner, spec)
        return gateway

    def _gateway_elsewhere(self, spec: XSpec) -> Any:
        through = spec.via or spec.installvia
        return self._elsewhere.make(spec, self[through].spec if through else None)

    def _new_engine(self) -> OurGateway:
        """Start one more engine and return our gateway to it."""
        if self._cluster is None:
            self._cluster = Cluster(1, heal=False).start()
            self._pool = Pool(cluster=self._cluster, progress="none")
            hub_of(self._pool).channel_class = Channel
        else:
            self._cluster.resize(len(self._cluster.engines) + 1)
        assert self._pool is not None
        for gateway in gateways_of(self._pool):
            if gateway.worker not in self._used:
                self._used.add(gateway.worker)
                return gateway
        raise ClusterError("the new engine did not appear")


def _settle(gateway: OurGateway, spec: XSpec) -> None:
    nice = _nice(spec)
    if spec.chdir or nice or spec.env:
        arguments = {"chdir": spec.chdir, "nice": nice, "env": spec.env}
        gateway.begin(FunctionCode(settle, arguments)).wait_closed(COMES_WITHIN)


def _nice(spec: XSpec) -> int | None:
    try:
        return int(spec.nice) if spec.nice else None
    except ValueError:
        message = f"nice in the spec {str(spec)!r} must be a whole number, was {spec.nice!r}"
        raise ValueError(message) from None


def _end(pool: Pool, cluster: Cluster) -> None:
    pool.close()
    cluster.stop()


class _Default:
    """The group of those who make gateways without one."""

    group: Group | None = None


def default() -> Group:
    """Return the default group; it is made when it is first used."""
    if _Default.group is None:
        _Default.group = Group()
    return _Default.group
