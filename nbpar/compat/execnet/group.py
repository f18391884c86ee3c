"""A group with execnet's names: engines of one cluster, started one by one."""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nbpar.channels.gateway import Gateway as OurGateway
from nbpar.channels.gateway import gateways_of
from nbpar.channels.ports import hub_of
from nbpar.channels.spec import niceness
from nbpar.cluster.cluster import Cluster
from nbpar.compat.execnet.channels import Channel, MultiChannel, TracedChannel
from nbpar.compat.execnet.elsewhere import Elsewhere, leads_elsewhere
from nbpar.compat.execnet.gateway import Gateway
from nbpar.compat.execnet.xspec import XSpec
from nbpar.endpoint.code import FunctionCode
from nbpar.endpoint.execnet import DEBUG, ExecModel, exec_model, settle_gateway, tracer
from nbpar.errors import ClusterError
from nbpar.pool.pool import Pool

if TYPE_CHECKING:
    from typing_extensions import Self

COMES_WITHIN = 30.0
"""Seconds for a new engine to appear."""


class Group:
    """Gateways by name and by position, in order of creation."""

    defaultspec = "popen"

    def __init__(self, xspecs: Iterable[XSpec | str | None] = (), execmodel: str = "thread") -> None:
        self._all: list[Any] = []
        self._numbers = itertools.count()
        self._cluster: Cluster | None = None
        self._pool: Pool | None = None
        self._starting = threading.Lock()
        self._elsewhere = Elsewhere(Channel, Gateway)
        self.set_execmodel(execmodel)
        for spec in xspecs:
            self.makegateway(spec)
        atexit.register(_cleanup_atexit, weakref.ref(self))

    def makegateway(self, spec: XSpec | str | None = None) -> Any:
        """Make a gateway.

        Raises:
            ValueError: the spec has no kind of gateway, an unknown model or niceness, or its id is taken.
            HostNotFound: it requires another interpreter or host and execnet is not installed.
        """
        known = spec if isinstance(spec, XSpec) else XSpec(spec or self.defaultspec)
        if not known.popen and not leads_elsewhere(known):
            raise ValueError(f"no gateway type found for {known._spec!r}")  # noqa: SLF001 (execnet's rule)
        self.allocate_id(known)
        if known.id in self:
            raise ValueError(f"already have gateway with id {known.id!r}")
        known.execmodel = exec_model(known.execmodel or self.remote_execmodel).backend
        niceness(known.nice, str(known))
        gateway = self._gateway_elsewhere(known) if leads_elsewhere(known) else self._gateway_here(known)
        self._all.append(gateway)
        return gateway

    def allocate_id(self, spec: XSpec) -> None:
        """Give a spec without a name the next free one."""
        if spec.id is None:
            names = (f"gw{number}" for number in self._numbers)
            spec.id = next(name for name in names if name not in self)

    def set_execmodel(self, execmodel: str, remote_execmodel: str | None = None) -> None:
        """Set the execution models: all are threads; with "main_thread_only" code runs one at a time."""
        if self._gateways:
            raise ValueError("can not set execution models if gateways have been created already")
        self.execmodel: ExecModel = exec_model(execmodel)
        self.remote_execmodel: ExecModel = exec_model(remote_execmodel or execmodel)

    def remote_exec(self, source: Any, **kwargs: Any) -> MultiChannel:
        """Run the same code on all gateways."""
        return MultiChannel([gateway.remote_exec(source, **kwargs) for gateway in self])

    def terminate(self, timeout: float | None = None) -> None:
        """End all gateways, within `timeout` seconds if given.  Idempotent."""
        for gateway in self._all:
            if hasattr(gateway, "on_engine"):
                gateway.note_exit()
        self._all.clear()
        self._elsewhere.terminate(timeout)
        pool, self._pool = self._pool, None
        cluster, self._cluster = self._cluster, None
        if cluster is None or pool is None:
            return
        ending = threading.Thread(target=_end, args=(pool, cluster), name="nbpar end of group", daemon=True)
        try:
            ending.start()
        except RuntimeError:  # the interpreter ends, or there are too many
            _end(pool, cluster)
        else:
            ending.join(timeout)

    def _cleanup_atexit(self) -> None:
        if debug := os.environ.get(DEBUG):
            tracer(debug)(f"=== atexit cleanup {self!r} ===")
        self.terminate(1.0)

    def let_go(self, gateway: Gateway) -> None:
        """End one engine; it no longer counts when the next gateway is made."""
        if gateway in self._all:
            self._all.remove(gateway)
        if self._cluster is not None and gateway.inner.pool is self._pool:
            with suppress(ClusterError):  # it has already ended
                self._cluster.remove(
                    [it.uuid for it in self._cluster.engines if it.worker == gateway.inner.worker]
                )
            gateway.inner.forget()

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

    @property
    def _gateways(self) -> list[Any]:
        """Those that have not exited; execnet's own exit by themselves."""
        self._all[:] = [made for made in self._all if self._elsewhere.may_have(made)]
        return self._all

    def _gateway_here(self, spec: XSpec) -> Gateway:
        inner = self._new_engine()
        debug = os.environ.get(DEBUG)
        gateway = Gateway(self, inner, spec, tracer(debug) if debug else None)
        _settle(inner, spec, debug)
        return gateway

    def _gateway_elsewhere(self, spec: XSpec) -> Any:
        through = spec.via or spec.installvia
        return self._elsewhere.make(spec, self[through].spec if through else None)

    def _new_engine(self) -> OurGateway:
        """Start one more engine and return its gateway; on a new cluster if the last one broke."""
        with self._starting:
            if self._cluster is not None and self._pool is not None and not self._cluster.running:
                _end(self._pool, self._cluster)
                self._cluster = None
            if self._cluster is None:
                self._cluster = Cluster(1, heal=False).start()
                self._pool = Pool(cluster=self._cluster, progress="none")
                hub_of(self._pool).channel_class = TracedChannel if os.environ.get(DEBUG) else Channel
                engine = (self._cluster.engines or self._cluster.add())[0]
            else:
                (engine,) = self._cluster.add()
            pool = self._pool
        gateways = {gateway.worker: gateway for gateway in gateways_of(pool)}
        if engine.worker not in gateways:
            raise ClusterError(f"{engine.worker} ended right after it had come up; make the gateway again")
        return gateways[engine.worker]


