"""execnet on nbpar's engines: `import nbpar.compat.execnet as execnet`.

Names, arguments and errors are execnet's 2.1.  Gateways are engines of one ipyparallel cluster;
specs that lead to another interpreter or host (`ssh=`, `socket=`, `via=`, `python=`) open a real
gateway when execnet is installed.  Beyond execnet, anything that can be pickled can be sent, and
functions may be closures.
"""

from __future__ import annotations

from typing import Any

from nbpar.compat.execnet.elsewhere import HostNotFound
from nbpar.compat.execnet.gateway import Gateway
from nbpar.compat.execnet.gateway_base import (
    Channel,
    DataFormatError,
    DumpError,
    LoadError,
    RemoteError,
    TimeoutError,  # noqa: A004 (execnet's name for the builtin one)
    dump,
    dumps,
    load,
    loads,
)
from nbpar.compat.execnet.group import default
from nbpar.compat.execnet.multi import Group, MultiChannel, makegateway, set_execmodel
from nbpar.compat.execnet.rsync import RSync
from nbpar.compat.execnet.xspec import XSpec
from nbpar.version import __version__

__all__ = [
    "Channel",
    "DataFormatError",
    "DumpError",
    "Gateway",
    "Group",
    "HostNotFound",
    "LoadError",
    "MultiChannel",
    "RSync",
    "RemoteError",
    "TimeoutError",
    "XSpec",
    "__version__",
    "default_group",
    "dump",
    "dumps",
    "load",
    "loads",
    "makegateway",
    "set_execmodel",
]

default_group: Group


def __getattr__(name: str) -> Any:
    if name == "default_group":  # made when it is first used
        return default()
    raise AttributeError(f"module 'nbpar.compat.execnet' has no attribute {name!r}")
