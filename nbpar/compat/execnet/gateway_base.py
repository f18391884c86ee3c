"""The names that programs import from execnet's module of this name."""

from nbpar.compat.execnet.channels import Channel
from nbpar.compat.execnet.gateway import DEADLOCK as MAIN_THREAD_ONLY_DEADLOCK_TEXT
from nbpar.compat.execnet.simple import (
    DataFormatError,
    DumpError,
    LoadError,
    Unserializer,
    dump,
    dumps,
    dumps_internal,
    load,
    loads,
    loads_internal,
)
from nbpar.endpoint.execnet import ChannelFactory, ExecModel, WorkerGateway
from nbpar.endpoint.execnet import exec_model as get_execmodel
from nbpar.errors import RemoteError

TimeoutError = TimeoutError  # noqa: A001, PLW0127 (execnet's name; the builtin one is an OSError too)

__all__ = [
    "MAIN_THREAD_ONLY_DEADLOCK_TEXT",
    "Channel",
    "ChannelFactory",
    "DataFormatError",
    "DumpError",
    "ExecModel",
    "LoadError",
    "RemoteError",
    "TimeoutError",
    "Unserializer",
    "WorkerGateway",
    "dump",
    "dumps",
    "dumps_internal",
    "get_execmodel",
    "load",
    "loads",
    "loads_internal",
]
