"""Gateways to another interpreter or host: execnet's own, with our errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nbpar.errors import RemoteError

if TYPE_CHECKING:
    from nbpar.compat.execnet.xspec import XSpec

KEYS = ("ssh", "vagrant_ssh", "socket", "via", "python")
"""Keys of specs that lead to another interpreter or host."""


class Admitting(type):
    """Kind of classes that count objects of execnet's own classes among their instances."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) or isinstance(instance, cls.__dict__.get("admitted", ()))


class HostNotFound(Exception):  # noqa: N818 (execnet's name)
    """A spec leads to no place that can be reached."""


def leads_elsewhere(spec: XSpec) -> bool:
    """Whether the spec describes a place that our engines cannot serve."""
    return any(getattr(spec, key) for key in KEYS)


class Elsewhere:
    """The gateways of a group that are execnet's."""

    def __init__(self, *admitting: Any) -> None:
        self._group: Any = None
        self._admitting = admitting
        """Classes of ours that admit objects of execnet's classes of these names."""

    def make(self, spec: XSpec, through: XSpec | None) -> Any:
        """Open a gateway; `through` is the spec of our gateway that `via` or `installvia` names.

        Raises:
            HostNotFound: execnet is not installed, or cannot reach the place.
        """
        with _execnet_itself(str(spec)) as execnet:
            if self._group is None:
                self._group = execnet.Group()
            try:
                if through is not None and through.id not in self._group:
                    self._group.makegateway(_real(execnet, through))
                gateway = self._group.makegateway(_real(execnet, spec))
            except execnet.HostNotFound as error:
                raise HostNotFound(str(error)) from error
            factory = _factory_class(import_module("execnet.gateway_base"))
            for ours in self._admitting:
                ours.admitted = getattr(execnet, ours.__name__)
        gateway._channelfactory.__class__ = factory  # noqa: SLF001 (it takes no class of channels)
        gateway.spec = spec
        return gateway

    def may_have(self, gateway: Any) -> bool:
        """Whether a gateway is none of these, or has not exited."""
        if not hasattr(gateway, "_channelfactory") or hasattr(gateway, "on_engine"):
            return True
        return self._group is not None and gateway in self._group

    def terminate(self, timeout: float | None) -> None:
        """End them as execnet does."""
        group, self._group = self._group, None
        if group is not None:
            group.terminate(timeout)


def sync(rsync: Any, gateway: Any, destination: str, finished: Any, *, delete: bool) -> None:
    """Let execnet send a folder to one of its gateways, with the methods of our `RSync`."""
    with _execnet_itself(str(gateway.spec)) as execnet:
        real = execnet.RSync(rsync._sourcedir, rsync._callback, rsync._verbose)  # noqa: SLF001 (execnet's names)
        real.filter, real._report_send_file = rsync.filter, rsync._report_send_file  # noqa: SLF001 (likewise)
        real.add_target(gateway, destination, finished, delete=delete)
        real.send()


@contextmanager
def _execnet_itself(spec: str) -> Iterator[Any]:
    """Import the real execnet under its name in this block, also if our package has replaced it."""
    ours = sys.modules.get("execnet")
    taken = ours is not None and ours.__name__ != "execnet"
    if taken:
        del sys.modules["execnet"]
    try:
        yield _imported(spec)
    finally:
        if taken:
            sys.modules["execnet"] = ours  # type: ignore[assignment]  # a module, because it is taken


def _imported(spec: str) -> ModuleType:
    try:
        return import_module("execnet")
    except ImportError:
        raise HostNotFound(
            f"the spec {spec!r} leads to another interpreter or host, which needs execnet itself: "
            "`pip install execnet`; or join a cluster there with `nbpar.Pool(cluster=...)`"
        ) from None


def _real(execnet: Any, spec: XSpec) -> Any:
    real = execnet.XSpec(str(spec))
    real.id, real.execmodel = spec.id, spec.execmodel
    return real


@cache
def _factory_class(base: Any) -> type:
    """Return execnet's channel factory, changed to make channels that raise our errors."""

    class Channel(base.Channel):  # type: ignore[misc]  # execnet may be missing
        RemoteError = RemoteError
        TimeoutError = TimeoutError

        def _getremoteerror(self) -> Any:
            error = super()._getremoteerror()
            if isinstance(error, base.RemoteError):
                return RemoteError(error.formatted, error.formatted)
            return error

    class Factory(base.ChannelFactory):  # type: ignore[misc]  # likewise
        def new(self, id: int | None = None) -> Any:  # noqa: A002 (execnet's word)
            channel = super().new(id)
            channel.__class__ = Channel
            return channel

    return Factory