def _cleanup_atexit(reference: weakref.ref[Group]) -> None:
    """Do what execnet does at the end of the interpreter, unless the group has gone before."""
    if (group := reference()) is not None:
        group._cleanup_atexit()  # noqa: SLF001 (of our own)


def _settle(gateway: OurGateway, spec: XSpec, debug: str | None) -> None:
    """Send the engine its gateway's name, and its spec's settings."""
    surroundings = {"chdir": spec.chdir, "nice": niceness(spec.nice, str(spec)), "env": spec.env}
    facts = {
        "name": spec.id, "execmodel": spec.execmodel, "debug": debug, "surroundings": surroundings,
        "dont_write_bytecode": bool(spec.dont_write_bytecode),
    }  # fmt: skip
    gateway.begin(FunctionCode(settle_gateway, facts)).wait_closed(COMES_WITHIN)


def _end(pool: Pool, cluster: Cluster) -> None:
    pool.close()
    cluster.stop()


class _Default:
    """The group of gateways made without one."""

    group: Group | None = None


def default() -> Group:
    """Return the default group, created on first use."""
    if _Default.group is None:
        _Default.group = Group()
    return _Default.group


def makegateway(spec: str | XSpec | None = None) -> Any:
    """Make a gateway in the default group."""
    return default().makegateway(spec)


def set_execmodel(execmodel: str, remote_execmodel: str | None = None) -> None:
    """Set the default group's execution model."""
    default().set_execmodel(execmodel, remote_execmodel)
