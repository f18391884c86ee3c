"""The hosts of workers, which all pools of this process share."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

from nbpar.core.scheduling.needs import Host, Needs
from nbpar.host.limits import HostLimits, limits_here
from nbpar.worker.nesting import inside_item

HERE = ""
"""The share of this process's own host."""

_hosts: dict[tuple[int, str], Host] = {}
"""By process, so that a fork begins without what its parent's runs hold, and by share."""

_lock = threading.Lock()


def this_host() -> Host:
    """Return this host, with its present limits."""
    limits = limits_here()
    host = _host(HERE, "this host")
    host.memory, host.cores = limits.memory, limits.cores
    return host


def host_of(facts: Mapping[str, Any]) -> Host:
    """Return the host of a worker, by its facts; a worker elsewhere tells the limits of its host."""
    if (told := facts.get("limits")) is None:
        return _host(HERE, "this host")
    limits = HostLimits(*told)
    host = _host(limits.share, f"host {facts.get('host', '')}")
    host.memory, host.cores = limits.memory, limits.cores
    return host


def accounted(needs: Needs | None, *, all_here: bool) -> Needs | None:
    """Return what each item of a run takes of its host: nothing in an item, whose own needs count.

    Raises:
        ValueError: not even one item fits into this host, if all workers are here.
    """
    __tracebackhide__ = True
    if needs is None or inside_item():
        return None
    host = this_host()
    if all_here and not host.fits(needs):
        raise ValueError(unfit(needs, [host]))
    return needs


def unfit(needs: Needs, hosts: list[Host]) -> str:
    """Say that no item fits into any of these hosts."""
    lacks = "; ".join(dict.fromkeys(host.lacks(needs) for host in hosts))
    return (
        f"{lacks}: it could never begin. Lower `needs=`, or use a larger host; limits of containers and "
        "batch jobs count"
    )


def _host(share: str, name: str) -> Host:
    key = (os.getpid(), share)
    with _lock:
        if (host := _hosts.get(key)) is None:
            host = _hosts[key] = Host(sys.maxsize, math.inf, name)
        return host
