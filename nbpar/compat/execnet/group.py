"""A group with execnet's names: engines of one cluster, started one by one."""

from __future__ import annotations

import atexit
import itertools
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nbpar.channels.gateway import Gateway as OurGateway
from nbpar.channels.gateway import gateways_of
from nbpar.channels.hub import hub_of
from nbpar.cluster.cluster import Cluster
from nbpar.compat.execnet.channels import Channel, MultiChannel
from nbpar.compat.execnet.gateway import Gateway
from nbpar.compat.execnet.xspec import XSpec
from nbpar.errors import ClusterError
from nbpar.pool import Pool
from nbpar.worker.code import FunctionCode
from nbpar.worker.settling import settle

if TYPE_CHECKING:
    from typing_extensions import Self

ELSEWHERE = ("ssh", "vagrant_ssh", "socket", "via", "python")
"""Keys of specs that lead to another interpreter or host."""

EXECMODELS = ("thread", "main_thread_only", "eventlet", "gevent")

COMES_WITHIN = 30.0
"""Seconds that a new engine has to appear."""


class HostNotFound(Exception):  # noqa: N818 (execnet's name)
    """A spec leads to no place that can be reached."""


class Group:
    """Gateways by name and by place, in the order of their making."""

    defaultspec = "popen"

    def __init__(self, xspecs: Iterable[XSpec | str | None] = (), execmodel: str = "thread") -> None:
        self._gateways: list[Any] = []
        self._numbers = itertools.count()
        self._cluster: Cluster | None = None
        self._pool: Pool | None = None
        self._used: set[str] = set()
        self.set_execmodel(execmodel)
        for spec in xspecs:
            self.makegateway(spec)
        atexit.register(self.terminate, 1.0)

    def makegateway(self, spec: XSpec | str | None = None) -> Any:
        """Make a gateway.

        Raises:
            ValueError: the spec has no kind of gateway, or its id is taken.
            HostNotFound: it leads to another interpreter or host and execnet is not installed.
        """
        known = spec if isinstance(spec, XSpec) else XSpec(spec or self.defaultspec)
        if any(getattr(known, key) for key in ELSEWHERE):
            return self._remember(_real_gateway(known))
        if not known.popen:
            raise ValueError(f"no gateway type found for {known._spec!r}")  # noqa: SLF001 (execnet's rule)
        self.allocate_id(known)
        gateway = Gateway(self, self._new_engine(), known)
        _settle(gateway.inner, known)
        return self._remember(gateway)

    def allocate_id(self, spec: XSpec) -> None:
        """Give a spec without a name the next free one."""
        if spec.id is None:
            names = (f"gw{number}" for number in self._numbers)
            spec.id = next(name for name in names if name not in self)  # type: ignore[attr-defined]  # any key may be set
        elif spec.id in self:
            raise ValueError(f"already have gateway with id {spec.id!r}")

    def set_execmodel(self, execmodel: str, remote_execmodel: str | None = None) -> None:
        """Check the model of execution: there is one here, threads."""
        for model in (execmodel, remote_execmodel or "thread"):
            if model not in EXECMODELS:
                raise ValueError(f"unknown execution model {model!r}")
        if self._gateways:
            raise ValueError(f"can not set execution models if gateways have been created already: {self!r}")
        self.execmodel = execmodel

    def remote_exec(self, source: Any, **kwargs: Any) -> MultiChannel:
        """Run the same code on all gateways."""
        return MultiChannel([gateway.remote_exec(source, **kwargs) for gateway in self])

    def terminate(self, timeout: float | None = None) -> None:
        """End all gateways, within `timeout` seconds if that is given.  May be called twice."""
        gateways, self._gateways = self._gateways, []
        for gateway in gateways:
            if not isinstance(gateway, Gateway):
                gateway.exit()
        pool, self._pool = self._pool, None
        cluster, self._cluster = self._cluster, None
        if cluster is None or pool is None:
            return
        ending = threading.Thread(target=_end, args=(pool, cluster), name="nbpar end of group", daemon=True)
        ending.start()
        ending.join(timeout)

    def let_go(self, gateway: Gateway) -> None:
        """End one engine."""
        if gateway in self._gateways:
            self._gateways.remove(gateway)
        if self._cluster is not None:
            with suppress(ClusterError):  # it has ended by itself
                self._cluster.kill(int(gateway.inner.worker.split()[1]), "its gateway has exited")

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
        return iter(list(self._gateways))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.terminate(1.0)

    def __repr__(self) -> str:
        return f"<Group {[gateway.id for gateway in self._gateways]!r}>"

    def _remember(self, gateway: Any) -> Any:
        self._gateways.append(gateway)
        return gateway

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
    nice = int(spec.nice) if spec.nice else None
    if spec.chdir or nice or spec.env:
        arguments = {"chdir": spec.chdir, "nice": nice, "env": spec.env}
        gateway.begin(FunctionCode(settle, arguments)).wait_closed(COMES_WITHIN)


def _real_gateway(spec: XSpec) -> Any:
    try:
        execnet = import_module("execnet")
    except ImportError:
        raise HostNotFound(
            f"the spec {str(spec)!r} leads to another interpreter or host, which needs execnet itself: "
            "`pip install execnet`; or join a cluster there with `nbpar.Pool(cluster=...)`"
        ) from None
    return execnet.makegateway(str(spec))


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
